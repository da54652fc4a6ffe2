//! Large values that a change lacks: a MERGE keeps what its target has.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, ExprSchema, Result as DataFusionResult};
use datafusion::logical_expr::dml::{
    MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp,
};
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, WriteOp};

use super::values::{assigned, both_sides};
use crate::error::Error;
use crate::source::sqlserver::{
    CapturedColumn, CapturedTable, MissingValues, inserted, is_large, kept_or_updated,
    kept_value_type,
};
use crate::sql::{MergeStatement, Statement};

/// Refuses large columns where a value that an update leaves out is needed to decide or to compute something, or where the
/// target's need not be that value: a change may have been passed over, or the row may be another one's.
///
/// `plan` is the MERGE over a stream of `table` whose large columns are marked; `read` are the places of the columns that it
/// reads of it.
pub(super) fn check_kept(
    statement: &Statement,
    merge: &MergeStatement,
    table: &CapturedTable,
    plan: &LogicalPlan,
    read: &BTreeSet<usize>,
) -> Result<(), Error> {
    let reason = reason_against(merge, table, plan, read);
    match reason.map_err(|error| Error::from_datafusion(error, Some(statement)))? {
        None => Ok(()),
        Some((column, reason)) => Err(Error::invalid(statement.diagnostic(
            statement.find(&column).unwrap_or(merge.target_span),
            format!("SQL Server may leave the value of '{column}' out of an update, and {reason}"),
            Some(
                "set 'cdcql.readBack' = 'true' in the target's TBLPROPERTIES, which reads such values back from the table, \
                 or leave the column out"
                    .to_string(),
            ),
        ))),
    }
}

/// A large column that cannot be kept, and why.
fn reason_against(
    merge: &MergeStatement,
    table: &CapturedTable,
    plan: &LogicalPlan,
    read: &BTreeSet<usize>,
) -> DataFusionResult<Option<(String, &'static str)>> {
    let columns = read.iter().filter_map(|place| table.columns().get(*place));
    let large = columns.clone().find(|column| column.is_large());
    let Some(large) = large.map(CapturedColumn::name) else {
        return Ok(None);
    };
    if !merge.reads_stream_alone() {
        let reason = "the source is a query, which may compute with it or pass changes over";
        return Ok(Some((large.to_string(), reason)));
    }
    let LogicalPlan::Dml(write) = plan else {
        return Ok(None);
    };
    let WriteOp::MergeInto(into) = &write.op else {
        return Ok(None);
    };
    if let Some(column) = used_by(write, into)? {
        return Ok(Some((column, "an expression or a condition uses it")));
    }
    let both = both_sides(write)?;
    let target = write.target.schema();
    let pairs = |clause: &MergeIntoClause| {
        let assigned = assigned(clause, &target).into_iter();
        let large = assigned.filter_map(|(name, value)| {
            let column = whole(value).filter(|column| is_marked(&both, column))?;
            Some((name.to_string(), column.name.clone()))
        });
        large.collect::<BTreeSet<_>>()
    };
    let reason = reason_against_clauses(merge, table, into, pairs);
    Ok(reason.map(|reason| (large.to_string(), reason)))
}

/// `pairs` are the large columns of a clause with the target's that get them.
fn reason_against_clauses(
    merge: &MergeStatement,
    table: &CapturedTable,
    into: &MergeIntoOp,
    pairs: impl Fn(&MergeIntoClause) -> BTreeSet<(String, String)>,
) -> Option<&'static str> {
    let clauses = into.clauses.iter().map(|clause| (clause, pairs(clause)));
    let clauses: Vec<_> = clauses.zip(merge.clauses_of_deletes()).collect();
    let updates = |clause: &MergeIntoClause| matches!(clause.action, MergeIntoAction::Update(_));
    let (_, kept) = clauses
        .iter()
        .filter(|((clause, _), is_of_deletes)| updates(clause) && !is_of_deletes)
        .map(|(clause, _)| clause)
        .find(|(_, pairs)| !pairs.is_empty())?;
    let keys = merge.key_pairs().unwrap_or_default();
    let is_compared = |key: &&str| {
        let mut keys = keys.iter();
        keys.any(|(_, source)| source.eq_ignore_ascii_case(key))
    };
    if !table.key_names().iter().all(is_compared) {
        return Some(
            "ON does not compare the source's key, column by column, so that a row may match another one",
        );
    }
    let last = clauses
        .iter()
        .rfind(|((clause, _), _)| clause.kind == MergeIntoClauseKind::Matched);
    if last.is_some_and(|((clause, _), _)| clause.predicate.is_some()) {
        return Some("the last WHEN MATCHED has a condition, which may pass changes over");
    }
    let differs = clauses.iter().any(|((clause, pairs), is_of_deletes)| {
        let is_delete = matches!(clause.action, MergeIntoAction::Delete);
        let is_free = is_delete || (*is_of_deletes && updates(clause));
        !is_free && pairs != kept
    });
    differs.then_some("not every UPDATE and INSERT assigns the same large columns")
}

/// A large column that a MERGE uses otherwise than as a whole.
fn used_by(write: &DmlStatement, merge: &MergeIntoOp) -> DataFusionResult<Option<String>> {
    let both = both_sides(write)?;
    let target = write.target.schema();
    let mut used = vec![&merge.on];
    for clause in &merge.clauses {
        used.extend(&clause.predicate);
        let values = assigned(clause, &target).into_iter();
        used.extend(
            values
                .map(|(_, value)| value)
                .filter(|value| whole(value).is_none()),
        );
    }
    let columns = used.into_iter().flat_map(Expr::column_refs);
    let is_large_column = |column: &&Column| is_marked(&both, column);
    Ok(columns
        .into_iter()
        .find(is_large_column)
        .map(|column| column.name.clone()))
}

fn is_marked(schema: &DFSchema, column: &Column) -> bool {
    let field = schema.field_from_column(column);
    field.is_ok_and(|field| is_large(field))
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
