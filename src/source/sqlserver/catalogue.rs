//! What the server says it has: databases, tables, columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};

use super::caution::{Caution, Cautions};
use super::cell::{Cells, Parameter};
use super::columns::Columns;
use super::error::SourceError;
use super::filter::ALIAS;
use super::ident::{Match, TableName, find_table, quote};
use super::pool::Pool;
use super::types::{DeclaredType, SqlType};
use crate::nearest::nearest;

/// The database as the server knows it, found by name: in Azure its numbers differ from `DB_ID()`.
const DATABASE: &str = "\
SELECT d.name, CAST(d.is_cdc_enabled AS int) AS is_cdc_enabled \
FROM sys.databases AS d WHERE d.name = DB_NAME() OPTION (MAXDOP 1)";

/// Every table the login may see; those of schema `cdc` are among them.
const TABLES: &str = "\
SELECT s.name AS schema_name, t.name AS table_name, t.object_id \
FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id \
ORDER BY s.name, t.name OPTION (MAXDOP 1)";

/// A table's columns (`@P1`: its object_id), with the type as declared and the system type below it; for the types
/// of .NET that the server itself has, `system_type_id` says no more than that they are such.
///
/// UNMASK is granted by column from 2022 on; before, it is the database's and the first question's answer is NULL.
const COLUMNS: &str = "\
SELECT c.name, base.name AS base_type, typ.name AS declared_type, \
CAST(c.max_length AS int) AS max_length, CAST(c.precision AS int) AS num_precision, \
CAST(c.scale AS int) AS num_scale, \
CASE WHEN c.encryption_type IS NULL THEN 0 ELSE 1 END AS is_encrypted, \
CAST(c.is_nullable AS int) AS is_nullable, \
c.collation_name, CAST(COLLATIONPROPERTY(c.collation_name, 'CodePage') AS int) AS code_page, \
CAST(c.is_masked AS int) AS is_masked, \
CASE WHEN c.is_masked = 1 AND COALESCE(\
HAS_PERMS_BY_NAME(QUOTENAME(OBJECT_SCHEMA_NAME(@P1)) + N'.' + QUOTENAME(OBJECT_NAME(@P1)), 'OBJECT', 'UNMASK', c.name, 'COLUMN'), \
HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UNMASK'), 0) = 0 THEN 1 ELSE 0 END AS shows_masks \
FROM sys.columns AS c \
LEFT JOIN sys.types AS typ ON typ.user_type_id = c.user_type_id \
LEFT JOIN sys.types AS base ON base.user_type_id = CASE WHEN typ.is_assembly_type = 1 AND typ.is_user_defined = 0 \
THEN c.user_type_id ELSE c.system_type_id END \
WHERE c.object_id = @P1 ORDER BY c.column_id OPTION (MAXDOP 1)";

/// The database, as the server spells it.
#[derive(Debug, Clone)]
pub(super) struct DatabaseInfo {
    pub(super) name: String,
    pub(super) cdc_enabled: bool,
}

/// A table and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableEntry {
    pub(super) name: TableName,
    pub(super) object_id: i32,
}

/// A column of a live table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    pub(super) sql_type: SqlType,
    pub(super) nullable: bool,
    /// The collation of text.
    pub(super) collation: Option<Collation>,
    /// Whether the server compares the values that it shows: not where they are masked or encrypted.
    pub(super) comparable: bool,
    /// Whether the login is shown masks in place of its values.
    pub(super) masked: bool,
}

impl SourceColumn {
    /// A column that is only read.
    pub(super) fn read_only(name: &str, sql_type: SqlType) -> Self {
        Self {
            name: name.to_string(),
            sql_type,
            nullable: true,
            collation: None,
            comparable: false,
            masked: false,
        }
    }
}

/// How text is compared, and what its bytes stand for where it is not Unicode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collation {
    pub(super) name: String,
    /// The number of the code page; 65001 is UTF-8.
    pub(super) code_page: Option<i64>,
}

/// A live table with its columns.
#[derive(Debug)]
pub(super) struct SourceTable {
    pub(super) name: TableName,
    pub(super) columns: Vec<SourceColumn>,
    pub(super) schema: SchemaRef,
    cautions: Cautions,
}

impl SourceTable {
    /// A table whose cautions are said to `cautions`.
    pub(super) fn new(name: TableName, columns: Vec<SourceColumn>, cautions: Cautions) -> Self {
        let fields = columns
            .iter()
            .map(|column| Field::new(&column.name, column.sql_type.arrow(), column.nullable))
            .collect::<Vec<_>>();
        Self {
            name,
            columns,
            schema: Arc::new(Schema::new(fields)),
            cautions,
        }
    }

    /// The statement that reads the projected columns of the rows that satisfy all `conditions`; `top` names
    /// the parameter that limits them.
    pub(super) fn select(
        &self,
        projection: &[usize],
        conditions: &[String],
        top: Option<&str>,
    ) -> String {
        self.select_hinted(projection, conditions, top, "MAXDOP 1")
    }

    /// The same with other hints.
    pub(super) fn select_hinted(
        &self,
        projection: &[usize],
        conditions: &[String],
        top: Option<&str>,
        hints: &str,
    ) -> String {
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        format!(
            "SELECT {}{} FROM {} AS {ALIAS}{filter} OPTION ({hints})",
            top_clause(top),
            select_list(projection.iter().map(|index| {
                let column = &self.columns[*index];
                column.sql_type.select(ALIAS, &column.name)
            })),
            self.name.quoted()
        )
    }

    /// Refuses a projection with columns whose types cannot be read, and says which are read as masks.
    pub(super) fn check(&self, projection: &[usize]) -> Result<(), SourceError> {
        let read = || projection.iter().map(|index| &self.columns[*index]);
        let unread = Columns::of(
            read()
                .filter(|column| !column.sql_type.is_supported())
                .map(|column| (column.name.clone(), column.sql_type.to_string())),
        );
        if let Some(columns) = unread {
            return Err(SourceError::UnsupportedColumns {
                table: self.name.clone(),
                columns,
            });
        }
        let masked = read().filter(|column| column.masked);
        if let Some(columns) =
            Columns::of(masked.map(|column| (column.name.clone(), String::new())))
        {
            self.cautions.say(&Caution::Masked {
                table: self.name.clone(),
                columns: columns.names(),
            });
        }
        Ok(())
    }
}

/// `TOP (…) ` with the parameter of this name, or nothing.
pub(super) fn top_clause(top: Option<&str>) -> String {
    top.map(|parameter| format!("TOP ({parameter}) "))
        .unwrap_or_default()
}

/// A select list that is never empty: rows are counted over a constant.
pub(super) fn select_list(columns: impl Iterator<Item = String>) -> String {
    let list = columns.collect::<Vec<_>>().join(", ");
    if list.is_empty() {
        format!("1 AS {}", quote("one"))
    } else {
        list
    }
}

pub(super) async fn database_info(pool: &Pool) -> Result<DatabaseInfo, SourceError> {
    let action = "reading the database's properties";
    let rows = pool.rows(action, DATABASE, &[]).await?;
    let row = rows.first().ok_or_else(|| SourceError::UnexpectedAnswer {
        action: action.to_string(),
        reason: "sys.databases does not show the current database".to_string(),
    })?;
    let cells = Cells::new(row, action);
    Ok(DatabaseInfo {
        name: cells.required_text(0)?.to_string(),
        cdc_enabled: cells.flag(1)?,
    })
}

pub(super) async fn tables(pool: &Pool) -> Result<Vec<TableEntry>, SourceError> {
    let action = "reading the names of the tables";
    let rows = pool.rows(action, TABLES, &[]).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells::new(row, action);
            Ok(TableEntry {
                name: TableName::new(cells.required_text(0)?, cells.required_text(1)?),
                object_id: cells.required_int(2)?,
            })
        })
        .collect()
}

pub(super) async fn source_table(
    pool: &Pool,
    table: &TableEntry,
) -> Result<SourceTable, SourceError> {
    let action = format!("reading the columns of {}", table.name);
    let object_id = Parameter::Int(table.object_id);
    let rows = pool.rows(&action, COLUMNS, &[&object_id]).await?;
    let columns = rows
        .iter()
        .map(|row| {
            let cells = Cells::new(row, &action);
            Ok(SourceColumn {
                name: cells.required_text(0)?.to_string(),
                sql_type: declared_type(&cells, 1)?,
                nullable: cells.flag(7)?,
                collation: collation(&cells, 8)?,
                comparable: !cells.flag(10)? && !cells.flag(6)?,
                masked: cells.flag(11)?,
            })
        })
        .collect::<Result<Vec<_>, SourceError>>()?;
    let cautions = pool.cautions().clone();
    Ok(SourceTable::new(table.name.clone(), columns, cautions))
}

/// Reads a collation's name and code page from two cells beginning at `first`.
fn collation(cells: &Cells<'_>, first: usize) -> Result<Option<Collation>, SourceError> {
    let Some(name) = cells.text(first)? else {
        return Ok(None);
    };
    Ok(Some(Collation {
        name: name.to_string(),
        code_page: cells.integer(first + 1)?,
    }))
}

/// Reads base type, declared type, max_length, precision, scale and encryption from six cells beginning at `first`.
pub(super) fn declared_type(cells: &Cells<'_>, first: usize) -> Result<SqlType, SourceError> {
    let small = |index| Ok::<_, SourceError>(cells.integer(index)?.unwrap_or(0) as i32);
    let base = cells.text(first)?;
    Ok(SqlType::from_catalogue(&DeclaredType {
        base,
        declared: cells
            .text(first + 1)?
            .or(base)
            .unwrap_or("of the server's own"),
        max_length: small(first + 2)?,
        precision: small(first + 3)?,
        scale: small(first + 4)?,
        encrypted: cells.flag(first + 5)?,
    }))
}

/// The table that `wanted` means, without regard to case; `None` if there is none.
pub(super) fn resolve(
    wanted: &TableName,
    tables: &[TableEntry],
) -> Result<Option<TableEntry>, SourceError> {
    match find_table(wanted, tables, |table| &table.name) {
        Match::One(table) => Ok(Some(table.clone())),
        Match::None => Ok(None),
        Match::Many(found) => Err(SourceError::Ambiguous {
            name: wanted.clone(),
            candidates: found
                .iter()
                .map(|table| table.name.to_string())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// The error for a table that is not there in `database`, as people are told its name, with the nearest one that is.
pub(super) fn no_such_table(
    database: String,
    wanted: &TableName,
    tables: &[TableEntry],
) -> SourceError {
    let names = tables
        .iter()
        .map(|table| table.name.to_string())
        .collect::<Vec<_>>();
    SourceError::NoSuchTable {
        database,
        table: wanted.clone(),
        suggestion: nearest(&wanted.to_string(), names.iter().map(String::as_str))
            .map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SourceTable {
        let column = SourceColumn::read_only;
        SourceTable::new(
            TableName::new("dbo", "odd]name"),
            vec![
                column("id", SqlType::Int),
                column("credit", SqlType::Money),
                column("sum", SqlType::Unsupported("complex_number".to_string())),
                column("odd one", SqlType::Unsupported("thing".to_string())),
            ],
            Cautions::default(),
        )
    }

    #[test]
    fn the_projection_is_the_select_list() {
        assert_eq!(
            table().select(&[1, 0], &[], None),
            "SELECT CAST(t.[credit] AS decimal(19, 4)) AS [credit], t.[id] FROM [dbo].[odd]]name] AS t OPTION (MAXDOP 1)"
        );
        assert_eq!(
            table().select(&[], &["a".to_string(), "b".to_string()], Some("@P1")),
            "SELECT TOP (@P1) 1 AS [one] FROM [dbo].[odd]]name] AS t WHERE a AND b OPTION (MAXDOP 1)"
        );
    }

    #[test]
    fn unreadable_columns_hurt_only_when_selected_and_are_named_all() {
        assert!(table().check(&[0, 1]).is_ok());
        let message = |projection: &[usize]| table().check(projection).unwrap_err().to_string();
        assert_eq!(
            message(&[0, 2]),
            "column sum of dbo.odd]name has type complex_number, which cannot be read: leave it out with `* EXCEPT (sum)`"
        );
        assert_eq!(
            message(&[2, 1, 3]),
            "columns sum (complex_number), odd one (thing) of dbo.odd]name cannot be read: leave them out with `* EXCEPT (sum, [odd one])`"
        );
    }

    #[test]
    fn a_missing_table_is_compared_with_the_others() {
        let tables = [TableEntry {
            name: TableName::new("dbo", "customers"),
            object_id: 1,
        }];
        let message = no_such_table(
            "'app'".to_string(),
            &TableName::new("dbo", "custmers"),
            &tables,
        )
        .to_string();
        assert!(
            message.contains("did you mean 'dbo.customers'?"),
            "{message}"
        );
    }
}
