//! Values of a column, from Arrow to the wire.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    LargeBinaryArray, StringArray, Time64NanosecondArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
};

use crate::simulator::protocol::forms::{
    GUID_BYTES, INSTANT_BYTES, OFFSET_BYTES, guid_of, instant_of, offset_of,
};
use crate::simulator::protocol::{Collation, SqlType, code_page, temporal};

use super::text::put_utf16;
use super::type_info::{decimal_length, declared_bytes};

/// A value that its column's type cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    OutOfRange,
    TooLong,
}

/// The array of one column, in the form that its type documents.
#[derive(Debug)]
pub(super) enum Values {
    Bit(BooleanArray),
    TinyInt(Int16Array),
    SmallInt(Int16Array),
    Int(Int32Array),
    BigInt(Int64Array),
    Real(Float32Array),
    Float(Float64Array),
    Decimal(Decimal128Array, u8),
    Money(Decimal128Array),
    SmallMoney(Decimal128Array),
    Date(Date32Array),
    Time(Time64NanosecondArray, u8),
    SmallDateTime(TimestampMicrosecondArray),
    DateTime(TimestampMicrosecondArray),
    DateTime2(FixedSizeBinaryArray, u8),
    DateTimeOffset(FixedSizeBinaryArray, u8),
    Guid(FixedSizeBinaryArray),
    Text(StringArray, Extent, Alphabet),
    Bytes(BinaryArray, Extent),
    Variant(LargeBinaryArray),
}

/// How long values of a character or binary type are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Exactly this long, padded.
    Padded(u16),
    /// At most this long.
    Limited(u16),
    /// Of any length, in one chunk.
    Max,
    /// Of any length that is not told beforehand, in many chunks.
    Stream,
    /// Of any length, behind a pointer and a time stamp that mean nothing.
    Pointer,
}

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    Utf16,
    CodePage(Collation),
}

/// The Arrow form of a type, as its documentation has it.
pub(super) fn arrow_form(sql_type: SqlType) -> DataType {
    match sql_type {
        SqlType::Bit => DataType::Boolean,
        SqlType::TinyInt | SqlType::SmallInt => DataType::Int16,
        SqlType::Int => DataType::Int32,
        SqlType::BigInt => DataType::Int64,
        SqlType::Real => DataType::Float32,
        SqlType::Float => DataType::Float64,
        SqlType::Decimal { precision, scale } => {
            DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
        }
        SqlType::Money => DataType::Decimal128(19, 4),
        SqlType::SmallMoney => DataType::Decimal128(10, 4),
        SqlType::Date => DataType::Date32,
        SqlType::Time(_) => DataType::Time64(TimeUnit::Nanosecond),
        SqlType::SmallDateTime | SqlType::DateTime => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        SqlType::DateTime2(_) => DataType::FixedSizeBinary(INSTANT_BYTES),
        SqlType::DateTimeOffset(_) => DataType::FixedSizeBinary(OFFSET_BYTES),
        SqlType::UniqueIdentifier => DataType::FixedSizeBinary(GUID_BYTES),
        SqlType::SqlVariant => DataType::LargeBinary,
        SqlType::Binary(_)
        | SqlType::VarBinary(_)
        | SqlType::RowVersion
        | SqlType::Image
        | SqlType::Udt(_) => DataType::Binary,
        SqlType::Char(_)
        | SqlType::VarChar(_)
        | SqlType::NChar(_)
        | SqlType::NVarChar(_)
        | SqlType::Text
        | SqlType::NText
        | SqlType::Xml => DataType::Utf8,
    }
}

impl Values {
    /// Takes an array in its type's form, or one that can be cast to it without loss.
    pub(super) fn new(
        sql_type: SqlType,
        collation: Collation,
        array: &ArrayRef,
    ) -> Result<Self, String> {
        let form = arrow_form(sql_type);
        if *array.data_type() == form {
            return Ok(Self::of(sql_type, collation, array.as_ref()));
        }
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        match cast_with_options(array, &form, &strict) {
            Ok(array) => Ok(Self::of(sql_type, collation, array.as_ref())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn of(sql_type: SqlType, collation: Collation, array: &dyn Array) -> Self {
        let decimals = || array.as_primitive::<Decimal128Type>().clone();
        let instants = || array.as_primitive::<TimestampMicrosecondType>().clone();
        let parts = || array.as_fixed_size_binary().clone();
        let small = || array.as_primitive::<Int16Type>().clone();
        let text = |alphabet| Self::Text(array.as_string().clone(), extent(sql_type), alphabet);
        match sql_type {
            SqlType::Bit => Self::Bit(array.as_boolean().clone()),
            SqlType::TinyInt => Self::TinyInt(small()),
            SqlType::SmallInt => Self::SmallInt(small()),
            SqlType::Int => Self::Int(array.as_primitive::<Int32Type>().clone()),
            SqlType::BigInt => Self::BigInt(array.as_primitive::<Int64Type>().clone()),
            SqlType::Real => Self::Real(array.as_primitive::<Float32Type>().clone()),
            SqlType::Float => Self::Float(array.as_primitive::<Float64Type>().clone()),
            SqlType::Decimal { precision, .. } => Self::Decimal(decimals(), precision),
            SqlType::Money => Self::Money(decimals()),
            SqlType::SmallMoney => Self::SmallMoney(decimals()),
            SqlType::Date => Self::Date(array.as_primitive::<Date32Type>().clone()),
            SqlType::Time(scale) => {
                Self::Time(array.as_primitive::<Time64NanosecondType>().clone(), scale)
            }
            SqlType::SmallDateTime => Self::SmallDateTime(instants()),
            SqlType::DateTime => Self::DateTime(instants()),
            SqlType::DateTime2(scale) => Self::DateTime2(parts(), scale),
            SqlType::DateTimeOffset(scale) => Self::DateTimeOffset(parts(), scale),
            SqlType::UniqueIdentifier => Self::Guid(parts()),
            SqlType::Char(_) | SqlType::VarChar(_) | SqlType::Text => {
                text(Alphabet::CodePage(collation))
            }
            SqlType::NChar(_) | SqlType::NVarChar(_) | SqlType::NText | SqlType::Xml => {
                text(Alphabet::Utf16)
            }
            SqlType::Binary(_)
            | SqlType::VarBinary(_)
            | SqlType::RowVersion
            | SqlType::Image
            | SqlType::Udt(_) => Self::Bytes(array.as_binary().clone(), extent(sql_type)),
            SqlType::SqlVariant => Self::Variant(array.as_binary().clone()),
        }
    }

    /// Bytes of NULL, where the value has a length in front.
    pub(super) fn null(&self) -> &'static [u8] {
        match self {
            Self::Text(_, Extent::Max | Extent::Stream, _)
            | Self::Bytes(_, Extent::Max | Extent::Stream) => &[0xff; 8],
            Self::Text(_, Extent::Pointer, _) | Self::Bytes(_, Extent::Pointer) => &[0],
            Self::Variant(_) => &[0; 4],
            Self::Text(..) | Self::Bytes(..) => &[0xff; 2],
            _ => &[0],
        }
    }

    /// Appends one value that is not NULL; `sized` says whether short types have a length in front.
    pub(super) fn put(&self, out: &mut Vec<u8>, row: usize, sized: bool) -> Result<(), Unfit> {
        match self {
            Self::Bit(array) => fixed(out, sized, &[u8::from(array.value(row))]),
            Self::TinyInt(array) => {
                let value = u8::try_from(array.value(row)).map_err(|_| Unfit::OutOfRange)?;
                fixed(out, sized, &[value]);
            }
            Self::SmallInt(array) => fixed(out, sized, &array.value(row).to_le_bytes()),
            Self::Int(array) => fixed(out, sized, &array.value(row).to_le_bytes()),
            Self::BigInt(array) => fixed(out, sized, &array.value(row).to_le_bytes()),
            Self::Real(array) => fixed(out, sized, &array.value(row).to_le_bytes()),
            Self::Float(array) => fixed(out, sized, &array.value(row).to_le_bytes()),
            Self::Decimal(array, precision) => return decimal(out, array.value(row), *precision),
            Self::Money(array) => {
                let value = i64::try_from(array.value(row)).map_err(|_| Unfit::OutOfRange)?;
                // The high half comes first.
                fixed(out, sized, &value.rotate_left(32).to_le_bytes());
            }
            Self::SmallMoney(array) => {
                let value = i32::try_from(array.value(row)).map_err(|_| Unfit::OutOfRange)?;
                fixed(out, sized, &value.to_le_bytes());
            }
            Self::Guid(array) => fixed(out, true, &guid_of(array.value(row))),
            Self::Text(array, extent, alphabet) => {
                return text(out, array.value(row), *extent, *alphabet);
            }
            Self::Bytes(array, extent) => {
                let value = array.value(row);
                return variable(out, *extent, &[0], |out| out.extend_from_slice(value));
            }
            Self::Variant(array) => {
                let value = array.value(row);
                let length = u32::try_from(value.len()).map_err(|_| Unfit::TooLong)?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(value);
            }
            _ => return self.put_temporal(out, row, sized),
        }
        Ok(())
    }

    fn put_temporal(&self, out: &mut Vec<u8>, row: usize, sized: bool) -> Result<(), Unfit> {
        let start = out.len();
        let is_old = matches!(self, Self::DateTime(_) | Self::SmallDateTime(_));
        if sized || !is_old {
            out.push(0);
        }
        let value = out.len();
        let put = match self {
            Self::Date(array) => temporal::put_date(out, i64::from(array.value(row))),
            Self::Time(array, scale) => temporal::put_time(out, array.value(row), *scale),
            Self::SmallDateTime(array) => temporal::put_smalldatetime(out, array.value(row)),
            Self::DateTime(array) => temporal::put_datetime(out, array.value(row)),
            Self::DateTime2(array, scale) => {
                temporal::put_datetime2(out, instant_of(array.value(row)), *scale)
            }
            Self::DateTimeOffset(array, scale) => {
                temporal::put_datetimeoffset(out, offset_of(array.value(row)), *scale)
            }
            _ => None,
        };
        if value > start {
            // At most ten bytes.
            out[start] = (out.len() - value) as u8;
        }
        put.ok_or(Unfit::OutOfRange)
    }
}

fn extent(sql_type: SqlType) -> Extent {
    match (sql_type, declared_bytes(sql_type)) {
        (SqlType::Text | SqlType::NText | SqlType::Image, _) => Extent::Pointer,
        (SqlType::Xml, _) => Extent::Stream,
        (_, None) => Extent::Max,
        (
            SqlType::Char(_) | SqlType::NChar(_) | SqlType::Binary(_) | SqlType::RowVersion,
            Some(bytes),
        ) => Extent::Padded(bytes),
        (_, Some(bytes)) => Extent::Limited(bytes),
    }
}

fn fixed(out: &mut Vec<u8>, sized: bool, value: &[u8]) {
    if sized {
        // Sixteen bytes at most.
        out.push(value.len() as u8);
    }
    out.extend_from_slice(value);
}

fn decimal(out: &mut Vec<u8>, value: i128, precision: u8) -> Result<(), Unfit> {
    let length = decimal_length(precision);
    let magnitude = value.unsigned_abs().to_le_bytes();
    let (kept, lost) = magnitude.split_at(usize::from(length) - 1);
    if lost.iter().any(|byte| *byte != 0) {
        return Err(Unfit::OutOfRange);
    }
    out.push(length);
    out.push(u8::from(value >= 0));
    out.extend_from_slice(kept);
    Ok(())
}

fn text(out: &mut Vec<u8>, text: &str, extent: Extent, alphabet: Alphabet) -> Result<(), Unfit> {
    match alphabet {
        Alphabet::Utf16 => variable(out, extent, &[b' ', 0], |out| put_utf16(out, text)),
        Alphabet::CodePage(collation) => variable(out, extent, b" ", |out| {
            code_page::put(out, text, collation);
        }),
    }
}

/// A value with its length in front, or in one chunk.
fn variable(
    out: &mut Vec<u8>,
    extent: Extent,
    blank: &[u8],
    put: impl FnOnce(&mut Vec<u8>),
) -> Result<(), Unfit> {
    let (limit, is_padded) = match extent {
        Extent::Max => return chunked(out, put),
        Extent::Stream => return streamed(out, put),
        Extent::Pointer => return pointed(out, put),
        Extent::Limited(limit) => (limit, false),
        Extent::Padded(limit) => (limit, true),
    };
    out.extend_from_slice(&[0, 0]);
    let start = out.len();
    put(out);
    if out.len() - start > usize::from(limit) {
        return Err(Unfit::TooLong);
    }
    while is_padded && out.len() - start < usize::from(limit) {
        out.extend_from_slice(blank);
    }
    // The limit is 8000 at most.
    let length = (out.len() - start) as u16;
    out[start - 2..start].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Bytes of a chunk of a value whose length is not told.
const CHUNK: usize = 8000;

/// A value in chunks, without its length.
fn streamed(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unfit> {
    let mut value = Vec::new();
    put(&mut value);
    out.extend_from_slice(&UNKNOWN.to_le_bytes());
    for chunk in value.chunks(CHUNK) {
        out.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

/// The length that is not told.
const UNKNOWN: u64 = 0xffff_ffff_ffff_fffe;

/// A value of TEXT, NTEXT or IMAGE. The pointer and the time stamp are what SQL Server puts there.
fn pointed(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unfit> {
    out.push(16);
    out.extend_from_slice(b"dummy textptr\0\0\0dummyTS\0");
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    let length = u32::try_from(out.len() - start - 4).map_err(|_| Unfit::TooLong)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// A value of a `(max)` type: its length, one chunk unless it is empty, and the end of chunks.
fn chunked(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unfit> {
    let start = out.len();
    out.extend_from_slice(&[0; 12]);
    put(out);
    let length = u32::try_from(out.len() - start - 12).map_err(|_| Unfit::TooLong)?;
    out[start..start + 8].copy_from_slice(&u64::from(length).to_le_bytes());
    if length > 0 {
        out[start + 8..start + 12].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
