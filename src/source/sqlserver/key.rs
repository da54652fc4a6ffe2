//! The unique key of a capture instance, and why it may not do.

use std::fmt;

use super::captured::CapturedTable;
use super::catalogue::TableEntry;
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::pool::Pool;
use super::types::SqlType;

/// The columns of the unique index that an instance was enabled with (`@P1`: the change table's object_id).
///
/// A table of its own: a column of the index need not be among the captured ones.
const INDEX_COLUMNS: &str = "\
SELECT ic.column_name, ic.column_id FROM cdc.index_columns AS ic \
WHERE ic.object_id = @P1 ORDER BY ic.index_ordinal OPTION (MAXDOP 1)";

/// What keeps a column of the unique key from telling rows apart in a target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProblem {
    /// Changes never hold its value.
    Computed,
    /// The instance does not record it.
    NotCaptured,
    /// The live table does not have it any more.
    Dropped,
    /// A MERGE finds no row whose key is NULL.
    Nullable,
    /// Its type, whose values are cut to microseconds, so that two may become one.
    Inexact(String),
    /// Its type, of whose values the text alone is kept, so that two of different base types may become one.
    Untyped(String),
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computed => f.write_str("is computed, and a change table does not record it"),
            Self::NotCaptured => f.write_str("is not captured"),
            Self::Dropped => f.write_str("was dropped from the table"),
            Self::Nullable => {
                f.write_str("allows NULL, which no MERGE matches: declare it NOT NULL")
            }
            Self::Inexact(type_name) => write!(
                f,
                "has type {type_name}, of which six decimals are kept, so that two rows may become one: give it a \
                 scale of 6 or less"
            ),
            Self::Untyped(type_name) => write!(
                f,
                "has type {type_name}, of which the text is kept, so that two rows may become one"
            ),
        }
    }
}

/// A column of the unique index, by its number in the source table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexColumn {
    pub(super) name: String,
    pub(super) column_id: i64,
}

/// The columns of an instance's unique index in its order; none if it was enabled without one.
pub(super) async fn index_columns(
    pool: &Pool,
    table: &TableEntry,
    change_object_id: i32,
) -> Result<Vec<IndexColumn>, SourceError> {
    let action = format!("reading the key of {}", table.name);
    let change_id = Parameter::Int(change_object_id);
    let rows = pool.rows(&action, INDEX_COLUMNS, &[&change_id]).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells::new(row, &action);
            Ok(IndexColumn {
                name: cells.required_text(0)?.to_string(),
                column_id: i64::from(cells.required_int(1)?),
            })
        })
        .collect()
}

/// Refuses a table whose rows cannot be told apart in a target.
pub(super) fn require_key(table: &CapturedTable) -> Result<(), SourceError> {
    if let Some((column, problem)) = &table.missing_key {
        return Err(unusable(table, column, problem.clone()));
    }
    if table.key.is_empty() {
        return Err(SourceError::NoUniqueKey {
            table: table.name.clone(),
        });
    }
    for index in &table.key {
        let column = &table.columns[*index];
        let problem = if column.source_name.is_none() {
            KeyProblem::Dropped
        } else if column.nullable {
            KeyProblem::Nullable
        } else if column.sql_type.is_inexact() {
            KeyProblem::Inexact(column.type_name())
        } else if column.sql_type == SqlType::Variant {
            KeyProblem::Untyped(column.type_name())
        } else {
            continue;
        };
        return Err(unusable(table, &column.name, problem));
    }
    Ok(())
}

fn unusable(table: &CapturedTable, column: &str, problem: KeyProblem) -> SourceError {
    SourceError::UnusableKey {
        table: table.name.clone(),
        column: column.to_string(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::ErrorKind;
    use crate::source::sqlserver::captured::tests::customers;

    fn refusal(change: impl FnOnce(&mut CapturedTable)) -> String {
        let mut table = customers();
        change(&mut table);
        let error = require_key(&table).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        error.to_string()
    }

    #[test]
    fn a_plain_key_does() {
        assert!(require_key(&customers()).is_ok());
        let mut table = customers();
        table.columns[0].sql_type = SqlType::DateTime2(6);
        assert!(require_key(&table).is_ok());
    }

    #[test]
    fn what_cannot_tell_rows_apart_is_refused_with_the_column() {
        let nullable = refusal(|table| table.columns[0].nullable = true);
        assert!(nullable.contains("key column id of dbo.customers allows NULL"));
        let inexact = refusal(|table| table.columns[0].sql_type = SqlType::DateTimeOffset(7));
        assert!(inexact.contains("has type datetimeoffset(7)"), "{inexact}");
        let untyped = refusal(|table| table.columns[0].sql_type = SqlType::Variant);
        assert!(untyped.contains("has type sql_variant"), "{untyped}");
        let dropped = refusal(|table| table.columns[0].source_name = None);
        assert!(dropped.contains("was dropped"), "{dropped}");
        let computed = refusal(|table| {
            table.missing_key = Some(("total".to_string(), KeyProblem::Computed));
        });
        assert!(computed.contains("key column total"), "{computed}");
        assert!(computed.contains("@index_name"), "{computed}");
    }
}
