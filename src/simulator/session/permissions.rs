//! Whether a session may do what it asks for.

use super::executor::Executor;
use crate::simulator::protocol::ServerError;
use crate::simulator::security::{Permission, Rights};
use crate::simulator::tsql::changes::Change;
use crate::simulator::tsql::command::Command;

impl Executor {
    /// What the session may do in a database; error 916 if it has no user there.
    pub(super) fn rights(&self, database: &str) -> Result<Rights, ServerError> {
        let cell = self
            .server
            .database(database)
            .ok_or_else(|| ServerError::unknown_database(database))?;
        let login = &self.facts.user;
        self.server
            .rights(login, &cell.committed())
            .ok_or_else(|| ServerError::no_user(login, database))
    }

    /// The error, unless the login may do everything on the server.
    pub(super) fn permit_server(
        &self,
        error: impl FnOnce() -> ServerError,
    ) -> Result<(), ServerError> {
        let login = &self.facts.user;
        if self.server.logins(|logins| logins.is_sysadmin(login)) {
            Ok(())
        } else {
            Err(error())
        }
    }

    /// Error 229, unless the session may change a table's rows so: it also needs to read the table where the
    /// statement does.
    pub(super) fn permit_change(&self, change: &Change, database: &str) -> Result<(), ServerError> {
        let rights = self.rights(database)?;
        let Some(cell) = self
            .server
            .database(database)
            .filter(|_| !rights.is_owner())
        else {
            return Ok(());
        };
        let state = cell.committed();
        let schema = change.name().schema().unwrap_or("dbo");
        // A table that others do not see yet was made by this transaction.
        let Some(table) = state.table(schema, change.name().object()) else {
            return Ok(());
        };
        let reads = change.reads(table).then_some(Permission::Select);
        let lacking = [Some(change.permission()), reads]
            .into_iter()
            .flatten()
            .find(|permission| !rights.on_table(&state, *permission, table));
        lacking.map_or(Ok(()), |permission| {
            Err(ServerError::permission_denied(
                permission.name(),
                &table.name,
                &state.name,
                &table.schema,
            ))
        })
    }

    /// Error 40510 where a security policy would decide which rows change: filters are for queries here.
    pub(super) fn check_filters(&self, change: &Change, database: &str) -> Result<(), ServerError> {
        let Some(cell) = self.server.database(database) else {
            return Ok(());
        };
        let state = cell.committed();
        let schema = change.name().schema().unwrap_or("dbo");
        let table = state.table(schema, change.name().object());
        let filtered = table.is_some_and(|table| {
            let mut filters = state.protections.filters_of(table.object_id);
            filters.next().is_some()
        });
        if filtered && change.permission() != Permission::Insert {
            let what = "UPDATE and DELETE of rows that a security policy filters";
            return Err(ServerError::unsupported(what));
        }
        Ok(())
    }

    /// Whether the session may define something.
    pub(super) fn permit_definition(
        &self,
        command: &Command<'_>,
        database: &str,
    ) -> Result<(), ServerError> {
        let rights = self.rights(database)?;
        let (permitted, what) = match command {
            Command::Principal(_) => {
                return if rights.is_owner() {
                    Ok(())
                } else {
                    Err(ServerError::not_permitted())
                };
            }
            Command::AlterDatabase { .. } => (rights.is_owner(), "ALTER DATABASE"),
            Command::CreateTable(..) => (rights.may_define(), "CREATE TABLE"),
            Command::CreateSchema(_) => (rights.may_define(), "CREATE SCHEMA"),
            Command::DropTables { names, .. } if !rights.may_define() => {
                let name = names.first().map(ToString::to_string);
                return Err(ServerError::cannot_drop("table", &name.unwrap_or_default()));
            }
            Command::AlterTable(name, _)
            | Command::CreateIndex(name, _)
            | Command::Truncate(name)
                if !rights.may_define() =>
            {
                return Err(ServerError::new(
                    1088,
                    format!(
                        "Cannot find the object \"{name}\" because it does not exist or you do not have permissions."
                    ),
                ));
            }
            _ => (rights.may_define(), "ALTER"),
        };
        if permitted {
            Ok(())
        } else {
            Err(ServerError::permission_denied_in(what, database))
        }
    }

    /// Error 22904 or 22902, unless the session may call a procedure: capture is for the database's owners,
    /// and enabling a database for the server's.
    pub(super) fn permit_procedure(&self, name: &str, database: &str) -> Result<(), ServerError> {
        let rights = self.rights(database)?;
        let of_server = ["sp_cdc_enable_db", "sp_cdc_disable_db"];
        let of_server = of_server
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name));
        if of_server && !rights.is_sysadmin() {
            return Err(ServerError::new(
                22902,
                "Caller is not authorized to initiate the requested action. Sysadmin privileges are required.",
            ));
        }
        if !rights.is_owner() {
            return Err(ServerError::new(
                22904,
                "Caller is not authorized to initiate the requested action. DBO privileges are required.",
            ));
        }
        Ok(())
    }
}
