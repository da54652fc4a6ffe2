//! A batch of images, as they come to be made versions.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use super::Shape;

/// Which row: that of an image, of a version that was there, or the one that is carried; and its place.
pub(super) type Place = (usize, usize);

pub(super) const IMAGE: usize = 0;
pub(super) const PRIOR: usize = 1;
pub(super) const CARRIED: usize = 2;

/// A batch, by its columns.
pub(super) struct Batch<'a> {
    pub(super) keys: &'a [ArrayRef],
    pub(super) version: &'a StringArray,
    pub(super) present: &'a BooleanArray,
    pub(super) at: &'a TimestampMicrosecondArray,
    pub(super) images: &'a [ArrayRef],
    pub(super) prior: &'a [ArrayRef],
    pub(super) start: &'a StringArray,
    pub(super) from: &'a TimestampMicrosecondArray,
    pub(super) floor: &'a TimestampMicrosecondArray,
}

impl<'a> Batch<'a> {
    pub(super) fn of(batch: &'a RecordBatch, shape: &Shape) -> Result<Self> {
        let malformed = || DataFusionError::Internal("images of another form".to_string());
        let columns = batch.columns();
        let split = columns.split_at_checked(shape.keys.len());
        let (keys, rest) = split.ok_or_else(malformed)?;
        let Some(([version, present, at], rest)) = rest.split_first_chunk::<3>() else {
            return Err(malformed());
        };
        let (images, rest) = rest.split_at_checked(shape.written).ok_or_else(malformed)?;
        let (prior, rest) = rest.split_at_checked(shape.written).ok_or_else(malformed)?;
        let [start, from, floor] = rest else {
            return Err(malformed());
        };
        let instants = |column: &'a ArrayRef| column.as_primitive_opt::<TimestampMicrosecondType>();
        Ok(Self {
            keys,
            version: version.as_string_opt().ok_or_else(malformed)?,
            present: present.as_boolean_opt().ok_or_else(malformed)?,
            at: instants(at).ok_or_else(malformed)?,
            images,
            prior,
            start: start.as_string_opt().ok_or_else(malformed)?,
            from: instants(from).ok_or_else(malformed)?,
            floor: instants(floor).ok_or_else(malformed)?,
        })
    }

    pub(super) fn key(&self, row: usize) -> Result<String> {
        let values = self
            .keys
            .iter()
            .map(|column| array_value_to_string(column, row));
        Ok(values.collect::<Result<Vec<_>, _>>()?.join(", "))
    }
}

/// An instant; one that is not known lies before all others.
pub(super) fn instant(instants: &TimestampMicrosecondArray, row: usize) -> i64 {
    match instants.is_valid(row) {
        true => instants.value(row),
        false => i64::MIN,
    }
}
