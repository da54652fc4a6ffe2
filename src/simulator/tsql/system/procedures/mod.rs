//! The ODBC catalogue procedures, which JDBC's and ODBC's metadata calls stand on.
//!
//! Names, types and orders of the columns are
//! [SQL Server's](https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/catalog-stored-procedures-transact-sql).

mod columns;
mod keys;
mod odbc_types;
mod tables;
mod type_info;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;

use super::{Columns, rows_of, stored};
use crate::simulator::capture::{Argument, Arguments};
use crate::simulator::protocol::{Collation, Column, Length, ServerError, SqlType};
use crate::simulator::store::{ColumnDef, State, Table};
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::functions::like_text;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

const NAME: SqlType = SqlType::NVarChar(Length::Limited(128));

type Rows = Vec<Vec<Value>>;

/// A procedure that only reads.
#[derive(Debug)]
pub(crate) struct Procedure {
    name: &'static str,
    /// Names of the parameters without `@`, in the order of their positions.
    parameters: &'static [&'static str],
    columns: Columns,
    rows: fn(&Scope, &State, &Arguments<'_>) -> Result<Rows, ServerError>,
}

/// The rows of a call.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// The columns.
    pub(crate) columns: Arc<[Column]>,
    /// The rows, in the Arrow forms of the columns' types.
    pub(crate) rows: RecordBatch,
}

impl Procedure {
    /// Runs the procedure in a database's context.
    pub(crate) fn call(
        &self,
        scope: &Scope,
        database: &str,
        arguments: &[Argument],
    ) -> Result<Answered, ServerError> {
        let state = scope
            .state(database)
            .ok_or_else(|| ServerError::unknown_database(database))?;
        let state = scope.visible(&state)?;
        let arguments = Arguments::bind(self.name, self.parameters, arguments)?;
        let rows = (self.rows)(scope, &state, &arguments)?;
        let columns = self
            .columns
            .iter()
            .map(|(name, sql_type, nullable)| Column {
                name: (*name).to_owned(),
                sql_type: *sql_type,
                collation: Collation::SERVER,
                nullable: *nullable,
                identity: false,
            });
        Ok(Answered {
            columns: columns.collect(),
            rows: rows_of(self.columns, &rows, Collation::SERVER)?,
        })
    }
}

/// The procedure that a name calls, if it is one of these.
pub(crate) fn procedure(name: &ObjectName) -> Option<&'static Procedure> {
    let schema = name.schema().unwrap_or("sys").to_lowercase();
    let object = name.object().to_lowercase();
    [
        tables::PROCEDURES,
        columns::PROCEDURES,
        keys::PROCEDURES,
        type_info::PROCEDURES,
    ]
    .into_iter()
    .flatten()
    .find(|procedure| procedure.name == object && matches!(schema.as_str(), "sys" | "dbo"))
}

/// Which tables a catalogue procedure was asked for.
struct Pattern {
    owner: Option<String>,
    name: Option<String>,
    wildcards: bool,
}

impl Pattern {
    /// The arguments `table_name` and `table_owner`; error 15250 for another database as
    /// `table_qualifier`.
    fn new(arguments: &Arguments<'_>, state: &State, wildcards: bool) -> Result<Self, ServerError> {
        let qualifier = arguments.text("table_qualifier")?.unwrap_or_default();
        if !qualifier.is_empty() && !qualifier.eq_ignore_ascii_case(&state.name) {
            return Err(ServerError::new(
                15250,
                "The database name component of the object qualifier must be the name of the current database.",
            ));
        }
        Ok(Self {
            owner: arguments.text("table_owner")?,
            name: arguments.text("table_name")?,
            wildcards,
        })
    }

    fn holds(&self, owner: &str, name: &str) -> bool {
        matches(owner, self.owner.as_deref(), self.wildcards)
            && matches(name, self.name.as_deref(), self.wildcards)
    }

    /// The stored tables that were asked for.
    fn tables<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Table> {
        let all = state.tables.values().map(AsRef::as_ref);
        all.filter(|table| self.holds(&table.schema, &table.name))
    }
}

/// Whether a name is the one that was asked for; without one, every name is.
fn matches(name: &str, pattern: Option<&str>, wildcards: bool) -> bool {
    match pattern {
        None => true,
        Some(pattern) if wildcards => like_text(name, pattern),
        Some(pattern) => name.to_lowercase() == pattern.to_lowercase(),
    }
}

/// Tables and views: schema, name, columns, and whether it is a view.
fn relations(state: &State) -> Vec<(String, String, Vec<ColumnDef>, bool)> {
    let tables = state.tables.values().map(|table| {
        (
            table.schema.clone(),
            table.name.clone(),
            table.columns.to_vec(),
            false,
        )
    });
    let views = super::definitions()
        .filter(|(_, definition)| definition.schema != "dbo")
        .map(|(_, definition)| {
            (
                definition.schema.to_owned(),
                definition.name.to_owned(),
                stored(definition.columns),
                true,
            )
        });
    tables.chain(views).collect()
}

/// Sorts rows by some of their columns; NULL comes first.
fn sort_by(rows: &mut Rows, columns: &[usize]) {
    let key = |row: &Vec<Value>| -> Vec<(i64, String)> {
        columns
            .iter()
            .map(|at| match row.get(*at) {
                Some(Value::Text(text)) => (0, text.to_lowercase()),
                Some(value) => (value.as_int().unwrap_or(i64::MIN), String::new()),
                None => (i64::MIN, String::new()),
            })
            .collect()
    };
    rows.sort_by_cached_key(key);
}
