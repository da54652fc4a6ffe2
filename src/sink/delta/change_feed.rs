//! Delta's change data feed: what was inserted, updated and deleted, version by version.
//!
//! Rows come from the files of changes where a commit wrote some, and else from the files and deletion vectors that it
//! added and removed. That is right only for versions that were written while `delta.enableChangeDataFeed` was on
//! ([the protocol](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#change-data-files)): others may have rewritten
//! rows that did not change, and are refused.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast};
use deltalake::DeltaTable;
use deltalake::delta_datafusion::DeltaCdfTableProvider;
use futures::TryStreamExt;

use super::history::entries;
use super::target::TIME_TRAVEL_SEARCH;
use super::{DeltaTarget, HistoryEntry, SinkError};
use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION};

/// One end of a part of a table's change data feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedEnd {
    /// The version or the instant.
    pub at: FeedPoint,
    /// Whether it is part of what is meant.
    pub inclusive: bool,
}

/// A version, or an instant by the commits' own times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedPoint {
    /// The version.
    Version(u64),
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Instant(i64),
}

impl DeltaTarget {
    /// The changes between two ends: the table's columns, then `_change_type` (`insert`, `update_preimage`,
    /// `update_postimage`, `delete`), `_commit_version` (BIGINT) and `_commit_timestamp` (UTC). Without `from` they begin with
    /// the first version that the feed has without a break, without `to` they end with the loaded version, which is the
    /// last in any case.
    ///
    /// # Errors
    /// `NoSuchTable`; `NoSuchVersion` if the log does not have the first version any more or does not have it yet;
    /// `NoChangeFeed` if the feed was not recorded for all versions.
    pub async fn change_feed(
        &self,
        from: Option<FeedEnd>,
        to: Option<FeedEnd>,
    ) -> Result<Arc<dyn TableProvider>, SinkError> {
        let (Some(newest), Some(columns)) = (self.version(), self.schema()) else {
            return Err(SinkError::NoSuchTable {
                location: self.location().to_string(),
            });
        };
        let empty = || Arc::new(EmptyTable::new(feed_schema(&columns)));
        let versions = Versions::of(self, [from, to]).await?;
        let first = from.map(|from| versions.first(from)).transpose()?;
        let last = to.map_or(Some(newest), |to| versions.last(to));
        let Some(last) = last.map(|last| last.min(newest)) else {
            return Ok(empty());
        };
        if let Some(first) = first.filter(|first| *first > last) {
            return match first > newest + 1 {
                true => Err(self.no_version(format!("version {first}"), newest)),
                false => Ok(empty()),
            };
        }
        let loaded = match last == newest {
            true => self.clone(),
            false => self.at_version(last).await?,
        };
        let since = loaded.feed_since(first).await?;
        let first = match (first, since) {
            (None, Some(since)) => since,
            (Some(first), Some(since)) if since <= first => first,
            (first, since) => {
                return Err(SinkError::NoChangeFeed {
                    location: self.location().to_string(),
                    version: first.unwrap_or(last),
                    since,
                });
            }
        };
        let columns = loaded.schema().unwrap_or(columns);
        loaded.feed_of(first, last, &feed_schema(&columns))
    }

    /// The first version up to the loaded one since which the feed was on all the time; the log is read back to `floor`. `None`
    /// if it is off.
    async fn feed_since(&self, floor: Option<u64>) -> Result<Option<u64>, SinkError> {
        let mut commits = std::pin::pin!(entries(self));
        let (mut since, mut oldest) = (None, None);
        while let Some(commit) = commits.try_next().await? {
            let version = commit.version();
            match commit.property(FEED) {
                Some(Some(value)) if value.eq_ignore_ascii_case("true") => since = Some(version),
                Some(_) => return Ok(since),
                None => {}
            }
            oldest = Some(version);
            if floor.is_some_and(|floor| version <= floor) {
                break;
            }
        }
        let Some(oldest) = oldest.filter(|oldest| since != Some(*oldest)) else {
            return Ok(since);
        };
        if since.is_none() {
            // No commit since has said otherwise than the loaded version does.
            return Ok(has_feed(&self.table).then_some(oldest));
        }
        match self.at_version(oldest).await {
            Ok(then) if has_feed(&then.table) => Ok(Some(oldest)),
            Ok(_) | Err(SinkError::NoSuchVersion { .. }) => Ok(since),
            Err(error) => Err(error),
        }
    }

    /// The changes of versions `first` to `last`, both included; `last` is loaded.
    fn feed_of(
        &self,
        first: u64,
        last: u64,
        schema: &Schema,
    ) -> Result<Arc<dyn TableProvider>, SinkError> {
        let failed = |error| SinkError::from_delta(self.location(), "read the changes of", error);
        let feed = self.table.clone().scan_cdf();
        let feed = feed.with_starting_version(first).with_ending_version(last);
        let feed = DeltaCdfTableProvider::try_new(feed).map_err(failed)?;
        let columns = schema.fields().iter().map(|field| {
            let column = Expr::Column(Column::from_name(field.name()));
            cast(column, field.data_type().clone()).alias(field.name())
        });
        let plan = LogicalPlanBuilder::scan("changes", provider_as_source(Arc::new(feed)), None)
            .and_then(|plan| plan.project(columns.collect::<Vec<_>>()))
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| failed(error.into()))?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

/// The property that turns the feed on.
const FEED: &str = "delta.enableChangeDataFeed";

fn has_feed(table: &DeltaTable) -> bool {
    let state = table.state.as_ref();
    state.is_some_and(|state| {
        let properties = state.snapshot().table_properties();
        properties.enable_change_data_feed == Some(true)
    })
}

/// The columns of the feed of a table with these columns.
fn feed_schema(columns: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = columns.fields().iter().cloned().collect();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    for (name, data_type) in [
        (CHANGE_TYPE, DataType::Utf8),
        (COMMIT_VERSION, DataType::Int64),
        (COMMIT_TIMESTAMP, utc),
    ] {
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    Arc::new(Schema::new(fields))
}

/// The versions that instants mean, newest first.
struct Versions<'a> {
    target: &'a DeltaTarget,
    history: Vec<HistoryEntry>,
}

impl<'a> Versions<'a> {
    async fn of(target: &'a DeltaTarget, ends: [Option<FeedEnd>; 2]) -> Result<Self, SinkError> {
        let mut points = ends.iter().flatten().map(|end| end.at);
        let history = match points.any(|point| matches!(point, FeedPoint::Instant(_))) {
            true => target.history(TIME_TRAVEL_SEARCH).await?,
            false => Vec::new(),
        };
        Ok(Self { target, history })
    }

    /// The newest version whose time is before `micros`, or at it.
    fn before(&self, micros: i64, or_at: bool) -> Option<u64> {
        let mut entries = self.history.iter();
        let found = entries.find(|entry| {
            let time = entry.timestamp_ms.map(|time| time.saturating_mul(1_000));
            time.is_some_and(|time| time < micros || or_at && time == micros)
        });
        found.map(|entry| entry.version)
    }

    fn first(&self, from: FeedEnd) -> Result<u64, SinkError> {
        match from.at {
            FeedPoint::Version(version) => Ok(version.saturating_add(u64::from(!from.inclusive))),
            FeedPoint::Instant(micros) => {
                match (self.before(micros, !from.inclusive), self.history.last()) {
                    (Some(version), _) => Ok(version + 1),
                    (None, Some(oldest)) if oldest.version == 0 => Ok(0),
                    (None, _) => {
                        let newest = self.target.version().unwrap_or_default();
                        let wanted = format!("version as old as {} ms since 1970", micros / 1_000);
                        Err(self.target.no_version(wanted, newest))
                    }
                }
            }
        }
    }

    /// The last version; `None` if there is none.
    fn last(&self, to: FeedEnd) -> Option<u64> {
        match to.at {
            FeedPoint::Version(version) if to.inclusive => Some(version),
            FeedPoint::Version(version) => version.checked_sub(1),
            FeedPoint::Instant(micros) => self.before(micros, to.inclusive),
        }
    }
}
