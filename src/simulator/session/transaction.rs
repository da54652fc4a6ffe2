//! A session's transaction.

use std::sync::Arc;

use super::Session;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{Savepoint, State, Write};

/// A transaction, explicit or of one statement.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// `@@TRANCOUNT`; 0 for a statement that commits by itself.
    depth: u32,
    /// The writer's seat, once something was written.
    write: Option<Write>,
    /// Where the running statement began. It is still here after a statement that was cancelled.
    running: Option<Savepoint>,
    /// What SNAPSHOT isolation has seen.
    pinned: Vec<Arc<State>>,
}

/// Errors after which SQL Server goes on with the batch's next statement.
const BATCH_GOES_ON: &[u32] = &[
    515, 544, 545, 547, 2601, 2627, 2628, 2714, 3701, 3902, 3903, 8102, 8134, 8152, 15225,
];

impl Session {
    /// `@@TRANCOUNT`.
    pub(super) fn depth(&self) -> i64 {
        self.transaction.as_ref().map_or(0, |t| t.depth.into())
    }

    /// Undoes what a cancelled statement has left.
    pub(super) fn recover(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        if let (Some(savepoint), Some(write)) =
            (transaction.running.take(), transaction.write.as_mut())
        {
            write.undo(savepoint);
        }
        if transaction.depth == 0 {
            self.transaction = None;
        }
    }

    /// The states that the session sees instead of the committed ones.
    pub(super) fn given_states(&mut self) -> Vec<Arc<State>> {
        let snapshot = self.settings.snapshot;
        let current = self.server.database(&self.database).map(|d| d.committed());
        let Some(transaction) = self.transaction.as_mut() else {
            return Vec::new();
        };
        if snapshot && let Some(current) = current {
            let name = &current.name;
            if transaction.pinned.iter().all(|state| state.name != *name) {
                transaction.pinned.push(current);
            }
        }
        let mut given = transaction.pinned.clone();
        if let Some(write) = &transaction.write {
            given.retain(|state| state.name != write.database());
            given.push(Arc::new(write.visible()));
        }
        given
    }

    /// BEGIN TRANSACTION.
    pub(super) fn begin(&mut self) {
        self.transaction.get_or_insert_default().depth += 1;
    }

    /// COMMIT: the outermost one writes.
    pub(super) fn commit(&mut self) -> Result<(), ServerError> {
        let Some(transaction) = self.transaction.as_mut().filter(|t| t.depth > 0) else {
            return Err(ServerError::new(
                3902,
                "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ));
        };
        transaction.depth -= 1;
        if transaction.depth > 0 {
            return Ok(());
        }
        match self.transaction.take().and_then(|t| t.write) {
            Some(mut write) => {
                write.statement("COMMIT");
                write.commit()
            }
            None => Ok(()),
        }
    }

    /// ROLLBACK, of everything.
    pub(super) fn roll_back(&mut self) -> Result<(), ServerError> {
        match self.transaction.take().filter(|t| t.depth > 0) {
            Some(_) => Ok(()),
            None => Err(ServerError::new(
                3903,
                "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            )),
        }
    }

    /// Takes the writer's seat of a database for a statement of the given text.
    pub(super) async fn start_writing(
        &mut self,
        database: &str,
        text: &str,
    ) -> Result<(), ServerError> {
        if self.settings.implicit && self.transaction.is_none() {
            self.begin();
        }
        let transaction = self.transaction.get_or_insert_default();
        if transaction.write.is_none() {
            let cell = self
                .server
                .database(database)
                .ok_or_else(|| ServerError::unknown_database(database))?;
            let write = Write::begin(cell, self.settings.lock_timeout).await?;
            let pinned = transaction
                .pinned
                .iter()
                .find(|s| s.name == write.database());
            if pinned.is_some_and(|pinned| pinned.version != write.base().version) {
                return Err(ServerError::new(
                    3960,
                    format!(
                        "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation to access the database '{database}' directly or indirectly to update, delete, or insert a row that has been modified or deleted by another transaction. Retry the transaction or change the isolation level for the update/delete statement."
                    ),
                ));
            }
            transaction.write = Some(write);
        }
        let Some(write) = transaction.write.as_mut() else {
            return Ok(());
        };
        if !write.database().eq_ignore_ascii_case(database) {
            return Err(ServerError::unsupported(
                "a transaction that writes to two databases",
            ));
        }
        transaction.running = Some(write.savepoint());
        write.statement(text);
        Ok(())
    }

    /// What the running statement changes.
    pub(super) fn writing(&mut self) -> Result<&mut Write, ServerError> {
        self.transaction
            .as_mut()
            .and_then(|transaction| transaction.write.as_mut())
            .ok_or_else(|| ServerError::new(3998, "No transaction is active."))
    }

    /// Ends a statement that has written; one outside a transaction commits.
    pub(super) fn finish_writing(&mut self) -> Result<(), ServerError> {
        let Some(transaction) = self.transaction.as_mut() else {
            return Ok(());
        };
        transaction.running = None;
        if transaction.depth > 0 {
            return Ok(());
        }
        match self.transaction.take().and_then(|t| t.write) {
            Some(write) => write.commit(),
            None => Ok(()),
        }
    }

    /// Undoes a failed statement, or with XACT_ABORT the transaction; whether the batch ends with it.
    pub(super) fn fail(&mut self, error: &ServerError) -> bool {
        self.recover();
        if self.settings.abort_transaction || matches!(error.number, 3960) {
            self.transaction = None;
            return true;
        }
        !BATCH_GOES_ON.contains(&error.number)
    }
}
