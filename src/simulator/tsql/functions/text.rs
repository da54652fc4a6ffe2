//! Functions of texts and bytes.

use super::{BATCH_BYTES, Function, too_much};
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType, code_page, units};
use crate::simulator::types::{Typed, Value, array_of, text_of, values_of};

const TEXT: SqlType = SqlType::NVarChar(Length::Max);

pub(super) fn function(name: &str) -> Option<Function> {
    one_text(name)
        .or_else(|| parts(name))
        .or_else(|| lengths(name))
        .or_else(|| joins(name))
}

/// What a value reads as, where a function wants text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        other => text_of(other, TEXT, 121).unwrap_or_default(),
    }
}

fn int(value: &Value) -> Result<i64, ServerError> {
    value.as_int().ok_or_else(|| {
        ServerError::new(
            8116,
            "Argument data type is invalid for an integer argument of a function.",
        )
    })
}

fn mapped(name: &str, map: impl Fn(&str) -> String + Send + Sync + 'static) -> Option<Function> {
    let function = Function::new(name, (1, 1), TEXT, move |args| {
        Ok(Value::Text(map(&text(&args[0]))))
    });
    Some(function.returning(|types| if types[0].is_text() { types[0] } else { TEXT }))
}

fn one_text(name: &str) -> Option<Function> {
    match name {
        "upper" => mapped(name, str::to_uppercase),
        "lower" => mapped(name, str::to_lowercase),
        "ltrim" => mapped(name, |text| text.trim_start_matches(' ').to_owned()),
        "rtrim" => mapped(name, |text| text.trim_end_matches(' ').to_owned()),
        "trim" => mapped(name, |text| text.trim_matches(' ').to_owned()),
        "reverse" => mapped(name, |text| text.chars().rev().collect()),
        "quotename" => Some(Function::new(
            name,
            (1, 2),
            SqlType::NVarChar(Length::Limited(258)),
            |args| Ok(quote_name(&text(&args[0]), args.get(1).map(text))),
        )),
        _ => None,
    }
}

fn quote_name(name: &str, quote: Option<String>) -> Value {
    if name.chars().count() > 128 {
        return Value::Null;
    }
    let quoted = match quote.as_deref().unwrap_or("[") {
        "'" => format!("'{}'", name.replace('\'', "''")),
        "\"" => format!("\"{}\"", name.replace('"', "\"\"")),
        "[" | "]" => format!("[{}]", name.replace(']', "]]")),
        _ => return Value::Null,
    };
    Value::Text(quoted)
}

fn lengths(name: &str) -> Option<Function> {
    Some(match name {
        "len" => Function::new(name, (1, 1), SqlType::Int, |args| {
            let length = match &args[0] {
                Value::Bytes(bytes) => bytes.len(),
                other => units::count(text(other).trim_end_matches(' ')),
            };
            Ok(count(length))
        }),
        "datalength" => Function::typed(
            name,
            (1, 1),
            |_, _| Ok(SqlType::Int),
            |arrays, types, to| {
                let Typed {
                    sql_type,
                    collation,
                } = types[0];
                let lengths = crate::simulator::types::values_of(&arrays[0])?
                    .into_iter()
                    .map(|value| data_length(&value, sql_type, collation));
                crate::simulator::types::array_of(to.sql_type, lengths)
            },
        ),
        "ascii" | "unicode" => Function::new(name, (1, 1), SqlType::Int, |args| {
            let first = units::units(&text(&args[0])).next();
            Ok(first.map(i32::from).into())
        }),
        "charindex" => Function::new(name, (2, 3), SqlType::Int, |args| {
            let (what, whole) = (text(&args[0]).to_lowercase(), text(&args[1]).to_lowercase());
            let start = args.get(2).map(int).transpose()?.unwrap_or(1).max(1);
            let skipped = usize::try_from(start - 1).unwrap_or(0);
            let tail: String = whole.chars().skip(skipped).collect();
            let found = tail.find(&what).filter(|_| !what.is_empty());
            Ok(found.map_or(Value::Int(0), |at| {
                count(tail[..at].chars().count() + skipped + 1)
            }))
        }),
        _ => return None,
    })
}

fn count(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn data_length(value: &Value, of: SqlType, collation: Collation) -> Value {
    match (value, of) {
        (Value::Null, _) => Value::Null,
        (Value::Bytes(bytes), _) => count(bytes.len()),
        (Value::Text(text), SqlType::Char(_) | SqlType::VarChar(_)) => {
            count(code_page::length(text, collation))
        }
        (Value::Text(text), SqlType::Text) => count(code_page::length(text, collation)),
        (Value::Text(text), _) => count(units::count(text) * 2),
        (Value::Variant(inner), _) => data_length(&inner.1, inner.0.sql_type, inner.0.collation),
        _ => Value::Int(of.max_length().into()),
    }
}

fn parts(name: &str) -> Option<Function> {
    Some(match name {
        "substring" => Function::new(name, (3, 3), TEXT, |args| {
            let (start, length) = (int(&args[1])?, int(&args[2])?);
            if length < 0 {
                return Err(ServerError::new(
                    537,
                    "Invalid length parameter passed to the SUBSTRING function.",
                ));
            }
            Ok(slice(&args[0], start, length))
        })
        .returning(part_type),
        "left" => Function::new(name, (2, 2), TEXT, |args| {
            Ok(slice(&args[0], 1, int(&args[1])?))
        })
        .returning(part_type),
        "right" => Function::new(name, (2, 2), TEXT, |args| {
            let length = match &args[0] {
                Value::Bytes(bytes) => bytes.len(),
                other => text(other).chars().count(),
            };
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            let wanted = int(&args[1])?;
            Ok(slice(&args[0], (length - wanted).max(0) + 1, wanted))
        })
        .returning(part_type),
        "replace" => Function::new(name, (3, 3), TEXT, |args| {
            let what = text(&args[1]);
            let whole = text(&args[0]);
            Ok(Value::Text(if what.is_empty() {
                whole
            } else {
                replace(&whole, &what, &text(&args[2]))
            }))
        }),
        "stuff" => Function::new(name, (4, 4), TEXT, |args| {
            let whole: Vec<char> = text(&args[0]).chars().collect();
            let (start, length) = (int(&args[1])?, int(&args[2])?);
            let (Ok(start), Ok(length)) = (usize::try_from(start - 1), usize::try_from(length))
            else {
                return Ok(Value::Null);
            };
            if start >= whole.len() {
                return Ok(Value::Null);
            }
            let end = (start + length).min(whole.len());
            let head: String = whole[..start].iter().collect();
            let tail: String = whole[end..].iter().collect();
            Ok(Value::Text(format!("{head}{}{tail}", text(&args[3]))))
        }),
        _ => return None,
    })
}

fn part_type(types: &[SqlType]) -> SqlType {
    match types[0] {
        binary if binary.is_binary() => SqlType::VarBinary(Length::Max),
        SqlType::Char(_) | SqlType::VarChar(_) => SqlType::VarChar(Length::Max),
        _ => TEXT,
    }
}

/// `length` characters or bytes from the position `start`, which counts from 1 and may lie before it.
fn slice(value: &Value, start: i64, length: i64) -> Value {
    let end = start.saturating_add(length).max(1);
    let from = usize::try_from(start.max(1) - 1).unwrap_or(0);
    let taken = usize::try_from(end - start.max(1)).unwrap_or(0);
    match value {
        Value::Bytes(bytes) => Value::Bytes(bytes.iter().copied().skip(from).take(taken).collect()),
        other => Value::Text(text(other).chars().skip(from).take(taken).collect()),
    }
}

/// Without regard to case, as the default collation compares.
fn replace(whole: &str, what: &str, with: &str) -> String {
    let lower = whole.to_lowercase();
    if lower.len() != whole.len() {
        return whole.replace(what, with);
    }
    let what = what.to_lowercase();
    let mut result = String::new();
    let mut at = 0;
    while let Some(found) = lower[at..].find(&what) {
        result.push_str(&whole[at..at + found]);
        result.push_str(with);
        at += found + what.len();
    }
    result.push_str(&whole[at..]);
    result
}

fn joins(name: &str) -> Option<Function> {
    Some(match name {
        "concat" => Function::new(name, (2, 254), TEXT, |args| {
            Ok(Value::Text(
                args.iter()
                    .map(|v| if v.is_null() { String::new() } else { text(v) })
                    .collect(),
            ))
        })
        .takes_nulls(),
        "concat_ws" => Function::new(name, (3, 254), TEXT, |args| {
            let separator = if args[0].is_null() {
                String::new()
            } else {
                text(&args[0])
            };
            let given: Vec<String> = args[1..]
                .iter()
                .filter(|v| !v.is_null())
                .map(text)
                .collect();
            Ok(Value::Text(given.join(&separator)))
        })
        .takes_nulls(),
        "replicate" => Function::arrays(
            name,
            (2, 2),
            |types, _| Ok(replicated_type(types[0])),
            |arrays, _, result| {
                let (texts, counts) = (values_of(&arrays[0])?, values_of(&arrays[1])?);
                let mut left = BATCH_BYTES;
                let values = texts
                    .iter()
                    .zip(&counts)
                    .map(|(text, count)| replicate(text, count, result, &mut left))
                    .collect::<Result<Vec<_>, _>>()?;
                array_of(result, values)
            },
        ),
        "space" => Function::new(name, (1, 1), TEXT, |args| {
            let blanks = usize::try_from(int(&args[0])?).unwrap_or(0).min(8000);
            Ok(Value::Text(" ".repeat(blanks)))
        }),
        "char" | "nchar" => Function::new(
            name,
            (1, 1),
            SqlType::NVarChar(Length::Limited(1)),
            |args| {
                let c = u32::try_from(int(&args[0])?).ok().and_then(char::from_u32);
                Ok(c.map(String::from).into())
            },
        ),
        _ => return None,
    })
}

/// A result that is not `(max)` has 8000 bytes at most
/// ([REPLICATE](https://learn.microsoft.com/sql/t-sql/functions/replicate-transact-sql)).
fn replicated_type(argument: SqlType) -> SqlType {
    match argument {
        SqlType::VarChar(Length::Max) | SqlType::NVarChar(Length::Max) => argument,
        SqlType::NChar(_) | SqlType::NVarChar(_) => SqlType::NVarChar(Length::Limited(4000)),
        _ => SqlType::VarChar(Length::Limited(8000)),
    }
}

/// REPLICATE of one row; 701 where it would take more than the `left` bytes of its batch.
fn replicate(
    part: &Value,
    count: &Value,
    result: SqlType,
    left: &mut usize,
) -> Result<Value, ServerError> {
    if part.is_null() || count.is_null() {
        return Ok(Value::Null);
    }
    let part = text(part);
    let Ok(count) = usize::try_from(int(count)?) else {
        return Ok(Value::Null);
    };
    let most = match result {
        SqlType::VarChar(Length::Limited(most)) | SqlType::NVarChar(Length::Limited(most)) => {
            usize::from(most)
        }
        _ => usize::MAX,
    };
    let length = units::units(&part).count().max(1);
    let count = count.min(most.div_ceil(length));
    *left = part
        .len()
        .checked_mul(count)
        .and_then(|bytes| left.checked_sub(bytes))
        .ok_or_else(too_much)?;
    let whole = part.repeat(count);
    if units::units(&whole).count() <= most {
        return Ok(Value::Text(whole));
    }
    let mut length = 0;
    let fits = |c: &char| {
        length += units::units(c.encode_utf8(&mut [0; 4])).count();
        length <= most
    };
    Ok(Value::Text(whole.chars().take_while(fits).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_may_begin_before_the_text() {
        let whole = Value::from("abcdef");
        assert_eq!(slice(&whole, 2, 3), Value::from("bcd"));
        assert_eq!(slice(&whole, 0, 3), Value::from("ab"));
        assert_eq!(slice(&whole, 5, 100), Value::from("ef"));
        let bytes = Value::Bytes(vec![1, 2, 3]);
        assert_eq!(slice(&bytes, 3, 1), Value::Bytes(vec![3]));
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote_name("a]b", None), Value::from("[a]]b]"));
        assert_eq!(
            quote_name("it's", Some("'".to_owned())),
            Value::from("'it''s'")
        );
    }

    #[test]
    fn data_length_counts_bytes_by_type() {
        let n = SqlType::NVarChar(Length::Limited(10));
        assert_eq!(
            data_length(&Value::from("abc"), n, Collation::SERVER),
            Value::Int(6)
        );
        assert_eq!(
            data_length(&Value::Int(1), SqlType::BigInt, Collation::SERVER),
            Value::Int(8)
        );
    }

    #[test]
    fn replacing_ignores_case() {
        assert_eq!(replace("aXbx", "x", "-"), "a-b-");
    }
}
