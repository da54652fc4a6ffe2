//! Rows that come once and are needed more than once.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::spill_file::SpillFile;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};

/// The part of the memory pool that one spool may take, and so may the join that is built from it.
const SHARE: usize = 8;
/// What a spool may take of a pool that has no limit.
const UNLIMITED_SHARE: usize = 256 << 20;

/// Takes rows in: into memory as far as its share of the pool goes, and into temporary files after that.
pub(crate) struct SpoolWriter {
    name: &'static str,
    schema: SchemaRef,
    spills: SpillManager,
    reservation: MemoryReservation,
    limit: usize,
    batches: Vec<RecordBatch>,
    files: Vec<Arc<dyn SpillFile>>,
    rows: usize,
}

impl SpoolWriter {
    /// A spool named `name` for rows of `schema`.
    pub(crate) fn new(runtime: &Arc<RuntimeEnv>, schema: SchemaRef, name: &'static str) -> Self {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let limit = match runtime.memory_pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / SHARE,
            _ => UNLIMITED_SHARE,
        };
        Self {
            name,
            spills: SpillManager::new(Arc::clone(runtime), metrics, Arc::clone(&schema)),
            reservation: MemoryConsumer::new(name)
                .with_can_spill(true)
                .register(&runtime.memory_pool),
            schema,
            limit,
            batches: Vec::new(),
            files: Vec::new(),
            rows: 0,
        }
    }

    /// Appends `batch`.
    ///
    /// # Errors
    ///
    /// A temporary file cannot be written.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows();
        let size = get_record_batch_memory_size(&batch);
        self.batches.push(batch);
        let fits = self.reservation.size() + size <= self.limit;
        if fits && self.reservation.try_grow(size).is_ok() {
            return Ok(());
        }
        self.spill()
    }

    fn spill(&mut self) -> Result<()> {
        let spilled = self
            .spills
            .spill_record_batch_and_finish(&self.batches, self.name)?;
        self.files.extend(spilled);
        self.batches.clear();
        self.reservation.free();
        Ok(())
    }

    /// Ends the taking in.
    pub(crate) fn finish(mut self) -> Result<Spool> {
        if !self.files.is_empty() && !self.batches.is_empty() {
            self.spill()?;
        }
        Ok(Spool(Arc::new(Stored {
            schema: self.schema,
            batches: self.batches,
            files: self.files,
            spills: self.spills,
            rows: self.rows,
            _reservation: self.reservation,
        })))
    }
}

/// Rows that can be read as often as needed: all in memory, or all in files.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<Stored>);

struct Stored {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    files: Vec<Arc<dyn SpillFile>>,
    spills: SpillManager,
    rows: usize,
    _reservation: MemoryReservation,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.rows)
    }
}

impl Spool {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.0.rows
    }

    /// The rows, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&[RecordBatch]> {
        self.0.files.is_empty().then_some(self.0.batches.as_slice())
    }

    /// The rows as a table of one partition.
    pub(crate) fn table(&self) -> Result<Arc<dyn TableProvider>> {
        let partition = Arc::new(self.clone()) as Arc<dyn PartitionStream>;
        let schema = Arc::clone(&self.0.schema);
        Ok(Arc::new(StreamingTable::try_new(schema, vec![partition])?))
    }
}

impl PartitionStream for Spool {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let stored = Arc::clone(&self.0);
        let schema = Arc::clone(&stored.schema);
        if !stored.files.is_empty() {
            let count = stored.files.len();
            let files = stream::iter(0..count).map(move |index| {
                let file = Arc::clone(&stored.files[index]);
                stored.spills.read_spill_as_stream(file, None)
            });
            return Box::pin(RecordBatchStreamAdapter::new(schema, files.try_flatten()));
        }
        let count = stored.batches.len();
        let rows = stream::iter(0..count).map(move |index| Ok(stored.batches[index].clone()));
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}
