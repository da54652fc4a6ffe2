//! `cdcql status FILE`.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    UInt64Array,
};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use super::args::StatusArguments;
use super::output::{print_error, print_rows};
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::pipeline::{FlowState, FlowStatus, Moment, Pipeline};

/// Prints where the file's flows stand; the first that could not be run decides the exit code.
pub(super) async fn run(arguments: &StatusArguments, manner: Manner<'_>) -> Result<(), Error> {
    let (rows, failure) = of(Session::try_new(manner)?, &arguments.file).await?;
    let printed = print_rows(rows, arguments.format).await;
    failure.map_or(printed, Err)
}

/// Where the flows of a file stand, a row for each, and the failure that decides the exit code; others are printed.
pub(super) async fn of(
    session: Session,
    file: &Path,
) -> Result<(SendableRecordBatchStream, Option<Error>), Error> {
    let statements = session.read(file).await?;
    let pipeline = Pipeline::bind(session.engine, statements, Some(file)).await?;
    let statuses = pipeline.status().await;
    let rows = table_of(&statuses).map_err(DataFusionError::from)?;
    let rows = RecordBatchStreamAdapter::new(rows.schema(), stream::iter([Ok(rows)]));
    let mut failure = None;
    for status in statuses {
        if let Err(error) = status.state
            && let Some(earlier) = failure.replace(error)
        {
            print_error(&earlier);
        }
    }
    Ok((Box::pin(rows), failure))
}

/// One row for each flow.
fn table_of(statuses: &[FlowStatus]) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&FlowStatus) -> Option<String>| -> ArrayRef {
        Arc::new(StringArray::from_iter(statuses.iter().map(value)))
    };
    let number = |value: fn(&FlowStatus) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(statuses.iter().map(value)))
    };
    let count = |value: fn(&FlowStatus) -> Option<u64>| -> ArrayRef {
        Arc::new(UInt64Array::from_iter(statuses.iter().map(value)))
    };
    let time = |value: fn(&FlowStatus) -> Option<Moment>| -> ArrayRef {
        let times = statuses
            .iter()
            .map(|status| value(status).map(|moment| moment.utc_ms));
        Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
    };
    let hours = statuses.iter().map(|status| {
        let tenths = |hours: f64| (hours * 10.0).floor() / 10.0;
        status.hours_to_purge.map(tenths)
    });
    RecordBatch::try_from_iter_with_nullable([
        ("flow", text(|status| Some(status.flow.clone())), false),
        (
            "state",
            text(|status| Some(state(status).to_string())),
            false,
        ),
        ("version", count(|status| status.version), true),
        (
            "checkpoint_lsn",
            text(|status| lsn_of(status.checkpoint)),
            true,
        ),
        ("checkpoint_time", time(|status| status.checkpoint), true),
        ("source_lsn", text(|status| lsn_of(status.source)), true),
        ("source_time", time(|status| status.source), true),
        (
            "capture_lag_seconds",
            number(|status| status.capture_lag_s),
            true,
        ),
        (
            "reader_lag_seconds",
            number(|status| status.reader_lag_s),
            true,
        ),
        ("rows_behind", count(|status| status.rows_behind), true),
        (
            "hours_to_purge",
            Arc::new(Float64Array::from_iter(hours)) as ArrayRef,
            true,
        ),
        (
            "location",
            text(|status| Some(status.location.clone())),
            false,
        ),
    ])
}

fn lsn_of(moment: Option<Moment>) -> Option<String> {
    moment.map(|moment| moment.lsn.to_string())
}

fn state(status: &FlowStatus) -> &'static str {
    match &status.state {
        Ok(FlowState::NotCopied) => "not copied",
        Ok(FlowState::UpToDate) => "up to date",
        Ok(FlowState::Behind) => "behind",
        Err(error) if error.exit_code() == 5 => "changes lost",
        Err(_) => "failing",
    }
}
