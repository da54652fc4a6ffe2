//! Tests through SQL, over tables in temporary folders.

mod adopted;
mod change_feed;
mod checkpoints;
mod conflicts;
mod contract;
mod failures;
mod first_write;
mod maintenance;
mod memory;
mod merging;
mod partitions;
mod races;
mod random;
mod readers;
mod reading;
mod statements;
mod statistics;
mod stores;
mod types;
mod vectors;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use tempfile::TempDir;

use super::{CommitOutcome, DeltaTableProvider, DeltaTarget, FlowCommit, SinkError};
use crate::change::{Checkpoint, FlowKey, Lsn};

/// The everyday statement of a flow.
const MIRROR: &str = "MERGE INTO customers AS target USING src AS change \
     ON target.customer_id = change.customer_id \
     WHEN MATCHED AND change._change_type = 'delete' THEN DELETE \
     WHEN MATCHED THEN UPDATE SET name = change.name, city = change.city \
     WHEN NOT MATCHED AND change._change_type <> 'delete' THEN \
     INSERT (customer_id, name, city) VALUES (change.customer_id, change.name, change.city)";

/// A folder with the table `customers`, which may not exist yet.
struct Lake {
    folder: TempDir,
}

impl Lake {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("lake").join("customers")
    }

    async fn target(&self) -> DeltaTarget {
        let path = self.path();
        DeltaTarget::open(path.to_str().unwrap(), HashMap::new())
            .await
            .unwrap()
    }

    async fn provider(&self) -> DeltaTableProvider {
        DeltaTableProvider::try_new(self.target().await, Some(customers()))
            .await
            .unwrap()
    }

    /// Runs `sql` with `customers` and `src` in scope, for a flow if `commit` is given.
    async fn write(
        &self,
        sql: &str,
        source: Arc<dyn TableProvider>,
        commit: Option<FlowCommit>,
    ) -> Result<CommitOutcome> {
        let mut provider = self.provider().await;
        if let Some(commit) = commit {
            provider = provider.with_commit(commit);
        }
        write_to(Arc::new(provider), sql, source).await
    }

    /// The mirror statement over one window.
    async fn apply(&self, changes: &[Change<'_>], commit: FlowCommit) -> CommitOutcome {
        let source = Source::of(changes).table();
        self.write(MIRROR, source, Some(commit)).await.unwrap()
    }

    /// The table's rows in the order of their key, as text.
    async fn rows(&self) -> String {
        let ctx = SessionContext::new();
        ctx.register_table("customers", Arc::new(self.provider().await))
            .unwrap();
        query(&ctx, "SELECT * FROM customers ORDER BY 1").await
    }

    fn data_files(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(self.path()) else {
            return 0;
        };
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().ends_with(".parquet"))
            .count()
    }
}

async fn write_to(
    provider: Arc<DeltaTableProvider>,
    sql: &str,
    source: Arc<dyn TableProvider>,
) -> Result<CommitOutcome> {
    let ctx = SessionContext::new();
    ctx.register_table("customers", Arc::clone(&provider) as _)?;
    ctx.register_table("src", source)?;
    let counts = ctx.sql(sql).await?.collect().await?;
    let outcome = provider.outcome().unwrap();
    let count = pretty_format_batches(&counts)?.to_string();
    assert!(
        count.contains(&outcome.rows().total().to_string()),
        "{count}"
    );
    Ok(outcome)
}

async fn query(ctx: &SessionContext, sql: &str) -> String {
    let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| !line.starts_with('+')).skip(1);
    let rows = lines.map(|line| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join(",")
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn customers() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("customer_id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("city", DataType::Utf8, true),
    ]))
}

type Change<'a> = (i32, Option<&'a str>, Option<&'a str>, &'a str);

/// A source that counts how often it is read.
#[derive(Debug)]
struct Source {
    batches: Vec<RecordBatch>,
    schema: SchemaRef,
    reads: Arc<AtomicUsize>,
    failure: Option<&'static str>,
}

impl Source {
    fn of(changes: &[Change<'_>]) -> Self {
        let ids = Int32Array::from_iter_values(changes.iter().map(|change| change.0));
        let names = StringArray::from_iter(changes.iter().map(|change| change.1));
        let cities = StringArray::from_iter(changes.iter().map(|change| change.2));
        let kinds = StringArray::from_iter_values(changes.iter().map(|change| change.3));
        let mut fields: Vec<Field> = customers()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields.push(Field::new("_change_type", DataType::Utf8, false));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            Arc::new(names),
            Arc::new(cities),
            Arc::new(kinds),
        ];
        Self::batch(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
    }

    fn batch(batch: RecordBatch) -> Self {
        Self {
            schema: batch.schema(),
            batches: vec![batch],
            reads: Arc::default(),
            failure: None,
        }
    }

    fn failing(mut self, message: &'static str) -> Self {
        self.failure = Some(message);
        self
    }

    fn reads(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.reads)
    }

    fn table(self) -> Arc<dyn TableProvider> {
        let schema = Arc::clone(&self.schema);
        Arc::new(StreamingTable::try_new(schema, vec![Arc::new(self)]).unwrap())
    }
}

/// An error that only this source knows.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SourceFailed(&'static str);

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut items: Vec<Result<RecordBatch>> = self.batches.iter().cloned().map(Ok).collect();
        if let Some(message) = self.failure {
            let error = DataFusionError::External(Box::new(SourceFailed(message)));
            items.push(Err(error));
        }
        let stream = futures::stream::iter(items);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
    }
}

fn key() -> FlowKey {
    FlowKey {
        flow: "customers".to_string(),
        database: "app_db".to_string(),
        schema: "dbo".to_string(),
        table: "customers".to_string(),
    }
}

/// A checkpoint at LSN `vlf:0:3` with the top bit set, so that its first half is negative.
fn at(vlf: u32) -> Checkpoint {
    let lsn: Lsn = format!("{:08x}:00000000:0003", 0xf000_0000 + vlf)
        .parse()
        .unwrap();
    Checkpoint {
        lsn,
        end_time_ms: 1_704_067_200_000 + i64::from(vlf),
        tran_id: Some(format!("{vlf:016x}")),
    }
}

fn first(upto: u32) -> FlowCommit {
    FlowCommit {
        key: key(),
        expected: None,
        upto: at(upto),
        gap: None,
        source_key: vec!["id".to_string()],
    }
}

fn window(after: u32, upto: u32) -> FlowCommit {
    FlowCommit {
        key: key(),
        expected: Some(at(after)),
        upto: at(upto),
        gap: None,
        source_key: vec!["id".to_string()],
    }
}

/// The sink's error inside a plan's.
fn sink_error(error: &DataFusionError) -> &SinkError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<SinkError>() {
            return error;
        }
        if let Some(error) = error.downcast_ref::<Box<SinkError>>() {
            return error;
        }
        cause = error.source();
    }
    panic!("not a sink's error: {error:?}");
}
