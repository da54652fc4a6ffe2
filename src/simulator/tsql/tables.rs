//! The store's rows, and rows made from nothing, as tables that DataFusion scans.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use super::clustered::Clustered;
use super::scope::Relation;
use crate::simulator::behaviour::Chance;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::{Table, internal};
use crate::simulator::types::field;

/// Pieces that a chunk of rows is cut into, to put rows into another order.
const PIECES: usize = 8;

/// Rows of a generated batch.
const BATCH: i64 = 8192;

/// Stored rows, as one partition.
pub(super) struct Scan {
    schema: SchemaRef,
    chunks: Vec<RecordBatch>,
    index: Option<Clustered>,
}

impl Scan {
    /// From `order` follows the order of a table's rows; without it they come as they were inserted.
    pub(super) fn new(relation: &Relation, order: Option<u64>) -> Self {
        let mut scan = Self::in_order(relation);
        if let (Some(order), Relation::Table(_)) = (order, relation) {
            scan.chunks = shuffled(&scan.chunks, &mut Chance::new(order));
        }
        scan
    }

    fn in_order(relation: &Relation) -> Self {
        match relation {
            Relation::Table(table) => Self {
                schema: table.rows.schema(),
                chunks: table.rows.chunks().to_vec(),
                index: Clustered::of(table),
            },
            Relation::View(view) => Self {
                schema: view.rows.schema(),
                chunks: vec![view.rows.clone()],
                index: None,
            },
        }
    }

    /// The rows with their ids.
    pub(super) fn with_ids(table: &Table) -> std::result::Result<Self, ServerError> {
        let (schema, chunks) = table.rows.with_ids().map_err(internal)?;
        Ok(Self::of(schema, chunks))
    }

    pub(super) fn of(schema: SchemaRef, chunks: Vec<RecordBatch>) -> Self {
        Self {
            schema,
            chunks,
            index: None,
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("chunks", &self.chunks.len())
            .finish_non_exhaustive()
    }
}

/// The rows in pieces, the pieces in another order. Few rows are all apart; many are not copied.
fn shuffled(chunks: &[RecordBatch], chance: &mut Chance) -> Vec<RecordBatch> {
    let mut pieces: Vec<RecordBatch> = chunks
        .iter()
        .flat_map(|chunk| pieces(chunk, chance))
        .collect();
    chance.shuffle(&mut pieces);
    pieces
}

/// A chunk in pieces.
pub(super) fn pieces(chunk: &RecordBatch, chance: &mut Chance) -> Vec<RecordBatch> {
    let rows = chunk.num_rows();
    let mut cuts: Vec<usize> = if rows <= PIECES {
        (0..=rows).collect()
    } else {
        (1..PIECES).map(|_| chance.below(rows)).collect()
    };
    cuts.extend([0, rows]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2)
        .map(|ends| chunk.slice(ends[0], ends[1] - ends[0]))
        .collect()
}

#[async_trait]
impl TableProvider for Scan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(match self.index {
            Some(index) => index.pushdown(&self.schema, filters),
            None => vec![TableProviderFilterPushDown::Unsupported; filters.len()],
        })
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut chunks = self.chunks.clone();
        let mut order = None;
        if let Some(index) = self.index {
            let range = index.range(&self.schema, filters);
            chunks.retain(|chunk| index.meets(chunk, &range));
            order = index.order(&chunks, &self.schema);
        }
        let rows = MemorySourceConfig::try_new(&[chunks], self.schema(), projection.cloned())?;
        let rows = rows.try_with_sort_information(order.into_iter().collect())?;
        Ok(DataSourceExec::from_data_source(rows))
    }
}

/// A scan of rows that come one batch after the other.
pub(super) fn one_partition(
    rows: Arc<dyn PartitionStream>,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::clone(rows.schema());
    let plan = StreamingTableExec::try_new(schema, vec![rows], projection, [], false, limit)?;
    Ok(Arc::new(plan))
}

/// `GENERATE_SERIES(start, stop, step)`: the column `value`.
#[derive(Debug, Clone)]
pub(super) struct Series {
    schema: SchemaRef,
    start: i64,
    stop: i64,
    step: i64,
    wide: bool,
}

impl Series {
    pub(super) fn new(start: i64, stop: i64, step: i64) -> std::result::Result<Self, ServerError> {
        if step == 0 {
            return Err(ServerError::new(
                4199,
                "Argument value 0 is invalid for argument 3 of generate_series function.",
            ));
        }
        let wide = [start, stop, step]
            .iter()
            .any(|n| i32::try_from(*n).is_err());
        let sql_type = if wide { SqlType::BigInt } else { SqlType::Int };
        Ok(Self {
            schema: Arc::new(Schema::new(vec![field("value", sql_type, false, false)])),
            start,
            stop,
            step,
            wide,
        })
    }

    fn values(&self) -> impl Iterator<Item = i64> + Send + use<> {
        let (stop, step) = (self.stop, self.step);
        std::iter::successors(Some(self.start), move |n| n.checked_add(step))
            .take_while(move |n| if step > 0 { *n <= stop } else { *n >= stop })
    }

    fn batches(&self) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        let mut values = self.values();
        let (schema, wide) = (Arc::clone(&self.schema), self.wide);
        std::iter::from_fn(move || {
            let some: Vec<i64> = values.by_ref().take(BATCH as usize).collect();
            if some.is_empty() {
                return None;
            }
            let array: ArrayRef = if wide {
                Arc::new(Int64Array::from(some))
            } else {
                // Both ends fit, so that everything between them does.
                Arc::new(some.into_iter().map(|n| n as i32).collect::<Int32Array>())
            };
            Some(RecordBatch::try_new(Arc::clone(&schema), vec![array]).map_err(Into::into))
        })
    }
}

impl PartitionStream for Series {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(self.batches()),
        ))
    }
}

#[async_trait]
impl TableProvider for Series {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        one_partition(Arc::new(self.clone()), projection, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_ends_where_it_should() {
        let series = |start, stop, step| {
            Series::new(start, stop, step)
                .unwrap()
                .values()
                .collect::<Vec<_>>()
        };
        assert_eq!(series(1, 3, 1), [1, 2, 3]);
        assert_eq!(series(3, 1, -2), [3, 1]);
        assert_eq!(series(3, 1, 1), [] as [i64; 0]);
        assert!(Series::new(1, 2, 0).is_err());
        let batches: Vec<_> = Series::new(1, 20_000, 1).unwrap().batches().collect();
        assert_eq!(batches.len(), 3);
    }
}
