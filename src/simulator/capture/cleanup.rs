//! Cleanup: the low end of an instance moves first, then the rows below it go.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::TimestampMicrosecondType;

use super::enable::enabled;
use super::metadata;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{DatabaseCell, Lsn, State, Table, internal, row_id};

/// What a cleanup still has to delete.
#[derive(Debug, Clone)]
pub(crate) struct Cleanup {
    change_table: i32,
    mark: Lsn,
}

/// Moves the low end of an instance up to a mark, which is an entry of the mapping, or `None` for the
/// present low end. Nothing to do where there is none yet.
pub(super) fn begin(
    state: &mut State,
    name: &str,
    mark: Option<Lsn>,
) -> Result<Option<Cleanup>, ServerError> {
    let capture = enabled(state)?;
    let instance = capture
        .instance(name)
        .ok_or_else(|| unknown_instance(name))?;
    let Some(mark) = mark.or(instance.start_lsn) else {
        return Ok(None);
    };
    let cleanup = Cleanup {
        change_table: instance.change_table,
        mark,
    };
    let start = instance.start_lsn;
    if start != Some(mark) {
        let known = state
            .table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING)
            .is_some_and(|mapping| rows_where(mapping, |lsn| lsn == mark).next().is_some());
        if !known {
            return Err(no_such_mark());
        }
        if start.is_some_and(|start| mark < start) {
            return Err(ServerError::new(
                22957,
                "LSN low water mark is less than or equal to the current low water mark of the capture instance.",
            ));
        }
        let mut capture = capture.as_ref().clone();
        let changed = capture
            .instances
            .iter_mut()
            .find(|i| i.change_table == cleanup.change_table);
        if let Some(instance) = changed {
            instance.start_lsn = Some(mark);
        }
        state.capture = Some(Arc::new(capture));
        metadata::refresh(state)?;
    }
    Ok(Some(cleanup))
}

/// Deletes the rows below the mark, and the mapping's entries that no instance reaches any more.
pub(super) fn finish(state: &mut State, cleanup: &Cleanup) -> Result<(), ServerError> {
    remove_below(state, cleanup.change_table, cleanup.mark)?;
    let oldest = state.capture.as_ref().and_then(|capture| {
        let starts = capture.instances.iter().map(|instance| instance.start_lsn);
        starts.min().flatten()
    });
    let mapping = state
        .table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING)
        .map(|table| table.object_id);
    match (oldest, mapping) {
        (Some(oldest), Some(mapping)) => remove_below(state, mapping, oldest),
        _ => Ok(()),
    }
}

fn unknown_instance(name: &str) -> ServerError {
    ServerError::new(
        22965,
        format!("Capture instance '{name}' does not exist in the current database."),
    )
}

/// Error 22964.
pub(super) fn no_such_mark() -> ServerError {
    ServerError::new(
        22964,
        "LSN specified as the low water mark for cleanup does not exist in cdc.lsn_time_mapping.",
    )
}

/// The first half, as its own transaction.
pub(super) fn move_low_end(
    cell: &DatabaseCell,
    instance: &str,
    mark: Lsn,
) -> Result<Cleanup, ServerError> {
    let begun = written(cell, |state| begin(state, instance, Some(mark)))?;
    begun.ok_or_else(no_such_mark)
}

/// The second half, as its own transaction.
pub(super) fn delete_rows(cell: &DatabaseCell, cleanup: &Cleanup) -> Result<(), ServerError> {
    written(cell, |state| finish(state, cleanup))
}

/// The cleanup job: for every instance, what is older than the retention, counted from the newest commit.
pub(super) fn by_retention(cell: &DatabaseCell) -> Result<(), ServerError> {
    let state = cell.committed();
    let capture = enabled(&state)?;
    let Some(settings) = capture.jobs.cleanup else {
        return Err(ServerError::new(
            22836,
            format!(
                "Could not find the cleanup job of database '{}'. It was dropped with sys.sp_cdc_drop_job.",
                state.name
            ),
        ));
    };
    let Some(mark) = mark_of_retention(&state, settings.retention) else {
        return Ok(());
    };
    for instance in &capture.instances {
        if instance.start_lsn.is_some_and(|start| start < mark) {
            let cleanup = move_low_end(cell, &instance.name, mark)?;
            delete_rows(cell, &cleanup)?;
        }
    }
    Ok(())
}

/// The oldest entry of the mapping that is to be kept.
fn mark_of_retention(state: &State, minutes: i64) -> Option<Lsn> {
    let mapping = state.table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING)?;
    let entries = || {
        mapping.rows.chunks().iter().flat_map(|chunk| {
            let lsns = chunk.column(0).as_binary::<i32>();
            let times = chunk.column(2).as_primitive::<TimestampMicrosecondType>();
            lsns.iter().flatten().zip(times.iter().flatten())
        })
    };
    let newest = entries().map(|(_, at)| at).max()?;
    let oldest = newest.saturating_sub(minutes.saturating_mul(60_000_000));
    let kept = entries().filter(|(_, at)| *at >= oldest);
    kept.map(|(lsn, _)| lsn).min()?.try_into().ok()
}

fn written<T>(
    cell: &DatabaseCell,
    work: impl FnOnce(&mut State) -> Result<T, ServerError>,
) -> Result<T, ServerError> {
    let done = cell.scan(None, 0, |state, _| {
        let mut next = state.clone();
        let result = work(&mut next);
        if result.is_ok() {
            *state = next;
        }
        (0, result)
    });
    done.unwrap_or_else(|| Err(ServerError::lock_timeout()))
}

/// Ids of the rows whose first column, an LSN, meets a condition.
fn rows_where<'a>(
    table: &'a Table,
    holds: impl Fn(&[u8]) -> bool + 'a,
) -> impl Iterator<Item = u64> + 'a {
    let chunks = table.rows.chunks().iter().enumerate();
    chunks.flat_map(move |(number, chunk)| {
        let lsns = chunk.column(0).as_binary::<i32>();
        (0..chunk.num_rows())
            .filter(|row| holds(lsns.value(*row)))
            .map(|row| row_id(number, row))
            .collect::<Vec<_>>()
    })
}

fn remove_below(state: &mut State, object_id: i32, mark: Lsn) -> Result<(), ServerError> {
    if let Some(table) = state.table_mut(object_id) {
        let old: Vec<u64> = rows_where(table, |lsn| lsn < mark.as_slice()).collect();
        table.rows.remove(&old).map_err(internal)?;
    }
    Ok(())
}
