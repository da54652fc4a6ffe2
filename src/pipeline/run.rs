//! The loop: from a look at the source to the next, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::bind::Pipeline;
use super::changed::Changed;
use super::event::{Event, FlowReport, FlowResult, Reporter};
use super::flow::Flow;
use super::gap::copy_anew;
use super::look::{Work, look, look_for};
use super::order::{Ahead, Standing, Turns};
use super::reconcile::Over;
use super::schema::Growth;
use crate::change::{Commit, Lsn};
use crate::engine::{Again, Tries};
use crate::error::Error;
use crate::sink::delta::DeltaTarget;
use crate::source::sqlserver::WindowLimits;

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
    /// Whether each flow copies its table again over what its target has.
    pub anew: bool,
    /// Whether a flow whose target has rows, but no checkpoint of it, takes them over.
    pub adopts: bool,
    /// How many chunks of one table a copy reads at once.
    pub parallel: u8,
    /// How many rows a chunk of a copy has; what fits 128 MiB, by the widths of the columns, if `None`.
    pub chunk_rows: Option<u32>,
    /// How long a flow waits for the capture job: for its first entry, for one past a new capture instance's start, and
    /// for one past the rows of a copy.
    pub capture_wait: Duration,
}

impl RunOptions {
    /// The default of [`WindowLimits::rows`].
    pub const WINDOW_ROWS: u32 = 1_000_000;

    /// The default of [`WindowLimits::bytes`]: 4 GiB.
    pub const WINDOW_BYTES: u64 = 4 << 30;

    /// The default of [`RunOptions::parallel`].
    pub const PARALLEL: u8 = 4;

    /// The default of [`RunOptions::capture_wait`]. The job writes an entry about every five minutes on an idle
    /// database; the rest is what a copy's fence must be later than its read, on a replica, and a scan.
    pub const CAPTURE_WAIT: Duration = Duration::from_secs(390);
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            limits: WindowLimits {
                rows: Self::WINDOW_ROWS,
                bytes: Self::WINDOW_BYTES,
                transactions: None,
            },
            copies: true,
            anew: false,
            adopts: false,
            parallel: Self::PARALLEL,
            chunk_rows: None,
            capture_wait: Self::CAPTURE_WAIT,
        }
    }
}

impl Pipeline {
    /// Brings every flow up to the newest commit that its source has now, some flows at once, and reports how each
    /// ended, in the order of the file.
    ///
    /// A flow that fails leaves its target as it was and does not hold the others, but those that look up its target.
    pub async fn run(&self, options: RunOptions, reporter: &Reporter) -> Vec<FlowReport> {
        let mut works = self.look_at_all().await;
        let turns = Turns::new(self.lookups().clone(), Standing::Busy);
        let permits = Semaphore::new(FLOWS_AT_ONCE);
        let flows = self.flows().iter().enumerate().map(|(place, flow)| {
            let work = works.remove(&place);
            let mut flow = Arc::clone(flow);
            let (turns, permits) = (&turns, &permits);
            async move {
                let turn = self.turn(turns.ahead(place)).await;
                // The semaphore is never closed.
                let _permit = permits.acquire().await;
                let work = turn.map_or_else(|error| Some(Err(error)), |()| work);
                let report = self.run_flow(&mut flow, work, options, reporter).await;
                turns.set(place, standing_of(&report));
                report
            }
        });
        futures::future::join_all(flows).await
    }

    /// Waits until a flow may begin that looks up the targets of others.
    ///
    /// # Errors
    /// `LookupFailed` if one of them has failed.
    pub(super) async fn turn(&self, ahead: Ahead) -> Result<(), Error> {
        let place = ahead.place;
        let name = |place: usize| self.flows().get(place).map(|flow| flow.name.clone());
        ahead.wait().await.map_err(|other| Error::LookupFailed {
            flow: name(place).unwrap_or_default(),
            other: name(other).unwrap_or_default(),
        })
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
        let mut tries = Tries::within(flow.database.retry_time());
        // A part is copied over a target that has all changes up to then.
        let mut options = RunOptions {
            anew: options.anew && self.copied_part().is_none(),
            ..options
        };
        loop {
            let step = async {
                let begun = work.take();
                let mut work = self.work(flow, begun, ceiling.as_ref(), options).await?;
                work = self.as_it_is(flow, work, ceiling.as_ref(), options).await?;
                if self.copied_part().is_some() && !work.is_of_own_target() {
                    return Err(Error::NoWholeCopy { flow: name.clone() });
                }
                if !flow.growth.is_empty() && work.is_of_own_target() {
                    if !options.anew {
                        check_growth(flow, &work).await?;
                    }
                    Box::pin(self.grow(&work.target, &flow.growth)).await?;
                    *flow = Arc::new(self.bind_again(flow).await?);
                    work = self.work(flow, None, ceiling.as_ref(), options).await?;
                }
                flow.growth.check_types()?;
                self.step(flow, work, options, reporter).await
            };
            let step = match step.await {
                Ok(step) => step,
                Err(error) => {
                    let next = match error {
                        error if error.is_loss() => {
                            let lost = (error, options.capture_wait);
                            self.after_loss(flow, lost, &mut losses, reporter).await
                        }
                        error @ Error::Altered { .. } => {
                            *flow = Arc::new(self.bind_again(flow).await?);
                            Err(error)
                        }
                        error => Err(error),
                    };
                    match next {
                        Ok(next) => work = next.map(Ok),
                        Err(error) => tries.pause_after(error, &tell).await?,
                    }
                    continue;
                }
            };
            tries = Tries::within(flow.database.retry_time());
            *commits += u64::from(!matches!(step.result, FlowResult::UpToDate { .. }));
            let result = match done {
                None => step.result,
                Some(done) => done.and_then(step.result),
            };
            if step.rest.is_none() {
                let upto = match &result {
                    FlowResult::Copied { upto, .. } => *upto,
                    FlowResult::Applied { window, .. } => window.upto(),
                    FlowResult::UpToDate { at, .. } => *at,
                };
                match self.handed_over(flow, upto).await {
                    Ok(Some(newer)) if !newer.growth.is_empty() => *flow = Arc::new(newer),
                    // What passes by itself is for the next run: this one has done its work.
                    Err(error) if !(error.is_transient() || error.is_of_storage()) => {
                        return Err(error);
                    }
                    _ if self.copied_part().is_some() && !options.anew => options.anew = true,
                    _ => return Ok(result),
                }
            }
            (ceiling, done) = (step.rest, Some(result));
        }
    }

    /// Gives a target the columns and types that the flow's source has got.
    async fn grow(&self, target: &DeltaTarget, growth: &Growth) -> Result<(), Error> {
        let mut target = target.clone();
        if !growth.widened.is_empty() {
            let state = self.engine().state();
            target = target.widen(&growth.widened, &state).await?;
        }
        if !growth.added.is_empty() {
            target.add_columns(&growth.added).await?;
        }
        Ok(())
    }

    /// The flow as it reads the newest capture instance of its table, if that may bring it new columns, and if it has come
    /// to `upto`, where that begins, by an older one.
    async fn handed_over(&self, flow: &Flow, upto: Lsn) -> Result<Option<Flow>, Error> {
        let is_older = flow.table.instance_id() != flow.newest_instance;
        let adds = flow.declaration.on_schema_change.adds();
        if !(is_older && adds) || upto < flow.newest_after {
            return Ok(None);
        }
        self.bind_again(flow).await.map(Some)
    }

    /// What a flow does next that has found changes `lost`; `None` if it can look again, since its table has another
    /// capture instance. `seen` is how often that was.
    async fn after_loss(
        &self,
        flow: &mut Arc<Flow>,
        (lost, capture_wait): (Error, Duration),
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
                Err(error) => {
                    let flow = &flow.name;
                    tracing::warn!(%flow, %error, "the flow cannot be bound to another capture instance");
                }
            }
        }
        if *seen > MOST_LOSSES {
            return Err(lost);
        }
        let work = self.over_gap(flow, lost, capture_wait, reporter).await;
        work.map(Some)
    }

    /// What `flow` does next, beginning with `work` if that is known.
    pub(super) async fn work(
        &self,
        flow: &Arc<Flow>,
        work: Option<Result<Work, Error>>,
        ceiling: Option<&Commit>,
        options: RunOptions,
    ) -> Result<Work, Error> {
        match work {
            _ if options.anew => copy_anew(flow).await,
            Some(work) => work,
            None => look_for(flow, ceiling).await,
        }
    }
}

/// Refuses to give a target columns where it could not be told then which rows have their values to be read.
async fn check_growth(flow: &Flow, work: &Work) -> Result<(), Error> {
    let adds = !flow.growth.added.is_empty() && flow.over_new_columns() == Over::ChangedRows;
    let (true, Some(checkpoint)) = (adds, work.checkpoint()) else {
        return Ok(());
    };
    let changed = Changed::of(flow, &work.target, checkpoint).await?;
    changed.check_chunks(flow, checkpoint.lsn).await
}

fn standing_of(report: &FlowReport) -> Standing {
    match report.result {
        Ok(_) => Standing::Done,
        Err(_) => Standing::Stopped,
    }
}

pub(super) fn event_of(flow: &str, again: &Again<'_>) -> Event {
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
