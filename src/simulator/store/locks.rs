//! What readers wait for, where writers block them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::state::State;
use super::table::Table;
use crate::simulator::protocol::ServerError;

/// A schema and a table's name, in lower case.
pub(crate) type TableName = (String, String);

/// What a statement reads of one database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// The tables.
    pub(crate) tables: BTreeSet<TableName>,
    /// Whether it reads what capture owns, under locks of rows.
    pub(crate) locks_capture: bool,
    /// Whether its own transaction has the writer's seat.
    pub(crate) writes: bool,
}

/// What a transaction has defined and not committed.
#[derive(Debug)]
struct Redefined {
    tables: BTreeSet<TableName>,
    capture: bool,
}

#[derive(Debug, Default)]
struct Held {
    enabled: bool,
    /// Scans that have fixed the log's end and not written.
    scans: usize,
    definition: Option<Redefined>,
    /// Readers that wait.
    waiting: usize,
    /// How often whoever waited was told that it has waited long enough.
    timed_out: u64,
}

impl Held {
    fn block(&self, reading: &Reading) -> bool {
        let redefines = |made: &Redefined| {
            reading.locks_capture && made.capture || !made.tables.is_disjoint(&reading.tables)
        };
        let definition = self.definition.as_ref().filter(|_| !reading.writes);
        self.enabled
            && (self.scans > 0 && reading.locks_capture || definition.is_some_and(redefines))
    }
}

/// A database's locks that keep readers waiting.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: watch::Sender<Held>,
}

impl Locks {
    /// Has readers wait from now on, or not.
    pub(super) fn enable(&self, enabled: bool) {
        self.held.send_modify(|held| held.enabled = enabled);
    }

    /// Whether there is something that a reader may have to wait for.
    pub(crate) fn are_held(&self) -> bool {
        let held = self.held.borrow();
        held.enabled && (held.scans > 0 || held.definition.is_some())
    }

    /// Whether a statement would have to wait now.
    pub(crate) fn block(&self, reading: &Reading) -> bool {
        self.held.borrow().block(reading)
    }

    /// Waits until a statement may read; error 1222 if [`Locks::time_out`] ends the wait.
    pub(crate) async fn wait(&self, reading: &Reading) -> Result<(), ServerError> {
        let mut held = self.held.subscribe();
        let since = held.borrow().timed_out;
        let _waiting = Waiting::begin(self);
        let ended = |held: &Held| !held.block(reading) || held.timed_out != since;
        // The sender is here as long as the wait is.
        let held = held.wait_for(ended).await;
        if held.is_ok_and(|held| held.timed_out != since) {
            return Err(ServerError::lock_timeout());
        }
        Ok(())
    }

    /// Waits until a reader waits.
    pub(crate) async fn reader_waits(&self) {
        let mut held = self.held.subscribe();
        // The sender is here as long as the wait is.
        let _ = held.wait_for(|held| held.waiting > 0).await;
    }

    /// Ends every wait with error 1222, as if it had been too long.
    pub(crate) fn time_out(&self) {
        self.held.send_modify(|held| held.timed_out += 1);
    }

    /// Has readers wait for a scan, until the guard is dropped.
    pub(crate) fn hold_scan(self: &Arc<Self>) -> HeldScan {
        self.held.send_modify(|held| held.scans += 1);
        HeldScan(Arc::clone(self))
    }

    /// Has readers wait for what a transaction has made of a state; `capture` if it changes capture itself.
    pub(super) fn hold_definition(&self, base: &State, state: &State, capture: bool) {
        if !self.held.borrow().enabled {
            return;
        }
        let mut tables = redefined(base, state);
        tables.extend(recaptured(base, state));
        let definition = Redefined { tables, capture };
        let definition = Some(definition).filter(|made| capture || !made.tables.is_empty());
        self.held.send_modify(|held| held.definition = definition);
    }

    /// Ends that.
    pub(super) fn end_definition(&self) {
        self.held
            .send_if_modified(|held| held.definition.take().is_some());
    }
}

/// Readers wait for a scan while this is there.
#[derive(Debug)]
pub(crate) struct HeldScan(Arc<Locks>);

impl Drop for HeldScan {
    fn drop(&mut self) {
        self.0.held.send_modify(|held| held.scans -= 1);
    }
}

/// A reader that waits.
struct Waiting<'a>(&'a Locks);

impl<'a> Waiting<'a> {
    fn begin(locks: &'a Locks) -> Self {
        locks.held.send_modify(|held| held.waiting += 1);
        Self(locks)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.held.send_modify(|held| held.waiting -= 1);
    }
}

fn name(table: &Table) -> TableName {
    (table.schema.to_lowercase(), table.name.to_lowercase())
}

/// The tables whose definitions differ, by their names in both states.
fn redefined(base: &State, state: &State) -> BTreeSet<TableName> {
    let mut names = BTreeSet::new();
    let ids: BTreeSet<i32> = base
        .tables
        .keys()
        .chain(state.tables.keys())
        .copied()
        .collect();
    for id in ids {
        let versions = (base.tables.get(&id), state.tables.get(&id));
        let is_same = matches!(versions, (Some(old), Some(new)) if name(old) == name(new)
            && old.columns == new.columns
            && old.keys == new.keys);
        if !is_same {
            names.extend(
                [versions.0, versions.1]
                    .into_iter()
                    .flatten()
                    .map(|t| name(t)),
            );
        }
    }
    names
}

/// The tables that have got or lost capture instances.
fn recaptured(base: &State, state: &State) -> BTreeSet<TableName> {
    let sources = |state: &State| -> BTreeSet<(i32, i32)> {
        let instances = state.capture.iter().flat_map(|capture| &capture.instances);
        instances.map(|i| (i.source, i.change_table)).collect()
    };
    let (before, after) = (sources(base), sources(state));
    let changed = before.symmetric_difference(&after);
    let tables = changed.filter_map(|(source, _)| {
        let old = base.tables.get(source);
        old.or_else(|| state.tables.get(source))
    });
    tables.map(|table| name(table)).collect()
}
