//! The functions of capture instances, as objects of the catalogue.

use crate::simulator::capture::SCHEMA;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{ColumnDef, State};
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::net_changes::is_command_id;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::table_functions::{ALL_CHANGES, NET_CHANGES};

/// Where a change table has what its functions leave out.
const END_LSN: usize = 1;
const SEQVAL: usize = 2;

/// A function that answers with changes.
pub(super) struct ChangeFunction {
    pub(super) name: String,
    pub(super) object_id: i32,
    pub(super) created: i64,
    pub(super) columns: Vec<ColumnDef>,
}

/// The change functions that the session may call, and so may know of.
pub(super) fn change_functions(
    scope: &Scope,
    state: &State,
) -> Result<Vec<ChangeFunction>, ServerError> {
    // All of the database: who may call a function need not see the change table behind it.
    let Some(state) = scope.state(&state.name) else {
        return Ok(Vec::new());
    };
    let rights = scope.rights(&state)?;
    scope.note_rights(&rights);
    let instances = state.capture.iter().flat_map(|capture| &capture.instances);
    let mut functions = Vec::new();
    for instance in instances.filter(|instance| rights.reads_changes(&state, instance)) {
        let Some(table) = state.tables.get(&instance.change_table) else {
            continue;
        };
        let kinds = [(ALL_CHANGES, 1, false), (NET_CHANGES, 2, true)];
        for (prefix, number, is_net) in kinds {
            if is_net && !instance.net_changes {
                continue;
            }
            let leaves_out =
                |at: usize| at == END_LSN || is_net && at == SEQVAL || is_command_id(table, at);
            let columns = table.columns.iter().enumerate();
            let columns = columns.filter(|(at, _)| !leaves_out(*at));
            functions.push(ChangeFunction {
                name: format!("{prefix}{}", instance.name),
                object_id: table.object_id + number,
                created: instance.created,
                columns: columns.map(|(_, column)| column.clone()).collect(),
            });
        }
    }
    Ok(functions)
}

/// The object_id of the change function that a name stands for, if the session may know of it.
pub(crate) fn change_function(scope: &Scope, name: &ObjectName) -> Option<i32> {
    let state = scope.state(name.database().unwrap_or(scope.database()))?;
    if !name.schema()?.eq_ignore_ascii_case(SCHEMA) {
        return None;
    }
    let functions = change_functions(scope, &state).ok()?;
    let is_it =
        |function: &ChangeFunction| state.collation.is_same_name(&function.name, name.object());
    let found = functions.into_iter().find(is_it);
    found.map(|function| function.object_id)
}
