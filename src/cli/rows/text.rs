//! Rows as text for programs.

use std::io::Write as _;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;

use super::{Out, RowWriter, cells, names};

/// Values separated by a character, below a line of names.
pub(super) struct Csv {
    schema: SchemaRef,
    delimiter: u8,
    has_names: bool,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef, delimiter: u8) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            delimiter,
            has_names: false,
        }
    }
}

impl RowWriter for Csv {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        let names = !std::mem::replace(&mut self.has_names, true);
        let mut writer = csv::WriterBuilder::new()
            .with_header(names)
            .with_delimiter(self.delimiter)
            .build(out);
        writer.write(batch)
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        if self.has_names {
            return Ok(());
        }
        self.write(out, &RecordBatch::new_empty(SchemaRef::clone(&self.schema)))
    }
}

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
        let mut lines = Vec::new();
        let mut writer = json::WriterBuilder::new()
            .with_explicit_nulls(true)
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

/// A table as Markdown has it.
pub(super) struct Markdown {
    names: Vec<String>,
    has_names: bool,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self {
            names: names(schema),
            has_names: false,
        }
    }

    fn names(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        if std::mem::replace(&mut self.has_names, true) {
            return Ok(());
        }
        line(out, self.names.iter().map(|name| cell(name)))?;
        line(out, self.names.iter().map(|_| "---".to_string()))
    }
}

/// A value in a cell: bars are escaped, and lines broken as HTML does it.
fn cell(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('|', "\\|");
    escaped
        .replace("\r\n", "<br>")
        .replace(['\n', '\r'], "<br>")
}

fn line(out: &mut Out, cells: impl Iterator<Item = String>) -> Result<(), ArrowError> {
    let cells: Vec<_> = cells.collect();
    writeln!(out, "| {} |", cells.join(" | ")).map_err(ArrowError::from)
}

impl RowWriter for Markdown {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.names(out)?;
        for row in cells(batch)? {
            line(out, row.iter().map(|text| cell(text)))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.names(out)
    }
}
