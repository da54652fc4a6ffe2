//! Text against text: what collations leave of a comparison.

use datafusion::common::ScalarValue;

use super::super::catalogue::{Collation, SourceColumn};
use super::super::encode;
use super::super::types::SqlType;
use super::comparand::{Comparand, Operand, name};

/// A text literal of this many bytes of UTF-8 is bound as `nvarchar(4000)`.
const MAX_LITERAL: usize = 4_000;

/// Every collation takes a text to be equal to itself, and most take more: so `=` gives a superset.
///
/// Order is left to the server under BIN2 alone, and there with a lower bound that is one code point lower: the
/// server compares as if the shorter text went on in spaces, which stand above some characters.
///
/// The parameter is cast to the column's own type, so that an index on it can be used, if its code page has all
/// of the literal. Otherwise both are compared in Unicode, as the column is read.
pub(super) fn comparand(
    column: &SourceColumn,
    literals: &[&ScalarValue],
    in_order: bool,
) -> Option<Comparand> {
    let SqlType::Text {
        name: type_name,
        unicode,
        ..
    } = &column.sql_type
    else {
        return None;
    };
    let (base, length) = declared(type_name)?;
    let collation = column.collation.as_ref().filter(is_plain)?;
    if matches!(base, "text" | "ntext") || (in_order && !is_bin2(collation)) {
        return None;
    }
    let texts = literals
        .iter()
        .map(|literal| literal.try_as_str()?)
        .collect::<Option<Vec<_>>>()?;
    if texts.iter().any(|text| !fits(text, length)) {
        return None;
    }
    let operands = texts.iter().map(|text| operand(text, in_order));
    let operands = operands.collect::<Option<_>>()?;
    let native = |text: &&str| is_in_page(text, collation.code_page);
    Some(match unicode {
        None => Comparand::new(name(column), type_name, operands),
        Some(_) if !in_order && texts.iter().all(native) => Comparand {
            parameter_collation: Some(collation.name.clone()),
            ..Comparand::new(name(column), type_name, operands)
        },
        Some(unicode) => {
            let column = format!("CAST({} AS {unicode})", name(column));
            Comparand::new(column, unicode, operands)
        }
    })
}

/// Whether a code page has each character of a text, at one place only: every code page has those of ASCII.
fn is_in_page(text: &str, code_page: Option<i64>) -> bool {
    if text.is_ascii() {
        return true;
    }
    let encoding = match code_page {
        Some(1250) => encoding_rs::WINDOWS_1250,
        Some(1251) => encoding_rs::WINDOWS_1251,
        Some(1252) => encoding_rs::WINDOWS_1252,
        Some(1253) => encoding_rs::WINDOWS_1253,
        Some(1254) => encoding_rs::WINDOWS_1254,
        Some(1255) => encoding_rs::WINDOWS_1255,
        Some(1256) => encoding_rs::WINDOWS_1256,
        Some(1257) => encoding_rs::WINDOWS_1257,
        Some(65_001) => encoding_rs::UTF_8,
        _ => return false,
    };
    let (_, _, lossy) = encoding.encode(text);
    !lossy
}

/// A literal of a length that the column can hold, and without what stands for a broken surrogate, which the
/// server has in another form.
fn fits(text: &str, length: Option<usize>) -> bool {
    text.len() <= MAX_LITERAL
        && length.is_none_or(|length| text.encode_utf16().count() <= length)
        && !text.contains(char::REPLACEMENT_CHARACTER)
}

fn operand(text: &str, in_order: bool) -> Option<Operand> {
    if !in_order {
        return Some(Operand::Superset {
            equal: Some(encode::text(text)),
            from: None,
            upto: None,
        });
    }
    // Below the surrogates, UTF-16 and UTF-8 have the same order; spaces at the end count for nothing there.
    let plain = !text.ends_with(' ') && text.chars().all(|char| (' '..='\u{d7ff}').contains(&char));
    let lower = || {
        let last = text.chars().next_back()?;
        let before = char::from_u32(u32::from(last) - 1)?;
        Some(format!("{}{before}", text.strip_suffix(last)?))
    };
    let bounds = || {
        Some(Operand::Superset {
            equal: Some(encode::text(text)),
            from: Some(encode::text(&lower()?)),
            upto: Some(encode::text(text)),
        })
    };
    plain.then(bounds).flatten()
}

/// Whether a name may stand in a statement as it is, as those of all collations may.
fn is_plain(collation: &&Collation) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    collation.name.bytes().all(plain)
}

fn is_bin2(collation: &Collation) -> bool {
    collation.name.to_ascii_uppercase().contains("_BIN2")
}

/// A type's name, and its length in units of its own if it has one.
pub(super) fn declared(type_name: &str) -> Option<(&str, Option<usize>)> {
    match type_name.split_once('(') {
        None => Some((type_name, None)),
        Some((base, "max)")) => Some((base, None)),
        Some((base, length)) => Some((base, Some(length.strip_suffix(')')?.parse().ok()?))),
    }
}
