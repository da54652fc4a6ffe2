//! The files of a table's log.

use std::time::Duration;

use delta_kernel::table_features::TableFeature;
use deltalake::checkpoints::create_checkpoint;
use deltalake::kernel::EagerSnapshot;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::super::{DeltaTarget, SinkError};
use super::{Figures, MaintenanceAction, MaintenanceStep, storage_error};

/// How many commits there are since the last checkpoint when a new one is due: the number that Delta's own writers
/// leave by default.
const COMMITS: u64 = 10;
/// How long the log keeps its files, unless `delta.logRetentionDuration` says otherwise.
const LOG_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The feature of tables whose checkpoints guard a change of their protocol; the kernel has no word for it.
const CHECKPOINT_PROTECTION: &str = "checkpointProtection";

/// The files of a log up to one version.
#[derive(Debug)]
pub(super) struct Log {
    version: u64,
    files: Vec<LogFile>,
}

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LogFile {
    path: Path,
    /// The last version that it tells of.
    version: u64,
    kind: Kind,
    bytes: u64,
    modified_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    /// A checkpoint in one file, from which a reader may begin.
    Checkpoint,
    /// What stands beside commits and checkpoints, parts of checkpoints among it.
    Other,
}

/// Files of the log that have expired.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expired(Vec<LogFile>);

impl Log {
    /// Lists the log of `target`, as far as it is about versions up to `version`.
    pub(super) async fn list(target: &DeltaTarget, version: u64) -> Result<Self, SinkError> {
        let log_store = target.table().log_store();
        let store = log_store.object_store(None);
        let files = store
            .list(Some(log_store.log_path()))
            .try_filter_map(|file| std::future::ready(Ok(LogFile::new(file))))
            .try_filter(|file| std::future::ready(file.version <= version))
            .try_collect()
            .await
            .map_err(|error| storage_error(target, "read the log of", error))?;
        Ok(Self { version, files })
    }

    /// The newest checkpoint's version.
    fn checkpoint(&self) -> Option<u64> {
        self.last(Kind::Checkpoint)
    }

    fn last(&self, kind: Kind) -> Option<u64> {
        let files = self.files.iter().filter(|file| file.kind == kind);
        files.map(|file| file.version).max()
    }

    /// The checkpoint to write, if one is due after `more` commits besides those of the log.
    pub(super) fn due_checkpoint(&self, more: u64) -> Option<MaintenanceStep> {
        let since = self.checkpoint();
        let read = |file: &&LogFile| {
            file.kind == Kind::Commit && since.is_none_or(|since| file.version > since)
        };
        let mut before = Figures::default();
        for file in self.files.iter().filter(read) {
            before.add(file.figures());
        }
        (before.files + more > COMMITS).then_some(MaintenanceStep {
            action: MaintenanceAction::Checkpoint,
            before,
            after: None,
            version: (more == 0).then_some(self.version),
        })
    }

    /// Writes a checkpoint of the version that `target` has loaded, which is the log's.
    pub(super) async fn write_checkpoint(&mut self, target: &DeltaTarget) -> Result<(), SinkError> {
        create_checkpoint(target.table(), None)
            .await
            .map_err(|error| {
                SinkError::from_delta(target.location(), "write a checkpoint of", error)
            })?;
        *self = Self::list(target, self.version).await?;
        Ok(())
    }

    /// The files that the retention of the table does not keep at `now_ms`.
    ///
    /// Every version that is younger than the retention stays readable, and so does the newest. A table that does not
    /// want its log to be cleaned, or whose protocol protects its checkpoints, keeps all.
    pub(super) fn expired(&self, snapshot: &EagerSnapshot, now_ms: i64) -> Expired {
        let properties = snapshot.table_properties();
        let unwanted = properties.enable_expired_log_cleanup == Some(false);
        let features = snapshot.protocol().writer_features();
        let protected = TableFeature::Unknown(CHECKPOINT_PROTECTION.to_string());
        let protects = features.is_some_and(|features| features.contains(&protected));
        if unwanted || protects {
            return Expired(Vec::new());
        }
        let retention = properties.log_retention_duration.unwrap_or(LOG_RETENTION);
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        Expired(self.before(now_ms.saturating_sub(retention)))
    }

    /// The files that no version needs which was committed at `cutoff_ms` or later.
    fn before(&self, cutoff_ms: i64) -> Vec<LogFile> {
        let young = |file: &&LogFile| file.kind == Kind::Commit && file.modified_ms >= cutoff_ms;
        let commits = self.files.iter().filter(young);
        let first = commits.map(|file| file.version).min();
        let first = first.unwrap_or(self.version);
        let checkpoints = self.files.iter();
        let base = checkpoints
            .filter(|file| file.kind == Kind::Checkpoint && file.version <= first)
            .map(|file| file.version)
            .max();
        let Some(base) = base else {
            return Vec::new();
        };
        let files = self.files.iter();
        let expired = files.filter(|file| file.version < base && file.modified_ms < cutoff_ms);
        expired.cloned().collect()
    }
}

impl LogFile {
    /// `None` for a file that is not about versions.
    fn new(file: ObjectMeta) -> Option<Self> {
        let (version, kind) = name_of(file.location.filename()?)?;
        Some(Self {
            version,
            kind,
            bytes: file.size,
            modified_ms: file.last_modified.timestamp_millis(),
            path: file.location,
        })
    }

    fn figures(&self) -> Figures {
        Figures {
            files: 1,
            bytes: self.bytes,
            ..Figures::default()
        }
    }
}

impl Expired {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their deletion as a step.
    pub(super) fn step(&self) -> MaintenanceStep {
        let mut before = Figures::default();
        for file in &self.0 {
            before.add(file.figures());
        }
        MaintenanceStep {
            action: MaintenanceAction::CleanLog,
            before,
            after: None,
            version: None,
        }
    }

    /// Deletes them, the oldest first: ended at any time, what is left is the log's younger part.
    pub(super) async fn delete(mut self, target: &DeltaTarget) -> Result<(), SinkError> {
        self.0.sort_by_key(|file| file.version);
        let paths = self.0.into_iter().map(|file| file.path).collect();
        delete(target, paths).await
    }
}

/// Deletes files of the table; those that are gone already are no error.
pub(super) async fn delete(target: &DeltaTarget, paths: Vec<Path>) -> Result<(), SinkError> {
    let store = target.table().log_store().object_store(None);
    let mut deleted = store.delete_stream(stream::iter(paths).map(Ok).boxed());
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(storage_error(target, "delete files of", error)),
        }
    }
    Ok(())
}

/// The version and kind of a file of the log, by its name.
///
/// Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries>
fn name_of(name: &str) -> Option<(u64, Kind)> {
    let (version, rest) = name.split_once('.')?;
    let version = version_of(version)?;
    let parts: Vec<&str> = rest.split('.').collect();
    match parts.as_slice() {
        ["json"] => Some((version, Kind::Commit)),
        ["checkpoint", "parquet"] => Some((version, Kind::Checkpoint)),
        ["checkpoint", id, "parquet" | "json"] if uuid::Uuid::parse_str(id).is_ok() => {
            Some((version, Kind::Checkpoint))
        }
        ["checkpoint", _, _, "parquet"] | ["crc"] => Some((version, Kind::Other)),
        [last, "compacted", "json"] => Some((version_of(last)?, Kind::Other)),
        _ => None,
    }
}

fn version_of(text: &str) -> Option<u64> {
    let digits = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    /// A log of files by name and the day they were written.
    fn log(version: u64, files: &[(&str, i64)]) -> Log {
        let files = files.iter().map(|(name, day)| {
            LogFile::new(ObjectMeta {
                location: Path::from(format!("_delta_log/{name}")),
                last_modified: chrono::DateTime::from_timestamp_millis(day * DAY).unwrap(),
                size: 10,
                e_tag: None,
                version: None,
            })
        });
        Log {
            version,
            files: files.map(Option::unwrap).collect(),
        }
    }

    fn names(files: &[LogFile]) -> Vec<&str> {
        files
            .iter()
            .map(|file| file.path.filename().unwrap())
            .collect()
    }

    const C0: &str = "00000000000000000000.json";
    const C1: &str = "00000000000000000001.json";
    const P1: &str = "00000000000000000001.checkpoint.parquet";
    const C2: &str = "00000000000000000002.json";
    const P2: &str = "00000000000000000002.checkpoint.parquet";
    const C3: &str = "00000000000000000003.json";

    #[test]
    fn names_tell_the_version_and_what_a_file_is() {
        let parts = "00000000000000000001.checkpoint.0000000001.0000000002.parquet";
        let v2 = "00000000000000000001.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json";
        let compacted = "00000000000000000001.00000000000000000004.compacted.json";
        for (name, expected) in [
            (C1, Some((1, Kind::Commit))),
            (P1, Some((1, Kind::Checkpoint))),
            (v2, Some((1, Kind::Checkpoint))),
            (parts, Some((1, Kind::Other))),
            ("00000000000000000001.crc", Some((1, Kind::Other))),
            (compacted, Some((4, Kind::Other))),
            ("_last_checkpoint", None),
            ("1.json", None),
            ("00000000000000000001.json.tmp", None),
        ] {
            assert_eq!(name_of(name), expected, "{name}");
        }
    }

    #[test]
    fn files_before_the_checkpoint_of_the_oldest_kept_version_expire() {
        let log = log(3, &[(C0, 1), (C1, 2), (P1, 9), (C2, 3), (P2, 3), (C3, 8)]);
        assert_eq!(names(&log.before(4 * DAY)), [C0, C1]);
        assert_eq!(names(&log.before(DAY)), Vec::<&str>::new());
        assert_eq!(names(&log.before(9 * DAY)), [C0, C1]);
    }

    #[test]
    fn without_a_checkpoint_of_an_old_version_nothing_expires() {
        let all_young = log(3, &[(C0, 1), (C1, 5), (C2, 5), (P2, 5), (C3, 5)]);
        assert!(all_young.before(4 * DAY).is_empty());
        let none = log(3, &[(C0, 1), (C1, 1), (C2, 1), (C3, 1)]);
        assert!(none.before(9 * DAY).is_empty());
    }

    #[test]
    fn a_young_commit_among_old_ones_keeps_all_that_follow_it() {
        let log = log(3, &[(C0, 1), (C1, 8), (C2, 1), (P2, 1), (C3, 1)]);
        assert!(log.before(4 * DAY).is_empty());
    }
}
