//! Row images as rows of a change table.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanArray, Int32Array, RecordBatch, new_null_array,
};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::error::ArrowError;

use super::behaviour::CaptureBehaviour;
use super::instance::Instance;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::{Change, Images, Lsn, Table, internal};
use crate::simulator::types::{Mode, convert_array};

/// `__$operation`.
const DELETE: i32 = 1;
const INSERT: i32 = 2;
const BEFORE: i32 = 3;
const AFTER: i32 = 4;

/// The rows of a change table that stand for one statement's changes of its source. `sequence` has one
/// position of the log for each record of the change. Error 2628 or 8115, if a value does not fit the change table.
pub(super) fn change_rows(
    change: &Change,
    instance: &Instance,
    target: &Table,
    start_lsn: Lsn,
    sequence: &[Lsn],
    behaviour: &CaptureBehaviour,
) -> Result<RecordBatch, ServerError> {
    let positions: Vec<Option<usize>> = instance
        .columns
        .iter()
        .map(|captured| {
            change
                .columns
                .iter()
                .position(|c| c.id == captured.column_id && !captured.computed)
        })
        .collect();
    let plan = Plan::new(change, &positions, behaviour).map_err(internal)?;
    let rows = plan.rows.len();
    let mut columns: Vec<ArrayRef> = vec![
        repeated(&start_lsn, rows),
        new_null_array(&target.columns[1].sql_type.arrow_form(), rows),
        binary(plan.rows.iter().map(|row| {
            let lsn: &[u8] = sequence.get(row.place).map_or(&[], |lsn| lsn.as_slice());
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
        let Some(position) = position else {
            columns.push(new_null_array(&sql_type.arrow_form(), rows));
            continue;
        };
        let source = &change.columns[*position];
        let key = instance.index_columns.contains(&ordinal);
        let rule = Rule {
            large: source.sql_type.is_large(),
            old: matches!(
                source.sql_type,
                SqlType::Text | SqlType::NText | SqlType::Image
            ),
            omitted_after: behaviour.updates_omit_unchanged_values,
            lost_by_delete: behaviour.deletes_lose_values && !source.nullable && !key,
        };
        let found = plan.column(ordinal, *position, rule).map_err(internal)?;
        columns.push(if source.sql_type == sql_type {
            found
        } else {
            convert_array(&found, source.sql_type, sql_type, 0, Mode::Assign)?
        });
    }
    if target.columns.len() > columns.len() {
        columns.push(Arc::new(Int32Array::from(vec![change.command; rows])));
    }
    RecordBatch::try_new(target.arrow_schema(), columns).map_err(internal)
}

/// The position of the first captured column in a change table.
pub(crate) const FIRST_CAPTURED: usize = 5;

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
    /// Its position among the statement's records.
    place: usize,
    mask: Vec<u8>,
    /// Whether the mask says something: not for key changes.
    partial: bool,
}

/// What images of a column lack.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// The image before an update that does not change it lacks a `(max)` value.
    large: bool,
    /// Deletes and images before an update lack it, being `text`, `ntext` or `image`
    /// ([cdc.<capture_instance>_CT](https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql)).
    old: bool,
    /// The image after an update that does not change a `(max)` value lacks it too.
    omitted_after: bool,
    /// Deletes lack it.
    lost_by_delete: bool,
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
        positions: &[Option<usize>],
        behaviour: &CaptureBehaviour,
    ) -> Result<Self, ArrowError> {
        let full = mask(positions.iter().map(|_| true));
        let whole = |batch: &'a RecordBatch, operation| Self {
            images: [batch, batch],
            rows: (0..batch.num_rows())
                .map(|row| Row {
                    operation,
                    image: 0,
                    row,
                    place: row,
                    mask: full.clone(),
                    partial: false,
                })
                .collect(),
            changed: Vec::new(),
        };
        match &change.images {
            Images::Inserted(batch) => Ok(whole(batch, INSERT)),
            Images::Deleted(batch) => Ok(whole(batch, DELETE)),
            Images::Updated {
                before,
                after,
                moved,
            } => {
                // An update of one row may keep its form, whatever it changes.
                let in_place = behaviour.trace_flag_8207 && before.num_rows() == 1;
                let stays = BooleanArray::from(vec![false; before.num_rows()]);
                let moved = if in_place { &stays } else { moved };
                Self::update(before, after, moved, positions, &full)
            }
        }
    }

    fn update(
        before: &'a RecordBatch,
        after: &'a RecordBatch,
        moved: &BooleanArray,
        positions: &[Option<usize>],
        full: &[u8],
    ) -> Result<Self, ArrowError> {
        let differs = |position: usize| distinct(before.column(position), after.column(position));
        let changed = positions
            .iter()
            .map(|position| position.map(differs).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let is_set = |column: &Option<BooleanArray>, row| {
            column.as_ref().is_some_and(|column| column.value(row))
        };
        let count = before.num_rows();
        let split = moved.true_count() > 1;
        let mut rows = Vec::with_capacity(count * 2);
        let mut coming = Vec::new();
        for row in 0..count {
            let image = |operation, image, place, mask: &[u8]| Row {
                operation,
                image,
                row,
                place,
                mask: mask.to_vec(),
                partial: matches!(operation, BEFORE | AFTER),
            };
            if moved.value(row) {
                rows.push(image(DELETE, 0, row, full));
                if split {
                    coming.push(image(INSERT, 1, count + coming.len(), full));
                } else {
                    rows.push(image(INSERT, 1, row, full));
                }
            } else if changed.iter().any(|column| is_set(column, row)) {
                // An update of what the instance does not capture is none for it.
                let bits = mask(changed.iter().map(|column| is_set(column, row)));
                rows.push(image(BEFORE, 0, row, &bits));
                rows.push(image(AFTER, 1, row, &bits));
            }
        }
        rows.extend(coming);
        Ok(Self {
            images: [before, after],
            rows,
            changed,
        })
    }

    /// A captured column's values.
    fn column(&self, ordinal: usize, position: usize, rule: Rule) -> Result<ArrayRef, ArrowError> {
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
                let omitted = row.image == 0 || rule.omitted_after;
                let unchanged = rule.large && row.partial && omitted && kept;
                let lost = rule.lost_by_delete && row.operation == DELETE;
                let never = rule.old && matches!(row.operation, DELETE | BEFORE);
                if unchanged || lost || never {
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
