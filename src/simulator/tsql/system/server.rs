//! What a server says of its settings and services.

use super::{Columns, Definition};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::State;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "sys",
        name: "configurations",
        columns: CONFIGURATIONS,
        rows: configurations,
    },
    Definition {
        schema: "sys",
        name: SERVICES,
        columns: SERVICE_COLUMNS,
        rows: services,
    },
];

const TEXT: SqlType = SqlType::NVarChar(Length::Limited(256));

/// The values are `sql_variant` on other servers; here all of them are integers.
const CONFIGURATIONS: Columns = &[
    ("configuration_id", SqlType::Int, false),
    ("name", SqlType::NVarChar(Length::Limited(35)), false),
    ("value", SqlType::Int, true),
    ("minimum", SqlType::Int, true),
    ("maximum", SqlType::Int, true),
    ("value_in_use", SqlType::Int, true),
    (
        "description",
        SqlType::NVarChar(Length::Limited(255)),
        false,
    ),
    ("is_dynamic", SqlType::Bit, false),
    ("is_advanced", SqlType::Bit, false),
];

/// Captured tables take large values of any size here.
fn configurations(_: &Scope, _: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    const UNLIMITED: i64 = -1;
    Ok(vec![vec![
        Value::Int(1536),
        "max text repl size (B)".into(),
        Value::Int(UNLIMITED),
        Value::Int(UNLIMITED),
        Value::Int(i32::MAX.into()),
        Value::Int(UNLIMITED),
        "Maximum size of a text field in replication.".into(),
        true.into(),
        false.into(),
    ]])
}

/// The view of the services, which only who may see the server's state is shown.
pub(super) const SERVICES: &str = "dm_server_services";

const SERVICE_COLUMNS: Columns = &[
    ("servicename", TEXT, false),
    ("startup_type", SqlType::Int, true),
    ("startup_type_desc", TEXT, false),
    ("status", SqlType::Int, true),
    ("status_desc", TEXT, false),
    ("process_id", SqlType::Int, true),
];

fn services(_: &Scope, _: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let running = |name: &str| {
        vec![
            name.into(),
            Value::Int(2),
            "Automatic".into(),
            Value::Int(4),
            "Running".into(),
            Value::Null,
        ]
    };
    Ok(vec![
        running("SQL Server (MSSQLSERVER)"),
        running("SQL Server Agent (MSSQLSERVER)"),
    ])
}
