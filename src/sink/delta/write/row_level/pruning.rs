//! Which data files, and which parts of them, may hold a row that the source matches.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::{SortOptions, cast, concat, sort_limit};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
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
#[derive(Debug)]
pub(super) struct SourceKeys(pub(super) Vec<Key>);

/// The values for one column.
#[derive(Debug)]
pub(super) struct Key {
    /// The target's column.
    pub(super) column: String,
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
            if stored.is_floating() || partition.is_none() && !has_order(stored) {
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

    /// Those of columns that are stored in the data files.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(|key| key.partition.is_none())
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
    /// The values of `column`, which is the partition column at the place `partition` or is stored.
    pub(super) fn collect(
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
            None if !has_bounds(&self.data_type) => None,
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
        Ok(self.is_within(low.row(), high.row()))
    }

    /// For each pair of bounds, whether a value lies within; true where a bound is not known.
    pub(super) fn are_within(&self, lowest: &ArrayRef, highest: &ArrayRef) -> Result<Vec<bool>> {
        let (lowest, highest) = (
            cast(lowest, &self.data_type)?,
            cast(highest, &self.data_type)?,
        );
        let lows = self.converter.convert_columns(&[Arc::clone(&lowest)])?;
        let highs = self.converter.convert_columns(&[Arc::clone(&highest)])?;
        let within = (0..lowest.len()).map(|place| {
            let known = lowest.is_valid(place) && highest.is_valid(place);
            !known || self.is_within(lows.row(place), highs.row(place))
        });
        Ok(within.collect())
    }

    fn is_within(&self, low: Row<'_>, high: Row<'_>) -> bool {
        let (mut first, mut end) = (0, self.values.num_rows());
        while first < end {
            let middle = first + (end - first) / 2;
            match self.values.row(middle) < low {
                true => first = middle + 1,
                false => end = middle,
            }
        }
        first < self.values.num_rows() && self.values.row(first) <= high
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

/// True for types whose smallest and largest values in a Parquet file are bounds in Arrow's order.
fn has_order(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(..)
            | DataType::Decimal128(..)
            | DataType::Utf8
    )
}

/// True for those of them whose smallest and largest values in the log are bounds too.
fn has_bounds(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Decimal128(precision, _) if *precision > EXACT_DIGITS)
}
