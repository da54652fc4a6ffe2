//! The rows of a physical plan, offered to another plan once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

use super::super::SinkError;
use super::partition::PartitionTexts;

/// What is seen of a source while it is read.
#[derive(Debug, Default)]
pub(super) struct SourceWatch {
    rows: AtomicU64,
    failure: Mutex<Option<Arc<DataFusionError>>>,
    texts: Option<PartitionTexts>,
    refusal: Mutex<Option<SinkError>>,
}

impl SourceWatch {
    /// Rows read so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The first error of the source.
    ///
    /// deltalake turns errors of the plans it runs into text; this keeps the source's own.
    pub(super) fn take_failure(&self) -> Option<DataFusionError> {
        let failure = self.lock().take()?;
        Some(Arc::try_unwrap(failure).unwrap_or_else(DataFusionError::Shared))
    }

    /// Refuses rows with values that partition columns cannot hold.
    pub(super) fn refusing(texts: PartitionTexts) -> Self {
        Self {
            texts: Some(texts),
            ..Self::default()
        }
    }

    /// Why a row was refused.
    pub(super) fn take_refusal(&self) -> Option<SinkError> {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.take()
    }

    fn see(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if let Some(Err(error)) = self.texts.as_ref().map(|texts| texts.verify(&batch)) {
            let text = error.to_string();
            let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            refusal.get_or_insert(error);
            return exec_err!("{text}");
        }
        self.rows
            .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        Ok(batch)
    }

    fn record(&self, error: DataFusionError) -> DataFusionError {
        let error = Arc::new(error);
        self.lock().get_or_insert_with(|| Arc::clone(&error));
        DataFusionError::Shared(error)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<DataFusionError>>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table whose only scan is a given physical plan, its columns renamed by position.
#[derive(Debug)]
pub(super) struct SourceTable {
    scan: Arc<SourceExec>,
}

impl SourceTable {
    /// Offers `input` under `schema`, which has the same types in the same order.
    pub(super) fn try_new(
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
        watch: Arc<SourceWatch>,
    ) -> Result<Self> {
        let given = input.schema();
        let types = |schema: &SchemaRef| {
            let types = schema
                .fields()
                .iter()
                .map(|field| field.data_type().clone());
            types.collect::<Vec<_>>()
        };
        if types(&given) != types(&schema) {
            return plan_err!("the source's columns are {given}, expected {schema}");
        }
        let scan = Arc::new(SourceExec::new(input, schema, watch));
        Ok(Self { scan })
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.scan.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = Arc::clone(&self.scan) as Arc<dyn ExecutionPlan>;
        let Some(projection) = projection else {
            return Ok(scan);
        };
        let columns = projection.iter().map(|index| {
            let name = self.scan.schema.field(*index).name();
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, *index));
            (column, name.clone())
        });
        let columns = columns.collect::<Vec<_>>();
        Ok(Arc::new(ProjectionExec::try_new(columns, scan)?))
    }
}

/// A leaf that runs an already optimised plan.
///
/// It has no children, so that the optimiser of the plan around it leaves the inner one alone, and
/// refuses to run a partition twice: a source may be a moving server.
#[derive(Debug)]
struct SourceExec {
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    watch: Arc<SourceWatch>,
    started: Vec<AtomicBool>,
    properties: Arc<PlanProperties>,
}

impl SourceExec {
    fn new(input: Arc<dyn ExecutionPlan>, schema: SchemaRef, watch: Arc<SourceWatch>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self {
            input,
            schema,
            watch,
            started: (0..partitions).map(|_| AtomicBool::new(false)).collect(),
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceExec: {}", self.input.name())
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &str {
        "SourceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let again = self
            .started
            .get(partition)
            .is_none_or(|started| started.swap(true, Ordering::Relaxed));
        if again {
            return exec_err!("partition {partition} of the source of a write was read twice");
        }
        let watch = Arc::clone(&self.watch);
        let schema = Arc::clone(&self.schema);
        let input = self
            .input
            .execute(partition, context)
            .map_err(|error| watch.record(error))?;
        let rows = input.map(move |batch| {
            let batch = batch.and_then(|batch| rename(&schema, &batch));
            batch
                .and_then(|batch| watch.see(batch))
                .map_err(|error| watch.record(error))
        });
        let schema = Arc::clone(&self.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// `batch` under the names of `schema`.
pub(super) fn rename(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        batch.columns().to_vec(),
        &options,
    )?)
}
