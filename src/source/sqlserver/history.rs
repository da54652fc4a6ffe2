//! What a history of rows is made from: each key's last image of every commit.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, col, lit};

use crate::change::{
    CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeType, Commit, Lsn, LsnRange,
};

use super::captured::CapturedTable;
use super::commits;
use super::database::Database;
use super::dates::Dates;
use super::error::SourceError;
use super::first_copy::{CopiedRows, SNAPSHOT, inserted_row};
use super::large::LargeValues;
use super::net::{NetChanges, Pick, by_changed_keys, net_changes, plan_error};
use super::news;
use super::pool::Pool;

/// An hour in microseconds.
const HOUR_MICROS: i64 = 3_600_000_000;

impl Database {
    /// The last image of each key in each commit of `window`, in the schema of the change feed. A key that moved gives a
    /// `delete` of the old key as well.
    ///
    /// # Errors
    /// `Unsupported` if the table has no unique key. Planning fails over a column whose values an update may lack.
    pub async fn commit_images(
        &self,
        table: &CapturedTable,
        window: LsnRange,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        let images = commit_images(self.pool(), &Arc::new(table.clone()), window)?;
        Ok(Arc::new(images))
    }

    /// As [`Database::commit_images`], with what the table held at the window's start as `insert` rows of that LSN, which
    /// `rows` and the images tell. The window is as [`Database::first_copy`] has it.
    ///
    /// # Errors
    /// As [`Database::first_copy`].
    pub async fn copied_images(
        &self,
        table: &CapturedTable,
        rows: &CopiedRows,
        window: LsnRange,
        start_micros: i64,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        let window = (window, start_micros);
        let table = Arc::new(table.clone());
        let images = copied_images(self.pool(), &table, &rows.rows, window)?;
        Ok(Arc::new(images))
    }

    /// When `lsn` was the newest commit, in microseconds since 1970-01-01T00:00:00 UTC: the time of the last commit up to it,
    /// or of the oldest that is mapped; `None` where none is.
    ///
    /// # Errors
    /// `Permission` without SELECT on `cdc.lsn_time_mapping`, and whatever asking for the server's clock may give.
    pub async fn time_of(&self, lsn: Lsn) -> Result<Option<i64>, SourceError> {
        let pool = self.pool();
        let commit = match commits::last_upto(pool, lsn).await? {
            Some(commit) => Some(commit),
            None => news::head(pool).await?.map(|head| head.oldest),
        };
        self.micros_of(commit).await
    }

    /// A time that lies before those of the commits in `window`, by an hour at most, in microseconds since
    /// 1970-01-01T00:00:00 UTC; `None` where it has none.
    ///
    /// # Errors
    /// As [`Database::time_of`].
    pub async fn time_before(&self, window: LsnRange) -> Result<Option<i64>, SourceError> {
        let commit = commits::earliest_within(self.pool(), window).await?;
        let micros = self.micros_of(commit).await?;
        // Of an hour that comes twice, the earliest local time need not be the earliest one.
        Ok(micros.map(|micros| micros.saturating_sub(HOUR_MICROS)))
    }

    async fn micros_of(&self, commit: Option<Commit>) -> Result<Option<i64>, SourceError> {
        let Some(commit) = commit else {
            return Ok(None);
        };
        let (dates, _) = Dates::now(self.pool()).await?;
        let utc_ms = dates.utc_ms(commit.lsn, commit.end_time_ms).await?;
        Ok(Some(utc_ms.saturating_mul(1000)))
    }
}

/// A table of the last image of each key in each commit of the window.
pub(super) fn commit_images(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    window: LsnRange,
) -> Result<NetChanges, SourceError> {
    Ok(net_changes(pool, table, window, LargeValues::ReadBack)?.picking(Pick::LastOfCommits))
}

/// As [`commit_images`], with what the table held at the window's start as inserts of that LSN: of `rows`, which were read
/// since, those whose key has no change in the window; of the others, the first image that tells what was before.
/// `start_micros` is the time of that LSN in UTC.
pub(super) fn copied_images(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    rows: &Arc<dyn TableProvider>,
    (window, start_micros): (LsnRange, i64),
) -> Result<ViewTable, SourceError> {
    let images = Arc::new(commit_images(pool, table, window)?);
    let first = net_changes(pool, table, window, LargeValues::ReadBack)?.picking(Pick::First);
    let first = Arc::new(first);
    let plan = || {
        let schema = rows.schema();
        let rows = LogicalPlanBuilder::scan(SNAPSHOT, provider_as_source(Arc::clone(rows)), None)?;
        let unchanged = by_changed_keys(pool, table, window, rows.build()?, JoinType::RightAnti)?;
        let at = (window.after(), start_micros);
        let row = inserted_row(table, &schema, at, LargeValues::ReadBack)?;
        let unchanged = LogicalPlanBuilder::from(unchanged).project(row)?;
        let images = LogicalPlanBuilder::scan("images", provider_as_source(images), None)?;
        unchanged
            .union(before(first, window, start_micros)?)?
            .union(images.build()?)?
            .build()
    };
    plan()
        .map(|plan| ViewTable::new(plan, None))
        .map_err(|error| plan_error(table, error))
}

/// The rows that were there before the window, of those which `first` images are of.
fn before(first: Arc<NetChanges>, window: LsnRange, start_micros: i64) -> Result<LogicalPlan> {
    let kinds = [ChangeType::UpdatePreimage, ChangeType::Delete];
    let tells = col(CHANGE_TYPE).in_list(kinds.map(|kind| lit(kind.as_str())).to_vec(), false);
    let plan = LogicalPlanBuilder::scan("first", provider_as_source(first), None)?.filter(tells)?;
    let row: Vec<Expr> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let name = field.name();
            let value = match name.as_str() {
                CHANGE_TYPE => lit(ChangeType::Insert.as_str()),
                COMMIT_VERSION => lit(window.after().to_hex()),
                COMMIT_TIMESTAMP => lit(ScalarValue::TimestampMicrosecond(
                    Some(start_micros),
                    Some("UTC".into()),
                )),
                _ => Expr::Column(Column::from_name(name)),
            };
            value.alias(name)
        })
        .collect();
    plan.project(row)?.build()
}
