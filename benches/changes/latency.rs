//! How long a change is on its way to a target that is followed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cdcql::change::Lsn;
use cdcql::pipeline::{Event, FollowOptions, Pipeline, Reporter};
use cdcql::source::sqlserver::Database;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::BenchResult;

/// Commits of a series, of one row each.
const COMMITS: u64 = 200;
/// The longest time between two of them.
const LONGEST_GAP: Duration = Duration::from_millis(1200);
/// From where the times between them follow.
const SEED: u64 = 42;
/// A pause between two looks that counts for nothing.
const NO_PAUSE: Duration = Duration::from_millis(5);

/// Prints the times of three series that differ in how often the source is asked. All commit at the same moments.
pub(crate) async fn measure(
    pipeline: Arc<Pipeline>,
    source: &Database,
    changes: u64,
) -> BenchResult<()> {
    let commits = (changes / 5000).clamp(10, COMMITS);
    println!(
        "latency: {commits} commits of one row, up to {} ms apart, from each one's return to its Delta commit",
        LONGEST_GAP.as_millis()
    );
    let mut work = None;
    for (name, every) in [
        ("--every 5ms", Some(NO_PAUSE)),
        ("--every 250ms", Some(Duration::from_millis(250))),
        ("as it does unasked", None),
    ] {
        let times = series(Arc::clone(&pipeline), source, commits, every).await?;
        let [p50, p95, max] = [50, 95, 100].map(|percent| percentile(&times, percent));
        let work = *work.get_or_insert(p50);
        println!(
            "  {name}: p50 {:.0} ms, p95 {:.0} ms, max {:.0} ms; of p50 {:.0} ms is the pause between looks",
            millis(p50),
            millis(p95),
            millis(max),
            millis(p50.saturating_sub(work))
        );
    }
    Ok(())
}

/// The sorted times of one series.
async fn series(
    pipeline: Arc<Pipeline>,
    source: &Database,
    commits: u64,
    every: Option<Duration>,
) -> BenchResult<Vec<Duration>> {
    let (sender, mut told) = unbounded_channel();
    let reporter = Reporter::new(move |event| {
        if let Event::Committed { upto, .. } = event {
            // Nobody listens any more when the series ends.
            let _ = sender.send((Instant::now(), upto));
        }
    });
    let stop = CancellationToken::new();
    let options = FollowOptions {
        every,
        ..FollowOptions::default()
    };
    let following = tokio::spawn({
        let stop = stop.clone();
        async move { pipeline.follow(options, &reporter, &stop).await }
    });
    let mut made = Vec::new();
    let mut gaps = Gaps(SEED);
    for number in 0..commits {
        tokio::time::sleep(gaps.next()).await;
        let update = format!(
            "UPDATE dbo.big SET amount = {number}.5 WHERE id = (SELECT MIN(id) FROM dbo.big);"
        );
        source.execute_batch(&update).await?;
        let returned = Instant::now();
        let head = source.head().await?.ok_or("nothing was captured")?;
        made.push((returned, head.newest.lsn));
    }
    let times = times(&made, &mut told).await;
    stop.cancel();
    for report in following.await? {
        let _ = report.result?;
    }
    times
}

/// For each commit the time until the first Delta commit at or past it, sorted.
async fn times(
    made: &[(Instant, Lsn)],
    told: &mut UnboundedReceiver<(Instant, Lsn)>,
) -> BenchResult<Vec<Duration>> {
    let mut times = Vec::with_capacity(made.len());
    while times.len() < made.len() {
        let (at, upto) = told.recv().await.ok_or("the flow has stopped")?;
        while let Some((returned, _)) = made.get(times.len()).filter(|(_, lsn)| *lsn <= upto) {
            // It may be there before its client hears of it.
            times.push(at.saturating_duration_since(*returned));
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted[place.max(1) - 1]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Times that follow from a seed and look random.
struct Gaps(u64);

impl Gaps {
    fn next(&mut self) -> Duration {
        // The constants are Knuth's of MMIX; the high bits are the random ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        LONGEST_GAP.mul_f64((self.0 >> 40) as f64 / (1_u64 << 24) as f64)
    }
}
