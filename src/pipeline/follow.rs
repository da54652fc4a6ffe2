//! Flows for ever: each is kept up to date until it is told to stop, or fails for good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::bind::Pipeline;
use super::event::{Event, FlowReport, Reporter};
use super::flow::Flow;
use super::look::{Job, Work, look};
use super::order::{Standing, Turns};
use super::pace::held_until;
use super::run::{FLOWS_AT_ONCE, RunOptions};
use crate::engine::{Engine, Pauses};
use crate::error::Error;
use crate::sink::delta::{Maintenance, MaintenanceReport};

/// The pause between two looks at a source that has just had changes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// The pause between two looks at one that has been quiet; each pause until then is twice as long as the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a flow has failed with what may pass by itself, and has been tried as often as a run tries; and the
/// longest between two looks at a source that cannot be asked. To each, up to as much again is added at random.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// A flow that has not succeeded for so long is stopped, whatever its failures are.
const LONGEST_OUTAGE: Duration = Duration::from_secs(15 * 60);
/// A newer capture instance that could not be read is tried again after this.
const REBIND_PAUSE: Duration = Duration::from_secs(60);
/// After so many commits of a flow its table is looked at for maintenance.
const COMMITS_BETWEEN_MAINTENANCE: u64 = 20;

/// How flows are followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct FollowOptions {
    /// How each of their runs goes.
    pub run: RunOptions,
    /// The pause between two looks at a source; between 250 ms and 5 s unless given, by how busy it is.
    pub every: Option<Duration>,
}

impl Pipeline {
    /// Keeps every flow up to date until `stop`, and reports how those ended that failed for good.
    ///
    /// A source is asked by one statement for all its flows that wait; four flows of a connection are at work at once,
    /// so that one that is slow, or fails, does not hold the others. A flow that fails with what may pass by itself, or
    /// with its target's store, is tried again until it has not succeeded for 15 minutes. From one run of a flow to the next
    /// there is at least what its table's TRIGGER says; failures are tried again before. Each table is maintained in the pauses, by the thresholds of [`Maintenance::default`]. When all flows have failed, this ends by itself.
    pub async fn follow(
        self: &Arc<Self>,
        options: FollowOptions,
        reporter: &Reporter,
        stop: &CancellationToken,
    ) -> Vec<FlowReport> {
        let mut connections: BTreeMap<&str, Vec<Following>> = BTreeMap::new();
        for (place, flow) in self.flows().iter().enumerate() {
            let following = Following::new(place, Arc::clone(flow));
            connections
                .entry(&flow.connection)
                .or_default()
                .push(following);
        }
        let turns = Arc::new(Turns::new(self.lookups().clone(), Standing::Done));
        let mut feeds = JoinSet::new();
        for waiting in connections.into_values() {
            let feed = Feed {
                pipeline: Arc::clone(self),
                options,
                reporter: reporter.clone(),
                permits: Arc::new(Semaphore::new(FLOWS_AT_ONCE)),
                turns: Arc::clone(&turns),
                outages: Pauses::between(SHORTEST_PAUSE, FAILURE_PAUSE),
                failures: Pauses::between(FAILURE_PAUSE, FAILURE_PAUSE),
                waiting,
                running: JoinSet::new(),
                upkeep: JoinSet::new(),
                failed: Vec::new(),
            };
            feeds.spawn(feed.run(stop.clone()));
        }
        let mut failed = Vec::new();
        while let Some(feed) = feeds.join_next().await {
            failed.extend(unpanicked(feed));
        }
        failed.sort_by_key(|(place, _)| *place);
        failed.into_iter().map(|(_, report)| report).collect()
    }
}

/// A flow that is followed.
struct Following {
    place: usize,
    flow: Arc<Flow>,
    /// When it may be looked at again; at once unless it has failed, or is held by its table's TRIGGER.
    due: Instant,
    /// When its last run began.
    began: Instant,
    /// Since when it has failed.
    failing: Option<Instant>,
    /// Commits since its table was maintained.
    commits: u64,
    /// Until when it stays with its capture instance, since a newer one could not be read.
    stays: Option<Instant>,
    /// Whether its target has had a checkpoint, without which there is none to copy anew unasked.
    has_copied: bool,
}

impl Following {
    fn new(place: usize, flow: Arc<Flow>) -> Self {
        Self {
            place,
            flow,
            due: Instant::now(),
            began: Instant::now(),
            failing: None,
            commits: 0,
            stays: None,
            has_copied: false,
        }
    }

    fn succeeded(&mut self) {
        (self.failing, self.has_copied) = (None, true);
    }

    fn has_failed_for(&self, time: Duration) -> bool {
        self.failing.is_some_and(|since| since.elapsed() >= time)
    }
}

/// A flow's run that has ended.
type Ended = (Following, FlowReport);

/// The flows of one connection.
struct Feed {
    pipeline: Arc<Pipeline>,
    options: FollowOptions,
    reporter: Reporter,
    /// How many of them may be at work.
    permits: Arc<Semaphore>,
    /// How all flows do.
    turns: Arc<Turns>,
    /// The pauses while the source cannot be asked.
    outages: Pauses,
    /// The pauses of its flows that fail by themselves.
    failures: Pauses,
    waiting: Vec<Following>,
    running: JoinSet<Ended>,
    /// The maintenance of one table at a time.
    upkeep: JoinSet<()>,
    failed: Vec<(usize, FlowReport)>,
}

impl Feed {
    /// Follows until `stop`; the flows that are at work then are dropped where they stand, and what they had not
    /// committed is as if it had not begun.
    async fn run(mut self, stop: CancellationToken) -> Vec<(usize, FlowReport)> {
        let _ = stop.run_until_cancelled(self.rounds()).await;
        self.running.shutdown().await;
        self.upkeep.shutdown().await;
        self.failed
    }

    async fn rounds(&mut self) {
        let mut pause = SHORTEST_PAUSE;
        while !self.waiting.is_empty() || !self.running.is_empty() {
            let is_busy = self.round(|_| true).await;
            pause = match self.options.every {
                Some(every) => every,
                None if is_busy => SHORTEST_PAUSE,
                None => (pause * 2).min(LONGEST_PAUSE),
            };
            self.maintain();
            self.rest(Instant::now() + pause).await;
        }
    }

    /// Waits until `over`, or until nothing is left to follow; meanwhile takes back the flows whose runs end, and looks
    /// at those that have failed when their own pauses are over.
    async fn rest(&mut self, over: Instant) {
        loop {
            let failed = |following: &&Following| following.failing.is_some();
            let due = self.waiting.iter().filter(failed).map(|one| one.due);
            let due = due.min().filter(|due| *due < over);
            tokio::select! {
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    self.end(unpanicked(ended));
                    self.maintain();
                    if self.waiting.is_empty() && self.running.is_empty() {
                        return;
                    }
                }
                Some(ended) = self.upkeep.join_next(), if !self.upkeep.is_empty() => {
                    unpanicked(ended);
                }
                () = tokio::time::sleep_until(due.unwrap_or(over).into()) => {
                    if due.is_none() {
                        return;
                    }
                    self.round(|following| following.failing.is_some()).await;
                }
            }
        }
    }

    /// Looks at the flows that wait, are due and are `among` those of this round, and sets those to work that have some;
    /// answers whether any has.
    async fn round(&mut self, among: impl Fn(&Following) -> bool) -> bool {
        let now = Instant::now();
        let (mut due, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|following| following.due <= now && among(following));
        self.waiting = later;
        if due.is_empty() {
            return false;
        }
        // One that others look up is at work before they ask.
        due.sort_by_key(|following| self.pipeline.rank(following.place));
        let flows: Vec<_> = due
            .iter()
            .map(|following| Arc::clone(&following.flow))
            .collect();
        let works = match look(&flows, None).await {
            Ok(works) => works.into_iter().map(Some).collect(),
            Err(error) if error.is_transient() => return self.back_off(due, &error),
            // Each flow asks again, and ends by itself.
            Err(_) => flows.iter().map(|_| None).collect::<Vec<_>>(),
        };
        self.outages.begin_again();
        let mut is_busy = false;
        for (mut following, mut work) in due.into_iter().zip(works) {
            if let Some(Ok(work)) = &mut work {
                work.rebinds &= following.stays.is_none_or(|until| until <= now);
            }
            match work {
                Some(Ok(Work {
                    job: Job::Nothing { .. },
                    rebinds: false,
                    ..
                })) => {
                    following.succeeded();
                    self.turns.set(following.place, Standing::Done);
                    self.waiting.push(following);
                }
                work => {
                    is_busy = true;
                    self.start(following, work);
                }
            }
        }
        is_busy
    }

    /// Lets flows wait whose source cannot be asked now; those that have waited too long try for the last time.
    fn back_off(&mut self, due: Vec<Following>, error: &Error) -> bool {
        let pause = self.outages.take();
        let mut is_busy = false;
        for following in due {
            if following.has_failed_for(LONGEST_OUTAGE) {
                is_busy = true;
                self.start(following, None);
            } else {
                self.wait(following, error, pause);
            }
        }
        is_busy
    }

    /// Lets a flow wait that has failed with what may pass.
    fn wait(&mut self, mut following: Following, error: &Error, pause: Duration) {
        following.failing.get_or_insert_with(Instant::now);
        self.turns.set(following.place, Standing::Busy);
        following.due = Instant::now() + pause;
        self.reporter.report(Event::Retrying {
            flow: following.flow.name.clone(),
            reason: error.cause().to_string(),
            pause,
        });
        self.waiting.push(following);
    }

    fn start(&mut self, following: Following, work: Option<Result<Work, Error>>) {
        let (pipeline, reporter) = (Arc::clone(&self.pipeline), self.reporter.clone());
        let permits = Arc::clone(&self.permits);
        let options = RunOptions {
            copies: !following.has_copied,
            ..self.options.run
        };
        // Those that end before the task begins have been at work since, too.
        let ahead = self.turns.ahead(following.place);
        self.turns.set(following.place, Standing::Busy);
        self.running.spawn(async move {
            let turn = pipeline.turn(ahead).await;
            let work = turn.map_or_else(|error| Some(Err(error)), |()| work);
            // The semaphore is never closed.
            let _permit = permits.acquire_owned().await;
            pipeline.attempt(following, work, options, &reporter).await
        });
    }

    /// Takes back a flow whose run has ended.
    fn end(&mut self, (mut following, report): Ended) {
        following.commits += report.commits;
        if report.commits > 0 {
            following.succeeded();
        }
        match &report.result {
            Ok(_) => {
                following.succeeded();
                self.hold(&mut following);
                self.waiting.push(following);
            }
            Err(error) if may_pass(error) && !following.has_failed_for(LONGEST_OUTAGE) => {
                let pause = self.failures.take();
                self.wait(following, error, pause);
            }
            Err(error) => {
                self.reporter.report(Event::Stopped {
                    flow: report.flow.clone(),
                    reason: error.cause().to_string(),
                });
                self.turns.set(following.place, Standing::Stopped);
                self.failed.push((following.place, report));
            }
        }
    }

    /// Lets a flow whose run has ended wait as long as its table's TRIGGER says, and with it those that look it up.
    fn hold(&self, following: &mut Following) {
        let every = following.flow.declaration.at_most_every;
        let standing = match held_until(following.began, Instant::now(), every) {
            Some(until) => {
                following.due = until;
                Standing::Held { until }
            }
            None => Standing::Done,
        };
        self.turns.set(following.place, standing);
    }

    /// Maintains the table of a flow that waits and has made enough commits, beside the flows.
    fn maintain(&mut self) {
        if !self.upkeep.is_empty() {
            return;
        }
        let due = |following: &&mut Following| following.commits >= COMMITS_BETWEEN_MAINTENANCE;
        let Some(following) = self.waiting.iter_mut().find(due) else {
            return;
        };
        following.commits = 0;
        let flow = Arc::clone(&following.flow);
        let (pipeline, reporter) = (Arc::clone(&self.pipeline), self.reporter.clone());
        self.upkeep.spawn(async move {
            let result = maintain(pipeline.engine(), &flow).await;
            reporter.report(match result {
                Ok(report) => Event::Maintained {
                    flow: flow.name.clone(),
                    report: Box::new(report),
                },
                Err(error) => Event::MaintenanceFailed {
                    flow: flow.name.clone(),
                    reason: error.to_string(),
                },
            });
        });
    }
}

impl Pipeline {
    /// Runs a flow, which reads a newer capture instance from then on if it can.
    async fn attempt(
        &self,
        mut following: Following,
        work: Option<Result<Work, Error>>,
        options: RunOptions,
        reporter: &Reporter,
    ) -> Ended {
        following.began = Instant::now();
        let rebinds = matches!(&work, Some(Ok(work)) if work.rebinds);
        let run = self.run_flow(&mut following.flow, work, options, reporter);
        let mut report = run.await;
        if rebinds && report.result.is_ok() {
            match self.bind_again(&following.flow).await {
                Ok(flow) => following.flow = Arc::new(flow),
                // What the newer one has does not fit the target: to go on by the older one would hide it.
                Err(error @ Error::Invalid { .. }) => report.result = Err(error),
                // The older one serves until the newer can be read.
                Err(error) => {
                    following.stays = Some(Instant::now() + REBIND_PAUSE);
                    let flow = &following.flow.name;
                    tracing::warn!(%flow, %error, "the table's newest capture instance cannot be read");
                }
            }
        }
        (following, report)
    }
}

/// Whether a flow that has failed with `error` may succeed a little later.
fn may_pass(error: &Error) -> bool {
    error.is_transient() || error.is_conflict() || error.is_of_storage()
}

async fn maintain(engine: &Engine, flow: &Flow) -> Result<MaintenanceReport, Error> {
    let target = flow.declaration.open().await?;
    let maintenance = Maintenance {
        keys: flow.merge.target_keys(),
        ..Maintenance::default()
    };
    Ok(target
        .maintain(&maintenance, &engine.state(), &|_| ())
        .await?)
}

/// What a task that nothing cancels has come to; its panic goes on here.
fn unpanicked<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
