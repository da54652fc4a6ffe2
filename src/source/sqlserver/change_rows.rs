//! Reading a window of a change table: guards checked, commits dated, rows decoded.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use tiberius::{Row, ToSql};

use crate::change::{ChangeType, Lsn, LsnRange};

use super::bulk::Rows;
use super::captured::CapturedTable;
use super::cell::{Cell, Cells, Parameter, missing, row_count};
use super::changes::{FIRST_POSITION, Images, Value, guarded};
use super::commit_times::CommitTimes;
use super::dates::{Dates, clocks, known};
use super::decode::unexpected;
use super::error::SourceError;
use super::large::{KNOWN, MISSING};
use super::pool::Pool;
use super::relation::explained;
use super::scan::{Batcher, Output, RowSource};

/// The rows of a window.
#[derive(Debug)]
pub(super) struct ChangeRows {
    /// The query of the rows, without its guards.
    pub(super) sql: String,
    /// How many rows are enough.
    pub(super) limit: Option<usize>,
    pub(super) pool: Pool,
    pub(super) table: Arc<CapturedTable>,
    pub(super) window: Option<LsnRange>,
    pub(super) images: Images,
    pub(super) values: Vec<Value>,
    pub(super) schema: SchemaRef,
    pub(super) ascending: Option<usize>,
}

impl RowSource for ChangeRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn ascending(&self) -> Option<usize> {
        self.ascending
    }

    fn describe(&self) -> String {
        let window = self.window.map(|window| window.to_string());
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        format!(
            "changes of {} in {}, columns=[{}]{}: {}",
            self.table.name,
            window.as_deref().unwrap_or("no window"),
            columns.collect::<Vec<_>>().join(", "),
            self.limit
                .map(|rows| format!(", limit={rows}"))
                .unwrap_or_default(),
            self.sql
        )
    }

    fn read(self: Arc<Self>, output: Output) -> BoxFuture<'static, Result<(), SourceError>> {
        async move {
            match self.window {
                Some(window) if !window.is_empty() => self
                    .stream(window, &output)
                    .await
                    .map_err(|error| explained(&self.table, error)),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

impl ChangeRows {
    async fn stream(&self, window: LsnRange, output: &Output) -> Result<(), SourceError> {
        let action = format!("reading the changes of {}", self.table.name);
        let failed = |error| self.pool.error(&action, error);
        let (mut lease, times) = if self.values.contains(&Value::CommitTimestamp) {
            let known = known(&self.pool).await?;
            let (rows, times) = self.pool.lend_two().await?;
            (rows, Some(CommitTimes::new(times, known, window.upto())))
        } else {
            (self.pool.lend().await?, None)
        };
        let (after, upto) = (
            Parameter::Lsn(window.after()),
            Parameter::Lsn(window.upto()),
        );
        let change_id = Parameter::Int(self.table.change_object_id);
        let mut parameters: Vec<&dyn ToSql> = vec![&after, &upto, &change_id];
        let limit = self.limit.map(row_count);
        if let Some(limit) = &limit {
            parameters.push(limit);
        }
        let (client, rows) = lease.client_for_many(CHANGES);
        let stream = client
            .query(guarded(&self.sql), &parameters)
            .await
            .map_err(failed)?;
        let mut stream = stream.into_row_stream();
        let mut decoder = Decoder::new(self, (window, rows), times, &action);
        while let Some(row) = stream.next().await {
            decoder.take(row.map_err(failed)?)?;
            while decoder.next_change().await? {
                if let Some(batch) = decoder.batcher.end_row()?
                    && !output.send(batch).await
                {
                    return Ok(());
                }
            }
        }
        drop(stream);
        lease.give_back();
        if let Some(batch) = decoder.finish()? {
            let _ = output.send(batch).await;
        }
        Ok(())
    }
}

/// The result set of the three that has the changes.
const CHANGES: usize = 1;

/// Takes the three result sets of one read apart.
struct Decoder<'a> {
    source: &'a ChangeRows,
    window: LsnRange,
    action: &'a str,
    rows: Rows,
    /// The update mask of the change at hand.
    mask: Vec<u8>,
    batcher: Batcher,
    times: Option<CommitTimes<'a>>,
    guards: usize,
    position: u64,
    /// The last LSN and its hex digits: rows of a transaction share them.
    version: (Lsn, String),
}

impl<'a> Decoder<'a> {
    fn new(
        source: &'a ChangeRows,
        (window, rows): (LsnRange, Rows),
        times: Option<CommitTimes<'a>>,
        action: &'a str,
    ) -> Self {
        let builders = source
            .values
            .iter()
            .map(|value| value.builder(&source.table))
            .collect();
        Self {
            rows,
            mask: Vec::new(),
            batcher: Batcher::new(Arc::clone(&source.schema), builders),
            times,
            source,
            window,
            action,
            guards: 0,
            position: FIRST_POSITION,
            version: (Lsn::ZERO, Lsn::ZERO.to_hex()),
        }
    }

    /// Takes a row of the driver.
    fn take(&mut self, row: Row) -> Result<(), SourceError> {
        match row.result_index() {
            0 => self.guard_before(&row),
            CHANGES => self.rows.take(row).map_err(|error| self.broken(error)),
            _ => self.guard(&Cells::new(&row, self.action)),
        }
    }

    fn broken(&self, error: tiberius::error::Error) -> SourceError {
        self.source.pool.error(self.action, error)
    }

    fn guard_before(&mut self, row: &Row) -> Result<(), SourceError> {
        let cells = Cells::new(row, self.action);
        self.guard(&cells)?;
        check_visible(self.window, cells.lsn(1)?)?;
        if let Some(times) = &mut self.times {
            let dates = Dates::at(&self.source.pool, times.known(), clocks(&cells, 2)?)?;
            times.dated_by(dates);
        }
        Ok(())
    }

    fn guard(&mut self, cells: &Cells<'_>) -> Result<(), SourceError> {
        self.guards += 1;
        let minimum = cells.lsn(0)?;
        check_minimum(&self.source.table, self.window, minimum)
    }

    /// Appends the next change; false if there is none yet.
    async fn next_change(&mut self) -> Result<bool, SourceError> {
        if !self.rows.next_row().map_err(|error| self.broken(error))? {
            return Ok(false);
        }
        let table = &self.source.table;
        let lsn = self.fixed(0, |cell| cell.lsn())?;
        let lsn = lsn.ok_or_else(|| SourceError::ChangesHidden {
            table: table.name.clone(),
        })?;
        let operation = self.fixed(1, |cell| cell.required_int())?;
        let kind = change_type(table, operation, self.source.images)?;
        let values = &self.source.values;
        let has_images = values.iter().any(|value| matches!(value, Value::Image(_)));
        let has_mask = has_images && self.read_mask()?;
        // What every row has has come; the rest are the captured columns in the order of the values.
        for (index, value) in values.iter().enumerate() {
            match value {
                Value::Captured(column) => self.captured(index, *column)?,
                Value::Image(column) => {
                    let mask = has_mask.then_some(self.mask.as_slice());
                    let null = null_state(table, operation, mask, *column);
                    self.batcher.builder(index).tell_null(null);
                    self.captured(index, *column)?;
                }
                Value::ChangeType => self.batcher.builder(index).append_str(kind.as_str()),
                Value::CommitVersion => self.version(index, lsn),
                Value::Position => self.batcher.builder(index).append_position(self.position),
                Value::CommitTimestamp => {
                    if let Some(times) = &mut self.times {
                        let micros = times.micros(table, lsn).await?;
                        self.batcher.builder(index).append_micros(micros);
                    }
                }
            }
        }
        self.position += 1;
        Ok(true)
    }

    /// The next cell, one of those that every change begins with.
    fn fixed<T>(
        &mut self,
        index: usize,
        read: impl FnOnce(&Cell<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let (source, action) = (self.source, self.action);
        let read = self
            .rows
            .cell(|value| read(&Cell::new(&value, index, action)));
        match read {
            Ok(Some(read)) => read,
            Ok(None) => Err(missing(action, index)),
            Err(error) => Err(source.pool.error(action, error)),
        }
    }

    /// Keeps the update mask, which is the next cell; false if that is NULL.
    fn read_mask(&mut self) -> Result<bool, SourceError> {
        let mut mask = std::mem::take(&mut self.mask);
        mask.clear();
        let has_mask = self.fixed(2, |cell| {
            let bytes = cell.bytes()?;
            mask.extend_from_slice(bytes.unwrap_or_default());
            Ok(bytes.is_some())
        })?;
        self.mask = mask;
        Ok(has_mask)
    }

    fn version(&mut self, index: usize, lsn: Lsn) {
        if self.version.0 != lsn {
            self.version = (lsn, lsn.to_hex());
        }
        self.batcher.builder(index).append_str(&self.version.1);
    }

    /// Appends the next cell, of a captured column.
    fn captured(&mut self, index: usize, column: usize) -> Result<(), SourceError> {
        let (source, action) = (self.source, self.action);
        let (batcher, mut refused) = (&mut self.batcher, None);
        let appended = self.rows.cell(|value| {
            if !batcher.append(index, &value) {
                let column = &source.table.columns[column];
                refused = Some(unexpected(&column.name, &column.sql_type, &value));
            }
        });
        match appended {
            Ok(Some(())) => refused.map_or(Ok(()), Err),
            Ok(None) => Err(missing(action, index)),
            Err(error) => Err(source.pool.error(action, error)),
        }
    }

    /// The last batch. A guard without a row means that the instance has gone.
    fn finish(mut self) -> Result<Option<RecordBatch>, SourceError> {
        if self.guards != 2 {
            return Err(SourceError::InstanceDropped {
                table: self.source.table.name.clone(),
                instance: self.source.table.instance.clone(),
            });
        }
        if let Some(times) = self.times.take() {
            times.give_back();
        }
        self.batcher.flush()
    }
}

/// Everything after `window.after()` must still be there: cleanup moves the minimum before it deletes.
pub(super) fn check_minimum(
    table: &CapturedTable,
    window: LsnRange,
    minimum: Option<Lsn>,
) -> Result<(), SourceError> {
    let Some(min) = minimum else {
        return Err(SourceError::ChangesHidden {
            table: table.name.clone(),
        });
    };
    if window.after().increment().is_none_or(|first| min <= first) {
        return Ok(());
    }
    Err(SourceError::Purged {
        table: table.name.clone(),
        instance: table.instance.clone(),
        after: window.after(),
        min,
    })
}

/// The server that answers, which may be a secondary, must have captured up to the window's end.
pub(super) fn check_visible(window: LsnRange, visible: Option<Lsn>) -> Result<(), SourceError> {
    let visible = visible.unwrap_or(Lsn::ZERO);
    if visible < window.upto() {
        return Err(SourceError::Behind {
            upto: window.upto(),
            visible,
        });
    }
    Ok(())
}

/// What NULL in an image of a large column stands for, if it tells anything: a value, or one that was left out of a row
/// that had another key before.
fn null_state(
    table: &CapturedTable,
    operation: i32,
    mask: Option<&[u8]>,
    column: usize,
) -> Option<i8> {
    let is_changed = |column: usize| is_set(mask, table.columns[column].ordinal);
    match ChangeType::from_operation(operation)? {
        ChangeType::Insert => Some(KNOWN),
        ChangeType::UpdatePostimage if is_changed(column) => Some(KNOWN),
        ChangeType::UpdatePostimage => {
            let has_moved = table.key.iter().any(|key| is_changed(*key));
            has_moved.then_some(MISSING)
        }
        _ => None,
    }
}

/// Bytes of the update mask run backwards: ordinal 1 is the lowest bit of the last byte.
fn is_set(mask: Option<&[u8]>, ordinal: u32) -> bool {
    let bit = ordinal.saturating_sub(1);
    let byte = mask.and_then(|mask| mask.iter().rev().nth(bit as usize / 8));
    byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

fn change_type(
    table: &CapturedTable,
    operation: i32,
    images: Images,
) -> Result<ChangeType, SourceError> {
    match (ChangeType::from_operation(operation), images) {
        (Some(ChangeType::UpdatePreimage), Images::Net) => Ok(ChangeType::Delete),
        (Some(kind), _) => Ok(kind),
        (None, _) => Err(SourceError::UnknownOperation {
            table: table.name.clone(),
            operation,
        }),
    }
}

#[cfg(test)]
mod tests;
