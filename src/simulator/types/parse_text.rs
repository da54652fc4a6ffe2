//! Text as values.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime};

use super::calendar::{TICKS_PER_MINUTE, days_of_ticks, ticks_of};
use super::{DateOrder, Value};

/// An integer, with blanks around it; the empty text is 0, as in SQL Server.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    let text = text.trim();
    if text.is_empty() {
        return Some(0);
    }
    text.parse().ok()
}

/// A decimal number as digits and scale; exponents are accepted for floats only.
pub(crate) fn parse_decimal(text: &str) -> Option<Value> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let joined = format!("{whole}{fraction}");
    if joined.is_empty() || !joined.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i128 = joined.parse().ok()?;
    let scale = u8::try_from(fraction.len()).ok()?;
    Some(Value::Decimal(if negative { -value } else { value }, scale))
}

/// A floating-point number.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.is_empty() {
        return Some(0.0);
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite())
}

/// How the parts of a date are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The order of day and month where the year does not come first.
    pub(crate) order: DateOrder,
    /// Whether it is for DATETIME or SMALLDATETIME, which take the order where the year comes first too, unless
    /// a `T` stands before the time.
    pub(crate) legacy: bool,
}

/// A date with or without a time and an offset, in steps of 100 ns since 0001-01-01 in UTC and minutes of
/// offset; a time alone is on 1900-01-01. Dates are of numbers alone, with a year of four digits.
pub(crate) fn parse_instant(text: &str, reading: Reading) -> Option<(i64, i16)> {
    let text = text.trim();
    if text.is_empty() {
        return Some((ticks_of(NaiveDate::from_ymd_opt(1900, 1, 1)?.into()), 0));
    }
    let (text, offset) = split_offset(text)?;
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.trim()),
        None if text.contains(':') => ("1900-01-01", text),
        None => (text, ""),
    };
    let is_iso = text.contains('T');
    let legacy = reading.legacy && !is_iso;
    let at = NaiveDateTime::new(
        parse_date(date, Reading { legacy, ..reading })?,
        parse_time(time)?,
    );
    Some((ticks_of(at) - i64::from(offset) * TICKS_PER_MINUTE, offset))
}

/// A date alone.
pub(crate) fn parse_date_days(text: &str, reading: Reading) -> Option<i32> {
    let (ticks, offset) = parse_instant(text, reading)?;
    Some(days_of_ticks(ticks + i64::from(offset) * TICKS_PER_MINUTE))
}

/// The nanoseconds of the day of a time, or of a date and time.
pub(crate) fn parse_time_nanos(text: &str, reading: Reading) -> Option<i64> {
    let text = text.trim();
    let time = text
        .rsplit(['T', ' '])
        .next()
        .filter(|part| part.contains(':'));
    match time {
        Some(time) => {
            let (time, _) = split_offset(time)?;
            let time = parse_time(time)?;
            Some(super::calendar::nanos_of_day(NaiveDateTime::new(
                NaiveDate::default(),
                time,
            )))
        }
        None => parse_instant(text, reading).map(|_| 0),
    }
}

/// The minutes of an offset such as `+02:00`.
pub(crate) fn parse_offset(text: &str) -> Option<i16> {
    split_offset(text.trim())
        .filter(|(rest, _)| rest.is_empty())
        .map(|(_, offset)| offset)
}

fn split_offset(text: &str) -> Option<(&str, i16)> {
    if let Some(text) = text.strip_suffix('Z') {
        return Some((text, 0));
    }
    let Some((head, tail)) = text
        .len()
        .checked_sub(6)
        .and_then(|at| text.split_at_checked(at))
    else {
        return Some((text, 0));
    };
    let sign = match tail.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some((text, 0)),
    };
    if tail.as_bytes().get(3) != Some(&b':') {
        return Some((text, 0));
    }
    let hours: i16 = tail.get(1..3)?.parse().ok()?;
    let minutes: i16 = tail.get(4..6)?.parse().ok()?;
    let offset = hours * 60 + minutes;
    (offset <= 840 && minutes < 60).then(|| (head.trim_end(), sign * offset))
}

fn parse_date(text: &str, reading: Reading) -> Option<NaiveDate> {
    let text = text.trim();
    if let Some(&mark) = text.as_bytes().iter().find(|byte| b"-/.".contains(byte)) {
        let parts: Vec<&str> = text.split(char::from(mark)).collect();
        return numeric_date(parts.try_into().ok()?, reading);
    }
    NaiveDate::parse_from_str(text, "%Y%m%d")
        .ok()
        .filter(|date| text.len() == 8 && (1..=9999).contains(&date.year()))
}

/// A date of three numbers.
fn numeric_date(parts: [&str; 3], reading: Reading) -> Option<NaiveDate> {
    let number = |part: &str, length: std::ops::RangeInclusive<usize>| {
        let is_one = length.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        is_one.then(|| part.parse::<u32>().ok()).flatten()
    };
    let year_first = parts[0].len() == 4;
    let [year, one, other] = if year_first {
        parts
    } else {
        [parts[2], parts[0], parts[1]]
    };
    let day_first = reading.order == DateOrder::Dmy && (!year_first || reading.legacy);
    let (month, day) = if day_first {
        (other, one)
    } else {
        (one, other)
    };
    let year = i32::try_from(number(year, 4..=4)?).ok()?;
    NaiveDate::from_ymd_opt(year, number(month, 1..=2)?, number(day, 1..=2)?).filter(|_| year > 0)
}

fn parse_time(text: &str) -> Option<NaiveTime> {
    if text.is_empty() {
        return Some(NaiveTime::default());
    }
    [
        "%H:%M:%S%.f",
        "%H:%M",
        "%I:%M:%S%.f%p",
        "%I:%M%p",
        "%I:%M %p",
    ]
    .iter()
    .find_map(|pattern| NaiveTime::parse_from_str(text, pattern).ok())
}

/// The bytes of a `uniqueidentifier` as on the wire, from the forms with or without braces; what follows it
/// is ignored. Its first three groups are little endian.
pub(crate) fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let text = text.trim_start();
    let text = match text.strip_prefix('{') {
        Some(rest) => rest.get(..36).filter(|_| rest[36..].starts_with('}'))?,
        None => text.get(..36)?,
    };
    let hyphens = [8, 13, 18, 23];
    if hyphens.iter().any(|at| text.as_bytes()[*at] != b'-') {
        return None;
    }
    let digits: String = text
        .char_indices()
        .filter(|(at, _)| !hyphens.contains(at))
        .map(|(_, c)| c)
        .collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes: [u8; 16] = parse_hex(&digits)?.try_into().ok()?;
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

/// Bytes from hex digits.
pub(crate) fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() {
        return None;
    }
    let padded = if digits.len() % 2 == 1 {
        format!("0{digits}")
    } else {
        digits.to_owned()
    };
    (0..padded.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(padded.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::forms::TICKS_TO_1970;

    const ISO: Reading = Reading {
        order: DateOrder::Mdy,
        legacy: false,
    };

    #[test]
    fn the_order_of_day_and_month_is_the_sessions() {
        let days = |text: &str, order, legacy| parse_date_days(text, Reading { order, legacy });
        let march = days("20200302", DateOrder::Mdy, false);
        let february = days("20200203", DateOrder::Mdy, false);
        for legacy in [false, true] {
            assert_eq!(days("02.03.2020", DateOrder::Dmy, legacy), march);
            assert_eq!(days("02/03/2020", DateOrder::Mdy, legacy), february);
            assert_eq!(days("2020-03-02T00:00:00", DateOrder::Dmy, legacy), march);
            assert_eq!(days("20200302", DateOrder::Dmy, legacy), march);
        }
        assert_eq!(days("2020-03-02", DateOrder::Dmy, false), march);
        assert_eq!(days("2020-03-02", DateOrder::Dmy, true), february);
        assert_eq!(days("2020-03-02", DateOrder::Ymd, true), march);
        assert_eq!(days("13/03/2020", DateOrder::Mdy, false), None);
        for text in [
            "2020-03/02",
            "2020-03",
            "20-03-02",
            "2020-003-02",
            "--",
            "2020-+3-02",
        ] {
            assert_eq!(days(text, DateOrder::Mdy, false), None, "{text}");
        }
    }

    #[test]
    fn instants_have_many_spellings() {
        let new_year = Some((1_704_067_200_000_000 * 10 + TICKS_TO_1970, 0));
        for text in [
            "2024-01-01",
            "20240101",
            "2024-01-01 00:00",
            "2024-01-01T00:00:00.0000000Z",
            " 2024/01/01 00:00:00 ",
        ] {
            assert_eq!(parse_instant(text, ISO), new_year, "{text}");
        }
        assert_eq!(
            parse_instant("2024-01-01 02:00:00 +02:00", ISO),
            Some((1_704_067_200_000_000 * 10 + TICKS_TO_1970, 120))
        );
        assert_eq!(parse_instant("2024-13-01", ISO), None);
        assert_eq!(parse_instant("yesterday", ISO), None);
    }

    #[test]
    fn dates_and_times_alone() {
        assert_eq!(parse_date_days("1970-01-02 23:00", ISO), Some(1));
        assert_eq!(
            parse_time_nanos("23:59:59.9999999", ISO),
            Some(86_399_999_999_900)
        );
    }

    #[test]
    fn guids_and_hex() {
        let guid = "{6F9619FF-8B86-D011-B42D-00C04FC964FF}";
        assert_eq!(
            parse_guid(guid).unwrap()[..8],
            [0xff, 0x19, 0x96, 0x6f, 0x86, 0x8b, 0x11, 0xd0]
        );
        assert_eq!(parse_guid("6F9619FF"), None);
        assert_eq!(parse_hex("123"), Some(vec![0x01, 0x23]));
    }

    #[test]
    fn decimals_keep_their_scale() {
        assert_eq!(parse_decimal("-12.50"), Some(Value::Decimal(-1250, 2)));
        assert_eq!(parse_decimal("1e3"), None);
    }
}
