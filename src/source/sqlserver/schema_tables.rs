//! The captured tables of a schema.

use super::catalogue;
use super::caution::Caution;
use super::cell::Cells;
use super::error::SourceError;
use super::ident::{Match, TableName, find_schema};
use super::pool::Pool;
use crate::nearest::nearest;

/// The source tables of all capture instances; without a name where the login may not see the table.
const CAPTURED: &str = "\
SELECT ct.capture_instance, s.name AS schema_name, t.name AS table_name \
FROM cdc.change_tables AS ct LEFT JOIN sys.tables AS t ON t.object_id = ct.source_object_id \
LEFT JOIN sys.schemas AS s ON s.schema_id = t.schema_id \
ORDER BY s.name, t.name, ct.capture_instance OPTION (MAXDOP 1)";

/// The captured tables of the one of `schemas` that `wanted` means, in the order of their names; `database` is its name for
/// people.
///
/// # Errors
/// `NoSuchSchema`, `Ambiguous` or `NothingCaptured`.
pub(super) async fn captured_in(
    pool: &Pool,
    database: String,
    wanted: &str,
    schemas: &[String],
) -> Result<Vec<TableName>, SourceError> {
    let schema = match find_schema(wanted, schemas) {
        Match::One(schema) => schema,
        Match::None => {
            let suggestion = nearest(wanted, schemas.iter().map(String::as_str));
            return Err(SourceError::NoSuchSchema {
                database,
                schema: wanted.to_string(),
                suggestion: suggestion.map(str::to_owned),
            });
        }
        Match::Many(several) => {
            let several: Vec<_> = several.into_iter().map(String::as_str).collect();
            return Err(SourceError::Ambiguous {
                name: TableName::new(wanted, "*"),
                candidates: several.join(", "),
            });
        }
    };
    let mut tables = match catalogue::database_info(pool).await?.cdc_enabled {
        true => captured(pool).await?,
        false => Vec::new(),
    };
    tables.retain(|table| table.schema == *schema);
    match tables.is_empty() {
        true => Err(SourceError::NothingCaptured {
            database,
            schema: schema.clone(),
        }),
        false => Ok(tables),
    }
}

/// The captured tables that the login may see, in the order of their names.
async fn captured(pool: &Pool) -> Result<Vec<TableName>, SourceError> {
    let action = "reading which tables are captured";
    let rows = pool.rows(action, CAPTURED, &[]).await?;
    let (mut tables, mut hidden) = (Vec::new(), Vec::new());
    for row in &rows {
        let cells = Cells::new(row, action);
        match (cells.text(1)?, cells.text(2)?) {
            (Some(schema), Some(table)) => tables.push(TableName::new(schema, table)),
            _ => hidden.push(cells.required_text(0)?.to_string()),
        }
    }
    // A table has two instances at most, one after the other here.
    tables.dedup();
    if !hidden.is_empty() {
        let instances = hidden.join(", ");
        pool.cautions().say(&Caution::HiddenTables { instances });
    }
    Ok(tables)
}
