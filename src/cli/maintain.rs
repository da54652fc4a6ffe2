//! `cdcql maintain FILE`.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use indicatif::{HumanBytes, HumanCount};

use super::args::MaintainArguments;
use super::output::{print_error, print_rows, tell};
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::pipeline::{Upkeep, UpkeepReport};
use crate::sink::delta::{
    Figures, Maintenance, MaintenanceAction, MaintenanceEvent, MaintenanceReport, MaintenanceStep,
    Vacuum,
};

/// Maintains the file's tables; the first that failed decides the exit code. Rows of what was done go to stdout.
pub(super) async fn run(arguments: &MaintainArguments, manner: Manner<'_>) -> Result<(), Error> {
    let (session, quiet) = (Session::try_new(manner)?, manner.quiet);
    let statements = session.read(&arguments.file).await?;
    let file = Some(arguments.file.as_path());
    let flows = &arguments.flow;
    let upkeep = Upkeep::bind(session.engine.clone(), statements, file, flows).await?;
    if upkeep.is_empty() && !quiet {
        let file = arguments.file.display();
        tell!("{file} declares no table: nothing to maintain");
    }
    let tell = |table: &str, event| {
        if !quiet {
            tell(table, event);
        }
    };
    let reports = upkeep.run(&maintenance(arguments), &tell).await?;
    let mut failure = None;
    let mut done = Vec::new();
    for report in reports {
        if !quiet {
            for line in lines(&report, arguments.dry_run) {
                tell!("{}: {line}", report.table);
            }
        }
        match report.result {
            Ok(Some(found)) => {
                done.extend(found.steps.into_iter().map(|s| (report.table.clone(), s)));
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(earlier) = failure.replace(error) {
                    print_error(&earlier);
                }
            }
        }
    }
    let rows = table_of(&done).map_err(DataFusionError::from)?;
    let rows = RecordBatchStreamAdapter::new(rows.schema(), stream::iter([Ok(rows)]));
    let printed = print_rows(Box::pin(rows), arguments.format).await;
    failure.map_or(printed, Err)
}

fn maintenance(arguments: &MaintainArguments) -> Maintenance {
    Maintenance {
        purge_percent: arguments.purge,
        dry_run: arguments.dry_run,
        vacuum: arguments.vacuum.then(|| Vacuum {
            retain: arguments.retain.map(|hours| {
                let hours = u64::from(hours);
                Duration::from_secs(hours * 60 * 60)
            }),
            below_retention: arguments.force,
        }),
        ..Maintenance::default()
    }
}

fn tell(table: &str, event: MaintenanceEvent) {
    match event {
        MaintenanceEvent::Rewriting(figures) => {
            tell!("{table}: rewriting {}", files(figures));
        }
        MaintenanceEvent::Conflict { attempt } => {
            tell!("{table}: another writer committed first (try {attempt}); choosing files again")
        }
    }
}

/// How the maintenance of a table ended, for people; a failure is printed as an error instead.
fn lines(report: &UpkeepReport, dry_run: bool) -> Vec<String> {
    let found = match &report.result {
        Ok(Some(found)) => found,
        Ok(None) => return vec![format!("no table yet at {}", report.location)],
        Err(_) => return Vec::new(),
    };
    let MaintenanceReport { steps, obstacle } = found;
    let mut lines: Vec<String> = steps.iter().map(|step| sentence(step, dry_run)).collect();
    if let Some(obstacle) = obstacle {
        lines.push(format!("no data file is rewritten, since {obstacle}"));
    }
    if lines.is_empty() {
        lines.push("nothing to do".to_string());
    }
    if let Some(last) = lines.last_mut() {
        last.push_str(&format!(" ({:.1} s)", report.elapsed.as_secs_f64()));
    }
    lines
}

fn sentence(step: &MaintenanceStep, dry_run: bool) -> String {
    let version = step.version.unwrap_or_default();
    let before = step.before;
    match (step.action, dry_run) {
        (MaintenanceAction::Rewrite, true) => format!("would rewrite {}", files(before)),
        (MaintenanceAction::Rewrite, false) => format!(
            "{} rewritten into {}, Delta version {version}",
            files(before),
            files(step.after.unwrap_or_default())
        ),
        (MaintenanceAction::Checkpoint, true) => {
            format!(
                "would write a checkpoint of the log, {} commits after the last",
                before.files
            )
        }
        (MaintenanceAction::Checkpoint, false) => format!(
            "checkpoint of the log at Delta version {version}, {} commits after the last",
            before.files
        ),
        (MaintenanceAction::CleanLog, true) => {
            format!(
                "would delete {} of the log that have expired",
                files(before)
            )
        }
        (MaintenanceAction::CleanLog, false) => {
            format!("{} of the log deleted that had expired", files(before))
        }
        (MaintenanceAction::Vacuum, true) => {
            format!("would delete {} that no version needs", files(before))
        }
        (MaintenanceAction::Vacuum, false) => format!(
            "{} deleted that no version needed, Delta version {version}",
            files(before)
        ),
    }
}

fn files(figures: Figures) -> String {
    let Figures {
        files,
        bytes,
        rows,
        deleted_rows,
    } = figures;
    let noun = if files == 1 { "file" } else { "files" };
    let mut text = format!("{} {noun} ({}", HumanCount(files), HumanBytes(bytes));
    if rows > 0 || deleted_rows > 0 {
        text.push_str(&format!(", {} rows", HumanCount(rows)));
    }
    if deleted_rows > 0 {
        text.push_str(&format!(", {} more deleted", HumanCount(deleted_rows)));
    }
    text.push(')');
    text
}

/// One row for each step.
fn table_of(steps: &[(String, MaintenanceStep)]) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&(String, MaintenanceStep)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(steps.iter().map(value)))
    };
    let number = |value: fn(&MaintenanceStep) -> Option<u64>| -> ArrayRef {
        Arc::new(UInt64Array::from_iter(
            steps.iter().map(|(_, step)| value(step)),
        ))
    };
    // Files of the log have no rows.
    fn rows(step: &MaintenanceStep, count: u64) -> Option<u64> {
        (step.action == MaintenanceAction::Rewrite).then_some(count)
    }
    RecordBatch::try_from_iter_with_nullable([
        ("table", text(|(table, _)| table.clone()), false),
        ("action", text(|(_, step)| step.action.to_string()), false),
        ("files", number(|step| Some(step.before.files)), false),
        ("bytes", number(|step| Some(step.before.bytes)), false),
        ("rows", number(|step| rows(step, step.before.rows)), true),
        (
            "deleted_rows",
            number(|step| rows(step, step.before.deleted_rows)),
            true,
        ),
        ("files_after", number(|step| Some(step.after?.files)), true),
        ("bytes_after", number(|step| Some(step.after?.bytes)), true),
        ("version", number(|step| step.version), true),
    ])
}
