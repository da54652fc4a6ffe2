//! Printing results and errors.

use std::error::Error as _;
use std::io::{self, Write};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::args::Format;
use crate::error::Error;

/// Rows that are laid out as one table; a longer result is printed as several, so that memory stays bounded.
const ROWS_PER_TABLE: usize = 10_000;

/// Prints a result on stdout; answers with the number of rows.
pub(super) async fn print_rows(
    rows: SendableRecordBatchStream,
    format: Format,
) -> Result<usize, Error> {
    match format {
        Format::Table => print_tables(rows).await,
        Format::Json => print_batches(rows, json_lines).await,
        Format::Csv => {
            let names = csv_lines(&RecordBatch::new_empty(rows.schema()), true);
            write_out(&names.map_err(datafusion::error::DataFusionError::from)?)?;
            print_batches(rows, |batch| csv_lines(batch, false)).await
        }
    }
}

/// Prints batches as they come.
async fn print_batches(
    mut rows: SendableRecordBatchStream,
    lines: impl Fn(&RecordBatch) -> Result<String, ArrowError>,
) -> Result<usize, Error> {
    let mut total = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        total += batch.num_rows();
        write_out(&lines(&batch).map_err(datafusion::error::DataFusionError::from)?)?;
    }
    Ok(total)
}

/// One object a line, every NULL included.
fn json_lines(batch: &RecordBatch) -> Result<String, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, json::writer::LineDelimited>(&mut bytes);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    text(bytes)
}

fn csv_lines(batch: &RecordBatch, header: bool) -> Result<String, ArrowError> {
    let mut bytes = Vec::new();
    csv::WriterBuilder::new()
        .with_header(header)
        .build(&mut bytes)
        .write(batch)?;
    text(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, ArrowError> {
    String::from_utf8(bytes).map_err(|error| ArrowError::ParseError(error.to_string()))
}

async fn print_tables(mut rows: SendableRecordBatchStream) -> Result<usize, Error> {
    let schema = rows.schema();
    let mut pending: Vec<RecordBatch> = Vec::new();
    let (mut waiting, mut total) = (0, 0);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        waiting += batch.num_rows();
        total += batch.num_rows();
        pending.push(batch);
        if waiting >= ROWS_PER_TABLE {
            print_table(&schema, &std::mem::take(&mut pending))?;
            waiting = 0;
        }
    }
    if waiting > 0 || total == 0 {
        print_table(&schema, &pending)?;
    }
    Ok(total)
}

fn print_table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Error> {
    if schema.fields().is_empty() {
        return Ok(());
    }
    let table = if batches.is_empty() {
        pretty_format_batches(&[RecordBatch::new_empty(SchemaRef::clone(schema))])
    } else {
        pretty_format_batches(batches)
    };
    let table = table.map_err(datafusion::error::DataFusionError::from)?;
    write_out(&format!("{table}\n"))
}

/// Writes to stdout; a reader that went away ends the output without an error.
pub(super) fn write_out(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|source| Error::Output { source }),
    }
}

/// Prints an error, its place if it has one, and what caused it, on stderr.
pub(super) fn print_error(error: &Error) {
    match error {
        Error::Invalid { .. } => eprintln!("{error}"),
        Error::At { cause, .. } => {
            eprintln!("{error}");
            print_causes(cause.source());
        }
        _ => {
            eprintln!("error: {error}");
            print_causes(error.source());
        }
    }
}

fn print_causes(mut cause: Option<&(dyn std::error::Error + 'static)>) {
    let mut last = String::new();
    while let Some(error) = cause {
        let text = error.to_string();
        // An error whose text has its cause's text in it has said both.
        if !last.contains(&text) {
            eprintln!("  caused by: {text}");
            last = text;
        }
        cause = error.source();
    }
}
