//! Mathematical functions: the types of their results, and results that fit them or are errors.
//!
//! The rules are those of
//! <https://learn.microsoft.com/sql/t-sql/functions/mathematical-functions-transact-sql>.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;

use super::Function;
use crate::simulator::errors::overflow;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::tsql::arithmetic::is_number;
use crate::simulator::types::{Mode, Value, array_of, convert_array, convert_value, values_of};

/// What a function of floats gives.
type OfFloats = fn(&[f64]) -> Result<f64, ServerError>;
/// What a function gives that keeps the kind of its first argument. The last arguments are that argument's
/// type and the result's.
type OfKind = fn(&[Value], SqlType, SqlType) -> Result<Value, ServerError>;

pub(super) fn function(name: &str) -> Option<Function> {
    of_floats(name).or_else(|| of_kind(name))
}

/// Functions of `float` expressions.
fn of_floats(name: &str) -> Option<Function> {
    let (arguments, compute): ((usize, usize), OfFloats) = match name {
        "pi" => ((0, 0), |_| Ok(std::f64::consts::PI)),
        "acos" => ((1, 1), |x| defined(x[0].acos())),
        "asin" => ((1, 1), |x| defined(x[0].asin())),
        "atan" => ((1, 1), |x| defined(x[0].atan())),
        "atn2" => ((2, 2), |x| match x {
            [0.0, 0.0] => Err(ServerError::unsupported("ATN2 of two zeros")),
            x => defined(x[0].atan2(x[1])),
        }),
        "cos" => ((1, 1), |x| defined(x[0].cos())),
        "cot" => ((1, 1), |x| match x[0] {
            0.0 => Err(ServerError::unsupported("COT of zero")),
            x => defined(x.tan().recip()),
        }),
        "exp" => ((1, 1), |x| defined(x[0].exp())),
        "log" => ((1, 2), logarithm),
        "log10" => ((1, 1), |x| defined(positive(x[0])?.log10())),
        "sin" => ((1, 1), |x| defined(x[0].sin())),
        "sqrt" => ((1, 1), |x| defined(x[0].sqrt())),
        "square" => ((1, 1), |x| defined(x[0] * x[0])),
        "tan" => ((1, 1), |x| defined(x[0].tan())),
        _ => return None,
    };
    let own = name.to_owned();
    Some(Function::arrays(
        name,
        arguments,
        move |types, _| {
            for (at, of) in types.iter().enumerate() {
                number(&own, at, *of)?;
            }
            Ok(SqlType::Float)
        },
        move |arrays, types, to| {
            let columns = floats(arrays, types)?;
            let rows = arrays.first().map_or(1, |array| array.len());
            let values = (0..rows).map(|row| {
                let given: Option<Vec<f64>> = columns.iter().map(|column| column[row]).collect();
                given.map_or(Ok(Value::Null), |given| compute(&given).map(Value::Float))
            });
            array_of(to, values.collect::<Result<Vec<_>, _>>()?)
        },
    ))
}

fn logarithm(x: &[f64]) -> Result<f64, ServerError> {
    let natural = positive(x[0])?.ln();
    match x.get(1) {
        None => defined(natural),
        Some(1.0) => Err(ServerError::unsupported("LOG to the base 1")),
        Some(base) => defined(natural / positive(*base)?.ln()),
    }
}

fn positive(x: f64) -> Result<f64, ServerError> {
    if x > 0.0 { Ok(x) } else { Err(undefined()) }
}

/// A result that is a number, and that `float` has room for.
fn defined(x: f64) -> Result<f64, ServerError> {
    if x.is_nan() {
        Err(undefined())
    } else if x.is_infinite() {
        Err(overflow(SqlType::Float))
    } else {
        Ok(x)
    }
}

fn undefined() -> ServerError {
    ServerError::new(3623, "An invalid floating point operation occurred.")
}

fn floats(arrays: &[ArrayRef], types: &[SqlType]) -> Result<Vec<Vec<Option<f64>>>, ServerError> {
    let column = |(array, of): (&ArrayRef, &SqlType)| {
        let array = convert_array(array, *of, SqlType::Float, 0, Mode::Cast)?;
        let values = values_of(&array)?.into_iter();
        Ok(values.map(|value| as_float(&value)).collect())
    };
    arrays.iter().zip(types).map(column).collect()
}

fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

/// Functions whose result is of the kind of their first argument.
fn of_kind(name: &str) -> Option<Function> {
    let (arguments, compute): ((usize, usize), OfKind) = match name {
        "abs" => ((1, 1), absolute),
        "ceiling" => ((1, 1), |x, _, to| whole(&x[0], to, f64::ceil, true)),
        "floor" => ((1, 1), |x, _, to| whole(&x[0], to, f64::floor, false)),
        "degrees" => ((1, 1), |x, of, to| angle(&x[0], of, to, f64::to_degrees)),
        "radians" => ((1, 1), |x, of, to| angle(&x[0], of, to, f64::to_radians)),
        "power" => ((2, 2), power),
        "round" => ((2, 3), round),
        "sign" => ((1, 1), sign),
        _ => return None,
    };
    let own = name.to_owned();
    Some(Function::arrays(
        name,
        arguments,
        move |types, _| kind(&own, types),
        move |arrays, types, to| {
            let kept = !types[0].is_text() && types[0] != SqlType::Bit;
            let of = if kept { types[0] } else { SqlType::Float };
            let first = convert_array(&arrays[0], types[0], of, 0, Mode::Cast)?;
            let mut columns = vec![values_of(&first)?];
            for (array, other) in arrays.iter().zip(types).skip(1) {
                columns.push(values_of(&as_other(array, *other)?)?);
            }
            let values = (0..first.len()).map(|row| {
                let given: Vec<Value> = columns.iter().map(|column| column[row].clone()).collect();
                if given.iter().any(Value::is_null) {
                    return Ok(Value::Null);
                }
                compute(&given, of, to)
            });
            array_of(to, values.collect::<Result<Vec<_>, _>>()?)
        },
    ))
}

/// An argument behind the first: a whole number, or else a `float`.
fn as_other(array: &ArrayRef, of: SqlType) -> Result<ArrayRef, ServerError> {
    if is_int(of) {
        return Ok(Arc::clone(array));
    }
    convert_array(array, of, SqlType::Float, 0, Mode::Cast)
}

fn is_int(of: SqlType) -> bool {
    matches!(of, SqlType::TinyInt | SqlType::SmallInt | SqlType::Int)
}

/// The type of a result.
fn kind(name: &str, types: &[SqlType]) -> Result<SqlType, ServerError> {
    use SqlType::{BigInt, Bit, Decimal, Float, Int, Money, SmallInt, SmallMoney, TinyInt};
    let of = types[0];
    for (at, other) in types.iter().enumerate() {
        number(name, at, *other)?;
        let valid = match name {
            "power" => *other != Bit,
            _ => is_int(*other),
        };
        if at > 0 && !valid {
            return Err(invalid(name, at, *other));
        }
    }
    let widens = matches!(name, "degrees" | "radians" | "power");
    Ok(match of {
        Bit if !widens => return Err(invalid(name, 0, of)),
        text if text.is_text() => Float,
        Decimal { precision, .. } if matches!(name, "ceiling" | "floor") => Decimal {
            precision,
            scale: 0,
        },
        Decimal { scale, .. } if widens => Decimal {
            precision: 38,
            scale,
        },
        Decimal { .. } => of,
        _ if matches!(name, "abs" | "ceiling" | "floor") => of,
        TinyInt | SmallInt | Int => Int,
        BigInt => BigInt,
        Money | SmallMoney => Money,
        _ => Float,
    })
}

/// Error 8116, unless an argument is a number, or a text that may be read as one.
fn number(name: &str, at: usize, of: SqlType) -> Result<(), ServerError> {
    let long = matches!(of, SqlType::Text | SqlType::NText);
    if (is_number(of) || of.is_text()) && !long {
        return Ok(());
    }
    Err(invalid(name, at, of))
}

fn invalid(name: &str, at: usize, of: SqlType) -> ServerError {
    ServerError::new(
        8116,
        format!(
            "Argument data type {} is invalid for argument {} of {name} function.",
            of.base_name(),
            at + 1
        ),
    )
}

/// A number of `scale` digits after the point in the result's type; error 8115 if it does not fit.
fn fitted(digits: i128, scale: u8, to: SqlType) -> Result<Value, ServerError> {
    let of = SqlType::Decimal {
        precision: 38,
        scale,
    };
    convert_value(Value::Decimal(digits, scale), of, to, 0, Mode::Cast)
}

fn absolute(x: &[Value], _: SqlType, to: SqlType) -> Result<Value, ServerError> {
    match &x[0] {
        Value::Int(int) => fitted(i128::from(*int).abs(), 0, to).map_err(|_| overflow(to)),
        Value::Decimal(digits, scale) => fitted(digits.abs(), *scale, to),
        Value::Float(float) => Ok(Value::Float(float.abs())),
        _ => Err(overflow(to)),
    }
}

fn whole(
    x: &Value,
    to: SqlType,
    float: fn(f64) -> f64,
    upwards: bool,
) -> Result<Value, ServerError> {
    match x {
        Value::Decimal(digits, scale) => {
            let unit = 10_i128.pow(u32::from(*scale));
            let more = upwards && digits.rem_euclid(unit) != 0;
            fitted(digits.div_euclid(unit) + i128::from(more), 0, to)
        }
        Value::Float(x) => Ok(Value::Float(float(*x))),
        other => Ok(other.clone()),
    }
}

fn sign(x: &[Value], _: SqlType, to: SqlType) -> Result<Value, ServerError> {
    match &x[0] {
        Value::Int(int) => Ok(Value::Int(int.signum())),
        Value::Decimal(digits, _) => fitted(digits.signum(), 0, to),
        Value::Float(float) if *float == 0.0 => Ok(Value::Float(0.0)),
        Value::Float(float) => Ok(Value::Float(float.signum())),
        _ => Err(overflow(to)),
    }
}

fn round(x: &[Value], _: SqlType, to: SqlType) -> Result<Value, ServerError> {
    let places = x[1].as_int().unwrap_or(0);
    let cuts = x.get(2).and_then(Value::as_int).unwrap_or(0) != 0;
    match &x[0] {
        Value::Int(int) => fitted(round_digits((*int).into(), 0, places, cuts), 0, to),
        Value::Decimal(digits, scale) => {
            fitted(round_digits(*digits, *scale, places, cuts), *scale, to)
        }
        Value::Float(float) => {
            let unit = 10_f64.powi(places.clamp(-400, 400) as i32);
            let moved = float * unit;
            if moved.abs() >= EXACT || !unit.is_normal() {
                let small = places < 0;
                return Ok(Value::Float(if small { 0.0 } else { *float }));
            }
            let moved = if cuts { moved.trunc() } else { moved.round() };
            Ok(Value::Float(moved / unit))
        }
        _ => Err(overflow(to)),
    }
}

/// Digits of a number with `scale` of them behind the point, without those beyond `places` behind it.
fn round_digits(digits: i128, scale: u8, places: i64, cuts: bool) -> i128 {
    let beyond = i64::from(scale).saturating_sub(places);
    let Some(unit) = u32::try_from(beyond.max(0))
        .ok()
        .and_then(|beyond| 10_i128.checked_pow(beyond))
    else {
        return 0;
    };
    let rest = digits % unit;
    let up = !cuts && rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) && beyond > 0;
    digits - rest + if up { unit * digits.signum() } else { 0 }
}

fn angle(x: &Value, of: SqlType, to: SqlType, turn: fn(f64) -> f64) -> Result<Value, ServerError> {
    of_float(turn(float_of(x, of)?), to)
}

fn power(x: &[Value], of: SqlType, to: SqlType) -> Result<Value, ServerError> {
    let exponent = match &x[1] {
        Value::Int(int) => *int as f64,
        other => float_of(other, SqlType::Float)?,
    };
    let base = float_of(&x[0], of)?;
    if base == 0.0 && exponent < 0.0 {
        return Err(ServerError::unsupported("POWER of zero to less than zero"));
    }
    if let Some(exact) = whole_power(&x[0], exponent) {
        return fitted(exact, 0, to).or_else(|_| of_float(exact as f64, to));
    }
    of_float(defined(base.powf(exponent))?, to)
}

/// The power of a whole number that a `float` holds exactly.
fn whole_power(base: &Value, exponent: f64) -> Option<i128> {
    let base = match base {
        Value::Int(int) => i128::from(*int),
        Value::Decimal(digits, scale) => {
            let unit = 10_i128.pow(u32::from(*scale));
            (digits % unit == 0).then_some(digits / unit)?
        }
        _ => return None,
    };
    let whole = exponent.fract() == 0.0 && (0.0..=127.0).contains(&exponent);
    let power = whole.then(|| base.checked_pow(exponent as u32))??;
    (power as f64 as i128 == power && power.unsigned_abs() < i128::MAX.unsigned_abs() / 2)
        .then_some(power)
}

fn float_of(value: &Value, of: SqlType) -> Result<f64, ServerError> {
    let value = convert_value(value.clone(), of, SqlType::Float, 0, Mode::Cast)?;
    as_float(&value).ok_or_else(undefined)
}

/// Beyond this not every whole number is a `float`.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The digits that every `float` has.
const FLOAT_DIGITS: f64 = 1e15;

/// A computed number in the result's type, to which it is cut if that is whole. Where it would show more
/// digits than a `float` has for certain, it is refused.
fn of_float(x: f64, to: SqlType) -> Result<Value, ServerError> {
    let shown = match to {
        SqlType::Decimal { scale, .. } => x * 10_f64.powi(scale.into()),
        SqlType::Money => x * 1e4,
        SqlType::BigInt => x,
        _ => 0.0,
    };
    let value = convert_value(Value::Float(x), SqlType::Float, to, 0, Mode::Cast)?;
    if shown.abs() >= FLOAT_DIGITS {
        return Err(ServerError::unsupported(
            "results of mathematical functions with more digits than a float",
        ));
    }
    Ok(value)
}
