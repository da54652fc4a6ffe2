//! A copy of a whole table: in chunks that are kept until it is committed, so that it can go on after an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use super::chunks::{Ahead, Chunks};
use super::event::{Event, Reporter};
use super::flow::Flow;
use super::run::RunOptions;
use super::staged::{Found, chain};
use crate::change::{Checkpoint, Commit, Lsn, LsnRange};
use crate::error::Error;
use crate::sink::delta::{ChunkName, DeltaTarget, StagedChunk, Staging};
use crate::source::sqlserver::{Asked, CapturedColumn, KeyBound, KeyRange, TableChunks};

/// The version of the manifest that this program writes and reads.
const FORMAT: u32 = 1;

/// The rows of a table, at some time each past a commit.
pub(super) struct Copied {
    pub(super) rows: Arc<dyn TableProvider>,
    /// The commit past which they were read.
    pub(super) start: Lsn,
    /// Where they are kept.
    pub(super) staging: Staging,
}

/// Reads the rows of the flow's table beside `target`, or what an earlier run has not read of them. `newest` is the
/// newest commit of the source, `again` says that the target has rows already, and `over` where it stands.
pub(super) async fn copied(
    flow: &Arc<Flow>,
    target: &DeltaTarget,
    (newest, again, over): (Option<&Commit>, bool, Option<&Checkpoint>),
    options: RunOptions,
    reporter: &Reporter,
) -> Result<Copied, Error> {
    let staging = target.staging(&flow.name);
    let start = newest.map(|commit| commit.lsn).unwrap_or_default();
    let start = start.max(flow.table.earliest_after());
    let chunks = flow
        .database
        .table_chunks(&flow.table, &flow.columns, start, options.chunk_rows);
    let chunks = Arc::new(Chunks {
        flow: Arc::clone(flow),
        table: chunks.await?,
        reporter: reporter.clone(),
    });
    let begun = Begun {
        source: identity(flow, &chunks.table),
        over: over.map(|over| over.lsn),
        start,
        anchor: newest.cloned(),
    };
    let (start, found) = match left_behind(flow, &staging, &begun).await? {
        Some(left) => left,
        None => {
            staging.begin(begun.to_json().to_string()).await?;
            (start, Found::default())
        }
    };
    let rows: u64 = found.staged.iter().map(|chunk| chunk.rows).sum();
    let table = format!("{}.{}", flow.key.schema, flow.key.table);
    reporter.report(Event::SnapshotStarted {
        again,
        flow: flow.name.clone(),
        table,
        rows,
    });
    let copier = Arc::new(Copier {
        chunks: Arc::clone(&chunks),
        staging: staging.clone(),
        run: Uuid::new_v4(),
        rows: AtomicU64::new(rows),
    });
    let staged = copier.all(found, options.parallel.into()).await?;
    chunks
        .table
        .check_count(staged.iter().map(|chunk| chunk.rows).sum());
    Ok(Copied {
        rows: staging.table(staged, chunks.table.schema()),
        start,
        staging,
    })
}

/// How a copy was begun.
#[derive(Debug, PartialEq)]
struct Begun {
    /// What is copied, in what form.
    source: Value,
    /// Where the target stood: what is left behind by a copy that was committed is of no use any more.
    over: Option<Lsn>,
    /// The commit past which rows are read.
    start: Lsn,
    /// The newest commit then, by which the source's history is known again.
    anchor: Option<Commit>,
}

fn identity(flow: &Flow, chunks: &TableChunks) -> Value {
    let columns = chunks.schema();
    let columns = columns.fields().iter();
    let columns = columns.map(|field| {
        let mut captured = flow.table.columns().iter();
        let captured = captured.find(|column| column.name() == field.name());
        json!([field.name(), captured.map(CapturedColumn::type_name)])
    });
    json!({
        "database": flow.key.database,
        "table": [flow.key.schema, flow.key.table],
        "capture_instance": [flow.table.capture_instance(), flow.table.instance_id()],
        "columns": columns.collect::<Vec<_>>(),
        "chunks_by": chunks.key_names(),
    })
}

impl Begun {
    fn to_json(&self) -> Value {
        json!({
            "format": FORMAT,
            "source": self.source,
            "over": self.over.map(|over| over.to_hex()),
            "start": self.start.to_hex(),
            "anchor": self.anchor.as_ref().map(|anchor| json!({
                "lsn": anchor.lsn.to_hex(),
                "end_time_ms": anchor.end_time_ms,
                "tran_id": anchor.tran_id_hex(),
            })),
        })
    }
}

/// What an earlier run has left of the same copy, and the commit that it began at; `None` if there is nothing, or the
/// source does not have all changes since then any more.
async fn left_behind(
    flow: &Flow,
    staging: &Staging,
    begun: &Begun,
) -> Result<Option<(Lsn, Found)>, Error> {
    let Some(manifest) = staging.manifest().await? else {
        return Ok(None);
    };
    let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
    let expected = begun.to_json();
    let is_same = ["format", "source", "over"]
        .into_iter()
        .all(|part| manifest[part] == expected[part]);
    let lsn = |value: &Value| value.as_str().and_then(|text| text.parse::<Lsn>().ok());
    let (start, anchor) = (lsn(&manifest["start"]), lsn(&manifest["anchor"]["lsn"]));
    let (true, Some(start), Some(anchor), Some(newest)) = (is_same, start, anchor, &begun.anchor)
    else {
        return Ok(None);
    };
    let asked = [Asked {
        table: &flow.table,
        after: anchor,
    }];
    let mut news = flow.database.news(&asked, newest.lsn).await?;
    let Some(Ok(news)) = news.pop() else {
        return Ok(None);
    };
    let same_commit = news.anchor.as_ref().is_some_and(|commit| {
        manifest["anchor"]["end_time_ms"] == commit.end_time_ms
            && manifest["anchor"]["tran_id"] == commit.tran_id_hex()
    });
    let window = LsnRange::new(start, newest.lsn.max(start));
    let is_whole = window.is_some_and(|window| {
        // A new instance may begin past the newest commit.
        window.is_empty() || news.check(&flow.table, window).is_ok()
    });
    if !(same_commit && is_whole) {
        return Ok(None);
    }
    Ok(Some((start, chain(staging.chunks().await?))))
}

/// Reads chunks and stages them.
struct Copier {
    chunks: Arc<Chunks>,
    staging: Staging,
    run: Uuid,
    /// Rows that are staged, or on the way.
    rows: AtomicU64,
}

impl Copier {
    /// All chunks, of which `found` are there; so many are read at once.
    async fn all(
        self: &Arc<Self>,
        found: Found,
        parallel: usize,
    ) -> Result<Vec<StagedChunk>, Error> {
        self.report();
        let Found {
            mut staged,
            gaps,
            end,
        } = found;
        let gaps = gaps.into_iter().map(|gap| {
            Ok(Ahead {
                number: gap.number,
                range: KeyRange {
                    after: bound(gap.after.as_deref())?,
                    upto: bound(Some(&gap.upto))?,
                },
            })
        });
        let rest = match end {
            Some((number, after)) => self.chunks.ahead(number, bound(after.as_deref())?),
            None => stream::empty().boxed(),
        };
        let read = stream::iter(gaps)
            .chain(rest)
            .map_ok(|ahead| {
                let copier = Arc::clone(self);
                let task = SpawnedTask::spawn(async move { copier.chunk(ahead).await });
                async { task.join_unwind().await.map_err(|_| Error::Interrupted)? }
            })
            .try_buffer_unordered(parallel);
        let read: Vec<StagedChunk> = read.try_collect().await?;
        staged.extend(read);
        Ok(staged)
    }

    async fn chunk(&self, ahead: Ahead) -> Result<StagedChunk, Error> {
        let name = ChunkName {
            number: ahead.number,
            run: self.run,
            after: text(ahead.range.after.as_ref())?,
            upto: text(ahead.range.upto.as_ref())?,
        };
        let mut tries = self.chunks.tries();
        loop {
            let rows = self.chunks.table.rows(&ahead.range)?;
            let read = AtomicU64::new(0);
            let written = self.staging.write(name.clone(), rows, |batch| {
                let rows = batch.num_rows() as u64;
                read.fetch_add(rows, Ordering::Relaxed);
                self.rows.fetch_add(rows, Ordering::Relaxed);
                self.report();
            });
            match written.await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => {
                    self.rows.fetch_sub(read.into_inner(), Ordering::Relaxed);
                    self.chunks.pause(&mut tries, error.into()).await?;
                }
            }
        }
    }

    fn report(&self) {
        self.chunks.reporter.report(Event::SnapshotProgress {
            flow: self.chunks.flow.name.clone(),
            rows: self.rows.load(Ordering::Relaxed),
            estimated_rows: self.chunks.table.estimated_rows(),
        });
    }
}

fn bound(text: Option<&str>) -> Result<Option<KeyBound>, Error> {
    let damaged = Error::Internal("the end of a staged chunk cannot be read");
    match text {
        None => Ok(None),
        Some(text) => KeyBound::from_text(text).map(Some).ok_or(damaged),
    }
}

fn text(bound: Option<&KeyBound>) -> Result<Option<String>, Error> {
    let unwritable = Error::Internal("the end of a chunk cannot be written");
    match bound {
        None => Ok(None),
        Some(bound) => bound.to_text().map(Some).ok_or(unwritable),
    }
}
