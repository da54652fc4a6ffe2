//! How texts and bytes are compared and joined, and the value of a subquery.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray};

use super::{Function, literal_type};
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType, units};
use crate::simulator::tsql::arithmetic::{Operation, compute};
use crate::simulator::tsql::comparison;
use crate::simulator::types::{Mode, Typed, Value, comparable, convert_array, to_form, values_of};

/// `__comparable(value [, 'collation'])`: what is compared of a value, if it is a text in that collation.
pub(crate) const COMPARABLE: &str = "__comparable";
/// `__among(value, constant, …)`: IN with a long list.
pub(crate) const AMONG: &str = "__among";
/// `__arithmetic(left, right, 'sign', 'type')`.
pub(crate) const ARITHMETIC: &str = "__arithmetic";
/// `__collated(text, ' collate name')`: a text with another collation.
pub(crate) const COLLATED: &str = "__collated";
/// A value of a list of rows, where the values of one column are not all of one type.
pub(crate) const UNTYPED: &str = "__untyped";
/// `+` of texts or of bytes.
pub(crate) const CONCATENATE: &str = "__concatenate";
/// A subquery's value, which is NULL where there is no row, though its column may be NOT NULL.
pub(crate) const MAYBE_NULL: &str = "__maybe_null";

/// A condition that fails when the batch shall stop.
pub(crate) const UNLESS_INTERRUPTED: &str = "__unless_interrupted";

pub(super) fn function(name: &str) -> Option<Function> {
    match name {
        COMPARABLE => Some(folded()),
        COLLATED => Some(Function::typed(
            COLLATED,
            (2, 2),
            |types, _| {
                if types[0].is_text() {
                    return Ok(types[0]);
                }
                Err(ServerError::new(
                    447,
                    format!(
                        "Expression type {} is invalid for COLLATE clause.",
                        types[0].base_name()
                    ),
                ))
            },
            |arrays, types, to| convert_array(&arrays[0], types[0], to, 0, Mode::Cast),
        )),
        AMONG => Some(among()),
        ARITHMETIC => Some(arithmetic()),
        UNTYPED => Some(
            Function::arrays(
                UNTYPED,
                (1, 1),
                |types, _| Ok(types[0]),
                |arrays, _, _| Ok(Arc::clone(&arrays[0])),
            )
            .without_type(),
        ),
        CONCATENATE => Some(concatenate()),
        MAYBE_NULL => Some(Function::arrays(
            MAYBE_NULL,
            (1, 1),
            |types, _| Ok(types[0]),
            |arrays, _, _| Ok(Arc::clone(&arrays[0])),
        )),
        UNLESS_INTERRUPTED => Some(Function::arrays(
            UNLESS_INTERRUPTED,
            (1, 1),
            |_, _| Ok(SqlType::Bit),
            |arrays, _, _| Ok(Arc::clone(&arrays[0])),
        )),
        _ => None,
    }
}

fn folded() -> Function {
    Function::typed(
        COMPARABLE,
        (1, 2),
        |types, _| {
            Ok(match types[0] {
                of if of.is_text() || of.is_binary() => SqlType::VarBinary(Length::Max),
                SqlType::DateTimeOffset(_) => SqlType::DateTime2(7),
                of => of,
            })
        },
        |arrays, types, _| {
            let collation = match arrays.get(1) {
                Some(name) => {
                    let name = values_of(name)?.into_iter().next();
                    let name = name.as_ref().and_then(Value::as_text);
                    name.and_then(Collation::named).unwrap_or_default()
                }
                None => types[0].collation,
            };
            let array = to_form(&arrays[0], types[0].sql_type)?;
            Ok(comparable(&array, Typed::new(types[0].sql_type, collation)))
        },
    )
}

fn among() -> Function {
    Function::typed(
        AMONG,
        (2, usize::MAX),
        |_, _| Ok(SqlType::Bit),
        |arrays, types, _| {
            let list: Vec<(ArrayRef, Typed)> = arrays[1..]
                .iter()
                .cloned()
                .zip(types[1..].iter().copied())
                .collect();
            let found = comparison::among((&arrays[0], types[0]), &list)?;
            Ok(Arc::new(found.into_iter().collect::<BooleanArray>()))
        },
    )
    .with_constants()
}

fn arithmetic() -> Function {
    Function::arrays(
        ARITHMETIC,
        (4, 4),
        |_, literals| literal_type(literals, 3),
        |arrays, types, to| {
            let sign = values_of(&arrays[2])?.into_iter().next();
            let operation = sign
                .as_ref()
                .and_then(Value::as_text)
                .and_then(Operation::of_sign)
                .ok_or_else(|| ServerError::unsupported("this operator"))?;
            compute(
                operation,
                (&arrays[0], types[0]),
                (&arrays[1], types[1]),
                to,
            )
        },
    )
}

fn concatenate() -> Function {
    Function::arrays(
        CONCATENATE,
        (3, 3),
        |_, literals| literal_type(literals, 2),
        |arrays, _, to| joined(&arrays[0], &arrays[1], to),
    )
}

/// Texts or bytes, joined.
pub(super) fn joined(
    left: &ArrayRef,
    right: &ArrayRef,
    to: SqlType,
) -> Result<ArrayRef, ServerError> {
    let left = to_form(left, to)?;
    let right = to_form(right, to)?;
    if to.is_binary() {
        let joined = left
            .as_binary::<i32>()
            .iter()
            .zip(right.as_binary::<i32>())
            .map(|(left, right)| Some([left?, right?].concat()));
        let joined: ArrayRef = Arc::new(joined.collect::<BinaryArray>());
        return convert_array(&joined, UNLIMITED_BYTES, to, 0, Mode::Cast);
    }
    let joined = left
        .as_string::<i32>()
        .iter()
        .zip(right.as_string::<i32>())
        .map(|(left, right)| Some(units::whole([left?, right?].concat())));
    let joined: ArrayRef = Arc::new(joined.collect::<StringArray>());
    // What is longer than the type is cut without an error.
    convert_array(&joined, UNLIMITED_TEXT, to, 0, Mode::Cast)
}

const UNLIMITED_BYTES: SqlType = SqlType::VarBinary(Length::Max);
const UNLIMITED_TEXT: SqlType = SqlType::NVarChar(Length::Max);

/// The type of two texts or bytes that are joined.
pub(crate) fn joined_type(left: SqlType, right: SqlType) -> SqlType {
    let types = [left, right];
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
    let length = |most: u16| sum.map_or(Length::Max, |n| Length::Limited(n.clamp(1, most)));
    if types.iter().any(SqlType::is_binary) {
        SqlType::VarBinary(length(8000))
    } else if types
        .iter()
        .all(|t| matches!(t, SqlType::Char(_) | SqlType::VarChar(_)))
    {
        SqlType::VarChar(length(8000))
    } else {
        SqlType::NVarChar(length(4000))
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
