//! The clustered key of a table, in whose order its rows lie.

use super::captured::CapturedTable;
use super::catalogue::{SourceColumn, SourceTable, TableEntry, source_table};
use super::caution::Cautions;
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::pool::Pool;

/// The key of a table's (`@P1`: its object_id) clustered index, in its order.
const CLUSTERED_KEY: &str = "\
SELECT c.name FROM sys.indexes AS i \
JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id \
JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id \
WHERE i.object_id = @P1 AND i.index_id = 1 AND i.type = 1 AND k.key_ordinal > 0 \
ORDER BY k.key_ordinal OPTION (MAXDOP 1)";

/// The names of the key's columns, in its order.
pub(super) async fn clustered_names(
    pool: &Pool,
    table: &CapturedTable,
) -> Result<Vec<String>, SourceError> {
    let action = format!("reading the clustered index of {}", table.name);
    let object_id = Parameter::Int(table.source_object_id);
    let rows = pool.rows(&action, CLUSTERED_KEY, &[&object_id]).await?;
    let names = rows.iter();
    let names = names.map(|row| {
        Cells::new(row, &action)
            .required_text(0)
            .map(str::to_string)
    });
    names.collect()
}

/// Whether rows can get another place in the clustered index by an update of which no change tells.
pub(super) fn moves_unseen(table: &CapturedTable, names: &[String]) -> bool {
    let is_captured = |name: &String| {
        let mut columns = table.columns.iter();
        columns.any(|column| column.source_name.as_ref() == Some(name))
    };
    !names.iter().all(is_captured)
}

/// The clustered key, without columns where chunks cannot follow it.
pub(super) async fn clustered_key(
    pool: &Pool,
    table: &CapturedTable,
    names: &[String],
) -> Result<SourceTable, SourceError> {
    let mut key = Vec::with_capacity(names.len());
    if !names.is_empty() {
        let entry = TableEntry {
            name: table.name.clone(),
            object_id: table.source_object_id,
        };
        let live = source_table(pool, &entry).await?;
        let found = names.iter().map(|name| {
            let mut columns = live.columns.iter();
            columns.find(|column| column.name == *name && is_usable(column))
        });
        key.extend(
            found
                .collect::<Option<Vec<_>>>()
                .into_iter()
                .flatten()
                .cloned(),
        );
    }
    let name = table.name.clone();
    Ok(SourceTable::new(name, key, Cautions::default()))
}

/// No NULL, since no key is past it, and no value that the login is not shown.
fn is_usable(column: &SourceColumn) -> bool {
    column.comparable && !column.masked && !column.nullable && column.sql_type.is_supported()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;

    #[test]
    fn a_row_moves_unseen_by_a_column_that_is_not_captured() {
        let mut table = customers();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(!moves_unseen(&table, &[]));
        assert!(!moves_unseen(&table, &names(&["name", "id"])));
        assert!(moves_unseen(&table, &names(&["id", "place"])));
        table.columns[1].source_name = None;
        assert!(moves_unseen(&table, &names(&["name", "id"])));
    }
}
