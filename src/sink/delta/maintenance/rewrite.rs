//! Data files are written anew, batch by batch, each in one commit that changes no row.

use std::collections::HashSet;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::checkpoint::maintenance_properties;
use super::super::write::{DataFile, Rewrite, Rewritten, is_conflict, obstacle};
use super::super::{DeltaTarget, SinkError};
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
            found.map(|field| field.name().clone())
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
            let Some(files) = choice.batches.into_iter().next() else {
                return Ok(false);
            };
            let before = figures(&files);
            (self.tell)(MaintenanceEvent::Rewriting(before));
            let committed = self.commit(target, &files, &maintenance.keys).await;
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

    /// Writes the live rows of `files` anew, and commits that if the table is still at the loaded version; the version
    /// it made, and the new files.
    async fn commit(
        &self,
        target: &DeltaTarget,
        files: &[DataFile],
        keys: &[String],
    ) -> Result<(u64, Figures)> {
        let rewrite = Rewrite {
            target,
            files,
            keys,
            state: self.state,
        };
        let Rewritten { removed, added } = rewrite.run().await?;
        let after = figures_of(&added);
        let metrics = metrics(figures(files), after);
        let write = Uuid::new_v4();
        let added = added.into_iter().map(Action::Add);
        let actions = removed.into_iter().chain(added).collect();
        match commit_actions(target, actions, metrics, write).await {
            Ok(version) => Ok((version, after)),
            // The commit may be there although the storage said otherwise.
            Err(error) => match target.recorded_outcome(write).await {
                Some(outcome) => Ok((outcome.version().unwrap_or_default(), after)),
                None => Err(error.into()),
            },
        }
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
