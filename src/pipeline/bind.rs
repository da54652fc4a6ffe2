//! Statements to flows: names, schemas and types are checked here, and nothing is written.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ResolvedTableReference;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::flow::Flow;
use super::reconcile::reconcilable;
use super::schema::{
    check_declared, check_star, inserted_row, names, source_query, without_change_columns,
};
use super::values::check_values;
use crate::change::{FlowKey, LsnRange, OnGap};
use crate::engine::{Engine, Overlay, TableDeclaration, log_retry, retried};
use crate::error::Error;
use crate::sink::delta::{DeltaTableProvider, DeltaTarget, SinkError};
use crate::source::sqlserver::{CapturedTable, Database, SourceError};
use crate::sql::{MergeStatement, Statement, StatementKind, StreamRef, expand_stars};

/// The flows of a file, bound to their sources and targets.
#[derive(Debug)]
pub struct Pipeline {
    engine: Engine,
    flows: Vec<Arc<Flow>>,
}

impl Pipeline {
    /// Makes the definitions of `statements` real in `engine` and binds every flow.
    ///
    /// `file` is the file they stand in; relative paths start from its folder. Every flow is planned once
    /// over an empty window, so that errors of names and types come before anything is read or written;
    /// those of all flows are reported together.
    pub async fn bind(
        engine: Engine,
        statements: Vec<Statement>,
        file: Option<&Path>,
    ) -> Result<Self, Error> {
        refuse_others(&statements)?;
        engine.define_all(&statements, file).await?;
        let mut flows: Vec<Arc<Flow>> = Vec::new();
        let mut diagnostics = Vec::new();
        for statement in statements {
            let StatementKind::Merge(merge) = &statement.kind else {
                continue;
            };
            let bound = retried(log_retry, async || {
                Box::pin(bind_flow(&engine, &statement, (**merge).clone(), &flows)).await
            });
            match bound.await {
                Ok(flow) => flows.push(Arc::new(flow)),
                Err(Error::Invalid { diagnostics: found }) => diagnostics.extend(found),
                Err(error) => return Err(error),
            }
        }
        if diagnostics.is_empty() {
            Ok(Self { engine, flows })
        } else {
            Err(Error::Invalid { diagnostics })
        }
    }

    /// The flows, in the order of the file.
    pub fn flows(&self) -> &[Arc<Flow>] {
        &self.flows
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The flow again, as its source and its target are now.
    pub(super) async fn bind_again(&self, flow: &Flow) -> Result<Flow, Error> {
        let merge = match &flow.statement.kind {
            StatementKind::Merge(merge) => (**merge).clone(),
            _ => return Err(Error::Internal("a flow is no MERGE")),
        };
        Box::pin(bind_flow(&self.engine, &flow.statement, merge, &[])).await
    }
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
        Err(Error::Invalid { diagnostics })
    }
}

async fn bind_flow(
    engine: &Engine,
    statement: &Statement,
    mut merge: MergeStatement,
    earlier: &[Arc<Flow>],
) -> Result<Flow, Error> {
    let stream = stream_of(statement, &merge)?;
    let (target, declaration) = target_of(engine, statement, &merge)?;
    if earlier.iter().any(|flow| flow.target == target) {
        return Err(second_flow(statement, &merge, &declaration));
    }
    let parts = parts_of(&stream.name);
    let [connection, schema, table] = parts.as_slice() else {
        return Err(Error::invalid(statement.diagnostic(
            stream.span,
            format!("'{}' does not name a connection", stream.name),
            Some("write STREAM connection.schema.table CHANGES".to_string()),
        )));
    };
    let database = engine
        .database(connection)
        .map_err(|error| error.at(statement, stream.span))?;
    let opened = declaration
        .open()
        .await
        .map_err(|error| error.at(statement, merge.target_span))?;
    let at_stream = |error: SourceError| Error::from(error).at(statement, stream.span);
    let newest = database
        .captured_table(schema, table)
        .await
        .map_err(at_stream)?;
    let key = FlowKey {
        flow: declaration.name.clone(),
        database: database.name().to_string(),
        schema: newest.schema_name().to_string(),
        table: newest.table_name().to_string(),
    };
    let (newest_instance, newest_after) = (newest.instance_id(), newest.earliest_after());
    let table = instance_for(&database, newest, &opened, &key)
        .await
        .map_err(|error| error.at(statement, stream.span))?;
    let feed = database
        .net_changes(&table, LsnRange::default())
        .await
        .map_err(at_stream)?;
    let marker = engine.resolve(&stream.marker);
    let overlay = Overlay::default().with(&marker, feed);
    let target_schema = Box::pin(settle_schema(
        engine,
        statement,
        &mut merge,
        (&declaration, &opened),
        &overlay,
    ))
    .await?;
    let flow = Flow {
        name: declaration.name.clone(),
        key,
        statement: statement.clone(),
        merge,
        connection: connection.to_lowercase(),
        database,
        table,
        newest_instance,
        newest_after,
        stream: marker,
        target,
        declaration,
        target_schema,
    };
    Box::pin(rehearse(engine, &flow, opened, overlay))
        .await
        .map_err(|error| match error {
            Error::Source(error) => at_stream(error),
            other => other.at(statement, statement.span),
        })?;
    Ok(flow)
}

/// The capture instance that the flow reads: the newest, unless the flow's checkpoint lies before its start
/// and an older one still reaches back to it.
///
/// # Errors
/// Whatever reading the checkpoint gives, but for one that is damaged or whose rows were replaced: that ends this flow when
/// it runs, and holds no other.
async fn instance_for(
    database: &Database,
    newest: CapturedTable,
    target: &DeltaTarget,
    key: &FlowKey,
) -> Result<CapturedTable, Error> {
    match target.checkpoint(key).await {
        Ok(Some(checkpoint)) if newest.earliest_after() > checkpoint.lsn => {
            let (schema, table) = (newest.schema_name(), newest.table_name());
            Ok(database
                .captured_table_after(schema, table, checkpoint.lsn)
                .await?)
        }
        Ok(_) | Err(SinkError::DamagedCheckpoint { .. } | SinkError::TargetReplaced { .. }) => {
            Ok(newest)
        }
        Err(error) => Err(error.into()),
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
    if merge.schema_evolution {
        return Err(refuse(
            statement,
            merge,
            "MERGE WITH SCHEMA EVOLUTION is not supported yet".to_string(),
            "leave WITH SCHEMA EVOLUTION out",
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
    let Some(declaration) = engine.declaration(&reference) else {
        return Err(refuse(
            statement,
            merge,
            format!("there is no Delta table '{}'", merge.target),
            "declare it: CREATE TABLE IF NOT EXISTS name USING DELTA LOCATION '…'",
        ));
    };
    Ok((reference, declaration))
}

fn refuse(statement: &Statement, merge: &MergeStatement, message: String, help: &str) -> Error {
    Error::invalid(statement.diagnostic(merge.target_span, message, Some(help.to_string())))
}

/// Expands the stars of `merge` and answers with the target's schema: what it has, what was declared, or
/// what the flow inserts.
async fn settle_schema(
    engine: &Engine,
    statement: &Statement,
    merge: &mut MergeStatement,
    (declaration, target): (&TableDeclaration, &DeltaTarget),
    overlay: &Overlay,
) -> Result<SchemaRef, Error> {
    let existing = target.schema();
    if let (Some(existing), Some(declared)) = (&existing, &declaration.columns) {
        check_declared(statement, merge, &declaration.location, existing, declared)?;
    }
    let known = existing.or_else(|| declaration.columns.clone());
    let (_, plan) = engine
        .plan(statement, source_query(statement, merge)?, overlay.clone())
        .await?;
    let source = Arc::new(plan.schema().as_arrow().clone());
    let written = without_change_columns(&source);
    if merge.has_stars() {
        if let Some(target) = &known {
            check_star(
                statement,
                merge,
                &written,
                target,
                declaration.columns.is_some(),
            )?;
        }
        let target = known.as_ref().unwrap_or(&written);
        expand_stars(merge, &names(target), &names(&source)).map_err(Error::invalid)?;
    }
    match known {
        Some(schema) => Ok(schema),
        None => {
            let (_, plan) = engine
                .plan(statement, inserted_row(statement, merge)?, overlay.clone())
                .await?;
            Ok(without_change_columns(plan.schema().as_arrow()))
        }
    }
}

/// Plans the flow once over nothing, so that a mistake is found before anything is read or written.
///
/// The stream in `overlay` is the real one over an empty window: planning asks the server nothing, and refuses the
/// columns that it cannot carry.
async fn rehearse(
    engine: &Engine,
    flow: &Flow,
    target: DeltaTarget,
    overlay: Overlay,
) -> Result<(), Error> {
    if flow.declaration.on_gap == OnGap::Resnapshot {
        let (statement, merge) = (&flow.statement, &flow.merge);
        let _ = reconcilable(statement, merge, &flow.table, &flow.target_schema)?;
    }
    let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&flow.target_schema)))
        .await
        .and_then(|provider| provider.with_options(flow.declaration.options.clone()))
        .map_err(|error| Error::from(error).at(&flow.statement, flow.merge.target_span))?;
    let overlay = overlay.with(&flow.target, Arc::new(provider));
    let (state, plan) = engine.plan(&flow.statement, flow.kind(), overlay).await?;
    check_values(&flow.statement, &flow.merge, &plan)?;
    let planned = state.create_physical_plan(&plan).await.map(|_| ());
    planned.map_err(|error| match Error::from(error) {
        source @ Error::Source(_) => source,
        Error::DataFusion(error) => Error::from_datafusion(*error, Some(&flow.statement)),
        other => other.at(&flow.statement, flow.statement.span),
    })
}

fn parts_of(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| {
            part.as_ident()
                .map_or_else(|| part.to_string(), |ident| ident.value.clone())
        })
        .collect()
}
