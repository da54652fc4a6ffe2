//! Rows of the driver into Arrow builders. The one place that knows the driver's values.

use std::sync::Arc;

use datafusion::arrow::array::builder::NullBufferBuilder;
use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    StructBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use tiberius::ColumnData;
use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};

use super::error::SourceError;
use super::large::{KNOWN, image_array};
use super::types::{SqlType, spatial_fields};

/// A batch is handed on when it has this many rows …
pub(super) const BATCH_ROWS: usize = 8192;
/// … or about this many bytes of text and binary values.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// A column of a batch holds 2 GiB: what a batch may have, and one value of this size, always fit.
const MAX_VALUE_BYTES: usize = 1 << 30;

/// Days from 0001-01-01 to 1970-01-01.
pub(super) const DAYS_YEAR_1_TO_1970: i64 = 719_162;
/// Days from 1900-01-01 to 1970-01-01.
pub(super) const DAYS_1900_TO_1970: i64 = 25_567;
pub(super) const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Collects one column's values.
#[derive(Debug)]
pub(super) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Spatial(StructBuilder),
    /// Values of images, of which some do not tell.
    Image(Box<ImageBuilder>),
}

/// Collects the values of a large column as images have them.
#[derive(Debug)]
pub(super) struct ImageBuilder {
    values: ColumnBuilder,
    states: Int8Builder,
    told: NullBufferBuilder,
    /// The state that NULL in the image at hand stands for, if it tells anything.
    null: Option<i8>,
}

impl ColumnBuilder {
    pub(super) fn new(sql_type: &SqlType) -> Self {
        match sql_type {
            SqlType::Bit => Self::Boolean(BooleanBuilder::new()),
            SqlType::TinyInt | SqlType::SmallInt => Self::Int16(Int16Builder::new()),
            SqlType::Int => Self::Int32(Int32Builder::new()),
            SqlType::BigInt => Self::Int64(Int64Builder::new()),
            SqlType::Real => Self::Float32(Float32Builder::new()),
            SqlType::Float => Self::Float64(Float64Builder::new()),
            SqlType::Decimal { scale, .. } => Self::decimal(sql_type, scale.unsigned_abs()),
            SqlType::Money | SqlType::SmallMoney => Self::decimal(sql_type, 4),
            SqlType::Date => Self::Date(Date32Builder::new()),
            SqlType::SmallDateTime | SqlType::DateTime | SqlType::DateTime2(_) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new())
            }
            SqlType::DateTimeOffset(_) => Self::utc_timestamp(),
            SqlType::Binary { .. } => Self::Binary(BinaryBuilder::new()),
            SqlType::Spatial(_) => {
                Self::Spatial(StructBuilder::from_fields(spatial_fields(), BATCH_ROWS))
            }
            SqlType::Time(_)
            | SqlType::Text { .. }
            | SqlType::Xml
            | SqlType::UniqueIdentifier
            | SqlType::HierarchyId
            | SqlType::Variant
            | SqlType::Json
            | SqlType::Vector
            | SqlType::Unsupported(_) => Self::text(),
        }
    }

    pub(super) fn image(sql_type: &SqlType) -> Self {
        Self::Image(Box::new(ImageBuilder {
            values: Self::new(sql_type),
            states: Int8Builder::new(),
            told: NullBufferBuilder::new(BATCH_ROWS),
            null: None,
        }))
    }

    pub(super) fn text() -> Self {
        Self::Text(StringBuilder::new())
    }

    pub(super) fn utc_timestamp() -> Self {
        Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
    }

    fn decimal(sql_type: &SqlType, scale: u8) -> Self {
        Self::Decimal(
            Decimal128Builder::new().with_data_type(sql_type.arrow()),
            scale,
        )
    }

    /// Appends a value of the wire and returns the bytes that it added beyond a fixed width, or `None` if
    /// the value is of another type than the column, or too large for a batch.
    #[inline]
    pub(super) fn append(&mut self, value: &ColumnData<'_>) -> Option<usize> {
        match self {
            Self::Image(builder) => builder.append(value),
            builder => builder.append_cell(value),
        }
    }

    /// The same for all but images. It is built into its callers, some of which know of what kind the value is.
    #[inline(always)]
    fn append_cell(&mut self, value: &ColumnData<'_>) -> Option<usize> {
        if variable_width(value).is_some_and(|bytes| bytes > MAX_VALUE_BYTES) {
            return None;
        }
        match (self, value) {
            (Self::Boolean(b), ColumnData::Bit(v)) => b.append_option(*v),
            (Self::Int16(b), ColumnData::U8(v)) => b.append_option(v.map(i16::from)),
            (Self::Int16(b), ColumnData::I16(v)) => b.append_option(*v),
            (Self::Int32(b), ColumnData::I32(v)) => b.append_option(*v),
            (Self::Int64(b), ColumnData::I64(v)) => b.append_option(*v),
            (Self::Float32(b), ColumnData::F32(v)) => b.append_option(*v),
            (Self::Float64(b), ColumnData::F64(v)) => b.append_option(*v),
            (Self::Decimal(b, scale), ColumnData::Numeric(v)) => match v {
                None => b.append_null(),
                Some(v) => b.append_value(rescaled(v.value(), v.scale(), *scale)?),
            },
            (Self::Date(b), ColumnData::Date(v)) => b.append_option(v.map(date_days)),
            (Self::Timestamp(b), ColumnData::DateTimeOffset(v)) => {
                b.append_option(v.map(offset_micros))
            }
            (Self::Timestamp(b), other) => b.append_option(datetime_micros(other)?),
            (Self::Text(b), other) => return append_text(b, other),
            (Self::Binary(b), ColumnData::Binary(v)) => {
                b.append_option(v.as_deref());
                return Some(v.as_ref().map_or(0, |bytes| bytes.len()));
            }
            (Self::Spatial(b), ColumnData::Binary(v)) => return append_place(b, v.as_deref()),
            _ => return None,
        }
        Some(0)
    }

    /// Says what state NULL in the image at hand stands for, if it tells anything.
    pub(super) fn tell_null(&mut self, state: Option<i8>) {
        if let Self::Image(builder) = self {
            builder.null = state;
        }
    }

    /// Appends a number, for the position within a window.
    pub(super) fn append_position(&mut self, position: u64) {
        if let Self::UInt64(builder) = self {
            builder.append_value(position);
        }
    }

    /// Appends text that does not come from a cell.
    pub(super) fn append_str(&mut self, text: &str) {
        if let Self::Text(builder) = self {
            builder.append_value(text);
        }
    }

    /// Appends an instant that does not come from a cell.
    pub(super) fn append_micros(&mut self, micros: i64) {
        if let Self::Timestamp(builder) = self {
            builder.append_value(micros);
        }
    }

    /// The values so far; the builder is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Int16(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::UInt64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Decimal(b, _) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Binary(b) => Arc::new(b.finish()),
            Self::Spatial(b) => Arc::new(b.finish()),
            Self::Image(b) => image_array(b.values.finish(), b.states.finish(), b.told.finish()),
        }
    }
}

impl ImageBuilder {
    #[inline(never)]
    fn append(&mut self, value: &ColumnData<'_>) -> Option<usize> {
        let state = if is_null(value) {
            self.null
        } else {
            Some(KNOWN)
        };
        self.told.append(state.is_some());
        self.states.append_value(state.unwrap_or(KNOWN));
        self.values.append_cell(value)
    }
}

/// Four bytes of the SRID, the highest first, then the shape; see the select expression of the type.
fn append_place(builder: &mut StructBuilder, value: Option<&[u8]>) -> Option<usize> {
    let place = match value {
        None => None,
        Some(bytes) => Some(bytes.split_first_chunk::<4>()?),
    };
    let srid = place.map(|(srid, _)| i32::from_be_bytes(*srid));
    let shape = place.map(|(_, shape)| shape);
    builder
        .field_builder::<Int32Builder>(0)?
        .append_option(srid);
    builder
        .field_builder::<BinaryBuilder>(1)?
        .append_option(shape);
    builder.append(place.is_some());
    Some(shape.map_or(0, <[u8]>::len))
}

/// Whether a cell that a large column may have is NULL.
fn is_null(value: &ColumnData<'_>) -> bool {
    matches!(value, ColumnData::String(None) | ColumnData::Binary(None))
}

fn append_text(builder: &mut StringBuilder, value: &ColumnData<'_>) -> Option<usize> {
    match value {
        ColumnData::String(text) => {
            builder.append_option(text.as_deref());
            Some(text.as_ref().map_or(0, |text| text.len()))
        }
        // `Uuid` prints lower case; the driver has put the wire's mixed byte order right.
        ColumnData::Guid(guid) => {
            builder.append_option(guid.map(|guid| guid.to_string()));
            Some(36)
        }
        ColumnData::Time(time) => {
            builder.append_option(time.map(time_text));
            Some(16)
        }
        _ => None,
    }
}

/// The error for a value that [`ColumnBuilder::append`] did not take.
#[cold]
pub(super) fn unexpected(column: &str, sql_type: &SqlType, found: &ColumnData<'_>) -> SourceError {
    if let Some(bytes) = variable_width(found).filter(|bytes| *bytes > MAX_VALUE_BYTES) {
        return SourceError::ValueTooLarge {
            column: column.to_string(),
            bytes,
        };
    }
    let found = format!("{found:?}");
    SourceError::UnexpectedValue {
        column: column.to_string(),
        expected: sql_type.to_string(),
        // The variant's name alone: the value is the user's data.
        found: found.split('(').next().unwrap_or_default().to_string(),
    }
}

fn variable_width(value: &ColumnData<'_>) -> Option<usize> {
    match value {
        ColumnData::String(text) => text.as_ref().map(|text| text.len()),
        ColumnData::Binary(bytes) => bytes.as_ref().map(|bytes| bytes.len()),
        _ => None,
    }
}

/// A zone-less point in time in microseconds since 1970; the outer `None` is another type, the inner NULL.
pub(super) fn datetime_micros(value: &ColumnData<'_>) -> Option<Option<i64>> {
    match value {
        ColumnData::DateTime(v) => Some(v.map(legacy_micros)),
        ColumnData::SmallDateTime(v) => Some(v.map(small_micros)),
        ColumnData::DateTime2(v) => Some(v.map(datetime2_micros)),
        _ => None,
    }
}

/// As [`datetime_micros`], for a date and a point in time with an offset as well; `None` for NULL too.
pub(super) fn micros(value: &ColumnData<'_>) -> Option<i64> {
    match value {
        ColumnData::Date(v) => v.map(|date| i64::from(date_days(date)) * MICROS_PER_DAY),
        ColumnData::DateTimeOffset(v) => v.map(offset_micros),
        other => datetime_micros(other)?,
    }
}

/// Days and 1/300 s since 1900, rounded to the milliseconds (0, 3, 7) that SQL Server shows.
pub(super) fn legacy_micros(value: DateTime) -> i64 {
    let days = i64::from(value.days()) - DAYS_1900_TO_1970;
    let millis = (i64::from(value.seconds_fragments()) * 1000 + 150) / 300;
    days * MICROS_PER_DAY + millis * 1000
}

/// Days and minutes since 1900.
fn small_micros(value: SmallDateTime) -> i64 {
    let days = i64::from(value.days()) - DAYS_1900_TO_1970;
    days * MICROS_PER_DAY + i64::from(value.seconds_fragments()) * 60_000_000
}

/// The seventh decimal is cut off: rounding would carry 9999-12-31 into the year 10000.
fn datetime2_micros(value: DateTime2) -> i64 {
    i64::from(date_days(value.date())) * MICROS_PER_DAY + time_ticks(value.time()) / 10
}

/// The wire carries UTC already, with the offset beside it.
fn offset_micros(value: DateTimeOffset) -> i64 {
    datetime2_micros(value.datetime2())
}

fn date_days(value: Date) -> i32 {
    // Three bytes on the wire, so the difference always fits.
    (i64::from(value.days()) - DAYS_YEAR_1_TO_1970) as i32
}

/// Steps of 100 ns since midnight, whatever the scale; scales beyond 7 do not exist.
fn time_ticks(value: Time) -> i64 {
    let factor = 10_i64.pow(7_u32.saturating_sub(u32::from(value.scale())));
    (value.increments() as i64).saturating_mul(factor)
}

/// `HH:MM:SS` and as many decimals as the column's scale, as SQL Server prints it.
fn time_text(value: Time) -> String {
    let ticks = time_ticks(value);
    let (seconds, fraction) = (ticks / 10_000_000, ticks % 10_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{:02}.{fraction:07}", seconds % 60);
    let scale = usize::from(value.scale().min(7));
    text.truncate(if scale == 0 { 8 } else { 9 + scale });
    text
}

/// A decimal's digits at the column's scale; `None` if that would lose some.
fn rescaled(value: i128, from: u8, to: u8) -> Option<i128> {
    if from <= to {
        value.checked_mul(10_i128.checked_pow(u32::from(to - from))?)
    } else {
        let factor = 10_i128.checked_pow(u32::from(from - to))?;
        (value % factor == 0).then_some(value / factor)
    }
}

#[cfg(test)]
mod tests;
