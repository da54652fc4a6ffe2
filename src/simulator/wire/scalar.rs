//! One value from the wire, as an array of one element.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time64NanosecondArray,
    TimestampMicrosecondArray, new_null_array,
};

use crate::simulator::protocol::SqlType;

use super::reader::utf16_text;
use super::temporal;
use super::text::from_code_page;
use super::values::arrow_form;

/// The value in its type's Arrow form; no outer value is NULL. `None` when the bytes are no such value.
pub(super) fn decode(sql_type: SqlType, collation: u32, value: Option<&[u8]>) -> Option<ArrayRef> {
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
        SqlType::Char(_) | SqlType::VarChar(_) => {
            Arc::new(StringArray::from(vec![from_code_page(bytes, collation)]))
        }
        SqlType::NChar(_) | SqlType::NVarChar(_) => {
            Arc::new(StringArray::from(vec![utf16_text(bytes)]))
        }
        SqlType::Binary(_) | SqlType::VarBinary(_) => Arc::new(BinaryArray::from(vec![bytes])),
        SqlType::UniqueIdentifier => Arc::new(StringArray::from(vec![guid(bytes)?])),
        SqlType::Date => Arc::new(Date32Array::from(vec![temporal::date(bytes)?])),
        SqlType::Time(scale) => Arc::new(Time64NanosecondArray::from(vec![temporal::time(
            bytes, scale,
        )?])),
        SqlType::SmallDateTime => instant(temporal::smalldatetime(bytes)?),
        SqlType::DateTime => instant(temporal::datetime(bytes)?),
        SqlType::DateTime2(scale) => instant(temporal::datetime2(bytes, scale)?),
        SqlType::DateTimeOffset(scale) => {
            let micros = temporal::datetimeoffset(bytes, scale)?;
            Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"))
        }
    })
}

fn instant(micros: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros]))
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

fn guid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let (head, tail) = bytes.split_at(8);
    let first = u32::from_le_bytes(*head.first_chunk()?);
    let second = u16::from_le_bytes([head[4], head[5]]);
    let third = u16::from_le_bytes([head[6], head[7]]);
    let fourth = u16::from_be_bytes([tail[0], tail[1]]);
    let last: String = tail[2..].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!(
        "{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{last}"
    ))
}
