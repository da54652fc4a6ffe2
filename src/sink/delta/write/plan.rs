//! The plan of a write: executing it is what writes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::UInt64Array;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use deltalake::DeltaTableError;
use deltalake::delta_datafusion::planner::DeltaPlanner;
use futures::{FutureExt, stream};
use uuid::Uuid;

use super::super::{Adopted, CommitOutcome, DeltaTarget, FlowCommit, SinkError, TableOptions};
use super::append::{append_rows, append_unmatched};
use super::clauses::{MergeClauses, RowChange};
use super::source::SourceWatch;
use super::strategy::Strategy;
use super::{full_join, row_level};

/// What is done with the source's rows.
#[derive(Debug)]
pub(in super::super) enum Operation {
    Merge(MergeClauses),
    Append,
    /// An UPDATE or DELETE, which has no source.
    Change(RowChange),
}

/// One write: what to do, to which table, as it was planned.
#[derive(Debug)]
pub(in super::super) struct WriteTask {
    pub(in super::super) target: DeltaTarget,
    /// The table's columns: those it has, or those it will be created with.
    pub(in super::super) schema: SchemaRef,
    pub(in super::super) options: TableOptions,
    pub(in super::super) commit: Option<FlowCommit>,
    /// Files that the table takes which it makes.
    pub(in super::super) adopted: Option<Adopted>,
    /// The name by which its commit is found again.
    pub(in super::super) name: Uuid,
    /// Files of at most this many bytes are written anew rather than given a deletion vector.
    pub(in super::super) small_file: u64,
    pub(in super::super) operation: Operation,
    pub(in super::super) state: SessionState,
    pub(in super::super) outcome: Arc<Mutex<Option<CommitOutcome>>>,
}

impl WriteTask {
    /// Writes `source`; the number of rows that changed.
    async fn run(&self, source: Arc<dyn ExecutionPlan>) -> Result<u64> {
        let target = self.current_target().await?;
        target.prepare_folder().await?;
        let written = match &self.operation {
            Operation::Append => append_rows(self, &target, source).boxed().await,
            Operation::Merge(clauses) => self.merge(&target, clauses, source).await,
            Operation::Change(change) => self.change(&target, change).await,
        };
        let outcome = match written {
            Ok(outcome) => outcome,
            Err(error) => target.recorded_outcome(self.name).await.ok_or(error)?,
        };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        Ok(outcome.rows().total())
    }

    async fn merge(
        &self,
        target: &DeltaTarget,
        clauses: &MergeClauses,
        source: Arc<dyn ExecutionPlan>,
    ) -> Result<CommitOutcome> {
        if self.adopted.is_some() && target.exists() {
            let error = "files of a copy are for a table that was made meanwhile";
            return Err(DataFusionError::Internal(error.to_string()));
        }
        match Strategy::of(target, &self.options, clauses) {
            Strategy::Append => {
                append_unmatched(self, target, clauses, source)
                    .boxed()
                    .await
            }
            Strategy::RowLevel | Strategy::TouchedFiles => {
                row_level::merge(self, clauses, source).boxed().await
            }
            Strategy::FullJoin(_) => {
                full_join::merge(self, target, clauses, source)
                    .boxed()
                    .await
            }
        }
    }

    async fn change(&self, target: &DeltaTarget, change: &RowChange) -> Result<CommitOutcome> {
        let strategy = |snapshot| Strategy::by_table(snapshot, &self.options);
        match target.snapshot().map(strategy) {
            None => Ok(CommitOutcome::Nothing),
            Some(Strategy::FullJoin(reason)) => Err(SinkError::Unsupported {
                location: target.location().to_string(),
                what: format!("UPDATE or DELETE where {reason}"),
                hint: "write it as a MERGE".to_string(),
                source: None,
            }
            .into()),
            Some(_) => row_level::change(self, change).boxed().await,
        }
    }

    /// The outcome of a write that changes no row of `target`: its checkpoint moves, if it has one to move.
    pub(super) async fn nothing_changed(&self, target: &DeltaTarget) -> Result<CommitOutcome> {
        match &self.commit {
            Some(commit) => Ok(target.write_checkpoint(commit, self.name).await?),
            None => Ok(CommitOutcome::Nothing),
        }
    }

    /// The target's newest version, if this write can still be applied to it.
    pub(super) async fn current_target(&self) -> Result<DeltaTarget, SinkError> {
        let mut target = self.target.clone();
        target.refresh().await?;
        let conflict = |change: &str| SinkError::Conflict {
            location: target.location().to_string(),
            change: change.to_string(),
            source: None,
        };
        if target.exists() != self.target.exists() {
            return Err(conflict("the table was created"));
        }
        if target.schema() != self.target.schema() {
            return Err(conflict("its columns changed"));
        }
        if let Some(commit) = &self.commit {
            // A first copy is for a table without rows: they would be nobody's.
            if commit.expected.is_none() && !target.is_empty() && self.target.is_empty() {
                return Err(conflict("another writer put rows in it"));
            }
            commit.check(target.location(), target.table()).await?;
        }
        Ok(target)
    }

    /// The session, with deltalake's planner and the settings that it needs.
    pub(super) fn delta_state(&self) -> SessionState {
        let mut config = self.state.config().clone();
        // Joins on dictionary-encoded partition columns panic when keys are pushed down as a list.
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.hash_join_inlist_pushdown_max_size = 0;
        optimizer.hash_join_inlist_pushdown_max_distinct_values = 0;
        SessionStateBuilder::new_from_existing(self.state.clone())
            .with_config(config)
            .with_query_planner(DeltaPlanner::new())
            .build()
    }

    /// Why a write failed: the source's own error, where it was the source that failed.
    pub(super) fn failure(&self, source: &SourceWatch, error: DeltaTableError) -> DataFusionError {
        if let Some(error) = source.take_failure() {
            return error;
        }
        match error {
            // deltalake keeps only the text of DataFusion's errors.
            DeltaTableError::Generic(text) if text.contains("Resources exhausted") => {
                DataFusionError::ResourcesExhausted(text)
            }
            error => SinkError::from_delta(self.target.location(), "write", error).into(),
        }
    }
}

/// Runs a [`WriteTask`] over its input and yields the number of rows that changed, as `count`.
#[derive(Debug)]
pub(in super::super) struct WriteExec {
    task: Arc<WriteTask>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl WriteExec {
    pub(in super::super) fn new(task: Arc<WriteTask>, input: Arc<dyn ExecutionPlan>) -> Self {
        let count = Field::new("count", DataType::UInt64, false);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(Schema::new(vec![count]))),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            task,
            input,
            properties: Arc::new(properties),
        }
    }
}

/// How the MERGE in `plan` writes, by the target as it was planned over; `None` for a plan without one.
///
/// `append`, `touched rows (deletion vectors)`, `touched files (without deletion vectors)`, or `full join (…)` with the
/// reason. Files that are small or mostly deleted are written anew whichever it is, which the files decide.
pub fn merge_path(plan: &dyn ExecutionPlan) -> Option<String> {
    if let Some(write) = plan.downcast_ref::<WriteExec>()
        && let Operation::Merge(clauses) = &write.task.operation
    {
        let task = &write.task;
        return Some(Strategy::of(&task.target, &task.options, clauses).to_string());
    }
    let children = plan.children();
    children
        .into_iter()
        .find_map(|child| merge_path(child.as_ref()))
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = &self.task;
        write!(f, "DeltaWriteExec: {}", task.target.location())?;
        match &task.operation {
            Operation::Append => f.write_str(", append")?,
            Operation::Merge(clauses) => {
                let strategy = Strategy::of(&task.target, &task.options, clauses);
                write!(f, ", by {strategy}, {clauses}")?;
            }
            Operation::Change(change) => write!(f, ", {change}")?,
        }
        match &task.commit {
            Some(commit) => write!(f, ", upto={}", commit.upto.lsn),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &str {
        "DeltaWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// The plans inside deltalake distribute the rows as they need them.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.len()) {
            (Some(input), 0) => Ok(Arc::new(Self::new(Arc::clone(&self.task), input))),
            _ => plan_err!("a write has one input"),
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
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return exec_err!("a write has one partition, not {}", partition + 1);
        }
        let (task, input) = (Arc::clone(&self.task), Arc::clone(&self.input));
        let schema = self.schema();
        let batch_schema = self.schema();
        let count = async move {
            let count = task.run(input).await?;
            let count = Arc::new(UInt64Array::from(vec![count]));
            Ok(RecordBatch::try_new(batch_schema, vec![count])?)
        };
        let count = stream::once(count.boxed());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, count)))
    }
}
