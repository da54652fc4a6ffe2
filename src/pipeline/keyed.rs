//! Rows of a flow's source by their keys.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};

use crate::engine::Engine;
use crate::error::Error;
use crate::sink::delta::joined_within_memory;
use crate::source::sqlserver::TableChunks;

/// The rows of the source with the keys that a plan answers with, each once, as columns of these captured names.
///
/// Keys that the source does not have are passed over. No more of them are held than one question has.
pub(super) async fn rows_by_keys(
    engine: &Engine,
    chunks: Arc<TableChunks>,
    (names, keys): (Arc<[String]>, LogicalPlan),
) -> Result<SendableRecordBatchStream, Error> {
    let schema = chunks.schema();
    let state = joined_within_memory(&engine.state());
    let plan = state.create_physical_plan(&keys).await?;
    let keys = execute_stream(plan, state.task_ctx())?;
    let most = chunks.keys_at_once(names.len());
    let rows = keys
        .map_ok(move |batch| {
            let parts = (0..batch.num_rows()).step_by(most);
            let parts = parts.map(move |from| batch.slice(from, most.min(batch.num_rows() - from)));
            stream::iter(parts.collect::<Vec<_>>()).map(Ok::<_, DataFusionError>)
        })
        .try_flatten()
        .and_then(move |asked: RecordBatch| {
            let (chunks, names) = (Arc::clone(&chunks), Arc::clone(&names));
            async move {
                let keys = names.iter().cloned().zip(asked.columns().iter().cloned());
                let keys: Vec<(String, ArrayRef)> = keys.collect();
                let found = chunks.rows_of_keys(&keys).map_err(external)?;
                let wanted = Wanted::of(&keys, &chunks.schema())?;
                Ok(found.map(move |batch| wanted.among(&batch?)))
            }
        })
        .try_flatten();
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The keys that were asked for; an answer may have others, which the server holds to be equal.
struct Wanted {
    converter: RowConverter,
    places: Vec<usize>,
    keys: HashSet<Box<[u8]>>,
}

impl Wanted {
    fn of(keys: &[(String, ArrayRef)], schema: &SchemaRef) -> Result<Self> {
        let places = keys.iter().map(|(name, _)| schema.index_of(name));
        let types = keys.iter().map(|(_, values)| values.data_type());
        let converter = RowConverter::new(types.cloned().map(SortField::new).collect())?;
        let values: Vec<ArrayRef> = keys.iter().map(|(_, values)| Arc::clone(values)).collect();
        let rows = converter.convert_columns(&values)?;
        let keys = rows.iter().map(|row| row.data().into());
        Ok(Self {
            places: places.collect::<std::result::Result<_, _>>()?,
            keys: keys.collect(),
            converter,
        })
    }

    fn among(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self
            .places
            .iter()
            .map(|place| Arc::clone(batch.column(*place)));
        let rows = self
            .converter
            .convert_columns(&columns.collect::<Vec<_>>())?;
        let is_wanted = rows.iter().map(|row| Some(self.keys.contains(row.data())));
        let is_wanted: BooleanArray = is_wanted.collect();
        Ok(filter_record_batch(batch, &is_wanted)?)
    }
}
