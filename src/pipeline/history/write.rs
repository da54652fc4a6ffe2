//! What a flow with history executes.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ResolvedTableReference;
use datafusion::logical_expr::LogicalPlan;

use super::super::bind::Pipeline;
use super::super::flow::Flow;
use super::super::rows::Rows;
use super::super::step::Written;
use super::versions::VERSIONS;
use super::{Begun, Shape, Versions};
use crate::engine::{Engine, LAKE, MAIN, Overlay, select_from};
use crate::error::Error;
use crate::sink::delta::{DeltaTableProvider, DeltaTarget, FlowCommit};
use crate::source::sqlserver::MissingValues;
use crate::sql::StatementKind;

/// The query for what the flow's rows are in its target, of each image of its stream.
pub(in super::super) fn events_of(flow: &Flow) -> Result<StatementKind, Error> {
    let events = flow.merge.events();
    let events = events.ok_or(Error::Internal("a flow with history inserts nothing"))?;
    select_from(&flow.statement, Some(events), flow.merge.ast.source.clone())
}

/// `overlay`, with the table of the versions that follow from `events` and the rows of `target`.
pub(in super::super) async fn with_versions(
    overlay: Overlay,
    events: LogicalPlan,
    target: &DeltaTarget,
    (shape, begun): (&Arc<Shape>, Begun),
    is_spilled: bool,
) -> Result<Overlay, Error> {
    let target: Option<Arc<dyn TableProvider>> = match target.is_empty() {
        true => None,
        false => Some(Arc::new(
            DeltaTableProvider::try_new(target.clone(), None).await?,
        )),
    };
    let versions = Versions {
        events,
        target,
        shape: Arc::clone(shape),
        begun,
        is_spilled,
    };
    let name = ResolvedTableReference {
        catalog: LAKE.into(),
        schema: MAIN.into(),
        table: VERSIONS.into(),
    };
    Ok(overlay.with(&name, Arc::new(versions)))
}

impl Pipeline {
    /// Commits the versions that follow from `rows`, together with the checkpoint in `commit`.
    ///
    /// Where the images do not fit in memory, they are read once more and sorted on the disk.
    pub(in super::super) async fn commit_versions(
        &self,
        flow: &Flow,
        shape: &Arc<Shape>,
        target: DeltaTarget,
        rows: &Rows,
        commit: FlowCommit,
    ) -> Result<Written, Error> {
        let begun = rows.begun(flow).await?;
        let mut is_spilled = begun.is_copy;
        loop {
            let images = rows.images(flow, begun).await?;
            let expected = flow.expectations();
            let overlay = Overlay::default().with(&flow.stream, images);
            let overlay = overlay.with_function(expected.function());
            let events = planned_events(self.engine(), flow, overlay.clone()).await?;
            let history = (shape, begun);
            let overlay = with_versions(overlay, events, &target, history, is_spilled).await?;
            let merge = StatementKind::Merge(Box::new(flow.written()));
            let versions = (merge, overlay);
            let missing = MissingValues::default();
            let tried = self.execute(
                flow,
                target.clone(),
                versions,
                (commit.clone(), None),
                &missing,
            );
            match tried.await {
                Err(error) if error.is_out_of_memory() && !is_spilled => is_spilled = true,
                tried => {
                    return Ok(Written {
                        outcome: tried?,
                        violations: expected.violations(),
                    });
                }
            }
        }
    }
}

/// The plan of [`events_of`] over a stream in `overlay`.
pub(in super::super) async fn planned_events(
    engine: &Engine,
    flow: &Flow,
    overlay: Overlay,
) -> Result<LogicalPlan, Error> {
    let events = events_of(flow)?;
    let (_, plan) = engine.plan(&flow.statement, events, overlay).await?;
    Ok(plan)
}
