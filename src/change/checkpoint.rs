//! Where a flow stands: the last commit of the source that its target holds.

use std::fmt;

use super::Lsn;

/// A row of `cdc.lsn_time_mapping`: one commit of the source, or an idle entry of the capture job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The commit's LSN.
    pub lsn: Lsn,
    /// `tran_end_time` as stored by the server (its local time), in milliseconds since 1970-01-01T00:00:00.
    pub end_time_ms: i64,
    /// `tran_id`; the single byte `0x00` for an idle entry.
    pub tran_id: Vec<u8>,
}

impl Commit {
    /// `tran_id` as lower-case hex, as it is recorded in a Delta commit.
    pub fn tran_id_hex(&self) -> String {
        self.tran_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The position a target's log records for a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last commit LSN that the target holds.
    pub lsn: Lsn,
    /// `tran_end_time` of that commit in the source, milliseconds, as in [`Commit::end_time_ms`].
    pub end_time_ms: i64,
    /// `tran_id` of that commit as lower-case hex; `None` where the log no longer tells.
    pub tran_id: Option<String>,
}

impl From<&Commit> for Checkpoint {
    fn from(commit: &Commit) -> Self {
        Self {
            lsn: commit.lsn,
            end_time_ms: commit.end_time_ms,
            tran_id: Some(commit.tran_id_hex()),
        }
    }
}

/// A flow's identity in its target's log: its name, and the source database and table.
///
/// The checkpoint's `txn` entries are this key and `/hi`, `/lo`, `/time`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The flow's name.
    pub flow: String,
    /// The source database, as the server spells it.
    pub database: String,
    /// The source schema.
    pub schema: String,
    /// The source table.
    pub table: String,
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flow,
            database,
            schema,
            table,
        } = self;
        write!(f, "cdcql/{flow}/{database}.{schema}.{table}")
    }
}
