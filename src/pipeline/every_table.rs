//! Statements for every captured table of a schema: to one for each.

use datafusion::common::TableReference;

use super::named::{parts_of, source_name, stream_of};
use crate::change::FlowKey;
use crate::engine::{Engine, LAKE, MAIN, log_retry, retried};
use crate::error::{Error, Faults};
use crate::nearest::nearest;
use crate::sink::delta::is_folder_name;
use crate::source::sqlserver::{Database, TableName};
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
        Ok(database.captured_tables(&schema).await?)
    });
    let mut tables = captured.await.map_err(placed)?;
    warn_of_left(engine, every, &database, &tables).await;
    for name in &every.except {
        let span = statement.ident_span(name);
        let meant = database.table_named(&schema, &name.value);
        let meant = meant.map_err(|error| Error::from(error).at(statement, span))?;
        let Some(meant) = meant else {
            let written = &name.value;
            let message = format!("'{connection}.{schema}' has no table '{written}' to leave out");
            let known = database.table_names(&schema);
            let near = nearest(written, known.iter().map(String::as_str));
            let help = near.map(|near| format!("did you mean {near}?"));
            return Err(Error::invalid(statement.diagnostic(span, message, help)));
        };
        tables.retain(|table| *table != meant);
    }
    for [of_connection, of_schema, name] in own {
        if of_connection.to_lowercase() == connection.to_lowercase()
            // What is wrong with the name is told by its own flow.
            && let Ok(Some(meant)) = database.table_named(of_schema, name)
        {
            tables.retain(|table| *table != meant);
        }
    }
    if tables.is_empty() {
        let message = format!("no table of '{connection}.{schema}' is left for this statement");
        let help = "leave it out of the file, or enable capture of more tables";
        let help = Some(help.to_string());
        let found = statement.diagnostic(every.source_span, message, help);
        return Err(Error::invalid(found));
    }
    Ok(tables.into_iter().map(|table| table.name).collect())
}

/// Says which targets have a copy of a table which is not among the `captured` ones any more; what cannot be looked at is
/// none.
async fn warn_of_left(
    engine: &Engine,
    every: &EveryTable,
    database: &Database,
    captured: &[TableName],
) {
    let Some(schema) = captured.first().map(|table| &table.schema) else {
        return;
    };
    let below = engine.tables_below(&every.target).await;
    let below = below.unwrap_or_else(|error| {
        tracing::debug!(%error, schema = every.target, "the targets were not listed");
        Vec::new()
    });
    for name in below {
        if captured.iter().any(|table| table.name == name) {
            continue;
        }
        let key = FlowKey {
            flow: name.clone(),
            database: database.name().to_string(),
            schema: schema.clone(),
            table: name.clone(),
        };
        if let Ok(true) = holds(engine, &every.target, &key).await {
            tracing::warn!(
                "'{}.{name}' holds a copy of {schema}.{name}, of which nothing is captured any more: it stays as it is; \
                 enable capture of the table again, or move the copy away",
                every.target
            );
        }
    }
}

/// Whether the target with a flow's name has a checkpoint of that flow.
async fn holds(engine: &Engine, schema: &str, key: &FlowKey) -> Result<bool, Error> {
    let name = TableReference::full(LAKE, schema, key.flow.as_str());
    let Some(declaration) = engine.declaration(&name.resolve(LAKE, MAIN)) else {
        return Ok(false);
    };
    let target = declaration.open().await?;
    Ok(target.position(key).await?.is_some())
}

/// What the statement says of one table.
fn named(statement: &Statement, every: &EveryTable, table: &str) -> Result<Vec<Statement>, Error> {
    if !is_folder_name(table) {
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
