//! What a run shows while it goes on: a bar on a terminal, plain lines otherwise.

use std::collections::HashMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use super::output::tell;
use crate::change::OnGap;
use crate::engine::Violations;
use crate::pipeline::{Event, FlowReport, FlowResult, Reporter};
use crate::sink::delta::RowCounts;

/// Rows between two plain progress lines.
const ROWS_PER_LINE: u64 = 1_000_000;

/// Which commits are told as they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Those that another of the same run follows: the last is part of the flow's summary.
    OfParts,
    /// All.
    OfAll,
}

/// A reporter for people; when `quiet`, of failures that nothing else tells alone.
pub(super) fn reporter(quiet: bool, lines: Lines) -> Reporter {
    if quiet {
        return Reporter::new(|event| {
            if matches!(
                event,
                Event::Gap { .. } | Event::Stopped { .. } | Event::MaintenanceFailed { .. }
            ) {
                tell!("{}", sentence(&event));
            }
        });
    }
    if stderr().is_terminal() {
        let bars = Mutex::new(Bars::default());
        return Reporter::new(move |event| {
            let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
            bars.draw(&event, lines);
        });
    }
    let printed = Mutex::new(HashMap::new());
    Reporter::new(move |event| {
        let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
        print(&mut printed, &event, lines);
    })
}

/// Prints an event; `printed` is how many lines a flow's first copy has had so far.
fn print(printed: &mut HashMap<String, u64>, event: &Event, lines: Lines) {
    match event {
        Event::SnapshotProgress { flow, rows, .. } => {
            let steps = rows / ROWS_PER_LINE;
            if steps > printed.get(flow).copied().unwrap_or_default() {
                printed.insert(flow.clone(), steps);
                tell!("{flow}: {} rows read", HumanCount(*rows));
            }
        }
        Event::Finished { flow } => {
            printed.remove(flow);
        }
        Event::WindowStarted { .. } if lines == Lines::OfAll => {}
        Event::Committed { more: false, .. } if lines == Lines::OfParts => {}
        other => tell!("{}", sentence(other)),
    }
}

/// The bars of the flows that are at work.
#[derive(Debug, Default)]
struct Bars {
    all: MultiProgress,
    by_flow: HashMap<String, ProgressBar>,
}

impl Bars {
    fn draw(&mut self, event: &Event, lines: Lines) {
        match event {
            Event::SnapshotProgress {
                flow,
                rows,
                estimated_rows,
            } => {
                let bar = self.by_flow.get(flow);
                if bar.is_none_or(|bar| bar.length() != *estimated_rows) {
                    self.show(flow, new_bar(*estimated_rows, sentence(event)));
                }
                if let Some(bar) = self.by_flow.get(flow) {
                    bar.set_position(*rows);
                }
            }
            Event::SnapshotStarted { flow, .. }
            | Event::WindowStarted { flow, .. }
            | Event::WaitingForCapture { flow } => self.show(flow, new_bar(None, sentence(event))),
            Event::Committed { more: false, .. } if lines == Lines::OfParts => {}
            Event::Conflict { flow, .. }
            | Event::Retrying { flow, .. }
            | Event::Committed { flow, .. }
            | Event::Gap { flow, .. }
            | Event::Stopped { flow, .. }
            | Event::Maintained { flow, .. }
            | Event::MaintenanceFailed { flow, .. } => {
                self.clear(flow);
                self.all.suspend(|| tell!("{}", sentence(event)));
            }
            Event::Finished { flow } => self.clear(flow),
        }
    }

    fn show(&mut self, flow: &str, bar: ProgressBar) {
        self.clear(flow);
        let bar = self.all.add(bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.by_flow.insert(flow.to_string(), bar);
    }

    fn clear(&mut self, flow: &str) {
        if let Some(bar) = self.by_flow.remove(flow) {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(length: Option<u64>, message: String) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{msg} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(message)
}

/// A step in words; the end of a flow is told by its summary instead.
fn sentence(event: &Event) -> String {
    match event {
        Event::SnapshotStarted {
            kind,
            flow,
            table,
            rows,
        } => match rows {
            0 => format!("{flow}: {kind} of {table}"),
            rows => format!(
                "{flow}: going on with the {kind} of {table}, of which {} rows are there",
                HumanCount(*rows)
            ),
        },
        Event::SnapshotProgress { flow, rows, .. } => {
            format!("{flow}: {} rows read", HumanCount(*rows))
        }
        Event::WindowStarted { flow, window } => format!("{flow}: reading changes {window}"),
        Event::WaitingForCapture { flow } => format!("{flow}: waiting for the capture job"),
        Event::Committed {
            copy,
            flow,
            window,
            upto,
            rows,
            version,
            elapsed,
            violations,
            ..
        } => {
            let counts = counts(*rows);
            let what = match (copy, window) {
                (_, Some(window)) => format!("{counts}, LSN {window}"),
                (Some(kind), None) => format!("{kind}: {counts}, at LSN {upto}"),
                (None, None) => format!("{counts}, at LSN {upto}"),
            };
            let version = version.unwrap_or_default();
            let seconds = elapsed.as_secs_f64();
            let violated = violated(violations);
            format!("{flow}: {what}, Delta version {version} ({seconds:.1} s){violated}")
        }
        Event::Gap {
            flow,
            policy,
            reason,
        } => {
            let what = match policy {
                OnGap::Resnapshot => "the table is copied again",
                OnGap::Fail | OnGap::Continue => "going on with what the source still has",
            };
            format!("{flow}: {reason}; by 'cdcql.onGap' = '{policy}' {what}")
        }
        Event::Stopped { flow, reason } => format!("{flow}: stopped: {reason}"),
        Event::Maintained { flow, report } => {
            let steps = report.steps.iter().map(|step| step.action.to_string());
            let steps = steps.collect::<Vec<_>>().join(", ");
            match steps.is_empty() {
                true => format!("{flow}: needs no maintenance"),
                false => format!("{flow}: maintained: {steps}"),
            }
        }
        Event::MaintenanceFailed { flow, reason } => {
            format!("{flow}: cannot be maintained now: {reason}")
        }
        Event::Conflict { flow, attempt } => {
            format!("{flow}: another writer committed first (try {attempt}); beginning again")
        }
        Event::Retrying {
            flow,
            reason,
            pause,
        } => format!(
            "{flow}: {reason}; trying again in {:.2} s",
            pause.as_secs_f64()
        ),
        Event::Finished { .. } => String::new(),
    }
}

/// The one line that tells how a flow ended; `None` for a failure, which is printed as an error.
pub(super) fn summary(report: &FlowReport) -> Option<String> {
    let seconds = report.elapsed.as_secs_f64();
    let line = match report.result.as_ref().ok()? {
        FlowResult::Copied {
            kind,
            commit,
            upto,
            violations,
        } => format!(
            "{kind}: {}, at LSN {upto}, Delta version {}{}",
            counts(commit.rows()),
            commit.version().unwrap_or_default(),
            violated(violations)
        ),
        FlowResult::Applied {
            commit,
            rows,
            window,
            windows,
            violations,
        } => format!(
            "{}, LSN {window}{}, Delta version {}{}",
            counts(*rows),
            if *windows > 1 {
                format!(" in {} windows", HumanCount(*windows))
            } else {
                String::new()
            },
            commit.version().unwrap_or_default(),
            violated(violations)
        ),
        FlowResult::UpToDate { at, version } => {
            format!("nothing new since LSN {at}, Delta version {version} stands")
        }
    };
    Some(format!("{}: {line} ({seconds:.1} s)", report.flow))
}

fn counts(rows: RowCounts) -> String {
    format!(
        "{} inserted, {} updated, {} deleted",
        HumanCount(rows.inserted),
        HumanCount(rows.updated),
        HumanCount(rows.deleted)
    )
}

/// The expectations that were violated, each with its rows; nothing if there was none.
fn violated(violations: &[Violations]) -> String {
    let violated = violations.iter().filter(|one| one.rows > 0);
    let parts = violated.map(|one| {
        let rows = if one.rows == 1 { "row" } else { "rows" };
        let (name, count) = (&one.expectation, HumanCount(one.rows));
        format!("; '{name}' violated: {count} {rows} {}", one.on_violation)
    });
    parts.collect()
}
