//! The two sides of a comparison: what the target has, and what it would have by the source.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{
    SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{execute_stream, execute_stream_partitioned};
use futures::{StreamExt, TryStreamExt, stream};

use super::super::chunks::{Ahead, Chunks};
use super::super::flow::Flow;
use super::super::reconcile::{Keys, field};
use super::super::schema::inserted_row;
use super::digest::{Buckets, Chosen, Digest, RowHasher};
use super::verifiable::Verifiable;
use crate::change::Lsn;
use crate::engine::{Engine, Overlay};
use crate::error::Error;
use crate::sink::delta::{
    DeltaTableProvider, DeltaTarget, Spool, SpoolWriter, joined_within_memory,
};
use crate::source::sqlserver::KeyRange;

/// The name of a side in a plan.
const ROWS: &str = "rows";

/// A flow's target at a version, and its source.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) engine: Engine,
    pub(super) flow: Arc<Flow>,
    /// The key, in the order of the target's columns.
    pub(super) keys: Keys,
    /// The target's columns that are compared.
    pub(super) schema: SchemaRef,
    /// The places of the key's among them.
    pub(super) key_places: Vec<usize>,
    /// The commit that the target holds.
    pub(super) at: Lsn,
    target: Arc<dyn TableProvider>,
    parallel: usize,
}

impl Sides {
    pub(super) async fn try_new(
        engine: &Engine,
        flow: &Arc<Flow>,
        Verifiable {
            mut keys,
            uncompared,
        }: Verifiable,
        (target, at): (&DeltaTarget, Lsn),
        parallel: u8,
    ) -> Result<Self, Error> {
        let target = DeltaTableProvider::try_new(target.clone(), None).await?;
        let schema = target.schema();
        let compared = schema.fields().iter();
        let compared = compared.filter(|field| !uncompared.contains(field.name()));
        let schema = Arc::new(Schema::new(compared.cloned().collect::<Vec<_>>()));
        keys.sort_by_key(|(own, _)| schema.index_of(own).unwrap_or(usize::MAX));
        let places = keys.iter().map(|(own, _)| schema.index_of(own));
        let key_places = places
            .collect::<Result<_, _>>()
            .map_err(DataFusionError::from)?;
        Ok(Self {
            engine: engine.clone(),
            flow: Arc::clone(flow),
            keys,
            schema,
            key_places,
            at,
            target: Arc::new(target),
            parallel: parallel.into(),
        })
    }

    /// A session for rows of the two, whose sorts keep to the memory that there is.
    pub(super) fn state(&self) -> SessionState {
        let state = joined_within_memory(&self.engine.state());
        match self.flow.reads_large_values() {
            true => self.engine.for_large_rows(&state),
            false => state,
        }
    }

    /// DataFusion's errors at the flow's place.
    pub(super) fn failed(&self, error: impl Into<DataFusionError>) -> Error {
        Error::from_datafusion(error.into(), Some(&self.flow.statement))
    }

    /// A plan of what the target would have of `rows` of the source, under the names of [`column`].
    pub(super) async fn expected(
        &self,
        rows: Arc<dyn TableProvider>,
    ) -> Result<LogicalPlanBuilder, Error> {
        let flow = &self.flow;
        let feed = flow.database.inserts(&flow.table, rows, self.at)?;
        let overlay = Overlay::default().with(&flow.stream, feed);
        let query = inserted_row(&flow.statement, &flow.merge)?;
        let (_, plan) = self.engine.plan(&flow.statement, query, overlay).await?;
        let given: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        let row = self.schema.fields().iter().enumerate();
        let row = row.map(|(place, own)| {
            let value = match field(&given, own.name()) {
                Some(place) => Expr::Column(Column::from(plan.schema().qualified_field(place))),
                None => lit(ScalarValue::Null),
            };
            cast(value, own.data_type().clone()).alias(column(place))
        });
        let row = row.collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(plan).project(row);
        plan.map_err(|error| self.failed(error))
    }

    /// A plan of what the target has, those of its rows that are `chosen`, under the names of [`column`].
    pub(super) fn held(&self, chosen: Option<&Chosen>) -> DataFusionResult<LogicalPlanBuilder> {
        let source = provider_as_source(Arc::clone(&self.target));
        let mut plan = LogicalPlanBuilder::scan(ROWS, source, None)?;
        let named = |name: &str| Expr::Column(Column::new(Some(ROWS), name));
        if let Some(chosen) = chosen {
            let keys = self.keys.iter().map(|(own, _)| named(own));
            plan = plan.filter(chosen.condition(keys.collect()))?;
        }
        let row = self.schema.fields().iter().enumerate();
        plan.project(row.map(|(place, own)| named(own.name()).alias(column(place))))
    }

    /// The digest of the source's side.
    pub(super) async fn digest_of_source(
        self: &Arc<Self>,
        chunks: &Arc<Chunks>,
    ) -> Result<Digest, Error> {
        let read = chunks.ahead(0, None).map_ok(|ahead| {
            let (sides, chunks) = (Arc::clone(self), Arc::clone(chunks));
            in_task(async move { sides.digest_of_chunk(&chunks, &ahead).await })
        });
        let digests = read.try_buffer_unordered(self.parallel);
        let whole = digests.try_fold(Digest::default(), |mut whole, digest| async move {
            whole.merge(&digest);
            Ok(whole)
        });
        whole.await
    }

    async fn digest_of_chunk(&self, chunks: &Arc<Chunks>, ahead: &Ahead) -> Result<Digest, Error> {
        let mut tries = chunks.tries();
        loop {
            let rows = ChunkRows::table(Arc::clone(chunks), ahead.range.clone());
            let plan = self.expected(rows.map_err(|error| self.failed(error))?);
            let digest = async {
                let plan = plan.await?.build().map_err(|error| self.failed(error))?;
                let mut rows = self.stream(&plan).await?;
                let mut digest = Digest::default();
                self.add_all(&mut digest, &mut rows).await?;
                Ok(digest)
            };
            match digest.await {
                Ok(digest) => return Ok(digest),
                Err(error) => chunks.pause(&mut tries, error).await?,
            }
        }
    }

    /// The digest of the target's side.
    pub(super) async fn digest_of_target(self: &Arc<Self>) -> Result<Digest, Error> {
        let plan = self.held(None).and_then(LogicalPlanBuilder::build);
        let plan = plan.map_err(|error| self.failed(error))?;
        let state = self.state();
        let parts = async {
            let plan = state.create_physical_plan(&plan).await?;
            execute_stream_partitioned(plan, state.task_ctx())
        };
        let parts = parts.await.map_err(|error| self.failed(error))?;
        let parts = parts.into_iter().map(|mut rows| {
            let sides = Arc::clone(self);
            in_task(async move {
                let mut digest = Digest::default();
                sides.add_all(&mut digest, &mut rows).await?;
                Ok(digest)
            })
        });
        let digests = stream::iter(parts).buffer_unordered(self.parallel);
        let whole = digests.try_fold(Digest::default(), |mut whole, digest| async move {
            whole.merge(&digest);
            Ok(whole)
        });
        whole.await
    }

    async fn add_all(
        &self,
        digest: &mut Digest,
        rows: &mut SendableRecordBatchStream,
    ) -> Result<(), Error> {
        let hasher = RowHasher::try_new(&self.schema, self.key_places.clone());
        let hasher = hasher.map_err(|error| self.failed(error))?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| self.failed(error))?;
            let added = hasher.add(digest, &batch);
            added.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// The rows of a plan, which is executed in one piece: sorts that are at work at once share the memory.
    pub(super) async fn stream(
        &self,
        plan: &LogicalPlan,
    ) -> Result<SendableRecordBatchStream, Error> {
        let state = self.state();
        let config = state.config().clone().with_target_partitions(1);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .build();
        let rows = async {
            let plan = state.create_physical_plan(plan).await?;
            execute_stream(plan, state.task_ctx())
        };
        rows.await.map_err(|error| self.failed(error))
    }

    /// The source's rows in `buckets`, as they were read; one that a chunk had which was read again may come twice.
    pub(super) async fn read_again(
        self: &Arc<Self>,
        chunks: &Arc<Chunks>,
        buckets: &Buckets,
    ) -> Result<Spool, Error> {
        let state = self.state();
        let spool = SpoolWriter::new(state.runtime_env(), chunks.table.schema(), "compared rows");
        let spool = Arc::new(Mutex::new(spool));
        let read = chunks.ahead(0, None).map_ok(|ahead| {
            let (sides, chunks) = (Arc::clone(self), Arc::clone(chunks));
            let (spool, chosen) = (Arc::clone(&spool), Chosen::Buckets(buckets.clone()));
            in_task(async move { sides.read_chunk(&chunks, &ahead, &chosen, &spool).await })
        });
        let done = read.try_buffer_unordered(self.parallel);
        done.try_for_each(|()| std::future::ready(Ok(()))).await?;
        let spool = Arc::into_inner(spool).ok_or(Error::Internal("rows are still being read"))?;
        let spool = spool.into_inner().unwrap_or_else(PoisonError::into_inner);
        spool.finish().map_err(|error| self.failed(error))
    }

    async fn read_chunk(
        &self,
        chunks: &Chunks,
        ahead: &Ahead,
        chosen: &Chosen,
        spool: &Mutex<SpoolWriter>,
    ) -> Result<(), Error> {
        let mut tries = chunks.tries();
        loop {
            let read = async {
                let mut rows = chunks.table.rows(&ahead.range)?;
                while let Some(batch) = rows.next().await {
                    let batch = self.filtered(&batch?, chosen)?;
                    let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
                    spool.push(batch)?;
                }
                Ok::<_, DataFusionError>(())
            };
            match read.await {
                Ok(()) => return Ok(()),
                Err(error) => chunks.pause(&mut tries, self.failed(error)).await?,
            }
        }
    }

    fn filtered(&self, batch: &RecordBatch, chosen: &Chosen) -> DataFusionResult<RecordBatch> {
        let schema = batch.schema();
        let keys = self.keys.iter().map(|(_, other)| {
            let place = schema.index_of(other)?;
            Ok(Arc::clone(batch.column(place)))
        });
        let keys = keys.collect::<DataFusionResult<Vec<_>>>()?;
        Ok(filter_record_batch(batch, &chosen.of(&keys)?)?)
    }
}

/// The name of the n-th of the target's columns in a plan of either side.
pub(super) fn column(place: usize) -> String {
    format!("c{place}")
}

async fn in_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let task = SpawnedTask::spawn(work);
    task.join_unwind().await.map_err(|_| Error::Interrupted)?
}

/// The rows of a chunk, as a table.
#[derive(Debug)]
struct ChunkRows {
    chunks: Arc<Chunks>,
    range: KeyRange,
    schema: SchemaRef,
}

impl ChunkRows {
    fn table(chunks: Arc<Chunks>, range: KeyRange) -> DataFusionResult<Arc<dyn TableProvider>> {
        let schema = chunks.table.schema();
        let rows = Arc::new(Self {
            chunks,
            range,
            schema: Arc::clone(&schema),
        });
        Ok(Arc::new(StreamingTable::try_new(schema, vec![rows])?))
    }
}

impl PartitionStream for ChunkRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.chunks.table.rows(&self.range) {
            Ok(rows) => rows,
            Err(error) => {
                let error = stream::iter([Err(error.into())]);
                Box::pin(RecordBatchStreamAdapter::new(
                    Arc::clone(&self.schema),
                    error,
                ))
            }
        }
    }
}
