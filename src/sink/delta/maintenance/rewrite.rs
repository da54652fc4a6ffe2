//! Data files are written anew, batch by batch, each in one commit that changes no row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use object_store::path::Path;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::checkpoint::maintenance_properties;
use super::super::write::{DataFile, Rewrite, Rewritten, is_conflict, obstacle};
use super::super::{DeltaTarget, SinkError, SinkErrorKind};
use super::choice::{Choice, figures, file_size};
use super::{
    Figures, Maintenance, MaintenanceAction, MaintenanceEvent, MaintenanceReport, MaintenanceStep,
    loaded,
};

/// How often one batch is begun again because another writer committed first.
const TRIES: usize = 10;

/// The rewriting of a table's files.
pub(super) struct Rewriting<'a> {
    pub(super) maintenance: &'a Maintenance,
    pub(super) state: &'a SessionState,
    pub(super) tell: &'a (dyn Fn(MaintenanceEvent) + Send + Sync),
}

impl Rewriting<'_> {
    /// Rewrites what the newest version of `target` needs, which is loaded then; answers with the number of commits
    /// that were made, or would be in a dry run.
    pub(super) async fn run(
        &self,
        target: &mut DeltaTarget,
        report: &mut MaintenanceReport,
    ) -> Result<u64> {
        let snapshot = loaded(target)?;
        report.obstacle = obstacle(snapshot);
        if report.obstacle.is_some() {
            return Ok(0);
        }
        let maintenance = self.of_table(&snapshot.arrow_schema());
        let choice = Choice::of(snapshot, &maintenance, None)?;
        let mut step = MaintenanceStep {
            action: MaintenanceAction::Rewrite,
            before: Figures::default(),
            after: None,
            version: None,
        };
        if maintenance.dry_run {
            for files in &choice.batches {
                step.before.add(figures(files));
            }
            let commits = choice.batches.len() as u64;
            report.steps.extend((commits > 0).then_some(step));
            return Ok(commits);
        }
        // Files that come while others are written anew are left for another time, so that there is an end.
        let wanted = choice.paths();
        let mut commits = 0;
        while self
            .next_batch(target, &maintenance, &wanted, &mut step)
            .await?
        {
            commits += 1;
        }
        report.steps.extend((commits > 0).then_some(step));
        Ok(commits)
    }

    /// What was asked for, with the keys as the table names them.
    fn of_table(&self, schema: &Schema) -> Maintenance {
        let named = |key: &String| {
            let mut fields = schema.fields().iter();
            let exact = schema.fields().find(key).map(|(_, field)| field);
            let found = exact.or_else(|| fields.find(|f| f.name().eq_ignore_ascii_case(key)));
            let sorts = |field: &&Arc<Field>| !field.data_type().is_nested();
            found.filter(sorts).map(|field| field.name().clone())
        };
        Maintenance {
            keys: self.maintenance.keys.iter().filter_map(named).collect(),
            ..self.maintenance.clone()
        }
    }

    /// Rewrites one batch of the `wanted` files that are left; false if there is none.
    async fn next_batch(
        &self,
        target: &mut DeltaTarget,
        maintenance: &Maintenance,
        wanted: &HashSet<String>,
        step: &mut MaintenanceStep,
    ) -> Result<bool> {
        let mut attempt = 0;
        loop {
            let choice = Choice::of(loaded(target)?, maintenance, Some(wanted))?;
            let Some(mut files) = choice.batches.into_iter().next() else {
                return Ok(false);
            };
            // What another writer changes all the time is rewritten in shorter pieces.
            files.truncate((files.len() >> attempt).max(2));
            let before = figures(&files);
            (self.tell)(MaintenanceEvent::Rewriting(before));
            let committed = self.rewrite(target, &files, &maintenance.keys).await;
            target.refresh().await?;
            let error = match committed {
                Ok((version, after)) => {
                    step.before.add(before);
                    step.after.get_or_insert_default().add(after);
                    step.version = Some(version);
                    return Ok(true);
                }
                Err(error) => error,
            };
            attempt += 1;
            if attempt == TRIES || !is_conflict(&error) {
                return Err(error);
            }
            (self.tell)(MaintenanceEvent::Conflict { attempt });
        }
    }

    /// Writes the live rows of `files` anew, and commits that unless another writer changed one of them meanwhile; the
    /// version it made, and the new files.
    async fn rewrite(
        &self,
        target: &mut DeltaTarget,
        files: &[DataFile],
        keys: &[String],
    ) -> Result<(u64, Figures)> {
        let rewrite = Rewrite {
            target,
            files,
            keys,
            schema: None,
            state: self.state,
        };
        let Rewritten { removed, added } = rewrite.run().await?;
        let after = figures_of(&added);
        let added = added.into_iter().map(Action::Add);
        let actions: Vec<Action> = removed.into_iter().chain(added).collect();
        let metrics = metrics(figures(files), after);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let written = target.clone();
            let error = match commit(&written, &actions, &metrics).await {
                Ok(version) => return Ok((version, after)),
                Err(error) => error,
            };
            let moved = error.kind() == SinkErrorKind::Conflict && attempt < TRIES;
            if moved {
                target.refresh().await?;
            }
            if !moved || !still_holds(target, &written, files)? {
                return Err(error.into());
            }
        }
    }
}

/// True if the table that `written` was has the same columns, protocol and properties now, and still each of `files`
/// with the same rows.
fn still_holds(
    target: &DeltaTarget,
    written: &DeltaTarget,
    files: &[DataFile],
) -> Result<bool, SinkError> {
    let (now, before) = (loaded(target)?, loaded(written)?);
    if now.metadata() != before.metadata() || now.protocol() != before.protocol() {
        return Ok(false);
    }
    let mut expected: HashMap<Path, _> = files.iter().map(|f| (f.path(), f.vector())).collect();
    for file in now.log_data().iter() {
        let path = file.object_store_path();
        if expected.get(&path) == Some(&file.deletion_vector_descriptor()) {
            expected.remove(&path);
        }
    }
    Ok(expected.is_empty())
}

/// Commits `actions` if the table is still at the loaded version of `target`; the version it made.
async fn commit(
    target: &DeltaTarget,
    actions: &[Action],
    metrics: &Value,
) -> Result<u64, SinkError> {
    let write = Uuid::new_v4();
    match commit_actions(target, actions.to_vec(), metrics.clone(), write).await {
        Ok(version) => Ok(version),
        // The commit may be there although the storage said otherwise.
        Err(error) => match target.recorded_outcome(write).await {
            Some(outcome) => Ok(outcome.version().unwrap_or_default()),
            None => Err(error),
        },
    }
}

async fn commit_actions(
    target: &DeltaTarget,
    actions: Vec<Action>,
    metrics: Value,
    write: Uuid,
) -> Result<u64, SinkError> {
    let snapshot = loaded(target)?;
    let size = i64::try_from(file_size(snapshot)).unwrap_or(i64::MAX);
    let operation = DeltaOperation::Optimize {
        predicate: None,
        target_size: size,
    };
    let committed = CommitBuilder::from(maintenance_properties(write, metrics))
        .with_actions(actions)
        .build(Some(snapshot), target.table().log_store(), operation)
        .await
        .map_err(|error| SinkError::from_delta(target.location(), "write", error))?;
    Ok(committed.version())
}

fn figures_of(added: &[Add]) -> Figures {
    let mut figures = Figures::default();
    for add in added {
        let stats = add.stats.as_deref().unwrap_or_default();
        let stats: Value = serde_json::from_str(stats).unwrap_or_default();
        figures.add(Figures {
            files: 1,
            bytes: u64::try_from(add.size).unwrap_or_default(),
            rows: stats["numRecords"].as_u64().unwrap_or_default(),
            deleted_rows: 0,
        });
    }
    figures
}

/// The metrics of an OPTIMIZE, by the names of the other writers of Delta tables.
fn metrics(before: Figures, after: Figures) -> Value {
    json!({
        "numRemovedFiles": before.files.to_string(),
        "numRemovedBytes": before.bytes.to_string(),
        "numAddedFiles": after.files.to_string(),
        "numAddedBytes": after.bytes.to_string(),
    })
}
