//! What a commit leaves in the change tables.

use std::sync::Arc;

use super::images::change_rows;
use super::metadata;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{Change, Images, State, internal};
use crate::simulator::types::{Value, array_of};

/// Length of `tran_id`, taken from the hash of the database's history.
const TRANSACTION_ID: usize = 10;

/// Gives a transaction its place in the log, and captures its changes.
///
/// `began` is when its first statement began; the database's clock says when it ends.
pub(crate) fn commit(
    state: &mut State,
    changes: &[Change],
    began: i64,
    wrote: bool,
) -> Result<(), ServerError> {
    let begin_lsn = state.log.record();
    let sequences: Vec<Vec<[u8; 10]>> = changes
        .iter()
        .map(|change| (0..row_count(change)).map(|_| state.log.record()).collect())
        .collect();
    let commit_lsn = state.log.commit();
    let Some(capture) = state.capture.clone() else {
        return Ok(());
    };
    for (change, sequence) in changes.iter().zip(&sequences) {
        for instance in &capture.instances {
            if instance.source == change.object_id {
                append_changes(state, change, instance, commit_lsn, sequence)?;
            }
        }
    }
    let begins = capture.instances.iter().any(|i| i.start_lsn.is_none());
    if begins {
        let mut capture = capture.as_ref().clone();
        for instance in &mut capture.instances {
            instance.start_lsn.get_or_insert(commit_lsn);
        }
        state.capture = Some(Arc::new(capture));
        metadata::refresh(state)?;
    }
    if wrote || begins {
        map_time(state, began, begin_lsn, commit_lsn)?;
    }
    Ok(())
}

fn row_count(change: &Change) -> usize {
    match &change.images {
        Images::Inserted(rows) | Images::Deleted(rows) => rows.num_rows(),
        Images::Updated { before, .. } => before.num_rows(),
    }
}

fn append_changes(
    state: &mut State,
    change: &Change,
    instance: &super::instance::Instance,
    commit_lsn: [u8; 10],
    sequence: &[[u8; 10]],
) -> Result<(), ServerError> {
    let (Some(source), Some(target)) = (
        state.tables.get(&instance.source),
        state.tables.get(&instance.change_table),
    ) else {
        return Ok(());
    };
    let rows =
        change_rows(change, instance, source, target, commit_lsn, sequence).map_err(internal)?;
    if let Some(target) = state.table_mut(instance.change_table) {
        target.rows.append(&rows).map_err(internal)?;
    }
    Ok(())
}

fn map_time(
    state: &mut State,
    began: i64,
    begin_lsn: [u8; 10],
    commit_lsn: [u8; 10],
) -> Result<(), ServerError> {
    let values = [
        Value::Bytes(commit_lsn.to_vec()),
        Value::Timestamp(began),
        Value::Timestamp(state.clock),
        Value::Bytes(state.history[..TRANSACTION_ID].to_vec()),
        Value::Bytes(begin_lsn.to_vec()),
    ];
    let Some(object_id) = state
        .table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING)
        .map(|table| table.object_id)
    else {
        return Ok(());
    };
    if let Some(table) = state.table_mut(object_id) {
        let columns = table
            .columns
            .iter()
            .zip(values)
            .map(|(column, value)| array_of(column.sql_type, [value]))
            .collect::<Result<Vec<_>, _>>()?;
        let row = datafusion::arrow::array::RecordBatch::try_new(table.arrow_schema(), columns)
            .map_err(internal)?;
        table.rows.append(&row).map_err(internal)?;
    }
    Ok(())
}
