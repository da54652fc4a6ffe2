//! Conversions to texts, bytes and `uniqueidentifier`, and their fit into a column's length.

use super::Value;
use super::convert::{Mode, failed_type, forbidden, length};
use super::format::{bytes_to_hex, text_of};
use super::parse_text::{parse_guid, parse_hex};
use crate::simulator::protocol::{Length, ServerError, SqlType};

pub(super) fn to_text(value: &Value, from: SqlType, style: i64) -> Result<String, ServerError> {
    if let Value::Bytes(bytes) = value {
        return Ok(match style {
            1 => format!("0x{}", bytes_to_hex(bytes)),
            2 => bytes_to_hex(bytes),
            _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
        });
    }
    let text = text_of(value, from, style).unwrap_or_default();
    Ok(match from {
        SqlType::UniqueIdentifier => text.to_ascii_uppercase(),
        _ => text,
    })
}

fn cut(value: String) -> ServerError {
    ServerError::truncated("", "", &value)
}

/// UTF-16 code units, which is what N types count.
fn units(text: &str, wide: bool) -> usize {
    if wide {
        text.chars().map(char::len_utf16).sum()
    } else {
        text.chars().count()
    }
}

pub(super) fn fit_text(mut text: String, to: SqlType, mode: Mode) -> Result<Value, ServerError> {
    let Some(limit) = length(to) else {
        return Ok(Value::Text(text));
    };
    let wide = matches!(to, SqlType::NChar(_) | SqlType::NVarChar(_));
    if units(&text, wide) > limit {
        let mut kept = String::new();
        let mut used = 0;
        for c in text.chars() {
            used += if wide { c.len_utf16() } else { 1 };
            if used > limit {
                break;
            }
            kept.push(c);
        }
        // Blanks beyond the length are dropped without an error.
        if mode == Mode::Assign && !text[kept.len()..].trim_end_matches(' ').is_empty() {
            return Err(cut(kept));
        }
        text = kept;
    }
    if matches!(to, SqlType::Char(_) | SqlType::NChar(_)) {
        let missing = limit.saturating_sub(units(&text, wide));
        text.extend(std::iter::repeat_n(' ', missing));
    }
    Ok(Value::Text(text))
}

pub(super) fn to_bytes(value: &Value, from: SqlType, style: i64) -> Result<Vec<u8>, ServerError> {
    let width = usize::try_from(from.max_length()).unwrap_or(8).min(8);
    match value {
        Value::Bytes(bytes) => Ok(bytes.clone()),
        Value::Bool(bit) => Ok(vec![u8::from(*bit)]),
        Value::Int(int) => Ok(int.to_be_bytes()[8 - width..].to_vec()),
        Value::Text(text) if from == SqlType::UniqueIdentifier => {
            let mut bytes = parse_hex(&text.replace('-', "")).unwrap_or_default();
            if bytes.len() == 16 {
                swap_guid(&mut bytes);
            }
            Ok(bytes)
        }
        Value::Text(text) if matches!(style, 1 | 2) => {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            parse_hex(digits).ok_or_else(|| failed_type(from, SqlType::VarBinary(Length::Max)))
        }
        Value::Text(text) if matches!(from, SqlType::NChar(_) | SqlType::NVarChar(_)) => {
            Ok(text.encode_utf16().flat_map(u16::to_le_bytes).collect())
        }
        Value::Text(text) => Ok(text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect()),
        _ => Err(forbidden(from, SqlType::VarBinary(Length::Max))),
    }
}

/// The first three groups of a `uniqueidentifier` are little endian in its bytes.
fn swap_guid(bytes: &mut [u8]) {
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
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
        Value::Text(text) => parse_guid(text).map(Value::Text).ok_or_else(|| {
            ServerError::new(
                8169,
                "Conversion failed when converting from a character string to uniqueidentifier.",
            )
        }),
        Value::Bytes(bytes) => {
            let mut bytes = bytes.clone();
            bytes.resize(16, 0);
            swap_guid(&mut bytes);
            let hex = bytes_to_hex(&bytes).to_ascii_lowercase();
            Ok(Value::Text(format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )))
        }
        _ => Err(forbidden(from, SqlType::UniqueIdentifier)),
    }
}
