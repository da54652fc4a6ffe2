//! Row images as rows of a change table.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanArray, Int32Array, RecordBatch, new_null_array,
};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::error::ArrowError;

use super::instance::Instance;
use crate::simulator::store::{Change, Images, Table};

/// `__$operation`.
const DELETE: i32 = 1;
const INSERT: i32 = 2;
const BEFORE: i32 = 3;
const AFTER: i32 = 4;

/// The rows of a change table that stand for one statement's changes of its source. `sequence` has one
/// position of the log for each changed row.
pub(super) fn change_rows(
    change: &Change,
    instance: &Instance,
    source: &Table,
    target: &Table,
    start_lsn: [u8; 10],
    sequence: &[[u8; 10]],
) -> Result<RecordBatch, ArrowError> {
    let positions: Vec<Option<usize>> = instance
        .columns
        .iter()
        .map(|captured| {
            source
                .columns
                .iter()
                .position(|c| c.id == captured.column_id)
        })
        .collect();
    let plan = Plan::new(change, source, &positions)?;
    let rows = plan.rows.len();
    let mut columns: Vec<ArrayRef> = vec![
        repeated(&start_lsn, rows),
        new_null_array(&target.columns[1].sql_type.arrow_form(), rows),
        binary(plan.rows.iter().map(|row| {
            let lsn: &[u8] = sequence.get(row.row).map_or(&[], |lsn| lsn.as_slice());
            lsn
        })),
        Arc::new(
            plan.rows
                .iter()
                .map(|row| row.operation)
                .collect::<Int32Array>(),
        ),
        binary(plan.rows.iter().map(|row| row.mask.as_slice())),
    ];
    for (ordinal, position) in positions.iter().enumerate() {
        let sql_type = target.columns[FIRST_CAPTURED + ordinal].sql_type;
        columns.push(match position {
            Some(position) => plan.column(ordinal, *position, sql_type.is_large())?,
            None => new_null_array(&sql_type.arrow_form(), rows),
        });
    }
    columns.push(Arc::new(Int32Array::from(vec![change.command; rows])));
    RecordBatch::try_new(target.arrow_schema(), columns)
}

/// The position of the first captured column in a change table.
pub(super) const FIRST_CAPTURED: usize = 5;

fn repeated(bytes: &[u8], rows: usize) -> ArrayRef {
    binary(std::iter::repeat_n(bytes, rows))
}

fn binary<'a>(values: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// One row of a change table.
struct Row {
    operation: i32,
    /// 0: the image before, 1: the image after.
    image: usize,
    /// Its position among the statement's rows.
    row: usize,
    mask: Vec<u8>,
    /// Whether the mask says something: not for key changes.
    partial: bool,
}

struct Plan<'a> {
    images: [&'a RecordBatch; 2],
    rows: Vec<Row>,
    /// For each captured column, the rows in which it changed; empty for inserts and deletes.
    changed: Vec<Option<BooleanArray>>,
}

impl<'a> Plan<'a> {
    fn new(
        change: &'a Change,
        source: &Table,
        positions: &[Option<usize>],
    ) -> Result<Self, ArrowError> {
        let full = mask(positions.iter().map(|_| true));
        let whole = |batch: &'a RecordBatch, operation| Self {
            images: [batch, batch],
            rows: (0..batch.num_rows())
                .map(|row| Row {
                    operation,
                    image: 0,
                    row,
                    mask: full.clone(),
                    partial: false,
                })
                .collect(),
            changed: Vec::new(),
        };
        match &change.images {
            Images::Inserted(batch) => Ok(whole(batch, INSERT)),
            Images::Deleted(batch) => Ok(whole(batch, DELETE)),
            Images::Updated { before, after } => {
                Self::update(before, after, source, positions, &full)
            }
        }
    }

    fn update(
        before: &'a RecordBatch,
        after: &'a RecordBatch,
        source: &Table,
        positions: &[Option<usize>],
        full: &[u8],
    ) -> Result<Self, ArrowError> {
        let differs = |position: usize| distinct(before.column(position), after.column(position));
        let changed = positions
            .iter()
            .map(|position| position.map(differs).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let keys = source
            .keys
            .iter()
            .flat_map(|key| key.columns.iter().copied())
            .map(differs)
            .collect::<Result<Vec<_>, _>>()?;
        let is_set = |column: &Option<BooleanArray>, row| {
            column.as_ref().is_some_and(|column| column.value(row))
        };
        let mut rows = Vec::with_capacity(before.num_rows() * 2);
        for row in 0..before.num_rows() {
            let moved = keys.iter().any(|key| key.value(row));
            let (operations, bits) = if moved {
                ([DELETE, INSERT], full.to_vec())
            } else {
                let bits = mask(changed.iter().map(|column| is_set(column, row)));
                ([BEFORE, AFTER], bits)
            };
            for (image, operation) in operations.into_iter().enumerate() {
                rows.push(Row {
                    operation,
                    image,
                    row,
                    mask: bits.clone(),
                    partial: !moved,
                });
            }
        }
        Ok(Self {
            images: [before, after],
            rows,
            changed,
        })
    }

    /// A captured column's values. The image before an update lacks a `(max)` value that did not change.
    fn column(&self, ordinal: usize, position: usize, large: bool) -> Result<ArrayRef, ArrowError> {
        let [before, after] = self.images.map(|image| image.columns().get(position));
        let (Some(before), Some(after)) = (before, after) else {
            let form = self.images[0].schema().field(0).data_type().clone();
            return Ok(new_null_array(&form, self.rows.len()));
        };
        let nothing = new_null_array(before.data_type(), 1);
        let sources: [&dyn Array; 3] = [before, after, &nothing];
        let changed = self.changed.get(ordinal).and_then(Option::as_ref);
        let picks: Vec<(usize, usize)> = self
            .rows
            .iter()
            .map(|row| {
                let kept = changed.is_some_and(|changed| !changed.value(row.row));
                if large && row.partial && row.image == 0 && kept {
                    (2, 0)
                } else {
                    (row.image, row.row)
                }
            })
            .collect();
        interleave(&sources, &picks)
    }
}

/// `__$update_mask`: ordinal 1 is the lowest bit of the last byte.
fn mask(bits: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let length = bits.len().div_ceil(8);
    let mut mask = vec![0; length];
    for (position, bit) in bits.enumerate() {
        if bit {
            mask[length - 1 - position / 8] |= 1 << (position % 8);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_runs_backwards() {
        let only = |ordinal: usize| mask((0..10).map(|n| n + 1 == ordinal));
        assert_eq!(only(1), [0b0000_0000, 0b0000_0001]);
        assert_eq!(only(8), [0b0000_0000, 0b1000_0000]);
        assert_eq!(only(9), [0b0000_0001, 0b0000_0000]);
        assert_eq!(mask([true; 5].into_iter()), [0b0001_1111]);
    }
}
