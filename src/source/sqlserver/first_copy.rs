//! The first copy: what the table held and did not change meanwhile, and what changed meanwhile.

use std::io::BufReader;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableType, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use tokio::sync::mpsc::Sender;

use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeType, Lsn, LsnRange};

use super::captured::CapturedTable;
use super::error::SourceError;
use super::file_part::FilePart;
use super::large::{LargeValues, formed};
use super::net::{Base, by_changed_keys, net_changes, plan_error};
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
    (window, end_micros): (LsnRange, i64),
    form: LargeValues,
) -> Result<ViewTable, SourceError> {
    let net = net_changes(pool, table, window, form)?;
    let plan = || {
        let schema = Arc::clone(&snapshot.schema);
        let snapshot = snapshot_scan(snapshot)?;
        let join = JoinType::RightAnti;
        let unchanged = by_changed_keys(pool, table, window, snapshot.clone(), join)?;
        let row = inserted_row(table, &schema, (window.upto(), end_micros), form)?;
        let unchanged = LogicalPlanBuilder::from(unchanged).project(row)?.build()?;
        let net = Arc::new(net.over(Base {
            rows: snapshot,
            schema,
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

fn snapshot_scan(snapshot: Snapshot) -> Result<LogicalPlan> {
    let spilled = Arc::new(Spilled {
        snapshot: Arc::new(snapshot),
    });
    LogicalPlanBuilder::scan(SNAPSHOT, provider_as_source(spilled), None)?.build()
}

/// The columns of a snapshot's row, which has those of `stored`, as an insert of the commit at `end`.
fn inserted_row(
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
    use crate::source::sqlserver::net::net_schema;
    use crate::source::sqlserver::net::tests::{plan_of, unreached, window};

    async fn plan(form: LargeValues, sql: &str) -> String {
        let table = Arc::new(customers());
        let snapshot = Snapshot::empty(&table);
        let copy = first_copy(&unreached(), &table, snapshot, (window(), 0), form).unwrap();
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
