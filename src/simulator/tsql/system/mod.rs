//! The catalogue: `sys` and `INFORMATION_SCHEMA`, made from a database's state when they are asked for.

mod change_functions;
mod columns;
mod databases;
mod indexes;
mod information;
mod objects;
mod principals;
mod procedures;
mod server;
mod types;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;

use super::asked::Source;
use super::cursor::{Cursor, ObjectName};
use super::lexer::tokens;
use super::scope::Scope;
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType};
use crate::simulator::security::Permission;
use crate::simulator::store::{ColumnDef, State, internal};
use crate::simulator::types::{Value, array_of, field, with_collation};

pub(crate) use change_functions::change_function;
pub(crate) use procedures::{Answered, procedure};
pub(crate) use types::{type_id, type_name};

/// The name of the server.
pub(crate) const SERVER_NAME: &str = "cdcql-simulator";
/// The name of the secondary replica.
pub(crate) const REPLICA_NAME: &str = "cdcql-replica";
/// `SERVERPROPERTY('ProductVersion')`: SQL Server 2022.
pub(crate) const PRODUCT_VERSION: &str = "16.0.1000.6";

const NAME: SqlType = SqlType::NVarChar(Length::Limited(128));
const DESCRIPTION: SqlType = SqlType::NVarChar(Length::Limited(60));

/// Column names, types, and whether they may be NULL.
type Columns = &'static [(&'static str, SqlType, bool)];
type Rows = fn(&Scope, &State) -> Result<Vec<Vec<Value>>, ServerError>;

/// A catalogue view.
struct Definition {
    schema: &'static str,
    name: &'static str,
    columns: Columns,
    rows: Rows,
}

/// A catalogue view with its rows.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The rows; the fields carry the SQL types.
    pub(crate) rows: RecordBatch,
}

fn definitions() -> impl Iterator<Item = (i32, &'static Definition)> {
    let all = [
        databases::VIEWS,
        objects::VIEWS,
        columns::VIEWS,
        types::VIEWS,
        indexes::VIEWS,
        principals::VIEWS,
        information::VIEWS,
        server::VIEWS,
    ];
    (1..).map(|n: i32| -100 - n).zip(all.into_iter().flatten())
}

/// The view of a schema and name; `None` if there is none.
pub(crate) fn view(
    scope: &Scope,
    state: &Arc<State>,
    schema: &str,
    name: &str,
) -> Result<Option<View>, ServerError> {
    let found = definitions().find(|(_, definition)| {
        state.collation.is_same_name(definition.name, name)
            && state.collation.is_same_name(definition.schema, schema)
    });
    let Some((_, definition)) = found else {
        return Ok(None);
    };
    if definition.schema == "dbo" && state.name != "msdb" {
        return Ok(None);
    }
    permit(scope, state, definition)?;
    note(scope, definition);
    let visible = scope.visible(state)?;
    let rows = (definition.rows)(scope, &visible)?;
    let rows = rows_of(definition.columns, &rows, state.collation)?;
    Ok(Some(View { rows }))
}

/// Notes that a view shows more than its database.
fn note(scope: &Scope, definition: &Definition) {
    if ["databases", "server_principals", server::SERVICES].contains(&definition.name) {
        scope.note(Source::Server);
    }
    if definition.name.starts_with("dm_cdc_") {
        scope.note(Source::Captured);
    }
}

/// Values as rows whose fields carry the columns' SQL types, and their collation.
fn rows_of(
    columns: Columns,
    rows: &[Vec<Value>],
    collation: Collation,
) -> Result<RecordBatch, ServerError> {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, sql_type, nullable)| {
            let field = field(name, *sql_type, *nullable, false);
            if sql_type.is_text() {
                with_collation(field, collation)
            } else {
                field
            }
        })
        .collect();
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(at, (_, sql_type, _))| {
            let values = rows
                .iter()
                .map(|row| row.get(at).cloned().unwrap_or(Value::Null));
            array_of(*sql_type, values)
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(internal)
}

/// A view's columns as if they were stored.
fn stored(columns: Columns) -> Vec<ColumnDef> {
    let numbered = (1..).zip(columns);
    numbered
        .map(|(id, (name, sql_type, nullable))| ColumnDef::plain(id, name, *sql_type, *nullable))
        .collect()
}

/// Whether the session may ask for a view: those of `sys` are everybody's, but not what capture does.
fn permit(scope: &Scope, state: &State, definition: &Definition) -> Result<(), ServerError> {
    let rights = scope.rights(state)?;
    let own = own_table(state, definition.schema, definition.name);
    if own.is_some_and(|id| !rights.on_own_table(state, Permission::Select, id)) {
        return Err(ServerError::permission_denied(
            "SELECT",
            definition.name,
            &state.name,
            definition.schema,
        ));
    }
    if definition.name == server::SERVICES && !rights.is_sysadmin() {
        let text = "VIEW SERVER STATE permission was denied on object 'server', database 'master'.";
        return Err(ServerError::new(300, text));
    }
    let of_state = definition.name.starts_with("dm_cdc_");
    if of_state && !rights.on_database(state, Permission::ViewDatabasePerformanceState) {
        let permission = Permission::ViewDatabasePerformanceState.name();
        return Err(ServerError::permission_denied_in(permission, &state.name));
    }
    Ok(())
}

/// The object id of a table that the server keeps in `msdb`; `None` for anything else.
pub(crate) fn own_table(state: &State, schema: &str, name: &str) -> Option<i32> {
    let is_meant = |definition: &Definition| {
        definition.schema == "dbo"
            && state.collation.is_same_name(definition.schema, schema)
            && state.collation.is_same_name(definition.name, name)
    };
    let mut found = definitions().filter(|_| state.name == "msdb");
    found
        .find(|(_, definition)| is_meant(definition))
        .map(|(id, _)| id)
}

/// A name such as `[dbo].[t]` out of a string.
pub(crate) fn parse_name(text: &str) -> Option<ObjectName> {
    let tokens = tokens(text).ok()?;
    let mut cursor = Cursor::new(&tokens);
    let name = cursor.object_name().ok()?;
    cursor.end().ok().map(|()| name)
}

/// The object id of a catalogue view.
pub(crate) fn view_object(scope: &Scope, text: &str) -> Option<i32> {
    let name = parse_name(text)?;
    let schema = name.schema()?;
    scope.state(name.database().unwrap_or(scope.database()))?;
    definitions()
        .find(|(_, d)| {
            d.name.eq_ignore_ascii_case(name.object())
                && d.schema.eq_ignore_ascii_case(schema)
                && d.schema != "dbo"
        })
        .map(|(id, _)| id)
}

fn no_rows(_: &Scope, _: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    Ok(Vec::new())
}
