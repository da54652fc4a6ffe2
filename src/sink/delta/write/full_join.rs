//! A merge by deltalake, for what cannot be found by keys alone.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::dml::MergeIntoClauseKind;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, lit};
use deltalake::delta_datafusion::SessionFallbackPolicy;
use deltalake::operations::merge::{
    DeleteBuilder, InsertBuilder, MergeBuilder, MergeMetrics, UpdateBuilder,
};
use deltalake::{DeltaResult, DeltaTableError};

use super::super::checkpoint::commit_properties;
use super::super::{CommitOutcome, DeltaTarget, RowCounts, SinkError};
use super::clauses::{Action, Clause, MergeClauses, SOURCE, TARGET, names_target};
use super::duplicate::{DuplicateRow, duplicate_match};
use super::plan::WriteTask;
use super::source::{SourceTable, SourceWatch};

/// Merges `source` into the loaded version of `target`.
///
/// Where nothing changes deltalake makes no commit; the checkpoint, if there is one to move, then gets
/// a commit of its own.
pub(super) async fn merge(
    task: &WriteTask,
    target: &DeltaTarget,
    merge: &MergeClauses,
    source: Arc<dyn ExecutionPlan>,
) -> Result<CommitOutcome> {
    let watch = Arc::new(SourceWatch::default());
    let failed = |error| SinkError::from_delta(target.location(), "write", error);
    let mut builder = merge_builder(task, target, merge, source, &watch)?;
    if names_target(&merge.on, &task.schema, DataType::is_decimal) {
        builder = reading_every_file(builder).map_err(failed)?;
    }
    let merged = with_clauses(builder, &merge.clauses).map_err(failed)?.await;
    let (table, metrics) = match merged {
        Ok(merged) => merged,
        Err(error) => return Err(explain(task, target, merge, &watch, error).await),
    };
    match table.version() {
        Some(version) if table.version() != target.version() => Ok(CommitOutcome::Committed {
            version,
            created: false,
            rows: row_counts(&metrics),
        }),
        _ => task.nothing_changed(target).await,
    }
}

fn merge_builder(
    task: &WriteTask,
    target: &DeltaTarget,
    merge: &MergeClauses,
    source: Arc<dyn ExecutionPlan>,
    watch: &Arc<SourceWatch>,
) -> Result<MergeBuilder> {
    let state = task.delta_state();
    let schema = Arc::clone(&merge.source_schema);
    let source = SourceTable::try_new(source, schema, Arc::clone(watch))?;
    let source = LogicalPlanBuilder::scan(SOURCE, provider_as_source(Arc::new(source)), None)?;
    let source = DataFrame::new(state.clone(), source.build()?);
    let log_store = target.table().log_store();
    Ok(MergeBuilder::new(
        log_store,
        target.snapshot().cloned(),
        merge.on.clone(),
        source,
    )
    .with_source_alias(SOURCE)
    .with_target_alias(TARGET)
    // Otherwise the source is run once more, to learn the range of its keys.
    .with_streaming(true)
    .with_session_state(Arc::new(state))
    // Otherwise a session that is not understood is replaced by one without a memory limit.
    .with_session_fallback_policy(SessionFallbackPolicy::RequireSessionState)
    .with_commit_properties(commit_properties(task.commit.as_ref(), task.name, None)))
}

/// A merge that skips no file of the target.
///
/// deltalake writes the smallest and the largest decimal of a file as a double, which rounds them, and
/// then skips files by them: a row that matches would be missed. A clause for unmatched rows of the
/// target, here for none of them, makes it read every file.
fn reading_every_file(builder: MergeBuilder) -> DeltaResult<MergeBuilder> {
    builder.when_not_matched_by_source_delete(|delete| delete.predicate(lit(false)))
}

fn with_clauses(mut builder: MergeBuilder, clauses: &[Clause]) -> DeltaResult<MergeBuilder> {
    for clause in clauses {
        let unmatched_target = clause.kind == MergeIntoClauseKind::NotMatchedBySource;
        builder = match &clause.action {
            Action::Update(_) if unmatched_target => {
                builder.when_not_matched_by_source_update(|update| updating(update, clause))?
            }
            Action::Delete if unmatched_target => {
                builder.when_not_matched_by_source_delete(|delete| deleting(delete, clause))?
            }
            Action::Update(_) => builder.when_matched_update(|update| updating(update, clause))?,
            Action::Delete => builder.when_matched_delete(|delete| deleting(delete, clause))?,
            Action::Insert(_) => {
                builder.when_not_matched_insert(|insert| inserting(insert, clause))?
            }
        };
    }
    Ok(builder)
}

fn updating(mut update: UpdateBuilder, clause: &Clause) -> UpdateBuilder {
    if let Some(predicate) = &clause.predicate {
        update = update.predicate(predicate.clone());
    }
    if let Action::Update(values) = &clause.action {
        for (column, value) in values {
            update = update.update(Column::from_name(column), value.clone());
        }
    }
    update
}

fn deleting(delete: DeleteBuilder, clause: &Clause) -> DeleteBuilder {
    match &clause.predicate {
        Some(predicate) => delete.predicate(predicate.clone()),
        None => delete,
    }
}

fn inserting(mut insert: InsertBuilder, clause: &Clause) -> InsertBuilder {
    if let Some(predicate) = &clause.predicate {
        insert = insert.predicate(predicate.clone());
    }
    if let Action::Insert(values) = &clause.action {
        for (column, value) in values {
            insert = insert.set(Column::from_name(column), value.clone());
        }
    }
    insert
}

async fn explain(
    task: &WriteTask,
    target: &DeltaTarget,
    merge: &MergeClauses,
    source: &SourceWatch,
    error: DeltaTableError,
) -> datafusion::error::DataFusionError {
    match DuplicateRow::in_error(&error) {
        Some(row) => {
            let state = task.delta_state();
            duplicate_match(state, target, &row, &merge.key_columns())
                .await
                .into()
        }
        None => task.failure(source, error),
    }
}

fn row_counts(metrics: &MergeMetrics) -> RowCounts {
    RowCounts {
        inserted: metrics.num_target_rows_inserted as u64,
        updated: metrics.num_target_rows_updated as u64,
        deleted: metrics.num_target_rows_deleted as u64,
    }
}
