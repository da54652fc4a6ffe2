//! What two values become before they are compared.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;

use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::internal;
use crate::simulator::types::{Mode, convert_array, to_form};

/// What an operand of a comparison becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is; numbers meet in a common type.
    AsIs,
    /// A text without case and blanks at the end.
    Text,
    /// Bytes without zeros at the end.
    Bytes,
    /// A bit as a number.
    Number,
    /// A `uniqueidentifier` in the order of its bytes.
    Guid,
    /// A text or bytes as such a `uniqueidentifier`.
    ToGuid,
    /// A value of the other operand's type.
    As(SqlType),
}

/// What the operands of a comparison become; error 402 where the types do not meet.
pub(super) fn forms(left: SqlType, right: SqlType) -> Result<(Form, Form), ServerError> {
    if left.is_text() && right.is_text() {
        return Ok((Form::Text, Form::Text));
    }
    if left.is_binary() && right.is_binary() {
        let same = left == right && matches!(left, SqlType::Binary(_));
        let form = if same { Form::AsIs } else { Form::Bytes };
        return Ok((form, form));
    }
    if left == right {
        let form = match left {
            SqlType::UniqueIdentifier => Form::Guid,
            _ => Form::AsIs,
        };
        return Ok((form, form));
    }
    if rank(left) < rank(right) && converts(left, right) {
        return Ok(match right {
            SqlType::UniqueIdentifier => (Form::ToGuid, Form::Guid),
            _ => (Form::As(right), Form::AsIs),
        });
    }
    if rank(right) < rank(left) && converts(right, left) {
        let (right, left) = forms(right, left)?;
        return Ok((left, right));
    }
    let number = |sql_type| (4..=7).contains(&rank(sql_type));
    if number(left) && number(right) || rank(left) == rank(right) {
        let form = |sql_type| match sql_type {
            SqlType::Bit => Form::Number,
            _ => Form::AsIs,
        };
        return Ok((form(left), form(right)));
    }
    Err(super::functions::incompatible(left, right, "comparison"))
}

/// The precedence of types, as far as conversions between kinds of types need it.
pub(super) fn rank(sql_type: SqlType) -> u8 {
    match sql_type {
        SqlType::Binary(_) | SqlType::VarBinary(_) => 0,
        SqlType::Char(_) | SqlType::VarChar(_) => 1,
        SqlType::NChar(_) | SqlType::NVarChar(_) => 2,
        SqlType::UniqueIdentifier => 3,
        SqlType::Bit => 4,
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => 5,
        SqlType::Money | SqlType::SmallMoney | SqlType::Decimal { .. } => 6,
        SqlType::Real | SqlType::Float => 7,
        SqlType::Time(_) => 8,
        SqlType::Date => 9,
        SqlType::SmallDateTime | SqlType::DateTime => 10,
        SqlType::DateTime2(_) => 11,
        SqlType::DateTimeOffset(_) => 12,
    }
}

/// Whether a comparison converts explicitly: texts and bytes to anything, dates among each other, whole
/// numbers to `datetime`. Numbers meet in a common type.
fn converts(from: SqlType, to: SqlType) -> bool {
    from.is_text()
        || from.is_binary()
        || rank(from) >= 8 && rank(to) >= 8
        || rank(from) == 5 && rank(to) == 10
}

/// An array in the form in which it is compared.
pub(super) fn in_form(
    array: &ArrayRef,
    from: SqlType,
    form: Form,
) -> Result<ArrayRef, ServerError> {
    match form {
        Form::AsIs => to_form(array, from),
        Form::Text => fold_texts(array),
        Form::Bytes => trim_bytes(array),
        Form::Guid => sort_keys(array, from),
        Form::ToGuid => {
            let guids = convert_array(array, from, SqlType::UniqueIdentifier, 0, Mode::Cast)?;
            sort_keys(&guids, SqlType::UniqueIdentifier)
        }
        Form::Number => cast(array, &DataType::Int32).map_err(internal),
        Form::As(to) => convert_array(array, from, to, 0, Mode::Cast),
    }
}

/// Two arrays in one Arrow type in which their values can be compared.
pub(super) fn meet(
    left: (&ArrayRef, SqlType),
    right: (&ArrayRef, SqlType),
) -> Result<(ArrayRef, ArrayRef), ServerError> {
    let forms = forms(left.1, right.1)?;
    let left = in_form(left.0, left.1, forms.0)?;
    let right = in_form(right.0, right.1, forms.1)?;
    let (one, other) = (left.data_type(), right.data_type());
    if one == other {
        return Ok((left, right));
    }
    let common = comparison_coercion(one, other)
        .ok_or_else(|| ServerError::unsupported(format!("comparisons of {one} with {other}")))?;
    Ok((
        cast(&left, &common).map_err(internal)?,
        cast(&right, &common).map_err(internal)?,
    ))
}

/// A text in the form in which the default collation compares: without case and blanks at the end.
pub(super) fn fold(text: &str) -> String {
    text.trim_end_matches(' ').to_lowercase()
}

/// Texts in the form in which the default collation compares.
pub(super) fn fold_texts(array: &ArrayRef) -> Result<ArrayRef, ServerError> {
    let texts = to_form(array, SqlType::NVarChar(Length::Max))?;
    let folded = texts.as_string::<i32>().iter().map(|text| text.map(fold));
    Ok(Arc::new(folded.collect::<StringArray>()))
}

/// Bytes without zeros at the end, as binary values of two lengths are compared.
pub(super) fn trim_bytes(array: &ArrayRef) -> Result<ArrayRef, ServerError> {
    let bytes = to_form(array, SqlType::VarBinary(Length::Max))?;
    let trimmed = bytes.as_binary::<i32>().iter().map(|bytes| {
        bytes.map(|bytes| {
            let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
            &bytes[..bytes.len() - zeros]
        })
    });
    Ok(Arc::new(trimmed.collect::<BinaryArray>()))
}

/// What sorts texts as the default collation does: symbols, then digits, then letters, without case and
/// blanks at the end; accents count only between texts that are otherwise equal.
pub(super) fn sort_key(text: &str) -> Vec<u8> {
    let folded = fold(text);
    let mut key = Vec::with_capacity(folded.len() * 4 + 2);
    for c in folded.chars() {
        let base = without_accent(c);
        let class = match base {
            c if c.is_alphabetic() => 3,
            c if c.is_numeric() => 2,
            _ => 1,
        };
        key.push(class);
        key.extend_from_slice(&u32::from(base).to_be_bytes()[1..]);
    }
    key.push(0);
    key.extend_from_slice(folded.as_bytes());
    key
}

/// What sorts a text or a `uniqueidentifier`.
pub(super) fn sort_key_of(text: &str, sql_type: SqlType) -> Vec<u8> {
    match sql_type {
        SqlType::UniqueIdentifier => guid_key(text),
        _ => sort_key(text),
    }
}

/// A `uniqueidentifier` is compared from its last group to its first, the bytes of the first three groups
/// from the last to the first as they are written.
fn guid_key(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let bytes = crate::simulator::types::parse_hex(&digits).unwrap_or_default();
    // Where each byte of the key stands in the text.
    let order = [10, 11, 12, 13, 14, 15, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0];
    order
        .iter()
        .filter_map(|at| bytes.get(*at).copied())
        .collect()
}

/// A Latin letter of Latin-1 without its accent.
fn without_accent(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' => 'i',
        'ł' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' | 'ţ' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

/// Sort keys of texts or of `uniqueidentifier`s.
pub(super) fn sort_keys(array: &ArrayRef, of: SqlType) -> Result<ArrayRef, ServerError> {
    let texts = to_form(array, of)?;
    let keys = texts
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(|text| sort_key_of(text, of)));
    Ok(Arc::new(keys.collect::<BinaryArray>()))
}

/// Which of `values` are among `list`; NULL where that cannot be told.
pub(super) fn among(
    values: (&ArrayRef, SqlType),
    list: &[(ArrayRef, SqlType)],
) -> Result<Vec<Option<bool>>, ServerError> {
    use datafusion::arrow::row::{RowConverter, SortField};
    use std::collections::HashSet;
    let mut groups: Vec<(SqlType, Vec<&dyn Array>)> = Vec::new();
    let is_null = |array: &ArrayRef| *array.data_type() == DataType::Null;
    let initially = if list.iter().any(|(array, _)| is_null(array)) {
        None
    } else {
        Some(false)
    };
    for (array, sql_type) in list.iter().filter(|(array, _)| !is_null(array)) {
        match groups.iter_mut().find(|(known, _)| known == sql_type) {
            Some((_, arrays)) => arrays.push(array.as_ref()),
            None => groups.push((*sql_type, vec![array.as_ref()])),
        }
    }
    let mut found = vec![initially; values.0.len()];
    for (sql_type, arrays) in groups {
        let items = datafusion::arrow::compute::concat(&arrays).map_err(internal)?;
        let unknown = items.null_count() > 0;
        let (needles, items) = meet(values, (&items, sql_type))?;
        let converter = RowConverter::new(vec![SortField::new(needles.data_type().clone())])
            .map_err(internal)?;
        let rows = |array: ArrayRef| converter.convert_columns(&[array]).map_err(internal);
        let (item_rows, needle_rows) = (rows(Arc::clone(&items))?, rows(Arc::clone(&needles))?);
        let known: HashSet<_> = item_rows
            .iter()
            .enumerate()
            .filter(|(at, _)| items.is_valid(*at))
            .map(|(_, row)| row)
            .collect();
        for (at, row) in needle_rows.iter().enumerate() {
            if found[at] == Some(true) {
                continue;
            }
            if needles.is_valid(at) && known.contains(&row) {
                found[at] = Some(true);
            } else if unknown || needles.is_null(at) {
                found[at] = None;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_by_letters_before_case_and_accents() {
        let mut words = [
            "Zoe", "zebra", "élan", "Elan", "_x", "9", "apple", "Apple ", "~",
        ];
        words.sort_by_key(|word| sort_key(word));
        assert_eq!(
            words,
            [
                "_x", "~", "9", "apple", "Apple ", "Elan", "élan", "zebra", "Zoe"
            ]
        );
    }

    #[test]
    fn lists_are_compared_by_type() {
        use datafusion::arrow::array::Int32Array;
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
        let one: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let null: ArrayRef = Arc::new(Int32Array::from(vec![None::<i32>]));
        let text = SqlType::VarChar(Length::Limited(1));
        let list = [(Arc::clone(&one), text)];
        assert_eq!(
            among((&values, SqlType::Int), &list).unwrap(),
            [Some(true), Some(false), None]
        );
        let list = [(one, text), (null, SqlType::Int)];
        assert_eq!(
            among((&values, SqlType::Int), &list).unwrap(),
            [Some(true), None, None]
        );
    }
}
