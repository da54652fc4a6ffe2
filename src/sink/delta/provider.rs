//! A Delta table as DataFusion sees it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchemaRef, not_impl_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::{InsertOp, MergeIntoClause};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use uuid::Uuid;

use super::schema::stored_schema;
use super::write::{
    MergeClauses, Operation, RowChange, SMALL_FILE, Strategy, WriteExec, WriteTask,
};
use super::{Adopted, CommitOutcome, DeltaTarget, FlowCommit, SinkError, TableOptions};

/// A Delta table for queries, `MERGE INTO` and `INSERT INTO`; it may not exist yet.
///
/// Reads see the version that the target had when the provider was made. Writes are lazy plans: they
/// look at the log again when they run, commit once or not at all, and record their
/// [`CommitOutcome`].
#[derive(Debug)]
pub struct DeltaTableProvider {
    target: DeltaTarget,
    schema: SchemaRef,
    scan: Option<DeltaScanNext>,
    options: TableOptions,
    commit: Option<FlowCommit>,
    adopted: Option<Adopted>,
    unmatched_targets: Option<bool>,
    small_file: u64,
    outcome: Arc<Mutex<Option<CommitOutcome>>>,
}

impl DeltaTableProvider {
    /// A provider of `target`.
    ///
    /// A table that does not exist is created by its first write with the columns of `schema_if_new`;
    /// a column that is not nullable there is `NOT NULL` in the table; a name or type among them that Delta cannot store is an error.
    pub async fn try_new(
        target: DeltaTarget,
        schema_if_new: Option<SchemaRef>,
    ) -> Result<Self, SinkError> {
        let scan = scan_of(&target)?;
        let schema = match (&scan, schema_if_new) {
            (Some(scan), _) => scan.schema(),
            (None, Some(schema)) => stored_schema(target.location(), &schema)?,
            (None, None) => {
                return Err(SinkError::NoSuchTable {
                    location: target.location().to_string(),
                });
            }
        };
        Ok(Self {
            target,
            schema,
            scan,
            options: TableOptions::default(),
            commit: None,
            adopted: None,
            unmatched_targets: None,
            small_file: SMALL_FILE,
            outcome: Arc::default(),
        })
    }

    /// What the table gets besides its columns, when a write creates it.
    pub fn with_options(mut self, options: TableOptions) -> Result<Self, SinkError> {
        options.validate_own(self.target.location())?;
        if !self.target.exists() {
            options.validate(self.target.location(), &self.schema)?;
        }
        self.options = options;
        Ok(self)
    }

    /// Makes every write carry the checkpoint of a flow.
    #[must_use]
    pub fn with_commit(mut self, commit: FlowCommit) -> Self {
        self.commit = Some(commit);
        self
    }

    /// Has the table take files as they are that the first write makes, beside what is written.
    #[must_use]
    pub fn with_adopted(self, adopted: Option<Adopted>) -> Self {
        Self { adopted, ..self }
    }

    /// Allows or refuses `NOT MATCHED BY SOURCE`. Unless said otherwise it is refused for a flow, whose
    /// source is one window of changes and not the whole table.
    #[must_use]
    pub fn with_not_matched_by_source(mut self, allowed: bool) -> Self {
        self.unmatched_targets = Some(allowed);
        self
    }

    /// Lets a merge write files anew, and not mark their rows in deletion vectors, up to this many bytes. Unless said
    /// otherwise they are 2 MiB.
    #[must_use]
    pub fn with_small_file(mut self, bytes: u64) -> Self {
        self.small_file = bytes;
        self
    }

    /// The target, at the version that reads see.
    pub fn target(&self) -> &DeltaTarget {
        &self.target
    }

    /// What the last write did; `None` before one has ended.
    pub fn outcome(&self) -> Option<CommitOutcome> {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        session: &dyn Session,
        operation: Operation,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
            return plan_err!("a Delta table is written from a SessionState");
        };
        let task = WriteTask {
            target: self.target.clone(),
            schema: Arc::clone(&self.schema),
            options: self.options.clone(),
            commit: self.commit.clone(),
            adopted: self.adopted.clone(),
            name: Uuid::new_v4(),
            small_file: self.small_file,
            operation,
            state: state.clone(),
            outcome: Arc::clone(&self.outcome),
        };
        Ok(Arc::new(WriteExec::new(Arc::new(task), input)))
    }
}

/// deltalake's scan of the loaded version, with the types that the table declares: no dictionaries for
/// partition columns, so that types do not depend on partitioning or on whether the table exists.
fn scan_of(target: &DeltaTarget) -> Result<Option<DeltaScanNext>, SinkError> {
    let Some(snapshot) = target.snapshot() else {
        return Ok(None);
    };
    let mut config = DeltaScanConfig::new().with_wrap_partition_values(false);
    config.schema_force_view_types = false;
    let scan = DeltaScanNext::new(snapshot.clone(), config)
        .map_err(|error| SinkError::from_delta(target.location(), "read", error.into()))?;
    Ok(Some(scan))
}

#[async_trait]
impl TableProvider for DeltaTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(scan) = &self.scan else {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        };
        let failed = |error| SinkError::from_delta(self.target.location(), "read", error);
        self.target
            .table()
            .update_datafusion_session(session)
            .map_err(failed)?;
        scan.scan(session, projection, filters, limit).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        match &self.scan {
            Some(scan) => scan.supports_filters_pushdown(filters),
            None => Ok(vec![
                TableProviderFilterPushDown::Unsupported;
                filters.len()
            ]),
        }
    }

    async fn insert_into(
        &self,
        session: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if insert_op != InsertOp::Append {
            return not_impl_err!("{insert_op} for a Delta table");
        }
        if input.schema().fields().len() != self.schema.fields().len() {
            return plan_err!("INSERT has another number of columns than the table");
        }
        self.write(session, Operation::Append, input)
    }

    /// A source without columns stands for one row: what matches it is what `on` holds for, which makes the MERGE an
    /// UPDATE or DELETE.
    async fn merge_into(
        &self,
        session: &dyn Session,
        source: Arc<dyn ExecutionPlan>,
        merge_schema: DFSchemaRef,
        on: Expr,
        clauses: Vec<MergeIntoClause>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let location = self.target.location();
        let clauses = MergeClauses::try_new(&merge_schema, &source.schema(), on, clauses)?;
        if let Strategy::FullJoin(_) = Strategy::of(&self.target, &self.options, &clauses) {
            clauses.check_conditions(location)?;
        }
        let allowed = self.unmatched_targets.unwrap_or(self.commit.is_none());
        if clauses.reads_unmatched_targets() && !allowed {
            let refused = SinkError::Unsupported {
                location: location.to_string(),
                what: "NOT MATCHED BY SOURCE over a window of changes".to_string(),
                hint: "delete by a condition on the change instead".to_string(),
                source: None,
            };
            return Err(refused.into());
        }
        if source.schema().fields().is_empty() {
            let change = Operation::Change(RowChange::try_new(clauses)?);
            return self.write(session, change, source);
        }
        self.write(session, Operation::Merge(clauses), source)
    }
}
