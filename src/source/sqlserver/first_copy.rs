//! The first copy: what the table held and did not change meanwhile, and what changed meanwhile.

use std::io::BufReader;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use tokio::sync::mpsc::Sender;

use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeType, Lsn, LsnRange};

use super::captured::CapturedTable;
use super::error::SourceError;
use super::file_part::FilePart;
use super::key::require_key;
use super::net::{net_plan, plan_error, unchanged};
use super::pool::Pool;
use super::snapshot::Snapshot;

/// Batches that wait between the disk and the query.
const BUFFERED_BATCHES: usize = 2;

/// The snapshot's name within the plan.
const SNAPSHOT: &str = "snapshot";

/// A table of the snapshot's unchanged rows, as inserts of the commit at the window's end, and the window's
/// net changes. `end_micros` is that commit's time in UTC.
pub(super) fn first_copy(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    snapshot: Snapshot,
    window: LsnRange,
    end_micros: i64,
) -> Result<ViewTable, SourceError> {
    require_key(table)?;
    let plan = || {
        let rows = snapshot_plan(table, snapshot, window.upto(), end_micros)?;
        let kept = unchanged(pool, table, window, rows)?;
        let net = net_plan(pool, table, window)?;
        LogicalPlanBuilder::from(kept).union(net)?.build()
    };
    plan()
        .map(|plan| ViewTable::new(plan, None))
        .map_err(|error| plan_error(table, error))
}

/// The snapshot in the feed's schema.
fn snapshot_plan(
    table: &CapturedTable,
    snapshot: Snapshot,
    end: Lsn,
    end_micros: i64,
) -> Result<LogicalPlan> {
    let stored = Arc::clone(&snapshot.schema);
    let spilled = Arc::new(Spilled {
        snapshot: Arc::new(snapshot),
    });
    let scan = LogicalPlanBuilder::scan(SNAPSHOT, provider_as_source(spilled), None)?;
    let utc = ScalarValue::TimestampMicrosecond(Some(end_micros), Some("UTC".into()));
    let mut feed = Vec::with_capacity(table.schema.fields().len());
    for field in table.schema.fields() {
        let name = field.name();
        let value = match name.as_str() {
            CHANGE_TYPE => lit(ChangeType::Insert.as_str()),
            COMMIT_VERSION => lit(end.to_hex()),
            COMMIT_TIMESTAMP => lit(utc.clone()),
            _ if stored.index_of(name).is_ok() => Expr::Column(Column::new(Some(SNAPSHOT), name)),
            // Dropped from the live table, or refused by the net changes beside it.
            _ => lit(ScalarValue::try_from(field.data_type())?),
        };
        feed.push(value.alias(name));
    }
    scan.project(feed)?.alias(SNAPSHOT)?.build()
}

/// The parts of a snapshot as a table.
#[derive(Debug)]
struct Spilled {
    snapshot: Arc<Snapshot>,
}

#[async_trait]
impl TableProvider for Spilled {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.snapshot.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.snapshot.schema.project(projection)?),
            None => Arc::clone(&self.snapshot.schema),
        };
        let count = state.config().target_partitions().max(1);
        let partitions = (0..count.min(self.snapshot.parts.len()).max(1))
            .map(|first| {
                let parts = self.snapshot.parts.iter().skip(first).step_by(count);
                Arc::new(SpilledPart {
                    parts: parts.cloned().collect(),
                    projection: projection.cloned(),
                    schema: Arc::clone(&schema),
                    snapshot: Arc::clone(&self.snapshot),
                }) as Arc<dyn PartitionStream>
            })
            .collect();
        let plan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Some of the parts of a snapshot.
#[derive(Debug)]
struct SpilledPart {
    parts: Vec<Range<u64>>,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
    snapshot: Arc<Snapshot>,
}

impl PartitionStream for SpilledPart {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, BUFFERED_BATCHES);
        let sender = builder.tx();
        let (parts, projection) = (self.parts.clone(), self.projection.clone());
        let snapshot = Arc::clone(&self.snapshot);
        builder.spawn_blocking(move || read_parts(&snapshot, parts, projection.as_ref(), &sender));
        builder.build()
    }
}

fn read_parts(
    snapshot: &Snapshot,
    parts: Vec<Range<u64>>,
    projection: Option<&Vec<usize>>,
    sender: &Sender<Result<RecordBatch>>,
) -> Result<()> {
    for part in parts {
        let part = BufReader::new(FilePart::new(Arc::clone(&snapshot.file), part));
        for batch in FileReader::try_new(part, projection.cloned())? {
            if sender.blocking_send(Ok(batch?)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;
    use crate::source::sqlserver::net::tests::{plan_of, unreached, window};

    #[tokio::test]
    async fn the_changed_keys_are_built_and_the_snapshot_streams_past() {
        let table = Arc::new(customers());
        let snapshot = Snapshot::empty(&table);
        let copy = first_copy(&unreached(), &table, snapshot, window(), 0).unwrap();
        assert_eq!(copy.schema(), table.schema_ref());
        let plan = plan_of(Arc::new(copy), "SELECT id, name, _commit_version FROM net")
            .await
            .unwrap();
        let lines = plan.lines().collect::<Vec<_>>();
        let join = lines
            .iter()
            .position(|line| line.contains("RightAnti"))
            .unwrap();
        let keys = lines
            .iter()
            .position(|line| line.contains("columns=[id]"))
            .unwrap();
        let rows = lines
            .iter()
            .position(|line| line.contains("StreamingTableExec"))
            .unwrap();
        assert!(join < keys && keys < rows, "{plan}");
        assert!(plan.contains("NullsEqual: true"), "{plan}");
    }
}
