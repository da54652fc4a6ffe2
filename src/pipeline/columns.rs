//! The columns of a flow's target: those it has, or gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::history::HistoryColumns;
use super::schema::{
    Growth, check_declared, check_star, find, inserted_row, names, source_query,
    without_change_columns,
};
use crate::change::OnSchemaChange;
use crate::engine::{Engine, Overlay, TableDeclaration};
use crate::error::Error;
use crate::nearest::nearest;
use crate::sink::delta::DeltaTarget;
use crate::source::sqlserver::{CapturedColumn, CapturedTable, Database};
use crate::sql::{Absent, Diagnostic, MergeStatement, Statement, expand_stars};

/// How many statements that have changed a table are quoted, the newest.
const MOST_QUOTED: usize = 3;

/// A flow's target by its flow.
pub(super) struct Settled {
    /// What it has, what was declared, or what the flow inserts.
    pub(super) schema: SchemaRef,
    /// What it gets first.
    pub(super) growth: Growth,
    /// Those that stars make NULL, since the source does not have them.
    pub(super) absents: BTreeSet<String>,
}

/// Expands the stars of `merge` and answers with what becomes of the target's columns.
pub(super) async fn settle_schema(
    engine: &Engine,
    statement: &Statement,
    merge: &mut MergeStatement,
    (declaration, target, history): (&TableDeclaration, &DeltaTarget, Option<&HistoryColumns>),
    (overlay, lost): (&Overlay, &BTreeSet<&str>),
) -> Result<Settled, Error> {
    let existing = target.schema();
    let declared = declaration.columns.as_ref();
    let declared = declared.map(|declared| match history {
        Some(history) => history.with(declared),
        None => Arc::clone(declared),
    });
    if let (Some(existing), Some(declared)) = (&existing, &declared) {
        check_declared(statement, merge, &declaration.location, existing, declared)?;
    }
    let whole = existing.or(declared);
    let known = whole.as_ref().map(|whole| match history {
        Some(history) => history.without(whole),
        None => Arc::clone(whole),
    });
    let (_, plan) = engine
        .plan(statement, source_query(statement, merge)?, overlay.clone())
        .await?;
    let source = Arc::new(plan.schema().as_arrow().clone());
    let written = without_change_columns(&source);
    let (mut growth, mut absents) = (Growth::default(), BTreeSet::new());
    if merge.has_stars() {
        let policy = declaration.on_schema_change;
        let absent = match policy {
            OnSchemaChange::Fail => Absent::Refused,
            OnSchemaChange::Ignore | OnSchemaChange::Add | OnSchemaChange::Evolve => Absent::Null,
        };
        // What the source has lost is as good as never there, unless the flow stops for it.
        let is_there = |name: &str| absent == Absent::Refused || !lost.contains(name);
        let is_left_out = |name: &str| merge.auto.is_some() && merge.leaves_out(name);
        if let Some(target) = &known {
            let live = written
                .fields()
                .iter()
                .filter(|field| is_there(field.name()) && !is_left_out(field.name()));
            let live = Schema::new(live.cloned().collect::<Vec<_>>());
            let policy = (declaration.columns.is_some(), policy);
            growth = check_star(statement, merge, &live, target, policy)?;
        }
        let mut target = names(known.as_ref().unwrap_or(&written));
        if known.is_none() {
            target.retain(|name| is_there(name));
        }
        let mut source = names(&source);
        source.retain(|name| is_there(name));
        absents = expand_stars(merge, &target, &source, absent).map_err(Error::invalid)?;
    }
    let schema = match whole {
        Some(schema) => schema,
        None => {
            let (_, plan) = engine
                .plan(statement, inserted_row(statement, merge)?, overlay.clone())
                .await?;
            let written = without_change_columns(plan.schema().as_arrow());
            match history {
                Some(history) => history.with(&written),
                None => written,
            }
        }
    };
    Ok(Settled {
        schema,
        growth,
        absents,
    })
}

/// Refuses KEYS of columns that the target does not have.
pub(super) fn check_keys(
    statement: &Statement,
    merge: &MergeStatement,
    target: &Schema,
) -> Result<(), Error> {
    let mut keys = merge
        .auto
        .iter()
        .flat_map(|auto| auto.keys.iter().flatten());
    let Some(unknown) = keys.find(|key| find(target, &key.value).is_none()) else {
        return Ok(());
    };
    let names = names(target);
    let near = nearest(&unknown.value, names.iter().map(String::as_str));
    Err(Error::invalid(statement.diagnostic(
        statement.ident_span(unknown),
        format!(
            "the target has no column `{}`, which KEYS names",
            unknown.value
        ),
        near.map(|near| format!("did you mean `{near}`?")),
    )))
}

/// The captured columns that the live table does not have any more.
pub(super) fn lost_columns(table: &CapturedTable) -> BTreeSet<&str> {
    let lost = table.columns().iter();
    let lost = lost.filter(|column| column.source_name().is_none());
    lost.map(CapturedColumn::name).collect()
}

/// `error`, with what was done to the source's table, where it is one of what it has now.
pub(super) async fn with_history(
    database: &Database,
    table: &CapturedTable,
    error: Error,
) -> Error {
    let Error::Invalid { diagnostics, more } = error else {
        return error;
    };
    // What cannot be read is left out: the error is told all the same.
    let history = database.ddl_history(table).await.ok().flatten();
    let history = history.unwrap_or_default();
    let from = history.len().saturating_sub(MOST_QUOTED);
    let told = |diagnostic: Diagnostic| {
        let told = history.iter().skip(from);
        told.fold(diagnostic, |diagnostic, change| {
            let (lsn, command) = (change.lsn, change.command.trim());
            diagnostic.with_cause(format!("at {lsn} the source executed: {command}"))
        })
    };
    Error::Invalid {
        diagnostics: diagnostics.into_iter().map(told).collect(),
        more,
    }
}

/// Refuses to write NULL into a column of the target, one of `absents`, that the source has under another name now.
pub(super) async fn check_names(
    statement: &Statement,
    merge: &MergeStatement,
    (database, table): (&Database, &CapturedTable),
    absents: &BTreeSet<String>,
) -> Result<(), Error> {
    if absents.is_empty() {
        return Ok(());
    }
    let renamed = database.renamed_columns(table).await?;
    let mut renamed = renamed.iter();
    match renamed.find(|(old, _)| absents.iter().any(|name| name.eq_ignore_ascii_case(old))) {
        None => Ok(()),
        Some((old, new)) => Err(Error::invalid(statement.diagnostic(
            merge.target_span,
            format!("the source's column '{old}' is called '{new}' now, and the target has it as '{old}'"),
            Some(format!(
                "list the columns in SET and INSERT, with {old} = {source}.{new}; or copy the table to an empty LOCATION",
                source = merge.source_alias.value
            )),
        ))),
    }
}
