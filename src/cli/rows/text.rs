//! Rows as text for programs.

use std::io::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::json::json_texts;
use super::{Out, RowWriter, cells, names};

/// Values separated by a character, below a line of names.
pub(super) struct Csv {
    names: Vec<String>,
    delimiter: char,
    /// Whether an empty text has quotes, and is no NULL.
    marks_empty: bool,
    has_names: bool,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef, delimiter: char, marks_empty: bool) -> Self {
        Self {
            names: names(schema),
            delimiter,
            marks_empty,
            has_names: false,
        }
    }

    fn names(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        if std::mem::replace(&mut self.has_names, true) {
            return Ok(());
        }
        let names = self.names.iter().map(|name| Some(name.as_str()));
        writeln!(out, "{}", self.record(names)).map_err(ArrowError::from)
    }

    /// A line as [RFC 4180](https://www.rfc-editor.org/rfc/rfc4180) has it: NULL is nothing, and an empty text in quotes. A NULL
    /// that is alone has quotes too: readers skip an empty line, and would lose the row.
    fn record<'a>(&self, fields: impl Iterator<Item = Option<&'a str>>) -> String {
        let mut record = String::new();
        for (index, field) in fields.enumerate() {
            if index > 0 {
                record.push(self.delimiter);
            }
            let Some(text) = field else { continue };
            let special = |c| c == self.delimiter || matches!(c, '"' | '\n' | '\r');
            if text.is_empty() && self.marks_empty || text.contains(special) {
                record.push('"');
                record.push_str(&text.replace('"', "\"\""));
                record.push('"');
            } else {
                record.push_str(text);
            }
        }
        if record.is_empty() {
            record.push_str("\"\"");
        }
        record
    }
}

impl RowWriter for Csv {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.names(out)?;
        let columns = batch.columns().iter().zip(batch.schema_ref().fields());
        let columns = columns
            .map(|(column, field)| texts(column, field))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let fields = columns.iter().map(|column| column[row].as_deref());
            writeln!(out, "{}", self.record(fields))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.names(out)
    }
}

/// The values of a column as texts: of lists, structs and maps as JSON.
fn texts(column: &ArrayRef, field: &Arc<Field>) -> Result<Vec<Option<String>>, ArrowError> {
    if column.data_type().is_nested() {
        return json_texts(column, field);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let nulls = column.logical_nulls();
    let text = |row| match nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
        true => Ok(None),
        false => formatter.value(row).try_to_string().map(Some),
    };
    (0..column.len()).map(text).collect()
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
