//! What a run would begin with.

use std::sync::Arc;

use super::super::changed::Changed;
use super::super::flow::Flow;
use super::super::gap::goes_over;
use super::super::look::{Job, Work, look_for};
use super::super::reconcile::Over;
use super::super::run::RunOptions;
use super::super::status::MOST_ROWS_BEHIND;
use super::super::step::{begins_on, first_window, keys_of, why_over};
use crate::change::{Commit, Lsn, LsnRange, OnGap};
use crate::error::Error;

/// What a run would begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedWork {
    /// A copy of the table.
    Copy {
        /// Why it goes over what the target has; `None` for a first copy.
        over: Option<&'static str>,
        /// The commit past which rows are read, and from which on the changes go with them.
        after: Lsn,
        /// How many rows the server counts, about.
        estimated_rows: Option<u64>,
        /// The columns that its chunks follow; none where the table is one chunk.
        chunks_by: Vec<String>,
        /// How many rows a chunk has at most.
        rows_per_chunk: u64,
        /// Whether chunks are read under SNAPSHOT isolation.
        reads_snapshots: bool,
        /// The changes that are lost before it.
        lost: Option<String>,
    },
    /// The rows of changed keys, which are read again for columns that their changes lacked, with all changes since.
    ChangedRows {
        /// The capture instance whose changes lacked them.
        capture_instance: String,
        /// Its changes.
        window: LsnRange,
        /// Their rows in the change table, counted up to [`MOST_ROWS_BEHIND`].
        rows: u64,
    },
    /// The changes in a window, which may be applied in parts.
    Changes {
        /// The window.
        window: LsnRange,
        /// Rows of the change table in it, counted up to [`MOST_ROWS_BEHIND`].
        rows: u64,
        /// Whether the flow begins with them.
        begins: bool,
        /// The changes that are lost before it.
        lost: Option<String>,
    },
    /// Nothing, before capture has come past the start of the capture instance.
    WaitForCapture,
    /// The checkpoint moves, and no row.
    Move {
        /// To this commit.
        upto: Lsn,
    },
    /// Nothing.
    Nothing,
}

/// What a run without options would begin with.
///
/// # Errors
/// What such a run would end with.
pub(super) async fn planned_work(flow: &Arc<Flow>) -> Result<PlannedWork, Error> {
    let work = match look_for(flow, None).await {
        Ok(work) => work,
        Err(lost) if goes_over(flow.declaration.on_gap, &lost) => {
            return over_gap(flow, lost.cause().to_string()).await;
        }
        Err(error) => return Err(error),
    };
    let options = RunOptions::default();
    if !work.is_of_own_target() {
        flow.growth.check_types()?;
    } else if !flow.growth.added.is_empty() {
        let over = flow.over_new_columns();
        let _ = keys_of(flow, over)?;
        if over == Over::ChangedRows {
            return changed_rows(flow, &work).await;
        }
        let newest = flow.database.head().await?.map(|head| head.newest);
        return copy(flow, newest, Some(text_of(over)), None).await;
    }
    if let Job::Copy { over, .. } = &work.job
        && let Some(Over::ChangedRows) = why_over(flow, &work.target, over.as_ref(), None, options)?
    {
        let _ = keys_of(flow, Over::ChangedRows)?;
        return changed_rows(flow, &work).await;
    }
    match work.job {
        Job::Copy { newest, over } => {
            let why = why_over(flow, &work.target, over.as_ref(), None, options)?;
            if let Some(why) = why {
                let _ = keys_of(flow, why)?;
            }
            copy(flow, newest, why.map(text_of), None).await
        }
        Job::Begin { newest } => {
            begins_on(flow, &work.target, options)?;
            let reached = newest.filter(|newest| newest.lsn >= flow.table.earliest_after());
            let Some(ceiling) = reached else {
                return Ok(PlannedWork::WaitForCapture);
            };
            let (window, _) = first_window(flow, ceiling).await?;
            changes(flow, window, true, None).await
        }
        Job::Window { window, .. } => changes(flow, window, false, None).await,
        Job::Move { ceiling, .. } => Ok(PlannedWork::Move { upto: ceiling.lsn }),
        Job::Nothing { .. } => Ok(PlannedWork::Nothing),
    }
}

/// What a run would do about changes that are lost.
async fn over_gap(flow: &Flow, lost: String) -> Result<PlannedWork, Error> {
    let newest = flow.database.head().await?.map(|head| head.newest);
    if flow.declaration.on_gap == OnGap::Resnapshot {
        let _ = keys_of(flow, Over::Gap)?;
        return copy(flow, newest, Some(text_of(Over::Gap)), Some(lost)).await;
    }
    let first = flow.database.minimum(&flow.table).await?;
    let after = first.decrement().unwrap_or(Lsn::ZERO);
    let window = newest.and_then(|newest| LsnRange::new(after, newest.lsn));
    match window {
        Some(window) => changes(flow, window, false, Some(lost)).await,
        None => Ok(PlannedWork::WaitForCapture),
    }
}

async fn copy(
    flow: &Flow,
    newest: Option<Commit>,
    over: Option<&'static str>,
    lost: Option<String>,
) -> Result<PlannedWork, Error> {
    let after = newest.map(|commit| commit.lsn).unwrap_or_default();
    let after = after.max(flow.table.earliest_after());
    let chunks = flow
        .database
        .table_chunks(&flow.table, &flow.columns, after, None);
    let chunks = chunks.await?;
    let names = chunks.key_names().into_iter();
    Ok(PlannedWork::Copy {
        over,
        after,
        estimated_rows: chunks.estimated_rows(),
        chunks_by: names.map(str::to_string).collect(),
        rows_per_chunk: chunks.rows_per_chunk(),
        reads_snapshots: chunks.reads_snapshots(),
        lost,
    })
}

async fn changed_rows(flow: &Flow, work: &Work) -> Result<PlannedWork, Error> {
    let checkpoint = work.checkpoint();
    let checkpoint = checkpoint.ok_or(Error::Internal("changed rows of a target without any"))?;
    let changed = Changed::of(flow, &work.target, checkpoint).await?;
    changed.check_chunks(flow, checkpoint.lsn).await?;
    let (instance, window) = (changed.instance(), changed.window());
    let rows = match window.is_empty() {
        true => 0,
        false => {
            let counted = flow.database.rows_in(instance, window, MOST_ROWS_BEHIND);
            counted.await?
        }
    };
    Ok(PlannedWork::ChangedRows {
        capture_instance: instance.capture_instance().to_string(),
        window,
        rows,
    })
}

async fn changes(
    flow: &Flow,
    window: LsnRange,
    begins: bool,
    lost: Option<String>,
) -> Result<PlannedWork, Error> {
    let rows = match window.is_empty() {
        true => 0,
        false => {
            let counted = flow.database.rows_in(&flow.table, window, MOST_ROWS_BEHIND);
            counted.await?
        }
    };
    Ok(PlannedWork::Changes {
        window,
        rows,
        begins,
        lost,
    })
}

fn text_of(over: Over) -> &'static str {
    match over {
        Over::Gap => "changes are lost",
        Over::Asked => "it is asked for",
        Over::Foreign => "it takes the target over",
        Over::NewColumns | Over::ChangedRows => "the target gets new columns",
        Over::Comparison => "it is compared",
    }
}
