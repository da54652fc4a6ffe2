//! `cdcql doctor FILE`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use super::args::{DoctorArguments, Format};
use super::output::{print_rows, write_out};
use super::run::Manner;
use super::session::Session;
use crate::change::CheckState;
use crate::error::Error;
use crate::pipeline::{Examined, examine};

/// Prints what holds the file's flows, the worst first; fails where a run would.
pub(super) async fn run(arguments: &DoctorArguments, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?;
    let statements = session.read(&arguments.file).await?;
    let examination = examine(&session.engine, statements, Some(&arguments.file)).await?;
    let findings = examination.findings();
    if arguments.format == Format::Table {
        let told = findings
            .iter()
            .filter(|examined| !manner.quiet || examined.finding.state != CheckState::Ok);
        write_out(&told.map(|examined| lines(examined)).collect::<String>())?;
    } else {
        let rows = table_of(&findings).map_err(DataFusionError::from)?;
        let rows = RecordBatchStreamAdapter::new(rows.schema(), stream::iter([Ok(rows)]));
        print_rows(Box::pin(rows), arguments.format).await?;
    }
    examination.outcome()
}

/// A finding in a line, and its T-SQL below.
fn lines(examined: &Examined) -> String {
    let Examined {
        connection,
        finding,
    } = examined;
    let table = finding.table.as_ref();
    let table = table.map_or_else(String::new, |table| format!(".{table}"));
    let mut text = format!(
        "{:<7}  {connection}{table}: {}: {}\n",
        finding.state, finding.check, finding.seen
    );
    for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
        text.push_str(&format!("             {line}\n"));
    }
    text
}

/// One row for each finding.
fn table_of(findings: &[&Examined]) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&Examined) -> Option<String>| -> ArrayRef {
        let values = findings.iter().map(|examined| value(examined));
        Arc::new(StringArray::from_iter(values))
    };
    RecordBatch::try_from_iter_with_nullable([
        (
            "connection",
            text(|examined| Some(examined.connection.clone())),
            false,
        ),
        (
            "table",
            text(|examined| examined.finding.table.clone()),
            true,
        ),
        (
            "check",
            text(|examined| Some(examined.finding.check.to_string())),
            false,
        ),
        (
            "state",
            text(|examined| Some(examined.finding.state.to_string())),
            false,
        ),
        (
            "seen",
            text(|examined| Some(examined.finding.seen.clone())),
            false,
        ),
        (
            "remedy",
            text(|examined| examined.finding.remedy.clone()),
            true,
        ),
    ])
}
