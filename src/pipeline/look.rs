//! One look at a connection's database for its flows: what each of them has to do.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::flow::{Flow, Start};
use super::window::{Next, history_replaced, next_window};
use crate::change::{Checkpoint, Commit, Gap, LsnRange};
use crate::error::Error;
use crate::sink::delta::DeltaTarget;
use crate::source::sqlserver::{Asked, Head, News};

/// How many targets are opened at once.
const TARGETS_AT_ONCE: usize = 8;

/// What a flow has to do, by the version of its target that is loaded.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) target: DeltaTarget,
    pub(super) job: Job,
    /// Whether the flow can read a newer capture instance once that is done.
    pub(super) rebinds: bool,
    /// Whether the source's table may have other columns than when the flow was bound.
    pub(super) is_altered: bool,
    /// The changes that are missed by it.
    pub(super) gap: Option<Gap>,
}

impl Work {
    /// Where the target stands.
    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        match &self.job {
            Job::Copy { over, .. } => over.as_ref(),
            Job::Begin { .. } => None,
            Job::Window { checkpoint, .. }
            | Job::Move { checkpoint, .. }
            | Job::Nothing { checkpoint } => Some(checkpoint),
        }
    }

    /// Whether the target has the flow's checkpoint.
    pub(super) fn is_of_own_target(&self) -> bool {
        !matches!(self.job, Job::Copy { over: None, .. } | Job::Begin { .. })
    }
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Job {
    /// A copy of the table in a database whose newest commit this is; the first, or `over` what the target holds up to a
    /// checkpoint.
    Copy {
        newest: Option<Commit>,
        over: Option<Checkpoint>,
    },
    /// The first changes of a flow that begins without a copy, up to the newest commit of its database.
    Begin { newest: Option<Commit> },
    /// The changes in a window, which may be applied in parts; `ceiling` is the commit at its end.
    Window {
        checkpoint: Checkpoint,
        window: LsnRange,
        ceiling: Commit,
    },
    /// No change, but the checkpoint moves to `ceiling`.
    Move {
        checkpoint: Checkpoint,
        ceiling: Commit,
    },
    /// The target holds everything.
    Nothing { checkpoint: Checkpoint },
}

/// A flow's target and checkpoint, read before the source is asked: so the source is never older than they are.
struct Standing {
    target: DeltaTarget,
    checkpoint: Option<Checkpoint>,
}

/// What each of `flows` has to do, which read one database; up to `ceiling`, or to its newest commit.
///
/// # Errors
/// The outer one concerns all: the database cannot be asked.
pub(super) async fn look(
    flows: &[Arc<Flow>],
    ceiling: Option<&Commit>,
) -> Result<Vec<Result<Work, Error>>, Error> {
    let Some(first) = flows.first() else {
        return Ok(Vec::new());
    };
    let standings = stream::iter(flows.iter().cloned().map(stand));
    let standings: Vec<_> = standings.buffered(TARGETS_AT_ONCE).collect().await;
    let head = first.database.head().await?;
    let Some(head) = head else {
        let works = flows.iter().zip(standings);
        return Ok(works
            .map(|(flow, standing)| without_head(flow, standing?))
            .collect());
    };
    let ceiling = ceiling.unwrap_or(&head.newest);
    let mut news = news_of(flows, &standings, ceiling).await?.into_iter();
    let works = flows.iter().zip(standings).map(|(flow, standing)| {
        let Standing { target, checkpoint } = standing?;
        let Some(checkpoint) = checkpoint else {
            return Ok(beginning(flow, target, Some(ceiling.clone())));
        };

        let news = news
            .next()
            .unwrap_or_else(|| Err(Error::Internal("a table was not asked for its changes")));
        let news = news?;
        let rebinds = rebinds(flow, &checkpoint, &news);
        let is_altered = news.is_altered(&flow.table);
        let over = checkpoint.clone();
        // The source is the flow's own, and has all changes since the checkpoint, whatever is done now.
        let job = job(flow, checkpoint, &head, ceiling, news)?;
        if target.lacks_backfill() {
            return Ok(Work {
                is_altered,
                ..backfill(target, ceiling, over)
            });
        }
        Ok(Work {
            target,
            job,
            rebinds,
            is_altered,
            gap: None,
        })
    });
    Ok(works.collect())
}

/// As [`look`], for one flow.
pub(super) async fn look_for(flow: &Arc<Flow>, ceiling: Option<&Commit>) -> Result<Work, Error> {
    let mut works = look(std::slice::from_ref(flow), ceiling).await?;
    works
        .pop()
        .unwrap_or(Err(Error::Internal("a flow was not looked for")))
}

async fn stand(flow: Arc<Flow>) -> Result<Standing, Error> {
    let target = flow.declaration.open().await?;
    let checkpoint = target.checkpoint(&flow.key).await?;
    Ok(Standing { target, checkpoint })
}

fn without_head(flow: &Flow, standing: Standing) -> Result<Work, Error> {
    match &standing.checkpoint {
        Some(checkpoint) => {
            let reason = "the source has no commits at all";
            Err(history_replaced(flow, checkpoint, reason))
        }
        None => Ok(beginning(flow, standing.target, None)),
    }
}

/// A copy over what a target has that got new columns.
fn backfill(target: DeltaTarget, newest: &Commit, over: Checkpoint) -> Work {
    Work {
        target,
        job: Job::Copy {
            newest: Some(newest.clone()),
            over: Some(over),
        },
        rebinds: false,
        is_altered: false,
        gap: None,
    }
}

/// What a flow does that has no checkpoint.
fn beginning(flow: &Flow, target: DeltaTarget, newest: Option<Commit>) -> Work {
    let job = match flow.start {
        Start::Copy => Job::Copy { newest, over: None },
        Start::Now | Start::From(_) => Job::Begin { newest },
    };
    Work {
        target,
        job,
        rebinds: false,
        is_altered: false,
        gap: None,
    }
}

/// The news for each flow with a checkpoint, in their order.
async fn news_of(
    flows: &[Arc<Flow>],
    standings: &[Result<Standing, Error>],
    ceiling: &Commit,
) -> Result<Vec<Result<News, Error>>, Error> {
    let asked = flows.iter().zip(standings);
    let asked = asked.filter_map(|(flow, standing)| {
        let checkpoint = standing.as_ref().ok()?.checkpoint.as_ref()?;
        Some(Asked {
            table: &flow.table,
            after: checkpoint.lsn,
        })
    });
    let asked: Vec<_> = asked.collect();
    let (Some(first), false) = (flows.first(), asked.is_empty()) else {
        return Ok(Vec::new());
    };
    let news = first.database.news(&asked, ceiling.lsn).await?;
    Ok(news
        .into_iter()
        .map(|news| news.map_err(Error::from))
        .collect())
}

fn rebinds(flow: &Flow, checkpoint: &Checkpoint, news: &News) -> bool {
    let newest = news.newest_instance.unwrap_or(flow.newest_instance);
    let is_old = flow.table.instance_id() != newest && checkpoint.lsn >= flow.newest_after;
    newest != flow.newest_instance || is_old
}

fn job(
    flow: &Flow,
    checkpoint: Checkpoint,
    head: &Head,
    ceiling: &Commit,
    news: News,
) -> Result<Job, Error> {
    Ok(match next_window(flow, &checkpoint, head, ceiling, news)? {
        Next::Window(window) => Job::Window {
            checkpoint,
            window,
            ceiling: ceiling.clone(),
        },
        Next::Idle => Job::Move {
            checkpoint,
            ceiling: ceiling.clone(),
        },
        Next::Nothing => Job::Nothing { checkpoint },
    })
}
