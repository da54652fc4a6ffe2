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
use super::key::require_key;
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

#[cfg(test)]
pub(super) mod tests {
    use datafusion::catalog::TableProvider;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::source::sqlserver::ConnectionConfig;
    use crate::source::sqlserver::captured::tests::customers;

    /// A pool of a server that no test reaches.
    pub(in crate::source::sqlserver) fn unreached() -> Pool {
        Pool::new(ConnectionConfig::from_url("sqlserver://u:p@127.0.0.1:1/d").unwrap())
    }

    pub(in crate::source::sqlserver) fn window() -> LsnRange {
        LsnRange::new("0:30:0".parse().unwrap(), "0:40:0".parse().unwrap()).unwrap()
    }

    /// The physical plan of `sql` over a table `net`.
    pub(in crate::source::sqlserver) async fn plan_of(
        table: Arc<dyn TableProvider>,
        sql: &str,
    ) -> Result<String, DataFusionError> {
        let context = SessionContext::new();
        context.register_table("net", table)?;
        let plan = context.sql(sql).await?.create_physical_plan().await?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    async fn plan(sql: &str) -> Result<String, DataFusionError> {
        let net = net_changes(&unreached(), &Arc::new(customers()), window()).unwrap();
        plan_of(Arc::new(net), sql).await
    }

    #[tokio::test]
    async fn only_what_is_used_is_read() {
        let plan = plan("SELECT id, _change_type FROM net").await.unwrap();
        assert!(
            plan.contains("columns=[id, _change_type, __$position]"),
            "{plan}"
        );
    }

    #[tokio::test]
    async fn a_filter_below_the_ranking_is_on_the_key() {
        let plan = plan("SELECT id FROM net WHERE name = 'x' AND id > 3")
            .await
            .unwrap();
        let lines = plan.lines().collect::<Vec<_>>();
        let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
        let ranking = at("BoundedWindowAggExec");
        assert!(at("name@1 = x") < ranking, "{plan}");
        assert!(at("FilterExec: id@0 > 3") > ranking, "{plan}");
    }

    #[tokio::test]
    async fn a_large_column_is_refused_only_when_used() {
        assert!(plan("SELECT id, name FROM net").await.is_ok());
        let error = plan("SELECT * FROM net").await.unwrap_err();
        let DataFusionError::External(source) = error.find_root() else {
            panic!("{error}");
        };
        let source = source.downcast_ref::<SourceError>().unwrap();
        assert!(
            matches!(source, SourceError::LargeColumns { .. }),
            "{source}"
        );
    }

    #[test]
    fn a_table_without_key_has_no_net_changes() {
        let mut table = customers();
        table.key.clear();
        let error = net_changes(&unreached(), &Arc::new(table), window()).unwrap_err();
        assert!(matches!(error, SourceError::NoUniqueKey { .. }));
    }
}
