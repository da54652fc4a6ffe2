//! Arithmetic: the types of results, and results that fit them or are errors.
//!
//! The rules are those of
//! <https://learn.microsoft.com/sql/t-sql/data-types/precision-scale-and-length-transact-sql>.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, i256};

use crate::simulator::errors::overflow;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::internal;
use crate::simulator::types::to_form;

/// The most digits of a decimal.
pub(super) const DIGITS: u8 = 38;
/// The scale that a quotient has at least.
const QUOTIENT_SCALE: u8 = 6;

/// An operation on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
}

/// A number's type, and for a constant the digits that it shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    pub(super) sql_type: SqlType,
    pub(super) digits: Option<u8>,
}

impl Operand {
    /// Precision and scale of an exact number as a decimal.
    pub(super) fn shape_of(sql_type: SqlType) -> Option<(u8, u8)> {
        let exact = is_number(sql_type) && !matches!(sql_type, SqlType::Real | SqlType::Float);
        let digits = None;
        exact.then(|| Self { sql_type, digits }.shape())
    }

    /// Precision and scale as a decimal.
    fn shape(self) -> (u8, u8) {
        match self.sql_type {
            SqlType::Decimal { precision, scale } => (precision, scale),
            SqlType::Money => (19, 4),
            SqlType::SmallMoney => (10, 4),
            _ if self.digits.is_some() => (self.digits.unwrap_or(1), 0),
            SqlType::Bit => (1, 0),
            SqlType::TinyInt => (3, 0),
            SqlType::SmallInt => (5, 0),
            SqlType::Int => (10, 0),
            _ => (19, 0),
        }
    }
}

fn whole(sql_type: SqlType) -> Option<u8> {
    Some(match sql_type {
        SqlType::Bit => 0,
        SqlType::TinyInt => 1,
        SqlType::SmallInt => 2,
        SqlType::Int => 3,
        SqlType::BigInt => 4,
        _ => return None,
    })
}

impl Operation {
    const ALL: [Self; 8] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Remainder,
        Self::And,
        Self::Or,
        Self::Xor,
    ];

    /// The operation that a sign stands for.
    pub(super) fn of_sign(sign: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.sign() == sign)
    }

    /// Its sign.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
        }
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Remainder => "modulo",
            Self::And => "'&'",
            Self::Or => "'|'",
            Self::Xor => "'^'",
        }
    }

    fn is_bitwise(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Xor)
    }

    /// The type of the result; `None` where the operands' types do not meet.
    pub(super) fn result(self, left: Operand, right: Operand) -> Option<SqlType> {
        let (one, other) = (left.sql_type, right.sql_type);
        if let (Some(first), Some(second)) = (whole(one), whole(other)) {
            let higher = if first >= second { one } else { other };
            return (higher != SqlType::Bit || self.is_bitwise()).then_some(higher);
        }
        let either = |wanted: SqlType| one == wanted || other == wanted;
        let numbers = [one, other].into_iter().all(is_number);
        if !numbers || self.is_bitwise() {
            return None;
        }
        if either(SqlType::Float) || either(SqlType::Real) {
            let result = if either(SqlType::Float) {
                SqlType::Float
            } else {
                SqlType::Real
            };
            return (self != Self::Remainder).then_some(result);
        }
        let decimal = |sql_type| matches!(sql_type, SqlType::Decimal { .. });
        if decimal(one) || decimal(other) {
            return Some(self.decimal(left.shape(), right.shape()));
        }
        Some(if either(SqlType::Money) {
            SqlType::Money
        } else {
            SqlType::SmallMoney
        })
    }

    fn decimal(self, (p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> SqlType {
        let (precision, scale) = match self {
            Self::Multiply => (p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = QUOTIENT_SCALE.max(s1 + p2 + 1);
                (p1 - s1 + s2 + scale, scale)
            }
            Self::Remainder => {
                let scale = s1.max(s2);
                ((p1 - s1).min(p2 - s2) + scale, scale)
            }
            _ => {
                let scale = s1.max(s2);
                ((p1 - s1).max(p2 - s2) + scale + 1, scale)
            }
        };
        if precision <= DIGITS {
            return SqlType::Decimal { precision, scale };
        }
        let before_point = precision - scale;
        let scale = match self {
            Self::Multiply | Self::Divide if before_point < 32 => scale.min(DIGITS - before_point),
            Self::Multiply | Self::Divide => scale.min(QUOTIENT_SCALE),
            _ => scale.min(DIGITS - (before_point - 1).min(DIGITS)),
        };
        SqlType::Decimal {
            precision: DIGITS,
            scale,
        }
    }
}

/// Whether arithmetic computes with values of a type.
pub(super) fn is_number(sql_type: SqlType) -> bool {
    whole(sql_type).is_some()
        || matches!(
            sql_type,
            SqlType::Decimal { .. }
                | SqlType::Money
                | SqlType::SmallMoney
                | SqlType::Real
                | SqlType::Float
        )
}

/// The results, in the form of their type.
///
/// # Errors
///
/// 8115 for a result that does not fit, 8134 for a division by zero.
pub(super) fn compute(
    operation: Operation,
    left: (&ArrayRef, SqlType),
    right: (&ArrayRef, SqlType),
    result: SqlType,
) -> Result<ArrayRef, ServerError> {
    match result {
        SqlType::Float | SqlType::Real => floats(operation, left, right, result),
        SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney => {
            decimals(operation, left, right, result)
        }
        _ => wholes(operation, left, right, result),
    }
}

fn wholes(
    operation: Operation,
    left: (&ArrayRef, SqlType),
    right: (&ArrayRef, SqlType),
    result: SqlType,
) -> Result<ArrayRef, ServerError> {
    let number = |(array, _): (&ArrayRef, SqlType)| cast(array, &DataType::Int64).map_err(internal);
    let (left, right) = (number(left)?, number(right)?);
    let (least, most) = match result {
        SqlType::Bit => (0, 1),
        SqlType::TinyInt => (0, 255),
        SqlType::SmallInt => (i16::MIN.into(), i16::MAX.into()),
        SqlType::Int => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    let each = |(left, right): (Option<i64>, Option<i64>)| {
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(None);
        };
        let computed = match operation {
            Operation::Add => left.checked_add(right),
            Operation::Subtract => left.checked_sub(right),
            Operation::Multiply => left.checked_mul(right),
            Operation::Divide | Operation::Remainder if right == 0 => {
                return Err(ServerError::divide_by_zero());
            }
            Operation::Divide => left.checked_div(right),
            Operation::Remainder => Some(left.wrapping_rem(right)),
            Operation::And => Some(left & right),
            Operation::Or => Some(left | right),
            Operation::Xor => Some(left ^ right),
        };
        computed
            .filter(|number| (least..=most).contains(number))
            .map(Some)
            .ok_or_else(|| overflow(result))
    };
    let numbers = left
        .as_primitive::<Int64Type>()
        .iter()
        .zip(right.as_primitive::<Int64Type>())
        .map(each)
        .collect::<Result<Int64Array, _>>()?;
    let numbers: ArrayRef = Arc::new(numbers);
    cast(&numbers, &result.arrow_form()).map_err(internal)
}

fn floats(
    operation: Operation,
    left: (&ArrayRef, SqlType),
    right: (&ArrayRef, SqlType),
    result: SqlType,
) -> Result<ArrayRef, ServerError> {
    let number =
        |(array, _): (&ArrayRef, SqlType)| cast(array, &DataType::Float64).map_err(internal);
    let (left, right) = (number(left)?, number(right)?);
    let largest = match result {
        SqlType::Real => f64::from(f32::MAX),
        _ => f64::MAX,
    };
    let each = |(left, right): (Option<f64>, Option<f64>)| {
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(None);
        };
        let computed = match operation {
            Operation::Add => left + right,
            Operation::Subtract => left - right,
            Operation::Multiply => left * right,
            _ if right == 0.0 => return Err(ServerError::divide_by_zero()),
            _ => left / right,
        };
        if computed.abs() <= largest {
            Ok(Some(computed))
        } else {
            Err(overflow(result))
        }
    };
    let numbers = left
        .as_primitive::<Float64Type>()
        .iter()
        .zip(right.as_primitive::<Float64Type>())
        .map(each)
        .collect::<Result<Float64Array, _>>()?;
    let numbers: ArrayRef = Arc::new(numbers);
    cast(&numbers, &result.arrow_form()).map_err(internal)
}

/// Digits and their scale.
pub(super) fn digits(
    (array, sql_type): (&ArrayRef, SqlType),
) -> Result<(Decimal128Array, u8), ServerError> {
    let scale = match sql_type {
        SqlType::Decimal { scale, .. } => scale,
        SqlType::Money | SqlType::SmallMoney => 4,
        _ => 0,
    };
    let array = match scale {
        0 if whole(sql_type).is_some() => {
            let wide = cast(array, &DataType::Int64).map_err(internal)?;
            cast(&wide, &DataType::Decimal128(DIGITS, 0)).map_err(internal)?
        }
        _ => to_form(array, sql_type)?,
    };
    Ok((array.as_primitive::<Decimal128Type>().clone(), scale))
}

fn decimals(
    operation: Operation,
    left: (&ArrayRef, SqlType),
    right: (&ArrayRef, SqlType),
    result: SqlType,
) -> Result<ArrayRef, ServerError> {
    let ((left, s1), (right, s2)) = (digits(left)?, digits(right)?);
    let (precision, scale, largest) = match result {
        SqlType::Decimal { precision, scale } => {
            (precision, scale, 10_i128.pow(precision.into()) - 1)
        }
        SqlType::SmallMoney => (10, 4, i128::from(i32::MAX)),
        _ => (19, 4, i128::from(i64::MAX)),
    };
    let each = |(left, right): (Option<i128>, Option<i128>)| {
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(None);
        };
        let operands = (i256::from_i128(left), i256::from_i128(right));
        exact(operation, operands, (s1, s2), scale)?
            .and_then(i256::to_i128)
            .filter(|digits| digits.abs() <= largest)
            .map(Some)
            .ok_or_else(|| overflow(result))
    };
    let numbers = left
        .iter()
        .zip(right.iter())
        .map(each)
        .collect::<Result<Decimal128Array, _>>()?
        .with_precision_and_scale(precision, scale.try_into().unwrap_or(0))
        .map_err(internal)?;
    let numbers: ArrayRef = Arc::new(numbers);
    to_form(&numbers, result)
}

fn power(exponent: u8) -> i256 {
    i256::from_i128(10).wrapping_pow(exponent.into())
}

/// The digits of a result at a scale; `None` if they are too many.
fn exact(
    operation: Operation,
    (left, right): (i256, i256),
    (s1, s2): (u8, u8),
    scale: u8,
) -> Result<Option<i256>, ServerError> {
    let common = s1.max(s2);
    let aligned = || {
        let left = left.checked_mul(power(common - s1))?;
        let right = right.checked_mul(power(common - s2))?;
        Some((left, right))
    };
    let divides = matches!(operation, Operation::Divide | Operation::Remainder);
    if divides && right == i256::ZERO {
        return Err(ServerError::divide_by_zero());
    }
    Ok(match operation {
        Operation::Multiply => left
            .checked_mul(right)
            .map(|product| rescaled(product, s1 + s2, scale)),
        // Digits beyond the scale are cut, not rounded.
        Operation::Divide => left
            .checked_mul(power((scale + s2).saturating_sub(s1)))
            .map(|dividend| dividend.wrapping_div(right)),
        Operation::Remainder => aligned().map(|(left, right)| left.wrapping_rem(right)),
        Operation::Subtract => aligned()
            .and_then(|(left, right)| left.checked_sub(right))
            .map(|sum| rescaled(sum, common, scale)),
        _ => aligned()
            .and_then(|(left, right)| left.checked_add(right))
            .map(|sum| rescaled(sum, common, scale)),
    })
}

/// The digits at another scale, rounded half away from zero.
fn rescaled(digits: i256, from: u8, to: u8) -> i256 {
    if to >= from {
        return digits.wrapping_mul(power(to - from));
    }
    let unit = power(from - to);
    let half = unit.wrapping_div(i256::from_i128(2));
    let half = if digits < i256::ZERO {
        half.wrapping_neg()
    } else {
        half
    };
    digits.wrapping_add(half).wrapping_div(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(precision: u8, scale: u8) -> SqlType {
        SqlType::Decimal { precision, scale }
    }

    fn result(operation: Operation, left: SqlType, right: SqlType) -> Option<SqlType> {
        let operand = |sql_type| Operand {
            sql_type,
            digits: None,
        };
        operation.result(operand(left), operand(right))
    }

    #[test]
    fn results_have_the_documented_types() {
        use Operation::{Add, Divide, Multiply, Remainder};
        let cases = [
            (
                Add,
                SqlType::TinyInt,
                SqlType::TinyInt,
                Some(SqlType::TinyInt),
            ),
            (Add, SqlType::Int, SqlType::BigInt, Some(SqlType::BigInt)),
            (Divide, SqlType::Int, SqlType::Int, Some(SqlType::Int)),
            (Add, decimal(5, 2), decimal(8, 4), Some(decimal(9, 4))),
            (Multiply, decimal(5, 2), decimal(8, 4), Some(decimal(14, 6))),
            (Divide, decimal(5, 2), decimal(8, 4), Some(decimal(18, 11))),
            (
                Divide,
                decimal(38, 10),
                decimal(38, 10),
                Some(decimal(38, 6)),
            ),
            (
                Multiply,
                decimal(38, 10),
                decimal(38, 10),
                Some(decimal(38, 6)),
            ),
            (Add, SqlType::Money, SqlType::Int, Some(SqlType::Money)),
            (Add, SqlType::Real, SqlType::Int, Some(SqlType::Real)),
            (Remainder, SqlType::Float, SqlType::Int, None),
            (Add, SqlType::Bit, SqlType::Bit, None),
        ];
        for (operation, left, right, wanted) in cases {
            assert_eq!(result(operation, left, right), wanted, "{left:?} {right:?}");
        }
    }

    #[test]
    fn a_constant_has_no_more_digits_than_it_shows() {
        let left = Operand {
            sql_type: decimal(2, 1),
            digits: None,
        };
        let right = Operand {
            sql_type: SqlType::Int,
            digits: Some(1),
        };
        assert_eq!(Operation::Divide.result(left, right), Some(decimal(7, 6)));
    }

    #[test]
    fn digits_are_rounded_half_away_from_zero() {
        let digits = |n| i256::from_i128(n);
        assert_eq!(rescaled(digits(125), 2, 1), digits(13));
        assert_eq!(rescaled(digits(-125), 2, 1), digits(-13));
        assert_eq!(rescaled(digits(124), 2, 1), digits(12));
        assert_eq!(rescaled(digits(1), 0, 2), digits(100));
    }
}
