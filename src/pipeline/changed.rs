//! The rows that changed while the capture instance that was read lacked columns which the target has got since.
//!
//! With `'cdcql.backfillColumns' = 'false'` a target that gets columns is not copied again: its rows have NULL there until
//! they change. Changes that the older capture instance told of have gone by, and did not have the columns. The rows of
//! their keys are read from the source, and go over the target like a part of the table that is copied again: with all
//! changes since the target's checkpoint, which the newer instance has, in one commit at a fence.
//!
//! What is looked for are the keys of all changes in `(the ALTER, the target's checkpoint]` that the older instance has, and of
//! those that the newer one has up to there: a window that is read by the older one may end past the newer one's start,
//! and an update of nothing but a new column is told by the newer one alone. Before that start nothing tells of it.
//!
//! The ALTER is the one that added the first of the columns, by `cdc.ddl_history`. Where that does not tell it, as of a
//! column that was there before the instance and was not captured, it is all changes since the flow's first commit, by
//! the target's log. Where neither is known, or the older instance does not have the changes any more, nothing is done.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use serde_json::{Value, json};

use super::columns::lost_columns;
use super::flow::Flow;
use super::schema::find;
use crate::change::{Checkpoint, Lsn, LsnRange};
use crate::error::Error;
use crate::sink::delta::DeltaTarget;
use crate::source::sqlserver::{CapturedTable, ErrorKind, SourceError, TableChunks};

/// How many versions of a target are looked at for the flow's first commit.
const MOST_VERSIONS: usize = 1000;

/// The changes that a target has without the columns that it has got.
#[derive(Debug)]
pub(super) struct Changed {
    /// The columns, as far as they are known.
    columns: Vec<String>,
    /// The table as the older instance sees it, by the key of the one that is read now.
    instance: CapturedTable,
    /// From the ALTER to the target's checkpoint.
    window: LsnRange,
    /// What of this the instance has that is read now.
    newer: LsnRange,
}

impl Changed {
    /// What `target`, which stands at `checkpoint`, has of changes that lack the columns which it has got or is to get.
    ///
    /// # Errors
    /// `ChangedRowsUnknown` where that cannot be told, or cannot be read any more.
    pub(super) async fn of(
        flow: &Flow,
        target: &DeltaTarget,
        checkpoint: &Checkpoint,
    ) -> Result<Self, Error> {
        let database = &flow.database;
        let older = database.older_instance(&flow.table).await?;
        let columns = lacking(flow, older.as_ref());
        let recorder = older.as_ref().unwrap_or(&flow.table);
        let Some(instance) = recorder.keyed_as(&flow.table) else {
            let name = recorder.capture_instance();
            let reason = format!("capture instance {name} does not record the key");
            return Err(unknown(flow, &columns, reason));
        };
        let after = match (&older, columns.is_empty()) {
            // What the older instance has, it told.
            (Some(_), true) => checkpoint.lsn,
            (older, _) => start(flow, target, older.as_ref(), &columns).await?,
        };
        let at = checkpoint.lsn;
        let upto_there = |after: Lsn| LsnRange::new(after.min(at), at).unwrap_or_default();
        Ok(Self {
            window: upto_there(after),
            newer: upto_there(flow.table.earliest_after().max(after)),
            columns,
            instance,
        })
    }

    /// The capture instance whose changes they are.
    pub(super) fn instance(&self) -> &CapturedTable {
        &self.instance
    }

    /// From the ALTER to the target's checkpoint.
    pub(super) fn window(&self) -> LsnRange {
        self.window
    }

    /// What a copy of these rows is known by.
    pub(super) fn identity(&self) -> Value {
        json!({
            "changes_of": [self.instance.capture_instance(), self.instance.instance_id()],
            "after": self.window.after().to_hex(),
        })
    }

    /// The keys, each once, under the names of the capture instance that is read now, and these names.
    pub(super) fn keys(&self, flow: &Flow) -> Result<(Arc<[String]>, LogicalPlan), Error> {
        const KEYS: &str = "keys";
        let names: Arc<[String]> = flow.table.key_names().into_iter().map(Into::into).collect();
        let keys = |instance: &CapturedTable, window: LsnRange| -> Result<_, Error> {
            let keys = flow.database.changed_keys(instance, window)?;
            let own = instance.key_names().into_iter().zip(names.iter());
            let row = own.map(|(own, name)| {
                let column = Column::new(Some(KEYS), own);
                Expr::Column(column).alias(name)
            });
            let plan = LogicalPlanBuilder::scan(KEYS, provider_as_source(keys), None)?;
            Ok(plan.project(row.collect::<Vec<_>>())?)
        };
        let mut plan = keys(&self.instance, self.window)?;
        if !self.newer.is_empty() && self.instance.instance_id() != flow.table.instance_id() {
            plan = plan.union(keys(&flow.table, self.newer)?.build()?)?;
        }
        Ok((Arc::clone(&names), plan.distinct()?.build()?))
    }

    /// As [`Changed::check`], before anything is read from a server that has captured `floor`.
    pub(super) async fn check_chunks(&self, flow: &Flow, floor: Lsn) -> Result<(), Error> {
        let (database, columns) = (&flow.database, &flow.columns);
        let chunks = database.table_chunks(&flow.table, columns, floor, None);
        self.check(flow, &chunks.await?)
    }

    /// Refuses to look for rows in a table that may have others than it shows.
    pub(super) fn check(&self, flow: &Flow, chunks: &TableChunks) -> Result<(), Error> {
        match chunks.may_miss() {
            Some(reason) => Err(unknown(flow, &self.columns, reason.to_string())),
            None => Ok(()),
        }
    }

    /// `error`, as which reading the rows has ended.
    pub(super) fn explained(&self, flow: &Flow, error: Error) -> Error {
        let reason = match error.source_error() {
            Some(SourceError::NoReadBack { why, .. }) => why.clone(),
            _ if error.is_loss() => format!(
                "capture instance {} does not have its changes any more",
                self.instance.capture_instance()
            ),
            _ => return error,
        };
        unknown(flow, &self.columns, reason)
    }
}

/// The target's columns, or those that it is to get, that `older` does not record and the newer instance does.
fn lacking(flow: &Flow, older: Option<&CapturedTable>) -> Vec<String> {
    let added = &flow.growth.added;
    let Some(older) = older else {
        return added.iter().map(|field| field.name().clone()).collect();
    };
    let lost = lost_columns(&flow.table);
    let is_targets = |name: &&str| {
        let mut added = added.iter();
        find(&flow.target_schema, name).is_some() || added.any(|field| field.name() == name)
    };
    let names = flow.table.columns_lacking_in(older).into_iter();
    let names = names.filter(|name| !lost.contains(name) && is_targets(name));
    names.map(str::to_string).collect()
}

/// The exclusive start of the changes that lack `columns`.
///
/// # Errors
/// `ChangedRowsUnknown` where it is not known, or lies before what the capture instance has.
async fn start(
    flow: &Flow,
    target: &DeltaTarget,
    older: Option<&CapturedTable>,
    columns: &[String],
) -> Result<Lsn, Error> {
    let recorder = older.unwrap_or(&flow.table);
    let name = recorder.capture_instance();
    let refused = |reason: String| Err(unknown(flow, columns, reason));
    let first = match flow.database.minimum(recorder).await {
        Err(error) if error.kind() == ErrorKind::ChangesLost => {
            return refused(format!("capture instance {name} is gone"));
        }
        first => first?,
    };
    let floor = first.decrement().unwrap_or(Lsn::ZERO);
    let added = match older {
        Some(_) => added(flow, columns).await?,
        None => None,
    };
    match added {
        Some(added) if added >= floor => Ok(added),
        Some(_) => refused(format!(
            "clean-up has taken changes since then from capture instance {name}"
        )),
        None => match first_commit(flow, target).await? {
            Some(began) if began >= floor => Ok(began),
            _ => refused(untold(older)),
        },
    }
}

/// The exclusive start of what has come since the first of `columns` was added, if that is known. The statement may have
/// changed rows in its own transaction.
async fn added(flow: &Flow, columns: &[String]) -> Result<Option<Lsn>, Error> {
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let added = flow.database.added_at(&flow.table, &columns).await?;
    Ok(added.map(|lsn| lsn.decrement().unwrap_or(Lsn::ZERO)))
}

/// The LSN of the flow's first commit, if the target's log has all commits.
async fn first_commit(flow: &Flow, target: &DeltaTarget) -> Result<Option<Lsn>, Error> {
    let history = target.history(MOST_VERSIONS).await?;
    let is_whole = history.last().is_some_and(|entry| entry.version == 0);
    let key = flow.key.to_string();
    let own = history.iter();
    let own = own.filter(|entry| entry.flow.as_ref() == Some(&key));
    Ok(own.filter_map(|entry| entry.lsn).min().filter(|_| is_whole))
}

fn untold(older: Option<&CapturedTable>) -> String {
    match older {
        Some(older) => format!(
            "cdc.ddl_history does not tell this login when they came, and capture instance {} may not have all changes \
             that the target has (GRANT SELECT ON cdc.ddl_history if the login lacks it)",
            older.capture_instance()
        ),
        None => "the capture instance that recorded its changes until then is gone".to_string(),
    }
}

fn unknown(flow: &Flow, columns: &[String], reason: String) -> Error {
    Error::ChangedRowsUnknown {
        flow: flow.name.clone(),
        table: format!("{}.{}", flow.key.schema, flow.key.table),
        columns: columns.to_vec(),
        reason,
    }
}
