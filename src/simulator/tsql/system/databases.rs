//! Databases, and what the server knows of capture jobs.

use std::sync::Arc;

use super::{Columns, DESCRIPTION, Definition, NAME};
use crate::simulator::capture::{CaptureJob, ScanSession, job_settings, look};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{DatabaseCell, Lsn, State};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{Value, round_datetime};

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "sys",
        name: "databases",
        columns: DATABASES,
        rows: databases,
    },
    Definition {
        schema: "sys",
        name: "dm_cdc_log_scan_sessions",
        columns: SESSIONS,
        rows: sessions,
    },
    Definition {
        schema: "sys",
        name: "dm_cdc_errors",
        columns: ERRORS,
        rows: errors,
    },
    Definition {
        schema: "dbo",
        name: "cdc_jobs",
        columns: JOBS,
        rows: jobs,
    },
];

const DATABASES: Columns = &[
    ("name", NAME, false),
    ("database_id", SqlType::Int, false),
    ("source_database_id", SqlType::Int, true),
    ("create_date", SqlType::DateTime, false),
    ("compatibility_level", SqlType::TinyInt, false),
    ("collation_name", NAME, true),
    ("user_access", SqlType::TinyInt, true),
    ("user_access_desc", DESCRIPTION, true),
    ("is_read_only", SqlType::Bit, true),
    ("state", SqlType::TinyInt, true),
    ("state_desc", DESCRIPTION, true),
    ("snapshot_isolation_state", SqlType::TinyInt, true),
    ("snapshot_isolation_state_desc", DESCRIPTION, true),
    ("is_read_committed_snapshot_on", SqlType::Bit, true),
    ("recovery_model", SqlType::TinyInt, true),
    ("recovery_model_desc", DESCRIPTION, true),
    ("is_published", SqlType::Bit, false),
    ("log_reuse_wait", SqlType::TinyInt, true),
    ("log_reuse_wait_desc", DESCRIPTION, true),
    ("is_cdc_enabled", SqlType::Bit, false),
    ("is_encrypted", SqlType::Bit, true),
];

fn databases(scope: &Scope, _: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let names: Vec<String> = scope
        .server()
        .databases()
        .iter()
        .map(|database| database.name().to_owned())
        .collect();
    let states = names.iter().filter_map(|name| scope.state(name));
    Ok(states
        .map(|state| {
            let cell = scope.server().database(&state.name);
            let behind = state.capture.is_some() && cell.is_some_and(|cell| cell.is_behind());
            let (reuse, reuse_name) = if behind {
                (6, "REPLICATION")
            } else {
                (0, "NOTHING")
            };
            let snapshot = if state.snapshot_isolation {
                "ON"
            } else {
                "OFF"
            };
            vec![
                state.name.as_str().into(),
                state.id.into(),
                Value::Null,
                Value::Timestamp(state.created),
                Value::Int(160),
                state.collation.to_string().into(),
                Value::Int(0),
                "MULTI_USER".into(),
                false.into(),
                Value::Int(0),
                "ONLINE".into(),
                Value::Int(state.snapshot_isolation.into()),
                snapshot.into(),
                state.read_committed_snapshot.into(),
                Value::Int(1),
                "FULL".into(),
                false.into(),
                Value::Int(reuse),
                reuse_name.into(),
                state.capture.is_some().into(),
                false.into(),
            ]
        })
        .collect())
}

const SESSIONS: Columns = &[
    ("session_id", SqlType::Int, false),
    ("start_time", SqlType::DateTime, true),
    ("end_time", SqlType::DateTime, true),
    ("duration", SqlType::BigInt, true),
    ("scan_phase", SqlType::NVarChar(Length::Limited(200)), true),
    ("error_count", SqlType::Int, true),
    ("start_lsn", SqlType::NVarChar(Length::Limited(23)), true),
    ("current_lsn", SqlType::NVarChar(Length::Limited(23)), true),
    ("end_lsn", SqlType::NVarChar(Length::Limited(23)), true),
    ("tran_count", SqlType::BigInt, true),
    (
        "last_commit_lsn",
        SqlType::NVarChar(Length::Limited(23)),
        true,
    ),
    ("last_commit_time", SqlType::DateTime, true),
    ("log_record_count", SqlType::BigInt, true),
    ("schema_change_count", SqlType::BigInt, true),
    ("command_count", SqlType::BigInt, true),
    (
        "first_begin_cdc_lsn",
        SqlType::NVarChar(Length::Limited(23)),
        true,
    ),
    (
        "last_commit_cdc_lsn",
        SqlType::NVarChar(Length::Limited(23)),
        true,
    ),
    ("last_commit_cdc_time", SqlType::DateTime, true),
    ("latency", SqlType::Int, true),
    ("empty_scan_count", SqlType::Int, true),
    ("failed_sessions_count", SqlType::Int, true),
];

/// The database as the server knows it that scans its log; a replica does not.
fn scanned(scope: &Scope, state: &State) -> Option<Arc<DatabaseCell>> {
    let cell = scope.server().database(&state.name);
    cell.filter(|_| !scope.only_reads(&state.name))
}

/// The database's scans of the log: the newest ones, and row 0 with all since the server began.
fn sessions(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let Some(cell) = scanned(scope, state) else {
        return Ok(Vec::new());
    };
    if cell.schedule() == CaptureJob::EveryCommit && state.capture.is_some() {
        // The job is always at the end of the log: it comes there again whenever somebody looks.
        look(&cell);
    }
    Ok(cell.job(|job| {
        if job.sessions.is_empty() {
            return Vec::new();
        }
        std::iter::once(&job.total)
            .chain(&job.sessions)
            .map(session)
            .collect()
    }))
}

fn session(session: &ScanSession) -> Vec<Value> {
    let aggregate = session.id == 0;
    let (commit_lsn, commit_time) = session.last_commit.unzip();
    let latency = match commit_time {
        Some(at) if session.transactions > 0 => (session.ended - at) / 1_000_000,
        _ => 0,
    };
    let when = |micros| {
        if aggregate {
            Value::Null
        } else {
            Value::Timestamp(round_datetime(micros))
        }
    };
    vec![
        session.id.into(),
        when(session.started),
        when(session.ended),
        ((session.ended - session.started) / 1_000_000).into(),
        if aggregate { "Aggregate" } else { "Done" }.into(),
        session.errors.into(),
        lsn_text(session.start_lsn),
        lsn_text(commit_lsn.or(session.end_lsn)),
        lsn_text(session.end_lsn),
        count(session.transactions),
        lsn_text(commit_lsn),
        commit_time.map_or(Value::Null, Value::Timestamp),
        count(session.records),
        count(session.definitions),
        count(session.commands),
        lsn_text(session.first_begin),
        lsn_text(commit_lsn),
        commit_time.map_or(Value::Null, Value::Timestamp),
        latency.into(),
        session.empty_scans.into(),
        session.failed.into(),
    ]
}

fn count(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// An LSN as these views have it: `vvvvvvvv:bbbbbbbb:rrrr`.
fn lsn_text(lsn: Option<Lsn>) -> Value {
    let Some(lsn) = lsn else {
        return Value::from("00000000:00000000:0000");
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    format!("{}:{}:{}", hex(&lsn[..4]), hex(&lsn[4..8]), hex(&lsn[8..])).into()
}

fn errors(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let Some(cell) = scanned(scope, state) else {
        return Ok(Vec::new());
    };
    Ok(cell.job(|job| {
        job.errors
            .iter()
            .map(|found| {
                vec![
                    found.session.into(),
                    Value::Int(7),
                    Value::Timestamp(round_datetime(found.at)),
                    Value::Int(found.error.number.into()),
                    Value::Int(found.error.severity.into()),
                    Value::Int(found.error.state.into()),
                    found.error.message.as_str().into(),
                    NO_LSN.into(),
                    NO_LSN.into(),
                    NO_LSN.into(),
                ]
            })
            .collect()
    }))
}

const ERRORS: Columns = &[
    ("session_id", SqlType::Int, true),
    ("phase_number", SqlType::Int, true),
    ("entry_time", SqlType::DateTime, true),
    ("error_number", SqlType::Int, true),
    ("error_severity", SqlType::Int, true),
    ("error_state", SqlType::Int, true),
    (
        "error_message",
        SqlType::NVarChar(Length::Limited(1024)),
        true,
    ),
    ("start_lsn", LSN_TEXT, true),
    ("begin_lsn", LSN_TEXT, true),
    ("sequence_value", LSN_TEXT, true),
];

/// An LSN as text.
const LSN_TEXT: SqlType = SqlType::NVarChar(Length::Limited(23));
/// What stands for the LSN of an error that is of no row.
const NO_LSN: &str = "00000000:00000000:0000";

const JOBS: Columns = &[
    ("database_id", SqlType::Int, false),
    ("job_type", SqlType::NVarChar(Length::Limited(20)), false),
    ("job_id", SqlType::UniqueIdentifier, true),
    ("maxtrans", SqlType::Int, true),
    ("maxscans", SqlType::Int, true),
    ("continuous", SqlType::Bit, true),
    ("pollinginterval", SqlType::BigInt, true),
    ("retention", SqlType::BigInt, true),
    ("threshold", SqlType::BigInt, true),
];

fn jobs(scope: &Scope, _: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for database in scope.server().databases() {
        let Some(state) = scope.state(database.name()) else {
            continue;
        };
        let Some(settings) = state.capture.as_ref().map(|capture| &capture.jobs) else {
            continue;
        };
        for (kind, id, settings) in job_settings(&state, settings) {
            let mut row = vec![state.id.into(), kind.into(), id];
            row.extend(settings);
            rows.push(row);
        }
    }
    Ok(rows)
}
