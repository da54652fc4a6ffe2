//! The plan node that reads from the server, whatever it reads.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::{
    RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use tiberius::ColumnData;
use tokio::sync::mpsc;

use super::decode::{BATCH_BYTES, BATCH_ROWS, ColumnBuilder};
use super::error::SourceError;

/// Batches that wait between the connection and the query.
const BUFFERED_BATCHES: usize = 2;

/// Something on the server that yields rows, once per execution, over connections of its own.
pub(super) trait RowSource: fmt::Debug + Send + Sync + 'static {
    /// The schema of its batches.
    fn schema(&self) -> SchemaRef;

    /// A column by which its rows ascend, if there is one.
    fn ascending(&self) -> Option<usize> {
        None
    }

    /// What `EXPLAIN` shows after the node's name.
    fn describe(&self) -> String;

    /// Reads everything into `output`. An error voids what was read before.
    fn read(self: Arc<Self>, output: Output) -> BoxFuture<'static, Result<(), SourceError>>;
}

/// Where a [`RowSource`] puts its batches.
#[derive(Debug)]
pub(super) struct Output {
    sender: mpsc::Sender<Result<RecordBatch>>,
}

impl Output {
    pub(super) fn new(sender: mpsc::Sender<Result<RecordBatch>>) -> Self {
        Self { sender }
    }

    /// Hands a batch on, waiting while the query is slower; false when nobody wants more.
    #[must_use]
    pub(super) async fn send(&self, batch: RecordBatch) -> bool {
        self.sender.send(Ok(batch)).await.is_ok()
    }
}

/// All batches of a source; `None`, and the reading ends, where they have more than `most` bytes.
pub(super) async fn collect(
    source: Arc<dyn RowSource>,
    most: usize,
) -> Result<Option<Vec<RecordBatch>>, SourceError> {
    let (sender, mut receiver) = mpsc::channel::<Result<RecordBatch>>(BUFFERED_BATCHES);
    let received = async move {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = receiver.recv().await {
            let batch = batch.map_err(|error| SourceError::Batch {
                source: error.into(),
            })?;
            bytes += batch.get_array_memory_size();
            if bytes > most {
                // Whoever reads finds nobody who wants more.
                return Ok(None);
            }
            batches.push(batch);
        }
        Ok(Some(batches))
    };
    let (read, batches) = tokio::join!(source.read(Output::new(sender)), received);
    read?;
    batches
}

/// A scan of one [`RowSource`]. Nothing is asked of the server before the first poll, and dropping the
/// stream closes its connection, so that the server stops too.
#[derive(Debug)]
pub(super) struct SqlServerScanExec {
    source: Arc<dyn RowSource>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SqlServerScanExec {
    pub(super) fn new(source: Arc<dyn RowSource>) -> Self {
        let schema = source.schema();
        let ordering = source.ascending().map(|index| {
            let column = Column::new(schema.field(index).name(), index);
            [PhysicalSortExpr::new(
                Arc::new(column) as Arc<dyn PhysicalExpr>,
                SortOptions::new(false, false),
            )]
        });
        let equivalence = EquivalenceProperties::new_with_orderings(schema, ordering);
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            source,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for SqlServerScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlServerScanExec: {}", self.source.describe())
    }
}

impl ExecutionPlan for SqlServerScanExec {
    fn name(&self) -> &'static str {
        "SqlServerScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            internal_err!("{} has no children", self.name())
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let source = Arc::clone(&self.source);
        let stream = futures::stream::once(async move { Ok::<_, DataFusionError>(start(source)) })
            .try_flatten()
            .inspect_ok(move |batch| metrics.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream.boxed(),
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The rows of a source, which is read beside whoever takes them.
pub(super) fn start(source: Arc<dyn RowSource>) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(source.schema(), BUFFERED_BATCHES);
    let sender = builder.tx();
    builder.spawn(async move {
        let output = Output::new(sender.clone());
        if let Err(error) = source.read(output).await {
            // A query that has gone away needs no error.
            let _ = sender.send(Err(error.into())).await;
        }
        Ok(())
    });
    builder.build()
}

/// Collects rows into batches of bounded size.
#[derive(Debug)]
pub(super) struct Batcher {
    schema: SchemaRef,
    builders: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
}

impl Batcher {
    pub(super) fn new(schema: SchemaRef, builders: Vec<ColumnBuilder>) -> Self {
        Self {
            schema,
            builders,
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn builder(&mut self, index: usize) -> &mut ColumnBuilder {
        &mut self.builders[index]
    }

    /// Appends a cell to column `index`; false if it is of another type.
    #[must_use]
    #[inline]
    pub(super) fn append(&mut self, index: usize, value: &ColumnData<'_>) -> bool {
        match self.builders[index].append(value) {
            None => false,
            Some(bytes) => {
                self.bytes += bytes;
                true
            }
        }
    }

    /// Ends a row; a batch when enough have come together.
    pub(super) fn end_row(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        self.rows += 1;
        if self.rows < BATCH_ROWS && self.bytes < BATCH_BYTES {
            return Ok(None);
        }
        self.flush()
    }

    /// The rows that are left, if any.
    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self
            .builders
            .iter_mut()
            .map(ColumnBuilder::finish)
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|source| SourceError::Batch { source })
    }
}
