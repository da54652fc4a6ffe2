//! Large values that a change lacks: a MERGE keeps what its target has.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, ExprSchema, Result as DataFusionResult};
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoOp};
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, WriteOp};

use crate::error::Error;
use crate::source::sqlserver::{
    MissingValues, inserted, is_large, kept_or_updated, kept_value_type,
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
