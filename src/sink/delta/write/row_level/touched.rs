//! The rows of the target that a merge takes out.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BooleanArray, Int32Array, StringArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use roaring::RoaringTreemap;

use super::super::super::{RowCounts, SinkError};
use super::matching::Effect;

/// What one row in a bitmap takes at most, by and large.
const BYTES_PER_ROW: usize = 8;

/// Places of the columns before the keys in the rows of a matching plan.
const FILE_AT: usize = 0;
const ROW_AT: usize = 1;
const CLAUSE_AT: usize = 2;
const KEYS_AT: usize = 3;

/// The rows that were taken out so far, and how many of each kind.
pub(super) struct Touched {
    effects: Vec<Effect>,
    keys: Vec<String>,
    location: String,
    /// By the number of the file.
    rows: HashMap<i32, RoaringTreemap>,
    /// Those of [`Touched::rows`] that a clause deletes without a condition.
    erased: HashMap<i32, RoaringTreemap>,
    counts: RowCounts,
    /// How many rows of matching plans there were.
    taken: usize,
    reservation: MemoryReservation,
}

impl Touched {
    /// Nothing yet; `keys` are the columns that name a row in an error.
    pub(super) fn new(
        effects: Vec<Effect>,
        keys: Vec<String>,
        location: &str,
        pool: &Arc<dyn MemoryPool>,
    ) -> Self {
        Self {
            effects,
            keys,
            location: location.to_string(),
            rows: HashMap::new(),
            erased: HashMap::new(),
            counts: RowCounts::default(),
            taken: 0,
            reservation: MemoryConsumer::new("rows that a merge touches").register(pool),
        }
    }

    /// Holds the memory for `rows` rows, before the sorts and joins that find them take what they can get.
    pub(super) fn reserve(&mut self, rows: usize) -> Result<()> {
        let bytes = rows * BYTES_PER_ROW;
        let more = bytes.saturating_sub(self.reservation.size());
        self.reservation.try_grow(more)
    }

    /// Takes out the rows that a batch of a matching plan names.
    ///
    /// # Errors
    ///
    /// Two source rows change one row of the target.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<Taken> {
        let rows = batch.num_rows();
        self.taken += rows;
        self.reserve(self.taken)?;
        let clauses = batch.column(CLAUSE_AT).as_primitive::<Int32Type>();
        let (mut before, mut after) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let (was, is) = match self.effect(clauses, row)? {
                Effect::Insert => {
                    self.counts.inserted += 1;
                    (None, Some(Change::Insert))
                }
                Effect::Update => {
                    self.remove(batch, row, false)?;
                    self.counts.updated += 1;
                    (Some(Change::UpdatePreimage), Some(Change::UpdatePostimage))
                }
                Effect::Delete { always } if self.remove(batch, row, always)? => {
                    self.counts.deleted += 1;
                    (Some(Change::Delete), None)
                }
                Effect::Delete { .. } => (None, None),
            };
            before.push(was);
            after.push(is);
        }
        Ok(Taken { before, after })
    }

    fn effect(&self, clauses: &Int32Array, row: usize) -> Result<Effect> {
        let number = usize::try_from(clauses.value(row)).ok();
        number
            .and_then(|number| self.effects.get(number).copied())
            .ok_or_else(|| exec_datafusion_err!("a row of a merge is of no clause"))
    }

    /// Takes out the target's row of `row`; false if it is out already and stays so.
    fn remove(&mut self, batch: &RecordBatch, row: usize, always: bool) -> Result<bool> {
        let file = batch.column(FILE_AT).as_primitive::<Int32Type>().value(row);
        let number = batch.column(ROW_AT).as_primitive::<Int64Type>().value(row);
        let number = number.cast_unsigned();
        if self.rows.entry(file).or_default().insert(number) {
            if always {
                self.erased.entry(file).or_default().insert(number);
            }
            return Ok(true);
        }
        let erased = self.erased.get(&file);
        if always && erased.is_some_and(|erased| erased.contains(number)) {
            return Ok(false);
        }
        Err(SinkError::DuplicateMatch {
            location: self.location.clone(),
            key: self.key(batch, row),
        }
        .into())
    }

    fn key(&self, batch: &RecordBatch, row: usize) -> Option<String> {
        if self.keys.is_empty() {
            return None;
        }
        let columns = batch.columns().iter().skip(KEYS_AT);
        let parts = self.keys.iter().zip(columns).map(|(key, column)| {
            let value = array_value_to_string(column, row).ok()?;
            Some(format!("{key} = {value}"))
        });
        Some(parts.collect::<Option<Vec<_>>>()?.join(", "))
    }

    /// How many rows were inserted, updated and deleted.
    pub(super) fn counts(&self) -> RowCounts {
        self.counts
    }

    /// The rows that are out, by the number of their file.
    pub(super) fn rows(&self) -> &HashMap<i32, RoaringTreemap> {
        &self.rows
    }
}

/// What the change feed says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Insert,
    UpdatePreimage,
    UpdatePostimage,
    Delete,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdatePreimage => "update_preimage",
            Self::UpdatePostimage => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

/// What became of the rows of a batch: as they were, and as they are.
pub(super) struct Taken {
    before: Vec<Option<Change>>,
    after: Vec<Option<Change>>,
}

impl Taken {
    /// The new images in `batch`, after `keys` keys, as rows of `schema`.
    pub(super) fn images(
        &self,
        batch: &RecordBatch,
        keys: usize,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let images = columns_from(batch, KEYS_AT + keys, schema)?;
        let stays: BooleanArray = self.after.iter().map(|is| Some(is.is_some())).collect();
        Ok(filter_record_batch(&images, &stays)?)
    }

    /// The rows of the change feed in `batch`, which has the old images after the new ones; `schema` is the feed's,
    /// [`CHANGE_TYPE`](super::images::CHANGE_TYPE) last.
    pub(super) fn changes(
        &self,
        batch: &RecordBatch,
        keys: usize,
        schema: &SchemaRef,
    ) -> Result<[RecordBatch; 2]> {
        let columns = schema.fields().len() - 1;
        let first = KEYS_AT + keys;
        Ok([
            feed_rows(batch, first + columns, &self.before, schema)?,
            feed_rows(batch, first, &self.after, schema)?,
        ])
    }
}

fn feed_rows(
    batch: &RecordBatch,
    first: usize,
    changes: &[Option<Change>],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let names: StringArray = changes
        .iter()
        .map(|change| change.map(Change::name))
        .collect();
    let some: BooleanArray = changes
        .iter()
        .map(|change| Some(change.is_some()))
        .collect();
    let last = first + schema.fields().len() - 1;
    let mut columns = batch.columns()[first..last].to_vec();
    columns.push(Arc::new(names));
    let rows = RecordBatch::try_new(Arc::clone(schema), columns)?;
    Ok(filter_record_batch(&rows, &some)?)
}

/// The columns of `batch` from the one at `first`, under `schema`.
fn columns_from(batch: &RecordBatch, first: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns()[first..first + schema.fields().len()].to_vec();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
