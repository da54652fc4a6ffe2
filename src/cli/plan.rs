//! `cdcql plan FILE`.

use serde_json::{Map, Value, json};

use super::args::{PlanArguments, PlanFormat};
use super::output::{print_error, tell, write_out};
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::pipeline::{
    ColumnDifference, ColumnEffect, FlowPlan, MOST_ROWS_BEHIND, Moment, PlannedSource, PlannedWork,
    plan,
};

/// Prints what a run would do for the file's flows; the exit code is that of such a run.
pub(super) async fn run(arguments: &PlanArguments, manner: Manner<'_>) -> Result<(), Error> {
    let (text, failure) = of(&Session::try_new(manner)?, arguments).await?;
    write_out(&text)?;
    failure.map_or(Ok(()), Err)
}

/// What a run would do for the file's flows, and the failure that decides the exit code; others are printed.
pub(super) async fn of(
    session: &Session,
    arguments: &PlanArguments,
) -> Result<(String, Option<Error>), Error> {
    let statements = session.read(&arguments.file).await?;
    let file = Some(arguments.file.as_path());
    let plans = Box::pin(plan(&session.engine, statements, file, &arguments.flow)).await?;
    let texts = plans.flows.iter().map(|plan| match arguments.format {
        PlanFormat::Text => text_of(plan),
        PlanFormat::Json => format!("{}\n", object_of(plan)),
    });
    let text = texts.collect();
    if plans.flows.is_empty() && arguments.format == PlanFormat::Text {
        tell!("{} has no flow", arguments.file.display());
    }
    let failures = plans.flows.into_iter().filter_map(|plan| plan.result.err());
    let mut failure = None;
    for error in failures.chain(plans.invalid.err()) {
        if let Some(earlier) = failure.replace(error) {
            print_error(&earlier);
        }
    }
    Ok((text, failure))
}

/// One word or two for what a run would do.
fn state(plan: &FlowPlan) -> &'static str {
    match (&plan.result, &plan.work) {
        (Err(error), _) if error.exit_code() == 5 => "changes lost",
        (Err(_), _) => "failing",
        (Ok(()), None) => "invalid",
        (Ok(()), Some(PlannedWork::Copy { over: None, .. })) => "not copied",
        (Ok(()), Some(PlannedWork::Copy { .. })) => "copied again",
        (Ok(()), Some(PlannedWork::ChangedRows { .. })) => "rows read again",
        (Ok(()), Some(PlannedWork::Changes { begins: true, .. })) => "not begun",
        (Ok(()), Some(PlannedWork::WaitForCapture)) => "waiting",
        (Ok(()), Some(PlannedWork::Changes { .. })) => "behind",
        (Ok(()), Some(PlannedWork::Move { .. } | PlannedWork::Nothing)) => "up to date",
    }
}

/// A flow as a paragraph: its name and state, and a line for each thing that there is to say of it.
fn text_of(plan: &FlowPlan) -> String {
    let mut text = format!("{}: {}\n", plan.flow, state(plan));
    let mut line = |name: &str, value: String| {
        for (place, value) in value.lines().enumerate() {
            let name = if place == 0 { name } else { "" };
            text.push_str(format!("  {name:<12}  {value}").trim_end());
            text.push('\n');
        }
    };
    if let Some(work) = &plan.work {
        line("would", sentence(work));
    }
    if let Some(problem) = &plan.problem {
        line("error", problem.clone());
    }
    if let Some(source) = &plan.source {
        line("source", source_text(source));
        line("key", key_text(source));
    }
    line("target", target_text(plan));
    if let Some(checkpoint) = plan.checkpoint {
        line("stands at", moment_text(checkpoint));
    }
    if let Some(newest) = plan.newest {
        line("newest", moment_text(newest));
    }
    line("columns", columns_text(plan));
    let history = plan
        .source
        .as_ref()
        .and_then(|source| source.ddl_history.as_ref());
    for change in history.into_iter().flatten() {
        let command = change.command.split_whitespace().collect::<Vec<_>>();
        line(
            "ddl_history",
            format!("{}  {}", change.lsn, command.join(" ")),
        );
    }
    if !plan.goes_after.is_empty() {
        line("goes after", plan.goes_after.join(", "));
    }
    if let Some(path) = &plan.merge_path {
        line("merge path", path.clone());
    }
    for setting in &plan.settings {
        let default = if setting.is_given { "" } else { " (default)" };
        line(
            "setting",
            format!("{} = {}{default}", setting.name, setting.value),
        );
    }
    if let Some(merge) = &plan.merge {
        line("merge", merge.clone());
    }
    text
}

fn sentence(work: &PlannedWork) -> String {
    match work {
        PlannedWork::Copy {
            over,
            after,
            estimated_rows,
            chunks_by,
            rows_per_chunk,
            reads_snapshots,
            lost,
        } => {
            let over = over.map_or("copy the table".to_string(), |why| {
                format!("copy the table over what the target has, since {why}")
            });
            let rows = estimated_rows.map_or("an unknown number of rows".to_string(), |rows| {
                format!("about {rows} rows")
            });
            let chunks = match chunks_by.is_empty() {
                true => "in one chunk".to_string(),
                false => format!(
                    "in chunks of up to {rows_per_chunk} rows by {}",
                    chunks_by.join(", ")
                ),
            };
            let isolation = if *reads_snapshots {
                "SNAPSHOT"
            } else {
                "READ COMMITTED"
            };
            format!(
                "{over}: {rows}, {chunks}, under {isolation}, and the changes past {after}{}",
                lost_text(lost.as_ref())
            )
        }
        PlannedWork::Changes {
            window,
            rows,
            begins,
            lost,
        } => {
            let begins = if *begins { "begin with the" } else { "read" };
            format!(
                "{begins} changes ({}, {}]: {}{}",
                window.after(),
                window.upto(),
                rows_text(*rows),
                lost_text(lost.as_ref())
            )
        }
        PlannedWork::ChangedRows {
            capture_instance,
            window,
            rows,
        } => format!(
            "read the rows again that changed in ({}, {}] by capture instance {capture_instance} ({}), for the target's new \
             columns, and the changes past {}; in all other rows these are NULL",
            window.after(),
            window.upto(),
            rows_text(*rows),
            window.upto()
        ),
        PlannedWork::WaitForCapture => {
            "wait until capture has come past the start of the capture instance".to_string()
        }
        PlannedWork::Move { upto } => format!("move the checkpoint to {upto}, without rows"),
        PlannedWork::Nothing => "do nothing".to_string(),
    }
}

/// Rows of a change table, as they are counted.
fn rows_text(rows: u64) -> String {
    match rows {
        rows if rows >= u64::from(MOST_ROWS_BEHIND) => format!("{MOST_ROWS_BEHIND} rows or more"),
        1 => "1 row".to_string(),
        rows => format!("{rows} rows"),
    }
}

fn lost_text(lost: Option<&String>) -> String {
    lost.map_or_else(String::new, |lost| format!("\nlost: {lost}"))
}

fn source_text(source: &PlannedSource) -> String {
    let newer = match source.has_newer_instance {
        true => ", until it has come to the table's newer one",
        false => "",
    };
    format!(
        "{}.{}.{} in database {}, by capture instance {}{newer}",
        source.connection, source.schema, source.table, source.database, source.capture_instance
    )
}

fn key_text(source: &PlannedSource) -> String {
    let key = match source.key.is_empty() {
        true => "none".to_string(),
        false => source.key.join(", "),
    };
    let index = match &source.key_index {
        Some(index) if index.is_primary => format!(" (primary key {})", index.name),
        Some(index) => format!(" (unique index {})", index.name),
        None => String::new(),
    };
    let on = source
        .on
        .iter()
        .map(|(own, other)| format!("{own} = {other}"));
    let on = on.collect::<Vec<_>>().join(", ");
    let newer = source.newer_key.as_ref().map(|newer| {
        let then = match newer.stops {
            true => "and stops the flow when it comes to it, since ON does not compare that",
            false => "which ON compares too",
        };
        let (instance, key) = (&newer.capture_instance, newer.key.join(", "));
        format!("; the newer capture instance {instance} has {key}, {then}")
    });
    let newer = newer.unwrap_or_default();
    match on.is_empty() {
        true => format!("{key}{index}{newer}"),
        false => format!("{key}{index}; ON compares {on}{newer}"),
    }
}

fn target_text(plan: &FlowPlan) -> String {
    match (plan.version, plan.is_opened) {
        (Some(version), _) => format!("{}, version {version}", plan.location),
        (None, true) => format!("{}, still to be made", plan.location),
        (None, false) => plan.location.clone(),
    }
}

fn moment_text(moment: Moment) -> String {
    format!("{} of {}", moment.lsn, time_of(moment))
}

/// The instant as ISO 8601 has it, in UTC.
fn time_of(moment: Moment) -> String {
    let time = chrono::DateTime::from_timestamp_millis(moment.utc_ms);
    time.map_or_else(String::new, |time| {
        time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    })
}

fn columns_text(plan: &FlowPlan) -> String {
    let new = plan
        .new_columns
        .iter()
        .map(|(name, kind)| format!("{name} {kind}"));
    let new = new.collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if !new.is_empty() {
        lines.push(format!("{new}, as the flow inserts them"));
    }
    lines.extend(plan.differences.iter().map(difference_text));
    match (lines.is_empty(), plan.is_opened && plan.merge.is_some()) {
        (true, true) => "no difference".to_string(),
        (true, false) => "not known".to_string(),
        (false, _) => lines.join("\n"),
    }
}

fn difference_text(difference: &ColumnDifference) -> String {
    let types = match (&difference.source_type, &difference.target_type) {
        (Some(source), Some(target)) => format!("{source} in the source, {target} in the target"),
        (Some(source), None) => format!("{source}, not in the target"),
        (None, Some(target)) => format!("{target} in the target, not in the source"),
        (None, None) => "in neither".to_string(),
    };
    let effect = match difference.effect {
        ColumnEffect::Added => "the target gets it, and the table is copied again",
        ColumnEffect::AddedAsNull => {
            "the target gets it, NULL in rows that have not changed since it came"
        }
        ColumnEffect::Widened => "the target gets the wider type, and its files are written anew",
        ColumnEffect::LeftOut => "stays out of the target",
        ColumnEffect::Null => "NULL in rows that change from now on",
        ColumnEffect::Kept => "the flow does not write it",
        ColumnEffect::Stops => "stops the flow",
        ColumnEffect::NotCaptured => {
            return format!(
                "{} ({} in the source): not captured; a second capture instance would tell of it",
                difference.column,
                difference.source_type.as_deref().unwrap_or_default()
            );
        }
    };
    format!("{} ({types}): {effect}", difference.column)
}

/// A flow as an object; what is not known is null.
fn object_of(plan: &FlowPlan) -> Value {
    let mut object = Map::new();
    let mut add = |name: &str, value: Value| _ = object.insert(name.to_string(), value);
    add("flow", plan.flow.as_str().into());
    add("state", state(plan).into());
    add("version", plan.version.into());
    add("checkpoint_lsn", lsn_of(plan.checkpoint));
    add("checkpoint_time", plan.checkpoint.map(time_of).into());
    add("source_lsn", lsn_of(plan.newest));
    add("source_time", plan.newest.map(time_of).into());
    add("rows_behind", rows_behind(plan).into());
    add("location", plan.location.as_str().into());
    add(
        "source",
        plan.source.as_ref().map_or(Value::Null, source_object),
    );
    add("work", plan.work.as_ref().map_or(Value::Null, work_object));
    let differences = plan.differences.iter().map(|difference| {
        json!({
            "column": difference.column,
            "source_type": difference.source_type,
            "target_type": difference.target_type,
            "effect": difference.effect.to_string(),
        })
    });
    add("differences", differences.collect());
    let columns = plan.new_columns.iter();
    let columns = columns.map(|(name, kind)| json!({ "column": name, "type": kind }));
    add("new_columns", columns.collect());
    add("goes_after", plan.goes_after.clone().into());
    add("merge_path", plan.merge_path.clone().into());
    add("merge", plan.merge.clone().into());
    let settings = plan.settings.iter().map(|setting| {
        json!({ "name": setting.name, "value": setting.value, "given": setting.is_given })
    });
    add("settings", settings.collect());
    add("error", plan.problem.clone().into());
    Value::Object(object)
}

/// Rows of changes that wait; `None` where the table is copied.
fn rows_behind(plan: &FlowPlan) -> Option<u64> {
    match plan.work.as_ref()? {
        PlannedWork::Changes { rows, .. } => Some(*rows),
        PlannedWork::Move { .. } | PlannedWork::Nothing => Some(0),
        PlannedWork::Copy { .. }
        | PlannedWork::ChangedRows { .. }
        | PlannedWork::WaitForCapture => None,
    }
}

fn lsn_of(moment: Option<Moment>) -> Value {
    moment.map(|moment| moment.lsn.to_string()).into()
}

fn source_object(source: &PlannedSource) -> Value {
    let on = source.on.iter();
    let on = on.map(|(own, other)| json!({ "target": own, "source": other }));
    let index = source.key_index.as_ref();
    let index = index.map(|index| json!({ "name": index.name, "primary": index.is_primary }));
    let history = source.ddl_history.as_ref().map(|history| {
        let changes = history.iter();
        changes
            .map(|change| json!({ "lsn": change.lsn.to_string(), "command": change.command }))
            .collect::<Vec<_>>()
    });
    let newer = source.newer_key.as_ref().map(|newer| {
        json!({
            "capture_instance": newer.capture_instance,
            "key": newer.key,
            "stops": newer.stops,
        })
    });
    json!({
        "connection": source.connection,
        "database": source.database.trim_matches('\''),
        "schema": source.schema,
        "table": source.table,
        "capture_instance": source.capture_instance,
        "has_newer_instance": source.has_newer_instance,
        "key": source.key,
        "key_index": index,
        "newer_key": newer,
        "on": on.collect::<Vec<_>>(),
        "ddl_history": history,
    })
}

fn work_object(work: &PlannedWork) -> Value {
    match work {
        PlannedWork::Copy {
            over,
            after,
            estimated_rows,
            chunks_by,
            rows_per_chunk,
            reads_snapshots,
            lost,
        } => json!({
            "action": if over.is_some() { "new_copy" } else { "first_copy" },
            "why": over,
            "after": after.to_string(),
            "estimated_rows": estimated_rows,
            "chunks_by": chunks_by,
            "rows_per_chunk": rows_per_chunk,
            "isolation": if *reads_snapshots { "snapshot" } else { "read committed" },
            "lost": lost,
        }),
        PlannedWork::Changes {
            window,
            begins,
            lost,
            ..
        } => json!({
            "action": if *begins { "begin" } else { "window" },
            "after": window.after().to_string(),
            "upto": window.upto().to_string(),
            "lost": lost,
        }),
        PlannedWork::ChangedRows {
            capture_instance,
            window,
            rows,
        } => json!({
            "action": "copy_of_changed_rows",
            "capture_instance": capture_instance,
            "after": window.after().to_string(),
            "upto": window.upto().to_string(),
            "change_rows": rows,
        }),
        PlannedWork::WaitForCapture => json!({ "action": "wait_for_capture" }),
        PlannedWork::Move { upto } => json!({ "action": "move", "upto": upto.to_string() }),
        PlannedWork::Nothing => json!({ "action": "nothing" }),
    }
}
