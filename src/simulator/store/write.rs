//! A transaction that writes: the writer's seat, the changed state, and the images for capture.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{BinaryArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::compute::or;
use datafusion::arrow::error::ArrowError;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use super::database::{Committing, DatabaseCell, Recording};
use super::index::KeyIndex;
use super::log::Entry;
use super::spent::keep_spent;
use super::state::State;
use super::table::{ColumnDef, Key, Table};
use crate::simulator::capture::{self, CaptureJob, Definition};
use crate::simulator::protocol::ServerError;
use crate::simulator::record::{self, Recorded};
use crate::simulator::types::{bytes_to_hex, text_of, values_of};

/// What the writer's seat holds: the key indexes of tables that were written to.
#[derive(Debug, Default)]
pub(super) struct Writer {
    indexes: HashMap<i32, HashMap<i32, KeyIndex>>,
}

impl Writer {
    /// Forgets every index, since all rows may have changed.
    pub(super) fn clear(&mut self) {
        self.indexes.clear();
    }
}

/// Row images of one statement.
#[derive(Debug, Clone)]
pub(crate) enum Images {
    /// New rows.
    Inserted(RecordBatch),
    /// Old rows.
    Deleted(RecordBatch),
    /// Rows that differ, before and after.
    Updated {
        /// The old rows.
        before: RecordBatch,
        /// The new rows, in the same order.
        after: RecordBatch,
        /// Whether a row has another key than before.
        moved: BooleanArray,
    },
}

impl Images {
    /// The number of changed rows.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Inserted(rows) | Self::Deleted(rows) => rows.num_rows(),
            Self::Updated { before, .. } => before.num_rows(),
        }
    }

    /// The records that they are in the log. Rows that get other keys all leave before the first of them
    /// comes again, since one may take the key of another; a single one keeps its place.
    pub(super) fn records(&self) -> usize {
        self.rows() + self.comings()
    }

    /// The records of rows that come again.
    fn comings(&self) -> usize {
        match self {
            Self::Updated { moved, .. } if moved.true_count() > 1 => moved.true_count(),
            _ => 0,
        }
    }

    /// The memory that they hold.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Inserted(rows) | Self::Deleted(rows) => rows.get_array_memory_size(),
            Self::Updated { before, after, .. } => {
                before.get_array_memory_size() + after.get_array_memory_size()
            }
        }
    }
}

/// A change of a captured table.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The table.
    pub(crate) object_id: i32,
    /// The table's columns at that time.
    pub(crate) columns: Arc<[ColumnDef]>,
    /// The number of the statement in its transaction, from 1.
    pub(crate) command: i32,
    /// The rows.
    pub(crate) images: Images,
}

/// A point within a transaction, to return to when a statement fails.
#[derive(Debug, Clone)]
pub(crate) struct Savepoint {
    state: State,
    entries: usize,
    command: i32,
    defines: bool,
    recorded: usize,
}

/// A transaction in the writer's seat. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Write {
    cell: Arc<DatabaseCell>,
    seat: OwnedMutexGuard<Writer>,
    base: Arc<State>,
    state: State,
    entries: Vec<Entry>,
    /// The memory that the entries hold.
    bytes: usize,
    command: i32,
    /// Whether it changes capture itself, so that no scan runs meanwhile.
    defines: bool,
    began: i64,
    touched: BTreeSet<i32>,
    recording: Recording,
    committed: bool,
}

impl Write {
    /// Waits for the writer's seat, for `timeout` at most (error 1222).
    pub(crate) async fn begin(
        cell: Arc<DatabaseCell>,
        timeout: Duration,
    ) -> Result<Self, ServerError> {
        let writer = Arc::clone(&cell.writer);
        let seat = tokio::time::timeout(timeout, writer.lock_owned())
            .await
            .map_err(|_| ServerError::lock_timeout())?;
        let base = cell.committed();
        Ok(Self {
            began: cell.clock().event(base.clock),
            cell,
            seat,
            state: base.as_ref().clone(),
            base,
            entries: Vec::new(),
            bytes: 0,
            command: 0,
            defines: false,
            touched: BTreeSet::new(),
            recording: Recording::default(),
            committed: false,
        })
    }

    /// The state when the transaction began.
    pub(crate) fn base(&self) -> &Arc<State> {
        &self.base
    }

    /// The database's name.
    pub(crate) fn database(&self) -> &str {
        self.cell.name()
    }

    /// The state with the transaction's changes.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// What the transaction sees: its own changes, and what capture has written meanwhile.
    pub(crate) fn visible(&self) -> State {
        let mut state = self.state.clone();
        if !self.defines {
            state.take_capture_of(&self.cell.committed());
        }
        state
    }

    /// Prepares to change capture itself. No scan of the log runs until the transaction ends.
    pub(crate) fn define_capture(&mut self) -> Result<(), ServerError> {
        if !self.defines {
            self.cell.begin_definition()?;
            self.defines = true;
            self.state.take_capture_of(&self.cell.committed());
        }
        Ok(())
    }

    /// Whether the transaction changes capture itself.
    pub(crate) fn defines_capture(&self) -> bool {
        self.defines
    }

    /// Has others wait until the transaction ends before they read what it has defined, where writers block
    /// readers.
    pub(crate) fn lock_definitions(&self) {
        let locks = self.cell.locks();
        locks.hold_definition(&self.base, &self.state, self.defines);
    }

    /// How capture behaves.
    pub(crate) fn capture_behaviour(&self) -> crate::simulator::capture::CaptureBehaviour {
        self.cell.capture_behaviour()
    }

    /// Leaves a changed definition in the log, if the table is captured.
    pub(crate) fn log_definition(&mut self, definition: Definition) {
        if self.captures(definition.object_id) {
            self.entries.push(Entry::Definition(definition));
        }
    }

    /// The state, to change its definitions.
    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// An older state with the tables that the transaction has changed.
    pub(crate) fn over(&self, older: &State) -> State {
        let mut seen = older.clone();
        let mut ids: BTreeSet<i32> = self.state.tables.keys().copied().collect();
        ids.extend(self.base.tables.keys());
        for id in ids {
            match (self.state.tables.get(&id), self.base.tables.get(&id)) {
                (Some(own), Some(base)) if Arc::ptr_eq(own, base) => {}
                (Some(own), _) => {
                    seen.tables.insert(id, Arc::clone(own));
                }
                (None, _) => {
                    seen.tables.remove(&id);
                }
            }
        }
        seen.clock = self.state.clock;
        seen
    }

    /// Whether any statement has begun.
    pub(crate) fn has_statements(&self) -> bool {
        self.command > 0
    }

    /// Notes that a statement begins: the clock moves on, and the history includes its text.
    pub(crate) fn statement(&mut self, text: &str) {
        let mut hash = Sha256::new();
        hash.update(self.state.history);
        hash.update(text.as_bytes());
        self.state.history = hash.finalize().into();
        self.state.clock = self.cell.clock().event(self.state.clock);
        self.command += 1;
    }

    /// Whether capture has written whatever was committed, as it does with every commit.
    pub(crate) fn is_captured(&self) -> bool {
        self.cell.schedule() == CaptureJob::EveryCommit && !self.cell.is_behind()
    }

    /// Keeps what is recorded of a statement that has succeeded, and which other databases it has read.
    pub(crate) fn recorded(
        &mut self,
        statement: Recorded,
        reads: Vec<(Arc<DatabaseCell>, u64)>,
    ) -> Result<(), ServerError> {
        self.recording.bytes += statement.bytes();
        if self.recording.bytes > record::LIMIT {
            return Err(ServerError::unrecordable(format!(
                "the transaction's statements are longer than {} bytes",
                record::LIMIT
            )));
        }
        self.recording.statements.push(statement);
        for (cell, version) in reads {
            let mut known = self.recording.reads.iter();
            if !known.any(|(read, seen)| Arc::ptr_eq(read, &cell) && *seen == version) {
                self.recording.reads.push((cell, version));
            }
        }
        Ok(())
    }

    /// Where the transaction stands.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            state: self.state.clone(),
            entries: self.entries.len(),
            command: self.command,
            defines: self.defines,
            recorded: self.recording.statements.len(),
        }
    }

    /// Undoes everything since a savepoint, but for the IDENTITY values that were given.
    pub(crate) fn undo(&mut self, savepoint: Savepoint) {
        let undone = std::mem::replace(&mut self.state, savepoint.state);
        let spent = keep_spent(&undone, &mut self.state);
        let statements = &mut self.recording.statements;
        statements.truncate(savepoint.recorded);
        if self.cell.record().is_some() {
            let spent = spent.recorded(&self.state);
            statements.extend(spent.into_iter().map(|(_, statement)| statement));
        }
        self.recording.bytes = statements.iter().map(Recorded::bytes).sum();
        self.entries.truncate(savepoint.entries);
        self.bytes = self.entries.iter().map(Entry::bytes).sum();
        self.command = savepoint.command;
        if self.defines && !savepoint.defines {
            self.end_definition();
        }
        self.forget_indexes();
        self.lock_definitions();
    }

    /// Forgets a table's key indexes, since its definition or all its rows change.
    pub(crate) fn forget(&mut self, object_id: i32) {
        self.seat.indexes.remove(&object_id);
    }

    /// Adds rows to a table; a duplicate key is 2627 and changes nothing.
    pub(crate) fn insert(&mut self, object_id: i32, rows: &RecordBatch) -> Result<(), ServerError> {
        let table = self.table(object_id)?;
        let rows = &self.with_versions(&table, rows)?;
        self.check_keys(&table, None, Some(rows))?;
        if let Some(table) = self.state.table_mut(object_id) {
            table.rows.append(rows).map_err(internal)?;
        }
        self.record(&table, || Images::Inserted(rows.clone()))
    }

    /// The rows with the next row versions in the column that has them.
    fn with_versions(
        &mut self,
        table: &Table,
        rows: &RecordBatch,
    ) -> Result<RecordBatch, ServerError> {
        let Some(at) = table.row_version() else {
            return Ok(rows.clone());
        };
        let first = self.state.row_version + 1;
        self.state.row_version += rows.num_rows() as u64;
        let versions = (first..=self.state.row_version).map(|version| version.to_be_bytes());
        let mut columns = rows.columns().to_vec();
        columns[at] = Arc::new(versions.map(Some).collect::<BinaryArray>());
        RecordBatch::try_new(rows.schema(), columns).map_err(internal)
    }

    /// Removes the rows of some ids.
    pub(crate) fn delete(&mut self, object_id: i32, ids: &[u64]) -> Result<(), ServerError> {
        if ids.is_empty() {
            return Ok(());
        }
        let table = self.table(object_id)?;
        let before = table.rows.rows(ids).map_err(internal)?;
        self.check_keys(&table, Some(&before), None)?;
        if let Some(table) = self.state.table_mut(object_id) {
            table.rows.remove(ids).map_err(internal)?;
        }
        self.record(&table, || Images::Deleted(before))
    }

    /// Replaces the rows of some ids, each different from what it was.
    pub(crate) fn update(
        &mut self,
        object_id: i32,
        ids: &[u64],
        before: RecordBatch,
        after: RecordBatch,
    ) -> Result<(), ServerError> {
        if ids.is_empty() {
            return Ok(());
        }
        let table = self.table(object_id)?;
        let after = self.with_versions(&table, &after)?;
        self.check_keys(&table, Some(&before), Some(&after))?;
        if let Some(table) = self.state.table_mut(object_id) {
            table.rows.replace(ids, &after).map_err(internal)?;
        }
        let moved = moved(&table, &before, &after).map_err(internal)?;
        self.record(&table, || Images::Updated {
            before,
            after,
            moved,
        })
    }

    fn table(&self, object_id: i32) -> Result<Arc<Table>, ServerError> {
        let table = self.state.tables.get(&object_id).cloned();
        let table = table.ok_or_else(|| ServerError::invalid_object(&object_id.to_string()))?;
        if table.shipped && !self.defines {
            return Err(ServerError::unsupported(
                "changes of capture's tables under another name",
            ));
        }
        Ok(table)
    }

    /// Whether changes of a table are captured.
    pub(crate) fn captures(&self, object_id: i32) -> bool {
        let capture = self.state.capture.as_ref();
        capture.is_some_and(|capture| capture.captures(object_id))
    }

    /// Keeps what capture will scan; error 9002 where the log could not take the transaction any more.
    fn record(
        &mut self,
        table: &Table,
        images: impl FnOnce() -> Images,
    ) -> Result<(), ServerError> {
        if !self.captures(table.object_id) {
            return Ok(());
        }
        let entry = Entry::Rows(Change {
            object_id: table.object_id,
            columns: Arc::clone(&table.columns),
            command: self.command,
            images: images(),
        });
        self.bytes += entry.bytes();
        self.entries.push(entry);
        self.cell.has_room(self.bytes)
    }

    fn check_keys(
        &mut self,
        table: &Table,
        before: Option<&RecordBatch>,
        after: Option<&RecordBatch>,
    ) -> Result<(), ServerError> {
        // A change table's key is the capture's own doing.
        let keys: &[Key] = if table.shipped { &[] } else { &table.keys };
        for key in keys {
            self.touched.insert(table.object_id);
            let indexes = self.seat.indexes.entry(table.object_id).or_default();
            let index = match indexes.entry(key.index_id) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(KeyIndex::build(table, key).map_err(internal)?)
                }
            };
            if let Err(position) = index.change(key, before, after).map_err(internal)? {
                self.seat.indexes.remove(&table.object_id);
                return Err(duplicate(table, key, after, position));
            }
        }
        Ok(())
    }

    /// Commits a transaction of several statements, which COMMIT ends.
    pub(crate) fn commit_transaction(mut self) -> Result<(), ServerError> {
        self.statement("COMMIT");
        self.recording.committed = true;
        self.commit()
    }

    /// Commits at the database's clock: the log has the changes, and everyone sees the new state. Where
    /// every commit is captured, it has been when this returns.
    pub(crate) fn commit(mut self) -> Result<(), ServerError> {
        self.cell.commit(Committing {
            state: self.state.clone(),
            entries: std::mem::take(&mut self.entries),
            began: self.began,
            defines: self.defines,
            recording: std::mem::take(&mut self.recording),
        })?;
        self.committed = true;
        if self.defines {
            self.end_definition();
        }
        capture::after_commit(&self.cell);
        Ok(())
    }

    fn end_definition(&mut self) {
        self.defines = false;
        self.cell.end_definition();
    }

    fn forget_indexes(&mut self) {
        for object_id in std::mem::take(&mut self.touched) {
            self.seat.indexes.remove(&object_id);
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.committed {
            self.forget_indexes();
            let mut committed = self.cell.committed().as_ref().clone();
            let spent = keep_spent(&self.state, &mut committed);
            if !spent.is_empty() {
                // A scan may have written meanwhile, so that it is its state that goes on.
                self.cell.publish(|newest| {
                    let mut next = newest.clone();
                    keep_spent(&self.state, &mut next);
                    next
                });
                if let Some(record) = self.cell.record() {
                    let mut turn = record.turn();
                    for (of, statement) in spent.recorded(&committed) {
                        turn.spend(&of, statement);
                    }
                    turn.flush();
                }
            }
        }
        if self.defines {
            self.end_definition();
        }
        // Before another has the seat.
        self.cell.locks().end_definition();
    }
}

/// An Arrow error where none can come from input.
pub(crate) fn internal(error: ArrowError) -> ServerError {
    ServerError::new(8630, format!("Internal Query Processor Error: {error}."))
}

/// The rows whose key, any of the table's, is another than before.
fn moved(
    table: &Table,
    before: &RecordBatch,
    after: &RecordBatch,
) -> Result<BooleanArray, ArrowError> {
    let mut moved = BooleanArray::from(vec![false; before.num_rows()]);
    for at in table.keys.iter().flat_map(|key| &key.columns) {
        moved = or(&moved, &distinct(before.column(*at), after.column(*at))?)?;
    }
    Ok(moved)
}

fn duplicate(
    table: &Table,
    key: &Key,
    after: Option<&RecordBatch>,
    position: usize,
) -> ServerError {
    let values: Vec<String> = key
        .columns
        .iter()
        .map(|at| key_text(table, *at, after, position))
        .collect();
    let values = values.join(", ");
    if key.constraint {
        ServerError::duplicate_key(key.primary, &key.name, &table.qualified(), &values)
    } else {
        ServerError::new(
            2601,
            format!(
                "Cannot insert duplicate key row in object '{}' with unique index '{}'. The duplicate key value is ({values}).",
                table.qualified(),
                key.name
            ),
        )
    }
}

fn key_text(table: &Table, column: usize, rows: Option<&RecordBatch>, row: usize) -> String {
    let sql_type = table.columns[column].sql_type;
    let value = rows
        .map(|rows| rows.column(column).slice(row, 1))
        .and_then(|array| values_of(&array).ok())
        .and_then(|values| values.into_iter().next());
    match value {
        Some(super::super::types::Value::Bytes(bytes)) => format!("0x{}", bytes_to_hex(&bytes)),
        Some(value) => text_of(&value, sql_type, 121).unwrap_or_else(|| "<NULL>".to_owned()),
        None => String::new(),
    }
}
