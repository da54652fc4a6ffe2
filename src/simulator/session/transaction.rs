//! A session's transaction.

use std::sync::Arc;
use std::time::Duration;

use super::executor::Executor;
use super::settings::Isolation;
use crate::simulator::protocol::{ServerError, TransactionEvent};
use crate::simulator::store::{Savepoint, Server, State, Write};

/// A transaction, explicit or of one statement.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// `@@TRANCOUNT`; 0 for a statement that commits by itself.
    depth: u32,
    /// The name that the outermost BEGIN TRANSACTION gave it.
    name: Option<String>,
    /// The savepoints by name, the last one at the end; `None` for one before anything was written.
    savepoints: Vec<(String, Option<Savepoint>)>,
    /// The writer's seat, once something was written.
    write: Option<Write>,
    /// Where the running statement began. It is still here after a statement that was cancelled.
    running: Option<Savepoint>,
    /// What the isolation level has the transaction see instead of what is committed now.
    pinned: Vec<Arc<State>>,
    /// Whether a table hint asks for what REPEATABLE READ asks for.
    repeatable: bool,
    /// What the client knows it by, once it is more than one statement.
    number: u64,
}

/// Savepoints of a transaction at most.
const SAVEPOINTS: usize = 1_000;

/// Errors after which SQL Server goes on with the batch's next statement.
const BATCH_GOES_ON: &[u32] = &[
    220, 232, 266, 512, 515, 517, 535, 536, 537, 544, 545, 547, 628, 1222, 2601, 2627, 2628, 2714,
    3701, 3623, 3902, 3903, 6401, 8102, 8115, 8134, 8152, 15225,
];

/// Errors that end the batch and roll its transaction back: failed conversions, conflicts, deadlocks.
const TRANSACTION_ENDS: &[u32] = &[241, 242, 244, 245, 248, 295, 1205, 3960, 3961, 8114, 8169];

/// Pins every database but the one that the transaction writes, all at the instant of the first look; those
/// that were created since as they are.
fn pin_all(server: &Server, pinned: &mut Vec<Arc<State>>, own: Option<&str>) {
    let known = |pinned: &[Arc<State>], name: &str| {
        own == Some(name) || pinned.iter().any(|state| state.name == name)
    };
    let databases = server.databases();
    if databases.iter().all(|cell| known(pinned, cell.name())) {
        return;
    }
    for state in server.states() {
        if !known(pinned, &state.name) {
            pinned.push(state);
        }
    }
}

impl Transaction {
    /// What it writes, once it has the writer's seat.
    pub(super) fn writes(&self) -> Option<&Write> {
        self.write.as_ref()
    }
}

impl Executor {
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
        let level = self.settings.isolation.is_repeatable();
        let snapshot = self.settings.isolation == Isolation::Snapshot;
        let replica = self.replica.clone();
        let replica = replica.filter(|state| state.name == self.database);
        let committed = || self.server.database(&self.database).map(|d| d.committed());
        let current = replica.clone().or_else(committed);
        let Some(transaction) = self.transaction.as_mut() else {
            return match replica {
                None if snapshot => self.server.states(),
                replica => replica.into_iter().collect(),
            };
        };
        let own = transaction.write.as_ref().map(Write::database);
        let repeatable = level || transaction.repeatable;
        if snapshot {
            if let Some(replica) = &replica
                && transaction.pinned.iter().all(|s| s.name != replica.name)
            {
                transaction.pinned.push(Arc::clone(replica));
            }
            pin_all(&self.server, &mut transaction.pinned, own);
        } else if repeatable
            && let Some(current) = current
            && transaction.pinned.iter().all(|s| s.name != current.name)
            && own != Some(current.name.as_str())
        {
            transaction.pinned.push(current);
        }
        let mut given = if repeatable {
            transaction.pinned.clone()
        } else {
            replica.into_iter().collect()
        };
        if let Some(write) = &transaction.write {
            let seen = match given.iter().find(|s| s.name == write.database()) {
                Some(pinned) => write.over(pinned),
                None => write.visible(),
            };
            given.retain(|state| state.name != write.database());
            given.push(Arc::new(seen));
        }
        given
    }

    /// BEGIN TRANSACTION.
    pub(super) fn begin(&mut self, name: Option<String>) {
        self.begin_implicitly();
        self.deepen();
        if let Some(transaction) = self.transaction.as_mut().filter(|t| t.depth == 1) {
            transaction.name = name;
        }
    }

    /// The transaction that IMPLICIT_TRANSACTIONS begins before a statement, unless one is open.
    pub(super) fn begin_implicitly(&mut self) {
        if self.settings.implicit && self.transaction.is_none() {
            self.deepen();
        }
    }

    fn deepen(&mut self) {
        let transaction = self.transaction.get_or_insert_default();
        transaction.depth += 1;
        if transaction.depth == 1 {
            self.transactions += 1;
            transaction.number = self.transactions;
            let transaction = transaction.number;
            self.events.push(TransactionEvent::Began { transaction });
        }
    }

    /// Keeps what the transaction reads from now on as it is, as HOLDLOCK does.
    pub(super) fn hold(&mut self) {
        if let Some(transaction) = self.transaction.as_mut().filter(|t| t.depth > 0) {
            transaction.repeatable = true;
        }
    }

    /// SAVE TRANSACTION.
    pub(super) fn save(&mut self, name: &str) -> Result<(), ServerError> {
        let Some(transaction) = self.transaction.as_mut().filter(|t| t.depth > 0) else {
            return Err(ServerError::new(
                628,
                "Cannot issue SAVE TRANSACTION when there is no active transaction.",
            ));
        };
        if transaction.savepoints.len() == SAVEPOINTS {
            return Err(ServerError::unsupported(format!(
                "more than {SAVEPOINTS} savepoints in a transaction"
            )));
        }
        let savepoint = transaction.write.as_ref().map(Write::savepoint);
        transaction.savepoints.push((name.to_owned(), savepoint));
        Ok(())
    }

    /// ROLLBACK TRANSACTION with a name: to the last savepoint of that name, or of everything if the
    /// transaction itself has it. Names are compared with case.
    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<(), ServerError> {
        let Some(transaction) = self.transaction.as_mut().filter(|t| t.depth > 0) else {
            return self.roll_back();
        };
        let saved = transaction
            .savepoints
            .iter()
            .rposition(|(known, _)| known == name);
        if let Some(at) = saved {
            transaction.savepoints.truncate(at + 1);
            let savepoint = transaction.savepoints[at].1.clone();
            match (savepoint, transaction.write.as_mut()) {
                (Some(savepoint), Some(write)) => write.undo(savepoint),
                _ => transaction.write = None,
            }
            return Ok(());
        }
        if transaction.name.as_deref() == Some(name) {
            return self.roll_back();
        }
        Err(ServerError::new(
            6401,
            format!("Cannot roll back {name}. No transaction or savepoint of that name was found."),
        ))
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
        let transaction = transaction.number;
        let committed = match self.transaction.take().and_then(|t| t.write) {
            // A transaction that has only held its place leaves no trace.
            Some(write) if !write.has_statements() => Ok(()),
            Some(write) => write.commit_transaction(),
            None => Ok(()),
        };
        self.events.push(match committed {
            Ok(()) => TransactionEvent::Committed { transaction },
            Err(_) => TransactionEvent::RolledBack { transaction },
        });
        committed
    }

    /// ROLLBACK, of everything.
    pub(super) fn roll_back(&mut self) -> Result<(), ServerError> {
        if self.depth() == 0 {
            return Err(ServerError::new(
                3903,
                "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ));
        }
        self.abandon();
        Ok(())
    }

    /// Rolls back whatever is open.
    pub(super) fn abandon(&mut self) {
        if let Some(transaction) = self.transaction.take().filter(|t| t.depth > 0) {
            let transaction = transaction.number;
            self.events
                .push(TransactionEvent::RolledBack { transaction });
        }
    }

    /// Takes the writer's seat of a database for a statement of the given text.
    pub(super) async fn start_writing(
        &mut self,
        database: &str,
        text: &str,
    ) -> Result<(), ServerError> {
        self.begin_implicitly();
        self.take_seat(database, self.settings.lock_timeout).await?;
        if let Some(asked) = &self.asked {
            asked.take();
        }
        let Some(transaction) = self.transaction.as_mut() else {
            return Ok(());
        };
        if let Some(write) = transaction.write.as_mut() {
            transaction.running = Some(write.savepoint());
            write.statement(text);
        }
        Ok(())
    }

    /// Error 3906 where a database can only be read.
    pub(super) fn permit_write(&self, database: &str) -> Result<(), ServerError> {
        match self.facts.only_reads(database) {
            true => Err(ServerError::read_only_database(database)),
            false => Ok(()),
        }
    }

    /// Takes the writer's seat of a database, unless the transaction has it; 1222 after `wait`.
    pub(super) async fn take_seat(
        &mut self,
        database: &str,
        wait: Duration,
    ) -> Result<(), ServerError> {
        self.permit_write(database)?;
        let transaction = self.transaction.get_or_insert_default();
        if let Some(write) = &transaction.write {
            if write.database().eq_ignore_ascii_case(database) {
                return Ok(());
            }
            return Err(ServerError::unsupported(
                "a transaction that writes to two databases",
            ));
        }
        let cell = self
            .server
            .database(database)
            .ok_or_else(|| ServerError::unknown_database(database))?;
        let begun = Write::begin(cell, wait).await;
        if begun.is_err() && transaction.depth == 0 {
            self.transaction = None;
            return begun.map(|_| ());
        }
        transaction.write = Some(begun?);
        Ok(())
    }

    /// Whether the rows of a table that the statement has read are those that it is about to change; 3960
    /// under SNAPSHOT isolation where another transaction has changed them since, and 1205 under the
    /// levels whose locks would have led to a deadlock.
    pub(super) fn check_conflict(&self, object_id: i32) -> Result<(), ServerError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let Some(write) = &transaction.write else {
            return Ok(());
        };
        if !self.settings.isolation.is_repeatable() && !transaction.repeatable {
            return Ok(());
        }
        let pinned = transaction
            .pinned
            .iter()
            .find(|s| s.name == write.database());
        let Some(pinned) = pinned else {
            return Ok(());
        };
        let tables = (
            pinned.tables.get(&object_id),
            write.base().tables.get(&object_id),
        );
        match tables {
            (Some(seen), Some(now)) if seen.is_unchanged(now) => Ok(()),
            // Made within this transaction.
            (None, None) => Ok(()),
            (seen, _) if self.settings.isolation == Isolation::Snapshot => Err(conflict(
                write.database(),
                seen.map_or_else(String::new, |table| table.qualified()),
            )),
            _ => Err(ServerError::deadlock(self.facts.session_id)),
        }
    }

    /// The same for definitions, which concern the whole database.
    pub(super) fn check_definition_conflict(&self) -> Result<(), ServerError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let Some(write) = &transaction.write else {
            return Ok(());
        };
        let mut pinned = transaction.pinned.iter();
        match pinned.find(|s| s.name == write.database()) {
            Some(pinned) if pinned.version != write.base().version => {
                Err(conflict(write.database(), String::new()))
            }
            _ => Ok(()),
        }
    }

    /// Error 3964, for a statement that changes a definition, within a transaction under SNAPSHOT isolation.
    pub(super) fn check_snapshot_definition(&self) -> Result<(), ServerError> {
        if self.depth() == 0 || self.settings.isolation != Isolation::Snapshot {
            return Ok(());
        }
        Err(ServerError::new(
            3964,
            "Transaction failed because this DDL statement is not allowed inside a snapshot isolation transaction. Since metadata is not versioned, a metadata change can lead to inconsistency if mixed within snapshot isolation.",
        ))
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
            if let Some(write) = &transaction.write {
                write.lock_definitions();
            }
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
        self.aborted = self.settings.abort_transaction || TRANSACTION_ENDS.contains(&error.number);
        if self.aborted {
            self.abandon();
            return true;
        }
        !BATCH_GOES_ON.contains(&error.number)
    }
}

fn conflict(database: &str, table: String) -> ServerError {
    let table = if table.is_empty() {
        String::new()
    } else {
        format!("table '{table}' directly or indirectly in ")
    };
    ServerError::new(
        3960,
        format!(
            "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation to access {table}database '{database}' to update, delete, or insert the row that has been modified or deleted by another transaction. Retry the transaction or change the isolation level for the update/delete statement."
        ),
    )
}
