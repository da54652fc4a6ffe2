//! The values of a key that are in a table, to find duplicates.

use std::collections::HashSet;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};

use super::table::{Key, Table};
use crate::simulator::types::{comparable, typed_of};

/// One key's values, in an encoding in which equal means equal to SQL Server.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    keys: HashSet<Box<[u8]>>,
}

impl KeyIndex {
    /// The index of a table's rows.
    pub(crate) fn build(table: &Table, key: &Key) -> Result<Self, ArrowError> {
        let mut index = Self::default();
        for chunk in table.rows.chunks() {
            index.keys.extend(key_values(chunk, &key.columns)?);
        }
        Ok(index)
    }

    /// The number of different keys.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes the rows `removed` out and puts `added` in, or does nothing and returns the position in
    /// `added` of the first row whose key is there already.
    pub(crate) fn change(
        &mut self,
        key: &Key,
        removed: Option<&RecordBatch>,
        added: Option<&RecordBatch>,
    ) -> Result<Result<(), usize>, ArrowError> {
        let removed = removed.map_or(Ok(Vec::new()), |batch| key_values(batch, &key.columns))?;
        let added = added.map_or(Ok(Vec::new()), |batch| key_values(batch, &key.columns))?;
        for value in &removed {
            self.keys.remove(value);
        }
        for (position, value) in added.iter().enumerate() {
            if !self.keys.insert(value.clone()) {
                for value in &added[..position] {
                    self.keys.remove(value);
                }
                self.keys.extend(removed);
                return Ok(Err(position));
            }
        }
        Ok(Ok(()))
    }
}

/// The keys of a batch's rows, as comparisons fold values; NULLs are equal.
pub(crate) fn key_values(
    batch: &RecordBatch,
    columns: &[usize],
) -> Result<Vec<Box<[u8]>>, ArrowError> {
    let schema = batch.schema();
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|at| comparable(batch.column(*at), typed_of(schema.field(*at))))
        .collect();
    let converter = RowConverter::new(
        arrays
            .iter()
            .map(|array| SortField::new(array.data_type().clone()))
            .collect(),
    )?;
    let rows = converter.convert_columns(&arrays)?;
    Ok(rows.iter().map(|row| Box::from(row.as_ref())).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::StringArray;

    use super::*;

    fn batch(names: &[Option<&str>]) -> RecordBatch {
        let array: ArrayRef = Arc::new(names.iter().copied().collect::<StringArray>());
        RecordBatch::try_from_iter([("name", array)]).unwrap()
    }

    #[test]
    fn a_duplicate_changes_nothing() {
        let key = Key {
            name: "k".to_owned(),
            primary: true,
            constraint: true,
            clustered: true,
            index_id: 1,
            columns: vec![0],
        };
        let mut index = KeyIndex::default();
        let first = batch(&[Some("Bruce"), None]);
        assert_eq!(index.change(&key, None, Some(&first)).unwrap(), Ok(()));
        let again = batch(&[Some("Clark"), Some("BRUCE  ")]);
        assert_eq!(index.change(&key, None, Some(&again)).unwrap(), Err(1));
        let null = batch(&[None]);
        assert_eq!(index.change(&key, None, Some(&null)).unwrap(), Err(0));
        let clark = batch(&[Some("Clark")]);
        assert_eq!(
            index.change(&key, Some(&first), Some(&clark)).unwrap(),
            Ok(())
        );
        assert_eq!(index.change(&key, None, Some(&first)).unwrap(), Ok(()));
    }
}
