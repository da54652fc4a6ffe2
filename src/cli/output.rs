//! Printing results and errors.

use std::error::Error as _;
use std::io::{self, IsTerminal as _, Write as _};

use datafusion::execution::SendableRecordBatchStream;

use super::args::Format;
use super::rows::{Out, Printer, RowFormat};
use crate::error::Error;

/// Writes a line for people on stderr, with the arguments of `format!`.
macro_rules! tell {
    ($($text:tt)*) => {
        $crate::cli::output::write_stderr(&format!("{}\n", format_args!($($text)*)))
    };
}
pub(in crate::cli) use tell;

/// Writes to stderr, as far as that can be written to: what is done does not end because nobody reads of it.
pub(in crate::cli) fn write_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// Whether stderr is a terminal that understands what colours a text, and the user wants colours
/// (<https://no-color.org>).
pub(super) fn stderr_has_colours() -> bool {
    let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|given| given.is_empty());
    is_wanted && stderr_is_screen()
}

/// Whether stderr is a terminal that can do more than write line below line.
pub(super) fn stderr_is_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !is_dumb
}

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
    printer.marks_empty = false;
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
        Error::Invalid { .. } => tell!("{error}"),
        Error::At { cause, .. } => {
            tell!("{error}");
            print_causes(cause.source());
        }
        _ => {
            tell!("error: {error}");
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
            tell!("  caused by: {text}");
            last = text;
        }
        cause = error.source();
    }
}
