//! Rows for people: as tables, or a line for each column.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use unicode_width::UnicodeWidthStr as _;

use super::{Out, RowWriter, cells, names};

/// Rows that are laid out as one table; a longer result is printed as several, so that memory stays bounded.
const ROWS_PER_TABLE: usize = 10_000;
/// Bytes of the cells of such a table.
const BYTES_PER_TABLE: usize = 16 << 20;
/// The lines of a table: corners, edges and the rule below the names.
const LINES: &str = "||--+-++|    ++++++";
/// Characters that a column needs in a table that fits a terminal, with the lines beside it.
const NARROWEST: usize = 9;

/// The cells of a batch as a terminal may show them.
fn visible_cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let mut rows = cells(batch)?;
    for cell in rows.iter_mut().flatten() {
        *cell = visible(cell);
    }
    Ok(rows)
}

/// The text without characters that would steer a terminal.
fn visible(text: &str) -> String {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Tables of text.
pub(super) struct Tables {
    names: Vec<String>,
    /// The width of the terminal that they are to fit.
    width: Option<u16>,
    rows: Vec<Vec<String>>,
    bytes: usize,
    /// How many rows are laid out by now.
    before: usize,
    written: bool,
}

impl Tables {
    pub(super) fn new(schema: &SchemaRef, width: Option<u16>) -> Self {
        Self {
            names: names(schema),
            width,
            rows: Vec::new(),
            bytes: 0,
            before: 0,
            written: false,
        }
    }

    fn lay_out(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.written = true;
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        let before = self.before;
        self.before += rows.len();
        let width = self.width.map(usize::from);
        if width.is_some_and(|width| self.names.len() * NARROWEST > width) {
            return match rows.is_empty() {
                true => writeln!(out, "(no rows)").map_err(ArrowError::from),
                false => expand(&self.names, rows, before, out),
            };
        }
        let mut table = Table::new();
        table.load_preset(LINES).set_header(&self.names);
        if let Some(width) = self.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        table.add_rows(rows);
        writeln!(out, "{table}").map_err(ArrowError::from)
    }
}

impl RowWriter for Tables {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        for row in visible_cells(batch)? {
            self.bytes += row.iter().map(String::len).sum::<usize>();
            self.rows.push(row);
            if self.rows.len() >= ROWS_PER_TABLE || self.bytes >= BYTES_PER_TABLE {
                self.lay_out(out)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        if self.rows.is_empty() && self.written {
            return Ok(());
        }
        self.lay_out(out)
    }
}

/// A line for each column of each row.
pub(super) struct Expanded {
    names: Vec<String>,
    rows: usize,
}

impl Expanded {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self {
            names: names(schema),
            rows: 0,
        }
    }
}

impl RowWriter for Expanded {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        let before = self.rows;
        self.rows += batch.num_rows();
        expand(&self.names, visible_cells(batch)?, before, out)
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        match self.rows {
            0 => writeln!(out, "(no rows)").map_err(ArrowError::from),
            _ => Ok(()),
        }
    }
}

/// Writes each column of `rows`, of which `before` came before, as a line.
fn expand(
    names: &[String],
    rows: Vec<Vec<String>>,
    before: usize,
    out: &mut Out,
) -> Result<(), ArrowError> {
    let widest = names.iter().map(|name| name.width()).max();
    let widest = widest.unwrap_or_default();
    for (index, row) in rows.iter().enumerate() {
        writeln!(out, "-[ row {} ]{}", before + index + 1, "-".repeat(20))?;
        for (name, value) in names.iter().zip(row) {
            let blanks = " ".repeat(widest - name.width());
            let value = value.replace('\n', &format!("\n{} | ", " ".repeat(widest)));
            writeln!(out, "{name}{blanks} | {value}")?;
        }
    }
    Ok(())
}
