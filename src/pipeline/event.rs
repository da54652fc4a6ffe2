//! What a run tells while it goes on, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::change::{Lsn, LsnRange};
use crate::error::Error;
use crate::sink::delta::CommitOutcome;

/// A step of a run, for people to watch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The first copy of a table begins.
    SnapshotStarted {
        /// The flow.
        flow: String,
        /// The source table, as `schema.table`.
        table: String,
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
    /// How long it took.
    pub elapsed: Duration,
}

/// What a flow that did not fail has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum FlowResult {
    /// The table was copied for the first time.
    Copied {
        /// The commit.
        commit: CommitOutcome,
        /// The LSN that the copy is exact at.
        upto: Lsn,
    },
    /// A window of changes was applied.
    Applied {
        /// The commit.
        commit: CommitOutcome,
        /// The window.
        window: LsnRange,
    },
    /// Nothing was new, and nothing was committed.
    UpToDate {
        /// The LSN that the target holds.
        at: Lsn,
        /// The target's version.
        version: u64,
    },
}
