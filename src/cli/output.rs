//! Printing results and errors.

use std::error::Error as _;
use std::io::{self, Write};

use datafusion::execution::SendableRecordBatchStream;

use super::args::Format;
use super::rows::{Out, Printer, RowFormat};
use crate::error::Error;

/// Prints the rows of a report on stdout.
pub(super) async fn print_rows(
    rows: SendableRecordBatchStream,
    format: Format,
) -> Result<(), Error> {
    let format = match format {
        Format::Table => RowFormat::Table,
        Format::Json => RowFormat::Ndjson,
        Format::Csv => RowFormat::Csv,
    };
    let mut printer = Printer::try_new(format, Out::stdout())?;
    printer.print(rows).await?;
    printer.finish()
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
