//! Large values that changes lack, read from the live table by the keys of their rows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array};
use datafusion::arrow::compute::{interleave, take};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::Result;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::sync::OnceCell;

use super::captured::CapturedTable;
use super::catalogue::{SourceColumn, SourceTable, TableEntry, source_table};
use super::caution::Cautions;
use super::error::SourceError;
use super::large::{KEPT, KNOWN, MISSING, SPARE, in_state, is_lacking, parts};
use super::last_images::KnownRows;
use super::live::LiveRows;
use super::part::key_filter;
use super::pool::Pool;
use super::scan::collect;
use crate::change::Lsn;

/// How many keys the first question has; a question has up to [`MOST_KEYS`], while the answers are small.
const FIRST_KEYS: usize = 1;
const MOST_KEYS: usize = 128;
/// Where an answer has more bytes, the question is asked anew with half the keys; one of less than an eighth of them
/// doubles the next.
const ANSWER_BYTES: usize = 16 << 20;

/// Reads the large values of rows from the live table.
///
/// They are as they are now, which may be later than the end of the window: the change that made them follows. Rows that
/// are not there any more are left out, since their deletes follow. The server that answers must have captured up to
/// the window's end, or a row could be missing because it is not there yet.
#[derive(Debug)]
pub(super) struct ReadBack {
    pool: Pool,
    table: Arc<CapturedTable>,
    /// The end of the window.
    floor: Lsn,
    /// The large columns, as places among the captured ones.
    large: Vec<usize>,
    /// The live table's key and large columns.
    source: OnceCell<Arc<SourceTable>>,
    keys_at_once: AtomicUsize,
}

impl ReadBack {
    pub(super) fn new(
        pool: Pool,
        table: Arc<CapturedTable>,
        floor: Lsn,
        large: Vec<usize>,
    ) -> Self {
        Self {
            pool,
            table,
            floor,
            large,
            source: OnceCell::new(),
            keys_at_once: AtomicUsize::new(FIRST_KEYS),
        }
    }

    /// `rows` with the values that are not known, in parts of which each has as many of such rows as one question;
    /// without `reader`, `rows` as they are.
    pub(super) fn filled(
        reader: Option<Arc<Self>>,
        rows: KnownRows,
    ) -> BoxStream<'static, Result<KnownRows>> {
        let Some(reader) = reader else {
            return stream::once(std::future::ready(Ok(rows))).boxed();
        };
        let lacking = match lacking(&rows) {
            Ok(lacking) if lacking.is_empty() => {
                return stream::once(std::future::ready(Ok(rows))).boxed();
            }
            Ok(lacking) => lacking,
            Err(error) => return stream::once(std::future::ready(Err(error))).boxed(),
        };
        let begin = (reader, rows, lacking, 0);
        stream::try_unfold(begin, |(reader, rows, lacking, from)| async move {
            if from >= rows.count {
                return Ok(None);
            }
            let first = lacking.partition_point(|row| *row < from);
            let mut most = usize::MAX;
            loop {
                let keys = reader.keys_at_once.load(Ordering::Relaxed).min(most);
                let upto = lacking.get(first + keys).copied().unwrap_or(rows.count);
                let asked = &lacking[first..(first + keys).min(lacking.len())];
                let Some(found) = reader.found(&rows.keys, asked).await? else {
                    most = asked.len() / 2;
                    continue;
                };
                let part = part(&rows, from..upto, asked, &found)?;
                return Ok(Some((part, (reader, rows, lacking, upto))));
            }
        })
        .boxed()
    }

    /// The live rows with the keys of the rows `asked`, in the columns of [`ReadBack::source`]; `None` where they are more
    /// than is read at once, and fewer are to be asked for.
    async fn found(
        &self,
        keys: &[ArrayRef],
        asked: &[usize],
    ) -> std::result::Result<Option<Vec<RecordBatch>>, SourceError> {
        if self.table.row_filter {
            let why = "a security policy filters the table's rows, so that one that is not found may be there";
            return Err(self.refused(why.to_string()));
        }
        let source = self.source().await?;
        let places: Vec<usize> = (0..keys.len()).collect();
        let Some(filter) = key_filter(&source.columns, &places, keys, asked)? else {
            let keys = self.table.key_names().join(", ");
            return Err(self.refused(format!("rows cannot be looked up by their key ({keys})")));
        };
        let schema = source.columns.iter();
        let schema = schema.map(|column| Field::new(&column.name, column.sql_type.arrow(), true));
        let schema = Arc::new(Schema::new(schema.collect::<Vec<_>>()));
        let rows = LiveRows::matching(self.pool.clone(), source, schema, filter, self.floor)?;
        // The values of one row have to be held, however large they are.
        let most = if asked.len() > 1 {
            ANSWER_BYTES
        } else {
            usize::MAX
        };
        let Some(found) = collect(Arc::new(rows), most).await? else {
            self.keys_at_once.store(asked.len() / 2, Ordering::Relaxed);
            return Ok(None);
        };
        let bytes: usize = found.iter().map(RecordBatch::get_array_memory_size).sum();
        let most = (MOST_KEYS / self.table.key.len().max(1)).max(1);
        if bytes < ANSWER_BYTES / 8 && asked.len() == self.keys_at_once.load(Ordering::Relaxed) {
            let more = (asked.len() * 2).min(most);
            self.keys_at_once.store(more, Ordering::Relaxed);
        }
        Ok(Some(found))
    }

    fn refused(&self, why: String) -> SourceError {
        SourceError::NoReadBack {
            table: self.table.name.clone(),
            why,
        }
    }

    /// The live table as far as it is read: its key's columns, then the large ones.
    async fn source(&self) -> std::result::Result<Arc<SourceTable>, SourceError> {
        let source = self.source.get_or_try_init(|| async {
            let entry = TableEntry {
                name: self.table.name.clone(),
                object_id: self.table.source_object_id,
            };
            let live = source_table(&self.pool, &entry).await?;
            let mut columns = Vec::with_capacity(self.table.key.len() + self.large.len());
            for index in &self.table.key {
                let name = self.live_name(*index)?;
                let mut found = live.columns.iter();
                let Some(column) = found.find(|column| column.name == name) else {
                    return Err(self.dropped(*index));
                };
                columns.push(column.clone());
            }
            for index in &self.large {
                // As changes are read, whatever the live table has by now.
                let sql_type = self.table.columns[*index].sql_type.clone();
                columns.push(SourceColumn::read_only(self.live_name(*index)?, sql_type));
            }
            let name = self.table.name.clone();
            Ok(Arc::new(SourceTable::new(
                name,
                columns,
                Cautions::default(),
            )))
        });
        source.await.map(Arc::clone)
    }

    fn live_name(&self, index: usize) -> std::result::Result<&str, SourceError> {
        let column = &self.table.columns[index];
        column.source_name().ok_or_else(|| self.dropped(index))
    }

    fn dropped(&self, index: usize) -> SourceError {
        SourceError::DroppedColumn {
            table: self.table.name.clone(),
            column: self.table.columns[index].name.clone(),
        }
    }
}

/// The rows with a value that the target has to have, in their order.
fn lacking(rows: &KnownRows) -> Result<Vec<usize>> {
    let states = rows.large.iter().map(|place| {
        let (_, states) = parts(&rows.columns[*place])?;
        Ok(states)
    });
    let states = states.collect::<Result<Vec<_>>>()?;
    let lacks = |row: &usize| states.iter().any(|states| is_lacking(states.value(*row)));
    Ok((0..rows.count).filter(lacks).collect())
}

/// The rows of `range`, of which `asked` lack values that are looked for in `found`.
fn part(
    rows: &KnownRows,
    range: Range<usize>,
    asked: &[usize],
    found: &[RecordBatch],
) -> Result<KnownRows> {
    let converter = RowConverter::new(
        rows.keys
            .iter()
            .map(|key| SortField::new(key.data_type().clone()))
            .collect(),
    )?;
    let mut places: HashMap<OwnedRow, (usize, usize)> = HashMap::new();
    for (number, batch) in found.iter().enumerate() {
        let keys = converter.convert_columns(&batch.columns()[..rows.keys.len()])?;
        let keys = keys.iter().enumerate();
        places.extend(keys.map(|(row, key)| (key.owned(), (number + 1, row))));
    }
    let keys: Vec<ArrayRef> = sliced(&rows.keys, &range);
    let keys = converter.convert_columns(&keys)?;
    let mut picks = Vec::with_capacity(range.len());
    for row in range.clone() {
        let own = (0, row);
        if asked.binary_search(&row).is_err() {
            picks.push((own, own));
        } else if let Some(place) = places.get(&keys.row(row - range.start).owned()) {
            picks.push((own, *place));
        }
    }
    filled(rows, found, &picks)
}

fn sliced(columns: &[ArrayRef], range: &Range<usize>) -> Vec<ArrayRef> {
    let slice = |column: &ArrayRef| column.slice(range.start, range.len());
    columns.iter().map(slice).collect()
}

/// A row of the rows themselves, and of those or of what was found.
type Pick = ((usize, usize), (usize, usize));

/// The picked rows, with the large values that they lack from `found`, whose last columns are these.
fn filled(rows: &KnownRows, found: &[RecordBatch], picks: &[Pick]) -> Result<KnownRows> {
    let own = picks.iter().map(|((_, row), _)| *row as u32);
    let own = UInt32Array::from_iter_values(own);
    let taken = |column: &ArrayRef| take(column, &own, None);
    let keys = rows.keys.iter().map(taken);
    let keys = keys.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut columns = Vec::with_capacity(rows.columns.len());
    for (place, column) in rows.columns.iter().enumerate() {
        let Some(number) = rows.large.iter().position(|large| *large == place) else {
            columns.push(taken(column)?);
            continue;
        };
        let (_, states) = parts(column)?;
        // The target's value goes before one that may be later, but not where it is another row's.
        let others = [SPARE, KNOWN].into_iter().flat_map(|state| {
            let values = found
                .iter()
                .map(|batch| batch.column(rows.keys.len() + number));
            values.map(move |values| in_state(Arc::clone(values), state))
        });
        let sources: Vec<ArrayRef> = std::iter::once(Arc::clone(column)).chain(others).collect();
        let sources: Vec<&dyn Array> = sources.iter().map(|source| source.as_ref()).collect();
        let picks = picks.iter().map(|(own, other)| match states.value(own.1) {
            KEPT => *other,
            MISSING => (other.0 + found.len(), other.1),
            _ => *own,
        });
        columns.push(interleave(&sources, &picks.collect::<Vec<_>>())?);
    }
    Ok(KnownRows {
        keys,
        columns,
        large: rows.large.clone(),
        count: picks.len(),
    })
}
