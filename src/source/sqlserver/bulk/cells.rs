//! Values of cells (MS-TDS 2.2.5.5), as the driver makes them.

use std::borrow::Cow;

use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};
use tiberius::{ColumnData, Uuid};

use super::columns::Kind;

/// NULL of a column.
pub(super) fn null(kind: Kind) -> ColumnData<'static> {
    match kind {
        Kind::Integer(1) => ColumnData::U8(None),
        Kind::Integer(2) => ColumnData::I16(None),
        Kind::Integer(4) => ColumnData::I32(None),
        Kind::Integer(_) => ColumnData::I64(None),
        Kind::Bit => ColumnData::Bit(None),
        Kind::Float(4) => ColumnData::F32(None),
        Kind::Float(_) => ColumnData::F64(None),
        Kind::DateTime => ColumnData::DateTime(None),
        Kind::Decimal(_) => ColumnData::Numeric(None),
        Kind::Guid => ColumnData::Guid(None),
        Kind::Date => ColumnData::Date(None),
        Kind::Time(_) => ColumnData::Time(None),
        Kind::DateTime2(_) => ColumnData::DateTime2(None),
        Kind::DateTimeOffset(_) => ColumnData::DateTimeOffset(None),
        Kind::Text | Kind::Other => ColumnData::String(None),
        Kind::Binary => ColumnData::Binary(None),
    }
}

/// What `with` makes of the value of a cell that is not NULL; text is written to `text` first. `None` for bytes that are no
/// such value.
///
/// `with` is called in each arm, so that it can be built in there for a value of a known kind.
#[inline(always)]
pub(super) fn value<T>(
    kind: Kind,
    bytes: &[u8],
    text: &mut Vec<u8>,
    with: impl FnOnce(ColumnData<'_>) -> T,
) -> Option<T> {
    Some(match (kind, bytes) {
        (Kind::Integer(_), [byte]) => with(ColumnData::U8(Some(*byte))),
        (Kind::Integer(_), [a, b]) => with(ColumnData::I16(Some(i16::from_le_bytes([*a, *b])))),
        (Kind::Integer(_), [a, b, c, d]) => {
            with(ColumnData::I32(Some(i32::from_le_bytes([*a, *b, *c, *d]))))
        }
        (Kind::Integer(_), bytes) => with(ColumnData::I64(Some(i64::from_le_bytes(
            bytes.try_into().ok()?,
        )))),
        (Kind::Bit, [byte]) => with(ColumnData::Bit(Some(*byte > 0))),
        (Kind::Float(_), [a, b, c, d]) => {
            with(ColumnData::F32(Some(f32::from_le_bytes([*a, *b, *c, *d]))))
        }
        (Kind::Float(_), bytes) => with(ColumnData::F64(Some(f64::from_le_bytes(
            bytes.try_into().ok()?,
        )))),
        (Kind::DateTime, bytes) => with(datetime(bytes)?),
        (Kind::Decimal(scale), bytes) => with(ColumnData::Numeric(Some(decimal(bytes, scale)?))),
        (Kind::Guid, bytes) => with(ColumnData::Guid(Some(Uuid::from_bytes_le(
            bytes.try_into().ok()?,
        )))),
        (Kind::Date, [a, b, c]) => with(ColumnData::Date(Some(date([*a, *b, *c])))),
        (Kind::Time(scale), bytes) => with(ColumnData::Time(Some(time(bytes, scale)?))),
        (Kind::DateTime2(scale), bytes) => {
            with(ColumnData::DateTime2(Some(datetime2(bytes, scale)?)))
        }
        (Kind::DateTimeOffset(scale), bytes) => {
            with(ColumnData::DateTimeOffset(Some(with_offset(bytes, scale)?)))
        }
        (Kind::Text, bytes) => with(ColumnData::String(Some(Cow::Borrowed(utf16(bytes, text)?)))),
        (Kind::Binary, bytes) => with(ColumnData::Binary(Some(Cow::Borrowed(bytes)))),
        (Kind::Bit | Kind::Date | Kind::Other, _) => return None,
    })
}

fn datetime(bytes: &[u8]) -> Option<ColumnData<'static>> {
    if let [a, b, c, d] = bytes {
        let (days, minutes) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        return Some(ColumnData::SmallDateTime(Some(SmallDateTime::new(
            days, minutes,
        ))));
    }
    let (days, fragments) = bytes.split_first_chunk()?;
    let fragments = u32::from_le_bytes(fragments.try_into().ok()?);
    Some(ColumnData::DateTime(Some(DateTime::new(
        i32::from_le_bytes(*days),
        fragments,
    ))))
}

/// The sign, then the digits as a number of 4, 8, 12 or 16 bytes.
fn decimal(bytes: &[u8], scale: u8) -> Option<Numeric> {
    let (sign, digits) = bytes.split_first()?;
    let digits = match digits.len() {
        4 => i128::from(u32::from_le_bytes(digits.try_into().ok()?)),
        8 => i128::from(u64::from_le_bytes(digits.try_into().ok()?)),
        12 | 16 => {
            let mut whole = [0; 16];
            whole[..digits.len()].copy_from_slice(digits);
            i128::try_from(u128::from_le_bytes(whole)).ok()?
        }
        _ => return None,
    };
    let value = match sign {
        0 => -digits,
        1 => digits,
        _ => return None,
    };
    Some(Numeric::new_with_scale(value, scale))
}

/// Days since the year 1.
fn date([a, b, c]: [u8; 3]) -> Date {
    Date::new(u32::from_le_bytes([a, b, c, 0]))
}

fn time(bytes: &[u8], scale: u8) -> Option<Time> {
    let increments = match (scale, bytes) {
        (0..=2, [a, b, c]) => u32::from_le_bytes([*a, *b, *c, 0]).into(),
        (3..=4, [a, b, c, d]) => u32::from_le_bytes([*a, *b, *c, *d]).into(),
        (5..=7, [a, b, c, d, e]) => u64::from_le_bytes([*a, *b, *c, *d, *e, 0, 0, 0]),
        _ => return None,
    };
    Some(Time::new(increments, scale))
}

fn datetime2(bytes: &[u8], scale: u8) -> Option<DateTime2> {
    let (bytes, days) = bytes.split_last_chunk()?;
    Some(DateTime2::new(date(*days), time(bytes, scale)?))
}

/// The instant in UTC, then the minutes that its zone is ahead.
fn with_offset(bytes: &[u8], scale: u8) -> Option<DateTimeOffset> {
    let (bytes, offset) = bytes.split_last_chunk()?;
    let at = datetime2(bytes, scale)?;
    Some(DateTimeOffset::new(at, i16::from_le_bytes(*offset)))
}

/// UTF-16 as UTF-8; what is half of a character becomes U+FFFD.
fn utf16<'a>(bytes: &[u8], text: &'a mut Vec<u8>) -> Option<&'a str> {
    text.clear();
    let (units, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let highs = units
        .iter()
        .fold(0, |all, [low, high]| all | (low & 0x80) | high);
    if highs == 0 {
        text.extend(units.iter().map(|[low, _]| *low));
    } else {
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        for character in char::decode_utf16(units) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    str::from_utf8(text).ok()
}
