//! What a run tells while it goes on, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::change::{Lsn, LsnRange, OnGap};
use crate::engine::Violations;
use crate::error::Error;
use crate::sink::delta::{CommitOutcome, MaintenanceReport, RowCounts};

/// What a copy has of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// All rows, into a target that had none.
    First,
    /// All rows, or a part that was asked for, over what the target had.
    Anew,
    /// Over what the target had, the rows that changed while the capture instance that was read lacked columns.
    ChangedRows,
}

impl fmt::Display for CopyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first copy",
            Self::Anew => "new copy",
            Self::ChangedRows => "copy of changed rows",
        })
    }
}

/// A step of a run, for people to watch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A copy of a table begins.
    SnapshotStarted {
        /// What is copied.
        kind: CopyKind,
        /// The flow.
        flow: String,
        /// The source table, as `schema.table`.
        table: String,
        /// Rows that an earlier run has read, which was ended before it had copied all.
        rows: u64,
    },
    /// Rows of a first copy were read.
    SnapshotProgress {
        /// The flow.
        flow: String,
        /// Rows read so far.
        rows: u64,
        /// How many rows the server believes the table has.
        estimated_rows: Option<u64>,
    },
    /// A window is being read and merged.
    WindowStarted {
        /// The flow.
        flow: String,
        /// The window.
        window: LsnRange,
    },
    /// Waiting until the capture job has written a commit that the flow can stop at.
    WaitingForCapture {
        /// The flow.
        flow: String,
    },
    /// A copy or a window was committed.
    Committed {
        /// What was copied; `None` for a window.
        copy: Option<CopyKind>,
        /// The flow.
        flow: String,
        /// The window; `None` for a copy.
        window: Option<LsnRange>,
        /// The commit LSN that the target holds now.
        upto: Lsn,
        /// The rows that changed.
        rows: RowCounts,
        /// The target's version; `None` if no row changed and no checkpoint had to move.
        version: Option<u64>,
        /// How long it took, from the look at the source on.
        elapsed: Duration,
        /// What was not as it is expected.
        violations: Vec<Violations>,
        /// Whether another window of the same cycle follows.
        more: bool,
    },
    /// Another writer committed first; the flow begins again.
    Conflict {
        /// The flow.
        flow: String,
        /// How often it has tried, from 1.
        attempt: u32,
    },
    /// Something failed that passes by itself; the flow begins again after a pause.
    Retrying {
        /// The flow.
        flow: String,
        /// What failed.
        reason: String,
        /// How long it waits.
        pause: Duration,
    },
    /// Changes that the flow needs are lost; it goes over the gap.
    Gap {
        /// The flow.
        flow: String,
        /// How.
        policy: OnGap,
        /// Why there is a gap.
        reason: String,
    },
    /// A flow that is followed has failed for good; the others go on.
    Stopped {
        /// The flow.
        flow: String,
        /// What failed.
        reason: String,
    },
    /// The table of a flow that is followed was maintained.
    Maintained {
        /// The flow.
        flow: String,
        /// What was done.
        report: Box<MaintenanceReport>,
    },
    /// The table of a flow that is followed could not be maintained; its flow goes on.
    MaintenanceFailed {
        /// The flow.
        flow: String,
        /// What failed.
        reason: String,
    },
    /// The flow has ended, well or not.
    Finished {
        /// The flow.
        flow: String,
    },
}

/// Receives the events of a run.
#[derive(Clone)]
pub struct Reporter(Arc<dyn Fn(Event) + Send + Sync>);

impl Reporter {
    /// A reporter that calls `receive` for every event.
    pub fn new(receive: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Tells `event`.
    pub fn report(&self, event: Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

/// How one flow of a run ended.
#[derive(Debug)]
pub struct FlowReport {
    /// The flow.
    pub flow: String,
    /// Its target, as named in the file.
    pub target: String,
    /// What happened.
    pub result: Result<FlowResult, Error>,
    /// How many commits were made, also before an error.
    pub commits: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a flow that did not fail has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum FlowResult {
    /// The table was copied.
    Copied {
        /// What was copied.
        kind: CopyKind,
        /// The commit.
        commit: CommitOutcome,
        /// The LSN that the copy is exact at.
        upto: Lsn,
        /// What was not as it is expected.
        violations: Vec<Violations>,
    },
    /// Changes were applied, in one window or in several that follow one another.
    Applied {
        /// The last commit.
        commit: CommitOutcome,
        /// The rows that changed in all of them.
        rows: RowCounts,
        /// From the start of the first to the end of the last.
        window: LsnRange,
        /// How many there were.
        windows: u64,
        /// What was not as it is expected in all of them.
        violations: Vec<Violations>,
    },
    /// Nothing was new, and nothing was committed.
    UpToDate {
        /// The LSN that the target holds.
        at: Lsn,
        /// The target's version.
        version: u64,
    },
}

impl FlowResult {
    /// What both have done, of which `next` came after.
    pub(super) fn and_then(self, next: Self) -> Self {
        match (self, next) {
            (
                Self::Applied {
                    rows,
                    window: first,
                    windows,
                    violations,
                    ..
                },
                Self::Applied {
                    commit,
                    rows: more,
                    window: last,
                    windows: further,
                    violations: others,
                },
            ) => Self::Applied {
                violations: sum(violations, others),
                commit,
                rows: rows.plus(more),
                window: LsnRange::new(first.after(), last.upto()).unwrap_or(last),
                windows: windows + further,
            },
            (done @ Self::Applied { .. }, Self::UpToDate { .. }) => done,
            (_, next) => next,
        }
    }
}

/// What both have counted of the same expectations; the newer ones, where they are not the same.
fn sum(mut violations: Vec<Violations>, others: Vec<Violations>) -> Vec<Violations> {
    let names = |violations: &[Violations]| {
        let names = violations.iter().map(|one| one.expectation.clone());
        names.collect::<Vec<_>>()
    };
    if names(&violations) != names(&others) {
        return others;
    }
    for (one, other) in violations.iter_mut().zip(others) {
        one.rows += other.rows;
    }
    violations
}
