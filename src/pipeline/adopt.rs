//! Copies whose files become those of the target: its rows are the source's as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{SchemaRef, UInt32Type};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use super::copy::{Copied, Extent, Standing};
use super::flow::Flow;
use crate::change::LsnRange;
use crate::engine::Engine;
use crate::error::Error;
use crate::sink::delta::{Adopted, DeltaTarget, FILE};

/// The properties of a table that files do not have to be written for.
const INDIFFERENT: [&str; 6] = [
    "delta.appendOnly",
    "delta.checkpointInterval",
    "delta.deletedFileRetentionDuration",
    "delta.enableChangeDataFeed",
    "delta.enableDeletionVectors",
    "delta.logRetentionDuration",
];

/// The columns of the table that the flow makes, if it has each of the `rows` that are copied as it is, and nothing else.
pub(super) fn adopted_by(
    flow: &Flow,
    target: &DeltaTarget,
    standing: Standing<'_>,
    rows: &SchemaRef,
) -> Option<SchemaRef> {
    let is_first = matches!(standing.extent, Extent::Whole)
        && standing.over.is_none()
        && standing.keys.is_none()
        && !target.exists();
    let is_plain = rows.index_of(FILE).is_err()
        && flow.history.is_none()
        && flow.declaration.expectations.is_empty()
        && flow.declaration.options.partition_columns.is_empty();
    let mut properties = flow.declaration.options.properties.iter();
    let is_usual = properties
        .all(|(name, _)| name.starts_with("cdcql.") || INDIFFERENT.contains(&name.as_str()));
    if !is_first || !is_plain || !is_usual {
        return None;
    }
    let pairs = flow.merge.inserts_as_they_are()?;
    let table = target.stored(&flow.target_schema).ok()?;
    let is_same = table.fields().iter().all(|field| {
        let name = field.name();
        let row = rows.field_with_name(name);
        row.is_ok_and(|row| row.data_type() == field.data_type())
            && pairs
                .iter()
                .any(|(own, other)| own == name && other == name)
    });
    (is_same && table.fields().len() == rows.fields().len()).then_some(table)
}

/// What of a copy is to be written as of the end of `window`, which began before it: a table of the rows, and the files that
/// the target takes as they are, since no row in them has changed.
pub(super) async fn settled(
    engine: &Engine,
    flow: &Flow,
    copied: &Copied,
    window: LsnRange,
) -> Result<(Arc<dyn TableProvider>, Option<Adopted>), Error> {
    let staging = &copied.staging;
    let (rest, adopted) = match copied.is_adoptable {
        true => {
            let touched = touched(engine, flow, copied, window).await?;
            staging.divided(&copied.chunks, &touched)
        }
        false => (copied.chunks.clone(), None),
    };
    Ok((staging.table(rest, Arc::clone(&copied.schema)), adopted))
}

/// The files that have a row whose key has a change in the window.
async fn touched(
    engine: &Engine,
    flow: &Flow,
    copied: &Copied,
    window: LsnRange,
) -> Result<BTreeSet<u32>, Error> {
    let (staging, schema) = (&copied.staging, Arc::clone(&copied.schema));
    let rows = staging.numbered(copied.chunks.clone(), schema);
    let changed = flow.database.changed_rows(&flow.table, rows, window)?;
    let plan = LogicalPlanBuilder::scan("changed", provider_as_source(changed), None)?
        .project([Expr::Column(Column::from_name(FILE))])?
        .distinct()?
        .build()?;
    let state = engine.state();
    let plan = state.create_physical_plan(&plan).await?;
    let mut found = execute_stream(plan, state.task_ctx())?;
    let mut touched = BTreeSet::new();
    while let Some(batch) = found.try_next().await? {
        touched.extend(batch.column(0).as_primitive::<UInt32Type>().values());
    }
    Ok(touched)
}
