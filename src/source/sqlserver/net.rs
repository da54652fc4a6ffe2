//! Net changes: at most one row per key, its last image in the window.

use std::sync::Arc;

use datafusion::common::{Column, NullEquality, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, LogicalPlan, LogicalPlanBuilder, lit,
};

use crate::change::LsnRange;

use super::captured::CapturedTable;
use super::changes::{Changes, POSITION};
use super::error::SourceError;
use super::pool::Pool;

type PlanResult = Result<LogicalPlan, DataFusionError>;

/// The column that ranks the images of a key, the last first.
const RANK: &str = "__$rank";

/// A table of the net changes of a window.
///
/// A plan, not a table of its own: the sort by key spills under the session's memory limit, unused columns
/// are never read from the server, and of filters only those on the key pass below the ranking.
pub(super) fn net_changes(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    window: LsnRange,
) -> Result<ViewTable, SourceError> {
    require_key(table)?;
    net_plan(pool, table, window)
        .map(|plan| ViewTable::new(plan, None))
        .map_err(|error| plan_error(table, error))
}

/// Refuses a table whose rows cannot be told apart.
pub(super) fn require_key(table: &CapturedTable) -> Result<(), SourceError> {
    if table.key.is_empty() {
        return Err(SourceError::NoUniqueKey {
            table: table.name.clone(),
        });
    }
    Ok(())
}

pub(super) fn plan_error(table: &CapturedTable, source: DataFusionError) -> SourceError {
    SourceError::Plan {
        table: table.name.clone(),
        source: Box::new(source),
    }
}

/// The images of the window below everything that follows.
fn images(pool: &Pool, table: &Arc<CapturedTable>, window: LsnRange) -> PlanResult {
    let changes = Changes::net(pool.clone(), Arc::clone(table), window);
    let name = TableReference::bare(table.change_table.name.clone());
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(changes)), None)?.build()
}

pub(super) fn net_plan(pool: &Pool, table: &Arc<CapturedTable>, window: LsnRange) -> PlanResult {
    let images = images(pool, table, window)?;
    let column = |name: &str| column_of(&images, name);
    let keys = table.key_names().into_iter().map(column).collect();
    let rank = row_number()
        .partition_by(keys)
        .order_by(vec![column(POSITION).sort(false, false)])
        .build()?
        .alias(RANK);
    let feed = table
        .schema
        .fields()
        .iter()
        .map(|field| column(field.name()).alias(field.name()))
        .collect::<Vec<_>>();
    LogicalPlanBuilder::from(images)
        .window([rank])?
        .filter(Expr::Column(Column::from_name(RANK)).eq(lit(1_u64)))?
        .project(feed)?
        .build()
}

/// Those rows of `rows` (in the feed's schema) whose key has no change in the window.
///
/// The changed keys are the left side, which a hash join builds: memory grows with the window's keys, not
/// with the table. NULL equals NULL, as in a unique index.
pub(super) fn unchanged(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    window: LsnRange,
    rows: LogicalPlan,
) -> PlanResult {
    let images = images(pool, table, window)?;
    let names = table.key_names();
    let keys = names.iter().map(|name| column_of(&images, name));
    let changed = LogicalPlanBuilder::from(images.clone())
        .project(keys.collect::<Vec<_>>())?
        .distinct()?
        .build()?;
    let columns_of = |plan: &LogicalPlan| {
        names
            .iter()
            .map(|name| plan_column(plan, name))
            .collect::<Vec<_>>()
    };
    let on = (columns_of(&changed), columns_of(&rows));
    LogicalPlanBuilder::from(changed)
        .join_detailed(
            rows,
            JoinType::RightAnti,
            on,
            None,
            NullEquality::NullEqualsNull,
        )?
        .build()
}

fn column_of(plan: &LogicalPlan, name: &str) -> Expr {
    Expr::Column(plan_column(plan, name))
}

/// The plan's column of exactly this name, with its qualifier.
fn plan_column(plan: &LogicalPlan, name: &str) -> Column {
    let found = plan
        .schema()
        .iter()
        .find(|(_, field)| field.name() == name)
        .map(|(qualifier, _)| qualifier.cloned());
    Column::new(found.flatten(), name)
}
