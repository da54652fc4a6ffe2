//! Values as text, in the styles of CONVERT.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::calendar::{TICKS_PER_MINUTE, civil, civil_of_ticks, date_of};
use super::{Locale, Value};
use crate::simulator::protocol::{ServerError, SqlType};

/// Upper-case hex digits, as SQL Server prints them.
pub(crate) fn bytes_to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The text of a value of `sql_type` in a CONVERT style (0 = none given). Binary gives no text here:
/// its bytes are characters, or hex digits by style.
pub(crate) fn text_of(value: &Value, sql_type: SqlType, style: i64) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(bit) => i64::from(*bit).to_string(),
        Value::Int(int) => int.to_string(),
        Value::Float(float) if sql_type == SqlType::Real => real_text(*float as f32, style),
        Value::Float(float) => float_text(*float, style),
        Value::Decimal(digits, scale) => match sql_type {
            SqlType::Money | SqlType::SmallMoney => money_text(*digits, *scale, style),
            _ => decimal_text(*digits, *scale),
        },
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => bytes_to_hex(bytes),
        Value::Guid(bytes) => guid_text(bytes),
        Value::Variant(inner) => return text_of(&inner.1, inner.0.sql_type, style),
        Value::Date(days) => calendar_text(&Clock::of_date(*days), style),
        Value::Time(nanos) => calendar_text(&Clock::of_time(*nanos, sql_type.scale()), style),
        Value::Timestamp(micros) => calendar_text(&Clock::of_legacy(*micros), style),
        Value::Instant(ticks) => calendar_text(&Clock::of_instant(*ticks, sql_type.scale()), style),
        Value::Offset(ticks, offset) => {
            calendar_text(&Clock::of_offset(*ticks, *offset, sql_type.scale()), style)
        }
    })
}

/// Error 281 for a style that a value cannot be shown in.
pub(super) fn check_style(value: &Value, from: SqlType, style: i64) -> Result<(), ServerError> {
    let known = match value {
        Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Instant(_)
        | Value::Offset(..) => {
            if matches!(style, 130 | 131) {
                return Err(ServerError::unsupported("dates of the Hijri calendar"));
            }
            matches!(style, 0..=14 | 20..=25 | 100..=114 | 120 | 121 | 126 | 127)
        }
        Value::Float(_) => matches!(style, 0..=3 | 126 | 128 | 129),
        _ => true,
    };
    if known {
        return Ok(());
    }
    Err(ServerError::new(
        281,
        format!(
            "{style} is not a valid style number when converting from {} to a character string.",
            from.base_name()
        ),
    ))
}

/// A `uniqueidentifier` in upper case.
pub(crate) fn guid_text(bytes: &[u8; 16]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let hex = bytes_to_hex(&ORDER.map(|at| bytes[at]));
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Two decimals; with commas in style 1, with four decimals in styles 2 and 126.
fn money_text(digits: i128, scale: u8, style: i64) -> String {
    if matches!(style, 2 | 126) {
        return decimal_text(digits, scale);
    }
    let text = decimal_text(round_decimal(digits, scale, 2), 2);
    if style != 1 {
        return text;
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.as_str()),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "00"));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}.{fraction}")
}

/// A decimal's digits with its point.
pub(crate) fn decimal_text(digits: i128, scale: u8) -> String {
    let sign = if digits < 0 { "-" } else { "" };
    let text = format!(
        "{:0>width$}",
        digits.unsigned_abs(),
        width = usize::from(scale) + 1
    );
    let (whole, fraction) = text.split_at(text.len() - usize::from(scale));
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// The digits at another scale, rounded half away from zero.
pub(crate) fn round_decimal(digits: i128, from: u8, to: u8) -> i128 {
    if to >= from {
        return digits.saturating_mul(10_i128.saturating_pow(u32::from(to - from)));
    }
    let step = 10_i128.saturating_pow(u32::from(from - to));
    let (whole, rest) = (digits / step, digits % step);
    if rest.unsigned_abs() >= step.unsigned_abs().div_ceil(2) {
        whole + digits.signum()
    } else {
        whole
    }
}

/// At most six significant digits, or scientific with 8, 16 or 17 in styles 1, 2 and 3.
fn float_text(float: f64, style: i64) -> String {
    match style {
        1 => return scientific(float, 7, false),
        2 => return scientific(float, 15, false),
        3 | 126 | 128 | 129 => return scientific(float, 16, false),
        _ => {}
    }
    if float == 0.0 {
        return "0".to_owned();
    }
    let exponent = float.abs().log10().floor();
    if !(-5.0..15.0).contains(&exponent) {
        return scientific(float, 5, true);
    }
    let digits = (5.0 - exponent).clamp(0.0, 10.0) as usize;
    let text = format!("{float:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A `real` as a `float`, but with the nine digits that tell every one apart in style 3.
fn real_text(float: f32, style: i64) -> String {
    match style {
        2 => scientific(float.into(), 15, false),
        3 | 126 | 128 | 129 => scientific(float.into(), 8, false),
        _ => float_text(float.into(), style),
    }
}

fn scientific(float: f64, digits: usize, trimmed: bool) -> String {
    let text = format!("{float:.digits$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let mantissa = if trimmed {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:03}", power.abs())
}

/// What a date or time shows.
struct Clock {
    at: NaiveDateTime,
    /// Digits of the second.
    scale: u8,
    /// Whether it is one of the old types, whose style 0 has names of months.
    legacy: bool,
    date: bool,
    time: bool,
    /// The offset in minutes, and the time in UTC.
    offset: Option<(i16, NaiveDateTime)>,
}

impl Clock {
    fn of_date(days: i32) -> Self {
        Self {
            time: false,
            ..Self::new(date_of(days).into(), 0)
        }
    }

    fn of_time(nanos: i64, scale: u8) -> Self {
        Self {
            date: false,
            ..Self::new(civil_of_ticks(nanos / 100), scale)
        }
    }

    fn of_legacy(micros: i64) -> Self {
        Self {
            legacy: true,
            ..Self::new(civil(micros), 3)
        }
    }

    fn of_instant(ticks: i64, scale: u8) -> Self {
        Self::new(civil_of_ticks(ticks), scale)
    }

    fn of_offset(ticks: i64, offset: i16, scale: u8) -> Self {
        let local = civil_of_ticks(ticks + i64::from(offset) * TICKS_PER_MINUTE);
        Self {
            offset: Some((offset, civil_of_ticks(ticks))),
            ..Self::new(local, scale)
        }
    }

    fn new(at: NaiveDateTime, scale: u8) -> Self {
        Self {
            at,
            scale,
            legacy: false,
            date: true,
            time: true,
            offset: None,
        }
    }

    /// The fraction of the second after a mark.
    fn fraction(&self, mark: char) -> String {
        if self.scale == 0 {
            return String::new();
        }
        let digits = format!("{:09}", self.at.nanosecond());
        format!("{mark}{}", &digits[..usize::from(self.scale.min(9))])
    }

    fn zone(&self) -> String {
        self.offset.map_or_else(String::new, |(offset, _)| {
            let sign = if offset < 0 { '-' } else { '+' };
            let minutes = offset.unsigned_abs();
            format!(" {sign}{:02}:{:02}", minutes / 60, minutes % 60)
        })
    }
}

fn calendar_text(clock: &Clock, style: i64) -> String {
    let style = match style {
        0 | 100 if clock.legacy => 100,
        0 | 100 if clock.date && clock.time && style == 100 => 100,
        0 => 121,
        other => other,
    };
    if !clock.time {
        return date_text(clock, style).unwrap_or_else(|| clock.at.format("%Y-%m-%d").to_string());
    }
    if !clock.date {
        return time_text(clock, style);
    }
    if let Some(date) = date_text(clock, style) {
        return date;
    }
    let show = |pattern: &str| shown(clock, pattern);
    let colon = if clock.legacy { ':' } else { '.' };
    match style {
        100 => show("%b %e %Y %l:%M%p") + &clock.zone(),
        9 | 109 => show("%b %e %Y %l:%M:%S") + &clock.fraction(colon) + &show("%p") + &clock.zone(),
        13 | 113 => show("%d %b %Y %H:%M:%S") + &clock.fraction(colon) + &clock.zone(),
        20 | 120 => show("%Y-%m-%d %H:%M:%S") + &clock.zone(),
        22 => show("%m/%d/%y %l:%M:%S %p") + &clock.zone(),
        126 => iso_text(clock, clock.at) + clock.zone().trim_start(),
        127 => match clock.offset {
            Some((_, utc)) => iso_text(clock, utc) + "Z",
            None => iso_text(clock, clock.at),
        },
        8 | 14 | 24 | 108 | 114 => time_text(clock, style),
        _ => show("%Y-%m-%d %H:%M:%S") + &clock.fraction('.') + &clock.zone(),
    }
}

/// Without a fraction that is zero.
fn iso_text(clock: &Clock, at: NaiveDateTime) -> String {
    let fraction = if at.nanosecond() == 0 {
        String::new()
    } else {
        clock.fraction('.')
    };
    at.format("%Y-%m-%dT%H:%M:%S").to_string() + &fraction
}

/// The styles that show a date alone.
fn date_text(clock: &Clock, style: i64) -> Option<String> {
    let pattern = match style {
        1 => "%m/%d/%y",
        2 => "%y.%m.%d",
        3 => "%d/%m/%y",
        4 => "%d.%m.%y",
        5 => "%d-%m-%y",
        6 => "%d %b %y",
        7 => "%b %d, %y",
        10 => "%m-%d-%y",
        11 => "%y/%m/%d",
        12 => "%y%m%d",
        23 => "%Y-%m-%d",
        101 => "%m/%d/%Y",
        102 => "%Y.%m.%d",
        103 => "%d/%m/%Y",
        104 => "%d.%m.%Y",
        105 => "%d-%m-%Y",
        106 => "%d %b %Y",
        107 => "%b %d, %Y",
        110 => "%m-%d-%Y",
        111 => "%Y/%m/%d",
        112 => "%Y%m%d",
        _ => return None,
    };
    Some(shown(clock, pattern))
}

/// A pattern with the month's name in the session's language.
fn shown(clock: &Clock, pattern: &str) -> String {
    let month = Locale::current().month(clock.at.month0());
    clock.at.format(&pattern.replace("%b", month)).to_string()
}

fn time_text(clock: &Clock, style: i64) -> String {
    let show = |pattern: &str| clock.at.format(pattern).to_string();
    match style {
        8 | 24 | 108 | 20 | 120 => show("%H:%M:%S"),
        14 | 114 if clock.legacy => show("%H:%M:%S") + &clock.fraction(':'),
        100 => show("%l:%M%p"),
        9 | 109 => show("%l:%M:%S") + &clock.fraction('.') + &show("%p"),
        _ => show("%H:%M:%S") + &clock.fraction('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_convert_prints_them() {
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(decimal_text(1234, 0), "1234");
        assert_eq!(round_decimal(-125, 2, 1), -13);
        assert_eq!(float_text(0.1 + 0.2, 0), "0.3");
        assert_eq!(float_text(1_234_567.0, 0), "1234567");
        assert_eq!(float_text(1e20, 0), "1e+020");
        let money = Value::Decimal(12_345, 4);
        assert_eq!(text_of(&money, SqlType::Money, 0).unwrap(), "1.23");
        assert_eq!(text_of(&money, SqlType::Money, 2).unwrap(), "1.2345");
    }

    #[test]
    fn every_digit_of_a_float_is_in_style_3() {
        assert_eq!(float_text(0.1, 3), "1.0000000000000001e-001");
        assert_eq!(float_text(-1.5, 1), "-1.5000000e+000");
        assert_eq!(real_text(0.1, 3), "1.00000001e-001");
        let money = Value::Decimal(-12_345_678_900, 4);
        assert_eq!(text_of(&money, SqlType::Money, 1).unwrap(), "-1,234,567.89");
    }

    #[test]
    fn instants_print_by_type_and_style() {
        let text = |value: Value, sql_type, style| text_of(&value, sql_type, style).unwrap();
        let old = |style| {
            let at = Value::Timestamp(1_704_067_201_500_000);
            text(at, SqlType::DateTime, style)
        };
        assert_eq!(old(0), "Jan  1 2024 12:00AM");
        assert_eq!(old(109), "Jan  1 2024 12:00:01:500AM");
        assert_eq!(old(113), "01 Jan 2024 00:00:01:500");
        assert_eq!(old(121), "2024-01-01 00:00:01.500");
        assert_eq!(old(120), "2024-01-01 00:00:01");
        assert_eq!(old(114), "00:00:01:500");
        assert_eq!(old(107), "Jan 01, 2024");
        let ticks = super::super::calendar::ticks_of_micros(1_704_067_201_500_000) + 1;
        let new = |scale, style| text(Value::Instant(ticks), SqlType::DateTime2(scale), style);
        assert_eq!(new(7, 0), "2024-01-01 00:00:01.5000001");
        assert_eq!(new(0, 126), "2024-01-01T00:00:01");
        let zoned = |style| {
            text(
                Value::Offset(ticks, -330),
                SqlType::DateTimeOffset(7),
                style,
            )
        };
        assert_eq!(zoned(0), "2023-12-31 18:30:01.5000001 -05:30");
        assert_eq!(zoned(126), "2023-12-31T18:30:01.5000001-05:30");
        assert_eq!(zoned(127), "2024-01-01T00:00:01.5000001Z");
        let noon = |style| text(Value::Time(43_200_000_000_100), SqlType::Time(7), style);
        assert_eq!(noon(0), "12:00:00.0000001");
        assert_eq!(noon(108), "12:00:00");
    }

    #[test]
    fn an_unknown_style_is_an_error() {
        let at = Value::Timestamp(0);
        let number = |style| check_style(&at, SqlType::DateTime, style).map_err(|e| e.number);
        assert_eq!(number(121), Ok(()));
        assert_eq!(number(99), Err(281));
        assert_eq!(number(130), Err(40510));
    }
}
