//! How texts and bytes are compared and joined, and the value of a subquery.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BinaryArray, StringArray};

use super::Function;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::types::to_form;

/// A text in the form in which the default collation compares: without case and blanks at the end.
pub(crate) const COMPARABLE_TEXT: &str = "__comparable_text";
/// Bytes without zeros at the end, as binary values of two lengths are compared.
pub(crate) const COMPARABLE_BYTES: &str = "__comparable_bytes";
/// `+` of texts or of bytes.
pub(crate) const CONCATENATE: &str = "__concatenate";
/// A subquery's value, which is NULL where there is no row, though its column may be NOT NULL.
pub(crate) const MAYBE_NULL: &str = "__maybe_null";

pub(super) fn function(name: &str) -> Option<Function> {
    match name {
        COMPARABLE_TEXT => Some(Function::arrays(
            COMPARABLE_TEXT,
            (1, 1),
            |_, _| Ok(SqlType::NVarChar(Length::Max)),
            |arrays, _, to| {
                let texts = to_form(&arrays[0], to)?;
                let folded = texts
                    .as_string::<i32>()
                    .iter()
                    .map(|text| text.map(|text| text.trim_end_matches(' ').to_lowercase()));
                Ok(Arc::new(folded.collect::<StringArray>()))
            },
        )),
        COMPARABLE_BYTES => Some(Function::arrays(
            COMPARABLE_BYTES,
            (1, 1),
            |_, _| Ok(SqlType::VarBinary(Length::Max)),
            |arrays, _, to| {
                let bytes = to_form(&arrays[0], to)?;
                let trimmed = bytes.as_binary::<i32>().iter().map(|bytes| {
                    bytes.map(|bytes| {
                        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
                        &bytes[..bytes.len() - zeros]
                    })
                });
                Ok(Arc::new(trimmed.collect::<BinaryArray>()))
            },
        )),
        CONCATENATE => Some(concatenate()),
        MAYBE_NULL => Some(Function::arrays(
            MAYBE_NULL,
            (1, 1),
            |types, _| Ok(types[0]),
            |arrays, _, _| Ok(Arc::clone(&arrays[0])),
        )),
        _ => None,
    }
}

fn concatenate() -> Function {
    Function::arrays(
        CONCATENATE,
        (2, 2),
        |types, _| Ok(joined_type(types)),
        |arrays, _, to| {
            let left = to_form(&arrays[0], to)?;
            let right = to_form(&arrays[1], to)?;
            if to.is_binary() {
                let joined = left
                    .as_binary::<i32>()
                    .iter()
                    .zip(right.as_binary::<i32>())
                    .map(|(left, right)| Some([left?, right?].concat()));
                return Ok(Arc::new(joined.collect::<BinaryArray>()));
            }
            let joined = left
                .as_string::<i32>()
                .iter()
                .zip(right.as_string::<i32>())
                .map(|(left, right)| Some([left?, right?].concat()));
            Ok(Arc::new(joined.collect::<StringArray>()))
        },
    )
}

fn joined_type(types: &[SqlType]) -> SqlType {
    let limited = |sql_type: &SqlType| match sql_type {
        SqlType::Char(n)
        | SqlType::NChar(n)
        | SqlType::Binary(n)
        | SqlType::VarChar(Length::Limited(n))
        | SqlType::NVarChar(Length::Limited(n))
        | SqlType::VarBinary(Length::Limited(n)) => Some(*n),
        _ => None,
    };
    let sum: Option<u16> = types
        .iter()
        .map(limited)
        .try_fold(0_u16, |sum, n| Some(sum.saturating_add(n?)));
    if types.iter().any(SqlType::is_binary) {
        let length = sum.map_or(Length::Max, |n| Length::Limited(n.clamp(1, 8000)));
        SqlType::VarBinary(length)
    } else {
        // A cut at 4000 is avoided rather than copied.
        let length = sum
            .filter(|n| *n <= 4000)
            .map_or(Length::Max, |n| Length::Limited(n.max(1)));
        SqlType::NVarChar(length)
    }
}

/// The error of two types that an operator does not join.
pub(crate) fn incompatible(left: SqlType, right: SqlType, operator: &str) -> ServerError {
    ServerError::new(
        402,
        format!(
            "The data types {} and {} are incompatible in the {operator} operator.",
            left.base_name(),
            right.base_name()
        ),
    )
}
