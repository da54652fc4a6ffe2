//! Which columns hardly gain from a dictionary.

use std::collections::HashSet;

use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::DataFusionError;

/// Fewer values tell too little.
const FEWEST: usize = 1000;
/// A value in so many comes again, where a dictionary is worth its while.
const ONE_IN: usize = 50;

/// The columns of a chunk's first rows in which hardly a value comes twice. Their dictionaries are likely to be as large as
/// they are, and to be given up when they are full, after each value was looked for in them.
///
/// Rows that come in no order have more than 200,000 values then, by the birthday problem, where they are 8192. But rows come
/// in the key's order, in which a value may come again far behind: whether it does, the dictionary has to show.
pub(super) fn without_repeats(rows: &RecordBatch) -> Vec<String> {
    let fields = rows.schema_ref().fields().iter();
    let columns = fields.zip(rows.columns());
    let columns = columns.filter(|(field, _)| !field.data_type().is_nested());
    // What has no hash keeps its dictionary.
    let columns = columns.filter(|(_, values)| !repeats(values).unwrap_or(true));
    columns.map(|(field, _)| field.name().clone()).collect()
}

fn repeats(values: &ArrayRef) -> Result<bool, DataFusionError> {
    let mut hashes = vec![0; values.len()];
    create_hashes([values], &RandomState::default(), &mut hashes)?;
    let hashes = hashes.into_iter().enumerate();
    let mut known = HashSet::new();
    let mut repeated = 0;
    for (_, hash) in hashes.filter(|(row, _)| values.is_valid(*row)) {
        repeated += usize::from(!known.insert(hash));
    }
    let all = known.len() + repeated;
    Ok(all < FEWEST || repeated * ONE_IN >= all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{BooleanArray, Int32Array, StringArray};

    use super::*;

    fn columns(rows: usize) -> RecordBatch {
        let numbers = 0..rows as i32;
        let columns: [(&str, ArrayRef); 6] = [
            (
                "key",
                Arc::new(Int32Array::from_iter_values(numbers.clone())),
            ),
            (
                "name",
                Arc::new(StringArray::from_iter_values(
                    numbers.clone().map(|n| format!("n{n}")),
                )),
            ),
            (
                "city",
                Arc::new(StringArray::from_iter_values(
                    numbers.clone().map(|n| format!("c{}", n % 7)),
                )),
            ),
            // A value in ten comes again.
            (
                "order",
                Arc::new(Int32Array::from_iter_values(
                    numbers.clone().map(|n| n - n % 10 / 9),
                )),
            ),
            ("flag", Arc::new(BooleanArray::from(vec![true; rows]))),
            // All values differ, but there are few.
            (
                "note",
                Arc::new(
                    numbers
                        .map(|n| (n % 100 == 0).then_some(n))
                        .collect::<Int32Array>(),
                ),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true)))
            .unwrap()
    }

    #[test]
    fn columns_whose_values_differ_need_no_dictionary() {
        assert_eq!(without_repeats(&columns(8192)), ["key", "name"]);
    }

    #[test]
    fn few_rows_tell_nothing() {
        assert!(without_repeats(&columns(FEWEST - 1)).is_empty());
    }
}
