//! Conversions to texts, bytes and `uniqueidentifier`, and their fit into a column's length.

use super::calendar::join_day;
use super::convert::{Mode, failed_type, forbidden, length, unsupported};
use super::format::{bytes_to_hex, check_style, text_of};
use super::parse_text::{parse_guid, parse_hex};
use super::{Typed, Value, hierarchy};
use crate::simulator::protocol::forms::TICKS_PER_DAY;
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType, Udt, code_page, units};

pub(super) fn to_text(
    value: &Value,
    from: SqlType,
    to: Typed,
    style: i64,
) -> Result<String, ServerError> {
    if let (Value::Bytes(bytes), SqlType::Udt(udt)) = (value, from) {
        return Some(bytes)
            .filter(|_| udt == Udt::HierarchyId)
            .and_then(|bytes| hierarchy::text(bytes))
            .ok_or_else(|| unsupported(from, to.sql_type));
    }
    if let Value::Bytes(bytes) = value {
        return match style {
            1 => Ok(format!("0x{}", bytes_to_hex(bytes))),
            2 => Ok(bytes_to_hex(bytes)),
            _ => text_of_bytes(bytes, from, to),
        };
    }
    check_style(value, from, style)?;
    Ok(text_of(value, from, style).unwrap_or_default())
}

/// The characters that bytes are, in the encoding of a type.
fn text_of_bytes(bytes: &[u8], from: SqlType, to: Typed) -> Result<String, ServerError> {
    let text = if to.sql_type.is_wide() {
        let mut bytes = bytes.to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        units::text_of_bytes(&bytes)
    } else {
        code_page::decode(bytes, to.collation)
    };
    text.ok_or_else(|| {
        ServerError::unsupported(format!(
            "the conversion of {} to {} where the bytes are no characters",
            from.base_name(),
            to.sql_type.base_name()
        ))
    })
}

fn cut(value: String) -> ServerError {
    ServerError::truncated("", "", &value)
}

/// The length of text as a type counts it: UTF-16 code units, or bytes of the code page.
fn extent(text: &str, wide: bool, collation: Collation) -> usize {
    if wide {
        units::count(text)
    } else {
        code_page::length(text, collation)
    }
}

/// Puts text into a type: through its code page, cut and padded to its length.
pub(super) fn fit_text(text: String, to: Typed, mode: Mode) -> Result<Value, ServerError> {
    let wide = to.sql_type.is_wide();
    let mut text = if wide {
        text
    } else {
        code_page::through(text, to.collation)
    };
    let Some(limit) = length(to.sql_type) else {
        return Ok(Value::Text(text));
    };
    let width = |text: &str| extent(text, wide, to.collation);
    let mut filled = width(&text);
    if filled > limit {
        let (kept, used) = cut_text(&text, limit, wide, width);
        // Blanks beyond the length are dropped without an error.
        if mode == Mode::Assign && !text[kept.len()..].trim_end_matches(' ').is_empty() {
            return Err(cut(kept));
        }
        text = kept;
        filled = used;
    }
    if matches!(to.sql_type, SqlType::Char(_) | SqlType::NChar(_)) {
        text.extend(std::iter::repeat_n(' ', limit.saturating_sub(filled)));
    }
    Ok(Value::Text(text))
}

/// The longest front of text that a limit allows, and its length. A surrogate pair is cut in two.
fn cut_text(
    text: &str,
    limit: usize,
    wide: bool,
    width: impl Fn(&str) -> usize,
) -> (String, usize) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let next = used + width(&text[at..at + c.len_utf8()]);
        if next > limit {
            let mut kept = text[..at].to_owned();
            if wide && used < limit {
                kept.extend(units::text(units::units(&text[at..]).take(1)));
                used += 1;
            }
            return (kept, used);
        }
        used = next;
    }
    (text.to_owned(), used)
}

/// The bytes of a value for a binary type. Numbers go to the right of a fixed length; texts and bytes to
/// the left, where [`fit_bytes`] fills up.
pub(super) fn to_bytes(
    value: &Value,
    source: Typed,
    to: SqlType,
    style: i64,
) -> Result<Vec<u8>, ServerError> {
    let from = source.sql_type;
    match value {
        Value::Bytes(bytes) => Ok(bytes.clone()),
        Value::Guid(bytes) => Ok(bytes.to_vec()),
        Value::Text(text) if matches!(style, 1 | 2) => {
            let digits = match style {
                1 => text.strip_prefix("0x"),
                _ => Some(text.as_str()),
            };
            digits
                .filter(|digits| digits.len() % 2 == 0)
                .and_then(parse_hex)
                .ok_or_else(|| failed_type(from, SqlType::VarBinary(Length::Max)))
        }
        Value::Text(text) if from.is_wide() => {
            Ok(units::units(text).flat_map(u16::to_le_bytes).collect())
        }
        Value::Text(text) => Ok(code_page::encode(text, source.collation)),
        Value::Date(_) | Value::Time(_) | Value::Instant(_) | Value::Offset(..) => {
            calendar_bytes(value, from, to)
        }
        _ => Ok(aligned_right(number_bytes(value, from)?, to)),
    }
}

/// A number's bytes, the highest first.
fn number_bytes(value: &Value, from: SqlType) -> Result<Vec<u8>, ServerError> {
    let width = usize::try_from(from.max_length()).unwrap_or(8).min(8);
    let low = |int: i64| int.to_be_bytes()[8 - width..].to_vec();
    Ok(match value {
        Value::Bool(bit) => vec![u8::from(*bit)],
        Value::Int(int) => low(*int),
        Value::Float(float) if from == SqlType::Real => (*float as f32).to_be_bytes().to_vec(),
        Value::Float(float) => float.to_be_bytes().to_vec(),
        Value::Decimal(digits, _) if matches!(from, SqlType::Money | SqlType::SmallMoney) => {
            low(i64::try_from(*digits).unwrap_or(0))
        }
        // As it is stored: precision, scale, a blank, the sign, and the digits from the lowest byte on.
        Value::Decimal(digits, scale) => {
            let mut bytes = vec![from.precision(), *scale, 0, u8::from(*digits >= 0)];
            let magnitude = digits.unsigned_abs().to_le_bytes();
            let length = usize::try_from(from.max_length()).unwrap_or(17) - 1;
            bytes.extend_from_slice(&magnitude[..length]);
            bytes
        }
        Value::Timestamp(micros) => legacy_bytes(*micros, from),
        _ => return Err(forbidden(from, SqlType::VarBinary(Length::Max))),
    })
}

/// Days since 1900, then 1/300 seconds or minutes of the day.
fn legacy_bytes(micros: i64, from: SqlType) -> Vec<u8> {
    const DAY: i64 = 86_400_000_000;
    let days = micros.div_euclid(DAY) + 25_567;
    let of_day = micros.rem_euclid(DAY);
    if from == SqlType::SmallDateTime {
        let minutes = of_day / 60_000_000;
        let halves = [days as u16, minutes as u16];
        return halves.into_iter().flat_map(u16::to_be_bytes).collect();
    }
    let thirds = (of_day * 3 + 5_000) / 10_000;
    let halves = [days as u32, thirds as u32];
    halves.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Zeros in front up to a fixed length, or the highest bytes cut off.
fn aligned_right(mut bytes: Vec<u8>, to: SqlType) -> Vec<u8> {
    let Some(limit) = length(to) else {
        return bytes;
    };
    if bytes.len() > limit {
        bytes.drain(..bytes.len() - limit);
    } else if matches!(to, SqlType::Binary(_)) {
        let missing = limit - bytes.len();
        bytes.splice(0..0, std::iter::repeat_n(0, missing));
    }
    bytes
}

/// The newer dates and times for a binary type, which must have just their length.
fn calendar_bytes(value: &Value, from: SqlType, to: SqlType) -> Result<Vec<u8>, ServerError> {
    let bytes = stored_calendar(value, from).ok_or_else(|| forbidden(from, to))?;
    let (fixed, limit) = (matches!(to, SqlType::Binary(_)), length(to));
    match limit {
        Some(limit) if bytes.len() > limit || fixed && bytes.len() < limit => {
            Err(unsupported(from, to))
        }
        _ => Ok(bytes),
    }
}

/// The newer dates and times as they are stored, the lowest byte first: scale, time, date, offset.
pub(super) fn stored_calendar(value: &Value, from: SqlType) -> Option<Vec<u8>> {
    let scale = from.scale();
    let date = |ticks: i64| (ticks / TICKS_PER_DAY).to_le_bytes()[..3].to_vec();
    let time = |ticks: i64| {
        let steps = ticks % TICKS_PER_DAY / 10_i64.pow(7 - u32::from(scale.min(7)));
        let width = match scale {
            0..=2 => 3,
            3 | 4 => 4,
            _ => 5,
        };
        steps.to_le_bytes()[..width].to_vec()
    };
    Some(match value {
        Value::Date(days) => date(join_day(*days, 0)),
        Value::Time(nanos) => [vec![scale], time(nanos / 100)].concat(),
        Value::Instant(ticks) => [vec![scale], time(*ticks), date(*ticks)].concat(),
        Value::Offset(ticks, minutes) => {
            let offset = minutes.to_le_bytes().to_vec();
            [vec![scale], time(*ticks), date(*ticks), offset].concat()
        }
        _ => return None,
    })
}

pub(super) fn fit_bytes(mut bytes: Vec<u8>, to: SqlType, mode: Mode) -> Result<Value, ServerError> {
    let Some(limit) = length(to) else {
        return Ok(Value::Bytes(bytes));
    };
    if bytes.len() > limit {
        if mode == Mode::Assign {
            return Err(cut(bytes_to_hex(&bytes[..limit])));
        }
        bytes.truncate(limit);
    }
    if matches!(to, SqlType::Binary(_)) {
        bytes.resize(limit, 0);
    }
    Ok(Value::Bytes(bytes))
}

pub(super) fn to_guid(value: &Value, from: SqlType) -> Result<Value, ServerError> {
    match value {
        Value::Guid(bytes) => Ok(Value::Guid(*bytes)),
        Value::Text(text) => parse_guid(text).map(Value::Guid).ok_or_else(|| {
            ServerError::new(
                8169,
                "Conversion failed when converting from a character string to uniqueidentifier.",
            )
        }),
        Value::Bytes(bytes) => {
            let mut whole = [0; 16];
            let length = bytes.len().min(16);
            whole[..length].copy_from_slice(&bytes[..length]);
            Ok(Value::Guid(whole))
        }
        _ => Err(forbidden(from, SqlType::UniqueIdentifier)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::types::convert_value;

    fn bytes(value: Value, from: SqlType, to: SqlType) -> Vec<u8> {
        match convert_value(value, from, to, 0, Mode::Cast).unwrap() {
            Value::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_stand_right_and_bytes_left_in_a_binary() {
        let one = || Value::Bytes(vec![1]);
        assert_eq!(
            bytes(
                one(),
                SqlType::VarBinary(Length::Limited(1)),
                SqlType::Binary(3)
            ),
            [1, 0, 0]
        );
        assert_eq!(
            bytes(Value::Int(1), SqlType::Int, SqlType::Binary(6)),
            [0, 0, 0, 0, 0, 1]
        );
        assert_eq!(
            bytes(Value::Int(258), SqlType::Int, SqlType::Binary(1)),
            [2]
        );
        let short = SqlType::VarBinary(Length::Limited(2));
        assert_eq!(bytes(Value::Int(0x0102_0304), SqlType::Int, short), [3, 4]);
        assert_eq!(
            bytes(Value::Int(-1), SqlType::BigInt, SqlType::Binary(8)),
            [0xff; 8]
        );
        assert_eq!(
            bytes(Value::Float(1.0), SqlType::Float, SqlType::Binary(8)),
            [0x3f, 0xf0, 0, 0, 0, 0, 0, 0]
        );
        let decimal = SqlType::Decimal {
            precision: 2,
            scale: 1,
        };
        let stored = [2, 1, 0, 1, 10, 0, 0, 0];
        assert_eq!(
            bytes(
                Value::Decimal(10, 1),
                decimal,
                SqlType::VarBinary(Length::Max)
            ),
            stored
        );
        assert_eq!(
            bytes(
                Value::from("a"),
                SqlType::NVarChar(Length::Max),
                SqlType::Binary(3)
            ),
            [b'a', 0, 0]
        );
    }

    #[test]
    fn a_code_page_counts_bytes_and_an_n_type_code_units() {
        let fit = |text: &str, to, collation| {
            let collation = Collation::named(collation).unwrap();
            fit_text(text.to_owned(), Typed::new(to, collation), Mode::Cast).unwrap()
        };
        let two = SqlType::VarChar(Length::Limited(2));
        assert_eq!(fit("表a", two, "Japanese_CI_AS"), Value::from("表"));
        assert_eq!(fit("a表", two, "Japanese_CI_AS"), Value::from("a"));
        assert_eq!(fit("éЖz", two, "Latin1_General_CI_AS"), Value::from("é?"));
        assert_eq!(
            fit("é", SqlType::Char(3), "Latin1_General_100_CI_AS_SC_UTF8"),
            Value::from("é ")
        );
        assert_eq!(
            fit("é", SqlType::Char(3), "Latin1_General_CI_AS"),
            Value::from("é  ")
        );
        let Value::Text(half) = fit(
            "a😀",
            SqlType::NVarChar(Length::Limited(2)),
            "Latin1_General_CI_AS",
        ) else {
            panic!("no text");
        };
        assert_eq!(units::units(&half).collect::<Vec<_>>(), [0x61, 0xd83d]);
    }
}
