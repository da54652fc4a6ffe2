//! Staged chunks as a table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use tokio::sync::mpsc::Sender;

use super::{StagedChunk, Staging};

/// Batches that wait between the store and the query.
const BUFFERED_BATCHES: usize = 2;
/// About how many bytes a batch has at most.
const BATCH_BYTES: u64 = 1 << 20;

/// The rows of finished chunks.
#[derive(Debug)]
pub(super) struct StagedRows {
    staging: Staging,
    chunks: Vec<StagedChunk>,
    schema: SchemaRef,
}

impl StagedRows {
    pub(super) fn new(staging: Staging, chunks: Vec<StagedChunk>, schema: SchemaRef) -> Self {
        Self {
            staging,
            chunks,
            schema,
        }
    }
}

#[async_trait]
impl TableProvider for StagedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        let all = || (0..self.schema.fields().len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&projection)?);
        let count = state.config().target_partitions().max(1);
        let partitions = (0..count.min(self.chunks.len()).max(1)).map(|first| {
            let chunks = self.chunks.iter().skip(first).step_by(count);
            Arc::new(Part {
                staging: self.staging.clone(),
                chunks: chunks.cloned().collect(),
                projection: projection.clone(),
                schema: Arc::clone(&schema),
            }) as Arc<dyn PartitionStream>
        });
        let partitions = partitions.collect();
        let plan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Some of the chunks.
#[derive(Debug, Clone)]
struct Part {
    staging: Staging,
    chunks: Vec<StagedChunk>,
    projection: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, BUFFERED_BATCHES);
        let (part, sender) = (self.clone(), builder.tx());
        let most_rows = context.session_config().batch_size();
        builder.spawn(async move { part.read(most_rows, sender).await });
        builder.build()
    }
}

impl Part {
    async fn read(self, most_rows: usize, sender: Sender<Result<RecordBatch>>) -> Result<()> {
        for chunk in &self.chunks {
            let row_bytes = (chunk.bytes / chunk.rows.max(1)).max(1);
            let rows = usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(usize::MAX);
            let reader = self.staging.reader(&chunk.file, chunk.size)?;
            let failed = |error| self.staging.failed("read", error);
            let builder = ParquetRecordBatchStreamBuilder::new(reader)
                .await
                .map_err(failed)?;
            let columns = self.projection.iter().copied();
            let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
            let batches = builder
                .with_projection(mask)
                .with_batch_size(rows.clamp(1, most_rows.max(1)))
                .build();
            let mut batches = batches.map_err(failed)?;
            while let Some(batch) = batches.try_next().await.map_err(failed)? {
                let batch = self.in_order(&batch)?;
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The columns in the order that was asked for: the file has its own.
    fn in_order(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let places = self.schema.fields().iter();
        let places = places.map(|field| batch.schema_ref().index_of(field.name()));
        let batch = batch.project(&places.collect::<std::result::Result<Vec<_>, _>>()?)?;
        Ok(batch.with_schema(Arc::clone(&self.schema))?)
    }
}
