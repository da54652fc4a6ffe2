//! A copy of a whole table: in chunks that are kept until it is committed, so that it can go on after an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use uuid::Uuid;

use super::adopt::adopted_by;
use super::begun::{Begun, form, identity, left_behind};
use super::changed::Changed;
use super::chunks::{Ahead, Chunks};
use super::event::{CopyKind, Event, Reporter};
use super::flow::Flow;
use super::keyed::rows_by_keys;
use super::part::{Part, rows_outside};
use super::reconcile::Keys;
use super::run::RunOptions;
use super::staged::Found;
use crate::change::{Checkpoint, Commit, Lsn};
use crate::engine::Engine;
use crate::error::Error;
use crate::sink::delta::{ChunkName, DeltaTableProvider, DeltaTarget, StagedChunk, Staging};
use crate::source::sqlserver::{KeyBound, KeyRange};

/// The rows of a table, at some time each past a commit.
pub(super) struct Copied {
    pub(super) chunks: Vec<StagedChunk>,
    /// The columns of the rows.
    pub(super) schema: SchemaRef,
    /// The commit past which they were read.
    pub(super) start: Lsn,
    /// Where they are kept.
    pub(super) staging: Staging,
    /// Whether the target may take them as they are.
    pub(super) is_adoptable: bool,
}

/// What a copy goes over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    /// The newest commit of the source.
    pub(super) newest: Option<&'a Commit>,
    /// Where the target stands.
    pub(super) over: Option<&'a Checkpoint>,
    /// Whether changes since then are lost.
    pub(super) has_gap: bool,
    /// The keys of a target that has rows already.
    pub(super) keys: Option<&'a Keys>,
    /// The rows that are copied.
    pub(super) extent: Extent<'a>,
}

/// Which rows of a table are copied.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// All.
    Whole,
    /// Those for which a condition holds.
    Part(&'a Part),
    /// Those that changed while columns were not captured.
    Changed(&'a Changed),
}

impl<'a> Extent<'a> {
    fn part(self) -> Option<&'a Part> {
        match self {
            Self::Part(part) => Some(part),
            Self::Whole | Self::Changed(_) => None,
        }
    }

    /// What the rows are known by; NULL for all.
    pub(super) fn identity(self) -> Value {
        match self {
            Self::Whole => Value::Null,
            Self::Part(part) => Value::from(part.text.as_str()),
            Self::Changed(changed) => changed.identity(),
        }
    }

    /// The kind of the copy, which goes over rows of the target or not.
    pub(super) fn kind(self, is_over: bool) -> CopyKind {
        match (self, is_over) {
            (Self::Changed(_), _) => CopyKind::ChangedRows,
            (_, true) => CopyKind::Anew,
            (_, false) => CopyKind::First,
        }
    }
}

/// Reads the rows of the flow's table beside `target`, or what an earlier run has not read of them.
///
/// The rows of a part, and changed rows, go with all changes since the target's checkpoint, those of a whole table with the changes since they
/// were read.
pub(super) async fn copied(
    engine: &Engine,
    (flow, target): (&Arc<Flow>, &DeltaTarget),
    standing: Standing<'_>,
    options: RunOptions,
    reporter: &Reporter,
) -> Result<Copied, Error> {
    let Standing {
        newest,
        over,
        keys,
        extent,
        ..
    } = standing;
    let staging = target.staging(&flow.name);
    let (start, read_past) = beginning(flow, standing);
    let chunks = chunks_of((engine, flow), extent, read_past, (options, reporter)).await?;
    let adopted = adopted_by(flow, target, standing, &chunks.table.schema());
    let begun = Begun {
        copy: Uuid::new_v4(),
        adopted_by: form(adopted.as_ref()),
        source: identity(flow, &chunks.table, extent),
        over: over.map(|over| over.lsn),
        start,
        anchor: newest.cloned(),
    };
    let is_adoptable = adopted.is_some();
    let staging = staging.adopted_by(adopted);
    let left = left_behind(flow, &staging, &begun).await?;
    let (copy, start, found) = match left {
        Some(left) => left,
        None => {
            staging.begin(begun.to_json().to_string()).await?;
            (begun.copy, start, Found::default())
        }
    };
    let rows: u64 = found.staged.iter().map(|chunk| chunk.rows).sum();
    let table = format!("{}.{}", flow.key.schema, flow.key.table);
    reporter.report(Event::SnapshotStarted {
        kind: extent.kind(keys.is_some()),
        flow: flow.name.clone(),
        table,
        rows,
    });
    let copier = Arc::new(Copier {
        chunks: Arc::clone(&chunks),
        staging: staging.clone(),
        copy,
        run: Uuid::new_v4(),
        rows: AtomicU64::new(rows),
        estimated_rows: match extent {
            Extent::Changed(_) => None,
            Extent::Whole | Extent::Part(_) => chunks.table.estimated_rows(),
        },
    });
    let staged = match (extent, keys) {
        (Extent::Changed(changed), _) => copier.changed(engine, changed, found).await?,
        (Extent::Part(part), Some(keys)) => {
            let mut staged = copier.all(found, options.parallel.into()).await?;
            let rows = copier.outside(engine, (part, keys), target, &staged);
            staged.push(rows.await?);
            staged
        }
        (Extent::Part(_), None) | (Extent::Whole, _) => {
            let staged = copier.all(found, options.parallel.into()).await?;
            let rows = staged.iter().map(|chunk| chunk.rows).sum();
            chunks.table.check_count(rows);
            staged
        }
    };
    Ok(Copied {
        chunks: staged,
        schema: chunks.table.schema(),
        start,
        staging,
        is_adoptable,
    })
}

/// The commit past which changes go with the rows of a copy, and the one past which these are read.
fn beginning(flow: &Flow, standing: Standing<'_>) -> (Lsn, Lsn) {
    let earliest = flow.table.earliest_after();
    let newest = standing.newest.map(|commit| commit.lsn);
    let read_past = newest.unwrap_or_default().max(earliest);
    match (standing.extent, standing.over) {
        (Extent::Part(_) | Extent::Changed(_), Some(over)) => (over.lsn, read_past.max(over.lsn)),
        // What came since then has made versions too.
        (Extent::Whole, Some(over)) if flow.history.is_some() && !standing.has_gap => {
            let start = over.lsn.max(earliest);
            (start, read_past.max(start))
        }
        _ => (read_past, read_past),
    }
}

/// The chunks of the flow's table, or of some of its rows, as a server reads them that has captured `floor`.
async fn chunks_of(
    (engine, flow): (&Engine, &Arc<Flow>),
    extent: Extent<'_>,
    floor: Lsn,
    (options, reporter): (RunOptions, &Reporter),
) -> Result<Arc<Chunks>, Error> {
    let mut columns = flow.columns.clone();
    columns.extend(extent.part().into_iter().flat_map(|part| &part.columns));
    let chunks = flow
        .database
        .table_chunks(&flow.table, &columns, floor, options.chunk_rows);
    let chunks = chunks.await?;
    let (chunks, filter) = match extent {
        Extent::Whole => (chunks, None),
        Extent::Part(part) => {
            let (only, rest) = part.chunks(engine, flow, chunks).await?;
            (only, Some(rest))
        }
        Extent::Changed(changed) => {
            changed.check(flow, &chunks)?;
            (chunks.comparable(&flow.table).await?, None)
        }
    };
    Ok(Arc::new(Chunks {
        flow: Arc::clone(flow),
        table: Arc::new(chunks),
        filter,
        reporter: reporter.clone(),
    }))
}

/// The rows of a chunk that has no ends.
enum Alone<'a> {
    /// Those that the target has in a part, a copy of it lacks, and the source has.
    Outside {
        keys: &'a Keys,
        held: Arc<dyn TableProvider>,
        copied: Arc<dyn TableProvider>,
    },
    /// Those of changed keys.
    Changed(&'a Changed),
}

impl Alone<'_> {
    async fn read(
        &self,
        engine: &Engine,
        chunks: &Chunks,
    ) -> Result<SendableRecordBatchStream, Error> {
        let table = Arc::clone(&chunks.table);
        match self {
            Self::Outside { keys, held, copied } => {
                let sides = (Arc::clone(held), Arc::clone(copied));
                rows_outside(engine, (table, keys), sides).await
            }
            Self::Changed(changed) => {
                rows_by_keys(engine, table, changed.keys(&chunks.flow)?).await
            }
        }
    }
}

/// Reads chunks and stages them.
struct Copier {
    chunks: Arc<Chunks>,
    staging: Staging,
    copy: Uuid,
    run: Uuid,
    /// Rows that are staged, or on the way.
    rows: AtomicU64,
    /// How many there are to be, about.
    estimated_rows: Option<u64>,
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
                async move { copier.chunk(ahead).await }
            })
            .try_buffer_unordered(parallel);
        let read: Vec<StagedChunk> = read.try_collect().await?;
        staged.extend(read);
        Ok(staged)
    }

    async fn chunk(self: &Arc<Self>, ahead: Ahead) -> Result<StagedChunk, Error> {
        let name = ChunkName {
            copy: self.copy,
            number: ahead.number,
            run: self.run,
            after: text(ahead.range.after.as_ref())?,
            upto: text(ahead.range.upto.as_ref())?,
        };
        let mut tries = self.chunks.tries();
        loop {
            let rows = self.chunks.rows(&ahead.range)?;
            match self.written(&name, rows).await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => self.chunks.pause(&mut tries, error).await?,
            }
        }
    }

    /// What the target has in a part, `staged` lacks, and the source has all the same.
    async fn outside(
        self: &Arc<Self>,
        engine: &Engine,
        (part, keys): (&Part, &Keys),
        target: &DeltaTarget,
        staged: &[StagedChunk],
    ) -> Result<StagedChunk, Error> {
        let held = DeltaTableProvider::try_new(target.clone(), None).await?;
        let held: Arc<dyn TableProvider> = Arc::new(held);
        let held = part.of(&held)?;
        let schema = self.chunks.table.schema();
        let copied = self.staging.table(staged.to_vec(), schema);
        let last = staged.iter().map(|chunk| chunk.name.number).max();
        // No chunk follows it: a copy that goes on reads these rows anew.
        let number = last.map_or(0, |last| last + 1);
        self.alone(engine, number, &Alone::Outside { keys, held, copied })
            .await
    }

    /// The rows of keys that changed, unless they were `found`.
    async fn changed(
        self: &Arc<Self>,
        engine: &Engine,
        changed: &Changed,
        found: Found,
    ) -> Result<Vec<StagedChunk>, Error> {
        if found.end.is_none() {
            return Ok(found.staged);
        }
        let chunk = self.alone(engine, 0, &Alone::Changed(changed)).await;
        let explained = |error| changed.explained(&self.chunks.flow, error);
        Ok(vec![chunk.map_err(explained)?])
    }

    /// A chunk that has no ends: its rows are asked for again where reading them fails.
    async fn alone(
        self: &Arc<Self>,
        engine: &Engine,
        number: u32,
        rows: &Alone<'_>,
    ) -> Result<StagedChunk, Error> {
        let name = ChunkName {
            copy: self.copy,
            number,
            run: self.run,
            after: None,
            upto: None,
        };
        let mut tries = self.chunks.tries();
        loop {
            let rows = rows.read(engine, &self.chunks).await?;
            match self.written(&name, rows).await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => self.chunks.pause(&mut tries, error).await?,
            }
        }
    }

    /// Stages a chunk, as a task of its own: encoding keeps a processor busy.
    async fn written(
        self: &Arc<Self>,
        name: &ChunkName,
        rows: SendableRecordBatchStream,
    ) -> Result<StagedChunk, Error> {
        let (copier, name) = (Arc::clone(self), name.clone());
        let task = SpawnedTask::spawn(async move { copier.stage(name, rows).await });
        task.join_unwind().await.map_err(|_| Error::Interrupted)?
    }

    async fn stage(
        &self,
        name: ChunkName,
        rows: SendableRecordBatchStream,
    ) -> Result<StagedChunk, Error> {
        let read = AtomicU64::new(0);
        let written = self.staging.write(name, rows, |batch| {
            let rows = batch.num_rows() as u64;
            read.fetch_add(rows, Ordering::Relaxed);
            self.rows.fetch_add(rows, Ordering::Relaxed);
            self.report();
        });
        written.await.map_err(|error| {
            self.rows.fetch_sub(read.into_inner(), Ordering::Relaxed);
            error.into()
        })
    }

    fn report(&self) {
        self.chunks.reporter.report(Event::SnapshotProgress {
            flow: self.chunks.flow.name.clone(),
            rows: self.rows.load(Ordering::Relaxed),
            estimated_rows: self.estimated_rows,
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
