//! The checkpoint of a flow, as three `txn` entries of its target's log.
//!
//! `<key>/hi` and `<key>/lo` are the LSN's first eight and last two bytes (an LSN is 80 bits, a
//! `txn` version 64), `<key>/time` its `tran_end_time` in milliseconds. They carry no `lastUpdated`, so
//! `delta.setTransactionRetentionDuration` never drops them. The commit's `commitInfo` also names flow,
//! LSN and `tran_id`, for people and for the check that the source's history is still the same.

use deltalake::DeltaTable;
use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::CommitProperties;
use serde_json::{Value, json};
use uuid::Uuid;

use super::history::newest_tran_id;
use super::{RowCounts, SinkError};
use crate::change::{Checkpoint, FlowKey, Gap, Lsn};

/// `commitInfo` key of the flow that made a commit.
pub(super) const FLOW_KEY: &str = "cdcql.flow";
/// `commitInfo` key of the LSN that the target holds after a commit.
pub(super) const LSN_KEY: &str = "cdcql.lsn";
/// `commitInfo` key of that LSN's `tran_id`.
pub(super) const TRAN_ID_KEY: &str = "cdcql.tranId";

/// `commitInfo` key of the columns by which a commit's changes were netted.
pub(super) const SOURCE_KEY_KEY: &str = "cdcql.sourceKey";

/// `commitInfo` key of the gap that a commit has gone over.
const GAP_KEY: &str = "cdcql.gap";

/// `commitInfo` key of the name that a write gave its commit.
pub(super) const WRITE_KEY: &str = "cdcql.write";

/// What a commit of a flow says besides its rows: the window that it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowCommit {
    /// The flow.
    pub key: FlowKey,
    /// The checkpoint that the target's log must still hold: where the window starts.
    pub expected: Option<Checkpoint>,
    /// The checkpoint after the commit: where the window ends.
    pub upto: Checkpoint,
    /// What was missed between the two, which the commit records.
    pub gap: Option<Gap>,
    /// The columns of the source's key by which its changes were netted, which the commit records.
    pub source_key: Vec<String>,
}

impl FlowCommit {
    /// True when the commit moves the checkpoint.
    pub(super) fn advances(&self) -> bool {
        self.gap.is_some() || !same_position(self.expected.as_ref(), Some(&self.upto))
    }

    /// Fails unless the log of `table` still holds `expected`.
    pub(super) async fn check(&self, location: &str, table: &DeltaTable) -> Result<(), SinkError> {
        let found = read_position(location, table, &self.key).await?;
        if same_position(self.expected.as_ref(), found.as_ref()) {
            return Ok(());
        }
        Err(SinkError::CheckpointMoved {
            location: location.to_string(),
            key: Box::new(self.key.clone()),
            expected: self.expected.clone().map(Box::new),
            found: found.map(Box::new),
        })
    }
}

/// The properties of a commit: a compare-and-swap, with the flow's entries where there is a flow. `write` is
/// the name by which the commit is found again; `rows` is told where deltalake does not count them itself.
pub(super) fn commit_properties(
    commit: Option<&FlowCommit>,
    write: Uuid,
    rows: Option<RowCounts>,
) -> CommitProperties {
    let mut metadata = vec![(WRITE_KEY.to_string(), Value::from(write.to_string()))];
    if let Some(rows) = rows {
        metadata.push(("operationMetrics".to_string(), rows.to_metrics()));
    }
    let properties = compare_and_swap();
    let Some(FlowCommit {
        key,
        upto,
        gap,
        source_key,
        ..
    }) = commit
    else {
        return properties.with_metadata(metadata);
    };
    let [hi, lo, time] = entry_ids(key);
    let (high, low) = upto.lsn.to_halves();
    metadata.extend([
        (FLOW_KEY.to_string(), Value::from(key.to_string())),
        (LSN_KEY.to_string(), Value::from(upto.lsn.to_string())),
        (
            SOURCE_KEY_KEY.to_string(),
            Value::from(source_key.as_slice()),
        ),
    ]);
    if let Some(tran_id) = &upto.tran_id {
        metadata.push((TRAN_ID_KEY.to_string(), Value::from(tran_id.as_str())));
    }
    if let Some(gap) = gap {
        let gap = json!({
            "policy": gap.policy.to_string(),
            "after": gap.after.to_string(),
            "upto": gap.upto.to_string(),
            "reason": gap.reason,
        });
        metadata.push((GAP_KEY.to_string(), gap));
    }
    properties
        .with_metadata(metadata)
        .with_application_transactions(vec![
            Transaction::new(hi, high),
            Transaction::new(lo, low),
            Transaction::new(time, upto.end_time_ms),
        ])
}

/// The properties of a commit that changes no row, with the metrics of its operation.
pub(super) fn maintenance_properties(write: Uuid, metrics: Value) -> CommitProperties {
    compare_and_swap().with_metadata([
        (WRITE_KEY.to_string(), Value::from(write.to_string())),
        ("operationMetrics".to_string(), metrics),
    ])
}

/// Delta's own retries would resolve conflicts for us, among them some that lose or repeat rows, and
/// would not look at the checkpoint.
fn compare_and_swap() -> CommitProperties {
    CommitProperties::default().with_max_retries(0)
}

/// The checkpoint of `key` in the loaded version of `table`, with its `tran_id` where the log still has
/// the commit that recorded it.
pub(super) async fn read_checkpoint(
    location: &str,
    table: &DeltaTable,
    key: &FlowKey,
) -> Result<Option<Checkpoint>, SinkError> {
    let Some(mut checkpoint) = read_position(location, table, key).await? else {
        return Ok(None);
    };
    checkpoint.tran_id = newest_tran_id(location, table, key, checkpoint.lsn).await?;
    Ok(Some(checkpoint))
}

/// The checkpoint without its `tran_id`.
pub(super) async fn read_position(
    location: &str,
    table: &DeltaTable,
    key: &FlowKey,
) -> Result<Option<Checkpoint>, SinkError> {
    let Some(state) = &table.state else {
        return Ok(None);
    };
    let damaged = |reason: &str| SinkError::DamagedCheckpoint {
        location: location.to_string(),
        key: Box::new(key.clone()),
        reason: reason.to_string(),
    };
    let log_store = table.log_store();
    let mut entries = [None; 3];
    for (entry, id) in entries.iter_mut().zip(entry_ids(key)) {
        *entry = state
            .transaction_version(log_store.as_ref(), id)
            .await
            .map_err(|error| SinkError::from_delta(location, "read the log of", error))?;
    }
    match entries {
        [None, None, None] => Ok(None),
        [Some(high), Some(low), Some(end_time_ms)] => {
            let lsn =
                Lsn::from_halves(high, low).ok_or_else(|| damaged("its txn entries are no LSN"))?;
            Ok(Some(Checkpoint {
                lsn,
                end_time_ms,
                tran_id: None,
            }))
        }
        _ => Err(damaged("some of its three txn entries are missing")),
    }
}

fn entry_ids(key: &FlowKey) -> [String; 3] {
    ["hi", "lo", "time"].map(|part| format!("{key}/{part}"))
}

/// Compares positions; `tran_id` is left out, since the log may have lost it.
fn same_position(a: Option<&Checkpoint>, b: Option<&Checkpoint>) -> bool {
    let position = |at: &Checkpoint| (at.lsn, at.end_time_ms);
    a.map(position) == b.map(position)
}
