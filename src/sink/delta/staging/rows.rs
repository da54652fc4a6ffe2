//! Staged chunks as a table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use tokio::sync::mpsc::Sender;

use super::{FILE, StagedChunk, StagedFile, Staging};

type Batches = ParquetRecordBatchStream<Box<dyn AsyncFileReader>>;

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
    /// Whether the last column is which file a row is from.
    is_numbered: bool,
}

impl StagedRows {
    pub(super) fn new(staging: Staging, chunks: Vec<StagedChunk>, schema: SchemaRef) -> Self {
        Self {
            staging,
            chunks,
            schema,
            is_numbered: false,
        }
    }

    pub(super) fn numbered(staging: Staging, chunks: Vec<StagedChunk>, schema: SchemaRef) -> Self {
        let number = Arc::new(Field::new(FILE, DataType::UInt32, false));
        let fields = schema.fields().iter().cloned().chain([number]);
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Fields>())),
            is_numbered: true,
            ..Self::new(staging, chunks, schema)
        }
    }

    fn files(&self) -> Vec<PartFile> {
        let files = self.chunks.iter().flat_map(|chunk| {
            let row_bytes = (chunk.bytes / chunk.rows.max(1)).max(1);
            let files = chunk.files.iter().cloned();
            files.map(move |file| (file, row_bytes))
        });
        let files = (0..).zip(files);
        let files = files.map(|(number, (file, row_bytes))| PartFile {
            number,
            file,
            row_bytes,
        });
        files.collect()
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
        let files = self.files();
        let partitions = (0..count.min(files.len()).max(1)).map(|first| {
            let files = files.iter().skip(first).step_by(count);
            Arc::new(Part {
                staging: self.staging.clone(),
                files: files.cloned().collect(),
                is_numbered: self.is_numbered,
                schema: Arc::clone(&schema),
            }) as Arc<dyn PartitionStream>
        });
        let partitions = partitions.collect();
        let plan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// A file among those of all chunks.
#[derive(Debug, Clone)]
struct PartFile {
    number: u32,
    file: StagedFile,
    /// About how many bytes a row has in memory.
    row_bytes: u64,
}

/// Some of the files.
#[derive(Debug, Clone)]
struct Part {
    staging: Staging,
    files: Vec<PartFile>,
    is_numbered: bool,
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
        let failed = |error| self.staging.failed("read", error);
        for part in &self.files {
            let rows = usize::try_from(BATCH_BYTES / part.row_bytes).unwrap_or(usize::MAX);
            let rows = rows.clamp(1, most_rows.max(1));
            let mut batches = self.batches(&part.file, rows).await?;
            while let Some(batch) = batches.try_next().await.map_err(failed)? {
                let batch = self.in_order(&batch, part.number)?;
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn batches(&self, file: &StagedFile, rows: usize) -> Result<Batches> {
        let reader = self
            .staging
            .reader(&file.path(&self.staging.folder), file.size)?;
        let failed = |error| self.staging.failed("read", error);
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await;
        let builder = builder.map_err(failed)?;
        let wanted = self
            .schema
            .fields()
            .iter()
            .filter(|field| !self.is_number(field));
        let places = wanted.map(|field| builder.schema().index_of(field.name()));
        let places = places.collect::<std::result::Result<Vec<_>, _>>()?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), places);
        let builder = builder.with_projection(mask).with_batch_size(rows);
        Ok(builder.build().map_err(failed)?)
    }

    fn is_number(&self, field: &Field) -> bool {
        self.is_numbered && field.name() == FILE
    }

    /// The columns in the order that was asked for: the file has its own.
    fn in_order(&self, batch: &RecordBatch, number: u32) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| -> Result<ArrayRef> {
                Ok(match self.is_number(field) {
                    true => Arc::new(UInt32Array::from_value(number, rows)),
                    false => Arc::clone(batch.column(batch.schema_ref().index_of(field.name())?)),
                })
            });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns.collect::<Result<_>>()?;
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}
