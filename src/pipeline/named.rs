//! What the statement of a flow names: its stream, its target, and how it begins.

use datafusion::common::ResolvedTableReference;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::flow::Start;
use crate::change::OnSchemaChange;
use crate::engine::{Engine, TableDeclaration, feed_bound};
use crate::error::Error;
use crate::sql::{MergeStatement, Statement, StatementKind, StreamRef, StreamStart};

/// The flows among `statements`; those named in `chosen` alone, unless that is empty.
pub(super) fn chosen_flows(
    engine: &Engine,
    statements: Vec<Statement>,
    chosen: &[String],
) -> Result<Vec<Statement>, Error> {
    let mut flows = Vec::with_capacity(statements.len());
    for statement in statements {
        if let StatementKind::Merge(merge) = &statement.kind {
            let name = match chosen.is_empty() {
                true => String::new(),
                false => {
                    let (_, declaration) = target_of(engine, &statement, merge)?;
                    merge.flow_name(&declaration.name).to_string()
                }
            };
            flows.push((name, statement));
        }
    }
    let is_named = |name: &str, wanted: &String| wanted.eq_ignore_ascii_case(name);
    let mut wanted = chosen.iter();
    if let Some(unknown) =
        wanted.find(|wanted| !flows.iter().any(|(name, _)| is_named(name, wanted)))
    {
        return Err(Error::UnknownFlow {
            name: unknown.clone(),
            known: flows.into_iter().map(|(name, _)| name).collect(),
        });
    }
    flows.retain(|(name, _)| {
        chosen.is_empty() || chosen.iter().any(|wanted| is_named(name, wanted))
    });
    Ok(flows.into_iter().map(|(_, statement)| statement).collect())
}

/// Refuses statements that a run would have to ignore.
pub(super) fn refuse_others(statements: &[Statement]) -> Result<(), Error> {
    let diagnostics: Vec<_> = statements
        .iter()
        .filter(|statement| {
            matches!(statement.kind, StatementKind::Other(_)) && !Engine::is_definition(statement)
        })
        .map(|statement| {
            statement.diagnostic(
                statement.span,
                "a run executes flows, and this statement is none",
                Some("move it to `cdcql query`, or write MERGE INTO … USING STREAM …".to_string()),
            )
        })
        .collect();
    if diagnostics.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid {
            diagnostics,
            more: 0,
        })
    }
}

/// One target has one flow.
pub(super) fn second_flow(
    statement: &Statement,
    merge: &MergeStatement,
    declaration: &TableDeclaration,
) -> Error {
    let message = format!("a second flow writes '{}'", declaration.name);
    let help = "one target has one flow; give this one a table of its own";
    refuse(statement, merge, message, help)
}

/// The flow's one STREAM.
pub(super) fn stream_of(statement: &Statement, merge: &MergeStatement) -> Result<StreamRef, Error> {
    if merge.schema_evolution && !merge.has_stars() {
        return Err(refuse(
            statement,
            merge,
            "WITH SCHEMA EVOLUTION adds the columns of a star, and this MERGE has none".to_string(),
            "write UPDATE SET * and INSERT *, or leave WITH SCHEMA EVOLUTION out",
        ));
    }
    merge.stream.clone().ok_or_else(|| {
        refuse(
            statement,
            merge,
            "this MERGE reads no STREAM, so it has no window to run over".to_string(),
            "write USING STREAM connection.schema.table CHANGES, or execute it with `cdcql query`",
        )
    })
}

pub(super) fn target_of(
    engine: &Engine,
    statement: &Statement,
    merge: &MergeStatement,
) -> Result<(ResolvedTableReference, TableDeclaration), Error> {
    let reference = engine.resolve(&merge.target);
    let Some(mut declaration) = engine.declaration(&reference) else {
        let help = match engine.nearest_table(&reference) {
            Some(near) => format!("did you mean '{near}'?"),
            None => {
                "declare it: CREATE TABLE IF NOT EXISTS name USING DELTA LOCATION '…'".to_string()
            }
        };
        let message = format!("there is no Delta table '{}'", merge.target);
        return Err(refuse(statement, merge, message, &help));
    };
    if merge.schema_evolution && !declaration.on_schema_change.adds() {
        declaration.on_schema_change = OnSchemaChange::Add;
    }
    Ok((reference, declaration))
}

/// Refuses a flow that has the name of another.
pub(super) fn check_name<'a>(
    statement: &Statement,
    merge: &MergeStatement,
    name: &str,
    others: impl IntoIterator<Item = &'a str>,
) -> Result<(), Error> {
    let mut others = others.into_iter();
    if !others.any(|other| other.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let span = merge.flow.as_ref().map(|name| statement.ident_span(name));
    let message = format!("a second flow is called '{name}'");
    let help = match statement.table() {
        Some(_) => {
            "a flow of every table has the table's name: leave this one out with EXCEPT TABLES, and write CREATE FLOW for it"
        }
        None => {
            "a flow has its target's name unless CREATE FLOW gives it another; choose one that is free"
        }
    };
    let span = span.unwrap_or(merge.target_span);
    Err(Error::invalid(statement.diagnostic(
        span,
        message,
        Some(help.to_string()),
    )))
}

fn refuse(statement: &Statement, merge: &MergeStatement, message: String, help: &str) -> Error {
    Error::invalid(statement.diagnostic(merge.target_span, message, Some(help.to_string())))
}

/// The connection, schema and table that a STREAM names.
pub(super) fn source_name(statement: &Statement, stream: &StreamRef) -> Result<[String; 3], Error> {
    parts_of(&stream.name).try_into().map_err(|_| {
        Error::invalid(statement.diagnostic(
            stream.span,
            format!("'{}' does not name a connection", stream.name),
            Some("write STREAM connection.schema.table CHANGES".to_string()),
        ))
    })
}

pub(super) fn start_of(statement: &Statement, stream: &StreamRef) -> Result<Start, Error> {
    Ok(match &stream.start {
        StreamStart::Copy => Start::Copy,
        StreamStart::Now => Start::Now,
        StreamStart::From(bound) => Start::From(feed_bound(bound).map_err(|error| {
            Error::from_datafusion(error, Some(statement)).at(statement, stream.span)
        })?),
    })
}

/// A flow that begins without a copy, and would make one for a new column.
pub(super) fn copies_unasked(statement: &Statement, stream: &StreamRef) -> Error {
    Error::invalid(statement.diagnostic(
        stream.span,
        "this flow begins without a copy of its table, and 'cdcql.onSchemaChange' = 'add' copies the table",
        Some("write 'ignore' or 'fail', or let the flow begin with a copy".to_string()),
    ))
}

pub(super) fn parts_of(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| {
            part.as_ident()
                .map_or_else(|| part.to_string(), |ident| ident.value.clone())
        })
        .collect()
}
