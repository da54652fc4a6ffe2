//! Planning a flow over nothing, so that a mistake is found before anything is read or written.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ResolvedTableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::flow::Flow;
use super::history::{Begun, Shape, planned_events, with_versions};
use super::kept::{check_kept, with_kept};
use super::order::{columns_read, reads};
use super::reconcile::{Over, reconcilable};
use super::values::check_values;
use crate::change::{LsnRange, OnGap};
use crate::engine::{Engine, Overlay};
use crate::error::Error;
use crate::sink::delta::{DeltaTableProvider, DeltaTarget, merge_path};
use crate::source::sqlserver::{CapturedColumn, LargeValues, MissingValues};
use crate::sql::StatementKind;

/// What planning a flow has told.
pub(super) struct Rehearsed {
    /// The tables that it reads.
    pub(super) reads: Vec<ResolvedTableReference>,
    /// The stream's columns that it reads.
    pub(super) columns: BTreeSet<usize>,
    /// How its MERGE writes.
    pub(super) merge_path: Option<String>,
}

/// Plans the flow once.
///
/// The stream in `overlay` is the real one over an empty window: planning asks the server nothing, and refuses the
/// columns that it cannot carry.
pub(super) async fn rehearse(
    engine: &Engine,
    flow: &Flow,
    target: DeltaTarget,
    overlay: Overlay,
) -> Result<Rehearsed, Error> {
    let (statement, merge) = (&flow.statement, &flow.merge);
    if !flow.growth.added.is_empty() || target.lacks_backfill() {
        let over = flow.over_new_columns();
        let _ = reconcilable(statement, merge, &flow.table, &flow.target_schema, over)?;
    }
    if flow.declaration.on_gap == OnGap::Resnapshot {
        let _ = reconcilable(
            statement,
            merge,
            &flow.table,
            &flow.target_schema,
            Over::Gap,
        )?;
    }
    let provider =
        DeltaTableProvider::try_new(target.clone(), Some(Arc::clone(&flow.target_schema)))
            .await
            .and_then(|provider| provider.with_options(flow.declaration.options.clone()))
            .map_err(|error| Error::from(error).at(statement, merge.target_span))?;
    let overlay = overlay.with(&flow.target, Arc::new(provider));
    let (state, plan) = engine.plan(statement, flow.kind(), overlay.clone()).await?;
    if flow.growth.widened.is_empty() {
        check_values(statement, merge, &plan)?;
    }
    let rehearsed = match &flow.history {
        Some(shape) => versions(engine, flow, shape, (&target, overlay)).await,
        None => rows(engine, flow, (&state, plan), overlay).await,
    };
    rehearsed.map_err(|error| match error {
        Error::DataFusion(error) => Error::from_datafusion(*error, Some(statement)),
        other => other,
    })
}

/// Of a flow whose MERGE is executed as it is.
async fn rows(
    engine: &Engine,
    flow: &Flow,
    (state, plan): (&SessionState, LogicalPlan),
    mut overlay: Overlay,
) -> Result<Rehearsed, Error> {
    let (statement, merge) = (&flow.statement, &flow.merge);
    let form = flow.large_values();
    if form != LargeValues::ReadBack {
        let read = state.optimize(&plan)?;
        let read = columns_read(&read, &flow.stream)?;
        check_kept(statement, merge, &flow.table, &plan, &read)?;
        let empty = flow
            .database
            .net_changes(&flow.table, LsnRange::default(), form);
        overlay = overlay.with(&flow.stream, empty.await?);
    }
    let (state, plan) = engine.plan(statement, flow.kind(), overlay).await?;
    let plan = state.optimize(&with_kept(plan, &MissingValues::default())?)?;
    Ok(Rehearsed {
        reads: reads(&plan)?,
        columns: columns_read(&plan, &flow.stream)?,
        merge_path: path_of(&state, &plan).await?,
    })
}

/// Of a flow that keeps history.
async fn versions(
    engine: &Engine,
    flow: &Flow,
    shape: &Arc<Shape>,
    (target, overlay): (&DeltaTarget, Overlay),
) -> Result<Rehearsed, Error> {
    let events = planned_events(engine, flow, overlay.clone()).await?;
    let plan = engine.state().optimize(&events)?;
    let columns = columns_read(&plan, &flow.stream)?;
    let read = columns
        .iter()
        .filter_map(|place| flow.table.columns().get(*place));
    if let Some(large) = read.clone().find(|column| column.is_large()) {
        return Err(left_out(flow, large));
    }
    let reads = reads(&plan)?;
    let begun = Begun {
        after: LsnRange::default().after(),
        micros: 0,
        earliest: None,
        is_copy: false,
    };
    let overlay = with_versions(overlay, events, target, (shape, begun), false).await?;
    let merge = StatementKind::Merge(Box::new(flow.written()));
    let (state, plan) = engine.plan(&flow.statement, merge, overlay).await?;
    let plan = state.optimize(&plan)?;
    Ok(Rehearsed {
        reads,
        columns,
        merge_path: path_of(&state, &plan).await?,
    })
}

/// The error of a column of which a commit need not tell the value that its row has.
fn left_out(flow: &Flow, column: &CapturedColumn) -> Error {
    let (statement, name) = (&flow.statement, column.name());
    Error::invalid(statement.diagnostic(
        statement.find(name).unwrap_or(flow.merge.target_span),
        format!(
            "SQL Server may leave the value of '{name}' out of an update, and then a version of the row would lack it"
        ),
        Some(format!("leave the column out: COLUMNS * EXCEPT ({name})")),
    ))
}

async fn path_of(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<Option<String>, DataFusionError> {
    let planner = state.query_planner();
    let physical = planner.create_physical_plan(plan, state).await?;
    Ok(merge_path(physical.as_ref()))
}
