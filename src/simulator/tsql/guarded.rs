//! Tables of which not everybody may see every row and value: security policies filter them, masks cover them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, ExprSchema};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};

use super::failure::failure;
use super::functions::{CAST, MASK, call, external};
use super::lexer::tokens;
use super::normal::Spelling;
use super::parse::parse;
use super::planner::{TARGET, plan_over};
use super::protection::condition;
use super::rewrite::rewrite;
use super::scope::Scope;
use crate::simulator::protocol::ServerError;
use crate::simulator::security::Permission;
use crate::simulator::store::{Filter, Guard, State, Table};
use crate::simulator::types::NAME;

/// In the metadata of a field whose values are masks.
const MASKED: &str = "sql.masked";

/// The rows of a table as the session may see them; `rows` has all of them.
pub(super) fn guarded(
    scope: &Arc<Scope>,
    database: &str,
    table: &Table,
    rows: Arc<dyn TableProvider>,
) -> std::result::Result<Arc<dyn TableSource>, ServerError> {
    let source = provider_as_source(rows);
    let Some(state) = scope.state(database) else {
        return Ok(source);
    };
    let filters: Vec<&Filter> = state.protections.filters_of(table.object_id).collect();
    let masked = is_masked(scope, &state, table)?;
    if filters.is_empty() && !masked {
        return Ok(source);
    }
    let mut plan = filtered(scope, &state, &filters, source)?;
    if masked {
        let covered = covered(table, plan);
        plan = covered.map_err(|error| failure(&error, &Spelling::default()))?;
    }
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

fn is_masked(
    scope: &Scope,
    state: &State,
    table: &Table,
) -> std::result::Result<bool, ServerError> {
    if !table
        .columns
        .iter()
        .any(|column| column.guard == Guard::Masked)
    {
        return Ok(false);
    }
    let rights = scope.rights(state)?;
    scope.note_rights(&rights);
    Ok(!rights.on_table(state, Permission::Unmask, table))
}

/// The rows that every filter lets pass.
fn filtered(
    scope: &Arc<Scope>,
    state: &State,
    filters: &[&Filter],
    rows: Arc<dyn TableSource>,
) -> std::result::Result<LogicalPlan, ServerError> {
    let mut conditions = vec!["1 = 1".to_owned()];
    for filter in filters {
        let (schema, name) = &filter.predicate;
        let predicate = state.protections.predicate(schema, name);
        let predicate = predicate.ok_or_else(|| ServerError::invalid_object(name))?;
        let condition = condition(predicate, &filter.columns, tokens)?;
        conditions.push(format!("({condition})"));
    }
    let text = format!("SELECT * FROM {TARGET} WHERE {}", conditions.join(" AND "));
    let (mut statement, spelling) = parse(&tokens(&text)?)?;
    rewrite(&mut statement, scope)?;
    plan_over(scope, statement, &spelling, Some(rows))
}

/// The rows with masks in place of the masked columns' values.
fn covered(table: &Table, rows: LogicalPlan) -> Result<LogicalPlan> {
    let columns: Vec<Column> = rows.schema().columns();
    let covered = table
        .columns
        .iter()
        .zip(columns)
        .map(|(defined, column)| {
            let name = column.name.clone();
            let value = Expr::Column(column);
            if defined.guard != Guard::Masked {
                return Ok(value.alias(name));
            }
            let mask = call(MASK, vec![value])
                .ok_or_else(|| external(ServerError::unknown_function(MASK)))?;
            let metadata = HashMap::from([
                (NAME.to_owned(), defined.name.clone()),
                (MASKED.to_owned(), defined.name.clone()),
            ]);
            Ok(mask.alias_with_metadata(name, Some(metadata.into())))
        })
        .collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(rows).project(covered)?.build()
}

/// Error 40510 where masked values would be compared, sorted or grouped: SQL Server looks at the values then.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        for input in node.inputs() {
            for expr in node.expressions() {
                check_expression(node, &expr, input)?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_expression(node: &LogicalPlan, expr: &Expr, input: &LogicalPlan) -> Result<()> {
    let mut shown = expr;
    if matches!(node, LogicalPlan::Projection(_)) {
        while let Some(inner) = shown_in(shown) {
            shown = inner;
        }
        if matches!(shown, Expr::Column(_)) {
            return Ok(());
        }
    }
    for column in shown.column_refs() {
        let Ok(field) = input.schema().field_from_column(column) else {
            continue;
        };
        if let Some(name) = masked_name(field) {
            let what =
                format!("the masked column {name} in anything but a list of what is selected");
            return Err(external(ServerError::unsupported(what)));
        }
    }
    Ok(())
}

/// What an expression shows as it is, but for its type.
fn shown_in(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Alias(alias) => Some(&alias.expr),
        Expr::ScalarFunction(call) if [CAST, MASK].contains(&call.func.name()) => call.args.first(),
        _ => None,
    }
}

fn masked_name(field: &Field) -> Option<&str> {
    field.metadata().get(MASKED).map(String::as_str)
}
