//! What follows from the facts of a database.

use super::database::{AZURE, DatabaseFacts, EXPRESS, METADATA};
use super::remedy::{ADD_CAPTURE_JOB, ALLOW_SNAPSHOT, ENABLE_DATABASE, START_CAPTURE_JOB, keep};
use crate::change::{Check, CheckState, Finding};

/// An idle database has an entry of the mapping about every five minutes.
const QUIET_MS: i64 = 6 * 60_000;
/// The same in Azure SQL Database, whose scheduler may rest.
const QUIET_AZURE_MS: i64 = 30 * 60_000;
/// Changes that are kept for less than a day are easily missed.
const SHORT_MINUTES: i64 = 24 * 60;
/// What capture keeps unless set.
const DEFAULT_MINUTES: i64 = 3 * 24 * 60;

/// The findings of a database.
pub(super) fn database(facts: &DatabaseFacts) -> Vec<Finding> {
    let mut findings = vec![connection(facts), capture(facts), snapshot(facts)];
    if facts.cdc_enabled {
        findings.push(metadata(facts));
        findings.push(state(facts));
        findings.push(job(facts));
        findings.extend(agent(facts));
        findings.push(retention(facts));
        findings.push(log(facts));
    }
    findings
}

fn ok(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Ok, seen)
}

fn warning(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Warning, seen)
}

fn failing(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Failing, seen)
}

fn unknown(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Unknown, seen)
}

fn connection(facts: &DatabaseFacts) -> Finding {
    let replica = if facts.read_only {
        ", a read-only replica"
    } else {
        ""
    };
    ok(
        Check::Connection,
        format!("version {}{replica}, user {}", facts.version, facts.user),
    )
}

fn capture(facts: &DatabaseFacts) -> Finding {
    if facts.cdc_enabled {
        return ok(Check::Capture, "enabled");
    }
    if facts.engine_edition == EXPRESS {
        return failing(
            Check::Capture,
            "not enabled, and Express editions do not have it: move the database to another edition",
        );
    }
    let grants = facts.grantee().select_metadata(&METADATA);
    let lines = [ENABLE_DATABASE.to_string(), grants];
    let lines = lines.iter().filter(|line| !line.is_empty());
    failing(
        Check::Capture,
        "not enabled on the database; a member of sysadmin may enable it",
    )
    .mended_by(lines.cloned().collect::<Vec<_>>().join("\n"))
}

fn snapshot(facts: &DatabaseFacts) -> Finding {
    if facts.snapshot_allowed {
        return ok(Check::Snapshot, "allowed");
    }
    if facts.read_only {
        return ok(Check::Snapshot, "a replica reads snapshots anyway");
    }
    warning(
        Check::Snapshot,
        "not allowed: a first copy reads under READ COMMITTED, and may wait for writers",
    )
    .mended_by(ALLOW_SNAPSHOT)
}

fn metadata(facts: &DatabaseFacts) -> Finding {
    if facts.unread_metadata.is_empty() {
        return ok(Check::Metadata, "can be read");
    }
    let tables = facts.unread_metadata.iter();
    let names = tables.map(|table| format!("cdc.{table}"));
    failing(
        Check::Metadata,
        format!(
            "this login may not read {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    )
    .mended_by(facts.grantee().select_metadata(&facts.unread_metadata))
}

fn state(facts: &DatabaseFacts) -> Finding {
    if facts.sees_scans {
        return ok(Check::DatabaseState, "scans of the log can be seen");
    }
    let permission = if facts.has_performance_state {
        "VIEW DATABASE PERFORMANCE STATE"
    } else {
        "VIEW DATABASE STATE"
    };
    warning(
        Check::DatabaseState,
        "this login may not see scans of the log: a first copy waits for a commit that is dated later than its read, on an \
         idle database five minutes",
    )
    .mended_by(facts.grantee().on_database(permission))
}

/// Whether something reads the log. On a replica nothing does, and nothing is shown.
fn job(facts: &DatabaseFacts) -> Finding {
    if let Some((number, message)) = &facts.scan_error {
        let seen = format!(
            "the newest scan of the log failed (error {number}: {message}): nothing is captured until that is mended"
        );
        return failing(Check::CaptureJob, seen).mended_by(START_CAPTURE_JOB);
    }
    let own_scheduler = facts.read_only || facts.published || facts.engine_edition == AZURE;
    if facts.has_capture_job == Some(false) && !own_scheduler {
        return failing(
            Check::CaptureJob,
            "there is none on this server, as after a failover to a new primary: nothing is captured",
        )
        .mended_by(ADD_CAPTURE_JOB);
    }
    progress(facts)
}

/// How far what reads the log has come.
fn progress(facts: &DatabaseFacts) -> Finding {
    let Some(reach) = &facts.reach else {
        return unknown(
            Check::CaptureJob,
            "without cdc.lsn_time_mapping nobody knows how far capture is",
        );
    };
    if reach.head.is_none() {
        return failing(
            Check::CaptureJob,
            "nothing has been captured yet: wait a few seconds where capture was just enabled, else start the job",
        )
        .mended_by(START_CAPTURE_JOB);
    }
    let age_ms = reach.age_ms;
    let seen = format!("has come to a commit of {} ago", span(age_ms));
    let limit = if facts.engine_edition == AZURE {
        QUIET_AZURE_MS
    } else {
        QUIET_MS
    };
    if age_ms <= limit {
        return ok(Check::CaptureJob, seen);
    }
    let seen = format!("{seen}, where an idle database has one every five minutes: capture stands");
    if facts.read_only {
        warning(
            Check::CaptureJob,
            format!("{seen}, or this replica is behind"),
        )
    } else if facts.published {
        warning(
            Check::CaptureJob,
            format!("{seen}: look at the Log Reader Agent of replication"),
        )
    } else {
        warning(Check::CaptureJob, seen).mended_by(START_CAPTURE_JOB)
    }
}

/// The service that runs the job; Azure SQL Database has none.
fn agent(facts: &DatabaseFacts) -> Option<Finding> {
    if facts.engine_edition == AZURE || facts.read_only {
        return None;
    }
    Some(match &facts.agent {
        Some((service, state)) if state.eq_ignore_ascii_case("Running") => {
            ok(Check::Agent, format!("{service} is running"))
        }
        Some((service, state)) => failing(
            Check::Agent,
            format!(
                "{service} is {}: start the service on the server's machine",
                state.to_lowercase()
            ),
        ),
        None => unknown(
            Check::Agent,
            "this login may not see services (VIEW SERVER STATE, from 2022 on VIEW SERVER SECURITY STATE); how far the capture job is tells more",
        ),
    })
}

fn retention(facts: &DatabaseFacts) -> Finding {
    match facts
        .reach
        .as_ref()
        .and_then(|reach| reach.retention_minutes)
    {
        None => unknown(
            Check::Retention,
            "this login may not read the clean-up job; three days unless set",
        )
        .mended_by(if facts.engine_edition == AZURE {
            String::new()
        } else {
            facts.grantee().read_jobs(&facts.login, &facts.name)
        }),
        Some(minutes) if minutes < SHORT_MINUTES => warning(
            Check::Retention,
            format!(
                "changes are kept for {}: a flow that does not run within that loses some",
                span(minutes * 60_000)
            ),
        )
        .mended_by(keep(DEFAULT_MINUTES)),
        Some(minutes) => ok(
            Check::Retention,
            format!("changes are kept for {}", span(minutes * 60_000)),
        ),
    }
}

/// Whether what `lag_ms` behind the newest commit has time enough until clean-up.
pub(super) fn retention_for(facts: &DatabaseFacts, lag_ms: i64) -> Finding {
    let known = facts
        .reach
        .as_ref()
        .and_then(|reach| reach.retention_minutes);
    let minutes = known.unwrap_or(DEFAULT_MINUTES);
    let assumed = if known.is_some() { "" } else { " unless set" };
    let seen = format!(
        "the target is {} behind capture; changes are kept for {}{assumed}",
        span(lag_ms),
        span(minutes * 60_000)
    );
    if lag_ms / 60_000 <= minutes / 2 {
        return ok(Check::Retention, seen);
    }
    let needed = (lag_ms / 60_000).saturating_mul(3).max(DEFAULT_MINUTES);
    warning(
        Check::Retention,
        format!("{seen}: run the flow more often, or keep more"),
    )
    .mended_by(keep(needed))
}

fn log(facts: &DatabaseFacts) -> Finding {
    if facts.log_reuse != "REPLICATION" {
        return ok(
            Check::Log,
            format!("the log waits for {}", facts.log_reuse.to_lowercase()),
        );
    }
    warning(
        Check::Log,
        "the log cannot be truncated before capture has read it (REPLICATION): capture is behind, or stands while the log \
         grows",
    )
    .mended_by(START_CAPTURE_JOB)
}

/// A span of time in its two largest units.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
pub(super) mod tests;
