//! Values of a column, from Arrow to the wire.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, StringArray,
    Time64NanosecondArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
};

use crate::simulator::protocol::SqlType;

use super::temporal;
use super::text::{put_code_page, put_utf16};
use super::type_info::{decimal_length, declared_bytes};

/// A value that its column's type cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    OutOfRange,
    TooLong,
    NotText,
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
    DateTime2(TimestampMicrosecondArray, u8),
    DateTimeOffset(TimestampMicrosecondArray, u8),
    Guid(StringArray),
    Text(StringArray, Extent, Alphabet),
    Bytes(BinaryArray, Extent),
}

/// How long values of a character or binary type are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Exactly this long, padded.
    Padded(u16),
    /// At most this long.
    Limited(u16),
    /// Of any length, in chunks.
    Max,
}

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    Utf16,
    CodePage,
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
        SqlType::SmallDateTime | SqlType::DateTime | SqlType::DateTime2(_) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        SqlType::DateTimeOffset(_) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        SqlType::Binary(_) | SqlType::VarBinary(_) => DataType::Binary,
        SqlType::Char(_)
        | SqlType::VarChar(_)
        | SqlType::NChar(_)
        | SqlType::NVarChar(_)
        | SqlType::UniqueIdentifier => DataType::Utf8,
    }
}

impl Values {
    /// Takes an array in its type's form, or one that can be cast to it without loss.
    pub(super) fn new(sql_type: SqlType, array: &ArrayRef) -> Result<Self, String> {
        let form = arrow_form(sql_type);
        if *array.data_type() == form {
            return Ok(Self::of(sql_type, array.as_ref()));
        }
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        match cast_with_options(array, &form, &strict) {
            Ok(array) => Ok(Self::of(sql_type, array.as_ref())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn of(sql_type: SqlType, array: &dyn Array) -> Self {
        let decimals = || array.as_primitive::<Decimal128Type>().clone();
        let instants = || array.as_primitive::<TimestampMicrosecondType>().clone();
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
            SqlType::DateTime2(scale) => Self::DateTime2(instants(), scale),
            SqlType::DateTimeOffset(scale) => Self::DateTimeOffset(instants(), scale),
            SqlType::UniqueIdentifier => Self::Guid(array.as_string().clone()),
            SqlType::Char(_) | SqlType::VarChar(_) => text(Alphabet::CodePage),
            SqlType::NChar(_) | SqlType::NVarChar(_) => text(Alphabet::Utf16),
            SqlType::Binary(_) | SqlType::VarBinary(_) => {
                Self::Bytes(array.as_binary().clone(), extent(sql_type))
            }
        }
    }

    /// Bytes of NULL, where the value has a length in front.
    pub(super) fn null(&self) -> &'static [u8] {
        match self {
            Self::Text(_, Extent::Max, _) | Self::Bytes(_, Extent::Max) => &[0xff; 8],
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
            Self::Guid(array) => fixed(out, true, &guid(array.value(row)).ok_or(Unfit::NotText)?),
            Self::Text(array, extent, alphabet) => {
                return text(out, array.value(row), *extent, *alphabet);
            }
            Self::Bytes(array, extent) => {
                let value = array.value(row);
                return variable(out, *extent, &[0], |out| out.extend_from_slice(value));
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
            Self::DateTime2(array, scale) => temporal::put_datetime2(out, array.value(row), *scale),
            Self::DateTimeOffset(array, scale) => {
                temporal::put_datetimeoffset(out, array.value(row), *scale)
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
        (_, None) => Extent::Max,
        (SqlType::Char(_) | SqlType::NChar(_) | SqlType::Binary(_), Some(bytes)) => {
            Extent::Padded(bytes)
        }
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

/// The bytes of a GUID: its first three groups are little endian.
fn guid(text: &str) -> Option<[u8; 16]> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    if text.len() != 36 || HYPHENS.iter().any(|at| text.as_bytes()[*at] != b'-') {
        return None;
    }
    let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
    let mut value = [0; 16];
    for at in ORDER {
        let byte = digits.next()?? * 16 + digits.next()??;
        // Two hexadecimal digits.
        value[at] = byte as u8;
    }
    digits.next().is_none().then_some(value)
}

fn text(out: &mut Vec<u8>, text: &str, extent: Extent, alphabet: Alphabet) -> Result<(), Unfit> {
    match alphabet {
        Alphabet::Utf16 => variable(out, extent, &[b' ', 0], |out| put_utf16(out, text)),
        Alphabet::CodePage => variable(out, extent, b" ", |out| put_code_page(out, text)),
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
