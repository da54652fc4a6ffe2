//! Keeping a table fast: fewer and fuller files, a younger checkpoint of the log, a shorter log, no dead files.
//!
//! - `choice` says which data files are written anew, and which of them together; `rewrite` does so, in commits that
//!   change no row.
//! - `log` looks at the log's own files: when a Delta checkpoint is due, and which files have expired.
//! - `vacuum` deletes files that no version needs.
//!
//! Nothing of this is done unless it is asked for, and none of it moves a flow's checkpoint. Ended at any instruction,
//! it leaves the table right, and no more than files that no version names.

mod choice;
mod log;
mod report;
mod rewrite;
mod vacuum;

use std::time::Duration;

use chrono::Utc;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use deltalake::kernel::EagerSnapshot;
use deltalake::kernel::transaction::PROTOCOL;

use self::log::Log;
pub use self::report::{
    Figures, MaintenanceAction, MaintenanceEvent, MaintenanceReport, MaintenanceStep,
};
use self::rewrite::Rewriting;
use super::{DeltaTarget, SinkError};
use deltalake::{DeltaTableError, ObjectStoreError};

/// How long deleted data files are kept, unless `delta.deletedFileRetentionDuration` says otherwise.
const FILE_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is done to a table, and by which thresholds.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// The columns that rows are sorted by where files are written anew, as the table names them; names that it does
    /// not have are left out.
    pub keys: Vec<String>,
    /// A file is written anew if more than this percentage of its rows is deleted.
    pub purge_percent: u8,
    /// Look, and change nothing.
    pub dry_run: bool,
    /// Delete files that no version of the table needs.
    pub vacuum: Option<Vacuum>,
}

/// Which dead files are deleted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vacuum {
    /// Files stay that were part of the table, or were written, so long ago at most; the table's own retention unless
    /// given.
    pub retain: Option<Duration>,
    /// Allows less than the table's own retention: readers of earlier versions then fail, and a writer that is at work
    /// may commit a version whose files are gone.
    pub below_retention: bool,
}

impl Maintenance {
    /// The default of [`Maintenance::purge_percent`].
    pub const PURGE_PERCENT: u8 = 2;
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            purge_percent: Self::PURGE_PERCENT,
            dry_run: false,
            vacuum: None,
        }
    }
}

impl DeltaTarget {
    /// Does to the newest version of the table what `maintenance` asks for and the table needs; `tell` hears of what
    /// takes long.
    ///
    /// Rows are read and sorted within the memory pool of `state`. Where another writer commits first, what was to be
    /// rewritten is chosen again from its version.
    ///
    /// # Errors
    ///
    /// The table does not exist, cannot be written, or keeps deleted files for longer than the vacuum would; a
    /// conflict, where other writers were faster too often. Steps that were done before stay done.
    pub async fn maintain(
        &self,
        maintenance: &Maintenance,
        state: &SessionState,
        tell: &(dyn Fn(MaintenanceEvent) + Send + Sync),
    ) -> Result<MaintenanceReport> {
        Box::pin(maintain(self, maintenance, state, tell)).await
    }

    /// Fails where [`DeltaTarget::maintain`] would refuse `maintenance`, by the loaded version.
    pub fn check_maintenance(&self, maintenance: &Maintenance) -> Result<(), SinkError> {
        check(self, maintenance)
    }
}

async fn maintain(
    target: &DeltaTarget,
    maintenance: &Maintenance,
    state: &SessionState,
    tell: &(dyn Fn(MaintenanceEvent) + Send + Sync),
) -> Result<MaintenanceReport> {
    let mut target = target.clone();
    target.refresh().await?;
    check(&target, maintenance)?;
    let mut report = MaintenanceReport::default();
    let rewriting = Rewriting {
        maintenance,
        state,
        tell,
    };
    let commits = Box::pin(rewriting.run(&mut target, &mut report)).await?;
    maintain_log(&target, maintenance, commits, &mut report).await?;
    if let Some(vacuum) = &maintenance.vacuum {
        let step = vacuum::run(&target, vacuum, maintenance.dry_run).await?;
        report.steps.extend(step);
    }
    Ok(report)
}

fn check(target: &DeltaTarget, maintenance: &Maintenance) -> Result<(), SinkError> {
    let snapshot = loaded(target)?;
    PROTOCOL
        .can_write_to(snapshot)
        .map_err(|error| SinkError::from_delta(target.location(), "maintain", error.into()))?;
    match &maintenance.vacuum {
        Some(vacuum) => vacuum::retention(target, snapshot, vacuum).map(drop),
        None => Ok(()),
    }
}

/// Writes a checkpoint of the log where one is due, and deletes what has expired. A dry run is told how many `commits`
/// would have been made before.
async fn maintain_log(
    target: &DeltaTarget,
    maintenance: &Maintenance,
    commits: u64,
    report: &mut MaintenanceReport,
) -> Result<(), SinkError> {
    let snapshot = loaded(target)?;
    let mut log = Log::list(target, snapshot.version()).await?;
    if let Some(step) = log.due_checkpoint(commits) {
        if !maintenance.dry_run {
            log.write_checkpoint(target).await?;
        }
        report.steps.push(step);
    }
    let expired = log.expired(snapshot, Utc::now().timestamp_millis());
    if !expired.is_empty() {
        report.steps.push(expired.step());
        if !maintenance.dry_run {
            expired.delete(target).await?;
        }
    }
    Ok(())
}

fn loaded(target: &DeltaTarget) -> Result<&EagerSnapshot, SinkError> {
    target.snapshot().ok_or_else(|| SinkError::NoSuchTable {
        location: target.location().to_string(),
    })
}

fn storage_error(
    target: &DeltaTarget,
    action: &'static str,
    source: ObjectStoreError,
) -> SinkError {
    SinkError::from_delta(target.location(), action, DeltaTableError::from(source))
}
