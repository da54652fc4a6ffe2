//! Which flows make of each row of the source one row of the target, whatever has happened before.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::logical_expr::dml::MergeIntoClause;
use datafusion::logical_expr::{Expr, LogicalPlan, WriteOp};
use datafusion::sql::sqlparser::ast::{MergeAction, MergeClauseKind};

use super::super::flow::{Flow, Start};
use super::super::reconcile::{Keys, Over, UNKNOWN_ROWS, reconcilable};
use super::super::values::{assigned, unsteady};
use crate::change::LsnRange;
use crate::engine::{Engine, Overlay};
use crate::error::Error;
use crate::sink::delta::{DeltaTableProvider, DeltaTarget};
use crate::source::sqlserver::LargeValues;

/// The key of the metadata of a column that a Delta table computes.
const GENERATED: &str = "delta.generationExpression";

/// What is compared of a flow whose target is a function of its source's rows.
#[derive(Debug)]
pub(super) struct Verifiable {
    /// The columns by which rows are told apart, with the source's.
    pub(super) keys: Keys,
    /// The target's columns that are none of the flow's: it writes nothing to them, or the source does not have them.
    pub(super) uncompared: Vec<String>,
}

/// What is compared of a flow whose target is a function of its source's rows.
///
/// # Errors
/// `Invalid`, with the place, for a flow whose target depends on anything else.
pub(super) async fn verifiable(
    engine: &Engine,
    flow: &Flow,
    target: &DeltaTarget,
) -> Result<Verifiable, Error> {
    let schema = target.schema();
    let schema = schema.as_ref().unwrap_or(&flow.target_schema);
    let (statement, merge) = (&flow.statement, &flow.merge);
    let keys = reconcilable(statement, merge, &flow.table, schema, Over::Comparison)?;
    let clauses = Clauses::of(flow)?;
    if flow.start != Start::Copy {
        let message =
            "it begins without a copy of the table, so that its target need not have all rows";
        return Err(refused(flow, None, message, "verify the other flows"));
    }
    let mut tables = flow.reads.iter();
    let others = tables.find(|table| **table != flow.stream && **table != flow.target);
    if let Some(other) = others {
        let message = format!("it looks up '{other}', which may have had other rows then");
        return Err(refused(
            flow,
            None,
            &message,
            "compute from the change alone",
        ));
    }
    let planned = planned_clauses(engine, flow, target).await?;
    let clause = |place: usize| planned.get(place);
    let (Some(update), Some(insert)) = (clause(clauses.update), clause(clauses.insert)) else {
        return Err(Error::Internal("a clause of a MERGE was not planned"));
    };
    check_values(flow, schema, (clauses.insert, insert))?;
    check_generated(flow, schema, (clauses.insert, insert))?;
    check_alike(flow, schema, &keys, (&clauses, update, insert))?;
    let inserted = assigned(insert, schema);
    let is_written = |name: &String| inserted.iter().any(|(own, _)| own == name);
    let names = schema.fields().iter().map(|field| field.name());
    let uncompared = names.filter(|name| !is_written(name) || flow.absents.contains(*name));
    Ok(Verifiable {
        uncompared: uncompared.cloned().collect(),
        keys,
    })
}

/// The clauses that make rows, by their places.
struct Clauses {
    update: usize,
    insert: usize,
}

impl Clauses {
    fn of(flow: &Flow) -> Result<Self, Error> {
        let merge = &flow.merge;
        let of_deletes = merge.clauses_of_deletes();
        let of_rows = merge.clauses_of_rows();
        let (mut update, mut insert) = (None, None);
        for (place, clause) in merge.ast.clauses.iter().enumerate() {
            let is_of_deletes = of_deletes.get(place).is_some_and(|is| *is);
            let takes_rows = of_rows.get(place).is_some_and(|is| *is);
            let slot = match (&clause.clause_kind, &clause.action) {
                // The first of them deletes; nothing is left for the others.
                (MergeClauseKind::Matched, _) if is_of_deletes || update.is_some() => continue,
                (MergeClauseKind::Matched, MergeAction::Update(_)) if takes_rows => &mut update,
                (
                    MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget,
                    MergeAction::Insert(_),
                ) if takes_rows && insert.is_none() => &mut insert,
                _ => {
                    return Err(refused(
                        flow,
                        Some(place),
                        "this clause treats some rows unlike others, by what the change is or what was there before",
                        "update and insert every row that the source has not deleted",
                    ));
                }
            };
            *slot = Some(place);
        }
        match (update, insert) {
            (Some(update), Some(insert)) => Ok(Self { update, insert }),
            (None, _) => Err(refused(
                flow,
                None,
                "it does not update every row that the source has changed",
                "add WHEN MATCHED THEN UPDATE SET *",
            )),
            (_, None) => Err(refused(
                flow,
                None,
                "it does not insert every row that the source has",
                "add WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *",
            )),
        }
    }
}

/// The clauses of the MERGE over a stream of plain values.
async fn planned_clauses(
    engine: &Engine,
    flow: &Flow,
    target: &DeltaTarget,
) -> Result<Vec<MergeIntoClause>, Error> {
    let (window, form) = (LsnRange::default(), LargeValues::ReadBack);
    let stream = flow.database.net_changes(&flow.table, window, form).await?;
    let schema = Some(Arc::clone(&flow.target_schema));
    let target = DeltaTableProvider::try_new(target.clone(), schema).await?;
    let overlay = Overlay::default()
        .with(&flow.stream, stream)
        .with(&flow.target, Arc::new(target));
    let planned = engine.plan(&flow.statement, flow.kind(), overlay).await?;
    match planned.1 {
        LogicalPlan::Dml(write) => match write.op {
            WriteOp::MergeInto(merge) => Ok(merge.clauses),
            _ => Err(Error::Internal("a flow was planned as another write")),
        },
        _ => Err(Error::Internal("a flow was planned as no write")),
    }
}

/// Refuses values that are not the same each time that they are computed from a row.
fn check_values(
    flow: &Flow,
    schema: &SchemaRef,
    (place, insert): (usize, &MergeIntoClause),
) -> Result<(), Error> {
    for (column, value) in assigned(insert, schema) {
        let why = unsteady(value).map_err(Error::from)?;
        if let Some(why) = why {
            return Err(refused(
                flow,
                Some(place),
                &format!("column '{column}' {why}, which a row of the source does not have"),
                "compute it from the source's columns alone",
            ));
        }
    }
    Ok(())
}

/// Refuses columns that are left to the table to compute.
fn check_generated(
    flow: &Flow,
    schema: &SchemaRef,
    (place, insert): (usize, &MergeIntoClause),
) -> Result<(), Error> {
    let inserted = assigned(insert, schema);
    let is_given = |field: &Field| inserted.iter().any(|(name, _)| *name == field.name());
    let mut fields = schema.fields().iter();
    match fields.find(|field| field.metadata().contains_key(GENERATED) && !is_given(field)) {
        None => Ok(()),
        Some(column) => Err(refused(
            flow,
            Some(place),
            &format!("the table computes column '{}' itself", column.name()),
            "compute it in the flow",
        )),
    }
}

/// Refuses an UPDATE that makes another row than the INSERT, and keys that are not the source's.
fn check_alike(
    flow: &Flow,
    schema: &SchemaRef,
    keys: &Keys,
    (clauses, update, insert): (&Clauses, &MergeIntoClause, &MergeIntoClause),
) -> Result<(), Error> {
    let inserted: BTreeMap<_, _> = assigned(insert, schema).into_iter().collect();
    let updated: BTreeMap<_, _> = assigned(update, schema).into_iter().collect();
    let is_key = |own: &str, value: Option<&&Expr>| {
        let column = value.and_then(|value| whole(value));
        let mut keys = keys.iter();
        keys.any(|(key, other)| key == own && column == Some(other.as_str()))
    };
    if let Some((own, other)) = keys
        .iter()
        .find(|(own, _)| !is_key(own, inserted.get(own.as_str())))
    {
        return Err(refused(
            flow,
            Some(clauses.insert),
            &format!("column '{own}' does not get '{other}', which ON compares it with"),
            "insert the key as it is",
        ));
    }
    let mut columns = inserted.keys().chain(updated.keys());
    let differs = columns.find(|column| {
        let (new, old) = (inserted.get(*column), updated.get(*column));
        match (new, old) {
            // What ON has found equal is as good as assigned.
            (Some(_), None) => !is_key(column, new),
            (Some(new), Some(old)) => plain(new) != plain(old),
            _ => true,
        }
    });
    match differs {
        None => Ok(()),
        Some(column) => Err(refused(
            flow,
            Some(clauses.update),
            &format!("column '{column}' does not get the same from UPDATE and INSERT"),
            "assign the same in both",
        )),
    }
}

fn plain(value: &Expr) -> &Expr {
    match value {
        Expr::Alias(alias) => plain(&alias.expr),
        value => value,
    }
}

fn whole(value: &Expr) -> Option<&str> {
    match plain(value) {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// A refusal at a clause, or at the target.
fn refused(flow: &Flow, clause: Option<usize>, message: &str, help: &str) -> Error {
    let spans = flow.merge.clause_spans();
    let span = clause.and_then(|place| spans.get(place).copied());
    Error::invalid(flow.statement.diagnostic(
        span.unwrap_or(flow.merge.target_span),
        format!("{UNKNOWN_ROWS}: {message}"),
        Some(format!("{help}, or name the other flows with --flow")),
    ))
}
