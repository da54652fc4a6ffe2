//! The tables of the `cdc` schema that describe the capture.

use datafusion::arrow::array::RecordBatch;

use super::instance::Instance;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{ColumnDef, State, Table, internal};
use crate::simulator::types::{Value, array_of};

/// The schema of change data capture.
pub(crate) const SCHEMA: &str = "cdc";
/// The table of commits.
pub(crate) const LSN_TIME_MAPPING: &str = "lsn_time_mapping";

/// The table of changed definitions.
pub(super) const DDL_HISTORY_TABLE: &str = "ddl_history";

const LSN: SqlType = SqlType::Binary(10);
const NAME: SqlType = SqlType::NVarChar(Length::Limited(128));

type Columns = &'static [(&'static str, SqlType, bool)];

const CHANGE_TABLES: Columns = &[
    ("object_id", SqlType::Int, false),
    ("version", SqlType::Int, true),
    ("source_object_id", SqlType::Int, true),
    ("capture_instance", NAME, false),
    ("start_lsn", LSN, true),
    ("end_lsn", LSN, true),
    ("supports_net_changes", SqlType::Bit, true),
    ("has_drop_pending", SqlType::Bit, true),
    ("role_name", NAME, true),
    ("index_name", NAME, true),
    ("filegroup_name", NAME, true),
    ("create_date", SqlType::DateTime, true),
    ("partition_switch", SqlType::Bit, false),
];

const CAPTURED_COLUMNS: Columns = &[
    ("object_id", SqlType::Int, false),
    ("column_name", NAME, false),
    ("column_id", SqlType::Int, true),
    ("column_type", NAME, false),
    ("column_ordinal", SqlType::Int, false),
    ("is_computed", SqlType::Bit, true),
    (
        "masking_function",
        SqlType::NVarChar(Length::Limited(4000)),
        true,
    ),
];

const INDEX_COLUMNS: Columns = &[
    ("object_id", SqlType::Int, false),
    ("column_name", NAME, false),
    ("index_ordinal", SqlType::TinyInt, false),
    ("column_id", SqlType::Int, false),
];

const DDL_HISTORY: Columns = &[
    ("source_object_id", SqlType::Int, true),
    ("object_id", SqlType::Int, false),
    ("required_column_update", SqlType::Bit, true),
    ("ddl_command", SqlType::NVarChar(Length::Max), true),
    ("ddl_lsn", LSN, false),
    ("ddl_time", SqlType::DateTime, true),
];

const MAPPING: Columns = &[
    ("start_lsn", LSN, false),
    ("tran_begin_time", SqlType::DateTime, true),
    ("tran_end_time", SqlType::DateTime, true),
    ("tran_id", SqlType::VarBinary(Length::Limited(10)), true),
    ("tran_begin_lsn", LSN, true),
];

const TABLES: [(&str, Columns); 5] = [
    ("captured_columns", CAPTURED_COLUMNS),
    ("change_tables", CHANGE_TABLES),
    (DDL_HISTORY_TABLE, DDL_HISTORY),
    ("index_columns", INDEX_COLUMNS),
    (LSN_TIME_MAPPING, MAPPING),
];

/// Adds the schema and its empty tables.
pub(super) fn create(state: &mut State) {
    state.add_schema(SCHEMA);
    for (name, columns) in TABLES {
        let columns = (1..)
            .zip(columns)
            .map(|(id, (name, sql_type, nullable))| ColumnDef {
                collation: state.collation,
                ..ColumnDef::plain(id, name, *sql_type, *nullable)
            })
            .collect();
        let object_id = state.new_object_id();
        let mut table = Table::new(object_id, SCHEMA, name, columns, Vec::new(), state.clock);
        table.shipped = true;
        state.put(table);
    }
}

/// Removes the schema with all its tables.
pub(super) fn remove(state: &mut State) {
    state.remove_schema(SCHEMA);
    state.capture = None;
}

/// Writes the description of every instance anew.
pub(super) fn refresh(state: &mut State) -> Result<(), ServerError> {
    let instances = state
        .capture
        .as_ref()
        .map(|capture| capture.instances.clone())
        .unwrap_or_default();
    fill(state, "change_tables", instances.iter().map(change_table))?;
    let captured = instances.iter().flat_map(captured_columns);
    fill(state, "captured_columns", captured)?;
    fill(
        state,
        "index_columns",
        instances.iter().flat_map(index_columns),
    )
}

fn fill(
    state: &mut State,
    name: &str,
    rows: impl Iterator<Item = Vec<Value>>,
) -> Result<(), ServerError> {
    if let Some(table) = table_mut(state, name) {
        table.rows.clear();
    }
    append(state, name, rows.collect())
}

fn table_mut<'a>(state: &'a mut State, name: &str) -> Option<&'a mut Table> {
    let object_id = state.table(SCHEMA, name)?.object_id;
    state.table_mut(object_id)
}

/// Adds rows to one of the tables.
pub(super) fn append(
    state: &mut State,
    name: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), ServerError> {
    let Some(table) = table_mut(state, name).filter(|_| !rows.is_empty()) else {
        return Ok(());
    };
    let columns = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let values = rows
                .iter()
                .map(|row| row.get(at).cloned().unwrap_or(Value::Null));
            array_of(column.sql_type, values)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let batch = RecordBatch::try_new(table.arrow_schema(), columns).map_err(internal)?;
    table.rows.append(&batch).map_err(internal)
}

fn change_table(instance: &Instance) -> Vec<Value> {
    vec![
        instance.change_table.into(),
        0.into(),
        instance.source.into(),
        instance.name.as_str().into(),
        instance
            .start_lsn
            .map_or(Value::Null, |lsn| Value::Bytes(lsn.to_vec())),
        Value::Null,
        instance.net_changes.into(),
        instance.dropped.then_some(true).into(),
        instance.role.clone().into(),
        instance.index_name.clone().into(),
        Value::Null,
        Value::Timestamp(instance.created),
        instance.partition_switch.into(),
    ]
}

fn captured_columns(instance: &Instance) -> Vec<Vec<Value>> {
    (1..)
        .zip(&instance.columns)
        .map(|(ordinal, column)| {
            vec![
                instance.change_table.into(),
                column.name.as_str().into(),
                column.column_id.into(),
                column.type_name.into(),
                Value::Int(ordinal),
                column.computed.into(),
                Value::Null,
            ]
        })
        .collect()
}

fn index_columns(instance: &Instance) -> Vec<Vec<Value>> {
    (1..)
        .zip(&instance.index_columns)
        .filter_map(|(ordinal, at)| {
            let column = instance.columns.get(*at)?;
            Some(vec![
                instance.change_table.into(),
                column.name.as_str().into(),
                Value::Int(ordinal),
                column.column_id.into(),
            ])
        })
        .collect()
}
