//! The bytes of a `sql_variant`, as MS-TDS 2.2.5.5.4 has them behind their length: the base type's token, the
//! length of its properties, the properties, the value.

use super::convert::unsupported;
use super::text_and_bytes::stored_calendar;
use super::{Typed, Value};
use crate::simulator::protocol::{
    Collation, Length, ServerError, SqlType, code_page, temporal, units,
};

const GUID: u8 = 0x24;
const DATE: u8 = 0x28;
const TIME: u8 = 0x29;
const DATETIME2: u8 = 0x2a;
const DATETIMEOFFSET: u8 = 0x2b;
const TINYINT: u8 = 0x30;
const BIT: u8 = 0x32;
const SMALLINT: u8 = 0x34;
const INT: u8 = 0x38;
const SMALLDATETIME: u8 = 0x3a;
const REAL: u8 = 0x3b;
const MONEY: u8 = 0x3c;
const DATETIME: u8 = 0x3d;
const FLOAT: u8 = 0x3e;
const NUMERIC: u8 = 0x6c;
const SMALLMONEY: u8 = 0x7a;
const BIGINT: u8 = 0x7f;
const VARBINARY: u8 = 0xa5;
const VARCHAR: u8 = 0xa7;
const BINARY: u8 = 0xad;
const CHAR: u8 = 0xaf;
const NVARCHAR: u8 = 0xe7;
const NCHAR: u8 = 0xef;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// Days from 1900-01-01 to 1970-01-01.
const DAYS_FROM_1900: i64 = 25_567;

/// The bytes of a value of a type.
///
/// # Errors
///
/// A `sql_variant` holds no value of the type.
pub(super) fn encode(of: Typed, value: &Value) -> Result<Vec<u8>, ServerError> {
    known(of, value).ok_or_else(|| unsupported(of.sql_type, SqlType::SqlVariant))
}

fn known(of: Typed, value: &Value) -> Option<Vec<u8>> {
    let plain = |token: u8, value: &[u8]| [&[token, 0], value].concat();
    Some(match (of.sql_type, value) {
        (SqlType::Bit, value) => plain(BIT, &[u8::from(value.as_int()? != 0)]),
        (SqlType::TinyInt, value) => plain(TINYINT, &value.as_int()?.to_le_bytes()[..1]),
        (SqlType::SmallInt, value) => plain(SMALLINT, &value.as_int()?.to_le_bytes()[..2]),
        (SqlType::Int, value) => plain(INT, &value.as_int()?.to_le_bytes()[..4]),
        (SqlType::BigInt, value) => plain(BIGINT, &value.as_int()?.to_le_bytes()),
        (SqlType::Real, Value::Float(float)) => plain(REAL, &(*float as f32).to_le_bytes()),
        (SqlType::Float, Value::Float(float)) => plain(FLOAT, &float.to_le_bytes()),
        (SqlType::Money, Value::Decimal(digits, _)) => {
            let money = i64::try_from(*digits).ok()?.rotate_left(32);
            plain(MONEY, &money.to_le_bytes())
        }
        (SqlType::SmallMoney, Value::Decimal(digits, _)) => {
            plain(SMALLMONEY, &i32::try_from(*digits).ok()?.to_le_bytes())
        }
        (SqlType::Decimal { precision, scale }, Value::Decimal(digits, _)) => {
            let length = usize::try_from(of.sql_type.max_length()).ok()? - 1;
            let head = [NUMERIC, 2, precision, scale, u8::from(*digits >= 0)];
            let magnitude = digits.unsigned_abs().to_le_bytes();
            [&head[..], &magnitude[..length]].concat()
        }
        (SqlType::DateTime, Value::Timestamp(micros)) => {
            let days = (micros.div_euclid(DAY) + DAYS_FROM_1900) as i32;
            let thirds = ((micros.rem_euclid(DAY) * 3 + 5_000) / 10_000) as u32;
            plain(
                DATETIME,
                &[days.to_le_bytes(), thirds.to_le_bytes()].concat(),
            )
        }
        (SqlType::SmallDateTime, Value::Timestamp(micros)) => {
            let days = (micros.div_euclid(DAY) + DAYS_FROM_1900) as u16;
            let minutes = (micros.rem_euclid(DAY) / 60_000_000) as u16;
            plain(
                SMALLDATETIME,
                &[days.to_le_bytes(), minutes.to_le_bytes()].concat(),
            )
        }
        (SqlType::Date, value) => plain(DATE, &stored_calendar(value, of.sql_type)?),
        (SqlType::Time(_), value) => scaled(TIME, value, of.sql_type)?,
        (SqlType::DateTime2(_), value) => scaled(DATETIME2, value, of.sql_type)?,
        (SqlType::DateTimeOffset(_), value) => scaled(DATETIMEOFFSET, value, of.sql_type)?,
        (SqlType::UniqueIdentifier, Value::Guid(bytes)) => plain(GUID, bytes),
        (SqlType::Binary(_), Value::Bytes(bytes)) => sized(BINARY, of, bytes, false),
        (SqlType::VarBinary(_), Value::Bytes(bytes)) => sized(VARBINARY, of, bytes, false),
        (SqlType::Char(_), Value::Text(text)) => {
            sized(CHAR, of, &code_page::encode(text, of.collation), true)
        }
        (SqlType::VarChar(_), Value::Text(text)) => {
            sized(VARCHAR, of, &code_page::encode(text, of.collation), true)
        }
        (SqlType::NChar(_), Value::Text(text)) => sized(NCHAR, of, &utf16(text), true),
        (SqlType::NVarChar(_), Value::Text(text)) => sized(NVARCHAR, of, &utf16(text), true),
        _ => return None,
    })
}

fn utf16(text: &str) -> Vec<u8> {
    units::units(text).flat_map(u16::to_le_bytes).collect()
}

/// A type whose property is its scale.
fn scaled(token: u8, value: &Value, sql_type: SqlType) -> Option<Vec<u8>> {
    // The stored form begins with the scale as well.
    Some([&[token, 1], stored_calendar(value, sql_type)?.as_slice()].concat())
}

/// A type whose properties are its longest length, and before it the collation of text.
fn sized(token: u8, of: Typed, value: &[u8], text: bool) -> Vec<u8> {
    let longest = u16::try_from(of.sql_type.max_length()).unwrap_or(8000);
    let mut bytes = vec![token, if text { 7 } else { 2 }];
    if text {
        bytes.extend_from_slice(&of.collation.bytes());
    }
    bytes.extend_from_slice(&longest.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// The value of bytes; `None` if they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    let (&[token, length], rest) = bytes.split_first_chunk()?;
    let (properties, value) = rest.split_at_checked(length.into())?;
    let (of, value) = typed(token, properties, value)?;
    Some(Value::Variant(Box::new((of, value))))
}

fn typed(token: u8, properties: &[u8], value: &[u8]) -> Option<(Typed, Value)> {
    let plain = |sql_type: SqlType, value: Value| Some((Typed::from(sql_type), value));
    match token {
        BIT => plain(SqlType::Bit, Value::Bool(*value.first()? != 0)),
        TINYINT => plain(SqlType::TinyInt, Value::Int((*value.first()?).into())),
        SMALLINT => plain(
            SqlType::SmallInt,
            Value::Int(i16::from_le_bytes(value.try_into().ok()?).into()),
        ),
        INT => plain(
            SqlType::Int,
            Value::Int(i32::from_le_bytes(value.try_into().ok()?).into()),
        ),
        BIGINT => plain(
            SqlType::BigInt,
            Value::Int(i64::from_le_bytes(value.try_into().ok()?)),
        ),
        REAL => plain(
            SqlType::Real,
            Value::Float(f32::from_le_bytes(value.try_into().ok()?).into()),
        ),
        FLOAT => plain(
            SqlType::Float,
            Value::Float(f64::from_le_bytes(value.try_into().ok()?)),
        ),
        MONEY => {
            let digits = i64::from_le_bytes(value.try_into().ok()?).rotate_left(32);
            plain(SqlType::Money, Value::Decimal(digits.into(), 4))
        }
        SMALLMONEY => {
            let digits = i32::from_le_bytes(value.try_into().ok()?);
            plain(SqlType::SmallMoney, Value::Decimal(digits.into(), 4))
        }
        GUID => plain(
            SqlType::UniqueIdentifier,
            Value::Guid(value.try_into().ok()?),
        ),
        DATETIME | SMALLDATETIME => legacy(token, value),
        NUMERIC | 0x6a => decimal(properties, value),
        DATE | TIME | DATETIME2 | DATETIMEOFFSET => calendar(token, properties, value),
        _ => text_or_bytes(token, properties, value),
    }
}

fn legacy(token: u8, value: &[u8]) -> Option<(Typed, Value)> {
    let (sql_type, micros) = if token == DATETIME {
        (SqlType::DateTime, temporal::datetime(value)?)
    } else {
        (SqlType::SmallDateTime, temporal::smalldatetime(value)?)
    };
    Some((sql_type.into(), Value::Timestamp(micros)))
}

fn decimal(properties: &[u8], value: &[u8]) -> Option<(Typed, Value)> {
    let &[precision, scale] = properties else {
        return None;
    };
    if !(1..=38).contains(&precision) || scale > precision {
        return None;
    }
    let (sign, magnitude) = value.split_first()?;
    let mut whole = [0; 16];
    whole.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
    let digits = i128::try_from(u128::from_le_bytes(whole)).ok()?;
    let digits = if *sign == 0 { -digits } else { digits };
    let sql_type = SqlType::Decimal { precision, scale };
    Some((sql_type.into(), Value::Decimal(digits, scale)))
}

fn calendar(token: u8, properties: &[u8], value: &[u8]) -> Option<(Typed, Value)> {
    if token == DATE {
        let date = Value::Date(temporal::date(value)?);
        return Some((SqlType::Date.into(), date));
    }
    let scale = properties.first().copied().filter(|scale| *scale <= 7)?;
    let (sql_type, value) = match token {
        TIME => {
            let nanos = temporal::time(value, scale)?;
            (SqlType::Time(scale), Value::Time(nanos))
        }
        DATETIME2 => {
            let ticks = temporal::datetime2(value, scale)?;
            (SqlType::DateTime2(scale), Value::Instant(ticks))
        }
        _ => {
            let (ticks, minutes) = temporal::datetimeoffset(value, scale)?;
            let value = Value::Offset(ticks, minutes);
            (SqlType::DateTimeOffset(scale), value)
        }
    };
    Some((sql_type.into(), value))
}

fn text_or_bytes(token: u8, properties: &[u8], value: &[u8]) -> Option<(Typed, Value)> {
    let (collation, longest) = match properties {
        [a, b] => (Collation::SERVER, u16::from_le_bytes([*a, *b])),
        [collation @ .., a, b] => {
            let collation = Collation::of_bytes(collation.try_into().ok()?);
            (collation, u16::from_le_bytes([*a, *b]))
        }
        _ => return None,
    };
    let limited = Length::Limited(longest.clamp(1, 8000));
    let units = (longest / 2).clamp(1, 4000);
    let (sql_type, value) = match token {
        BINARY => (
            SqlType::Binary(longest.clamp(1, 8000)),
            Value::Bytes(value.to_vec()),
        ),
        VARBINARY => (SqlType::VarBinary(limited), Value::Bytes(value.to_vec())),
        CHAR => (
            SqlType::Char(longest.clamp(1, 8000)),
            Value::Text(code_page::decode(value, collation)?),
        ),
        VARCHAR => (
            SqlType::VarChar(limited),
            Value::Text(code_page::decode(value, collation)?),
        ),
        NCHAR => (
            SqlType::NChar(units),
            Value::Text(units::text_of_bytes(value)?),
        ),
        NVARCHAR => (
            SqlType::NVarChar(Length::Limited(units)),
            Value::Text(units::text_of_bytes(value)?),
        ),
        _ => return None,
    };
    Some((Typed::new(sql_type, collation), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_types() {
        for (sql_type, value) in [
            (SqlType::Bit, Value::Bool(true)),
            (SqlType::TinyInt, Value::Int(255)),
            (SqlType::SmallInt, Value::Int(-2)),
            (SqlType::BigInt, Value::Int(i64::MIN)),
            (SqlType::Real, Value::Float(1.5)),
            (SqlType::Money, Value::Decimal(i64::MAX.into(), 4)),
            (SqlType::SmallMoney, Value::Decimal(-1, 4)),
            (
                SqlType::Decimal {
                    precision: 38,
                    scale: 38,
                },
                Value::Decimal(-(10_i128.pow(38) - 1), 38),
            ),
            (SqlType::DateTime, Value::Timestamp(-6_847_804_799_997_000)),
            (SqlType::SmallDateTime, Value::Timestamp(60_000_000)),
            (SqlType::Date, Value::Date(-719_162)),
            (SqlType::Time(7), Value::Time(86_399_999_999_900)),
            (
                SqlType::DateTime2(7),
                Value::Instant(638_396_640_001_234_567),
            ),
            (
                SqlType::DateTimeOffset(3),
                Value::Offset(638_396_640_001_230_000, -330),
            ),
            (SqlType::UniqueIdentifier, Value::Guid([7; 16])),
            (SqlType::Binary(3), Value::Bytes(vec![1, 2, 3])),
            (SqlType::VarChar(Length::Limited(10)), Value::from("é€")),
            (SqlType::NChar(2), Value::from("Ж ")),
        ] {
            let bytes = encode(sql_type.into(), &value).unwrap();
            let expected = Value::Variant(Box::new((sql_type.into(), value)));
            assert_eq!(decode(&bytes), Some(expected), "{sql_type:?}");
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0xff, 0]), None);
        assert_eq!(decode(&[INT, 9, 0]), None);
    }

    #[test]
    fn dates_and_times_beyond_their_types_are_no_values() {
        let far = i32::MAX.to_le_bytes();
        let datetime = |days: [u8; 4], thirds: u32| {
            [&[DATETIME, 0], &days[..], &thirds.to_le_bytes()].concat()
        };
        assert!(decode(&datetime([0; 4], 0)).is_some());
        for bytes in [
            datetime(far, 0),
            datetime([0; 4], u32::MAX),
            vec![SMALLDATETIME, 0, 0, 0, 0xa0, 0x05],
            vec![DATE, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![DATE, 0, 0xff, 0xff, 0xff],
            vec![TIME, 1, 7, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![DATETIME2, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff],
            vec![DATETIMEOFFSET, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x7f],
        ] {
            assert_eq!(decode(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn an_int_and_a_text_are_those_of_the_specification() {
        assert_eq!(
            encode(SqlType::Int.into(), &Value::Int(1)).unwrap(),
            [0x38, 0, 1, 0, 0, 0]
        );
        let text = SqlType::VarChar(Length::Limited(5));
        assert_eq!(
            encode(text.into(), &Value::from("ab")).unwrap(),
            [0xa7, 7, 0x09, 0x04, 0xd0, 0x00, 0x34, 5, 0, b'a', b'b']
        );
    }
}
