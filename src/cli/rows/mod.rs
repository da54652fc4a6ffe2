//! The rows that a query answers with, written in one of several formats to one of several places.
//!
//! Rows are written as they come: what is held of them is bounded by what a format needs to lay them out.

mod binary;
mod json;
mod layout;
mod out;
mod text;

use std::io::{self, Write as _};

use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::output::tell;
use crate::error::Error;
use json::Json;
use layout::{Expanded, Tables};
pub(super) use out::Out;
use text::{Csv, Markdown};

/// How rows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RowFormat {
    /// Tables of text, for people
    #[default]
    Table,
    /// Comma-separated values below a line of names; NULL is nothing, an empty text is "", a nested value JSON
    Csv,
    /// The same separated by tabs
    Tsv,
    /// An array of JSON objects; bytes are hexadecimal, times ISO 8601, NaN and infinity texts
    Json,
    /// One JSON object a line
    Ndjson,
    /// A table as Markdown has it
    Markdown,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC file
    Arrow,
}

impl RowFormat {
    /// Whether a file of this format holds one result, and no text.
    fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// The names of all formats.
    pub(super) fn names() -> Vec<String> {
        Self::value_variants()
            .iter()
            .map(|format| format.name())
            .collect()
    }

    /// The name by which a person gives it.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_string())
    }
}

/// Writes the batches of one result.
trait RowWriter {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError>;
    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError>;
}

/// The cells of a batch as texts, row by row; NULL is nothing.
fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |index| -> Result<Vec<String>, ArrowError> {
        let texts = columns
            .iter()
            .map(|column| column.value(index).try_to_string());
        texts.collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn names(schema: &SchemaRef) -> Vec<String> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().clone()).collect()
}

/// Writes results, one after the other, to one place.
#[derive(Debug)]
pub(super) struct Printer {
    /// In which format.
    pub(super) format: RowFormat,
    /// Whether each column of a row is a line of its own, where rows are tables of text.
    pub(super) expanded: bool,
    /// Whether an empty text is told from NULL among separated values; reports have no need of it.
    pub(super) marks_empty: bool,
    out: Out,
    /// The format of the results that are written.
    written: Option<RowFormat>,
    /// Whether all that is written is whole: not while a result is, nor where one ended before its time.
    is_whole: bool,
    /// Bytes of a file before the result at hand, and the format of the results in them.
    before: (u64, Option<RowFormat>),
}

impl Printer {
    /// A printer of `format` to `out`.
    ///
    /// # Errors
    /// `Output` for a format that a terminal cannot show.
    pub(super) fn try_new(format: RowFormat, out: Out) -> Result<Self, Error> {
        let printer = Self {
            format,
            expanded: false,
            marks_empty: true,
            out,
            written: None,
            is_whole: true,
            before: (0, None),
        };
        printer.check()?;
        Ok(printer)
    }

    /// Has results written to another place from here on.
    ///
    /// # Errors
    /// As [`Printer::finish`], of the last place.
    pub(super) fn direct(&mut self, out: Out) -> Result<(), Error> {
        let next = Self {
            out,
            written: None,
            is_whole: true,
            before: (0, None),
            ..*self
        };
        std::mem::replace(self, next).finish()
    }

    fn check(&self) -> Result<(), Error> {
        let format = self.format.name();
        if self.format.is_binary() && self.out.is_terminal() {
            return Err(refused(format!(
                "a terminal cannot show {format}: have it written to a file, or into a pipe"
            )));
        }
        match self.written {
            Some(_) if self.out.is_file() && !self.is_whole => Err(refused(
                "a result before this one is not whole in the file: begin another file".to_string(),
            )),
            Some(written) if written.is_binary() || self.format.is_binary() => {
                Err(refused(format!(
                    "a {} file holds one result, and this is a second one: write it to another file",
                    written.name()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Writes a result.
    ///
    /// # Errors
    /// What the query, or writing, ends with; a second result of a format whose files hold one.
    pub(super) async fn print(&mut self, mut rows: SendableRecordBatchStream) -> Result<(), Error> {
        self.out.reset()?;
        let schema = rows.schema();
        if schema.fields().is_empty() {
            while rows.next().await.transpose()?.is_some() {}
            return Ok(());
        }
        self.check()?;
        let mut writer = self.writer(&schema).map_err(failed)?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            self.begin()?;
            writer.write(&mut self.out, &batch).map_err(failed)?;
            if self.out.is_closed() {
                break;
            }
            // Rows may be there without a wait, and an interrupt is not to wait for their end.
            tokio::task::yield_now().await;
        }
        self.begin()?;
        if !self.out.is_closed() {
            writer.finish(&mut self.out).map_err(failed)?;
        }
        self.out.end_result()?;
        self.is_whole = true;
        Ok(())
    }

    /// From here on something of a result is written; a statement that failed before may be executed again.
    fn begin(&mut self) -> Result<(), Error> {
        if self.is_whole {
            self.before = (self.out.length()?, self.written);
        }
        self.written = Some(self.format);
        self.is_whole = false;
        Ok(())
    }

    /// Takes back a result that ended before its time: what is still held of it, and what of it is in a file.
    pub(super) fn abandon(&mut self) -> Result<(), Error> {
        if !self.is_whole && self.out.is_file() {
            let (length, written) = self.before;
            self.out.cut(length)?;
            self.written = written;
            self.is_whole = written.is_some();
        }
        self.out.reset()
    }

    fn writer(&self, schema: &SchemaRef) -> Result<Box<dyn RowWriter + Send>, ArrowError> {
        Ok(match self.format {
            RowFormat::Table if self.expanded => Box::new(Expanded::new(schema)),
            RowFormat::Table => Box::new(Tables::new(schema, self.out.width())),
            RowFormat::Csv => Box::new(Csv::new(schema, ',', self.marks_empty)),
            RowFormat::Tsv => Box::new(Csv::new(schema, '\t', self.marks_empty)),
            RowFormat::Json => Box::new(Json::array()),
            RowFormat::Ndjson => Box::new(Json::lines()),
            RowFormat::Markdown => Box::new(Markdown::new(schema)),
            RowFormat::Parquet => Box::new(binary::Parquet::try_new(schema)?),
            RowFormat::Arrow => Box::new(binary::Ipc::try_new(schema)?),
        })
    }

    /// Writes a line of text for people among the results, or beside those that are for programs alone.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Error> {
        if self.format.is_binary() {
            tell!("{text}");
            return Ok(());
        }
        let written = writeln!(self.out, "{text}");
        written.map_err(|source| Error::Output { source })?;
        self.out.end_result()
    }

    /// Writes a line about a result, on stderr where the result is in a file for programs.
    pub(super) fn aside(&mut self, text: &str) -> Result<(), Error> {
        let is_for_people = matches!(self.format, RowFormat::Table | RowFormat::Markdown);
        if self.out.is_file() && !is_for_people {
            tell!("{text}");
            return Ok(());
        }
        self.line(text)
    }

    /// Ends what was written; a file is there from then on.
    ///
    /// # Errors
    /// `Output` where a result is not whole: there is no file then, or the one that was there before.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.out.is_file() {
            if !self.is_whole {
                return Err(refused(
                    "a result that was to be in the file is not whole: the file is as it was"
                        .to_string(),
                ));
            }
            if self.format.is_binary() && self.written.is_none() {
                return Err(refused(
                    "no statement has answered with rows: there is no file".to_string(),
                ));
            }
        }
        self.out.finish()
    }
}

fn refused(why: String) -> Error {
    Error::Output {
        source: io::Error::new(io::ErrorKind::InvalidInput, why),
    }
}

fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::Output { source },
        error => DataFusionError::from(error).into(),
    }
}
