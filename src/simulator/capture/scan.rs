//! A scan of the log: what transactions leave in the change tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;

use super::behaviour::CaptureBehaviour;
use super::definition;
use super::images::change_rows;
use super::metadata;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{Change, Entry, Logged, Lsn, State, internal};
use crate::simulator::types::{Value, array_of};

/// Whether the state has capture instances that no commit has begun yet.
pub(crate) fn begins(state: &State) -> bool {
    state.capture.as_ref().is_some_and(|capture| {
        let mut instances = capture.instances.iter();
        instances.any(|instance| instance.enabled.is_none())
    })
}

/// Begins them at a commit; `later` leaves their low end to the scan.
pub(crate) fn begin(state: &mut State, commit: Lsn, later: bool) -> Result<(), ServerError> {
    change_instances(state, |instance| {
        if instance.enabled.is_none() {
            instance.enabled = Some(commit);
            instance.start_lsn = (!later).then_some(commit);
        }
    })
}

fn change_instances(
    state: &mut State,
    change: impl FnMut(&mut super::Instance),
) -> Result<(), ServerError> {
    let Some(capture) = &mut state.capture else {
        return Ok(());
    };
    Arc::make_mut(capture).instances.iter_mut().for_each(change);
    metadata::refresh(state)
}

/// Captures transactions, in the order of the log; the number of rows that change tables have got.
pub(super) fn capture(
    state: &mut State,
    transactions: &[Arc<Logged>],
    behaviour: &CaptureBehaviour,
) -> Result<u64, ServerError> {
    let mut scan = Scan {
        state,
        behaviour,
        found: BTreeMap::new(),
        commands: 0,
    };
    let mut mapping = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        scan.transaction(transaction)?;
        mapping.push(transaction_row(transaction));
    }
    scan.write()?;
    let commands = scan.commands;
    let last = transactions.last().map(|logged| logged.commit_lsn);
    let waits = |capture: &Arc<super::Capture>| {
        let mut instances = capture.instances.iter();
        instances.any(|i| i.start_lsn.is_none() && i.enabled <= last)
    };
    if state.capture.as_ref().is_some_and(waits) {
        change_instances(state, |instance| {
            if instance.enabled <= last {
                instance.start_lsn = instance.start_lsn.or(instance.enabled);
            }
        })?;
    }
    map_times(state, mapping)?;
    Ok(commands)
}

struct Scan<'a> {
    state: &'a mut State,
    behaviour: &'a CaptureBehaviour,
    /// Rows that wait to be written, by change table.
    found: BTreeMap<i32, Vec<RecordBatch>>,
    commands: u64,
}

impl Scan<'_> {
    fn transaction(&mut self, transaction: &Logged) -> Result<(), ServerError> {
        for (entry, places) in &transaction.entries {
            match entry {
                Entry::Rows(change) => self.rows(change, transaction.commit_lsn, places)?,
                Entry::Definition(changed) => {
                    self.write()?;
                    let lsn = places.first().copied().unwrap_or(transaction.commit_lsn);
                    definition::capture(self.state, changed, lsn, transaction.commit_lsn)?;
                }
            }
        }
        Ok(())
    }

    fn rows(&mut self, change: &Change, commit: Lsn, places: &[Lsn]) -> Result<(), ServerError> {
        let Some(capture) = self.state.capture.clone() else {
            return Ok(());
        };
        for instance in &capture.instances {
            // A change of before the instance's beginning is not its own.
            if instance.source != change.object_id || !instance.has_begun(commit) {
                continue;
            }
            if let Some(target) = self.state.tables.get(&instance.change_table) {
                let rows = change_rows(change, instance, target, commit, places, self.behaviour)?;
                self.commands += rows.num_rows() as u64;
                let found = self.found.entry(instance.change_table).or_default();
                found.push(rows);
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), ServerError> {
        for (object_id, batches) in std::mem::take(&mut self.found) {
            if let Some(table) = self.state.table_mut(object_id) {
                let schema = table.arrow_schema();
                let all = datafusion::arrow::compute::concat_batches(&schema, &batches);
                table
                    .rows
                    .append(&all.map_err(internal)?)
                    .map_err(internal)?;
            }
        }
        Ok(())
    }
}

fn transaction_row(transaction: &Logged) -> Vec<Value> {
    vec![
        Value::Bytes(transaction.commit_lsn.to_vec()),
        Value::Timestamp(transaction.began),
        Value::Timestamp(transaction.ended),
        Value::Bytes(transaction.id.to_vec()),
        Value::Bytes(transaction.begin_lsn.to_vec()),
    ]
}

/// Adds an entry that stands for no transaction: `tran_id` is 0x00.
pub(super) fn map_idle(state: &mut State, lsn: Lsn, now: i64) -> Result<(), ServerError> {
    let row = vec![
        Value::Bytes(lsn.to_vec()),
        Value::Null,
        Value::Timestamp(crate::simulator::types::round_datetime(now)),
        Value::Bytes(vec![0]),
        Value::Bytes(vec![0; lsn.len()]),
    ];
    map_times(state, vec![row])
}

fn map_times(state: &mut State, rows: Vec<Vec<Value>>) -> Result<(), ServerError> {
    let Some(object_id) = state
        .table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING)
        .map(|table| table.object_id)
    else {
        return Ok(());
    };
    let Some(table) = state.table_mut(object_id).filter(|_| !rows.is_empty()) else {
        return Ok(());
    };
    let columns = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| array_of(column.sql_type, rows.iter().map(|row| row[at].clone())))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatch::try_new(table.arrow_schema(), columns).map_err(internal)?;
    table.rows.append(&rows).map_err(internal)
}
