//! Writing into a table without rows: the `NOT MATCHED` clauses over the source, one append commit.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::ExecutionPlan;
use deltalake::delta_datafusion::SessionFallbackPolicy;
use deltalake::operations::write::WriteBuilder;
use deltalake::protocol::SaveMode;

use super::super::checkpoint::commit_properties;
use super::super::{CommitOutcome, DeltaTarget, RowCounts};
use super::adopt::append_beside;
use super::clauses::{Action, Clause, MergeClauses, SOURCE};
use super::partition::PartitionTexts;
use super::plan::WriteTask;
use super::rows::{Choices, numbered, without_target};
use super::source::{SourceTable, SourceWatch};

/// Appends the rows that the `NOT MATCHED` clauses make of `source`.
pub(super) async fn append_unmatched(
    task: &WriteTask,
    target: &DeltaTarget,
    merge: &MergeClauses,
    source: Arc<dyn ExecutionPlan>,
) -> Result<CommitOutcome> {
    let watch = Arc::new(SourceWatch::default());
    let schema = Arc::clone(&merge.source_schema);
    let table = SourceTable::try_new(source, schema, Arc::clone(&watch))?;
    let rows = LogicalPlanBuilder::scan(SOURCE, provider_as_source(Arc::new(table)), None)?;
    let rows = insert_plan(rows, merge, &task.schema)?;
    append(task, target, rows, &watch).await
}

/// Appends the rows of `source`, whose columns are the table's in their order.
pub(super) async fn append_rows(
    task: &WriteTask,
    target: &DeltaTarget,
    source: Arc<dyn ExecutionPlan>,
) -> Result<CommitOutcome> {
    let watch = Arc::new(SourceWatch::default());
    let given = source.schema();
    let named = given.fields().iter().zip(task.schema.fields());
    let named = named.map(|(given, column)| given.as_ref().clone().with_name(column.name()));
    let schema = Arc::new(Schema::new(named.collect::<Vec<_>>()));
    let table = SourceTable::try_new(source, schema, Arc::clone(&watch))?;
    let values = task.schema.fields().iter().map(|field| {
        let column = Expr::Column(Column::from_name(field.name()));
        cast(column, field.data_type().clone()).alias(field.name())
    });
    let rows = LogicalPlanBuilder::scan(SOURCE, provider_as_source(Arc::new(table)), None)?
        .project(values)?
        .build()?;
    append(task, target, rows, &watch).await
}

/// One append commit of `rows`, also when there are none: it carries the checkpoint.
async fn append(
    task: &WriteTask,
    target: &DeltaTarget,
    rows: LogicalPlan,
    source: &SourceWatch,
) -> Result<CommitOutcome> {
    let created = !target.exists();
    let partition = match target.partition_columns() {
        _ if created => &task.options.partition_columns,
        columns => columns,
    };
    let texts = PartitionTexts::try_new(target.location(), &task.schema, partition)?;
    let written = Arc::new(SourceWatch::refusing(texts));
    let state = in_order(task.delta_state());
    let rows = stored_rows(&state, rows, &task.schema, &written).await?;
    if let Some(adopted) = &task.adopted {
        let watches = (source, written.as_ref());
        return append_beside(task, target, adopted, (&state, rows), watches).await;
    }
    let mut builder = WriteBuilder::new(target.table().log_store(), target.snapshot().cloned())
        .with_input_plan(rows)
        .with_session_state(Arc::new(state))
        .with_session_fallback_policy(SessionFallbackPolicy::RequireSessionState)
        .with_save_mode(SaveMode::Append)
        .with_commit_properties(commit_properties(task.commit.as_ref(), task.name, None));
    if created {
        builder = with_options(builder, task);
    }
    let table = builder
        .await
        .map_err(|error| match written.take_refusal() {
            Some(refusal) => refusal.into(),
            None => task.failure(source, error),
        })?;
    Ok(CommitOutcome::Committed {
        version: table.version().unwrap_or_default(),
        created,
        rows: RowCounts {
            inserted: written.rows(),
            ..RowCounts::default()
        },
    })
}

/// A session that keeps the order of the source's rows, so that files get narrow ranges of its keys.
fn in_order(state: SessionState) -> SessionState {
    let mut config = state.config().clone();
    config
        .options_mut()
        .optimizer
        .enable_round_robin_repartition = false;
    SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .build()
}

fn with_options(builder: WriteBuilder, task: &WriteTask) -> WriteBuilder {
    let properties = task.options.stored_properties();
    let properties = properties.map(|(key, value)| (key, Some(value)));
    let builder = builder
        .with_partition_columns(task.options.partition_columns.clone())
        .with_configuration(properties.collect::<Vec<_>>());
    match &task.options.comment {
        Some(comment) => builder.with_description(comment.clone()),
        None => builder,
    }
}

/// `rows` under exactly the table's schema: a new table takes its nullability from the plan it is
/// written from, and a projection of columns that are never NULL would make them NOT NULL.
async fn stored_rows(
    state: &SessionState,
    rows: LogicalPlan,
    schema: &SchemaRef,
    written: &Arc<SourceWatch>,
) -> Result<LogicalPlan> {
    let rows = state.create_physical_plan(&rows).await?;
    let rows = SourceTable::try_new(rows, Arc::clone(schema), Arc::clone(written))?;
    LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows)), None)?.build()
}

/// Projects each source row to the row of the first `NOT MATCHED` clause that takes it.
fn insert_plan(
    source: LogicalPlanBuilder,
    merge: &MergeClauses,
    schema: &SchemaRef,
) -> Result<LogicalPlan> {
    let mut branches = Vec::new();
    let mut inserts = Vec::new();
    for Clause {
        predicate, action, ..
    } in &merge.clauses
    {
        if let Action::Insert(values) = action {
            let predicate = predicate.clone().unwrap_or_else(|| lit(true));
            branches.push((without_target(predicate, schema)?, inserts.len() as i32));
            inserts.push(values);
        }
    }
    let source = numbered(source, branches)?;
    let values = schema
        .fields()
        .iter()
        .map(|field| {
            let choices = (0..).zip(&inserts).filter_map(|(number, insert)| {
                let (_, value) = insert.iter().find(|(name, _)| name == field.name())?;
                Some(without_target(value.clone(), schema).map(|value| (number, value)))
            });
            let choices = Choices {
                values: choices.collect::<Result<_>>()?,
                makers: inserts.len(),
                others: false,
                schema: source.schema(),
            };
            Ok(choices.value(field.data_type())?.alias(field.name()))
        })
        .collect::<Result<Vec<_>>>()?;
    source.project(values)?.build()
}
