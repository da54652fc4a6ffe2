//! A new table that takes files of a copy as they are, beside the rows that are written.

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, Add};
use deltalake::operations::write::writer::DeltaWriter;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::StreamExt;

use super::super::checkpoint::commit_properties;
use super::super::{Adopted, CommitOutcome, DeltaTarget, RowCounts, SinkError};
use super::plan::WriteTask;
use super::source::SourceWatch;

/// Where a table is made only to see what a commit says that makes one; each is by itself.
const NOWHERE: &str = "memory:///";

/// One commit that makes the table, with the files of `adopted` and with `rows`.
pub(super) async fn append_beside(
    task: &WriteTask,
    target: &DeltaTarget,
    adopted: &Adopted,
    (state, rows): (&SessionState, LogicalPlan),
    (source, written): (&SourceWatch, &SourceWatch),
) -> Result<CommitOutcome> {
    let failed = |error| SinkError::from_delta(target.location(), "write", error);
    let mut writer = adopted.writer(&task.schema);
    if let Err(error) = fill(&mut writer, target, (state, rows)).await {
        // What was sent so far would stay in some stores.
        let _ = writer.abort().await;
        return Err(source.take_failure().unwrap_or(error));
    }
    let mut added: Vec<Add> = writer.close().await.map_err(failed)?;
    added.extend(adopted.give().await?);
    let counts = RowCounts {
        inserted: written.rows() + adopted.rows(),
        ..RowCounts::default()
    };
    let mut actions = creation(task, target).await?;
    actions.extend(added.into_iter().map(Action::Add));
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    let properties = commit_properties(task.commit.as_ref(), task.name, Some(counts));
    let committed = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(None, target.table().log_store(), operation)
        .await
        .map_err(failed)?;
    Ok(CommitOutcome::Committed {
        version: committed.version(),
        created: true,
        rows: counts,
    })
}

/// Writes `rows` into files of the table.
async fn fill(
    writer: &mut DeltaWriter,
    target: &DeltaTarget,
    (state, rows): (&SessionState, LogicalPlan),
) -> Result<()> {
    let plan = state.create_physical_plan(&rows).await?;
    let mut rows = execute_stream(plan, state.task_ctx())?;
    let failed = |error| SinkError::from_delta(target.location(), "write", error);
    while let Some(batch) = rows.next().await {
        let batch = match batch {
            Err(DataFusionError::ArrowError(error, _)) => {
                return Err(failed((*error).into()).into());
            }
            batch => batch?,
        };
        writer.write(&batch).await.map_err(failed)?;
    }
    Ok(())
}

/// The actions that make the table: those of one that is made in memory.
async fn creation(task: &WriteTask, target: &DeltaTarget) -> Result<Vec<Action>> {
    let failed = |error| SinkError::from_delta(target.location(), "create", error);
    let builder = task.options.creation(target.location(), &task.schema)?;
    let made = builder.with_location(NOWHERE).await.map_err(failed)?;
    let made = made.snapshot().map_err(failed)?.snapshot();
    Ok(vec![
        Action::Protocol(made.protocol().clone()),
        Action::Metadata(made.metadata().clone()),
    ])
}
