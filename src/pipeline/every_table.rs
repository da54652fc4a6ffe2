//! Statements for every captured table of a schema: to one for each.

use datafusion::common::TableReference;

use super::named::{parts_of, source_name, stream_of};
use crate::change::FlowKey;
use crate::engine::{Engine, LAKE, MAIN, log_retry, retried};
use crate::error::{Error, Faults};
use crate::nearest::nearest;
use crate::source::sqlserver::Database;
use crate::sql::{Diagnostic, EveryTable, Statement, StatementKind};

/// Whether a statement is for every table of a schema.
pub(super) fn is_for_every_table(statement: &Statement) -> bool {
    matches!(statement.kind, StatementKind::EveryTable(_))
}

/// The statements with those for a table of any name in the place of each that is for every table: for what can be known of
/// them without a server.
///
/// # Errors
/// `Invalid` for one that cannot be read.
pub(super) fn for_any_table(statements: Vec<Statement>) -> Result<Vec<Statement>, Error> {
    let mut found = Vec::with_capacity(statements.len());
    let mut before = 0;
    for statement in statements {
        match &statement.kind {
            StatementKind::EveryTable(every) => {
                let any = statement.for_any_table(every, before);
                found.extend(any.map_err(invalid)?);
                before += 1;
            }
            _ => found.push(statement),
        }
    }
    Ok(found)
}

/// The statements with one for each captured table in the place of each that is for every table, but for tables with a
/// flow of their own; their connections are open.
///
/// # Errors
/// `Invalid` for a name in EXCEPT TABLES that no table has, and for a table whose name its target cannot have; else what
/// asking the server gives.
pub(super) async fn for_each_table(
    engine: &Engine,
    statements: Vec<Statement>,
) -> Result<Vec<Statement>, Error> {
    let own = tables_of_flows(&statements)?;
    let mut faults = Faults::default();
    let mut found = Vec::with_capacity(statements.len());
    for statement in statements {
        match &statement.kind {
            StatementKind::EveryTable(every) => {
                let tables = Box::pin(tables_of(engine, &statement, every, &own)).await;
                for table in faults.kept(tables)?.unwrap_or_default() {
                    let read = named(&statement, every, &table);
                    found.extend(faults.kept(read)?.unwrap_or_default());
                }
            }
            _ => found.push(statement),
        }
    }
    faults.into_result()?;
    Ok(found)
}

/// Connection, schema and table of what a flow reads.
type Source = [String; 3];

/// What the flows among `statements` read.
fn tables_of_flows(statements: &[Statement]) -> Result<Vec<Source>, Error> {
    let mut found = Vec::new();
    for statement in statements {
        if let StatementKind::Merge(merge) = &statement.kind {
            let stream = stream_of(statement, merge)?;
            found.push(source_name(statement, &stream)?);
        }
    }
    Ok(found)
}

/// The tables that a statement for every table is for.
async fn tables_of(
    engine: &Engine,
    statement: &Statement,
    every: &EveryTable,
    own: &[Source],
) -> Result<Vec<String>, Error> {
    let [connection, schema] = parts_of(&every.source)
        .try_into()
        .map_err(|_| Error::Internal("every table of what is no schema"))?;
    let placed = |error: Error| error.at(statement, every.source_span);
    let database = engine.database(&connection).map_err(placed)?;
    let captured = retried(engine.retry_time(), log_retry, async || {
        Ok(database.captured_table_names(&schema).await?)
    });
    let mut tables = captured.await.map_err(placed)?;
    let left = tables_left(engine, every, &database, &schema, &tables).await;
    for table in left.map_err(placed)? {
        tracing::warn!(
            "'{}.{table}' holds a copy of {schema}.{table}, of which nothing is captured any more: it stays as it is; enable \
             capture of the table again, or move the copy away",
            every.target
        );
    }
    let known = database.table_names(&schema);
    for name in &every.except {
        let Some(named) = find(&name.value, &known) else {
            let written = &name.value;
            let message = format!("'{connection}.{schema}' has no table '{written}' to leave out");
            let near = nearest(written, known.iter().map(String::as_str));
            let help = near.map(|near| format!("did you mean {near}?"));
            let span = statement.ident_span(name);
            return Err(Error::invalid(statement.diagnostic(span, message, help)));
        };
        tables.retain(|table| table != named);
    }
    for [of_connection, of_schema, name] in own {
        let is_here = same_name(of_connection, &connection) && same_name(of_schema, &schema);
        if let Some(named) = find(name, &known).filter(|_| is_here) {
            tables.retain(|table| table != named);
        }
    }
    if tables.is_empty() {
        let message = format!("no table of '{connection}.{schema}' is left for this statement");
        let help = "leave it out of the file, or enable capture of more tables";
        let help = Some(help.to_string());
        let found = statement.diagnostic(every.source_span, message, help);
        return Err(Error::invalid(found));
    }
    Ok(tables)
}

/// The targets that have a copy of a table which is not among the captured ones.
async fn tables_left(
    engine: &Engine,
    every: &EveryTable,
    database: &Database,
    schema: &str,
    captured: &[String],
) -> Result<Vec<String>, Error> {
    let schemas = database.schema_names();
    let spelled = schemas.iter().find(|own| same_name(own, schema));
    let mut left = Vec::new();
    for table in engine.tables_below(&every.target).await? {
        let name = TableReference::full(LAKE, every.target.as_str(), table.as_str());
        let declaration = engine.declaration(&name.resolve(LAKE, MAIN));
        let Some(declaration) = declaration.filter(|_| find(&table, captured).is_none()) else {
            continue;
        };
        let key = FlowKey {
            flow: table.clone(),
            database: database.name().to_string(),
            schema: spelled.map_or(schema, String::as_str).to_string(),
            table: table.clone(),
        };
        if declaration.open().await?.position(&key).await?.is_some() {
            left.push(table);
        }
    }
    Ok(left)
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The table that a name means: the one that is spelled alike, else one that differs from it only in case.
fn find<'a>(name: &str, tables: &'a [String]) -> Option<&'a String> {
    let exact = tables.iter().find(|table| *table == name);
    exact.or_else(|| tables.iter().find(|table| same_name(table, name)))
}

/// What the statement says of one table.
fn named(statement: &Statement, every: &EveryTable, table: &str) -> Result<Vec<Statement>, Error> {
    if table.contains(['/', '\\']) || matches!(table, "." | "..") {
        let message = format!("table '{table}' cannot give its name to the folder of its target");
        let help =
            "leave it out with EXCEPT TABLES, and write a statement for it that has a LOCATION";
        let help = Some(help.to_string());
        let found = statement.diagnostic(every.source_span, message, help);
        return Err(Error::invalid(found));
    }
    statement.for_table(every, table).map_err(invalid)
}

fn invalid(diagnostics: Vec<Diagnostic>) -> Error {
    Error::Invalid {
        diagnostics,
        more: 0,
    }
}
