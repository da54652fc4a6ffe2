//! Deleting files that no version of the table needs.
//!
//! A file stays while the newest version names it, or a version did that was current within the retention: also a
//! deletion vector whose data file has another by now, and a data file that had several. Files that no version ever
//! named, such as those of a write that failed or is still at work, stay for as long after they were written.

use std::collections::HashSet;
use std::time::Duration;

use chrono::Utc;
use datafusion::error::Result;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{DeletionVectorDescriptor, EagerSnapshot, Remove};
use deltalake::logstore::LogStoreRef;
use deltalake::protocol::DeltaOperation;
use futures::TryStreamExt;
use object_store::path::Path;
use serde_json::{Value, json};

use super::super::history::{CommitEntry, entries};
use super::super::write::vector_path;
use super::super::{DeltaTarget, SinkError};
use super::log::delete;
use super::{
    FILE_RETENTION, Figures, MaintenanceAction, MaintenanceStep, Vacuum, loaded, storage_error,
};

/// How far the clocks of a table's writers may differ.
const CLOCKS: i64 = 60 * 60 * 1000;

/// How long files are kept, and what the table says about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    retain: Duration,
    table: Duration,
}

/// The retention that `vacuum` asks for.
///
/// # Errors
///
/// It is less than the table's, and that is not allowed.
pub(super) fn retention(
    target: &DeltaTarget,
    snapshot: &EagerSnapshot,
    vacuum: &Vacuum,
) -> Result<Retention, SinkError> {
    let properties = snapshot.table_properties();
    let table = properties
        .deleted_file_retention_duration
        .unwrap_or(FILE_RETENTION);
    let retain = vacuum.retain.unwrap_or(table);
    if retain < table && !vacuum.below_retention {
        return Err(SinkError::RetentionTooShort {
            location: target.location().to_string(),
            asked: retain,
            table,
        });
    }
    Ok(Retention { retain, table })
}

/// Deletes what has expired; `None` if nothing has.
pub(super) async fn run(
    target: &DeltaTarget,
    vacuum: &Vacuum,
    dry_run: bool,
) -> Result<Option<MaintenanceStep>> {
    let snapshot = loaded(target)?;
    let retention = retention(target, snapshot, vacuum)?;
    let millis = i64::try_from(retention.retain.as_millis()).unwrap_or(i64::MAX);
    let cutoff = Utc::now().timestamp_millis().saturating_sub(millis);
    let mut kept = Kept::new(target);
    kept.active(snapshot)?;
    kept.removed_since(cutoff).await?;
    let (paths, before) = kept.dead_files(cutoff, snapshot).await?;
    if paths.is_empty() {
        return Ok(None);
    }
    let version = if dry_run {
        None
    } else {
        Some(recorded(target, vacuum, retention, paths, before).await?)
    };
    Ok(Some(MaintenanceStep {
        action: MaintenanceAction::Vacuum,
        before,
        after: None,
        version,
    }))
}

/// Deletes `paths` between two commits that say so, as other writers of Delta tables do; the version of the second.
async fn recorded(
    target: &DeltaTarget,
    vacuum: &Vacuum,
    retention: Retention,
    paths: Vec<Path>,
    before: Figures,
) -> Result<u64, SinkError> {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let start = DeltaOperation::VacuumStart {
        retention_check_enabled: !vacuum.below_retention,
        specified_retention_millis: vacuum.retain.map(millis),
        default_retention_millis: millis(retention.table),
    };
    let metrics = json!({
        "numFilesToDelete": before.files.to_string(),
        "sizeOfDataToDelete": before.bytes.to_string(),
    });
    let mut target = target.clone();
    say(&target, start, metrics).await?;
    delete(&target, paths).await?;
    target.refresh().await?;
    let end = DeltaOperation::VacuumEnd {
        status: "COMPLETED".to_string(),
    };
    let metrics = json!({
        "numDeletedFiles": before.files.to_string(),
        "numVacuumedDirectories": "0",
    });
    say(&target, end, metrics).await
}

/// A commit without actions: there is nothing in it that another writer's could conflict with.
async fn say(
    target: &DeltaTarget,
    operation: DeltaOperation,
    metrics: Value,
) -> Result<u64, SinkError> {
    let properties =
        CommitProperties::default().with_metadata([("operationMetrics".to_string(), metrics)]);
    let committed = CommitBuilder::from(properties)
        .build(Some(loaded(target)?), target.table().log_store(), operation)
        .await
        .map_err(|error| SinkError::from_delta(target.location(), "vacuum", error))?;
    Ok(committed.version())
}

/// The files that stay, whatever their age.
struct Kept<'a> {
    target: &'a DeltaTarget,
    log_store: LogStoreRef,
    paths: HashSet<Path>,
}

impl<'a> Kept<'a> {
    fn new(target: &'a DeltaTarget) -> Self {
        Self {
            target,
            log_store: target.table().log_store(),
            paths: HashSet::new(),
        }
    }

    /// Keeps the files of `snapshot`.
    fn active(&mut self, snapshot: &EagerSnapshot) -> Result<()> {
        for file in snapshot.log_data().iter() {
            self.keep(file.object_store_path(), file.deletion_vector_descriptor())?;
        }
        Ok(())
    }

    /// Keeps the files that were taken out at `cutoff` or later, by the log's commits as far as it has them, and by
    /// what its checkpoints remember of those before.
    async fn removed_since(&mut self, cutoff: i64) -> Result<()> {
        let Some(state) = &self.target.table().state else {
            return Ok(());
        };
        let log_store = self.target.table().log_store();
        let failed =
            |error| SinkError::from_delta(self.target.location(), "read the log of", error);
        let mut tombstones = state.all_tombstones(log_store.as_ref());
        while let Some(tombstone) = tombstones.try_next().await.map_err(failed)? {
            if is_younger(tombstone.deletion_timestamp(), cutoff) {
                self.paths.insert(stored_path(&tombstone.path()));
            }
        }
        let mut commits = std::pin::pin!(entries(self.target));
        while let Some(entry) = commits.try_next().await? {
            for removed in entry.removed()? {
                let Remove {
                    path,
                    deletion_timestamp,
                    deletion_vector,
                    ..
                } = removed;
                if is_younger(deletion_timestamp, cutoff) {
                    self.keep(stored_path(&path), deletion_vector)?;
                }
            }
            if is_older(&entry, cutoff) {
                break;
            }
        }
        Ok(())
    }

    fn keep(&mut self, path: Path, vector: Option<DeletionVectorDescriptor>) -> Result<()> {
        if let Some(vector) = vector {
            self.paths
                .extend(vector_path(self.log_store.root_url(), vector)?);
        }
        self.paths.insert(path);
        Ok(())
    }

    /// The table's other files that were written before `cutoff`.
    async fn dead_files(
        &self,
        cutoff: i64,
        snapshot: &EagerSnapshot,
    ) -> Result<(Vec<Path>, Figures)> {
        let store = self.log_store.object_store(None);
        let partition = snapshot.metadata().partition_columns();
        let mut dead = (Vec::new(), Figures::default());
        let mut files = store.list(None);
        let failed = |error| storage_error(self.target, "list the files of", error);
        while let Some(file) = files.try_next().await.map_err(failed)? {
            let stays = self.paths.contains(&file.location)
                || file.last_modified.timestamp_millis() >= cutoff
                || is_hidden(&file.location, partition);
            if !stays {
                dead.1.add(Figures {
                    files: 1,
                    bytes: file.size,
                    ..Figures::default()
                });
                dead.0.push(file.location);
            }
        }
        Ok(dead)
    }
}

/// A time that nobody noted is a young one.
fn is_younger(time_ms: Option<i64>, cutoff: i64) -> bool {
    time_ms.is_none_or(|time| time >= cutoff)
}

fn is_older(entry: &CommitEntry, cutoff: i64) -> bool {
    let time = entry.timestamp_ms();
    time.is_some_and(|time| time < cutoff.saturating_sub(CLOCKS))
}

/// The place of a file that the log names, as the storage lists it.
fn stored_path(path: &str) -> Path {
    Path::parse(path).unwrap_or_else(|_| Path::from(path))
}

/// True for the log, and for whatever else a name that begins with `_` or `.` hides from readers of tables, but for
/// partitions, change data files and indexes.
fn is_hidden(path: &Path, partition: &[String]) -> bool {
    const SHOWN: [&str; 2] = ["_change_data", "_delta_index"];
    path.parts().any(|part| {
        let part = part.as_ref();
        let is_value = |column: &String| {
            let rest = part.strip_prefix(column.as_str());
            rest.is_some_and(|rest| rest.starts_with('='))
        };
        part.starts_with(['_', '.']) && !SHOWN.contains(&part) && !partition.iter().any(is_value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_and_hidden_folders_are_no_dead_files() {
        let partition = vec!["_region".to_string()];
        for (path, hidden) in [
            ("_delta_log/00000000000000000000.json", true),
            ("_cdcql/customers/chunks.json", true),
            (".part-1.crc", true),
            ("city=x/.part-1.crc", true),
            ("part-1.parquet", false),
            ("_region=a/part-1.parquet", false),
            ("_change_data/cdc-1.parquet", false),
            ("deletion_vector_1.bin", false),
        ] {
            assert_eq!(is_hidden(&Path::from(path), &partition), hidden, "{path}");
        }
    }
}
