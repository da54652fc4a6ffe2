//! What a clustered index is good for: its order, and ranges of its key that are found without a look at other rows.
//!
//! Rows lie in the order in which they were inserted. Where that is the order of the key, which whole numbers that were
//! given out one after the other are, a query need not sort them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use datafusion::arrow::compute::{max, min};
use datafusion::arrow::datatypes::{
    DataType, Int16Type, Int32Type, Int64Type, SchemaRef, UInt8Type,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};

use crate::simulator::store::Table;

/// A clustered index whose key is one column of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clustered {
    /// The place of that column in the table.
    column: usize,
}

impl Clustered {
    /// The table's, if it has such an index.
    pub(super) fn of(table: &Table) -> Option<Self> {
        let mut keys = table.keys.iter();
        let key = keys.find(|key| key.clustered)?;
        let [column] = key.columns.as_slice() else {
            return None;
        };
        let field = table.rows.schema_ref().fields().get(*column)?;
        let is_whole = matches!(
            field.data_type(),
            DataType::UInt8 | DataType::Int16 | DataType::Int32 | DataType::Int64
        );
        let index = Self { column: *column };
        (is_whole && !table.columns.get(*column)?.nullable).then_some(index)
    }

    /// The order of the rows in `chunks`, if it is that of the key.
    pub(super) fn order(self, chunks: &[RecordBatch], schema: &SchemaRef) -> Option<LexOrdering> {
        let mut last = None;
        let is_sorted = chunks.iter().all(|chunk| {
            let array = chunk.column(self.column).as_ref();
            match array.data_type() {
                DataType::UInt8 => rises::<UInt8Type>(array, &mut last),
                DataType::Int16 => rises::<Int16Type>(array, &mut last),
                DataType::Int32 => rises::<Int32Type>(array, &mut last),
                DataType::Int64 => rises::<Int64Type>(array, &mut last),
                _ => false,
            }
        });
        let column = Column::new(schema.field(self.column).name(), self.column);
        let order = PhysicalSortExpr::new_default(Arc::new(column));
        is_sorted.then(|| LexOrdering::new([order])).flatten()
    }

    /// For each filter, whether it limits the key.
    pub(super) fn pushdown(
        self,
        schema: &SchemaRef,
        filters: &[&Expr],
    ) -> Vec<TableProviderFilterPushDown> {
        let name = schema.field(self.column).name();
        let filters = filters.iter();
        let limits = filters.map(|filter| match limit(filter, name) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        });
        limits.collect()
    }

    /// The keys that `filters` let pass; more may be among them.
    pub(super) fn range(self, schema: &SchemaRef, filters: &[Expr]) -> RangeInclusive<i64> {
        let name = schema.field(self.column).name();
        let limits = filters.iter().filter_map(|filter| limit(filter, name));
        limits.fold(i64::MIN..=i64::MAX, |all, limit| {
            *all.start().max(limit.start())..=*all.end().min(limit.end())
        })
    }

    /// Whether a chunk may have keys of `range`.
    pub(super) fn meets(self, chunk: &RecordBatch, range: &RangeInclusive<i64>) -> bool {
        if *range == (i64::MIN..=i64::MAX) {
            return true;
        }
        let array = chunk.column(self.column).as_ref();
        let ends = match array.data_type() {
            DataType::UInt8 => ends::<UInt8Type>(array),
            DataType::Int16 => ends::<Int16Type>(array),
            DataType::Int32 => ends::<Int32Type>(array),
            DataType::Int64 => ends::<Int64Type>(array),
            _ => return true,
        };
        ends.is_some_and(|(least, greatest)| least <= *range.end() && greatest >= *range.start())
    }
}

fn ends<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<(i64, i64)>
where
    T::Native: Into<i64>,
{
    let array = array.as_primitive::<T>();
    Some((min(array)?.into(), max(array)?.into()))
}

/// Whether each value is greater than the one before; `last` is the one before the first.
fn rises<T: ArrowPrimitiveType>(array: &dyn Array, last: &mut Option<i64>) -> bool
where
    T::Native: Into<i64>,
{
    let values = array.as_primitive::<T>().values();
    let (Some(first), Some(end)) = (values.first(), values.last()) else {
        return true;
    };
    let follows = last.is_none_or(|last| last < (*first).into());
    *last = Some((*end).into());
    follows && values.windows(2).all(|pair| pair[0] < pair[1])
}

/// The values of column `name` that a filter lets pass, if it is one that compares it with a number.
fn limit(filter: &Expr, name: &str) -> Option<RangeInclusive<i64>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let column = |side: &Expr| matches!(side, Expr::Column(column) if column.name == name);
    let (op, value) = match (left.as_ref(), right.as_ref()) {
        (left, Expr::Literal(value, _)) if column(left) => (*op, value),
        (Expr::Literal(value, _), right) if column(right) => (op.swap()?, value),
        _ => return None,
    };
    let value = match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(whole)) if value.data_type().is_integer() => whole,
        _ => return None,
    };
    match op {
        Operator::Eq => Some(value..=value),
        Operator::Lt | Operator::LtEq => Some(i64::MIN..=value),
        Operator::Gt | Operator::GtEq => Some(value..=i64::MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int32Array};
    use datafusion::prelude::{col, lit};

    use super::*;

    const INDEX: Clustered = Clustered { column: 0 };

    fn chunk(values: impl IntoIterator<Item = i32>) -> RecordBatch {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
        RecordBatch::try_from_iter([("id", array)]).unwrap()
    }

    #[test]
    fn rows_are_in_the_order_of_the_key_or_not() {
        let schema = chunk([]).schema();
        let ordered = |chunks: &[RecordBatch]| INDEX.order(chunks, &schema).is_some();
        assert!(ordered(&[chunk([1, 2]), chunk([]), chunk([5])]));
        assert!(!ordered(&[chunk([1, 2]), chunk([2])]));
        assert!(!ordered(&[chunk([2, 1])]));
    }

    #[test]
    fn filters_of_the_key_leave_chunks_out() {
        let schema = chunk([]).schema();
        let filters = [col("id").gt(lit(4_i32)), lit(9_i64).gt_eq(col("id"))];
        let range = INDEX.range(&schema, &filters);
        assert_eq!(range, 4..=9);
        assert!(!INDEX.meets(&chunk([1, 3]), &range));
        assert!(INDEX.meets(&chunk([20, 9]), &range));
        assert!(!INDEX.meets(&chunk([10, 12]), &range));
        let others = [col("id").not_eq(lit(4_i32)), col("id").gt(lit("a"))];
        assert_eq!(INDEX.range(&schema, &others), i64::MIN..=i64::MAX);
    }
}
