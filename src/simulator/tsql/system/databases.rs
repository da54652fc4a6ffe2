//! Databases, and what the server knows of capture jobs.

use super::{COLLATION, Columns, DESCRIPTION, Definition, NAME, no_rows};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::State;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

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
        rows: no_rows,
    },
    Definition {
        schema: "sys",
        name: "dm_cdc_errors",
        columns: ERRORS,
        rows: no_rows,
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
                COLLATION.into(),
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
                Value::Int(0),
                "NOTHING".into(),
                state.capture.is_some().into(),
                false.into(),
            ]
        })
        .collect())
}

/// Capture needs no scan of the log here, so that there are no sessions of it.
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
    ("command_count", SqlType::BigInt, true),
    ("latency", SqlType::Int, true),
    ("empty_scan_count", SqlType::Int, true),
    ("failed_sessions_count", SqlType::Int, true),
];

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
];

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
        let Some(state) = scope.state(database.name()).filter(|s| s.capture.is_some()) else {
            continue;
        };
        let job = |kind: &str, numbers: [i64; 5]| {
            let [maxtrans, maxscans, polling, retention, threshold] = numbers;
            vec![
                state.id.into(),
                kind.into(),
                Value::Null,
                Value::Int(maxtrans),
                Value::Int(maxscans),
                (kind == "capture").into(),
                Value::Int(polling),
                Value::Int(retention),
                Value::Int(threshold),
            ]
        };
        rows.push(job("capture", [500, 10, 5, 0, 0]));
        rows.push(job("cleanup", [0, 0, 0, 4320, 5000]));
    }
    Ok(rows)
}
