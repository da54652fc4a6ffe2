//! UPDATE and DELETE of a Delta table, as the MERGE that they are.
//!
//! DataFusion hands a table the conditions that it finds in the optimized plan. Those of a join are not among them, nor
//! is one that the optimizer found to be false, and a DELETE without conditions deletes every row. The expressions of a
//! MERGE come as they were written.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::dml::{
    MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp,
};
use datafusion::logical_expr::{
    DmlStatement, EmptyRelation, Expr, LogicalPlan, Projection, WriteOp, lit,
};

use datafusion::sql::parser::Statement as QueryStatement;
use datafusion::sql::sqlparser::ast;

use super::refuse::Refusal;

/// Why `statement` is not planned: it assigns a column twice, of which the planner would take one.
pub(super) fn repeated_assignment(statement: &QueryStatement) -> Option<Refusal> {
    let update = match statement {
        QueryStatement::Explain(explain) => return repeated_assignment(&explain.statement),
        QueryStatement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Update(update) => update,
            _ => return None,
        },
        _ => return None,
    };
    let mut seen = HashSet::new();
    let mut targets = update
        .assignments
        .iter()
        .map(|assignment| match &assignment.target {
            ast::AssignmentTarget::ColumnName(name) => {
                let column = name.0.last().and_then(|part| part.as_ident());
                column.map(|column| column.value.clone())
            }
            ast::AssignmentTarget::Tuple(_) => None,
        });
    let twice = targets.find_map(|name| name.filter(|name| !seen.insert(name.to_lowercase())))?;
    Some(Refusal {
        message: format!("column {twice} is assigned twice"),
        help: "assign it once".to_string(),
    })
}

/// `plan`, or what an UPDATE, DELETE or TRUNCATE is as a MERGE whose source is one row without columns.
///
/// # Errors
///
/// In the value: the statement reads another table, or has a clause that a MERGE has no place for.
pub(super) fn as_merge(plan: LogicalPlan) -> Result<std::result::Result<LogicalPlan, Refusal>> {
    let plan = match plan {
        LogicalPlan::Explain(mut explain) => {
            let inner = as_merge(explain.plan.as_ref().clone())?;
            return Ok(inner.map(|inner| {
                explain.plan = Arc::new(inner);
                LogicalPlan::Explain(explain)
            }));
        }
        LogicalPlan::Analyze(mut analyze) => {
            let inner = as_merge(analyze.input.as_ref().clone())?;
            return Ok(inner.map(|inner| {
                analyze.input = Arc::new(inner);
                LogicalPlan::Analyze(analyze)
            }));
        }
        plan => plan,
    };
    let LogicalPlan::Dml(write) = &plan else {
        return Ok(Ok(plan));
    };
    let change = match &write.op {
        WriteOp::Delete => deletion(write),
        WriteOp::Update => update(write)?,
        WriteOp::Truncate => Some((lit(true), MergeIntoAction::Delete)),
        _ => return Ok(Ok(plan)),
    };
    let Some((on, action)) = change else {
        return Ok(Err(Refusal {
            message: format!(
                "{} of '{}' from another table, or with a limit",
                write.op.name().to_uppercase(),
                write.table_name
            ),
            help: "write MERGE INTO … USING … ON … WHEN MATCHED THEN …".to_string(),
        }));
    };
    Ok(Ok(merge(write, on, action)?))
}

fn merge(write: &DmlStatement, on: Expr, action: MergeIntoAction) -> Result<LogicalPlan> {
    let clause = MergeIntoClause {
        kind: MergeIntoClauseKind::Matched,
        predicate: None,
        action,
    };
    let merge = MergeIntoOp {
        on: of_table(on, &write.table_name)?,
        clauses: vec![clause],
    };
    let row = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(DFSchema::empty()),
    });
    Ok(LogicalPlan::Dml(DmlStatement::new(
        write.table_name.clone(),
        Arc::clone(&write.target),
        WriteOp::MergeInto(Box::new(merge)),
        Arc::new(row),
    )))
}

fn deletion(write: &DmlStatement) -> Option<(Expr, MergeIntoAction)> {
    let condition = condition_of(&write.input, &write.table_name)?;
    Some((condition, MergeIntoAction::Delete))
}

fn update(write: &DmlStatement) -> Result<Option<(Expr, MergeIntoAction)>> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = write.input.as_ref() else {
        return Ok(None);
    };
    let Some(condition) = condition_of(input, &write.table_name) else {
        return Ok(None);
    };
    let mut assignments = Vec::new();
    for value in expr {
        let Expr::Alias(value) = value else {
            return Ok(None);
        };
        // A column that is not assigned is its own value.
        let keeps =
            matches!(value.expr.as_ref(), Expr::Column(column) if column.name == value.name);
        if !keeps {
            let assigned = of_table(value.expr.as_ref().clone(), &write.table_name)?;
            assignments.push((value.name.clone(), assigned));
        }
    }
    Ok(Some((condition, MergeIntoAction::Update(assignments))))
}

/// The condition over the rows of `table` that `input` reads; `None` if it does anything else.
fn condition_of(input: &LogicalPlan, table: &TableReference) -> Option<Expr> {
    match input {
        LogicalPlan::Filter(filter) => {
            reads_only(&filter.input, table).then(|| filter.predicate.clone())
        }
        input => reads_only(input, table).then(|| lit(true)),
    }
}

fn reads_only(input: &LogicalPlan, table: &TableReference) -> bool {
    match input {
        LogicalPlan::TableScan(scan) => {
            scan.table_name == *table && scan.fetch.is_none() && scan.filters.is_empty()
        }
        LogicalPlan::SubqueryAlias(alias) => reads_only(&alias.input, table),
        _ => false,
    }
}

/// `expr`, all of whose columns are of `table`, whatever alias it was written under.
fn of_table(expr: Expr, table: &TableReference) -> Result<Expr> {
    expr.transform(|expr| match expr {
        Expr::Column(column) => {
            let column = Column::new(Some(table.clone()), column.name);
            Ok(Transformed::yes(Expr::Column(column)))
        }
        expr => Ok(Transformed::no(expr)),
    })
    .map(|expr| expr.data)
}

#[cfg(test)]
mod tests;
