//! The columns of a flow's target: those it has, or gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::schema::{
    Growth, check_declared, check_star, inserted_row, names, source_query, without_change_columns,
};
use crate::change::OnSchemaChange;
use crate::engine::{Engine, Overlay, TableDeclaration};
use crate::error::Error;
use crate::sink::delta::DeltaTarget;
use crate::source::sqlserver::{CapturedColumn, CapturedTable};
use crate::sql::{Absent, MergeStatement, Statement, expand_stars};

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
    (declaration, target): (&TableDeclaration, &DeltaTarget),
    (overlay, lost): (&Overlay, &BTreeSet<&str>),
) -> Result<Settled, Error> {
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
    let (mut growth, mut absents) = (Growth::default(), BTreeSet::new());
    if merge.has_stars() {
        let policy = declaration.on_schema_change;
        let absent = match policy {
            OnSchemaChange::Fail => Absent::Refused,
            OnSchemaChange::Ignore | OnSchemaChange::Add | OnSchemaChange::Evolve => Absent::Null,
        };
        // What the source has lost is as good as never there, unless the flow stops for it.
        let is_there = |name: &str| absent == Absent::Refused || !lost.contains(name);
        if let Some(target) = &known {
            let live = written
                .fields()
                .iter()
                .filter(|field| is_there(field.name()));
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
    let schema = match known {
        Some(schema) => schema,
        None => {
            let (_, plan) = engine
                .plan(statement, inserted_row(statement, merge)?, overlay.clone())
                .await?;
            without_change_columns(plan.schema().as_arrow())
        }
    };
    Ok(Settled {
        schema,
        growth,
        absents,
    })
}

/// The captured columns that the live table does not have any more.
pub(super) fn lost_columns(table: &CapturedTable) -> BTreeSet<&str> {
    let lost = table.columns().iter();
    let lost = lost.filter(|column| column.source_name().is_none());
    lost.map(CapturedColumn::name).collect()
}
