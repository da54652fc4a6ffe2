//! Captured tables: which capture instance, which columns, which key.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, Lsn, is_change_column};

use super::catalogue::{TableEntry, declared_type};
use super::caution::{Caution, RowOrder};
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::ident::TableName;
use super::instance::{Instance, choose, instances};
use super::key::{IndexColumn, KeyProblem, index_columns, require_key};
use super::pool::Pool;
use super::relation::ChangeRelation;
use super::types::{SqlType, utc_timestamp};

/// The captured columns of an instance (`@P1`: the change table's object_id, `@P2`: the source table's, `@P3`: that of
/// what the changes are read from). Joined to the source by column_id, which a rename keeps; types are those of what
/// is read, masks those of the source, since changes have none.
const CAPTURED_COLUMNS: &str = "\
SELECT cc.column_name, cc.column_ordinal, CAST(cc.is_computed AS int) AS is_computed, \
cc.column_id, src.name AS source_name, \
base.name AS base_type, typ.name AS declared_type, CAST(chg.max_length AS int) AS max_length, \
CAST(chg.precision AS int) AS num_precision, CAST(chg.scale AS int) AS num_scale, \
CASE WHEN COALESCE(src.encryption_type, chg.encryption_type) IS NULL THEN 0 ELSE 1 END AS is_encrypted, \
CAST(src.is_nullable AS int) AS is_nullable, \
CASE WHEN src.is_masked = 1 AND COALESCE(\
HAS_PERMS_BY_NAME(QUOTENAME(OBJECT_SCHEMA_NAME(@P2)) + N'.' + QUOTENAME(OBJECT_NAME(@P2)), 'OBJECT', 'UNMASK', src.name, 'COLUMN'), \
HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UNMASK'), 0) = 0 THEN 1 ELSE 0 END AS is_masked \
FROM cdc.captured_columns AS cc \
LEFT JOIN sys.columns AS chg ON chg.object_id = @P3 AND chg.name = cc.column_name \
LEFT JOIN sys.types AS typ ON typ.user_type_id = chg.user_type_id \
LEFT JOIN sys.types AS base ON base.user_type_id = CASE WHEN typ.is_assembly_type = 1 AND typ.is_user_defined = 0 \
THEN chg.user_type_id ELSE chg.system_type_id END \
LEFT JOIN sys.columns AS src ON src.object_id = @P2 AND src.column_id = cc.column_id \
WHERE cc.object_id = @P1 ORDER BY cc.column_ordinal OPTION (MAXDOP 1)";

/// The change table's (`@P1`) `__$command_id`, and whether its clustered index has it; instances of old servers have
/// none.
const COMMAND_ID: &str = "\
SELECT c.column_id, (SELECT COUNT_BIG(*) FROM sys.index_columns AS k \
WHERE k.object_id = c.object_id AND k.index_id = 1 AND k.column_id = c.column_id) AS is_indexed \
FROM sys.columns AS c WHERE c.object_id = @P1 AND c.name = N'__$command_id' OPTION (MAXDOP 1)";

/// A column that a capture instance records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedColumn {
    pub(super) name: String,
    pub(super) source_name: Option<String>,
    pub(super) sql_type: SqlType,
    pub(super) ordinal: u32,
    pub(super) nullable: bool,
    /// Whether the login is shown masks in place of the live table's values.
    pub(super) masked: bool,
}

impl CapturedColumn {
    /// Its name in the change table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name in the live table today; `None` once it has been dropped there.
    pub fn source_name(&self) -> Option<&str> {
        self.source_name.as_deref()
    }

    /// Its type as SQL Server writes it, such as `nvarchar(128)`.
    pub fn type_name(&self) -> String {
        self.sql_type.to_string()
    }

    /// Whether the live table allows NULL. A change feed may have NULL in any column: deletes of some
    /// servers lose values.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Whether SQL Server may leave its value out of an update that does not change it.
    pub fn is_large(&self) -> bool {
        self.sql_type.is_large()
    }
}

/// A table whose changes are captured, seen through one capture instance.
///
/// Computed columns are left out: a change table has only NULL for them.
#[derive(Debug, Clone)]
pub struct CapturedTable {
    pub(super) name: TableName,
    pub(super) instance: String,
    pub(super) relation: ChangeRelation,
    pub(super) change_object_id: i32,
    pub(super) source_object_id: i32,
    pub(super) columns: Vec<CapturedColumn>,
    pub(super) key: Vec<usize>,
    /// A column of the unique index that changes do not have, and why.
    pub(super) missing_key: Option<(String, KeyProblem)>,
    pub(super) start_lsn: Lsn,
    /// Whether a policy is known that filters the live table's rows.
    pub(super) row_filter: bool,
    pub(super) has_command_id: bool,
    /// When the live table and the change table had been altered last, before the columns were read.
    pub(super) modified: [Option<i64>; 2],
    pub(super) schema: SchemaRef,
}

impl CapturedTable {
    /// The source schema, as the server spells it.
    pub fn schema_name(&self) -> &str {
        &self.name.schema
    }

    /// The source table, as the server spells it.
    pub fn table_name(&self) -> &str {
        &self.name.name
    }

    /// The capture instance's name.
    pub fn capture_instance(&self) -> &str {
        &self.instance
    }

    /// The object_id of the instance's change table, which names it also when another gets its name.
    pub fn instance_id(&self) -> i32 {
        self.change_object_id
    }

    /// The captured columns in the order of the change table.
    pub fn columns(&self) -> &[CapturedColumn] {
        &self.columns
    }

    /// The unique key's columns, as indices into [`CapturedTable::columns`]; empty if there is none that
    /// changes have whole.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// The unique key's column names, in key order.
    pub fn key_names(&self) -> Vec<&str> {
        self.key
            .iter()
            .map(|index| self.columns[*index].name.as_str())
            .collect()
    }

    /// Why its rows cannot be told apart in a target, if they cannot.
    pub fn key_problem(&self) -> Option<SourceError> {
        require_key(self).err()
    }

    /// The first LSN that the instance had when it was looked up; cleanup moves it.
    pub fn start_lsn(&self) -> Lsn {
        self.start_lsn
    }

    /// The earliest exclusive start of a window: everything that the instance has lies behind it.
    ///
    /// A first copy begins at the greater of this and the newest commit, since a new instance may start
    /// above that.
    pub fn earliest_after(&self) -> Lsn {
        self.start_lsn.decrement().unwrap_or(Lsn::ZERO)
    }

    /// The schema of the feed, of net changes and of a first copy: the captured columns, all nullable,
    /// then `_change_type`, `_commit_version` and `_commit_timestamp`.
    pub fn schema_ref(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Looks up the instance that a window after `after` needs (the newest that reaches back that far, else
/// the newest of all), or the newest; `Ok(None)` if the table has no instance.
pub(super) async fn captured_table(
    pool: &Pool,
    table: &TableEntry,
    after: Option<Lsn>,
) -> Result<Option<CapturedTable>, SourceError> {
    let mut instance = choose(instances(pool, table).await?, after);
    let is_hidden = |instance: &Instance| instance.relation().is_none();
    if instance.as_ref().is_some_and(is_hidden) {
        // One that comes or goes while the catalogue is read is there without its change table.
        instance = choose(instances(pool, table).await?, after);
    }
    match instance {
        Some(instance) => through(pool, table, instance).await.map(Some),
        None => Ok(None),
    }
}

/// The table through one of its instances.
pub(super) async fn through(
    pool: &Pool,
    table: &TableEntry,
    instance: Instance,
) -> Result<CapturedTable, SourceError> {
    let name = table.name.clone();
    instance.caution(&name, pool.cautions());
    let Some(relation) = instance.relation() else {
        return Err(SourceError::ChangesHidden { table: name });
    };
    let Some(start_lsn) = instance.start_lsn else {
        return Err(SourceError::CaptureNotStarted {
            table: name,
            instance: instance.name,
        });
    };
    let found = columns(pool, table, instance.change_object_id, &relation).await?;
    Ok(CapturedTable {
        schema: feed_schema(&name, &found.columns)?,
        has_command_id: has_command_id(pool, &name, &instance, &relation).await?,
        name,
        instance: instance.name,
        relation,
        change_object_id: instance.change_object_id,
        source_object_id: table.object_id,
        columns: found.columns,
        key: found.key,
        missing_key: found.missing_key,
        start_lsn,
        row_filter: instance.row_filter.is_some(),
        modified: instance.modified,
    })
}

/// Whether a table has the columns and types by now that it had when it was looked up; what reads an instance that is
/// gone says so itself.
pub(super) async fn has_columns_of(
    pool: &Pool,
    table: &CapturedTable,
) -> Result<bool, SourceError> {
    let entry = TableEntry {
        name: table.name.clone(),
        object_id: table.source_object_id,
    };
    let found = columns(pool, &entry, table.change_object_id, &table.relation).await?;
    let shape = |column: &CapturedColumn| (column.source_name.clone(), column.sql_type.clone());
    let is_same = found
        .columns
        .iter()
        .map(shape)
        .eq(table.columns.iter().map(shape));
    Ok(is_same || found.columns.is_empty())
}

/// Whether changes have `__$command_id`; says so where they have none, or it costs a sort.
async fn has_command_id(
    pool: &Pool,
    table: &TableName,
    instance: &Instance,
    relation: &ChangeRelation,
) -> Result<bool, SourceError> {
    let say = |order| {
        pool.cautions().say(&Caution::Order {
            table: table.clone(),
            instance: instance.name.clone(),
            order,
        });
    };
    if relation.is_function() {
        say(RowOrder::OfFunction);
        return Ok(false);
    }
    let action = format!("reading the columns of capture instance {}", instance.name);
    let change_id = Parameter::Int(instance.change_object_id);
    let rows = pool.rows(&action, COMMAND_ID, &[&change_id]).await?;
    match rows.first() {
        None => say(RowOrder::WithoutCommandId),
        Some(row) if !Cells::new(row, &action).flag(1)? => say(RowOrder::NotIndexed),
        Some(_) => {}
    }
    Ok(!rows.is_empty())
}

/// The columns of an instance, and the key among them.
struct Columns {
    columns: Vec<CapturedColumn>,
    key: Vec<usize>,
    missing_key: Option<(String, KeyProblem)>,
}

async fn columns(
    pool: &Pool,
    table: &TableEntry,
    change_object_id: i32,
    relation: &ChangeRelation,
) -> Result<Columns, SourceError> {
    let action = format!("reading the captured columns of {}", table.name);
    let change_id = Parameter::Int(change_object_id);
    let source_id = Parameter::Int(table.object_id);
    let read_id = match relation {
        ChangeRelation::Table { .. } => Parameter::Int(change_object_id),
        ChangeRelation::Function { object_id, .. } => Parameter::Int(*object_id),
    };
    let parameters: [&dyn tiberius::ToSql; 3] = [&change_id, &source_id, &read_id];
    let rows = pool.rows(&action, CAPTURED_COLUMNS, &parameters).await?;
    let mut columns = Vec::with_capacity(rows.len());
    let (mut column_ids, mut computed_ids) = (Vec::new(), Vec::new());
    for row in &rows {
        let cells = Cells::new(row, &action);
        let column_id = cells.integer(3)?;
        if cells.flag(2)? {
            pool.cautions().say(&Caution::Computed {
                table: table.name.clone(),
                column: cells.required_text(0)?.to_string(),
            });
            computed_ids.extend(column_id);
            continue;
        }
        column_ids.push(column_id);
        columns.push(CapturedColumn {
            name: cells.required_text(0)?.to_string(),
            source_name: cells.text(4)?.map(str::to_string),
            sql_type: declared_type(&cells, 5)?,
            ordinal: cells.required_int(1)?.unsigned_abs(),
            nullable: cells.integer(11)? != Some(0),
            masked: cells.flag(12)?,
        });
    }
    let index = index_columns(pool, table, change_object_id).await?;
    let (key, missing_key) = key_of(&index, &column_ids, &computed_ids);
    Ok(Columns {
        columns,
        key,
        missing_key,
    })
}

/// The index's columns among those with `column_ids`, or the first that is not there and why.
fn key_of(
    index: &[IndexColumn],
    column_ids: &[Option<i64>],
    computed_ids: &[i64],
) -> (Vec<usize>, Option<(String, KeyProblem)>) {
    let mut key = Vec::with_capacity(index.len());
    for column in index {
        match column_ids
            .iter()
            .position(|id| *id == Some(column.column_id))
        {
            Some(position) => key.push(position),
            None => {
                let computed = computed_ids.contains(&column.column_id);
                let problem = if computed {
                    KeyProblem::Computed
                } else {
                    KeyProblem::NotCaptured
                };
                return (Vec::new(), Some((column.name.clone(), problem)));
            }
        }
    }
    (key, None)
}

fn feed_schema(table: &TableName, columns: &[CapturedColumn]) -> Result<SchemaRef, SourceError> {
    if let Some(column) = columns.iter().find(|column| is_change_column(&column.name)) {
        return Err(SourceError::ReservedColumn {
            table: table.clone(),
            column: column.name.clone(),
        });
    }
    let mut fields = columns
        .iter()
        .map(|column| Field::new(&column.name, column.sql_type.arrow(), true))
        .collect::<Vec<_>>();
    fields.push(Field::new(CHANGE_TYPE, DataType::Utf8, false));
    fields.push(Field::new(COMMIT_VERSION, DataType::Utf8, false));
    fields.push(Field::new(COMMIT_TIMESTAMP, utc_timestamp(), false));
    Ok(Arc::new(Schema::new(fields)))
}

#[cfg(test)]
pub(super) mod tests;
