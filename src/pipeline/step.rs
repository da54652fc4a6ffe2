//! One step of a flow: one window, one execution of its SQL, one commit.

use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;

use super::bind::Pipeline;
use super::capture::fence;
use super::event::{Event, FlowResult, Reporter};
use super::flow::Flow;
use super::look::{Job, Work};
use super::reconcile::{Reconciled, reconcilable};
use super::run::RunOptions;
use crate::change::{Checkpoint, Commit, Gap, Lsn, LsnRange};
use crate::engine::Overlay;
use crate::error::Error;
use crate::sink::delta::{CommitOutcome, DeltaTableProvider, DeltaTarget, FlowCommit};
use crate::source::sqlserver::ProgressFn;

/// What a step of a flow has done.
pub(super) struct Step {
    pub(super) result: FlowResult,
    /// The commit that the flow's cycle ends at, if it has not come so far.
    pub(super) rest: Option<Commit>,
}

impl Pipeline {
    pub(super) async fn step(
        &self,
        flow: &Flow,
        work: Work,
        options: RunOptions,
        reporter: &Reporter,
    ) -> Result<Step, Error> {
        let started = Instant::now();
        let Work {
            target, job, gap, ..
        } = work;
        let version = target.version().unwrap_or_default();
        let step = match job {
            Job::Copy { over: None, .. } if !options.copies => {
                return Err(Error::TargetGone {
                    flow: flow.name.clone(),
                    location: flow.declaration.location.clone(),
                });
            }
            Job::Copy { newest, over } => Step {
                result: self
                    .copy(
                        flow,
                        target,
                        newest.as_ref(),
                        (over, gap),
                        options,
                        reporter,
                    )
                    .await?,
                rest: None,
            },
            Job::Window {
                checkpoint,
                window,
                ceiling,
            } => {
                let end = flow
                    .database
                    .window_end(&flow.table, window, options.limits);
                let (upto, rest) = match end.await? {
                    Some(end) => (end, Some(ceiling)),
                    None => (ceiling, None),
                };
                let window = LsnRange::new(window.after(), upto.lsn).unwrap_or(window);
                let from = (checkpoint, gap);
                let result = self.window(flow, target, from, window, &upto, reporter);
                Step {
                    result: result.await?,
                    rest,
                }
            }
            Job::Move {
                checkpoint,
                ceiling,
            } => Step {
                result: move_checkpoint(flow, &target, (checkpoint, gap), &ceiling).await?,
                rest: None,
            },
            Job::Nothing { checkpoint } => Step {
                result: FlowResult::UpToDate {
                    at: checkpoint.lsn,
                    version,
                },
                rest: None,
            },
        };
        if let Some(event) = committed(flow, &step, started) {
            reporter.report(event);
        }
        Ok(step)
    }

    async fn window(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        (checkpoint, gap): (Checkpoint, Option<Gap>),
        window: LsnRange,
        upto: &Commit,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        reporter.report(Event::WindowStarted {
            flow: flow.name.clone(),
            window,
        });
        let changes = flow.database.net_changes(&flow.table, window).await?;
        let commit = self
            .commit(
                flow,
                target,
                changes,
                commit_of(flow, (Some(checkpoint), gap), upto),
            )
            .await?;
        Ok(FlowResult::Applied {
            commit,
            rows: commit.rows(),
            window,
            windows: 1,
        })
    }

    /// Copies the table: L0, the rows, a fence past the end of the read, one commit at the fence.
    async fn copy(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        newest: Option<&Commit>,
        (over, gap): (Option<Checkpoint>, Option<Gap>),
        options: RunOptions,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        if over.is_none() && !target.is_empty() {
            return Err(Error::TargetNotEmpty {
                flow: flow.name.clone(),
                location: flow.declaration.location.clone(),
            });
        }
        target.prepare_folder().await?;
        let start = newest
            .map(|commit| commit.lsn)
            .unwrap_or_default()
            .max(flow.table.earliest_after());
        reporter.report(Event::SnapshotStarted {
            flow: flow.name.clone(),
            table: format!("{}.{}", flow.key.schema, flow.key.table),
        });
        let snapshot = flow
            .database
            .snapshot(&flow.table, progress_of(flow, reporter))
            .await?;
        let fence = fence(flow, start, options.capture_wait, reporter).await?;
        let window = LsnRange::new(start, fence.lsn)
            .ok_or(Error::Internal("the fence of a copy lies before its start"))?;
        let rows = flow
            .database
            .first_copy(&flow.table, snapshot, window, &fence)
            .await?;
        let rows = match &over {
            None => rows,
            Some(_) => reconciled(flow, &target, rows, fence.lsn).await?,
        };
        let commit = commit_of(flow, (over, gap), &fence);
        let commit = self.commit(flow, target, rows, commit).await?;
        Ok(FlowResult::Copied {
            commit,
            upto: fence.lsn,
        })
    }

    /// Executes the flow's SQL over `changes` and commits the result together with the checkpoint in `commit`.
    async fn commit(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        changes: Arc<dyn TableProvider>,
        commit: FlowCommit,
    ) -> Result<CommitOutcome, Error> {
        let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&flow.target_schema)))
            .await?
            .with_options(flow.declaration.options.clone())?
            .with_commit(commit);
        let provider = Arc::new(provider);
        let overlay = Overlay::default().with(&flow.stream, changes).with(
            &flow.target,
            Arc::clone(&provider) as Arc<dyn TableProvider>,
        );
        let (state, plan) = self
            .engine()
            .plan(&flow.statement, flow.kind(), overlay)
            .await?;
        self.engine().execute(state, plan, &flow.statement).await?;
        provider.outcome().ok_or_else(|| Error::NothingCommitted {
            flow: flow.name.clone(),
            location: flow.declaration.location.clone(),
        })
    }
}

/// The event of a step that has committed rows.
fn committed(flow: &Flow, step: &Step, started: Instant) -> Option<Event> {
    let (commit, window, upto) = match &step.result {
        FlowResult::Copied { commit, upto } => (commit, None, *upto),
        FlowResult::Applied { commit, window, .. } => (commit, Some(*window), window.upto()),
        FlowResult::UpToDate { .. } => return None,
    };
    Some(Event::Committed {
        flow: flow.name.clone(),
        window,
        upto,
        rows: commit.rows(),
        version: commit.version(),
        elapsed: started.elapsed(),
        more: step.rest.is_some(),
    })
}

/// What the commit of a flow says which goes from a checkpoint, or over a gap after it, to `upto`.
fn commit_of(
    flow: &Flow,
    (expected, gap): (Option<Checkpoint>, Option<Gap>),
    upto: &Commit,
) -> FlowCommit {
    FlowCommit {
        key: flow.key.clone(),
        expected,
        upto: Checkpoint::from(upto),
        gap,
    }
}

/// `copy`, and a delete for each key that only `target` has.
async fn reconciled(
    flow: &Flow,
    target: &DeltaTarget,
    copy: Arc<dyn TableProvider>,
    end: Lsn,
) -> Result<Arc<dyn TableProvider>, Error> {
    let keys = reconcilable(
        &flow.statement,
        &flow.merge,
        &flow.table,
        &flow.target_schema,
    )?;
    let target = DeltaTableProvider::try_new(target.clone(), None).await?;
    Ok(Arc::new(Reconciled {
        copy,
        target: Arc::new(target),
        keys,
        end,
    }))
}

/// Moves the checkpoint of a flow whose table has not changed, in a commit without rows.
async fn move_checkpoint(
    flow: &Flow,
    target: &DeltaTarget,
    (checkpoint, gap): (Checkpoint, Option<Gap>),
    upto: &Commit,
) -> Result<FlowResult, Error> {
    let commit = commit_of(flow, (Some(checkpoint), gap), upto);
    let outcome = target.commit_checkpoint(&commit).await?;
    Ok(FlowResult::UpToDate {
        at: upto.lsn,
        version: outcome.version().or(target.version()).unwrap_or_default(),
    })
}

fn progress_of(flow: &Flow, reporter: &Reporter) -> ProgressFn {
    let (name, reporter) = (flow.name.clone(), reporter.clone());
    Arc::new(move |progress| {
        reporter.report(Event::SnapshotProgress {
            flow: name.clone(),
            rows: progress.rows,
            estimated_rows: progress.estimated_rows,
        });
    })
}
