//! What a run shows while it goes on: a bar on a terminal, plain lines otherwise.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::pipeline::{Event, FlowReport, FlowResult, Reporter};
use crate::sink::delta::RowCounts;

/// Rows between two plain progress lines.
const ROWS_PER_LINE: u64 = 1_000_000;

/// A reporter for people; silent when `quiet`.
pub(super) fn reporter(quiet: bool) -> Reporter {
    if quiet {
        return Reporter::new(|_| {});
    }
    if stderr().is_terminal() {
        let bar = Mutex::new(None);
        return Reporter::new(move |event| {
            draw(
                &mut bar.lock().unwrap_or_else(PoisonError::into_inner),
                &event,
            )
        });
    }
    let printed = Mutex::new(0);
    Reporter::new(move |event| {
        print(
            &mut printed.lock().unwrap_or_else(PoisonError::into_inner),
            &event,
        )
    })
}

fn print(printed: &mut u64, event: &Event) {
    match event {
        Event::SnapshotProgress { flow, rows, .. } => {
            let steps = rows / ROWS_PER_LINE;
            if steps > *printed {
                *printed = steps;
                eprintln!("{flow}: {} rows read", HumanCount(*rows));
            }
        }
        Event::Finished { .. } => *printed = 0,
        other => {
            *printed = 0;
            eprintln!("{}", sentence(other));
        }
    }
}

fn draw(bar: &mut Option<ProgressBar>, event: &Event) {
    match event {
        Event::SnapshotProgress {
            rows,
            estimated_rows,
            ..
        } => {
            if bar
                .as_ref()
                .is_none_or(|bar| bar.length() != *estimated_rows)
            {
                clear(bar);
                *bar = Some(new_bar(*estimated_rows, sentence(event)));
            }
            if let Some(bar) = bar {
                bar.set_position(*rows);
            }
        }
        Event::SnapshotStarted { .. }
        | Event::WindowStarted { .. }
        | Event::WaitingForCapture { .. } => {
            clear(bar);
            *bar = Some(new_bar(None, sentence(event)));
        }
        Event::Conflict { .. } | Event::Retrying { .. } => {
            clear(bar);
            eprintln!("{}", sentence(event));
        }
        Event::Finished { .. } => clear(bar),
    }
}

fn clear(bar: &mut Option<ProgressBar>) {
    if let Some(bar) = bar.take() {
        bar.finish_and_clear();
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
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_message(message)
}

/// A step in words; the end of a flow is told by its summary instead.
fn sentence(event: &Event) -> String {
    match event {
        Event::SnapshotStarted { flow, table } => format!("{flow}: first copy of {table}"),
        Event::SnapshotProgress { flow, rows, .. } => {
            format!("{flow}: {} rows read", HumanCount(*rows))
        }
        Event::WindowStarted { flow, window } => format!("{flow}: reading changes {window}"),
        Event::WaitingForCapture { flow } => format!("{flow}: waiting for the capture job"),
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
        FlowResult::Copied { commit, upto } => format!(
            "first copy: {}, at LSN {upto}, Delta version {}",
            counts(commit.rows()),
            commit.version().unwrap_or_default()
        ),
        FlowResult::Applied { commit, window } => format!(
            "{}, LSN {window}, Delta version {}",
            counts(commit.rows()),
            commit.version().unwrap_or_default()
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
