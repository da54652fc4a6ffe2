//! Values as text, in the styles of CONVERT.

use super::Value;
use super::calendar::{civil, date_of};
use crate::simulator::protocol::SqlType;

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
        Value::Float(float) => float_text(*float),
        Value::Decimal(digits, scale) => match sql_type {
            SqlType::Money | SqlType::SmallMoney if style != 2 => {
                decimal_text(round_decimal(*digits, *scale, 2), 2)
            }
            _ => decimal_text(*digits, *scale),
        },
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => bytes_to_hex(bytes),
        Value::Date(days) => date_text(*days, style),
        Value::Time(nanos) => time_text(*nanos, sql_type.scale()),
        Value::Timestamp(micros) => timestamp_text(*micros, sql_type, style),
    })
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
    let half = if digits < 0 { -(step / 2) } else { step / 2 };
    (digits + half) / step
}

/// At most six significant digits, as CONVERT's style 0.
fn float_text(float: f64) -> String {
    if float == 0.0 {
        return "0".to_owned();
    }
    let exponent = float.abs().log10().floor();
    if !(-5.0..15.0).contains(&exponent) {
        let text = format!("{float:.5e}");
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
        let power: i32 = power.parse().unwrap_or(0);
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:03}", power.abs());
    }
    let digits = (5.0 - exponent).clamp(0.0, 10.0) as usize;
    let text = format!("{float:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn date_text(days: i32, style: i64) -> String {
    let date = date_of(days);
    match style {
        101 => date.format("%m/%d/%Y").to_string(),
        103 => date.format("%d/%m/%Y").to_string(),
        104 => date.format("%d.%m.%Y").to_string(),
        112 => date.format("%Y%m%d").to_string(),
        _ => date.format("%Y-%m-%d").to_string(),
    }
}

fn time_text(nanos: i64, scale: u8) -> String {
    let at = civil(nanos / 1_000);
    with_fraction(
        at.format("%H:%M:%S").to_string(),
        nanos % 1_000_000_000,
        scale,
    )
}

fn with_fraction(text: String, nanos: i64, scale: u8) -> String {
    if scale == 0 {
        return text;
    }
    let digits = format!("{nanos:09}");
    format!("{text}.{}", &digits[..usize::from(scale.min(9))])
}

fn timestamp_text(micros: i64, sql_type: SqlType, style: i64) -> String {
    let at = civil(micros);
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    let text = |pattern: &str| at.format(pattern).to_string();
    let legacy = matches!(sql_type, SqlType::DateTime | SqlType::SmallDateTime);
    let scale = if legacy { 3 } else { sql_type.scale() };
    match style {
        23 => text("%Y-%m-%d"),
        101 => text("%m/%d/%Y"),
        103 => text("%d/%m/%Y"),
        104 => text("%d.%m.%Y"),
        112 => text("%Y%m%d"),
        108 => text("%H:%M:%S"),
        20 | 120 => text("%Y-%m-%d %H:%M:%S"),
        126 | 127 => with_fraction(text("%Y-%m-%dT%H:%M:%S"), nanos, scale),
        0 if legacy => text("%b %e %Y %l:%M%p"),
        _ => {
            let text = with_fraction(text("%Y-%m-%d %H:%M:%S"), nanos, scale);
            match sql_type {
                SqlType::DateTimeOffset(_) => format!("{text} +00:00"),
                _ => text,
            }
        }
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
        assert_eq!(float_text(0.1 + 0.2), "0.3");
        assert_eq!(float_text(1_234_567.0), "1234567");
        assert_eq!(float_text(1e20), "1e+020");
        let money = Value::Decimal(12_345, 4);
        assert_eq!(text_of(&money, SqlType::Money, 0).unwrap(), "1.23");
        assert_eq!(text_of(&money, SqlType::Money, 2).unwrap(), "1.2345");
    }

    #[test]
    fn instants_print_by_type_and_style() {
        let at = Value::Timestamp(1_704_067_201_500_000);
        let text = |sql_type, style| text_of(&at, sql_type, style).unwrap();
        assert_eq!(text(SqlType::DateTime, 0), "Jan  1 2024 12:00AM");
        assert_eq!(text(SqlType::DateTime, 121), "2024-01-01 00:00:01.500");
        assert_eq!(text(SqlType::DateTime, 120), "2024-01-01 00:00:01");
        assert_eq!(
            text(SqlType::DateTime2(7), 0),
            "2024-01-01 00:00:01.5000000"
        );
        assert_eq!(text(SqlType::DateTime2(0), 126), "2024-01-01T00:00:01");
    }
}
