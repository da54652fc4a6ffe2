//! A merge whose cost follows the rows that it touches, and not the table.
//!
//! 1. The source is read once, into memory or a temporary file (`spool`).
//! 2. Files that its keys rule out are left aside (`files`, `pruning`), and so are row groups and pages (`pages`).
//! 3. The keys of the others are joined with the source, and each match and each source row without one goes to its
//!    clause (`scan`, `matching`); of the target's other columns only those are read that a clause asks for, and only
//!    for the rows that match.
//! 4. The target's rows that change are noted as row numbers of their files (`touched`); what the clauses make of them
//!    is checked (`checks`) and kept.
//! 5. A file loses its rows by a deletion vector (`vectors`), or is written anew where it is small or mostly deleted
//!    (`settle`); new images and kept rows are written sorted by the keys (`images`).
//! 6. One commit takes out and adds, if the table is still at the version that was read; otherwise all but the reading
//!    of the source begins again.
//!
//! `rewrite` uses the same to write files anew with the rows they have.

mod checks;
mod files;
mod images;
mod matching;
mod pages;
mod pruning;
mod rewrite;
mod scan;
mod settle;
mod spool;
mod touched;
mod vectors;

pub(in super::super) use files::{DataFile, data_files, scalar_value};
pub(in super::super) use images::FILE_SIZE;
pub(crate) use matching::{joined_by_hash, joined_within_memory};
pub(in super::super) use rewrite::{Rewrite, Rewritten};
pub(in super::super) use settle::SMALL_FILE;
pub(crate) use spool::{Spool, SpoolWriter};
pub(in super::super) use vectors::vector_path;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use deltalake::DeltaTableError;
use deltalake::kernel::EagerSnapshot;
use futures::StreamExt;
use roaring::RoaringTreemap;

use self::checks::Checks;
use self::files::vectors_of;
use self::images::change_schema;
use self::matching::{Join, Matching, effects, live_rows, without_bounds};
use self::pruning::SourceKeys;
use self::scan::FileTable;
use self::touched::Touched;
use super::super::{CommitOutcome, DeltaTarget, SinkError, SinkErrorKind};
use super::clauses::{Clause, MergeClauses, RowChange, names_target};
use super::plan::WriteTask;
use super::source::rename;
use super::strategy::Strategy;

/// How often a merge is planned again because another writer committed first.
const TRIES: usize = 10;

/// Merges `source` into the newest version of the task's target.
///
/// # Errors
///
/// A conflict, where other writers were faster [`TRIES`] times; the table is as it was.
pub(super) async fn merge(
    task: &WriteTask,
    merge: &MergeClauses,
    source: Arc<dyn ExecutionPlan>,
) -> Result<CommitOutcome> {
    let source = read_source(task, merge, source).await?;
    let write = Write {
        task,
        clauses: &merge.clauses,
        keys: merge.key_columns(),
        rows: Rows::Merge { merge, source },
    };
    write.run().await
}

/// Changes the rows of the task's target as `change` says.
pub(super) async fn change(task: &WriteTask, change: &RowChange) -> Result<CommitOutcome> {
    let write = Write {
        task,
        clauses: std::slice::from_ref(&change.clause),
        keys: Vec::new(),
        rows: Rows::Of {
            filter: change.filter.as_ref(),
        },
    };
    write.run().await
}

async fn read_source(
    task: &WriteTask,
    merge: &MergeClauses,
    source: Arc<dyn ExecutionPlan>,
) -> Result<Spool> {
    let schema = Arc::clone(&merge.source_schema);
    let mut spool = SpoolWriter::new(task.state.runtime_env(), schema, "source of a merge");
    let mut rows = execute_stream(source, task.state.task_ctx())?;
    while let Some(batch) = rows.next().await {
        spool.push(rename(&merge.source_schema, &batch?)?)?;
    }
    spool.finish()
}

/// A write, from whatever version it begins.
struct Write<'a> {
    task: &'a WriteTask,
    clauses: &'a [Clause],
    /// The target's columns that name a row.
    keys: Vec<String>,
    rows: Rows<'a>,
}

/// Where the rows for the clauses come from.
enum Rows<'a> {
    /// The source and its matches.
    Merge {
        merge: &'a MergeClauses,
        source: Spool,
    },
    /// The target's own rows, as far as a condition holds for them.
    Of { filter: Option<&'a Expr> },
}

impl Rows<'_> {
    /// How many rows there are for the clauses, by and large.
    fn expected(&self) -> usize {
        match self {
            Self::Merge { source, .. } => source.rows(),
            Self::Of { .. } => 0,
        }
    }
}

/// What a write found in one version of the table.
struct Found {
    touched: Touched,
    /// The rows that are new.
    images: Spool,
    /// The rows of the change feed, where there is one.
    changes: Option<Spool>,
}

impl Write<'_> {
    async fn run(&self) -> Result<CommitOutcome> {
        let mut tries = 0;
        loop {
            tries += 1;
            let target = self.task.current_target().await?;
            let error = match self.attempt(&target).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            // The commit may be there although the storage said otherwise.
            if let Some(outcome) = target.recorded_outcome(self.task.name).await {
                return Ok(outcome);
            }
            if tries == TRIES || !is_conflict(&error) {
                return Err(error);
            }
            tracing::debug!(
                tries,
                "another writer committed first, the merge is planned again"
            );
        }
    }

    async fn attempt(&self, target: &DeltaTarget) -> Result<CommitOutcome> {
        let Some(snapshot) = target.snapshot() else {
            return Ok(CommitOutcome::Nothing);
        };
        if let Strategy::FullJoin(reason) = Strategy::by_table(snapshot, &self.task.options) {
            return Err(SinkError::Conflict {
                location: target.location().to_string(),
                change: reason.to_string(),
                source: None,
            }
            .into());
        }
        let keys = self.source_keys(snapshot)?;
        let mut version = Version {
            target,
            snapshot,
            files: self.candidates(snapshot, keys.as_ref())?,
            keys: keys.map(Arc::new),
        };
        let deleted = Arc::new(vectors_of(&target.table().log_store(), &version.files).await?);
        let vectors = MemoryConsumer::new("deletion vectors of a merge");
        let vectors = vectors.register(&self.task.state.runtime_env().memory_pool);
        vectors.try_grow(deleted.values().map(RoaringTreemap::serialized_size).sum())?;
        let found = match self.find(&version, &deleted, self.join()).await {
            Err(error) if self.join() == Join::Hash && is_exhausted(&error) => {
                version.keys = None;
                self.find(&version, &deleted, Join::SortMerge).await
            }
            found => found,
        };
        let found = found.map_err(|error| explained(target, error))?;
        let settled = self.settle(&version, &deleted, found).await;
        settled.map_err(|error| explained(target, error))
    }

    /// The source's keys, where all of the source is in memory.
    fn source_keys(&self, snapshot: &EagerSnapshot) -> Result<Option<SourceKeys>> {
        let Rows::Merge { merge, source } = &self.rows else {
            return Ok(None);
        };
        let Some(rows) = source.in_memory().filter(|rows| !rows.is_empty()) else {
            return Ok(None);
        };
        let partition = snapshot.metadata().partition_columns();
        let pool = &self.task.state.runtime_env().memory_pool;
        SourceKeys::collect(merge, rows, &self.task.schema, partition, pool).map(Some)
    }

    /// The files that may hold a row that changes.
    fn candidates(
        &self,
        snapshot: &EagerSnapshot,
        keys: Option<&SourceKeys>,
    ) -> Result<Vec<DataFile>> {
        if matches!(&self.rows, Rows::Merge { source, .. } if source.rows() == 0) {
            return Ok(Vec::new());
        }
        let files = data_files(snapshot, &self.task.schema)?;
        let Some(keys) = keys else {
            return Ok(files);
        };
        let mut kept = Vec::new();
        for file in files {
            if keys.may_match(&file)? {
                kept.push(file);
            }
        }
        Ok(kept)
    }

    fn join(&self) -> Join {
        match &self.rows {
            Rows::Merge { source, .. } if source.in_memory().is_none() => Join::SortMerge,
            _ => Join::Hash,
        }
    }

    fn compares_fractions(&self) -> bool {
        let condition = match &self.rows {
            Rows::Merge { merge, .. } => Some(&merge.on),
            Rows::Of { filter } => *filter,
        };
        condition.is_some_and(|condition| {
            names_target(condition, &self.task.schema, DataType::is_floating)
        })
    }

    /// Finds the rows that change, and makes their new images.
    async fn find(
        &self,
        version: &Version<'_>,
        deleted: &Arc<HashMap<i32, RoaringTreemap>>,
        join: Join,
    ) -> Result<Found> {
        let task = self.task;
        let mut state = join.session(&task.state);
        if self.compares_fractions() {
            state = without_bounds(&state);
        }
        let schema = nullable(&task.schema);
        let feed = version.wants_changes().then(|| change_schema(&task.schema));
        let plan = self.matching_plan(version, deleted, feed.is_some())?;
        let location = version.target.location();
        let checks = Checks::try_new(location, version.snapshot, &task.schema, &state)?;
        let pool = &task.state.runtime_env().memory_pool;
        let mut touched = Touched::new(effects(self.clauses), self.keys.clone(), location, pool);
        touched.reserve(self.rows.expected())?;
        let runtime = task.state.runtime_env();
        let mut images = SpoolWriter::new(runtime, Arc::clone(&task.schema), "rows of a merge");
        let mut changes = feed
            .as_ref()
            .map(|feed| SpoolWriter::new(runtime, Arc::clone(feed), "changes of a merge"));
        let keys = self.keys.len();
        let mut rows = run(&state, &plan).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let taken = touched.take(&batch)?;
            let made = taken.images(&batch, keys, &schema)?;
            checks.verify(&made)?;
            let columns = made.columns().to_vec();
            images.push(RecordBatch::try_new(Arc::clone(&task.schema), columns)?)?;
            if let (Some(changes), Some(feed)) = (&mut changes, &feed) {
                for rows in taken.changes(&batch, keys, feed)? {
                    changes.push(rows)?;
                }
            }
        }
        Ok(Found {
            touched,
            images: images.finish()?,
            changes: changes.map(SpoolWriter::finish).transpose()?,
        })
    }

    fn matching_plan(
        &self,
        version: &Version<'_>,
        deleted: &Arc<HashMap<i32, RoaringTreemap>>,
        images_before: bool,
    ) -> Result<LogicalPlan> {
        let files = (0..).zip(version.files.iter().cloned()).collect();
        let table = version.table(files, &self.task.schema, &self.task.state)?;
        let table = table.with_keys(version.keys.clone());
        let target = live_rows(Arc::new(table), Arc::clone(deleted))?;
        let matching = Matching {
            clauses: self.clauses,
            keys: &self.keys,
            schema: &self.task.schema,
            images_before,
        };
        match &self.rows {
            Rows::Merge { merge, source } => matching.merge(merge, source.table()?, target),
            Rows::Of { filter: None } => matching.change(target),
            Rows::Of {
                filter: Some(filter),
            } => matching.change(target.filter((*filter).clone())?),
        }
    }
}

/// A version of the table and the files of it that matter.
struct Version<'a> {
    target: &'a DeltaTarget,
    snapshot: &'a EagerSnapshot,
    /// A file's number is its place here.
    files: Vec<DataFile>,
    /// What the rows that matter have.
    keys: Option<Arc<SourceKeys>>,
}

impl Version<'_> {
    fn wants_changes(&self) -> bool {
        self.snapshot.table_properties().enable_change_data_feed == Some(true)
    }

    /// Some of its files as a table of the columns of `schema`, for the sessions like `state`.
    fn table(
        &self,
        files: Vec<(i32, DataFile)>,
        schema: &Schema,
        state: &SessionState,
    ) -> Result<FileTable> {
        let log_store = self.target.table().log_store();
        let store = log_store.object_store_url();
        let runtime = state.runtime_env();
        runtime.register_object_store(store.as_ref(), log_store.object_store(None));
        let partition = self.snapshot.metadata().partition_columns();
        Ok(FileTable::new(store, files, schema, partition))
    }
}

async fn run(state: &SessionState, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
    let plan = state.create_physical_plan(plan).await?;
    execute_stream(plan, state.task_ctx())
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(in super::super) fn is_conflict(error: &DataFusionError) -> bool {
    sink_error(error).is_some_and(|error| error.kind() == SinkErrorKind::Conflict)
}

fn sink_error(error: &DataFusionError) -> Option<&SinkError> {
    match error.find_root() {
        DataFusionError::External(error) => error.downcast_ref(),
        _ => None,
    }
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The error of a plan over the target's files, with the table's name where it is the table's.
fn explained(target: &DeltaTarget, error: DataFusionError) -> DataFusionError {
    let location = target.location();
    let cause = match error.find_root() {
        DataFusionError::ArrowError(..) => DeltaTableError::Arrow {
            source: match error {
                DataFusionError::ArrowError(error, _) => *error,
                error => datafusion::arrow::error::ArrowError::ExternalError(Box::new(error)),
            },
        },
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) => {
            return SinkError::from_delta(
                location,
                "read or write",
                DeltaTableError::GenericError {
                    source: Box::new(error),
                },
            )
            .into();
        }
        _ => return error,
    };
    SinkError::from_delta(location, "write", cause).into()
}
