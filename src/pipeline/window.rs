//! Which window a flow is to read next, and whether the source's history is still the one it left.

use std::time::Duration;

use super::event::{Event, Reporter};
use super::flow::Flow;
use crate::change::{Checkpoint, Commit, Lsn, LsnRange};
use crate::error::Error;

/// How long a run waits for the capture job's first entry, and for one past a new capture instance's start.
///
/// On an idle database the job writes an entry about every five minutes.
const CAPTURE_WAIT: Duration = Duration::from_secs(330);
/// Pause between two looks at `cdc.lsn_time_mapping`.
const CAPTURE_POLL: Duration = Duration::from_millis(500);

/// A checkpoint that is less behind than this, in milliseconds, stays where it is: no clean-up is so eager.
const YOUNG_MS: i64 = 10 * 60 * 1000;

/// What there is to do for a flow.
#[derive(Debug)]
pub(super) enum Next {
    /// The window's changes are to be applied.
    Window { window: LsnRange, upto: Commit },
    /// The target already holds everything.
    Nothing { at: Lsn },
    /// The target holds everything, and its checkpoint is about to fall out of the source's history, or to wait at a
    /// capture instance that has a successor.
    Idle { upto: Commit },
}

/// The window after `checkpoint` up to `ceiling`, if it holds changes of the flow's table.
pub(super) async fn next_window(
    flow: &Flow,
    checkpoint: &Checkpoint,
    ceiling: Option<&Commit>,
) -> Result<Next, Error> {
    let ceiling = same_history(flow, checkpoint, ceiling).await?;
    let Some(window) = LsnRange::new(checkpoint.lsn, ceiling.lsn) else {
        return Err(history_replaced(
            flow,
            checkpoint,
            "the newest commit of the source is older",
        ));
    };
    if window.is_empty() || !flow.database.has_changes(&flow.table, window).await? {
        let passes = reaches_newest(flow, checkpoint, ceiling);
        return Ok(if passes || is_aging(flow, checkpoint, ceiling).await? {
            let upto = ceiling.clone();
            Next::Idle { upto }
        } else {
            let at = checkpoint.lsn;
            Next::Nothing { at }
        });
    }
    Ok(Next::Window {
        window,
        upto: ceiling.clone(),
    })
}

/// True when the flow leaves an older capture instance for the newest by moving to `ceiling`. The checkpoint of a table
/// that does not change would otherwise need the older one for good, and end with it.
fn reaches_newest(flow: &Flow, checkpoint: &Checkpoint, ceiling: &Commit) -> bool {
    checkpoint.lsn < flow.newest_after && flow.newest_after <= ceiling.lsn
}

/// True when the source has moved on so far that its clean-up may soon pass `checkpoint`: a table that does
/// not change would then look like one whose changes were lost.
async fn is_aging(flow: &Flow, checkpoint: &Checkpoint, ceiling: &Commit) -> Result<bool, Error> {
    let age = ceiling.end_time_ms - checkpoint.end_time_ms;
    if age < YOUNG_MS {
        return Ok(false);
    }
    let oldest = flow.database.oldest_commit().await?;
    let history = oldest.map_or(0, |oldest| ceiling.end_time_ms - oldest.end_time_ms);
    Ok(age >= history / 2)
}

/// Refuses to go on where the source is not the one that the checkpoint was taken from.
///
/// A checkpoint is always an existing row of `cdc.lsn_time_mapping`; the same LSN with another time or
/// another `tran_id`, or its absence from a history that reaches back further, is another history.
async fn same_history<'a>(
    flow: &Flow,
    checkpoint: &Checkpoint,
    ceiling: Option<&'a Commit>,
) -> Result<&'a Commit, Error> {
    let Some(ceiling) = ceiling else {
        return Err(history_replaced(
            flow,
            checkpoint,
            "the source has no commits at all",
        ));
    };
    match flow.database.commit_at(checkpoint.lsn).await? {
        Some(commit) if commit.end_time_ms != checkpoint.end_time_ms => Err(history_replaced(
            flow,
            checkpoint,
            "the source has that commit with another time",
        )),
        Some(commit)
            if checkpoint
                .tran_id
                .as_ref()
                .is_some_and(|expected| *expected != commit.tran_id_hex()) =>
        {
            Err(history_replaced(
                flow,
                checkpoint,
                "the source has another transaction at that LSN",
            ))
        }
        Some(_) => Ok(ceiling),
        None => {
            let oldest = flow.database.oldest_commit().await?;
            if oldest.is_some_and(|oldest| oldest.lsn <= checkpoint.lsn) {
                return Err(history_replaced(
                    flow,
                    checkpoint,
                    "the source's history reaches back further but does not have that commit",
                ));
            }
            Ok(ceiling)
        }
    }
}

fn history_replaced(flow: &Flow, checkpoint: &Checkpoint, reason: &'static str) -> Error {
    Error::HistoryReplaced {
        flow: flow.name.clone(),
        location: flow.declaration.location.clone(),
        database: flow.database.shown_name(),
        lsn: checkpoint.lsn,
        reason,
    }
}

/// The newest commit at or past `floor`, waiting for the capture job within a bound.
pub(super) async fn commit_past(
    flow: &Flow,
    floor: Lsn,
    reporter: &Reporter,
) -> Result<Commit, Error> {
    let deadline = tokio::time::Instant::now() + CAPTURE_WAIT;
    let mut told = false;
    loop {
        if let Some(commit) = flow.database.ceiling().await?
            && commit.lsn >= floor
        {
            return Ok(commit);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Error::CaptureNotRunning {
                flow: flow.name.clone(),
                database: flow.database.shown_name(),
                floor,
                waited: CAPTURE_WAIT,
            });
        }
        if !told {
            reporter.report(Event::WaitingForCapture {
                flow: flow.name.clone(),
            });
            told = true;
        }
        tokio::time::sleep(CAPTURE_POLL).await;
    }
}
