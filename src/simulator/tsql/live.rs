//! Tables that are read as they are by then, and not as they were when the query began.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use super::clustered::Clustered;
use super::tables::{one_partition, pieces};
use crate::simulator::behaviour::Chance;
use crate::simulator::store::{DatabaseCell, Table};

/// A table of which each chunk is fetched from what is committed by then. Its definition is the one with
/// which the query began: once that changes, the rest is read as it was before.
#[derive(Clone)]
pub(super) struct LiveScan {
    cell: Arc<DatabaseCell>,
    table: Arc<Table>,
    order: Option<u64>,
    /// The index that finds rows, and the keys that are asked for; a chunk without such keys when the query began is
    /// not read.
    range: Option<(Clustered, RangeInclusive<i64>)>,
}

impl LiveScan {
    /// From `order` follows the order of the rows; without it they come as they were inserted.
    pub(super) fn new(cell: Arc<DatabaseCell>, table: &Arc<Table>, order: Option<u64>) -> Self {
        Self {
            cell,
            table: Arc::clone(table),
            order,
            range: None,
        }
    }

    fn index(&self) -> Option<Clustered> {
        Clustered::of(&self.table)
    }
}

impl fmt::Debug for LiveScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveScan")
            .field("table", &self.table.name)
            .finish_non_exhaustive()
    }
}

/// A scan under way.
struct Reading {
    scan: LiveScan,
    chance: Option<Chance>,
    /// The chunks that there were when it began and that are still to be read, the next one at the end.
    ahead: Vec<u64>,
    /// The chunk after which those come that were added since.
    last: Option<u64>,
    /// Rows of the present chunk.
    pieces: Vec<RecordBatch>,
}

impl Reading {
    fn new(scan: LiveScan) -> Self {
        let mut chance = scan.order.map(Chance::new);
        let mut ahead = scan.table.rows.numbers().to_vec();
        let last = ahead.last().copied();
        if let Some((index, range)) = &scan.range {
            let rows = &scan.table.rows;
            // Rows may be added to the last one.
            let may_have = |number: &u64| {
                let chunk = rows.numbered(*number);
                Some(*number) == last || chunk.is_some_and(|chunk| index.meets(chunk, range))
            };
            ahead.retain(may_have);
        }
        ahead.reverse();
        if let Some(chance) = &mut chance {
            chance.shuffle(&mut ahead);
        }
        Self {
            scan,
            chance,
            ahead,
            last,
            pieces: Vec::new(),
        }
    }

    /// Takes the table as it is committed now, unless it has become another.
    fn refresh(&mut self) {
        let committed = self.scan.cell.committed();
        let known = &self.scan.table;
        let now = committed.tables.get(&known.object_id);
        if let Some(now) = now.filter(|now| now.columns == known.columns) {
            self.scan.table = Arc::clone(now);
        }
    }

    fn next_number(&mut self) -> Option<u64> {
        if let Some(number) = self.ahead.pop() {
            return Some(number);
        }
        let numbers = self.scan.table.rows.numbers();
        let added = match self.last {
            Some(last) => numbers.partition_point(|number| *number <= last),
            None => 0,
        };
        self.last = Some(*numbers.get(added)?);
        self.last
    }
}

impl Iterator for Reading {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        loop {
            if let Some(piece) = self.pieces.pop() {
                return Some(piece);
            }
            self.refresh();
            let number = self.next_number()?;
            // All of its rows may have been deleted.
            let Some(chunk) = self.scan.table.rows.numbered(number) else {
                continue;
            };
            self.pieces = match &mut self.chance {
                Some(chance) => {
                    let mut pieces = pieces(chunk, chance);
                    chance.shuffle(&mut pieces);
                    pieces
                }
                None => vec![chunk.clone()],
            };
        }
    }
}

impl PartitionStream for LiveScan {
    fn schema(&self) -> &SchemaRef {
        self.table.rows.schema_ref()
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = Reading::new(self.clone()).map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(
            self.table.arrow_schema(),
            futures::stream::iter(rows),
        ))
    }
}

#[async_trait]
impl TableProvider for LiveScan {
    fn schema(&self) -> SchemaRef {
        self.table.arrow_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(match self.index() {
            Some(index) => index.pushdown(self.table.rows.schema_ref(), filters),
            None => vec![TableProviderFilterPushDown::Unsupported; filters.len()],
        })
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut rows = self.clone();
        let schema = rows.table.rows.schema_ref();
        rows.range = self
            .index()
            .map(|index| (index, index.range(schema, filters)));
        one_partition(Arc::new(rows), projection, limit)
    }
}
