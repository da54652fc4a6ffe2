//! Changes of a captured table's definition, as a scan of the log finds them.

use std::sync::Arc;

use super::metadata::{self, DDL_HISTORY_TABLE};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::{Lsn, State};
use crate::simulator::types::Value;

/// A changed definition in the log.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// The table.
    pub(crate) object_id: i32,
    /// What changed.
    pub(crate) kind: DefinitionKind,
    /// The statement.
    pub(crate) command: String,
    /// When it ran.
    pub(crate) at: i64,
}

/// What of a table's definition changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DefinitionKind {
    /// Something that the change tables do not follow.
    Other,
    /// A column's type, which they follow.
    ColumnType {
        /// `column_id` in the source.
        column_id: i32,
        /// The new type.
        sql_type: SqlType,
    },
    /// The table itself is gone, and its capture instances go with it.
    Dropped,
}

/// Captures a changed definition: a row of `cdc.ddl_history` for each instance of the table, and a changed
/// type in the change tables.
pub(super) fn capture(
    state: &mut State,
    definition: &Definition,
    lsn: Lsn,
    commit: Lsn,
) -> Result<(), ServerError> {
    let Some(capture) = state.capture.clone() else {
        return Ok(());
    };
    if definition.kind == DefinitionKind::Dropped {
        return super::enable::forget_table(state, definition.object_id);
    }
    let mut history = Vec::new();
    for instance in &capture.instances {
        if instance.source != definition.object_id || !instance.has_begun(commit) {
            continue;
        }
        let mut required = false;
        if let DefinitionKind::ColumnType {
            column_id,
            sql_type,
        } = &definition.kind
            && let Some(at) = instance
                .columns
                .iter()
                .position(|c| c.column_id == *column_id)
        {
            required = true;
            retype(state, (&instance.name, at), *sql_type, definition.at)?;
        }
        history.push(vec![
            instance.source.into(),
            instance.change_table.into(),
            required.into(),
            definition.command.as_str().into(),
            Value::Bytes(lsn.to_vec()),
            Value::Timestamp(definition.at),
        ]);
    }
    metadata::append(state, DDL_HISTORY_TABLE, history)
}

/// Gives a captured column another type, in the change table and in its description.
fn retype(
    state: &mut State,
    (instance, at): (&str, usize),
    sql_type: SqlType,
    now: i64,
) -> Result<(), ServerError> {
    let Some(capture) = &mut state.capture else {
        return Ok(());
    };
    let capture = Arc::make_mut(capture);
    let Some(instance) = capture.instances.iter_mut().find(|i| i.name == instance) else {
        return Ok(());
    };
    if let Some(column) = instance.columns.get_mut(at) {
        column.type_name = sql_type.base_name();
    }
    let (change_table, captured) = (instance.change_table, super::images::FIRST_CAPTURED + at);
    let database = state.name.clone();
    if let Some(table) = state.table_mut(change_table) {
        table.retype(captured, sql_type, &database)?;
        table.modified = now;
    }
    metadata::refresh(state)
}
