//! Which window a flow is to read next, and whether the source's history is still the one it left.

use super::flow::Flow;
use crate::change::{Checkpoint, Commit, LsnRange};
use crate::error::Error;
use crate::source::sqlserver::{Head, News, SourceError};

/// A checkpoint that is less behind than this, in milliseconds, stays where it is: no clean-up is so eager.
const YOUNG_MS: i64 = 10 * 60 * 1000;
/// Where a checkpoint has become older than this part of the source's history, it moves.
const AGED_PART: i64 = 4;

/// What there is to do for a flow that has a checkpoint.
#[derive(Debug)]
pub(super) enum Next {
    /// There are changes between the checkpoint and the ceiling.
    Window(LsnRange),
    /// The target already holds everything.
    Nothing,
    /// The target holds everything, and its checkpoint is about to fall out of the source's history, or to wait at a
    /// capture instance that has a successor.
    Idle,
}

/// What there is between `checkpoint` and `ceiling`, by what the source says of itself and of the flow's table.
///
/// # Errors
/// The source's history is another one, or does not reach back to the checkpoint.
pub(super) fn next_window(
    flow: &Flow,
    checkpoint: &Checkpoint,
    head: &Head,
    ceiling: &Commit,
    news: News,
) -> Result<Next, Error> {
    same_history(flow, checkpoint, head, &news)?;
    let Some(window) = LsnRange::new(checkpoint.lsn, ceiling.lsn) else {
        // Another run has gone further.
        return Ok(Next::Nothing);
    };
    news.check(&flow.table, window)?;
    if news.first_change.is_some() {
        return Ok(Next::Window(window));
    }
    let moves = reaches_newest(flow, checkpoint, ceiling) || is_aging(checkpoint, head, ceiling);
    Ok(if moves { Next::Idle } else { Next::Nothing })
}

/// True when the flow leaves an older capture instance for the newest by moving to `ceiling`. The checkpoint of a table
/// that does not change would otherwise need the older one for good, and end with it.
fn reaches_newest(flow: &Flow, checkpoint: &Checkpoint, ceiling: &Commit) -> bool {
    checkpoint.lsn < flow.newest_after && flow.newest_after <= ceiling.lsn
}

/// True when the source has moved on so far that its clean-up may soon pass `checkpoint`: a table that does
/// not change would then look like one whose changes were lost.
fn is_aging(checkpoint: &Checkpoint, head: &Head, ceiling: &Commit) -> bool {
    let age = ceiling.end_time_ms - checkpoint.end_time_ms;
    let history = ceiling.end_time_ms - head.oldest.end_time_ms;
    age >= YOUNG_MS && age >= history / AGED_PART
}

/// Refuses to go on where the source is not the one that the checkpoint was taken from.
///
/// A checkpoint is always an existing row of `cdc.lsn_time_mapping`; the same LSN with another time or
/// another `tran_id`, or its absence from a history that reaches back further, is another history.
fn same_history(
    flow: &Flow,
    checkpoint: &Checkpoint,
    head: &Head,
    news: &News,
) -> Result<(), Error> {
    let replaced = |reason| Err(history_replaced(flow, checkpoint, reason));
    let Some(commit) = &news.anchor else {
        let visible = news.visible().min(head.newest.lsn);
        if visible < checkpoint.lsn {
            // One that has said more already, or that may not be written to, is a replica that is behind.
            return match head.is_replica || visible < head.newest.lsn {
                true => Err(Error::from(SourceError::Behind {
                    upto: checkpoint.lsn,
                    visible,
                })),
                false => replaced("the newest commit of the source is older"),
            };
        }
        if head.oldest.lsn <= checkpoint.lsn {
            return replaced(
                "the source's history reaches back further but does not have that commit",
            );
        }
        return Ok(());
    };
    if commit.end_time_ms != checkpoint.end_time_ms {
        return replaced("the source has that commit with another time");
    }
    let expected = checkpoint.tran_id.as_ref();
    if expected.is_some_and(|expected| *expected != commit.tran_id_hex()) {
        return replaced("the source has another transaction at that LSN");
    }
    Ok(())
}

pub(super) fn history_replaced(
    flow: &Flow,
    checkpoint: &Checkpoint,
    reason: &'static str,
) -> Error {
    Error::HistoryReplaced {
        flow: flow.name.clone(),
        location: flow.declaration.location.clone(),
        database: flow.database.shown_name(),
        lsn: checkpoint.lsn,
        reason,
    }
}
