//! Rows in Arrow chunks, shared between a table's versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::{concat_batches, filter_record_batch, interleave, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use crate::simulator::protocol::ServerError;

/// Rows of a chunk at most.
const CHUNK: usize = 8192;
/// A chunk that is shorter is copied when rows are added, else a new one begins.
const SHORT: usize = 2048;

/// The column that [`Rows::with_ids`] adds.
pub(crate) const ROW_ID: &str = "__rowid";

/// The identity of a row within one version of a table.
pub(crate) fn row_id(chunk: usize, row: usize) -> u64 {
    (chunk as u64) << 32 | row as u64
}

fn split(id: u64) -> (usize, usize) {
    ((id >> 32) as usize, (id & 0xffff_ffff) as usize)
}

/// A table's rows, in the order in which they were inserted.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    schema: SchemaRef,
    chunks: Vec<RecordBatch>,
    /// The chunks' numbers, which rise and stay with their chunks in every version of the table.
    numbers: Vec<u64>,
    next: u64,
    count: usize,
}

impl Rows {
    /// No rows.
    pub(crate) fn empty(schema: SchemaRef) -> Self {
        Self {
            schema,
            chunks: Vec::new(),
            numbers: Vec::new(),
            next: 0,
            count: 0,
        }
    }

    /// The columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The columns, not shared.
    pub(crate) fn schema_ref(&self) -> &SchemaRef {
        &self.schema
    }

    /// The number of rows.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether these are the very rows of another version, and not only rows like them.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&RecordBatch, &RecordBatch)| {
            let mut columns = one.columns().iter().zip(other.columns());
            columns.all(|(one, other)| Arc::ptr_eq(one, other))
        };
        self.chunks.len() == other.chunks.len() && self.chunks.iter().zip(&other.chunks).all(same)
    }

    /// The rows.
    pub(crate) fn chunks(&self) -> &[RecordBatch] {
        &self.chunks
    }

    /// The numbers of the chunks, by which they are found in other versions of the table.
    pub(crate) fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// The chunk of a number, if it still is there.
    pub(crate) fn numbered(&self, number: u64) -> Option<&RecordBatch> {
        let at = self.numbers.binary_search(&number).ok()?;
        self.chunks.get(at)
    }

    /// Adds rows at the end.
    pub(crate) fn append(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.count += batch.num_rows();
        let mut from = 0;
        if let Some(last) = self.chunks.last_mut()
            && last.num_rows() < SHORT
        {
            from = batch.num_rows().min(CHUNK - last.num_rows());
            *last = concat_batches(&self.schema, [&*last, &batch.slice(0, from)])?;
        }
        while from < batch.num_rows() {
            let length = (batch.num_rows() - from).min(CHUNK);
            let slice = batch.slice(from, length);
            self.numbers.push(self.next);
            self.next += 1;
            self.chunks.push(RecordBatch::try_new(
                self.schema(),
                slice.columns().to_vec(),
            )?);
            from += length;
        }
        Ok(())
    }

    /// The rows of some ids, in that order.
    pub(crate) fn rows(&self, ids: &[u64]) -> Result<RecordBatch, ArrowError> {
        if ids.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema()));
        }
        let indices: Vec<(usize, usize)> = ids.iter().map(|id| split(*id)).collect();
        let columns = (0..self.schema.fields().len())
            .map(|column| {
                let arrays: Vec<&dyn Array> = self
                    .chunks
                    .iter()
                    .map(|chunk| chunk.column(column).as_ref())
                    .collect();
                interleave(&arrays, &indices)
            })
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema(), columns)
    }

    /// Puts the rows of `batch` in the places of `ids`, one for one.
    pub(crate) fn replace(&mut self, ids: &[u64], batch: &RecordBatch) -> Result<(), ArrowError> {
        for (chunk, places) in by_chunk(ids) {
            let Some(old) = self.chunks.get(chunk) else {
                continue;
            };
            let mut sources: Vec<(usize, usize)> =
                (0..old.num_rows()).map(|row| (0, row)).collect();
            for (row, position) in places {
                if let Some(source) = sources.get_mut(row) {
                    *source = (1, position);
                }
            }
            let columns = old
                .columns()
                .iter()
                .zip(batch.columns())
                .map(|(old, new)| interleave(&[old.as_ref(), new.as_ref()], &sources))
                .collect::<Result<Vec<_>, _>>()?;
            self.chunks[chunk] = RecordBatch::try_new(self.schema(), columns)?;
        }
        Ok(())
    }

    /// Removes rows.
    pub(crate) fn remove(&mut self, ids: &[u64]) -> Result<(), ArrowError> {
        for (chunk, places) in by_chunk(ids) {
            let Some(old) = self.chunks.get(chunk) else {
                continue;
            };
            let mut kept = vec![true; old.num_rows()];
            for (row, _) in places {
                if let Some(kept) = kept.get_mut(row) {
                    *kept = false;
                }
            }
            self.chunks[chunk] = filter_record_batch(old, &BooleanArray::from(kept))?;
        }
        let mut chunks = self.chunks.iter();
        let filled = |chunk: Option<&RecordBatch>| chunk.is_some_and(|c| c.num_rows() > 0);
        self.numbers.retain(|_| filled(chunks.next()));
        self.chunks.retain(|chunk| chunk.num_rows() > 0);
        self.count = self.chunks.iter().map(RecordBatch::num_rows).sum();
        Ok(())
    }

    /// Removes every row.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.numbers.clear();
        self.count = 0;
    }

    /// The same rows with other columns, chunk by chunk.
    fn mapped(
        &self,
        schema: SchemaRef,
        columns: impl Fn(&RecordBatch) -> Result<Vec<ArrayRef>, ServerError>,
    ) -> Result<Self, ServerError> {
        let chunks = self
            .chunks
            .iter()
            .map(|chunk| {
                let columns = columns(chunk)?;
                RecordBatch::try_new(Arc::clone(&schema), columns).map_err(super::internal)
            })
            .collect::<Result<Vec<_>, ServerError>>()?;
        Ok(Self {
            schema,
            chunks,
            numbers: self.numbers.clone(),
            next: self.next,
            count: self.count,
        })
    }

    /// The same rows with one more column, the same array value in each row.
    pub(crate) fn with_column(
        &self,
        schema: SchemaRef,
        one: &ArrayRef,
    ) -> Result<Self, ServerError> {
        self.mapped(schema, |chunk| {
            let indices = UInt32Array::from(vec![0; chunk.num_rows()]);
            let mut columns = chunk.columns().to_vec();
            columns.push(take(one, &indices, None).map_err(super::internal)?);
            Ok(columns)
        })
    }

    /// The same rows with other values in one column.
    pub(crate) fn map_column(
        &self,
        schema: SchemaRef,
        at: usize,
        map: impl Fn(&ArrayRef) -> Result<ArrayRef, ServerError>,
    ) -> Result<Self, ServerError> {
        self.mapped(schema, |chunk| {
            let mut columns = chunk.columns().to_vec();
            columns[at] = map(&columns[at])?;
            Ok(columns)
        })
    }

    /// The same rows under other names.
    pub(crate) fn under_schema(&self, schema: SchemaRef) -> Result<Self, ServerError> {
        self.mapped(schema, |chunk| Ok(chunk.columns().to_vec()))
    }

    /// The same rows without one column.
    pub(crate) fn without_column(&self, schema: SchemaRef, at: usize) -> Result<Self, ServerError> {
        self.mapped(schema, |chunk| {
            let mut columns = chunk.columns().to_vec();
            columns.remove(at);
            Ok(columns)
        })
    }

    /// The rows with their ids in one more column, [`ROW_ID`].
    pub(crate) fn with_ids(&self) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ROW_ID, DataType::UInt64, false)));
        let schema = Arc::new(Schema::new(fields));
        let chunks = self
            .chunks
            .iter()
            .enumerate()
            .map(|(number, chunk)| {
                let ids = (0..chunk.num_rows()).map(|row| row_id(number, row));
                let mut columns = chunk.columns().to_vec();
                columns.push(Arc::new(ids.collect::<UInt64Array>()));
                RecordBatch::try_new(Arc::clone(&schema), columns)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok((schema, chunks))
    }
}

/// For each chunk its rows, and each row's position in `ids`.
fn by_chunk(ids: &[u64]) -> BTreeMap<usize, Vec<(usize, usize)>> {
    let mut chunks: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (position, id) in ids.iter().enumerate() {
        let (chunk, row) = split(*id);
        chunks.entry(chunk).or_default().push((row, position));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int32Array};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn batch(values: impl IntoIterator<Item = i32>) -> RecordBatch {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
        RecordBatch::try_from_iter([("n", array)]).unwrap()
    }

    fn values(rows: &Rows) -> Vec<i32> {
        rows.chunks()
            .iter()
            .flat_map(|chunk| {
                chunk
                    .column(0)
                    .as_primitive::<Int32Type>()
                    .values()
                    .to_vec()
            })
            .collect()
    }

    #[test]
    fn rows_keep_their_places() {
        let mut rows = Rows::empty(batch([]).schema());
        for n in 0..5 {
            rows.append(&batch([n])).unwrap();
        }
        assert_eq!(rows.chunks().len(), 1);
        rows.replace(&[row_id(0, 3), row_id(0, 1)], &batch([30, 10]))
            .unwrap();
        assert_eq!(values(&rows), [0, 10, 2, 30, 4]);
        rows.remove(&[row_id(0, 0), row_id(0, 4)]).unwrap();
        assert_eq!(values(&rows), [10, 2, 30]);
        assert_eq!(rows.count(), 3);
    }

    #[test]
    fn chunks_keep_their_numbers() {
        let mut rows = Rows::empty(batch([]).schema());
        rows.append(&batch(0..20_000)).unwrap();
        assert_eq!(rows.numbers(), [0, 1, 2]);
        let second: Vec<u64> = (0..CHUNK).map(|row| row_id(1, row)).collect();
        rows.remove(&second).unwrap();
        assert_eq!(rows.numbers(), [0, 2]);
        assert!(rows.numbered(1).is_none());
        assert_eq!(rows.numbered(2).unwrap().num_rows(), 20_000 - 2 * CHUNK);
        rows.append(&batch(0..1)).unwrap();
        assert_eq!(rows.numbers(), [0, 2, 3]);
    }

    #[test]
    fn a_large_batch_becomes_many_chunks() {
        let mut rows = Rows::empty(batch([]).schema());
        rows.append(&batch([-1])).unwrap();
        rows.append(&batch(0..20_000)).unwrap();
        assert_eq!(rows.count(), 20_001);
        assert!(rows.chunks().iter().all(|chunk| chunk.num_rows() <= CHUNK));
        assert_eq!(values(&rows)[20_000], 19_999);
        let taken = rows.rows(&[row_id(2, 0), row_id(0, 0)]).unwrap();
        assert_eq!(
            taken.column(0).as_primitive::<Int32Type>().values(),
            &[16_383, -1]
        );
    }
}
