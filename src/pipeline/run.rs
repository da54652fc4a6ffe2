//! The loop: one window, one execution, one commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;

use super::bind::Pipeline;
use super::event::{Event, FlowReport, FlowResult, Reporter};
use super::flow::Flow;
use super::window::{Next, commit_past, next_window};
use crate::change::{Checkpoint, Commit, Lsn, LsnRange};
use crate::engine::{Again, Overlay, retried};
use crate::error::Error;
use crate::sink::delta::{CommitOutcome, DeltaTableProvider, DeltaTarget, FlowCommit};
use crate::source::sqlserver::ProgressFn;

/// The newest commit of each connection, read once for all its flows, and again for one that is further.
type Ceilings = HashMap<String, Option<Commit>>;

impl Pipeline {
    /// Runs every flow once, in the order of the file, and reports how each ended.
    ///
    /// A flow that fails leaves its target as it was and does not hold the others.
    pub async fn run(&self, reporter: &Reporter) -> Vec<FlowReport> {
        let mut ceilings = Ceilings::new();
        let mut reports = Vec::with_capacity(self.flows().len());
        for flow in self.flows() {
            let started = Instant::now();
            let result = self
                .run_flow(flow, &mut ceilings, reporter)
                .await
                .map_err(|error| error.at(&flow.statement, flow.merge.target_span));
            reporter.report(Event::Finished {
                flow: flow.name.clone(),
            });
            reports.push(FlowReport {
                flow: flow.name.clone(),
                target: flow.target.table.to_string(),
                result,
                elapsed: started.elapsed(),
            });
        }
        reports
    }

    async fn run_flow(
        &self,
        flow: &Flow,
        ceilings: &mut Ceilings,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        let tell = |again: Again<'_>| reporter.report(event_of(flow, &again));
        retried(tell, async || self.attempt(flow, ceilings, reporter).await).await
    }

    async fn attempt(
        &self,
        flow: &Flow,
        ceilings: &mut Ceilings,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        let target = flow.declaration.open().await?;
        let checkpoint = target.checkpoint(&flow.key).await?;
        let reached = checkpoint.as_ref().map(|checkpoint| checkpoint.lsn);
        let ceiling = ceiling(flow, ceilings, reached).await?;
        match checkpoint {
            None => self.first_copy(flow, target, ceiling, reporter).await,
            Some(checkpoint) => {
                let version = target.version().unwrap_or_default();
                match next_window(flow, &checkpoint, ceiling).await? {
                    Next::Nothing { at } => Ok(FlowResult::UpToDate { at, version }),
                    Next::Idle { upto } => move_checkpoint(flow, &target, checkpoint, &upto).await,
                    Next::Window { window, upto } => {
                        reporter.report(Event::WindowStarted {
                            flow: flow.name.clone(),
                            window,
                        });
                        let changes = flow.database.net_changes(&flow.table, window).await?;
                        let commit = self
                            .commit(flow, target, changes, Some(checkpoint), &upto)
                            .await?;
                        Ok(FlowResult::Applied { commit, window })
                    }
                }
            }
        }
    }

    /// Copies the table: L0, the rows, a fence past the end of the read, one commit at the fence.
    async fn first_copy(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        ceiling: Option<&Commit>,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        if !target.is_empty() {
            return Err(Error::TargetNotEmpty {
                flow: flow.name.clone(),
                location: flow.declaration.location.clone(),
            });
        }
        target.prepare_folder().await?;
        let start = ceiling
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
            .first_copy(&flow.table, snapshot, window)
            .await?;
        let commit = self.commit(flow, target, rows, None, &fence).await?;
        Ok(FlowResult::Copied {
            commit,
            upto: fence.lsn,
        })
    }

    /// Executes the flow's SQL over `changes` and commits the result together with `upto`.
    async fn commit(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        changes: Arc<dyn TableProvider>,
        expected: Option<Checkpoint>,
        upto: &Commit,
    ) -> Result<CommitOutcome, Error> {
        let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&flow.target_schema)))
            .await?
            .with_options(flow.declaration.options.clone())?
            .with_commit(FlowCommit {
                key: flow.key.clone(),
                expected,
                upto: Checkpoint::from(upto),
            });
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

/// The newest commit of the flow's connection; read again if the flow's target has `reached` past the one
/// that is known, as it may when another run is at work too.
async fn ceiling<'a>(
    flow: &Flow,
    ceilings: &'a mut Ceilings,
    reached: Option<Lsn>,
) -> Result<Option<&'a Commit>, Error> {
    let known = ceilings.get(&flow.connection).cloned().flatten();
    let known = known.filter(|known| reached.is_none_or(|reached| reached <= known.lsn));
    let ceiling = match known {
        Some(known) => Some(known),
        None => flow.database.ceiling().await?,
    };
    ceilings.insert(flow.connection.clone(), ceiling);
    Ok(ceilings.get(&flow.connection).and_then(Option::as_ref))
}

fn event_of(flow: &Flow, again: &Again<'_>) -> Event {
    let (flow, attempt) = (flow.name.clone(), again.attempt);
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

/// Moves the checkpoint of a flow whose table has not changed, in a commit without rows.
async fn move_checkpoint(
    flow: &Flow,
    target: &DeltaTarget,
    checkpoint: Checkpoint,
    upto: &Commit,
) -> Result<FlowResult, Error> {
    let commit = FlowCommit {
        key: flow.key.clone(),
        expected: Some(checkpoint),
        upto: Checkpoint::from(upto),
    };
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
