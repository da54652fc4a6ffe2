//! The first copy: what the table held and did not change meanwhile, and what changed meanwhile.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, lit};

use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeType, Lsn, LsnRange};

use super::captured::CapturedTable;
use super::error::SourceError;
use super::large::{LargeValues, formed};
use super::net::{Base, by_changed_keys, net_changes, plan_error};
use super::pool::Pool;

/// The snapshot's name within the plan.
pub(super) const SNAPSHOT: &str = "snapshot";

/// Rows that were read for a copy.
#[derive(Debug, Clone)]
pub struct CopiedRows {
    /// The rows, as [`TableChunks`](super::TableChunks) has read them.
    pub rows: Arc<dyn TableProvider>,
    /// Whether they are the whole table; else the target has the others as they were at the window's start.
    pub are_all: bool,
}

/// A table of the unchanged ones of `rows`, as inserts of the commit at the window's end, and the window's
/// net changes. `end_micros` is that commit's time in UTC.
pub(super) fn first_copy(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    CopiedRows { rows, are_all }: CopiedRows,
    (window, end_micros): (LsnRange, i64),
    form: LargeValues,
) -> Result<ViewTable, SourceError> {
    let net = net_changes(pool, table, window, form)?;
    let plan = || {
        let schema = rows.schema();
        let rows = provider_as_source(Arc::clone(&rows));
        let snapshot = LogicalPlanBuilder::scan(SNAPSHOT, rows, None)?.build()?;
        let join = JoinType::RightAnti;
        let unchanged = by_changed_keys(pool, table, window, snapshot.clone(), join)?;
        let row = inserted_row(table, &schema, (window.upto(), end_micros), form)?;
        let unchanged = LogicalPlanBuilder::from(unchanged).project(row)?.build()?;
        let net = Arc::new(net.over(Base {
            rows: snapshot,
            schema,
            is_whole: are_all,
        }));
        let net = LogicalPlanBuilder::scan("net", provider_as_source(net), None)?;
        LogicalPlanBuilder::from(unchanged)
            .union(net.build()?)?
            .build()
    };
    plan()
        .map(|plan| ViewTable::new(plan, None))
        .map_err(|error| plan_error(table, error))
}

/// Those of `rows` that have the key and other columns, whose key has a change in the window.
pub(super) fn changed_rows(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    rows: Arc<dyn TableProvider>,
    window: LsnRange,
) -> Result<ViewTable, SourceError> {
    let plan = || {
        let rows = LogicalPlanBuilder::scan(SNAPSHOT, provider_as_source(rows), None)?.build()?;
        by_changed_keys(pool, table, window, rows, JoinType::RightSemi)
    };
    plan()
        .map(|plan| ViewTable::new(plan, None))
        .map_err(|error| plan_error(table, error))
}

/// A table of `rows` as inserts of the commit `at`, of which nothing but the LSN is told.
pub(super) fn inserts(
    table: &CapturedTable,
    rows: Arc<dyn TableProvider>,
    at: Lsn,
) -> Result<ViewTable, SourceError> {
    let plan = || {
        let schema = rows.schema();
        let row = inserted_row(table, &schema, (at, 0), LargeValues::ReadBack)?;
        LogicalPlanBuilder::scan(SNAPSHOT, provider_as_source(rows), None)?
            .project(row)?
            .build()
    };
    plan()
        .map(|plan| ViewTable::new(plan, None))
        .map_err(|error| plan_error(table, error))
}

/// The columns of a snapshot's row, which has those of `stored`, as an insert of the commit at `end`.
pub(super) fn inserted_row(
    table: &CapturedTable,
    stored: &Schema,
    (end, end_micros): (Lsn, i64),
    form: LargeValues,
) -> Result<Vec<Expr>> {
    let utc = ScalarValue::TimestampMicrosecond(Some(end_micros), Some("UTC".into()));
    let row = table
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let name = field.name();
            let column = table.columns.get(index);
            let value = match name.as_str() {
                CHANGE_TYPE => lit(ChangeType::Insert.as_str()),
                COMMIT_VERSION => lit(end.to_hex()),
                COMMIT_TIMESTAMP => lit(utc.clone()),
                _ if stored.index_of(name).is_ok() => {
                    Expr::Column(Column::new(Some(SNAPSHOT), name))
                }
                // Whoever asks for it is refused by the net changes beside it.
                _ => lit(ScalarValue::try_from(field.data_type())?),
            };
            let value = match column {
                Some(column) if column.is_large() => formed(value, form),
                _ => value,
            };
            Ok(value.alias(name))
        });
    row.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::catalog::streaming::StreamingTable;

    use super::*;
    use crate::source::sqlserver::captured::tests::customers;
    use crate::source::sqlserver::net::net_schema;
    use crate::source::sqlserver::net::tests::{plan_of, unreached, window};

    async fn plan(form: LargeValues, sql: &str) -> String {
        let table = Arc::new(customers());
        let columns = Arc::new(table.schema.project(&[0, 1, 2]).unwrap());
        let rows = StreamingTable::try_new(columns, vec![]).unwrap();
        let rows = CopiedRows {
            rows: Arc::new(rows),
            are_all: true,
        };
        let copy = first_copy(&unreached(), &table, rows, (window(), 0), form).unwrap();
        let types = |schema: &Schema| {
            let types = schema
                .fields()
                .iter()
                .map(|field| field.data_type().clone());
            types.collect::<Vec<_>>()
        };
        assert_eq!(types(&copy.schema()), types(&net_schema(&table, form)));
        plan_of(Arc::new(copy), sql).await.unwrap()
    }

    #[tokio::test]
    async fn the_changed_keys_are_built_and_the_snapshot_streams_past() {
        let sql = "SELECT id, name, _commit_version FROM net";
        let plan = plan(LargeValues::ReadBack, sql).await;
        let lines = plan.lines().collect::<Vec<_>>();
        let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
        let (join, keys) = (at("RightAnti"), at("columns=[id]"));
        let rows = at("StreamingTableExec");
        assert!(join < keys && keys < rows, "{plan}");
        assert!(plan.contains("NullsEqual: true"), "{plan}");
        assert!(!plan.contains("RightSemi"), "{plan}");
    }

    #[tokio::test]
    async fn large_values_that_changes_lack_come_from_the_snapshot() {
        for form in [
            LargeValues::ReadBack,
            LargeValues::Kept { read_back: false },
        ] {
            let plan = plan(form, "SELECT id, notes FROM net").await;
            let lines = plan.lines().collect::<Vec<_>>();
            let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
            assert!(at("LastImagesExec") < at("RightSemi"), "{plan}");
        }
    }
}
