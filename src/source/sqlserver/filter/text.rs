//! Text against text: what collations leave of a comparison.

use datafusion::common::ScalarValue;

use super::super::catalogue::SourceColumn;
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
/// The parameter is cast to the column's own type, so that an index on it can be used: a code page has ASCII
/// at the same places as Unicode. Other characters are compared in Unicode, as they are read, since on the way
/// to a code page one character can become another.
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
    if matches!(base, "text" | "ntext") || (in_order && !is_bin2(column)) {
        return None;
    }
    let texts = literals
        .iter()
        .map(|literal| literal.try_as_str()?)
        .collect::<Option<Vec<_>>>()?;
    if texts.iter().any(|text| !fits(text, length)) {
        return None;
    }
    let native = !in_order && texts.iter().all(|text| text.is_ascii());
    let (column_sql, cast) = match unicode {
        Some(unicode) if !native => {
            let column_sql = format!("CAST({} AS {unicode})", name(column));
            (column_sql, unicode.clone())
        }
        _ => (name(column), type_name.clone()),
    };
    let operands = texts.iter().map(|text| operand(text, in_order));
    Some(Comparand {
        column: column_sql,
        cast,
        operands: operands.collect::<Option<_>>()?,
    })
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

fn is_bin2(column: &SourceColumn) -> bool {
    column
        .collation
        .as_deref()
        .is_some_and(|name| name.to_ascii_uppercase().contains("_BIN2"))
}

/// A type's name, and its length in units of its own if it has one.
pub(super) fn declared(type_name: &str) -> Option<(&str, Option<usize>)> {
    match type_name.split_once('(') {
        None => Some((type_name, None)),
        Some((base, "max)")) => Some((base, None)),
        Some((base, length)) => Some((base, Some(length.strip_suffix(')')?.parse().ok()?))),
    }
}
