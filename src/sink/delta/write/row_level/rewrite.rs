//! Files written anew with the rows they have.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::cast;
use deltalake::kernel::{Action, Add};

use super::super::super::DeltaTarget;
use super::files::{DataFile, vectors_of};
use super::matching::{live_rows, of_target};
use super::settle::write_all;
use super::{Version, explained, nullable};

/// Data files whose live rows go into new ones.
pub(in super::super::super) struct Rewrite<'a> {
    /// The table, at the version that has the files.
    pub(in super::super::super) target: &'a DeltaTarget,
    /// The files, grouped by their partition.
    pub(in super::super::super) files: &'a [DataFile],
    /// The columns that the rows are sorted by within their partition; without any they keep the files' order.
    pub(in super::super::super) keys: &'a [String],
    /// The columns with the types that the new files have them in; those of the table if `None`.
    pub(in super::super::super) schema: Option<SchemaRef>,
    /// The session, with its memory pool.
    pub(in super::super::super) state: &'a SessionState,
}

/// What puts the new files in the place of the old ones.
#[derive(Debug, Default)]
pub(in super::super::super) struct Rewritten {
    /// Takes the old files out; no row changes by it.
    pub(in super::super::super) removed: Vec<Action>,
    /// The new files; no row changes by them.
    pub(in super::super::super) added: Vec<Add>,
}

impl Rewrite<'_> {
    /// Writes the new files, which belong to no version of the table yet.
    pub(in super::super::super) async fn run(&self) -> Result<Rewritten> {
        let written = self.write().await;
        let mut added = written.map_err(|error| explained(self.target, error))?;
        for add in &mut added {
            add.data_change = false;
        }
        Ok(Rewritten {
            removed: self.files.iter().map(DataFile::replacement).collect(),
            added,
        })
    }

    async fn write(&self) -> Result<Vec<Add>> {
        let target = self.target;
        let (Some(snapshot), Some(schema)) = (target.snapshot(), target.schema()) else {
            return Ok(Vec::new());
        };
        let version = Version {
            target,
            snapshot,
            files: self.files.to_vec(),
            keys: None,
        };
        // The rows are in the table already: whether they may be is not asked again.
        let schema = nullable(&schema);
        let deleted = Arc::new(vectors_of(&target.table().log_store(), self.files).await?);
        let files = (0..).zip(self.files.iter().cloned()).collect();
        let state = self.session();
        let table: Arc<dyn TableProvider> = Arc::new(version.table(files, &schema, &state)?);
        let written = self.schema.as_ref().map_or(Arc::clone(&schema), nullable);
        let row = written.fields().iter().map(|field| {
            let column = cast(of_target(field.name()), field.data_type().clone());
            column.alias(field.name())
        });
        let rows = live_rows(table, deleted)?.project(row.collect::<Vec<_>>())?;
        let writer = version.row_writer(&written)?;
        if self.keys.is_empty() {
            write_all(&state, rows, writer).await
        } else {
            version.write_sorted(&state, rows, self.keys, writer).await
        }
    }

    /// A session that reads one file after the other where their order is to be kept.
    fn session(&self) -> SessionState {
        if !self.keys.is_empty() {
            return self.state.clone();
        }
        let config = self.state.config().clone().with_target_partitions(1);
        SessionStateBuilder::new_from_existing(self.state.clone())
            .with_config(config)
            .build()
    }
}
