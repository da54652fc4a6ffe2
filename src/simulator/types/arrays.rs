//! Values to Arrow arrays and back.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryBuilder, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    LargeBinaryBuilder, StringBuilder, Time64NanosecondArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64NanosecondType, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;

use super::calendar::ticks_of_micros;
use super::{Value, variant};
use crate::simulator::errors::overflow;
use crate::simulator::protocol::forms::{
    GUID_BYTES, INSTANT_BYTES, OFFSET_BYTES, guid_form, guid_of, instant_form, instant_of,
    offset_form, offset_of,
};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::internal;

/// The array in the Arrow form of a SQL type that already describes it: an expression may come as a
/// view, a wider timestamp or an unsigned integer. A value that the form cannot hold is an error, and so is
/// a form without room for what follows a number's point.
pub(crate) fn to_form(array: &ArrayRef, sql_type: SqlType) -> Result<ArrayRef, ServerError> {
    let form = sql_type.arrow_form();
    if *array.data_type() == form {
        return Ok(Arc::clone(array));
    }
    if cuts(array.data_type(), &form) {
        let from = array.data_type();
        return Err(ServerError::unsupported(format!("{from} as {form}")));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, &form, &options).map_err(|_| overflow(sql_type))
}

/// Whether a number would lose what follows its point.
fn cuts(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => to < from,
        (DataType::Decimal128(_, from), to) => *from > 0 && to.is_integer(),
        (from, to) => from.is_floating() && (to.is_integer() || to.is_decimal()),
    }
}

/// The values of an array.
pub(crate) fn values_of(array: &ArrayRef) -> Result<Vec<Value>, ServerError> {
    let array = to_form(array, SqlType::of_arrow(array.data_type()))?;
    let each = |value: &dyn Fn(usize) -> Value| {
        (0..array.len())
            .map(|row| {
                if array.is_null(row) {
                    Value::Null
                } else {
                    value(row)
                }
            })
            .collect::<Vec<_>>()
    };
    let values = match array.data_type() {
        DataType::Boolean => each(&|row| Value::Bool(array.as_boolean().value(row))),
        DataType::Int16 => {
            each(&|row| Value::Int(array.as_primitive::<Int16Type>().value(row).into()))
        }
        DataType::Int32 => {
            each(&|row| Value::Int(array.as_primitive::<Int32Type>().value(row).into()))
        }
        DataType::Int64 => each(&|row| Value::Int(array.as_primitive::<Int64Type>().value(row))),
        DataType::Float32 => {
            each(&|row| Value::Float(array.as_primitive::<Float32Type>().value(row).into()))
        }
        DataType::Float64 => {
            each(&|row| Value::Float(array.as_primitive::<Float64Type>().value(row)))
        }
        DataType::Decimal128(_, scale) => {
            let scale = u8::try_from(*scale).unwrap_or(0);
            each(&|row| Value::Decimal(array.as_primitive::<Decimal128Type>().value(row), scale))
        }
        DataType::Date32 => each(&|row| Value::Date(array.as_primitive::<Date32Type>().value(row))),
        DataType::Time64(_) => {
            each(&|row| Value::Time(array.as_primitive::<Time64NanosecondType>().value(row)))
        }
        DataType::Timestamp(_, _) => each(&|row| {
            Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }),
        DataType::Binary => each(&|row| Value::Bytes(array.as_binary::<i32>().value(row).to_vec())),
        DataType::LargeBinary => {
            return array
                .as_binary::<i64>()
                .iter()
                .map(|bytes| match bytes {
                    Some(bytes) => variant::decode(bytes).ok_or_else(no_variant),
                    None => Ok(Value::Null),
                })
                .collect();
        }
        DataType::FixedSizeBinary(width) => {
            each(&|row| parts_of(array.as_fixed_size_binary().value(row), *width))
        }
        _ => each(&|row| Value::Text(array.as_string::<i32>().value(row).to_owned())),
    };
    Ok(values)
}

fn no_variant() -> ServerError {
    ServerError::new(
        8023,
        "The supplied value is not a valid instance of data type sql_variant. Check the source data for invalid values.",
    )
}

/// The value of a form of several parts.
fn parts_of(form: &[u8], width: i32) -> Value {
    match width {
        INSTANT_BYTES => Value::Instant(instant_of(form)),
        OFFSET_BYTES => {
            let (ticks, minutes) = offset_of(form);
            Value::Offset(ticks, minutes)
        }
        _ => Value::Guid(guid_of(form)),
    }
}

/// The inverse of [`parts_of`].
fn form_of(value: Value, width: i32) -> Option<Box<[u8]>> {
    Some(match (value, width) {
        (Value::Instant(ticks), INSTANT_BYTES) => instant_form(ticks).into(),
        (Value::Timestamp(micros), INSTANT_BYTES) => instant_form(ticks_of_micros(micros)).into(),
        (Value::Offset(ticks, minutes), OFFSET_BYTES) => offset_form(ticks, minutes).into(),
        (Value::Guid(bytes), GUID_BYTES) => guid_form(bytes).into(),
        _ => return None,
    })
}

fn fixed(
    sql_type: SqlType,
    width: i32,
    values: impl Iterator<Item = Value>,
) -> Result<ArrayRef, ServerError> {
    let mut builder = FixedSizeBinaryBuilder::new(width);
    for value in each(values, sql_type, |value| form_of(value, width)) {
        match value? {
            Some(form) => builder.append_value(form).map_err(internal)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn int(value: Value) -> Option<i64> {
    match value {
        Value::Date(days) => Some(days.into()),
        Value::Time(n) | Value::Timestamp(n) => Some(n),
        other => other.as_int(),
    }
}

fn float(value: Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(float),
        other => other.as_int().map(|int| int as f64),
    }
}

fn decimal(value: Value, scale: u8) -> Option<i128> {
    match value {
        Value::Decimal(digits, from) if from == scale => Some(digits),
        other => i128::from(other.as_int()?).checked_mul(10_i128.pow(scale.into())),
    }
}

/// What `get` makes of each value that is not NULL.
///
/// # Errors
/// 8630 for a value of another kind than the type's.
fn each<T>(
    values: impl Iterator<Item = Value>,
    sql_type: SqlType,
    get: impl Fn(Value) -> Option<T>,
) -> impl Iterator<Item = Result<Option<T>, ServerError>> {
    values.map(move |value| {
        if value.is_null() {
            return Ok(None);
        }
        let wrong = || {
            let name = sql_type.base_name();
            let message = format!("a value is not of the type {name} of its column");
            internal(ArrowError::InvalidArgumentError(message))
        };
        get(value).map(Some).ok_or_else(wrong)
    })
}

fn variants(
    sql_type: SqlType,
    values: impl Iterator<Item = Value>,
) -> Result<ArrayRef, ServerError> {
    let mut builder = LargeBinaryBuilder::new();
    let variants = each(values, sql_type, |value| match value {
        Value::Variant(inner) => Some(inner),
        _ => None,
    });
    for value in variants {
        match value? {
            Some(inner) => builder.append_value(variant::encode(inner.0, &inner.1)?),
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// An array of values that are already of the type.
///
/// # Errors
/// 8115 for a number that the type is too narrow for, 8630 for a value of another kind.
pub(crate) fn array_of(
    sql_type: SqlType,
    values: impl IntoIterator<Item = Value>,
) -> Result<ArrayRef, ServerError> {
    let values = values.into_iter();
    let narrow = |_| overflow(sql_type);
    let integers = |value| int(value);
    let array: ArrayRef = match sql_type.arrow_form() {
        DataType::Boolean => Arc::new(
            each(values, sql_type, |value| value.as_int().map(|bit| bit != 0))
                .collect::<Result<BooleanArray, _>>()?,
        ),
        DataType::Int16 => Arc::new(
            each(values, sql_type, integers)
                .map(|value| value?.map(i16::try_from).transpose().map_err(narrow))
                .collect::<Result<Int16Array, _>>()?,
        ),
        DataType::Int32 => Arc::new(
            each(values, sql_type, integers)
                .map(|value| value?.map(i32::try_from).transpose().map_err(narrow))
                .collect::<Result<Int32Array, _>>()?,
        ),
        DataType::Int64 => {
            Arc::new(each(values, sql_type, integers).collect::<Result<Int64Array, _>>()?)
        }
        DataType::Float32 => Arc::new(
            each(values, sql_type, |value| {
                float(value).map(|float| float as f32)
            })
            .collect::<Result<Float32Array, _>>()?,
        ),
        DataType::Float64 => {
            Arc::new(each(values, sql_type, float).collect::<Result<Float64Array, _>>()?)
        }
        DataType::Decimal128(precision, scale) => Arc::new(
            each(values, sql_type, |value| {
                decimal(value, u8::try_from(scale).unwrap_or(0))
            })
            .collect::<Result<Decimal128Array, _>>()?
            .with_precision_and_scale(precision, scale)
            .map_err(|_| overflow(sql_type))?,
        ),
        DataType::Date32 => Arc::new(
            each(values, sql_type, integers)
                .map(|value| value?.map(i32::try_from).transpose().map_err(narrow))
                .collect::<Result<Date32Array, _>>()?,
        ),
        DataType::Time64(_) => Arc::new(
            each(values, sql_type, integers).collect::<Result<Time64NanosecondArray, _>>()?,
        ),
        DataType::Timestamp(_, zone) => Arc::new(
            each(values, sql_type, integers)
                .collect::<Result<TimestampMicrosecondArray, _>>()?
                .with_timezone_opt(zone),
        ),
        DataType::FixedSizeBinary(width) => fixed(sql_type, width, values)?,
        DataType::LargeBinary => variants(sql_type, values)?,
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            for value in each(values, sql_type, |value| {
                value.as_bytes().map(<[u8]>::to_vec)
            }) {
                builder.append_option(value?);
            }
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = StringBuilder::new();
            for value in each(values, sql_type, |value| value.as_text().map(str::to_owned)) {
                builder.append_option(value?);
            }
            Arc::new(builder.finish())
        }
    };
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_way_through_arrow() {
        for (sql_type, value) in [
            (SqlType::Bit, Value::Bool(true)),
            (SqlType::TinyInt, Value::Int(255)),
            (SqlType::Money, Value::Decimal(i64::MAX.into(), 4)),
            (SqlType::Time(7), Value::Time(86_399_999_999_900)),
            (SqlType::DateTime2(7), Value::Instant(1)),
            (SqlType::DateTimeOffset(7), Value::Offset(1, -60)),
            (SqlType::Binary(2), Value::Bytes(vec![0, 1])),
            (
                SqlType::UniqueIdentifier,
                Value::Guid(std::array::from_fn(|at| at as u8)),
            ),
        ] {
            let array = array_of(sql_type, [value.clone(), Value::Null]).unwrap();
            assert_eq!(*array.data_type(), sql_type.arrow_form());
            assert_eq!(values_of(&array).unwrap(), [value, Value::Null]);
        }
    }
}
