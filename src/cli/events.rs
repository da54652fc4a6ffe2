//! What a run does, for programs: one JSON object a line on stderr.

use std::error::Error as _;

use serde_json::{Map, Value, json};

use super::output::tell;
use crate::error::Error;
use crate::pipeline::{CopyKind, Event, Reporter};

/// A reporter that writes an object for each event but those of progress.
pub(super) fn reporter() -> Reporter {
    Reporter::new(|event| {
        if let Some(object) = object(&event) {
            tell!("{object}");
        }
    })
}

/// Writes an error as such an object, with what caused it and the exit code that it means.
pub(super) fn print_error(error: &Error) {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let error = json!({
        "message": error.to_string(),
        "causes": causes,
        "exit_code": error.exit_code(),
    });
    tell!("{}", named("error", error));
}

/// The event as an object, with its flow.
fn object(event: &Event) -> Option<Value> {
    let (name, flow, mut more) = parts(event)?;
    more["flow"] = flow.into();
    Some(named(name, more))
}

/// An object with a name and the time it was written.
fn named(name: &str, more: Value) -> Value {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let mut object = Map::new();
    object.insert("timestamp".to_string(), now.into());
    object.insert("event".to_string(), name.into());
    if let Value::Object(more) = more {
        object.extend(more);
    }
    Value::Object(object)
}

fn parts(event: &Event) -> Option<(&'static str, &str, Value)> {
    Some(match event {
        Event::SnapshotStarted {
            kind,
            flow,
            table,
            rows,
        } => {
            let kind = match kind {
                CopyKind::First => "first_copy",
                CopyKind::Anew => "new_copy",
                CopyKind::ChangedRows => "copy_of_changed_rows",
            };
            (kind, flow, json!({ "table": table, "rows": rows }))
        }
        Event::Committed {
            flow,
            window,
            upto,
            rows,
            version,
            elapsed,
            violations,
            more,
            ..
        } => {
            let violations = violations.iter().map(|one| {
                json!({
                    "expectation": one.expectation,
                    "on_violation": one.on_violation.to_string(),
                    "rows": one.rows,
                })
            });
            let committed = json!({
                "after": window.map(|window| window.after().to_string()),
                "upto": upto.to_string(),
                "inserted": rows.inserted,
                "updated": rows.updated,
                "deleted": rows.deleted,
                "version": version,
                "seconds": elapsed.as_secs_f64(),
                "expectations": violations.collect::<Vec<_>>(),
                "more": more,
            });
            let name = if window.is_some() { "window" } else { "copied" };
            (name, flow, committed)
        }
        Event::WaitingForCapture { flow } => ("waiting_for_capture", flow, json!({})),
        Event::Conflict { flow, attempt } => ("conflict", flow, json!({ "attempt": attempt })),
        Event::Retrying {
            flow,
            reason,
            pause,
        } => {
            let retry = json!({ "reason": reason, "pause_seconds": pause.as_secs_f64() });
            ("retry", flow, retry)
        }
        Event::Gap {
            flow,
            policy,
            reason,
        } => {
            let gap = json!({ "policy": policy.to_string(), "reason": reason });
            ("gap", flow, gap)
        }
        Event::Stopped { flow, reason } => ("stopped", flow, json!({ "reason": reason })),
        Event::Maintained { flow, report } => {
            let steps = report.steps.iter().map(|step| step.action.to_string());
            let steps: Vec<String> = steps.collect();
            ("maintained", flow, json!({ "steps": steps }))
        }
        Event::MaintenanceFailed { flow, reason } => {
            ("maintenance_failed", flow, json!({ "reason": reason }))
        }
        Event::SnapshotProgress { .. } | Event::WindowStarted { .. } | Event::Finished { .. } => {
            return None;
        }
    })
}
