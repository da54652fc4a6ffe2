//! One value from the wire, as an array of one element.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray, StringArray,
    Time64NanosecondArray, TimestampMicrosecondArray, new_null_array,
};

use crate::simulator::protocol::forms::{guid_form, instant_form, offset_form};
use crate::simulator::protocol::{Collation, SqlType, code_page, temporal, units};

use super::values::arrow_form;

/// The value in its type's Arrow form; no outer value is NULL. `None` when the bytes are no such value.
pub(super) fn decode(
    sql_type: SqlType,
    collation: Collation,
    value: Option<&[u8]>,
) -> Option<ArrayRef> {
    let Some(bytes) = value else {
        return Some(new_null_array(&arrow_form(sql_type), 1));
    };
    Some(match sql_type {
        SqlType::Bit => Arc::new(BooleanArray::from(vec![integer(bytes)? != 0])),
        SqlType::TinyInt => Arc::new(Int16Array::from(vec![i16::from(
            u8::try_from(integer(bytes)?).ok()?,
        )])),
        SqlType::SmallInt => Arc::new(Int16Array::from(vec![i16::try_from(integer(bytes)?).ok()?])),
        SqlType::Int => Arc::new(Int32Array::from(vec![i32::try_from(integer(bytes)?).ok()?])),
        SqlType::BigInt => Arc::new(Int64Array::from(vec![integer(bytes)?])),
        SqlType::Real => Arc::new(Float32Array::from(vec![f32::from_le_bytes(
            bytes.try_into().ok()?,
        )])),
        SqlType::Float => Arc::new(Float64Array::from(vec![f64::from_le_bytes(
            bytes.try_into().ok()?,
        )])),
        SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney => exact(sql_type, bytes)?,
        SqlType::Char(_) | SqlType::VarChar(_) | SqlType::Text => Arc::new(StringArray::from(
            vec![code_page::decode(bytes, collation)?],
        )),
        SqlType::NChar(_) | SqlType::NVarChar(_) | SqlType::NText | SqlType::Xml => {
            Arc::new(StringArray::from(vec![units::text_of_bytes(bytes)?]))
        }
        SqlType::Binary(_)
        | SqlType::VarBinary(_)
        | SqlType::RowVersion
        | SqlType::Image
        | SqlType::Udt(_) => Arc::new(BinaryArray::from(vec![bytes])),
        SqlType::SqlVariant => Arc::new(LargeBinaryArray::from(vec![bytes])),
        SqlType::UniqueIdentifier => parts(&guid_form(bytes.try_into().ok()?))?,
        SqlType::Date => Arc::new(Date32Array::from(vec![temporal::date(bytes)?])),
        SqlType::Time(scale) => Arc::new(Time64NanosecondArray::from(vec![temporal::time(
            bytes, scale,
        )?])),
        SqlType::SmallDateTime => instant(temporal::smalldatetime(bytes)?),
        SqlType::DateTime => instant(temporal::datetime(bytes)?),
        SqlType::DateTime2(scale) => parts(&instant_form(temporal::datetime2(bytes, scale)?))?,
        SqlType::DateTimeOffset(scale) => {
            let (ticks, minutes) = temporal::datetimeoffset(bytes, scale)?;
            parts(&offset_form(ticks, minutes))?
        }
    })
}

fn instant(micros: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros]))
}

/// A form of several parts.
fn parts(form: &[u8]) -> Option<ArrayRef> {
    let array = FixedSizeBinaryArray::try_from_iter(std::iter::once(form)).ok()?;
    Some(Arc::new(array))
}

/// A signed integer of as many bytes as there are; one byte is unsigned.
fn integer(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [byte] => Some(i64::from(byte)),
        [a, b] => Some(i64::from(i16::from_le_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_le_bytes([a, b, c, d]))),
        _ => Some(i64::from_le_bytes(bytes.try_into().ok()?)),
    }
}

fn exact(sql_type: SqlType, bytes: &[u8]) -> Option<ArrayRef> {
    let (value, precision, scale) = match (sql_type, bytes.len()) {
        (SqlType::Decimal { precision, scale }, _) => (decimal(bytes)?, precision, scale),
        (SqlType::Money, 8) => (i128::from(integer(bytes)?.rotate_left(32)), 19, 4),
        (SqlType::SmallMoney, 4) => (i128::from(integer(bytes)?), 10, 4),
        _ => return None,
    };
    if value.unsigned_abs() >= 10_u128.pow(u32::from(precision)) {
        return None;
    }
    let array = Decimal128Array::from(vec![value]);
    let array = array.with_precision_and_scale(precision, i8::try_from(scale).ok()?);
    Some(Arc::new(array.ok()?))
}

/// A sign (zero is minus) and a magnitude of 4, 8, 12 or 16 bytes; the JDBC driver sends as few as it needs.
fn decimal(bytes: &[u8]) -> Option<i128> {
    let (sign, magnitude) = bytes.split_first()?;
    if !(1..=16).contains(&magnitude.len()) {
        return None;
    }
    let mut whole = [0; 16];
    whole[..magnitude.len()].copy_from_slice(magnitude);
    let value = i128::try_from(u128::from_le_bytes(whole)).ok()?;
    Some(if *sign == 0 { -value } else { value })
}
