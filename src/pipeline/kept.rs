//! Large values that a change lacks: a MERGE keeps what its target has.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, ExprSchema, Result as DataFusionResult};
use datafusion::logical_expr::dml::{
    MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp,
};
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, WriteOp};

use crate::error::Error;
use crate::source::sqlserver::{
    CapturedTable, MissingValues, inserted, is_large, kept_or_updated, kept_value_type,
};
use crate::sql::{MergeStatement, Statement};

/// Refuses expressions and conditions over large columns, whose values are not known before the target's are.
///
/// `plan` is the MERGE over a stream whose large columns are marked.
pub(super) fn check_large(
    statement: &Statement,
    merge: &MergeStatement,
    plan: &LogicalPlan,
) -> Result<(), Error> {
    let used = first_used(plan);
    match used.map_err(|error| Error::from_datafusion(error, Some(statement)))? {
        None => Ok(()),
        Some(column) => Err(Error::invalid(statement.diagnostic(
            statement.find(&column).unwrap_or(merge.target_span),
            format!(
                "SQL Server may leave the value of '{column}' out of an update, so no expression or condition can use it"
            ),
            Some(
                "assign the column as it is, or set 'cdcql.readBack' = 'true' in the target's TBLPROPERTIES, which reads \
                 such values back from the table"
                    .to_string(),
            ),
        ))),
    }
}

/// Refuses large columns where the target's value need not be the one that an update leaves out: where a change may have
/// been passed over, or the target's row may be another one's.
///
/// `plan` is the MERGE over a stream of `table` whose large columns are marked.
pub(super) fn check_kept(
    statement: &Statement,
    merge: &MergeStatement,
    table: &CapturedTable,
    plan: &LogicalPlan,
) -> Result<(), Error> {
    let reason = reason_against(merge, table, plan);
    match reason.map_err(|error| Error::from_datafusion(error, Some(statement)))? {
        None => Ok(()),
        Some((column, reason)) => Err(Error::invalid(statement.diagnostic(
            merge.target_span,
            format!(
                "SQL Server may leave the value of '{column}' out of an update, and the target need not have it: {reason}"
            ),
            Some(
                "set 'cdcql.readBack' = 'true' in the target's TBLPROPERTIES, which reads such values back from the table, \
                 or leave the column out"
                    .to_string(),
            ),
        ))),
    }
}

/// A large column that the target may have another value of, and why.
fn reason_against(
    merge: &MergeStatement,
    table: &CapturedTable,
    plan: &LogicalPlan,
) -> DataFusionResult<Option<(String, &'static str)>> {
    let LogicalPlan::Dml(write) = plan else {
        return Ok(None);
    };
    let WriteOp::MergeInto(into) = &write.op else {
        return Ok(None);
    };
    let both = both_sides(write)?;
    let clauses = into
        .clauses
        .iter()
        .map(|clause| (clause, large_pairs(clause, &both)));
    let clauses: Vec<_> = clauses.zip(merge.clauses_of_deletes()).collect();
    let updates = |clause: &MergeIntoClause| matches!(clause.action, MergeIntoAction::Update(_));
    let updated = clauses.iter().find(|((clause, pairs), is_of_deletes)| {
        updates(clause) && !is_of_deletes && !pairs.is_empty()
    });
    let Some(((_, pairs), _)) = updated else {
        return Ok(None);
    };
    let column = pairs
        .iter()
        .next()
        .map(|(_, column)| column.clone())
        .unwrap_or_default();
    let keys = merge.key_pairs().unwrap_or_default();
    let is_compared = |key: &&str| {
        keys.iter()
            .any(|(_, source)| source.eq_ignore_ascii_case(key))
    };
    let last = clauses
        .iter()
        .rfind(|((clause, _), _)| clause.kind == MergeIntoClauseKind::Matched);
    let differs = clauses.iter().any(|((clause, other), is_of_deletes)| {
        let is_delete = matches!(clause.action, MergeIntoAction::Delete);
        let is_free = is_delete || (*is_of_deletes && updates(clause));
        !is_free && other != pairs
    });
    let reason = if !merge.reads_stream_alone() {
        "the source is a query, which may leave changes out"
    } else if !table.key_names().iter().all(is_compared) {
        "ON does not compare the source's key, column by column, so that a row may match another one"
    } else if last.is_some_and(|((clause, _), _)| clause.predicate.is_some()) {
        "the last WHEN MATCHED has a condition, which may leave changes out"
    } else if differs {
        "not every UPDATE and INSERT assigns the same large columns"
    } else {
        return Ok(None);
    };
    Ok(Some((column, reason)))
}

/// The target's columns that a clause gives large columns, and these.
fn large_pairs(clause: &MergeIntoClause, both: &DFSchema) -> BTreeSet<(String, String)> {
    let target = both.fields();
    let assigned: Vec<(&str, &Expr)> = match &clause.action {
        MergeIntoAction::Update(assignments) => assignments
            .iter()
            .map(|(column, value)| (column.as_str(), value))
            .collect(),
        MergeIntoAction::Insert { columns, values } if columns.is_empty() => {
            let names = target.iter().map(|field| field.name().as_str());
            names.zip(values).collect()
        }
        MergeIntoAction::Insert { columns, values } => {
            columns.iter().map(String::as_str).zip(values).collect()
        }
        MergeIntoAction::Delete => Vec::new(),
    };
    let large = assigned.into_iter().filter_map(|(name, value)| {
        let column = whole(value)?;
        let field = both.field_from_column(column).ok()?;
        is_large(field).then(|| (name.to_string(), column.name.clone()))
    });
    large.collect()
}

/// A large column that is used otherwise than as a whole.
fn first_used(plan: &LogicalPlan) -> DataFusionResult<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        found = used_by(node)?;
        Ok(match &found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn used_by(node: &LogicalPlan) -> DataFusionResult<Option<String>> {
    let inputs: Vec<&DFSchema> = node
        .inputs()
        .iter()
        .map(|input| input.schema().as_ref())
        .collect();
    match node {
        LogicalPlan::Dml(write) => match &write.op {
            WriteOp::MergeInto(merge) => used_by_merge(write, merge),
            _ => Ok(None),
        },
        LogicalPlan::Projection(projection) => {
            let computed = projection.expr.iter().filter(|expr| whole(expr).is_none());
            Ok(large_in(computed, &inputs))
        }
        LogicalPlan::Distinct(distinct) => {
            let fields = distinct.input().schema().fields();
            let large = fields.iter().find(|field| is_large(field));
            Ok(large.map(|field| field.name().clone()))
        }
        node => Ok(large_in(node.expressions().iter(), &inputs)),
    }
}

fn used_by_merge(write: &DmlStatement, merge: &MergeIntoOp) -> DataFusionResult<Option<String>> {
    let both = both_sides(write)?;
    let mut used = vec![&merge.on];
    for clause in &merge.clauses {
        used.extend(&clause.predicate);
        let assigned: Vec<&Expr> = match &clause.action {
            MergeIntoAction::Update(assignments) => {
                assignments.iter().map(|(_, value)| value).collect()
            }
            MergeIntoAction::Insert { values, .. } => values.iter().collect(),
            MergeIntoAction::Delete => Vec::new(),
        };
        used.extend(assigned.into_iter().filter(|value| whole(value).is_none()));
    }
    Ok(large_in(used.into_iter(), &[&both]))
}

/// The target's columns and those of the source.
fn both_sides(write: &DmlStatement) -> DataFusionResult<DFSchema> {
    let target = write.target.schema();
    DFSchema::try_from_qualified_schema(write.table_name.clone(), &target)?
        .join(write.input.schema())
}

fn large_in<'a>(exprs: impl Iterator<Item = &'a Expr>, schemas: &[&DFSchema]) -> Option<String> {
    let is_large_column = |column: &Column| {
        let mut schemas = schemas.iter();
        schemas.any(|schema| {
            let field = schema.field_from_column(column);
            field.is_ok_and(|field| is_large(field))
        })
    };
    for expr in exprs {
        let columns = expr.column_refs();
        let mut columns = columns.into_iter();
        if let Some(column) = columns.find(|column| is_large_column(column)) {
            return Some(column.name.clone());
        }
    }
    None
}

/// The column that an expression is, by whatever name.
fn whole(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Alias(alias) => whole(&alias.expr),
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

/// The MERGE `plan` over a stream with kept values: where one is kept, an UPDATE leaves the target's; an INSERT demands the
/// value. When that fails for want of one, `missing` tells.
pub(super) fn with_kept(
    plan: LogicalPlan,
    missing: &MissingValues,
) -> DataFusionResult<LogicalPlan> {
    let LogicalPlan::Dml(write) = plan else {
        return Ok(plan);
    };
    let WriteOp::MergeInto(merge) = &write.op else {
        return Ok(LogicalPlan::Dml(write));
    };
    let both = both_sides(&write)?;
    let is_kept = |value: &Expr| {
        let column = whole(value)?;
        let field = both.field_from_column(column).ok()?;
        kept_value_type(field.data_type())?;
        Some(Expr::Column(column.clone()))
    };
    let mut merge = merge.as_ref().clone();
    for clause in &mut merge.clauses {
        match &mut clause.action {
            MergeIntoAction::Update(assignments) => {
                for (name, value) in assignments {
                    if let Some(column) = is_kept(value) {
                        let own = Column::new(Some(write.table_name.clone()), name.as_str());
                        *value = kept_or_updated(column, Expr::Column(own), missing)?;
                    }
                }
            }
            MergeIntoAction::Insert { values, .. } => {
                for value in values {
                    if let Some(column) = is_kept(value) {
                        *value = inserted(column, missing);
                    }
                }
            }
            MergeIntoAction::Delete => {}
        }
    }
    let op = WriteOp::MergeInto(Box::new(merge));
    let (name, target, input) = (write.table_name, write.target, Arc::clone(&write.input));
    Ok(LogicalPlan::Dml(DmlStatement::new(name, target, op, input)))
}
