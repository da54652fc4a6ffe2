//! The procedures of change data capture that answer with rows.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Schema};

use super::enable::enabled;
use super::instance::Instance;
use super::job::JobSettings;
use super::metadata::{DDL_HISTORY_TABLE, SCHEMA};
use super::procedures::{Argument, Arguments};
use crate::simulator::protocol::{Collation, Column, Length, ServerError, SqlType};
use crate::simulator::store::{State, internal};
use crate::simulator::types::{Value, array_of, field, values_of};

const NAME: SqlType = SqlType::NVarChar(Length::Limited(128));
const LSN: SqlType = SqlType::Binary(10);
const TEXT: SqlType = SqlType::NVarChar(Length::Max);

/// A result set.
#[derive(Debug)]
pub(crate) struct Report {
    /// Its columns.
    pub(crate) columns: Arc<[Column]>,
    /// Its rows.
    pub(crate) rows: RecordBatch,
}

fn report(columns: &[(&str, SqlType)], rows: &[Vec<Value>]) -> Result<Report, ServerError> {
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(at, (_, sql_type))| {
            let values = rows
                .iter()
                .map(|row| row.get(at).cloned().unwrap_or(Value::Null));
            array_of(*sql_type, values)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let fields = columns
        .iter()
        .map(|(name, sql_type)| field(name, *sql_type, true, false))
        .collect::<Vec<_>>();
    let columns = columns.iter().map(|(name, sql_type)| Column {
        name: (*name).to_owned(),
        sql_type: *sql_type,
        collation: Collation::SERVER,
        nullable: true,
        identity: false,
    });
    Ok(Report {
        columns: columns.collect(),
        rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(internal)?,
    })
}

/// `sys.sp_cdc_help_jobs`.
pub(super) fn jobs(state: &State, arguments: &[Argument]) -> Result<Report, ServerError> {
    Arguments::bind("sp_cdc_help_jobs", &[], arguments)?;
    let jobs = &enabled(state)?.jobs;
    let rows: Vec<_> = job_settings(state, jobs)
        .into_iter()
        .map(|(kind, id, settings)| {
            let name = format!("cdc.{}_{kind}", state.name);
            let mut row = vec![id, kind.into(), name.into()];
            row.extend(settings);
            row
        })
        .collect();
    let columns = [
        ("job_id", SqlType::UniqueIdentifier),
        ("job_type", SqlType::NVarChar(Length::Limited(20))),
        ("job_name", NAME),
        ("maxtrans", SqlType::Int),
        ("maxscans", SqlType::Int),
        ("continuous", SqlType::Bit),
        ("pollinginterval", SqlType::BigInt),
        ("retention", SqlType::BigInt),
        ("threshold", SqlType::BigInt),
    ];
    report(&columns, &rows)
}

/// The jobs that a database has: kind, id, and settings in the order of `msdb.dbo.cdc_jobs`, from `maxtrans` to
/// `threshold`.
pub(crate) fn job_settings(
    state: &State,
    jobs: &JobSettings,
) -> Vec<(&'static str, Value, [Value; 6])> {
    let none = Value::Int(0);
    let capture = jobs.capture.as_ref().map(|capture| {
        let settings = [
            Value::Int(capture.maxtrans.into()),
            Value::Int(capture.maxscans.into()),
            capture.continuous.into(),
            capture.pollinginterval.into(),
            none.clone(),
            none.clone(),
        ];
        ("capture", job_id(state, 1), settings)
    });
    let cleanup = jobs.cleanup.as_ref().map(|cleanup| {
        let settings = [
            none.clone(),
            none.clone(),
            false.into(),
            none.clone(),
            cleanup.retention.into(),
            cleanup.threshold.into(),
        ];
        ("cleanup", job_id(state, 2), settings)
    });
    capture.into_iter().chain(cleanup).collect()
}

/// The id of a job: it is the same as long as the database is.
fn job_id(state: &State, job: u8) -> Value {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&state.id.to_be_bytes());
    id[6] = 0x40;
    id[8] = 0x80;
    id[15] = job;
    Value::Guid(id)
}

/// `sys.sp_cdc_help_change_data_capture`, of every table or of one.
pub(super) fn instances(state: &State, arguments: &[Argument]) -> Result<Report, ServerError> {
    let parameters = &["source_schema", "source_name"];
    let arguments = Arguments::bind("sp_cdc_help_change_data_capture", parameters, arguments)?;
    let capture = enabled(state)?;
    let wanted = match (
        arguments.text("source_schema")?,
        arguments.text("source_name")?,
    ) {
        (Some(schema), Some(name)) => Some(
            state
                .table(&schema, &name)
                .map(|table| table.object_id)
                .ok_or_else(|| no_table(&schema, &name))?,
        ),
        _ => None,
    };
    let rows: Vec<Vec<Value>> = capture
        .instances
        .iter()
        .filter(|instance| wanted.is_none_or(|wanted| instance.source == wanted))
        .map(|instance| instance_row(state, instance))
        .collect();
    let columns = [
        ("source_schema", NAME),
        ("source_table", NAME),
        ("capture_instance", NAME),
        ("object_id", SqlType::Int),
        ("source_object_id", SqlType::Int),
        ("start_lsn", LSN),
        ("end_lsn", LSN),
        ("supports_net_changes", SqlType::Bit),
        ("has_drop_pending", SqlType::Bit),
        ("role_name", NAME),
        ("index_name", NAME),
        ("filegroup_name", NAME),
        ("create_date", SqlType::DateTime),
        ("index_column_list", TEXT),
        ("captured_column_list", TEXT),
    ];
    report(&columns, &rows)
}

fn instance_row(state: &State, instance: &Instance) -> Vec<Value> {
    let names = |positions: &mut dyn Iterator<Item = usize>| {
        let names: Vec<String> = positions
            .filter_map(|at| instance.columns.get(at))
            .map(|column| format!("[{}]", column.name.replace(']', "]]")))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let (schema, table) = source_name(state, instance);
    vec![
        schema,
        table,
        instance.name.as_str().into(),
        instance.change_table.into(),
        instance.source.into(),
        lsn(instance.start_lsn),
        Value::Null,
        instance.net_changes.into(),
        instance.dropped.then_some(true).into(),
        instance.role.clone().into(),
        instance.index_name.clone().into(),
        Value::Null,
        Value::Timestamp(instance.created),
        names(&mut instance.index_columns.iter().copied()).into(),
        names(&mut (0..instance.columns.len())).into(),
    ]
}

fn lsn(lsn: Option<[u8; 10]>) -> Value {
    lsn.map_or(Value::Null, |lsn| Value::Bytes(lsn.to_vec()))
}

fn source_name(state: &State, instance: &Instance) -> (Value, Value) {
    let source = state.tables.get(&instance.source);
    (
        source.map(|table| table.schema.clone()).into(),
        source.map(|table| table.name.clone()).into(),
    )
}

fn no_table(schema: &str, name: &str) -> ServerError {
    ServerError::new(
        22931,
        format!(
            "Source table '{schema}.{name}' does not exist in the current database. Ensure that the correct database context is set. Specify a valid schema and table name for the database."
        ),
    )
}

fn instance_of(state: &State, arguments: &Arguments<'_>) -> Result<Instance, ServerError> {
    let name = arguments.required("capture_instance")?;
    enabled(state)?.instance(&name).cloned().ok_or_else(|| {
        ServerError::new(
            22981,
            format!("Capture instance '{name}' does not exist in the current database."),
        )
    })
}

/// `sys.sp_cdc_get_captured_columns`.
pub(super) fn captured_columns(
    state: &State,
    arguments: &[Argument],
) -> Result<Report, ServerError> {
    let arguments = Arguments::bind(
        "sp_cdc_get_captured_columns",
        &["capture_instance"],
        arguments,
    )?;
    let instance = instance_of(state, &arguments)?;
    let (schema, table) = source_name(state, &instance);
    let rows: Vec<Vec<Value>> = (1..)
        .zip(&instance.columns)
        .map(|(ordinal, column)| {
            vec![
                schema.clone(),
                table.clone(),
                instance.name.as_str().into(),
                column.name.as_str().into(),
                column.column_id.into(),
                Value::Int(ordinal),
                column.type_name.into(),
            ]
        })
        .collect();
    let columns = [
        ("source_schema", NAME),
        ("source_table", NAME),
        ("capture_instance", NAME),
        ("column_name", NAME),
        ("column_id", SqlType::Int),
        ("ordinal_position", SqlType::Int),
        ("data_type", NAME),
    ];
    report(&columns, &rows)
}

/// `sys.sp_cdc_get_ddl_history`.
pub(super) fn ddl_history(state: &State, arguments: &[Argument]) -> Result<Report, ServerError> {
    let arguments = Arguments::bind("sp_cdc_get_ddl_history", &["capture_instance"], arguments)?;
    let instance = instance_of(state, &arguments)?;
    let (schema, table) = source_name(state, &instance);
    let mut rows = Vec::new();
    if let Some(history) = state.table(SCHEMA, DDL_HISTORY_TABLE) {
        for chunk in history.rows.chunks() {
            let of = chunk.column(1).as_primitive::<Int32Type>();
            let values = chunk
                .columns()
                .iter()
                .skip(2)
                .map(values_of)
                .collect::<Result<Vec<_>, _>>()?;
            for row in (0..chunk.num_rows()).filter(|row| of.value(*row) == instance.change_table) {
                let mut cells = vec![schema.clone(), table.clone(), instance.name.as_str().into()];
                cells.extend(values.iter().map(|column| column[row].clone()));
                rows.push(cells);
            }
        }
    }
    let columns = [
        ("source_schema", NAME),
        ("source_table", NAME),
        ("capture_instance", NAME),
        ("required_column_update", SqlType::Bit),
        ("ddl_command", TEXT),
        ("ddl_lsn", LSN),
        ("ddl_time", SqlType::DateTime),
    ];
    report(&columns, &rows)
}
