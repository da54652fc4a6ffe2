//! Rows as JSON, without anything that JSON would lose.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, make_array};
use datafusion::arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;
use datafusion::arrow::json::writer::{NullableEncoder, make_encoder};
use datafusion::arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Out, RowWriter};

/// JSON objects, every NULL included: a line each, or as an array.
pub(super) struct Json {
    is_array: bool,
    rows: usize,
}

impl Json {
    pub(super) fn array() -> Self {
        Self {
            is_array: true,
            rows: 0,
        }
    }

    pub(super) fn lines() -> Self {
        Self {
            is_array: false,
            rows: 0,
        }
    }
}

impl RowWriter for Json {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        for column in batch.columns() {
            check(column)?;
        }
        let mut lines = Vec::new();
        let mut writer = json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .with_encoder_factory(Arc::new(Floats))
            .build::<_, json::writer::LineDelimited>(&mut lines);
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        if !self.is_array {
            return out.write_all(&lines).map_err(ArrowError::from);
        }
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let before: &[u8] = if self.rows == 0 { b"[" } else { b",\n " };
            out.write_all(before)?;
            out.write_all(line)?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        match (self.is_array, self.rows) {
            (false, _) => Ok(()),
            (true, 0) => writeln!(out, "[]").map_err(ArrowError::from),
            (true, _) => writeln!(out, "]").map_err(ArrowError::from),
        }
    }
}

/// The values of a column, each as a text of JSON; `None` for NULL.
pub(super) fn json_texts(
    column: &ArrayRef,
    field: &Arc<Field>,
) -> Result<Vec<Option<String>>, ArrowError> {
    check(column)?;
    let options = EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(Floats));
    let mut encoder = make_encoder(field, column, &options)?;
    let mut text = |row| {
        if encoder.is_null(row) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        encoder.encode(row, &mut bytes);
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|error| ArrowError::from_external_error(Box::new(error)))
    };
    (0..column.len()).map(&mut text).collect()
}

/// The error of a date or a time within `array` that no calendar has: JSON would have the error's text as its value.
fn check(array: &dyn Array) -> Result<(), ArrowError> {
    if array.data_type().is_temporal() {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(array, &options)?;
        let mut text = String::new();
        for row in 0..array.len() {
            formatter.value(row).write(&mut text)?;
            text.clear();
        }
    }
    if array.data_type().is_nested() {
        for child in array.to_data().child_data() {
            check(&make_array(child.clone()))?;
        }
    }
    Ok(())
}

/// Writes the floating-point numbers that JSON has no number for as the texts `"NaN"`, `"Infinity"` and `"-Infinity"`, as
/// PostgreSQL and Spark do.
#[derive(Debug)]
struct Floats;

impl EncoderFactory for Floats {
    fn make_default_encoder<'a>(
        &self,
        field: &'a Arc<Field>,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
        let value: Box<dyn Fn(usize) -> f64 + 'a> = match array.data_type() {
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>();
                Box::new(|row| values.value(row))
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>();
                Box::new(|row| values.value(row).into())
            }
            DataType::Float16 => {
                let values = array.as_primitive::<Float16Type>();
                Box::new(|row| values.value(row).into())
            }
            _ => return Ok(None),
        };
        let nulls = array.nulls().cloned();
        let plain = make_encoder(field, array, &PLAIN)?;
        let encoder = FloatEncoder { value, plain };
        Ok(Some(NullableEncoder::new(Box::new(encoder), nulls)))
    }
}

struct FloatEncoder<'a> {
    value: Box<dyn Fn(usize) -> f64 + 'a>,
    plain: NullableEncoder<'a>,
}

impl Encoder for FloatEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let text: &[u8] = match (self.value)(row) {
            value if value.is_nan() => b"\"NaN\"",
            f64::INFINITY => b"\"Infinity\"",
            f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => return self.plain.encode(row, out),
        };
        out.extend_from_slice(text);
    }
}
