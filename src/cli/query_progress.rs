//! A line that tells how far a query is which takes long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::stream::unfold;
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use tokio::time::{MissedTickBehavior, interval_at};

use super::output::{stderr_is_screen, write_stderr};

/// How long a query takes before it is told how far it is.
const SILENT: Duration = Duration::from_secs(2);
/// How often that is told.
const EVERY: Duration = Duration::from_millis(250);

/// How far a query is, by what its plan has read.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    plan: Arc<dyn ExecutionPlan>,
    begun: Instant,
}

impl Progress {
    /// Of a plan that begins now.
    pub(super) fn of(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            plan,
            begun: Instant::now(),
        }
    }

    /// The rows; while they are waited for, a terminal shows how far they are.
    pub(super) fn over(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        if !stderr_is_screen() {
            return rows;
        }
        let schema = rows.schema();
        let told = unfold((rows, Some(self)), |(mut rows, progress)| async move {
            // Rows that are printed by then tell enough.
            let Some(progress) = progress else {
                let next = rows.next().await?;
                return Some((next, (rows, None)));
            };
            let begin = (progress.begun + SILENT).max(Instant::now());
            let mut ticks = interval_at(begin.into(), EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut line = Line::default();
            let next = loop {
                tokio::select! {
                    next = rows.next() => break next,
                    _ = ticks.tick() => line.show(&progress.to_string()),
                }
            };
            // What is printed is not to stand in the line.
            drop(line);
            next.map(|batch| (batch, (rows, None)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, told))
    }
}

/// A line of the terminal that is gone when it is dropped.
#[derive(Default)]
struct Line {
    is_shown: bool,
}

impl Line {
    fn show(&mut self, text: &str) {
        self.is_shown = true;
        write_stderr(&format!("\r\x1b[K{text}"));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown {
            write_stderr("\r\x1b[K");
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut read = Read::default();
        read.add(self.plan.as_ref());
        let elapsed = self.begun.elapsed();
        let rate = read.rows as f64 / elapsed.as_secs_f64().max(0.001);
        write!(f, "{} rows read", HumanCount(read.rows))?;
        if read.bytes > 0 {
            write!(f, ", {}", HumanBytes(read.bytes))?;
        }
        write!(
            f,
            ", {} rows/s, {}",
            HumanCount(rate as u64),
            HumanDuration(elapsed)
        )
    }
}

/// What the leaves of a plan have given.
#[derive(Default)]
struct Read {
    rows: u64,
    bytes: u64,
}

impl Read {
    fn add(&mut self, plan: &dyn ExecutionPlan) {
        let children = plan.children();
        if children.is_empty()
            && let Some(metrics) = plan.metrics()
        {
            self.rows += metrics.output_rows().unwrap_or_default() as u64;
            let bytes = ["bytes_scanned", "output_bytes"];
            let bytes = bytes.iter().find_map(|name| metrics.sum_by_name(name));
            self.bytes += bytes.map_or(0, |bytes| bytes.as_usize() as u64);
        }
        for child in children {
            self.add(child.as_ref());
        }
    }
}
