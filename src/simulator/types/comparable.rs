//! The form in which values of a type are compared, sorted, grouped and kept unique.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray};
use datafusion::arrow::datatypes::DataType;

use super::Typed;
use super::sort_key::equality_key;
use crate::simulator::protocol::SqlType;
use crate::simulator::protocol::forms::{INSTANT_BYTES, OFFSET_BYTES};

/// Whether values of one type that differ in their Arrow form may be equal, or come in another order than it.
pub(crate) fn has_comparable(sql_type: SqlType) -> bool {
    let fixed = matches!(sql_type, SqlType::Binary(_) | SqlType::RowVersion);
    sql_type.is_text()
        || sql_type.is_binary() && !fixed
        || matches!(sql_type, SqlType::DateTimeOffset(_))
}

/// What is compared of an array in its type's Arrow form: the keys of texts in their collation, bytes without
/// zeros at the end, the instants of `datetimeoffset`; other values as they are.
pub(crate) fn comparable(array: &ArrayRef, of: Typed) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8 if of.sql_type.is_text() => {
            let keys = array
                .as_string::<i32>()
                .iter()
                .map(|text| text.map(|text| equality_key(text, of)));
            Arc::new(keys.collect::<BinaryArray>())
        }
        DataType::Binary if of.sql_type.is_binary() => {
            let trimmed = array.as_binary::<i32>().iter();
            let trimmed = trimmed.map(|bytes| bytes.map(without_zeros));
            Arc::new(trimmed.collect::<BinaryArray>())
        }
        DataType::FixedSizeBinary(OFFSET_BYTES) => instants(array),
        _ => Arc::clone(array),
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    &bytes[..bytes.len() - zeros]
}

/// The instants of `datetimeoffset`, as `datetime2`.
fn instants(array: &ArrayRef) -> ArrayRef {
    let forms = array.as_fixed_size_binary().iter();
    let instants = forms.map(|form| form.and_then(|form| form.get(..INSTANT_BYTES as usize)));
    match FixedSizeBinaryArray::try_from_sparse_iter_with_size(instants, INSTANT_BYTES) {
        Ok(instants) => Arc::new(instants),
        Err(_) => Arc::clone(array),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::Length;
    use crate::simulator::types::{Value, array_of};

    fn equal(of: SqlType, one: Value, other: Value) -> bool {
        let array = array_of(of, [one, other]).unwrap();
        let form = comparable(&array, of.into());
        form.slice(0, 1) == form.slice(1, 1)
    }

    #[test]
    fn what_is_equal_to_sql_server_has_one_form() {
        let bytes = SqlType::VarBinary(Length::Max);
        assert!(equal(
            bytes,
            Value::Bytes(vec![1]),
            Value::Bytes(vec![1, 0])
        ));
        assert!(!equal(
            bytes,
            Value::Bytes(vec![1]),
            Value::Bytes(vec![0, 1])
        ));
        let text = SqlType::VarChar(Length::Max);
        assert!(equal(text, "a".into(), "A ".into()));
        let offset = SqlType::DateTimeOffset(7);
        assert!(equal(offset, Value::Offset(5, 0), Value::Offset(5, 60)));
        assert!(!equal(offset, Value::Offset(5, 0), Value::Offset(6, 0)));
        assert!(!equal(SqlType::Int, Value::Int(1), Value::Int(2)));
    }
}
