//! Enabling and disabling the capture of a database and of its tables.

use std::sync::Arc;

use super::behaviour::CommandId;
use super::instance::{Capture, CapturedColumn, Instance};
use super::metadata;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{ColumnDef, Guard, Key, State, Table};

/// The column that numbers a transaction's statements; it follows the captured columns.
const COMMAND_ID: &str = "__$command_id";

/// Instances of a table at most.
const INSTANCES: usize = 2;

/// What `sys.sp_cdc_enable_table` is asked for.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) instance: Option<String>,
    pub(super) role: Option<String>,
    pub(super) net_changes: Option<bool>,
    pub(super) index: Option<String>,
    pub(super) columns: Option<String>,
    pub(super) partition_switch: Option<bool>,
}

/// Error 22901, unless the database is enabled.
pub(super) fn enabled(state: &State) -> Result<Arc<Capture>, ServerError> {
    state.capture.clone().ok_or_else(|| {
        ServerError::new(
            22901,
            format!(
                "The database '{}' is not enabled for Change Data Capture. Ensure that the correct database context is set and retry the operation. To report on the databases enabled for Change Data Capture, query the is_cdc_enabled column in the sys.databases catalog view.",
                state.name
            ),
        )
    })
}

/// `sys.sp_cdc_enable_db`.
pub(super) fn enable_database(state: &mut State) -> Result<(), ServerError> {
    if state.capture.is_some() {
        return Ok(());
    }
    if state.schema(metadata::SCHEMA).is_some() {
        return Err(ServerError::new(
            22906,
            format!(
                "The database '{}' cannot be enabled for Change Data Capture because a database user named 'cdc' or a schema named 'cdc' already exists in the current database. These objects are required exclusively by Change Data Capture. Drop or rename the user or schema and retry the operation.",
                state.name
            ),
        ));
    }
    metadata::create(state);
    state.capture = Some(Arc::default());
    Ok(())
}

/// `sys.sp_cdc_disable_db`.
pub(super) fn disable_database(state: &mut State) {
    if state.capture.is_some() {
        metadata::remove(state);
    }
}

/// `sys.sp_cdc_enable_table`.
pub(super) fn enable_table(
    state: &mut State,
    request: &Request,
    command_id: CommandId,
) -> Result<(), ServerError> {
    let capture = enabled(state)?;
    let source = state
        .table(&request.schema, &request.table)
        .filter(|table| !table.shipped)
        .cloned()
        .ok_or_else(|| no_source(request))?;
    let name = request
        .instance
        .clone()
        .unwrap_or_else(|| format!("{}_{}", source.schema, source.name));
    check_instance(&capture, &name, &source)?;
    let index = key_of(&source, request)?;
    let columns = captured_columns(&source, request.columns.as_deref(), index)?;
    let index_columns = index.map_or_else(Vec::new, |key| {
        key.columns
            .iter()
            .filter_map(|at| columns.iter().position(|column| column == at))
            .collect()
    });
    if let Some(role) = &request.role
        && state.principals.find(role).is_none()
    {
        Arc::make_mut(&mut state.principals).add(role, None, true)?;
    }
    let object_id = state.new_object_id();
    state.put(change_table(
        object_id,
        &name,
        &source,
        &columns,
        command_id,
        state.clock,
    ));
    let instance = Instance {
        name,
        source: source.object_id,
        change_table: object_id,
        enabled: None,
        start_lsn: None,
        dropped: false,
        created: state.clock,
        net_changes: request
            .net_changes
            .unwrap_or(source.primary_key().is_some()),
        // The setting of a table without partitions is always 1.
        partition_switch: request.partition_switch.unwrap_or(true) || source.partitioned.is_none(),
        role: request.role.clone(),
        index_name: index.map(|key| key.name.clone()),
        columns: columns
            .iter()
            .map(|at| CapturedColumn {
                name: source.columns[*at].name.clone(),
                column_id: source.columns[*at].id,
                type_name: source.columns[*at].sql_type.base_name(),
                computed: source.columns[*at].computed.is_some(),
            })
            .collect(),
        index_columns,
    };
    let mut capture = capture.as_ref().clone();
    capture.instances.push(instance);
    state.capture = Some(Arc::new(capture));
    metadata::refresh(state)
}

/// `sys.sp_cdc_disable_table`: one instance, or `all`.
pub(super) fn disable_table(
    state: &mut State,
    schema: &str,
    table: &str,
    instance: &str,
) -> Result<(), ServerError> {
    let mut capture = enabled(state)?.as_ref().clone();
    let source = state.table(schema, table).map(|table| table.object_id);
    let all = instance.eq_ignore_ascii_case("all");
    let lower = instance.to_lowercase();
    let (dropped, kept): (Vec<_>, Vec<_>) = capture
        .instances
        .into_iter()
        .partition(|i| Some(i.source) == source && (all || i.name.to_lowercase() == lower));
    if dropped.is_empty() {
        return Err(ServerError::new(
            22960,
            format!(
                "Change data capture instance '{instance}' has not been enabled for the source table '{schema}.{table}'. Use sys.sp_cdc_help_change_data_capture to verify the capture instance name and retry the operation."
            ),
        ));
    }
    for instance in &dropped {
        state.tables.remove(&instance.change_table);
    }
    capture.instances = kept;
    state.capture = Some(Arc::new(capture));
    metadata::refresh(state)
}

/// Notes that a captured table is being dropped: a scan of the log will end its capture.
pub(crate) fn mark_dropped(state: &mut State, object_id: i32) -> Result<(), ServerError> {
    if let Some(capture) = &mut state.capture {
        let instances = Arc::make_mut(capture).instances.iter_mut();
        for instance in instances.filter(|i| i.source == object_id) {
            instance.dropped = true;
        }
    }
    metadata::refresh(state)
}

/// Ends the capture of a table that is gone.
pub(super) fn forget_table(state: &mut State, object_id: i32) -> Result<(), ServerError> {
    let Some(capture) = state.capture.clone() else {
        return Ok(());
    };
    let mut capture = capture.as_ref().clone();
    for instance in capture.instances.iter().filter(|i| i.source == object_id) {
        state.remove_table(instance.change_table);
    }
    capture.instances.retain(|i| i.source != object_id);
    state.capture = Some(Arc::new(capture));
    metadata::refresh(state)
}

fn no_source(request: &Request) -> ServerError {
    ServerError::new(
        22931,
        format!(
            "Source table '{}.{}' does not exist in the current database. Ensure that the correct database context is set. Specify a valid schema and table name for the database.",
            request.schema, request.table
        ),
    )
}

fn check_instance(capture: &Capture, name: &str, source: &Table) -> Result<(), ServerError> {
    if name.is_empty() || name.chars().count() > 100 {
        return Err(ServerError::new(
            22932,
            format!(
                "Capture instance name '{name}' is invalid. Specify a valid name. See the topic 'sp_cdc_enable_table'."
            ),
        ));
    }
    if capture.instance(name).is_some() {
        return Err(ServerError::new(
            22926,
            format!(
                "Could not create a capture instance because the capture instance name '{name}' already exists in the current database. Specify an explicit unique name for the parameter @capture_instance."
            ),
        ));
    }
    let existing = capture.instances.iter();
    if existing.filter(|i| i.source == source.object_id).count() >= INSTANCES {
        return Err(ServerError::new(
            22962,
            format!(
                "Two capture instances already exist for source table '{}'. A table can have at most two capture instances. If the current tracking options are not appropriate, disable change tracking for the obsolete instance by using sys.sp_cdc_disable_table and retry the operation.",
                source.qualified()
            ),
        ));
    }
    Ok(())
}

/// The key that identifies rows: the named index, or the primary key.
fn key_of<'a>(source: &'a Table, request: &Request) -> Result<Option<&'a Key>, ServerError> {
    let key = match &request.index {
        Some(name) => {
            let lower = name.to_lowercase();
            let key = source
                .keys
                .iter()
                .find(|key| key.name.to_lowercase() == lower);
            Some(key.ok_or_else(|| {
                ServerError::new(
                    22942,
                    format!(
                        "Index '{name}' specified for parameter @index_name is not a valid unique index of source table '{}'.",
                        source.qualified()
                    ),
                )
            })?)
        }
        None => source.primary_key(),
    };
    if key.is_none() && request.net_changes == Some(true) {
        return Err(ServerError::new(
            22939,
            "The parameter @supports_net_changes is set to 1, but the source table does not have a primary key defined and no alternate unique index has been specified.",
        ));
    }
    Ok(key)
}

/// Positions of the captured columns in the source table, in the source's order.
fn captured_columns(
    source: &Table,
    list: Option<&str>,
    key: Option<&Key>,
) -> Result<Vec<usize>, ServerError> {
    let Some(list) = list else {
        return Ok((0..source.columns.len()).collect());
    };
    let mut columns = list
        .split(',')
        .map(|name| {
            let name = name.trim().trim_matches(['[', ']', '"']);
            source.column(name).ok_or_else(|| {
                ServerError::new(
                    22930,
                    format!(
                        "Could not locate column '{name}', specified in the captured column list, in the source table '{}'.",
                        source.qualified()
                    ),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    columns.sort_unstable();
    columns.dedup();
    if let Some(at) = key.and_then(|key| key.columns.iter().find(|at| !columns.contains(at))) {
        return Err(ServerError::new(
            22944,
            format!(
                "The captured column list must include the key column '{}' of source table '{}'.",
                source.columns[*at].name,
                source.qualified()
            ),
        ));
    }
    Ok(columns)
}

fn change_table(
    object_id: i32,
    instance: &str,
    source: &Table,
    captured: &[usize],
    command_id: CommandId,
    created: i64,
) -> Table {
    let lsn = SqlType::Binary(10);
    let mut columns = vec![
        ColumnDef::plain(1, "__$start_lsn", lsn, false),
        ColumnDef::plain(2, "__$end_lsn", lsn, true),
        ColumnDef::plain(3, "__$seqval", lsn, false),
        ColumnDef::plain(4, "__$operation", SqlType::Int, false),
        ColumnDef::plain(
            5,
            "__$update_mask",
            SqlType::VarBinary(Length::Limited(128)),
            true,
        ),
    ];
    let mut ids = 6..;
    for (id, at) in ids.by_ref().zip(captured) {
        let column = &source.columns[*at];
        // A row's version is a plain value in a change table.
        let sql_type = match column.sql_type {
            SqlType::RowVersion => SqlType::Binary(8),
            other => other,
        };
        let guard = match column.guard {
            // A mask is the source's; what clients have encrypted stays so.
            Guard::Masked => Guard::None,
            other => other,
        };
        columns.push(ColumnDef {
            collation: column.collation,
            guard,
            ..ColumnDef::plain(id, &column.name, sql_type, true)
        });
    }
    let mut key_columns = vec![0, 2, 3];
    if command_id != CommandId::Absent {
        let last = i32::try_from(columns.len()).unwrap_or(0);
        let column = ColumnDef::plain(last + 1, COMMAND_ID, SqlType::Int, true);
        if command_id == CommandId::Indexed {
            key_columns.insert(1, columns.len());
        }
        columns.push(column);
    }
    let name = format!("{instance}_CT");
    let key = Key {
        name: format!("{name}_clustered_idx"),
        primary: false,
        constraint: false,
        clustered: true,
        index_id: 1,
        columns: key_columns,
    };
    let mut table = Table::new(
        object_id,
        metadata::SCHEMA,
        &name,
        columns,
        vec![key],
        created,
    );
    table.shipped = true;
    table
}
