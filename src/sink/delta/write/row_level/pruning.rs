//! Which data files may hold a row that the source matches.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::{SortOptions, concat, sort_limit};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::super::clauses::{MergeClauses, SOURCE, TARGET};
use super::files::{DataFile, scalar_value};

/// Digits that a double holds exactly; decimals with more are rounded in the log's statistics.
const EXACT_DIGITS: u8 = 15;

/// The values that the source has for the columns that `ON` compares for equality.
pub(super) struct SourceKeys(Vec<Key>);

struct Key {
    column: String,
    data_type: DataType,
    /// The place among the partition columns, for a column that is one.
    partition: Option<usize>,
    converter: RowConverter,
    /// Sorted.
    values: Rows,
    _reservation: MemoryReservation,
}

impl SourceKeys {
    /// Collects the keys of `rows`, the whole source, as far as `pool` allows.
    pub(super) fn collect(
        merge: &MergeClauses,
        rows: &[RecordBatch],
        schema: &Schema,
        partition: &[String],
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Self> {
        let mut keys = Vec::new();
        for (column, given) in equalities(&merge.on) {
            let stored = schema.field_with_name(&column)?.data_type();
            let index = merge.source_schema.index_of(&given)?;
            if merge.source_schema.field(index).data_type() != stored {
                continue;
            }
            let partition = partition.iter().position(|name| *name == column);
            // A zero equals a negative zero, but is not sorted as one.
            if stored.is_floating() || partition.is_none() && !has_bounds(stored) {
                continue;
            }
            let values = rows.iter().map(|batch| batch.column(index).as_ref());
            let values = concat(&values.collect::<Vec<_>>())?;
            let reservation = MemoryConsumer::new("keys of a merge").register(pool);
            // Sorted and as rows they are in memory twice; without that much no file is ruled out by them.
            if reservation
                .try_grow(2 * values.get_array_memory_size())
                .is_ok()
            {
                keys.push(Key::collect(column, partition, values, reservation)?);
            }
        }
        Ok(Self(keys))
    }

    /// True unless no row of `file` can be matched.
    pub(super) fn may_match(&self, file: &DataFile) -> Result<bool> {
        for key in &self.0 {
            if !key.may_match(file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Key {
    fn collect(
        column: String,
        partition: Option<usize>,
        values: ArrayRef,
        reservation: MemoryReservation,
    ) -> Result<Self> {
        let data_type = values.data_type().clone();
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        // A NULL equals nothing.
        let known = values.len() - values.null_count();
        let last = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let values = sort_limit(&values, Some(last), Some(known))?;
        let values = converter.convert_columns(&[values])?;
        Ok(Self {
            column,
            data_type,
            partition,
            converter,
            values,
            _reservation: reservation,
        })
    }

    fn may_match(&self, file: &DataFile) -> Result<bool> {
        let bounds = match self.partition.and_then(|place| file.partition.get(place)) {
            Some(value) if value.is_null() => return Ok(false),
            Some(value) => Some((value.clone(), value.clone())),
            None => file
                .bounds(&self.column)
                .and_then(|(low, high)| Some((scalar_value(&low)?, scalar_value(&high)?))),
        };
        let Some((low, high)) = bounds else {
            return Ok(true);
        };
        let (Some(low), Some(high)) = (self.row(&low)?, self.row(&high)?) else {
            return Ok(true);
        };
        let (mut first, mut end) = (0, self.values.num_rows());
        while first < end {
            let middle = first + (end - first) / 2;
            match self.values.row(middle) < low.row() {
                true => first = middle + 1,
                false => end = middle,
            }
        }
        Ok(first < self.values.num_rows() && self.values.row(first) <= high.row())
    }

    fn row(&self, value: &ScalarValue) -> Result<Option<OwnedRow>> {
        if value.is_null() {
            return Ok(None);
        }
        let Ok(value) = value.cast_to(&self.data_type) else {
            return Ok(None);
        };
        let rows = self.converter.convert_columns(&[value.to_array()?])?;
        Ok(Some(rows.row(0).owned()))
    }
}

/// The pairs of a target's and a source's column that `on` demands to be equal.
fn equalities(on: &Expr) -> Vec<(String, String)> {
    let column = |expr: &Expr, side: &str| match expr {
        Expr::Column(column) => {
            let relation = column.relation.as_ref()?;
            (relation.table() == side).then(|| column.name.clone())
        }
        _ => None,
    };
    split_conjunction(on)
        .into_iter()
        .filter_map(|part| match part {
            Expr::BinaryExpr(equality) if equality.op == Operator::Eq => {
                let (left, right) = (&equality.left, &equality.right);
                let straight = column(left, TARGET).zip(column(right, SOURCE));
                straight.or_else(|| column(right, TARGET).zip(column(left, SOURCE)))
            }
            _ => None,
        })
        .collect()
}

/// True for types whose smallest and largest value in the log bound those in the file, in Arrow's order.
fn has_bounds(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Utf8 => true,
        DataType::Decimal128(precision, _) => *precision <= EXACT_DIGITS,
        _ => false,
    }
}
