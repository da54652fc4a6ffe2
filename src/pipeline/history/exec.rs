//! The operator that makes versions of images.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};

use super::versions::Begun;
use super::{Folding, Shape};

/// Makes the versions of each key from its images in the order of their commits. Memory is that of one batch and one row.
#[derive(Debug)]
pub(super) struct VersionsExec {
    input: Arc<dyn ExecutionPlan>,
    shape: Arc<Shape>,
    begun: Begun,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl VersionsExec {
    /// The columns of `input` are those that [`Folding`] reads.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, shape: Arc<Shape>, begun: Begun) -> Self {
        let count = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&shape.schema)),
            Partitioning::UnknownPartitioning(count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            input,
            shape,
            begun,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn columns(&self, count: usize) -> Vec<Arc<dyn PhysicalExpr>> {
        let schema = self.input.schema();
        let column = |place: usize| Column::new(schema.field(place).name(), place);
        (0..count)
            .map(|place| Arc::new(column(place)) as Arc<dyn PhysicalExpr>)
            .collect()
    }
}

impl DisplayAs for VersionsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VersionsExec: keys=[{}]",
            self.shape.key_names().join(", ")
        )
    }
}

impl ExecutionPlan for VersionsExec {
    fn name(&self) -> &'static str {
        "VersionsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let keys = self.columns(self.shape.keys.len());
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(keys)])
    }

    /// By the key and then the version.
    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = self.columns(self.shape.keys.len() + 1).into_iter();
        let order = LexOrdering::new(order.map(PhysicalSortExpr::new_default));
        vec![order.map(OrderingRequirements::from)]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(
                input,
                Arc::clone(&self.shape),
                self.begun,
            ))),
            _ => internal_err!("{} has one child", self.name()),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = self.input.execute(partition, context)?;
        let mut folding = Folding::new(Arc::clone(&self.shape), self.begun)?;
        let versions = rows
            .map(Some)
            .chain(futures::stream::iter([None]))
            .map(move |rows| match rows {
                Some(rows) => folding.push(&rows?),
                None => folding.finish(),
            });
        let versions = versions
            .try_filter(|versions| std::future::ready(versions.num_rows() > 0))
            .inspect_ok(move |versions| metrics.record_output(versions.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.shape.schema),
            versions.boxed(),
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
