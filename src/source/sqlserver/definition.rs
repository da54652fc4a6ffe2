//! What a table is like beside what its capture instance records; nothing that a run needs.

use super::captured::CapturedTable;
use super::catalogue::{self, TableEntry};
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::health::is_hidden;
use super::pool::Pool;
use crate::change::Lsn;

/// How many changes of a table's definition are told, the newest.
const MOST_CHANGES: usize = 20;

/// The columns of a table (`@P1`: its object_id) that an instance (`@P2`: its change table's) does not record and could.
const UNCAPTURED: &str = "\
SELECT c.name FROM sys.columns AS c \
LEFT JOIN cdc.captured_columns AS cc ON cc.object_id = @P2 AND cc.column_id = c.column_id \
WHERE c.object_id = @P1 AND c.is_computed = 0 AND cc.column_id IS NULL ORDER BY c.column_id OPTION (MAXDOP 1)";

/// The index that an instance (`@P2`) of a table (`@P1`) took its key from.
const KEY_INDEX: &str = "\
SELECT ct.index_name, CAST(i.is_primary_key AS int) AS is_primary_key FROM cdc.change_tables AS ct \
LEFT JOIN sys.indexes AS i ON i.object_id = @P1 AND i.name = ct.index_name \
WHERE ct.object_id = @P2 OPTION (MAXDOP 1)";

/// What was done to a table (`@P1`) while it was captured, newest first; each instance that there was has a row of it.
fn history() -> String {
    format!(
        "SELECT TOP ({MOST_CHANGES}) h.ddl_lsn, h.ddl_command FROM cdc.ddl_history AS h \
         WHERE h.source_object_id = @P1 GROUP BY h.ddl_lsn, h.ddl_command ORDER BY h.ddl_lsn DESC OPTION (MAXDOP 1)"
    )
}

/// What a captured table is like now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDefinition {
    /// The columns that the capture instance does not record, each with its type; computed ones are left out.
    pub uncaptured: Vec<(String, String)>,
    /// The unique index that the key is of.
    pub key_index: Option<KeyIndex>,
    /// What was done to it while it was captured, oldest first, up to the newest twenty; `None` if the login may not know.
    pub history: Option<Vec<DefinitionChange>>,
}

/// A unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIndex {
    /// Its name.
    pub name: String,
    /// Whether it is the primary key.
    pub is_primary: bool,
}

/// A statement that has changed a table, as `cdc.ddl_history` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionChange {
    /// The statement's LSN.
    pub lsn: Lsn,
    /// Its text.
    pub command: String,
}

pub(super) async fn definition(
    pool: &Pool,
    table: &CapturedTable,
) -> Result<TableDefinition, SourceError> {
    Ok(TableDefinition {
        uncaptured: uncaptured(pool, table).await?,
        key_index: key_index(pool, table).await?,
        history: changes(pool, table).await?,
    })
}

async fn uncaptured(
    pool: &Pool,
    table: &CapturedTable,
) -> Result<Vec<(String, String)>, SourceError> {
    let action = format!("reading the columns of {}", table.name);
    let ids = ids(table);
    let rows = pool.rows(&action, UNCAPTURED, &[&ids[0], &ids[1]]).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let entry = TableEntry {
        name: table.name.clone(),
        object_id: table.source_object_id,
    };
    let live = catalogue::source_table(pool, &entry).await?;
    let type_of = |name: &str| {
        let mut columns = live.columns.iter();
        let found = columns.find(|column| column.name == name);
        found.map_or_else(String::new, |column| column.sql_type.to_string())
    };
    rows.iter()
        .map(|row| {
            let name = Cells::new(row, &action).required_text(0)?.to_string();
            let type_name = type_of(&name);
            Ok((name, type_name))
        })
        .collect()
}

async fn key_index(pool: &Pool, table: &CapturedTable) -> Result<Option<KeyIndex>, SourceError> {
    let action = format!("reading the key of {}", table.name);
    let ids = ids(table);
    let rows = pool.rows(&action, KEY_INDEX, &[&ids[0], &ids[1]]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let cells = Cells::new(row, &action);
    let is_primary = cells.integer(1)? == Some(1);
    Ok(cells.text(0)?.map(|name| KeyIndex {
        name: name.to_string(),
        is_primary,
    }))
}

async fn changes(
    pool: &Pool,
    table: &CapturedTable,
) -> Result<Option<Vec<DefinitionChange>>, SourceError> {
    let action = format!("reading what was done to {}", table.name);
    let [source_id, _] = ids(table);
    let rows = match pool.rows(&action, &history(), &[&source_id]).await {
        Ok(rows) => rows,
        Err(error) if is_hidden(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let changes = rows.iter().rev().map(|row| {
        let cells = Cells::new(row, &action);
        Ok(DefinitionChange {
            lsn: cells.lsn(0)?.unwrap_or(Lsn::ZERO),
            command: pool.config().masked(cells.text(1)?.unwrap_or_default()),
        })
    });
    changes.collect::<Result<_, SourceError>>().map(Some)
}

/// The object_ids of the table and of its change table.
fn ids(table: &CapturedTable) -> [Parameter; 2] {
    [
        Parameter::Int(table.source_object_id),
        Parameter::Int(table.change_object_id),
    ]
}
