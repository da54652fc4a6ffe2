//! Functions of texts and bytes.

use super::{BATCH_BYTES, Function, each_row, too_much};
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType, code_page, units};
use crate::simulator::types::{Typed, Value, array_of, lower, text_of, upper, values_of};

const TEXT: SqlType = SqlType::NVarChar(Length::Max);

/// The function of a name, in a database of a collation.
pub(super) fn function(name: &str, collation: Collation) -> Option<Function> {
    one_text(name)
        .or_else(|| codes(name, collation))
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

/// An argument that is a whole number.
pub(super) fn int(value: &Value) -> Result<i64, ServerError> {
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
        "upper" => cased(name, upper),
        "lower" => cased(name, |c, collation| lower(c, collation).0),
        "ltrim" => mapped(name, |text| text.trim_start_matches(' ').to_owned()),
        "rtrim" => mapped(name, |text| text.trim_end_matches(' ').to_owned()),
        "trim" => mapped(name, |text| text.trim_matches(' ').to_owned()),
        "quotename" => Some(Function::new(
            name,
            (1, 2),
            SqlType::NVarChar(Length::Limited(258)),
            |args| Ok(quote_name(&text(&args[0]), args.get(1).map(text))),
        )),
        _ => None,
    }
}

/// Another case of every character that has one in the type.
fn cased(name: &str, map: fn(char, Collation) -> char) -> Option<Function> {
    Some(Function::typed(
        name,
        (1, 1),
        |types, _| Ok(if types[0].is_text() { types[0] } else { TEXT }),
        move |arrays, types, to| {
            let Typed {
                sql_type,
                collation,
            } = types[0];
            let fits = |c: char| sql_type.is_wide() || code_page::holds(c, collation);
            let values = each_row(arrays, arrays[0].len(), true, |args| {
                let text = text(&args[0]);
                let mapped = text.chars().map(|c| {
                    let other = map(c, collation);
                    if fits(other) { other } else { c }
                });
                Ok(Value::Text(mapped.collect()))
            })?;
            array_of(to.sql_type, values)
        },
    ))
}

/// Functions of the codes of characters.
fn codes(name: &str, collation: Collation) -> Option<Function> {
    Some(match name {
        "ascii" => Function::typed(
            name,
            (1, 1),
            |_, _| Ok(SqlType::Int),
            |arrays, types, to| {
                let collation = types[0].collation;
                let values = each_row(arrays, arrays[0].len(), true, |args| {
                    let bytes = code_page::encode(&text(&args[0]), collation);
                    Ok(bytes.first().map(|byte| i32::from(*byte)).into())
                })?;
                array_of(to.sql_type, values)
            },
        ),
        "unicode" => Function::typed(
            name,
            (1, 1),
            |_, _| Ok(SqlType::Int),
            |arrays, types, to| {
                let whole = types[0].collation.has_supplementary();
                let values = each_row(arrays, arrays[0].len(), true, |args| {
                    let text = text(&args[0]);
                    let first = text.chars().next().filter(|_| whole);
                    let code =
                        match first.filter(|c| !units::is_ambiguous(c.encode_utf8(&mut [0; 4]))) {
                            Some(c) => i64::from(u32::from(c)).into(),
                            None => units::units(&text).next().map(i32::from).into(),
                        };
                    Ok(code)
                })?;
                array_of(to.sql_type, values)
            },
        ),
        "char" => Function::new(name, (1, 1), SqlType::Char(1), move |args| {
            let Ok(byte) = u8::try_from(int(&args[0])?) else {
                return Ok(Value::Null);
            };
            let decoded = code_page::decode(&[byte], collation);
            let refused = || ServerError::unsupported("CHAR of a part of a character");
            decoded.map(Value::Text).ok_or_else(refused)
        }),
        "nchar" => {
            let most = if collation.has_supplementary() {
                0x10_ffff
            } else {
                0xffff
            };
            let length = if collation.has_supplementary() { 2 } else { 1 };
            Function::new(name, (1, 1), SqlType::NChar(length), move |args| {
                let code = u32::try_from(int(&args[0])?).ok();
                let Some(code) = code.filter(|code| *code <= most) else {
                    return Ok(Value::Null);
                };
                let text = match u16::try_from(code) {
                    Ok(unit) => units::text([unit]),
                    Err(_) => char::from_u32(code).map(String::from),
                };
                Ok(text.into())
            })
        }
        _ => return None,
    })
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
        _ => return None,
    })
}

/// A count of characters or bytes.
pub(super) fn count(n: usize) -> Value {
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

fn joins(name: &str) -> Option<Function> {
    Some(match name {
        "concat" => Function::new(name, (2, 254), TEXT, |args| {
            let given = args.iter().filter(|value| !value.is_null());
            Ok(Value::Text(units::whole(given.map(text).collect())))
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
            Ok(Value::Text(units::whole(given.join(&separator))))
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
}
