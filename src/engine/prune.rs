//! The source of a MERGE without the columns that nothing uses.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp};

/// `plan` with a source of only the columns that its conditions and values name; the optimizer leaves the source
/// of a write whole. What is not used is then not read, and a column that cannot be read hinders nothing.
///
/// The plan of an EXPLAIN is that of the statement which it explains.
pub(super) fn pruned(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Dml(write) => pruned_write(write),
        LogicalPlan::Explain(mut explain) => {
            explain.plan = Arc::new(pruned(Arc::unwrap_or_clone(explain.plan))?);
            Ok(LogicalPlan::Explain(explain))
        }
        LogicalPlan::Analyze(mut analyze) => {
            analyze.input = Arc::new(pruned(Arc::unwrap_or_clone(analyze.input))?);
            Ok(LogicalPlan::Analyze(analyze))
        }
        plan => Ok(plan),
    }
}

fn pruned_write(write: DmlStatement) -> Result<LogicalPlan> {
    let WriteOp::MergeInto(merge) = &write.op else {
        return Ok(LogicalPlan::Dml(write));
    };
    let used: HashSet<&Column> = merge
        .exprs()
        .into_iter()
        .flat_map(Expr::column_refs)
        .collect();
    let columns = write.input.schema().columns();
    let kept: Vec<Expr> = columns
        .iter()
        .filter(|column| used.contains(column))
        .map(|column| Expr::Column(column.clone()))
        .collect();
    // Rows without columns are left to sources that a person writes so.
    if kept.is_empty() || kept.len() == columns.len() {
        return Ok(LogicalPlan::Dml(write));
    }
    let input = LogicalPlanBuilder::from(write.input.as_ref().clone())
        .project(kept)?
        .build()?;
    Ok(LogicalPlan::Dml(DmlStatement::new(
        write.table_name.clone(),
        Arc::clone(&write.target),
        write.op.clone(),
        Arc::new(input),
    )))
}
