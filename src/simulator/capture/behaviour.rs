//! When capture happens, and what of it a real server may do differently.

use std::time::Duration;

/// When the transaction log is scanned for changes of captured tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureJob {
    /// With every commit, before it returns: what is committed has been captured. So scripts are replayed.
    #[default]
    EveryCommit,
    /// In the background, so often: commits are captured later, `sys.fn_cdc_get_max_lsn()` lags the log,
    /// and a database that is idle for long enough gets entries that stand for no transaction.
    Every(Duration),
    /// Only when a [`CaptureControl`](super::CaptureControl) or `sys.sp_cdc_scan` says so.
    Held,
}

/// `__$command_id` in change tables that are made from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommandId {
    /// The second column of the clustered index.
    #[default]
    Indexed,
    /// There, but not in the clustered index, as in tables that an update of the server has changed.
    Unindexed,
    /// Not there, as before KB3030352.
    Absent,
}

/// The times of commits in `cdc.lsn_time_mapping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitTimes {
    /// The database's clock.
    #[default]
    Clock,
    /// The clock in steps of so many seconds, so that commits share a time.
    Equal {
        /// Seconds, and commits where each moves the clock by one.
        commits: u32,
    },
    /// A clock that is set back and forth, as where daylight saving ends: it runs true for so many commits,
    /// then as many are dated too early.
    Back {
        /// The commits.
        commits: u32,
        /// How far the clock is set back.
        by: Duration,
    },
}

/// What capture may do and need not. The default is what a server of today does, at its most regular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureBehaviour {
    /// Whether change tables have `__$command_id`.
    pub command_id: CommandId,
    /// The low end of a new capture instance is NULL until a scan has come past its beginning.
    pub start_lsn_by_scan: bool,
    /// Gaps between the LSNs of transactions, which follow from the server's seed.
    pub lsn_gaps: bool,
    /// The first changes of a transaction lie below the commit before, as if both had run at once.
    pub interleaved: bool,
    /// The times of commits.
    pub commit_times: CommitTimes,
    /// Deletes have NULL in columns that are NOT NULL and not in the key (estuary/connectors#2796).
    pub deletes_lose_values: bool,
    /// Images after an update, too, lack the large values that it did not change, as Debezium expects of them.
    pub updates_omit_unchanged_values: bool,
    /// Trace flag 8207: an update of one row's key is logged as an update, not as delete and insert.
    pub trace_flag_8207: bool,
    /// Bytes of changes that may wait in the log; a commit beyond them is error 9002.
    pub log_limit: usize,
    /// How long a database is idle before an entry without a transaction dates it, by its clock.
    pub idle_period: Duration,
}

/// One gibibyte.
const LOG_LIMIT: usize = 1 << 30;
/// SQL Server's own period.
const IDLE_PERIOD: Duration = Duration::from_secs(300);

impl Default for CaptureBehaviour {
    fn default() -> Self {
        Self {
            command_id: CommandId::default(),
            start_lsn_by_scan: false,
            lsn_gaps: false,
            interleaved: false,
            commit_times: CommitTimes::default(),
            deletes_lose_values: false,
            updates_omit_unchanged_values: false,
            trace_flag_8207: false,
            log_limit: LOG_LIMIT,
            idle_period: IDLE_PERIOD,
        }
    }
}
