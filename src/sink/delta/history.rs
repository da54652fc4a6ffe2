//! The versions of a Delta table and who made them.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltalake::kernel::{Action, CommitInfo, Remove};
use deltalake::{DeltaTable, DeltaTableError};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::checkpoint::{FLOW_KEY, LSN_KEY, SOURCE_KEY_KEY, TRAN_ID_KEY, WRITE_KEY};
use super::{DeltaTarget, RowCounts, SinkError};
use crate::change::{FlowKey, Lsn};

/// How many commits back the one is looked for that recorded a checkpoint.
const MOST_SEARCHED: usize = 1000;
/// How many commit files are read at once.
const READ_AHEAD: usize = 8;

/// One version of a Delta table, as its `commitInfo` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// The version.
    pub version: u64,
    /// When the commit was made, by the writer's clock, in milliseconds since 1970 in UTC.
    pub timestamp_ms: Option<i64>,
    /// The operation, as in `MERGE` or `WRITE`.
    pub operation: Option<String>,
    /// The operation's parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// The rows that the commit changed, as far as its metrics tell.
    pub rows: RowCounts,
    /// The key of the cdcql flow that made the commit.
    pub flow: Option<String>,
    /// The LSN that the table holds since, for that flow.
    pub lsn: Option<Lsn>,
    /// The `tran_id` of that LSN.
    pub tran_id: Option<String>,
    /// The columns of the source's key by which the commit's changes were netted.
    pub source_key: Option<Vec<String>>,
    /// The name that a write of cdcql gave the commit, to find it again.
    pub write: Option<String>,
}

/// The newest `limit` versions up to the loaded one, newest first, as far as the log goes back.
pub(super) async fn read_history(
    location: &str,
    table: &DeltaTable,
    limit: usize,
) -> Result<Vec<HistoryEntry>, SinkError> {
    commits(location, table, limit)
        .map_ok(|(version, info)| HistoryEntry::new(version, info.unwrap_or_default()))
        .try_collect()
        .await
}

/// The `tran_id` of the newest commit that recorded `lsn` for `key`; `None` if the log lost it.
///
/// # Errors
/// `TargetReplaced` if the table was restored or overwritten since that commit: the flow's `txn` entries
/// outlive that, its rows do not.
pub(super) async fn newest_tran_id(
    location: &str,
    table: &DeltaTable,
    key: &FlowKey,
    lsn: Lsn,
) -> Result<Option<String>, SinkError> {
    let key = key.to_string();
    let mut commits = std::pin::pin!(commits(location, table, MOST_SEARCHED));
    while let Some((version, info)) = commits.try_next().await? {
        let entry = HistoryEntry::new(version, info.unwrap_or_default());
        if entry.records(&key, lsn) {
            return Ok(entry.tran_id);
        }
        if let Some(operation) = entry.replaces_rows() {
            return Err(SinkError::TargetReplaced {
                location: location.to_string(),
                version,
                operation,
            });
        }
    }
    Ok(None)
}

impl DeltaTarget {
    /// The columns by which the changes of the newest commit were netted that recorded `lsn` for `key`; `None` if it does not
    /// say so, or the log lost it.
    ///
    /// # Errors
    /// `Storage` if the log cannot be read.
    pub async fn source_key(
        &self,
        key: &FlowKey,
        lsn: Lsn,
    ) -> Result<Option<Vec<String>>, SinkError> {
        let key = key.to_string();
        let commits = commits(self.location(), self.table(), MOST_SEARCHED);
        let mut commits = std::pin::pin!(commits);
        while let Some((version, info)) = commits.try_next().await? {
            let entry = HistoryEntry::new(version, info.unwrap_or_default());
            if entry.records(&key, lsn) {
                return Ok(entry.source_key);
            }
        }
        Ok(None)
    }
}

/// A commit as the log has it.
pub(super) struct CommitEntry {
    location: String,
    version: u64,
    text: Bytes,
}

/// The commits up to the loaded version, newest first; ends where the log was cleaned up.
pub(super) fn entries(
    target: &DeltaTarget,
) -> impl Stream<Item = Result<CommitEntry, SinkError>> + '_ {
    let location = target.location();
    raw_commits(location, target.table(), usize::MAX).map_ok(|(version, text)| CommitEntry {
        location: location.to_string(),
        version,
        text,
    })
}

impl CommitEntry {
    /// The version that it made.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The value that it gives a property of the table, if any; `None` if it leaves the properties as they were.
    pub(super) fn property(&self, name: &str) -> Option<Option<String>> {
        actions(&self.text, b"\"metaData\"").find_map(|action| match action {
            Ok(Action::Metadata(metadata)) => Some(metadata.configuration().get(name).cloned()),
            _ => None,
        })
    }

    /// When the commit was made, by the writer's clock, in milliseconds since 1970 in UTC.
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let info = commit_info(&self.text)?;
        info.in_commit_timestamp.or(info.timestamp)
    }

    /// The files that it takes out of the table.
    pub(super) fn removed(&self) -> Result<Vec<Remove>, SinkError> {
        actions(&self.text, b"\"remove\"")
            .filter_map(|action| match action {
                Ok(Action::Remove(remove)) => Some(Ok(remove)),
                Ok(_) => None,
                Err(error) => Some(Err(self.damaged(error))),
            })
            .collect()
    }

    fn damaged(&self, error: serde_json::Error) -> SinkError {
        SinkError::NotADeltaTable {
            location: self.location.clone(),
            reason: "a commit of its log cannot be read".to_string(),
            source: Some(Box::new(DeltaTableError::SerializeLogJson {
                json_err: error,
            })),
        }
    }
}

/// The `commitInfo` of each version, newest first; ends where the log was cleaned up.
fn commits<'a>(
    location: &'a str,
    table: &'a DeltaTable,
    limit: usize,
) -> impl Stream<Item = Result<(u64, Option<CommitInfo>), SinkError>> + 'a {
    raw_commits(location, table, limit).map_ok(|(version, bytes)| (version, commit_info(&bytes)))
}

/// The text of each version's commit, newest first; ends where the log was cleaned up.
fn raw_commits<'a>(
    location: &'a str,
    table: &'a DeltaTable,
    limit: usize,
) -> impl Stream<Item = Result<(u64, Bytes), SinkError>> + 'a {
    let versions = table.version().map(|newest| (0..=newest).rev());
    stream::iter(versions.into_iter().flatten().take(limit))
        .map(move |version| read_commit(location, table, version))
        .buffered(READ_AHEAD)
        .try_take_while(|commit| std::future::ready(Ok(commit.is_some())))
        .try_filter_map(|commit| std::future::ready(Ok(commit)))
}

/// `None` if the log does not have the version any more.
async fn read_commit(
    location: &str,
    table: &DeltaTable,
    version: u64,
) -> Result<Option<(u64, Bytes)>, SinkError> {
    let entry = table
        .log_store()
        .read_commit_entry(version)
        .await
        .map_err(|error| SinkError::from_delta(location, "read the log of", error))?;
    Ok(entry.map(|bytes| (version, bytes)))
}

fn commit_info(entry: &[u8]) -> Option<CommitInfo> {
    actions(entry, b"\"commitInfo\"").find_map(|action| match action {
        Ok(Action::CommitInfo(info)) => Some(info),
        _ => None,
    })
}

/// The actions of a commit in whose lines `name` stands.
fn actions<'a>(
    entry: &'a [u8],
    name: &'a [u8],
) -> impl Iterator<Item = serde_json::Result<Action>> + 'a {
    entry
        .split(|byte| *byte == b'\n')
        .filter(move |line| line.windows(name.len()).any(|part| part == name))
        .map(serde_json::from_slice)
}

impl HistoryEntry {
    fn new(version: u64, info: CommitInfo) -> Self {
        let metrics = info.info.get("operationMetrics");
        let count = |names: [&str; 3]| names.iter().find_map(|name| number(metrics?.get(name)?));
        let rows = RowCounts {
            inserted: count([
                "num_target_rows_inserted",
                "num_added_rows",
                "numTargetRowsInserted",
            ])
            .or_else(|| number(metrics?.get("numOutputRows")?))
            .unwrap_or_default(),
            updated: count([
                "num_target_rows_updated",
                "num_updated_rows",
                "numTargetRowsUpdated",
            ])
            .unwrap_or_default(),
            deleted: count([
                "num_target_rows_deleted",
                "num_deleted_rows",
                "numTargetRowsDeleted",
            ])
            .unwrap_or_default(),
        };
        let parameters = info.operation_parameters.unwrap_or_default();
        Self {
            version,
            timestamp_ms: info.in_commit_timestamp.or(info.timestamp),
            operation: info.operation,
            parameters: parameters
                .into_iter()
                .map(|(name, value)| (name, plain(&value)))
                .collect(),
            rows,
            flow: text(&info.info, FLOW_KEY),
            lsn: lsn_of(&info.info),
            tran_id: text(&info.info, TRAN_ID_KEY),
            source_key: names(&info.info, SOURCE_KEY_KEY),
            write: text(&info.info, WRITE_KEY),
        }
    }

    /// Whether it recorded `lsn` for the flow with that key.
    fn records(&self, key: &str, lsn: Lsn) -> bool {
        self.flow.as_deref() == Some(key) && self.lsn == Some(lsn)
    }
}

impl HistoryEntry {
    /// The operation, if it puts other rows in the place of all that there were.
    fn replaces_rows(&self) -> Option<String> {
        let operation = self.operation.as_deref()?.to_ascii_uppercase();
        let mode = self.parameters.get("mode");
        let overwrites = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("overwrite"));
        let replaces = ["RESTORE", "REPLACE", "CLONE", "TRUNCATE"]
            .iter()
            .any(|word| operation.contains(word));
        (overwrites || replaces && self.version > 0).then_some(operation)
    }
}

type Info = std::collections::HashMap<String, Value>;

fn text(info: &Info, name: &str) -> Option<String> {
    info.get(name).and_then(Value::as_str).map(str::to_string)
}

fn names(info: &Info, name: &str) -> Option<Vec<String>> {
    let names = info.get(name)?.as_array()?.iter();
    names
        .map(|name| name.as_str().map(str::to_string))
        .collect()
}

fn lsn_of(info: &Info) -> Option<Lsn> {
    info.get(LSN_KEY)?.as_str()?.parse().ok()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}

/// Some writers record their metrics as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
