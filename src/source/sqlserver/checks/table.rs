//! What a table, its columns and its capture instances are like.

use super::database::DatabaseChecks;
use super::is_hidden;
use super::verdicts;
use crate::change::Finding;
use crate::source::sqlserver::catalogue::{SourceColumn, TableEntry, source_table};
use crate::source::sqlserver::cell::{Cells, Parameter};
use crate::source::sqlserver::error::SourceError;
use crate::source::sqlserver::ident::TableName;
use crate::source::sqlserver::pool::Pool;

/// A table (`@P1`: its object_id) as everybody sees it who sees it at all. Partitions of a clustered columnstore index
/// are not counted: such a table is not captured.
const TABLE: &str = "\
SELECT CAST(t.is_memory_optimized AS int) AS is_memory_optimized, \
(SELECT MIN(i.name) FROM sys.indexes AS i WHERE i.object_id = @P1 AND i.type = 5) AS columnstore, \
(SELECT MIN(i.name) FROM sys.indexes AS i WHERE i.object_id = @P1 AND i.is_primary_key = 1) AS primary_key, \
(SELECT MIN(i.name) FROM sys.indexes AS i WHERE i.object_id = @P1 AND i.is_unique = 1 AND i.is_primary_key = 0 \
AND i.has_filter = 0 AND i.is_disabled = 0) AS unique_index, \
(SELECT COUNT_BIG(*) FROM sys.partitions AS p WHERE p.object_id = @P1 AND p.index_id IN (0, 1)) AS partitions, \
(SELECT MIN(SCHEMA_NAME(q.schema_id) + N'.' + q.name) FROM sys.security_predicates AS r \
JOIN sys.security_policies AS q ON q.object_id = r.object_id \
WHERE r.target_object_id = @P1 AND r.predicate_type = 0 AND q.is_enabled = 1) AS row_filter \
FROM sys.tables AS t WHERE t.object_id = @P1 OPTION (MAXDOP 1)";

/// What the login may do with each column (`@P1`: the table's object_id), in their order. UNMASK is granted by column
/// from 2022 on; before, the answer is NULL.
const RIGHTS: &str = "\
SELECT CAST(c.is_computed AS int) AS is_computed, \
HAS_PERMS_BY_NAME(QUOTENAME(OBJECT_SCHEMA_NAME(@P1)) + N'.' + QUOTENAME(OBJECT_NAME(@P1)), 'OBJECT', 'SELECT', c.name, 'COLUMN') AS can_select, \
HAS_PERMS_BY_NAME(QUOTENAME(OBJECT_SCHEMA_NAME(@P1)) + N'.' + QUOTENAME(OBJECT_NAME(@P1)), 'OBJECT', 'UNMASK', c.name, 'COLUMN') AS can_unmask \
FROM sys.columns AS c WHERE c.object_id = @P1 ORDER BY c.column_id OPTION (MAXDOP 1)";

/// A table's capture instances (`@P1`: its object_id), newest first. The change table's name is NULL where the login
/// may not see it.
const INSTANCES: &str = "\
SELECT ct.capture_instance, ct.object_id, x.name AS change_table, ct.start_lsn, \
CAST(ct.partition_switch AS int) AS partition_switch, ct.index_name, ct.role_name, \
IS_ROLEMEMBER(ct.role_name) AS is_in_role, \
HAS_PERMS_BY_NAME(N'cdc.' + QUOTENAME(x.name), 'OBJECT', 'SELECT') AS can_read \
FROM cdc.change_tables AS ct LEFT JOIN sys.tables AS x ON x.object_id = ct.object_id \
WHERE ct.source_object_id = @P1 ORDER BY ct.start_lsn DESC, ct.create_date DESC OPTION (MAXDOP 1)";

/// The live names of an instance's columns (`@P1`: its change table's object_id, `@P2`: the source table's).
const CAPTURED: &str = "\
SELECT c.name FROM cdc.captured_columns AS cc \
JOIN sys.columns AS c ON c.object_id = @P2 AND c.column_id = cc.column_id \
WHERE cc.object_id = @P1 ORDER BY cc.column_ordinal OPTION (MAXDOP 1)";

/// A table as far as the login may know it.
#[derive(Debug, Clone)]
pub(super) struct TableFacts {
    pub(super) name: TableName,
    pub(super) memory_optimized: bool,
    /// Its clustered columnstore index.
    pub(super) columnstore: Option<String>,
    pub(super) primary_key: Option<String>,
    /// A unique index that is not the primary key.
    pub(super) unique_index: Option<String>,
    pub(super) partitions: i64,
    /// A policy that filters its rows, for who may see definitions.
    pub(super) row_filter: Option<String>,
    /// The captured columns, or all where that is not known.
    pub(super) columns: Vec<ColumnFacts>,
    /// Newest first; `None` if the login may not know them.
    pub(super) instances: Option<Vec<InstanceFacts>>,
}

#[derive(Debug, Clone)]
pub(super) struct ColumnFacts {
    pub(super) column: SourceColumn,
    pub(super) computed: bool,
    pub(super) can_select: bool,
    /// Whether the release grants UNMASK on less than the database.
    pub(super) unmasks_by_column: bool,
}

#[derive(Debug, Clone)]
pub(super) struct InstanceFacts {
    pub(super) name: String,
    pub(super) object_id: i32,
    pub(super) change_table: Option<String>,
    pub(super) started: bool,
    pub(super) switches: bool,
    pub(super) index: Option<String>,
    pub(super) role: Option<String>,
    pub(super) in_role: bool,
    pub(super) can_read: bool,
}

/// Asks for all that concerns one table.
///
/// # Errors
/// As for a database.
pub(in crate::source::sqlserver) async fn table(
    pool: &Pool,
    database: &DatabaseChecks,
    entry: &TableEntry,
) -> Result<Vec<Finding>, SourceError> {
    let action = format!("reading the properties of {}", entry.name);
    let id = Parameter::Int(entry.object_id);
    let rows = pool.rows(&action, TABLE, &[&id]).await?;
    let Some(row) = rows.first() else {
        return Ok(vec![verdicts::gone(&entry.name)]);
    };
    let cells = Cells::new(row, &action);
    let text = |index| Ok::<_, SourceError>(cells.text(index)?.map(str::to_string));
    let mut facts = TableFacts {
        name: entry.name.clone(),
        memory_optimized: cells.flag(0)?,
        columnstore: text(1)?,
        primary_key: text(2)?,
        unique_index: text(3)?,
        partitions: cells.integer(4)?.unwrap_or_default(),
        row_filter: text(5)?,
        columns: columns(pool, entry).await?,
        instances: Some(Vec::new()),
    };
    if database.facts.cdc_enabled {
        facts.instances = instances(pool, entry).await?;
    }
    let newest = facts.instances.iter().flatten().next();
    if let Some(captured) = captured(pool, entry, newest).await? {
        facts
            .columns
            .retain(|column| captured.contains(&column.column.name));
    }
    Ok(verdicts::table(&database.facts, &facts))
}

async fn columns(pool: &Pool, entry: &TableEntry) -> Result<Vec<ColumnFacts>, SourceError> {
    let columns = source_table(pool, entry).await?.columns;
    let action = format!("reading the login's rights on {}", entry.name);
    let id = Parameter::Int(entry.object_id);
    let rows = pool.rows(&action, RIGHTS, &[&id]).await?;
    let columns = columns.into_iter().zip(&rows).map(|(column, row)| {
        let cells = Cells::new(row, &action);
        Ok(ColumnFacts {
            column,
            computed: cells.flag(0)?,
            can_select: cells.flag(1)?,
            unmasks_by_column: cells.integer(2)?.is_some(),
        })
    });
    columns.collect()
}

async fn instances(
    pool: &Pool,
    entry: &TableEntry,
) -> Result<Option<Vec<InstanceFacts>>, SourceError> {
    let action = format!("reading the capture instances of {}", entry.name);
    let id = Parameter::Int(entry.object_id);
    let rows = match pool.rows(&action, INSTANCES, &[&id]).await {
        Ok(rows) => rows,
        Err(error) if is_hidden(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let instances = rows.iter().map(|row| {
        let cells = Cells::new(row, &action);
        let text = |index| Ok::<_, SourceError>(cells.text(index)?.map(str::to_string));
        Ok(InstanceFacts {
            name: cells.required_text(0)?.to_string(),
            object_id: cells.required_int(1)?,
            change_table: text(2)?,
            started: cells.lsn(3)?.is_some(),
            switches: cells.flag(4)?,
            index: text(5)?,
            role: text(6)?,
            in_role: cells.flag(7)?,
            can_read: cells.flag(8)?,
        })
    });
    instances.collect::<Result<_, SourceError>>().map(Some)
}

/// The columns that an instance records; `None` if there is no instance, or the login may not know them.
async fn captured(
    pool: &Pool,
    entry: &TableEntry,
    instance: Option<&InstanceFacts>,
) -> Result<Option<Vec<String>>, SourceError> {
    let Some(instance) = instance else {
        return Ok(None);
    };
    let action = format!("reading the captured columns of {}", entry.name);
    let ids = (
        Parameter::Int(instance.object_id),
        Parameter::Int(entry.object_id),
    );
    let rows = match pool.rows(&action, CAPTURED, &[&ids.0, &ids.1]).await {
        Ok(rows) => rows,
        Err(error) if is_hidden(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let names = rows.iter().map(|row| {
        let cells = Cells::new(row, &action);
        Ok(cells.required_text(0)?.to_string())
    });
    names.collect::<Result<_, SourceError>>().map(Some)
}
