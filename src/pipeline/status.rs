//! Where each flow stands, and its source.

use std::sync::Arc;

use super::bind::Pipeline;
use super::flow::Flow;
use super::look::{Job, look_for};
use crate::change::{Checkpoint, Commit, Lsn};
use crate::error::Error;
use crate::source::sqlserver::Health;

/// Changes that wait are counted up to this.
pub const MOST_ROWS_BEHIND: u32 = 100_001;

/// A commit of the source: its LSN, and its time in milliseconds since 1970-01-01T00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The LSN.
    pub lsn: Lsn,
    /// When the transaction ended.
    pub utc_ms: i64,
}

/// What a run would do for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowState {
    /// Nothing has been copied yet.
    NotCopied,
    /// The target holds all that was captured.
    UpToDate,
    /// Changes wait.
    Behind,
}

/// Where a flow stands.
#[derive(Debug)]
pub struct FlowStatus {
    /// The flow.
    pub flow: String,
    /// Where its target lies.
    pub location: String,
    /// The target's version; `None` if there is no table yet.
    pub version: Option<u64>,
    /// The last commit that the target holds.
    pub checkpoint: Option<Moment>,
    /// The newest commit that capture has reached.
    pub source: Option<Moment>,
    /// Seconds from that commit to the server's clock: how far capture may be behind. On an idle database an entry
    /// comes about every five minutes.
    pub capture_lag_s: Option<i64>,
    /// Seconds from the checkpoint's commit to the newest one: how far the target is behind capture.
    pub reader_lag_s: Option<i64>,
    /// Rows of changes that wait, counted up to [`MOST_ROWS_BEHIND`].
    pub rows_behind: Option<u64>,
    /// Hours of further commits until clean-up may delete what follows the checkpoint, by its retention or, where the
    /// login may not know that, by what the source still has.
    pub hours_to_purge: Option<f64>,
    /// What a run would do, or the error that it would end with.
    pub state: Result<FlowState, Error>,
}

impl Pipeline {
    /// Where every flow stands, in the order of the file; nothing is written.
    pub async fn status(&self) -> Vec<FlowStatus> {
        let mut statuses = Vec::with_capacity(self.flows().len());
        for flow in self.flows() {
            statuses.push(status_of(flow).await);
        }
        statuses
    }
}

async fn status_of(flow: &Arc<Flow>) -> FlowStatus {
    let mut status = FlowStatus {
        flow: flow.name.clone(),
        location: flow.declaration.location.clone(),
        version: None,
        checkpoint: None,
        source: None,
        capture_lag_s: None,
        reader_lag_s: None,
        rows_behind: None,
        hours_to_purge: None,
        state: Ok(FlowState::NotCopied),
    };
    let filled = fill(&mut status, flow).await;
    let placed = |error: Error| error.at(&flow.statement, flow.merge.target_span);
    status.state = filled.map_err(placed);
    status
}

/// Fills in what can be found out, up to the first error.
async fn fill(status: &mut FlowStatus, flow: &Arc<Flow>) -> Result<FlowState, Error> {
    let target = flow.declaration.open().await?;
    status.version = target.version();
    let checkpoint = target.checkpoint(&flow.key).await?;
    let health = flow.database.health().await?;
    let newest = health.head.as_ref().map(|head| &head.newest);
    if let Some(newest) = newest {
        let moment = moment(newest.lsn, newest.end_time_ms, &health).await?;
        status.source = Some(moment);
        status.capture_lag_s = Some((health.now_utc_ms - moment.utc_ms) / 1000);
    }
    if let Some(checkpoint) = &checkpoint {
        let moment = moment(checkpoint.lsn, checkpoint.end_time_ms, &health).await?;
        status.checkpoint = Some(moment);
        let behind = |source: Moment| (source.utc_ms - moment.utc_ms) / 1000;
        status.reader_lag_s = status.source.map(behind);
        status.hours_to_purge = hours_to_purge(checkpoint, &health);
    }
    let work = look_for(flow, None).await?;
    Ok(match work.job {
        Job::Copy { .. } | Job::Begin { .. } => FlowState::NotCopied,
        Job::Window { window, .. } => {
            let behind = flow.database.rows_in(&flow.table, window, MOST_ROWS_BEHIND);
            status.rows_behind = Some(behind.await?);
            FlowState::Behind
        }
        Job::Move { .. } | Job::Nothing { .. } => {
            status.rows_behind = Some(0);
            FlowState::UpToDate
        }
    })
}

/// The commit as an instant.
pub(super) async fn moment(lsn: Lsn, local_ms: i64, health: &Health) -> Result<Moment, Error> {
    let utc_ms = health.dates.utc_ms(lsn, local_ms).await?;
    Ok(Moment { lsn, utc_ms })
}

/// Clean-up counts back from the newest commit, in local time: a capture that stands still stops the purge too.
fn hours_to_purge(checkpoint: &Checkpoint, health: &Health) -> Option<f64> {
    const MS_PER_HOUR: f64 = 3_600_000.0;
    let head = health.head.as_ref()?;
    let end = |commit: &Commit| commit.end_time_ms;
    let left_ms = match health.retention_minutes {
        Some(minutes) => checkpoint.end_time_ms + minutes * 60_000 - end(&head.newest),
        None => checkpoint.end_time_ms - end(&head.oldest),
    };
    Some(left_ms.max(0) as f64 / MS_PER_HOUR)
}
