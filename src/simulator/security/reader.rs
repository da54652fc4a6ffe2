//! A login that may read and nothing else.

use std::sync::Arc;

use super::{Permission, Securable};
use crate::simulator::capture::SCHEMA;
use crate::simulator::protocol::{Language, ServerError};
use crate::simulator::store::{Server, State};

const NAME: &str = "cdcql_reader";

/// Makes a login that may read every table that there is by now, what capture keeps of them, and the state of
/// capture, in all databases but those of the system; its name. No transaction log and no clock has it.
///
/// # Errors
///
/// A database has a user of the login's name.
pub(crate) fn add_reader(server: &Server, password: &str) -> Result<String, ServerError> {
    let name = server.logins(|logins| {
        let mut name = NAME.to_owned();
        while logins.is_known(&name) {
            name.push('_');
        }
        logins.create(&name, password, None, Language::default())?;
        Ok::<_, ServerError>(name)
    })?;
    for database in server.databases() {
        let is_system = Server::is_system(database.name());
        let mut outcome = Ok(());
        if !is_system {
            database.amend(|state| outcome = admit(state, &name));
        }
        outcome?;
    }
    Ok(name)
}

fn admit(state: &mut State, name: &str) -> Result<(), ServerError> {
    let tables = state.tables.values().filter(|table| !table.shipped);
    let tables = tables.map(|table| Securable::Object(table.object_id));
    let capture = state.schema(SCHEMA).map(|s| Securable::Schema(s.id));
    let readable: Vec<_> = tables.chain(capture).collect();
    let principals = Arc::make_mut(&mut state.principals);
    principals.add(name, Some(name), false)?;
    let reader = principals.named(name)?;
    for securable in readable {
        principals.grant(reader, Permission::Select, securable, Some(false));
    }
    let state_of = Permission::ViewDatabaseState;
    principals.grant(reader, state_of, Securable::Database, Some(false));
    Ok(())
}
