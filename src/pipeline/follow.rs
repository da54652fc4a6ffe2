//! Flows for ever: each is kept up to date until it is told to stop, or fails for good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::bind::Pipeline;
use super::event::{Event, FlowReport, FlowResult, Reporter};
use super::flow::Flow;
use super::look::{Job, Work, look};
use super::run::{FLOWS_AT_ONCE, RunOptions};
use crate::engine::Engine;
use crate::error::Error;
use crate::sink::delta::{Maintenance, MaintenanceReport};

/// The pause between two looks at a source that has just had changes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// The pause between two looks at one that has been quiet; each pause until then is twice as long as the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a flow has failed with what may pass by itself, and has been tried as often as a run tries.
const FAILURE_PAUSE: Duration = Duration::from_secs(20);
/// A flow that has not succeeded for so long is stopped, whatever its failures are.
const LONGEST_OUTAGE: Duration = Duration::from_secs(15 * 60);
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
    /// A source is asked by one statement for all its flows that wait; flows with changes are at work at once, so
    /// that one that is slow, or fails, does not hold the others. A flow that fails with what may pass by itself is
    /// tried again until it has not succeeded for 15 minutes. Each table is maintained in the pauses, by
    /// the thresholds of [`Maintenance::default`]. When all flows have failed, this ends by itself.
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
        let permits = Arc::new(Semaphore::new(FLOWS_AT_ONCE));
        let mut feeds = JoinSet::new();
        for waiting in connections.into_values() {
            let feed = Feed {
                pipeline: Arc::clone(self),
                options,
                reporter: reporter.clone(),
                permits: Arc::clone(&permits),
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
    /// When it may be looked at again; at once unless it has failed.
    due: Instant,
    /// Since when it has failed.
    failing: Option<Instant>,
    /// Commits since its table was maintained.
    commits: u64,
}

impl Following {
    fn new(place: usize, flow: Arc<Flow>) -> Self {
        Self {
            place,
            flow,
            due: Instant::now(),
            failing: None,
            commits: 0,
        }
    }
}

/// A flow's run that has ended.
type Ended = (Following, FlowReport);

/// The flows of one connection.
struct Feed {
    pipeline: Arc<Pipeline>,
    options: FollowOptions,
    reporter: Reporter,
    /// How many flows of all connections may be at work.
    permits: Arc<Semaphore>,
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
            let is_busy = self.round().await;
            pause = match self.options.every {
                Some(every) => every,
                None if is_busy => SHORTEST_PAUSE,
                None => (pause * 2).min(LONGEST_PAUSE),
            };
            self.maintain();
            let over = tokio::time::sleep(pause);
            tokio::pin!(over);
            loop {
                tokio::select! {
                    Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                        self.end(unpanicked(ended)).await;
                        if self.waiting.is_empty() && self.running.is_empty() {
                            return;
                        }
                    }
                    Some(ended) = self.upkeep.join_next(), if !self.upkeep.is_empty() => {
                        unpanicked(ended);
                    }
                    () = &mut over => break,
                }
            }
        }
    }

    /// Looks at the flows that wait, and sets those to work that have some; answers whether any has.
    async fn round(&mut self) -> bool {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|following| following.due <= now);
        self.waiting = later;
        let flows: Vec<_> = due
            .iter()
            .map(|following| Arc::clone(&following.flow))
            .collect();
        // Where the source cannot be asked, each flow asks it again, and ends or goes on by itself.
        let works = look(&flows, None).await.ok();
        let works = works.map_or_else(
            || flows.iter().map(|_| None).collect::<Vec<_>>(),
            |works| works.into_iter().map(Some).collect(),
        );
        let mut is_busy = false;
        for (following, work) in due.into_iter().zip(works) {
            match work {
                Some(Ok(Work {
                    job: Job::Nothing { rebinds, .. },
                    ..
                })) => self.rest(following, rebinds).await,
                work => {
                    is_busy = true;
                    self.start(following, work);
                }
            }
        }
        is_busy
    }

    /// Lets a flow wait that has nothing to do.
    async fn rest(&mut self, mut following: Following, rebinds: bool) {
        following.failing = None;
        if rebinds {
            match self.pipeline.bind_again(&following.flow).await {
                Ok(flow) => following.flow = Arc::new(flow),
                // The older instance serves until it is dropped.
                Err(error) => {
                    let flow = &following.flow.name;
                    tracing::warn!(%flow, %error, "the table's newest capture instance cannot be read");
                }
            }
        }
        self.waiting.push(following);
    }

    fn start(&mut self, following: Following, work: Option<Result<Work, Error>>) {
        let (pipeline, reporter) = (Arc::clone(&self.pipeline), self.reporter.clone());
        let (permits, options) = (Arc::clone(&self.permits), self.options.run);
        self.running.spawn(async move {
            // The semaphore is never closed.
            let _permit = permits.acquire_owned().await;
            let report = pipeline
                .run_flow(&following.flow, work, options, &reporter)
                .await;
            (following, report)
        });
    }

    /// Takes back a flow whose run has ended.
    async fn end(&mut self, (mut following, report): Ended) {
        let error = match &report.result {
            Ok(result) => {
                following.failing = None;
                following.commits += commits(result);
                self.waiting.push(following);
                return;
            }
            Err(error) => error,
        };
        let failing = *following.failing.get_or_insert_with(Instant::now);
        if error.is_transient() || error.is_conflict() {
            if failing.elapsed() < LONGEST_OUTAGE {
                following.due = Instant::now() + FAILURE_PAUSE;
                self.reporter.report(Event::Retrying {
                    flow: report.flow,
                    reason: error.cause().to_string(),
                    pause: FAILURE_PAUSE,
                });
                self.waiting.push(following);
                return;
            }
        } else if self.binds_to_another(&mut following).await {
            self.waiting.push(following);
            return;
        }
        self.reporter.report(Event::Stopped {
            flow: report.flow.clone(),
            reason: error.cause().to_string(),
        });
        self.failed.push((following.place, report));
    }

    /// Whether a flow that has failed can go on from another capture instance than the one it read.
    async fn binds_to_another(&self, following: &mut Following) -> bool {
        let old = &following.flow;
        match self.pipeline.bind_again(old).await {
            Ok(flow) if flow.table.instance_id() != old.table.instance_id() => {
                following.flow = Arc::new(flow);
                true
            }
            _ => false,
        }
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

fn commits(result: &FlowResult) -> u64 {
    match result {
        FlowResult::Applied { windows, .. } => *windows,
        FlowResult::Copied { .. } => 1,
        FlowResult::UpToDate { .. } => 0,
    }
}
