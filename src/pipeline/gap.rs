//! What a flow does where changes that it needs are lost.

use std::sync::Arc;
use std::time::Duration;

use super::bind::Pipeline;
use super::capture::commit_past;
use super::event::{Event, Reporter};
use super::flow::Flow;
use super::look::{Job, Work};
use crate::change::{Checkpoint, Commit, Gap, Lsn, LsnRange, OnGap};
use crate::error::Error;
use crate::sink::delta::{DeltaTarget, SinkError};

impl Pipeline {
    /// The work of a flow that goes over a gap, by its policy; `lost` is what it has failed with.
    ///
    /// # Errors
    /// `lost` itself, unless the flow's policy can do something about it.
    pub(super) async fn over_gap(
        &self,
        flow: &Arc<Flow>,
        lost: Error,
        capture_wait: Duration,
        reporter: &Reporter,
    ) -> Result<Work, Error> {
        let policy = flow.declaration.on_gap;
        if !goes_over(policy, &lost) {
            return Err(lost);
        }
        let target = flow.declaration.open().await?;
        let Some(checkpoint) = target.position(&flow.key).await? else {
            return Err(lost);
        };
        let gap = Gap {
            policy,
            after: checkpoint.lsn,
            upto: checkpoint.lsn,
            reason: lost.cause().to_string(),
        };
        reporter.report(Event::Gap {
            flow: flow.name.clone(),
            policy,
            reason: gap.reason.clone(),
        });
        match policy {
            OnGap::Resnapshot => copy_again(flow, target, checkpoint, gap).await,
            OnGap::Fail | OnGap::Continue => {
                let first = flow.database.minimum(&flow.table).await?;
                let after = first.decrement().unwrap_or(Lsn::ZERO);
                let ceiling = commit_past(flow, after, capture_wait, reporter).await?;
                Ok(go_on(target, checkpoint, gap, after, ceiling))
            }
        }
    }
}

/// Whether a run with this policy goes over what it has lost.
pub(super) fn goes_over(policy: OnGap, lost: &Error) -> bool {
    // Of a target that was replaced nobody knows what it has; no changes of the source can mend that.
    let is_targets = matches!(lost.cause(), Error::Sink(SinkError::TargetReplaced { .. }));
    lost.is_loss()
        && match policy {
            OnGap::Fail => false,
            OnGap::Resnapshot => true,
            OnGap::Continue => !is_targets,
        }
}

async fn copy_again(
    flow: &Flow,
    target: DeltaTarget,
    checkpoint: Checkpoint,
    gap: Gap,
) -> Result<Work, Error> {
    let newest = flow.database.head().await?.map(|head| head.newest);
    let upto = newest.as_ref().map_or(Lsn::ZERO, |newest| newest.lsn);
    Ok(Work {
        target,
        job: Job::Copy {
            newest,
            over: Some(checkpoint),
        },
        rebinds: false,
        is_altered: false,
        gap: Some(Gap { upto, ..gap }),
    })
}

/// A copy of the table over whatever the flow's target has, wherever it stands.
pub(super) async fn copy_anew(flow: &Flow) -> Result<Work, Error> {
    let target = flow.declaration.open().await?;
    let over = target.position(&flow.key).await?;
    let newest = flow.database.head().await?.map(|head| head.newest);
    Ok(Work {
        target,
        job: Job::Copy { newest, over },
        rebinds: false,
        is_altered: false,
        gap: None,
    })
}

/// Everything that the flow's capture instance still has: it begins past `after`.
fn go_on(
    target: DeltaTarget,
    checkpoint: Checkpoint,
    gap: Gap,
    after: Lsn,
    ceiling: Commit,
) -> Work {
    let job = match LsnRange::new(after, ceiling.lsn) {
        Some(window) => Job::Window {
            checkpoint,
            window,
            ceiling,
        },
        None => Job::Move {
            checkpoint,
            ceiling,
        },
    };
    Work {
        target,
        job,
        rebinds: false,
        is_altered: false,
        gap: Some(Gap { upto: after, ..gap }),
    }
}
