//! One step of a flow: one window, one execution of its SQL, one commit.

use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;

use super::adopt::settled;
use super::altered::check_columns;
use super::bind::Pipeline;
use super::capture::{commit_past, fence};
use super::changed::Changed;
use super::copy::{Extent, Standing, copied};
use super::event::{Event, FlowResult, Reporter};
use super::flow::{Flow, Start};
use super::kept::with_kept;
use super::look::{Job, Work};
use super::reconcile::{Keys, Over, reconcilable};
use super::rows::Rows;
use super::run::RunOptions;
use crate::change::{Checkpoint, Commit, Gap, LsnRange};
use crate::engine::{Overlay, Violations};
use crate::error::Error;
use crate::sink::delta::{Adopted, CommitOutcome, DeltaTableProvider, DeltaTarget, FlowCommit};
use crate::source::sqlserver::{Asked, CopiedRows, LargeValues, MissingValues};
use crate::sql::StatementKind;

/// What a step of a flow has done.
pub(super) struct Step {
    pub(super) result: FlowResult,
    /// The commit that the flow's cycle ends at, if it has not come so far.
    pub(super) rest: Option<Commit>,
}

/// What a commit has written, and what of it was not as it is expected.
pub(super) struct Written {
    pub(super) outcome: CommitOutcome,
    pub(super) violations: Vec<Violations>,
}

impl Pipeline {
    pub(super) async fn step(
        &self,
        flow: &Arc<Flow>,
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
            Job::Copy { over: None, .. } | Job::Begin { .. } if !options.copies => {
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
            Job::Begin { newest } => {
                let (window, ceiling) = begin(flow, &target, newest, options, reporter).await?;
                let from = (None, gap);
                self.part(flow, target, from, (window, ceiling), options, reporter)
                    .await?
            }
            Job::Window {
                checkpoint,
                window,
                ceiling,
            } => {
                let from = (Some(checkpoint), gap);
                self.part(flow, target, from, (window, ceiling), options, reporter)
                    .await?
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

    /// As much of a window as its limits allow; it ends at `ceiling`.
    async fn part(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        from: (Option<Checkpoint>, Option<Gap>),
        (window, ceiling): (LsnRange, Commit),
        options: RunOptions,
        reporter: &Reporter,
    ) -> Result<Step, Error> {
        let end = flow
            .database
            .window_end(&flow.table, window, options.limits);
        let end = if window.is_empty() { None } else { end.await? };
        let (upto, rest) = match end {
            Some(end) => (end, Some(ceiling)),
            None => (ceiling, None),
        };
        let window = LsnRange::new(window.after(), upto.lsn).unwrap_or(window);
        let result = self.window(flow, target, from, window, &upto, reporter);
        Ok(Step {
            result: result.await?,
            rest,
        })
    }

    async fn window(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        from: (Option<Checkpoint>, Option<Gap>),
        window: LsnRange,
        upto: &Commit,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        reporter.report(Event::WindowStarted {
            flow: flow.name.clone(),
            window,
        });
        let commit = commit_of(flow, from, upto);
        let changes = Rows::Window(window);
        let Written {
            outcome: commit,
            violations,
        } = self.commit(flow, target, &changes, commit).await?;
        Ok(FlowResult::Applied {
            commit,
            rows: commit.rows(),
            window,
            windows: 1,
            violations,
        })
    }

    /// Copies the table: L0, the rows, a fence past the end of the read, one commit at the fence.
    async fn copy(
        &self,
        flow: &Arc<Flow>,
        target: DeltaTarget,
        newest: Option<&Commit>,
        (over, gap): (Option<Checkpoint>, Option<Gap>),
        options: RunOptions,
        reporter: &Reporter,
    ) -> Result<FlowResult, Error> {
        let why = why_over(flow, &target, over.as_ref(), gap.as_ref(), options)?;
        let keys = why.map(|why| keys_of(flow, why)).transpose()?;
        check_columns(flow).await?;
        target.prepare_folder().await?;
        let changed = match (why, &over) {
            (Some(Over::ChangedRows), Some(over)) => Some(Changed::of(flow, &target, over).await?),
            _ => None,
        };
        // Other copies, as for new columns, are of the whole table.
        let part = self.copied_part().filter(|_| options.anew);
        let extent = match (&changed, part) {
            (Some(changed), _) => Extent::Changed(changed),
            (None, Some(part)) => Extent::Part(part),
            (None, None) => Extent::Whole,
        };
        let standing = Standing {
            newest,
            over: over.as_ref(),
            has_gap: gap.is_some(),
            keys: keys.as_ref(),
            extent,
        };
        let kind = extent.kind(why.is_some());
        let copied = copied(self.engine(), (flow, &target), standing, options, reporter).await?;
        let fence = fence(flow, copied.start, options.capture_wait, reporter).await?;
        check_columns(flow).await?;
        let window = LsnRange::new(copied.start, fence.lsn)
            .ok_or(Error::Internal("the fence of a copy lies before its start"))?;
        let (rows, adopted) = settled(self.engine(), flow, &copied, window).await?;
        let rows = Rows::Copy {
            adopted,
            rows: CopiedRows {
                rows,
                are_all: matches!(extent, Extent::Whole),
            },
            is_over: why.is_some(),
            window,
            end: fence.clone(),
            // A row that was not read again is there all the same.
            keys: keys.filter(|_| changed.is_none()),
            part: part.cloned(),
        };
        let commit = commit_of(flow, (over, gap), &fence);
        let lacks_backfill = target.lacks_backfill() && part.is_none();
        let committed = self.commit(flow, target.clone(), &rows, commit).await?;
        if lacks_backfill {
            target.backfilled().await?;
        }
        if let Err(error) = copied.staging.discard().await {
            // The next copy does it.
            tracing::warn!(flow = %flow.name, %error, "the rows of the copy are still there");
        }
        Ok(FlowResult::Copied {
            kind,
            commit: committed.outcome,
            upto: fence.lsn,
            violations: committed.violations,
        })
    }

    /// Executes the flow's SQL over `rows` and commits the result together with the checkpoint in `commit`.
    ///
    /// Where it needs large values that neither the rows nor the target have, it is executed once more over rows with
    /// those values read back.
    async fn commit(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        rows: &Rows,
        commit: FlowCommit,
    ) -> Result<Written, Error> {
        if let Some(shape) = &flow.history {
            return Box::pin(self.commit_versions(flow, shape, target, rows, commit)).await;
        }
        let missing = MissingValues::default();
        let large = match (rows, flow.large_values()) {
            // It is dear to begin a copy anew, and in it nothing else than what is needed lacks.
            (Rows::Copy { .. }, LargeValues::Kept { .. }) => LargeValues::Kept { read_back: true },
            (_, large) => large,
        };
        let (kind, adopted) = (rows.kind(flow), rows.adopted());
        let execute = async |large| {
            let changes = rows.table(flow, &target, large).await?;
            let expected = flow.expectations();
            let rows = Overlay::default().with(&flow.stream, changes);
            let rows = (kind.clone(), rows.with_function(expected.function()));
            let commit = (commit.clone(), adopted.clone());
            let executed = self.execute(flow, target.clone(), rows, commit, &missing);
            Ok(Written {
                outcome: executed.await?,
                violations: expected.violations(),
            })
        };
        let tried = execute(large).await;
        if tried.is_ok() || !missing.found() {
            return tried;
        }
        execute(LargeValues::Kept { read_back: true }).await
    }

    /// Executes the flow's SQL, as `kind` has it, over the tables of `rows` in one commit; `missing` tells where values lack.
    pub(super) async fn execute(
        &self,
        flow: &Flow,
        target: DeltaTarget,
        (kind, rows): (StatementKind, Overlay),
        (commit, adopted): (FlowCommit, Option<Adopted>),
        missing: &MissingValues,
    ) -> Result<CommitOutcome, Error> {
        let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&flow.target_schema)))
            .await?
            .with_options(flow.declaration.options.clone())?
            .with_commit(commit)
            .with_adopted(adopted);
        let provider = Arc::new(provider);
        let target = Arc::clone(&provider) as Arc<dyn TableProvider>;
        let overlay = rows.with(&flow.target, target);
        let (state, plan) = self.engine().plan(&flow.statement, kind, overlay).await?;
        let plan = with_kept(plan, missing)?;
        let state = match flow.reads_large_values() {
            true => self.engine().for_large_rows(&state),
            false => state,
        };
        self.engine().execute(state, plan, &flow.statement).await?;
        provider.outcome().ok_or_else(|| Error::NothingCommitted {
            flow: flow.name.clone(),
            location: flow.declaration.location.clone(),
        })
    }
}

/// The event of a step that has committed rows.
fn committed(flow: &Flow, step: &Step, started: Instant) -> Option<Event> {
    let (copy, commit, window, upto, violations) = match &step.result {
        FlowResult::Copied {
            kind,
            commit,
            upto,
            violations,
        } => (Some(*kind), commit, None, *upto, violations),
        FlowResult::Applied {
            commit,
            window,
            violations,
            ..
        } => (None, commit, Some(*window), window.upto(), violations),
        FlowResult::UpToDate { .. } => return None,
    };
    Some(Event::Committed {
        copy,
        flow: flow.name.clone(),
        window,
        upto,
        rows: commit.rows(),
        version: commit.version(),
        elapsed: started.elapsed(),
        violations: violations.clone(),
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
        source_key: flow.source_key(),
    }
}

/// The first window of a flow that begins without a copy, and the commit at its end.
///
/// # Errors
/// `TargetNotEmpty` for a target with rows, unless somebody has said that they are its own; `StartAhead` if the source is
/// not there yet; `ChangesLost` if it does not have the changes any more.
async fn begin(
    flow: &Flow,
    target: &DeltaTarget,
    newest: Option<Commit>,
    options: RunOptions,
    reporter: &Reporter,
) -> Result<(LsnRange, Commit), Error> {
    begins_on(flow, target, options)?;
    let earliest = flow.table.earliest_after();
    let ceiling = match newest.filter(|newest| newest.lsn >= earliest) {
        Some(newest) => newest,
        None => commit_past(flow, earliest, options.capture_wait, reporter).await?,
    };
    first_window(flow, ceiling).await
}

/// The first window of a flow that begins without a copy, in a database whose newest commit is `ceiling`.
///
/// # Errors
/// `StartAhead` and `ChangesLost`.
pub(super) async fn first_window(
    flow: &Flow,
    ceiling: Commit,
) -> Result<(LsnRange, Commit), Error> {
    let (after, ceiling) = match flow.start {
        Start::From(bound) => {
            let after = flow.database.start_of_feed(bound).await?;
            // The commit may have come since the ceiling was read.
            let head = flow.database.head().await?;
            (after, head.map_or(ceiling, |head| head.newest))
        }
        Start::Copy | Start::Now => (Some(ceiling.lsn), ceiling),
    };
    let window = after.and_then(|after| LsnRange::new(after, ceiling.lsn));
    let Some(window) = window else {
        return Err(Error::StartAhead {
            flow: flow.name.clone(),
            newest: ceiling.lsn,
        });
    };
    let asked = [Asked {
        table: &flow.table,
        after: window.after(),
    }];
    for news in flow.database.news(&asked, ceiling.lsn).await? {
        news?.check(&flow.table, window)?;
    }
    Ok((window, ceiling))
}

/// Refuses to begin without a copy on a target that has rows.
///
/// # Errors
/// `TargetNotEmpty`, unless somebody has said that they are its own.
pub(super) fn begins_on(
    flow: &Flow,
    target: &DeltaTarget,
    options: RunOptions,
) -> Result<(), Error> {
    if target.is_empty() || options.adopts {
        return Ok(());
    }
    Err(Error::TargetNotEmpty {
        flow: flow.name.clone(),
        location: flow.declaration.location.clone(),
    })
}

/// Why a copy goes over what the target has; `None` if it has nothing.
///
/// # Errors
/// `TargetNotEmpty` if nobody has said so.
pub(super) fn why_over(
    flow: &Flow,
    target: &DeltaTarget,
    over: Option<&Checkpoint>,
    gap: Option<&Gap>,
    options: RunOptions,
) -> Result<Option<Over>, Error> {
    match (over, gap) {
        (Some(_), Some(_)) => Ok(Some(Over::Gap)),
        (Some(_), None) if target.lacks_backfill() && !options.anew => {
            Ok(Some(flow.over_new_columns()))
        }
        (Some(_), None) => Ok(Some(Over::Asked)),
        (None, _) if target.is_empty() => Ok(None),
        (None, _) if options.adopts => Ok(Some(Over::Foreign)),
        (None, _) => Err(Error::TargetNotEmpty {
            flow: flow.name.clone(),
            location: flow.declaration.location.clone(),
        }),
    }
}

pub(super) fn keys_of(flow: &Flow, why: Over) -> Result<Keys, Error> {
    reconcilable(
        &flow.statement,
        &flow.merge,
        &flow.table,
        &flow.target_schema,
        why,
    )
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
