//! What two values become before they are compared.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;

use super::arithmetic::{DIGITS, Operand};
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType};
use crate::simulator::store::internal;
use crate::simulator::types::{Mode, Typed, comparable, convert_array, to_form};

/// What an operand of a comparison becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is; numbers meet in a common type.
    AsIs,
    /// The key of a text in its collation.
    Text,
    /// The key of a text of a code page as that of an N text, which the other operand is.
    WideText,
    /// Bytes without zeros at the end.
    Bytes,
    /// A bit as a number.
    Number,
    /// The instant of a `datetimeoffset`.
    Instant,
    /// The instant of a value as such a `datetimeoffset`.
    InstantOf(SqlType),
    /// A value of the other operand's type.
    As(SqlType),
}

impl Form {
    /// Whether it is the key of a text, which depends on a collation.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::WideText)
    }
}

/// What the operands of a comparison become; error 402 where the types do not meet.
pub(super) fn forms(
    left: SqlType,
    right: SqlType,
    operator: &str,
) -> Result<(Form, Form), ServerError> {
    if left == SqlType::SqlVariant || right == SqlType::SqlVariant {
        return Err(ServerError::unsupported("comparisons of sql_variant"));
    }
    if !left.is_comparable() || !right.is_comparable() {
        return Err(super::functions::incompatible(left, right, operator));
    }
    if left.is_text() && right.is_text() {
        let form = |own: SqlType, other: SqlType| {
            if other.is_wide() && !own.is_wide() {
                Form::WideText
            } else {
                Form::Text
            }
        };
        return Ok((form(left, right), form(right, left)));
    }
    if left.is_binary() && right.is_binary() {
        let same = left == right && matches!(left, SqlType::Binary(_));
        let form = if same { Form::AsIs } else { Form::Bytes };
        return Ok((form, form));
    }
    let offset = |sql_type| matches!(sql_type, SqlType::DateTimeOffset(_));
    if offset(left) && offset(right) {
        return Ok((Form::Instant, Form::Instant));
    }
    if left == right {
        return Ok((Form::AsIs, Form::AsIs));
    }
    if rank(left) < rank(right) && converts(left, right) {
        // Every digit of a second counts.
        return Ok(match right {
            SqlType::DateTime2(_) => (Form::As(SqlType::DateTime2(7)), Form::AsIs),
            SqlType::DateTimeOffset(_) => {
                let to = SqlType::DateTimeOffset(7);
                (Form::InstantOf(to), Form::Instant)
            }
            _ => (Form::As(right), Form::AsIs),
        });
    }
    if rank(right) < rank(left) && converts(right, left) {
        let (right, left) = forms(right, left, operator)?;
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
    Err(super::functions::incompatible(left, right, operator))
}

/// The precedence of types, as far as conversions between kinds of types need it.
pub(super) fn rank(sql_type: SqlType) -> u8 {
    match sql_type {
        SqlType::Binary(_) | SqlType::VarBinary(_) | SqlType::RowVersion | SqlType::Image => 0,
        SqlType::Char(_) | SqlType::VarChar(_) | SqlType::Text => 1,
        SqlType::NChar(_) | SqlType::NVarChar(_) | SqlType::NText => 2,
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
        SqlType::SqlVariant => 13,
        SqlType::Xml => 14,
        SqlType::Udt(_) => 15,
    }
}

/// The type that values of two types have in common: the one of the higher precedence, wide enough for both.
pub(super) fn common(one: SqlType, other: SqlType) -> SqlType {
    use SqlType::{DateTime2, DateTimeOffset, Decimal, Time};
    let (low, high) = if precedence(one) <= precedence(other) {
        (one, other)
    } else {
        (other, one)
    };
    let finer = |scale: u8| scale.max(second_digits(low));
    match (low, high) {
        (low, Decimal { precision, scale }) => match Operand::shape_of(low) {
            Some(shape) => common_decimal(shape, (precision, scale)),
            None => high,
        },
        (_, Time(scale)) => Time(finer(scale)),
        (_, DateTime2(scale)) => DateTime2(finer(scale)),
        (_, DateTimeOffset(scale)) => DateTimeOffset(finer(scale)),
        _ => high,
    }
}

/// The place of a type in T-SQL's order of precedence; types of one kind have that of their widths too.
fn precedence(sql_type: SqlType) -> (u8, u8) {
    let within = match sql_type {
        SqlType::SmallInt | SqlType::Money | SqlType::Float | SqlType::DateTime => 1,
        SqlType::Int | SqlType::Decimal { .. } => 2,
        SqlType::BigInt => 3,
        SqlType::VarChar(_) | SqlType::NVarChar(_) | SqlType::VarBinary(_) => 1,
        _ => 0,
    };
    (rank(sql_type), within)
}

/// Digits after a second's point.
fn second_digits(sql_type: SqlType) -> u8 {
    match sql_type {
        SqlType::Time(scale) | SqlType::DateTime2(scale) | SqlType::DateTimeOffset(scale) => scale,
        SqlType::DateTime => 3,
        _ => 0,
    }
}

/// The decimal with the digits of both before and after the point, as far as there is room after it.
fn common_decimal((p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> SqlType {
    let before = (p1 - s1).max(p2 - s2);
    let scale = s1.max(s2).min(DIGITS - before);
    SqlType::Decimal {
        precision: before + scale,
        scale,
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
fn in_form(
    array: &ArrayRef,
    from: Typed,
    form: Form,
    collation: Collation,
) -> Result<ArrayRef, ServerError> {
    let comparable_as = |of: SqlType, collation| {
        let array = to_form(array, of)?;
        Ok(comparable(&array, Typed::new(of, collation)))
    };
    match form {
        Form::AsIs => to_form(array, from.sql_type),
        Form::Text | Form::Bytes | Form::Instant => comparable_as(from.sql_type, collation),
        Form::WideText => comparable_as(SqlType::NVarChar(Length::Max), collation),
        Form::InstantOf(to) => {
            let converted = convert_array(array, from, to, 0, Mode::Cast)?;
            Ok(comparable(&converted, to.into()))
        }
        Form::Number => cast(array, &DataType::Int32).map_err(internal),
        Form::As(to) => convert_array(array, from, to, 0, Mode::Cast),
    }
}

/// Two arrays in one Arrow type in which their values can be compared; texts in the left one's collation.
pub(super) fn meet(
    left: (&ArrayRef, Typed),
    right: (&ArrayRef, Typed),
) -> Result<(ArrayRef, ArrayRef), ServerError> {
    let collation = left.1.collation;
    let forms = forms(left.1.sql_type, right.1.sql_type, "equal to")?;
    let left = in_form(left.0, left.1, forms.0, collation)?;
    let right = in_form(right.0, right.1, forms.1, collation)?;
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

/// Which of `values` are among `list`; NULL where that cannot be told.
pub(super) fn among(
    values: (&ArrayRef, Typed),
    list: &[(ArrayRef, Typed)],
) -> Result<Vec<Option<bool>>, ServerError> {
    use datafusion::arrow::row::{RowConverter, SortField};
    use std::collections::HashSet;
    let mut groups: Vec<(Typed, Vec<&dyn Array>)> = Vec::new();
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
    use datafusion::arrow::array::StringArray;

    use super::*;

    #[test]
    fn types_meet_in_one_wide_enough_for_both() {
        let decimal = |precision, scale| SqlType::Decimal { precision, scale };
        for (one, other, wanted) in [
            (SqlType::Int, SqlType::BigInt, SqlType::BigInt),
            (SqlType::Bit, SqlType::TinyInt, SqlType::TinyInt),
            (SqlType::Int, decimal(2, 1), decimal(11, 1)),
            (decimal(5, 2), decimal(8, 4), decimal(8, 4)),
            (decimal(38, 0), decimal(10, 5), decimal(38, 0)),
            (SqlType::Money, decimal(5, 2), decimal(19, 4)),
            (SqlType::Money, SqlType::BigInt, SqlType::Money),
            (SqlType::SmallMoney, SqlType::Money, SqlType::Money),
            (SqlType::Real, decimal(38, 10), SqlType::Real),
            (SqlType::Real, SqlType::Float, SqlType::Float),
            (SqlType::VarChar(Length::Max), SqlType::Int, SqlType::Int),
            (SqlType::Date, SqlType::DateTime, SqlType::DateTime),
            (
                SqlType::DateTime,
                SqlType::DateTime2(0),
                SqlType::DateTime2(3),
            ),
            (SqlType::Time(7), SqlType::Time(0), SqlType::Time(7)),
        ] {
            assert_eq!(common(one, other), wanted, "{one:?} {other:?}");
            assert_eq!(common(other, one), wanted, "{other:?} {one:?}");
        }
    }

    #[test]
    fn lists_are_compared_by_type() {
        use datafusion::arrow::array::Int32Array;
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
        let one: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let null: ArrayRef = Arc::new(Int32Array::from(vec![None::<i32>]));
        let text = SqlType::VarChar(Length::Limited(1));
        let list = [(Arc::clone(&one), text.into())];
        assert_eq!(
            among((&values, SqlType::Int.into()), &list).unwrap(),
            [Some(true), Some(false), None]
        );
        let list = [(one, text.into()), (null, SqlType::Int.into())];
        assert_eq!(
            among((&values, SqlType::Int.into()), &list).unwrap(),
            [Some(true), None, None]
        );
    }
}
