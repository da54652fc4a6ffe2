//! The loop: one window, one execution, one commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;
use futures::{StreamExt, stream};

use super::bind::Pipeline;
use super::event::{Event, FlowReport, FlowResult, Reporter};
use super::flow::Flow;
use super::look::{Job, Work, look, look_for};
use super::reconcile::{Reconciled, reconcilable};
use super::window::commit_past;
use crate::change::{Checkpoint, Commit, Gap, Lsn, LsnRange};
use crate::engine::{Again, Overlay, Tries};
use crate::error::Error;
use crate::sink::delta::{CommitOutcome, DeltaTableProvider, DeltaTarget, FlowCommit};
use crate::source::sqlserver::{ProgressFn, WindowLimits};

/// How many flows are at work at once; the others wait.
pub(super) const FLOWS_AT_ONCE: usize = 4;

/// How often a run of a flow finds changes lost before it fails.
const MOST_LOSSES: u32 = 3;

/// How a pipeline is run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// How much one window, and so one commit, may hold.
    pub limits: WindowLimits,
    /// Whether a flow whose target has no checkpoint copies its table; it fails otherwise.
    pub copies: bool,
}

impl RunOptions {
    /// The default of [`WindowLimits::rows`].
    pub const WINDOW_ROWS: u32 = 1_000_000;
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            limits: WindowLimits {
                rows: Self::WINDOW_ROWS,
                transactions: None,
            },
            copies: true,
        }
    }
}

/// What a step of a flow has done.
struct Step {
    result: FlowResult,
    /// The commit that the flow's cycle ends at, if it has not come so far.
    rest: Option<Commit>,
}

impl Pipeline {
    /// Brings every flow up to the newest commit that its source has now, some flows at once, and reports how each
    /// ended, in the order of the file.
    ///
    /// A flow that fails leaves its target as it was and does not hold the others.
    pub async fn run(&self, options: RunOptions, reporter: &Reporter) -> Vec<FlowReport> {
        let mut works = self.look_at_all().await;
        let flows = self.flows().iter().enumerate().map(|(place, flow)| {
            let work = works.remove(&place);
            let mut flow = Arc::clone(flow);
            async move {
                let report = self.run_flow(&mut flow, work, options, reporter);
                (place, report.await)
            }
        });
        let flows: Vec<_> = flows.collect();
        let mut reports: Vec<_> = stream::iter(flows)
            .buffer_unordered(FLOWS_AT_ONCE)
            .collect()
            .await;
        reports.sort_by_key(|(place, _)| *place);
        reports.into_iter().map(|(_, report)| report).collect()
    }

    /// What each flow has to do, by its place; connections are asked at once. One that cannot be asked is asked again
    /// by its flows.
    async fn look_at_all(&self) -> BTreeMap<usize, Result<Work, Error>> {
        let mut connections: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, flow) in self.flows().iter().enumerate() {
            connections.entry(&flow.connection).or_default().push(place);
        }
        let looks = connections.into_values().map(async |places| {
            let flows = places.iter().map(|place| Arc::clone(&self.flows()[*place]));
            let works = look(&flows.collect::<Vec<_>>(), None).await;
            places.into_iter().zip(works.unwrap_or_default())
        });
        let looks = futures::future::join_all(looks).await;
        looks.into_iter().flatten().collect()
    }

    /// Brings a flow up to the newest commit of its source, beginning with `work` if that is known.
    ///
    /// Where its capture instance is gone, `flow` is bound to the one that is there now.
    pub(super) async fn run_flow(
        &self,
        flow: &mut Arc<Flow>,
        work: Option<Result<Work, Error>>,
        options: RunOptions,
        reporter: &Reporter,
    ) -> FlowReport {
        let started = Instant::now();
        let mut commits = 0;
        let steps = self.steps(flow, work, options, reporter, &mut commits);
        let result = steps.await;
        reporter.report(Event::Finished {
            flow: flow.name.clone(),
        });
        FlowReport {
            flow: flow.name.clone(),
            target: flow.target.table.to_string(),
            result: result.map_err(|error| error.at(&flow.statement, flow.merge.target_span)),
            commits,
            elapsed: started.elapsed(),
        }
    }

    async fn steps(
        &self,
        flow: &mut Arc<Flow>,
        mut work: Option<Result<Work, Error>>,
        options: RunOptions,
        reporter: &Reporter,
        commits: &mut u64,
    ) -> Result<FlowResult, Error> {
        let name = flow.name.clone();
        let tell = |again: Again<'_>| reporter.report(event_of(&name, &again));
        let mut losses = 0;
        let mut ceiling = None;
        let mut done: Option<FlowResult> = None;
        let mut tries = Tries::default();
        loop {
            let step = self.next_step(flow, work.take(), ceiling.as_ref(), options, reporter);
            let step = match step.await {
                Ok(step) => step,
                Err(error) => {
                    let next = match error.is_loss() {
                        true => self.after_loss(flow, error, &mut losses, reporter).await,
                        false => Err(error),
                    };
                    match next {
                        Ok(next) => work = next.map(Ok),
                        Err(error) => tries.pause_after(error, &tell).await?,
                    }
                    continue;
                }
            };
            tries = Tries::default();
            *commits += u64::from(!matches!(step.result, FlowResult::UpToDate { .. }));
            let result = match done {
                None => step.result,
                Some(done) => done.and_then(step.result),
            };
            if step.rest.is_none() {
                return Ok(result);
            }
            (ceiling, done) = (step.rest, Some(result));
        }
    }

    /// What a flow does next that has found changes `lost`; `None` if it can look again, since its table has another
    /// capture instance. `seen` is how often that was.
    async fn after_loss(
        &self,
        flow: &mut Arc<Flow>,
        lost: Error,
        seen: &mut u32,
        reporter: &Reporter,
    ) -> Result<Option<Work>, Error> {
        *seen += 1;
        if *seen == 1 {
            match self.bind_again(flow).await {
                Ok(fresh) => {
                    let is_other = fresh.table.instance_id() != flow.table.instance_id();
                    *flow = Arc::new(fresh);
                    if is_other {
                        return Ok(None);
                    }
                }
                Err(error) if error.is_transient() || error.is_of_storage() => {
                    *seen = 0;
                    return Err(error);
                }
                // What the flow itself has failed with says more.
                Err(_) => {}
            }
        }
        if *seen > MOST_LOSSES {
            return Err(lost);
        }
        self.over_gap(flow, lost, reporter).await.map(Some)
    }

    async fn next_step(
        &self,
        flow: &Arc<Flow>,
        work: Option<Result<Work, Error>>,
        ceiling: Option<&Commit>,
        options: RunOptions,
        reporter: &Reporter,
    ) -> Result<Step, Error> {
        let work = match work {
            Some(work) => work?,
            None => look_for(flow, ceiling).await?,
        };
        self.step(flow, work, options, reporter).await
    }

    async fn step(
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
                    .copy(flow, target, newest.as_ref(), (over, gap), reporter)
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
        let fence = commit_past(flow, start, reporter).await?;
        let window = LsnRange::new(start, fence.lsn).ok_or(Error::CaptureNotRunning {
            flow: flow.name.clone(),
            database: flow.database.shown_name(),
            floor: start,
            waited: std::time::Duration::ZERO,
        })?;
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

fn event_of(flow: &str, again: &Again<'_>) -> Event {
    let (flow, attempt) = (flow.to_string(), again.attempt);
    if again.error.is_conflict() {
        Event::Conflict { flow, attempt }
    } else {
        Event::Retrying {
            flow,
            reason: again.error.cause().to_string(),
            pause: again.pause,
        }
    }
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
