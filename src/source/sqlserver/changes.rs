//! The change feed: rows of a change table in commit order, guarded in the same batch.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::change::{COMMIT_VERSION, LsnRange};

use super::captured::{CapturedColumn, CapturedTable};
use super::catalogue::{select_list, top_clause};
use super::change_rows::ChangeRows;
use super::columns::Columns;
use super::decode::ColumnBuilder;
use super::error::SourceError;
use super::large::image_type;
use super::pool::Pool;
use super::relation::{AFTER, UPTO};
use super::scan::SqlServerScanExec;

/// The column that numbers the rows of a window; it exists only below the net changes.
pub(super) const POSITION: &str = "__$position";

/// The first of these numbers; those below are for rows from before the window.
pub(super) const FIRST_POSITION: u64 = 1;

/// Before the rows (`@P3`: the change table's object_id): is the window's start still there, has this server
/// captured its end, and how far is local time from UTC?
const GUARD_BEFORE: &str = "\
SELECT ct.start_lsn, \
(SELECT TOP (1) m.start_lsn FROM cdc.lsn_time_mapping AS m ORDER BY m.start_lsn DESC) AS visible_max, \
GETDATE() AS server_local, SYSUTCDATETIME() AS server_utc \
FROM cdc.change_tables AS ct WHERE ct.object_id = @P3 OPTION (MAXDOP 1)";

/// After the rows: was the window's start there all the while?
const GUARD_AFTER: &str = "\
SELECT ct.start_lsn FROM cdc.change_tables AS ct WHERE ct.object_id = @P3 OPTION (MAXDOP 1)";

/// Which rows of the window, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Images {
    /// Every image, each as what it is.
    All,
    /// What the net changes are made from: the images before an update only where its key may have moved,
    /// and those as deletes of the old key.
    Net,
}

/// What a column of the output is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// The n-th captured column.
    Captured(usize),
    /// The n-th captured column in the form of an image, which may not tell its value.
    Image(usize),
    ChangeType,
    CommitVersion,
    CommitTimestamp,
    Position,
}

impl Value {
    pub(super) fn builder(self, table: &CapturedTable) -> ColumnBuilder {
        match self {
            Self::Captured(index) => ColumnBuilder::new(&table.columns[index].sql_type),
            Self::Image(index) => ColumnBuilder::image(&table.columns[index].sql_type),
            Self::ChangeType | Self::CommitVersion => ColumnBuilder::text(),
            Self::CommitTimestamp => ColumnBuilder::utc_timestamp(),
            Self::Position => ColumnBuilder::UInt64(Default::default()),
        }
    }

    /// The captured column that it is made from.
    fn captured(self) -> Option<usize> {
        match self {
            Self::Captured(index) | Self::Image(index) => Some(index),
            _ => None,
        }
    }
}

/// The changes of one table in a window, as a table.
#[derive(Debug)]
pub(super) struct Changes {
    pool: Pool,
    table: Arc<CapturedTable>,
    /// `None`: nothing can lie in it.
    window: Option<LsnRange>,
    images: Images,
    schema: SchemaRef,
}

impl Changes {
    /// Every image of the window, in the feed's schema.
    pub(super) fn feed(pool: Pool, table: Arc<CapturedTable>, window: Option<LsnRange>) -> Self {
        Self {
            schema: table.schema_ref(),
            pool,
            table,
            window,
            images: Images::All,
        }
    }

    /// The images that net changes are made from, in [`image_schema`].
    pub(super) fn net(pool: Pool, table: Arc<CapturedTable>, window: LsnRange) -> Self {
        Self {
            schema: image_schema(&table),
            pool,
            table,
            window: Some(window),
            images: Images::Net,
        }
    }

    /// Every image of the window, and [`POSITION`].
    pub(super) fn numbered(pool: Pool, table: Arc<CapturedTable>, window: LsnRange) -> Self {
        let mut fields = table.schema.fields().to_vec();
        fields.push(position());
        Self {
            schema: Arc::new(Schema::new(fields)),
            ..Self::feed(pool, table, Some(window))
        }
    }

    fn value(&self, index: usize) -> Value {
        match index.checked_sub(self.table.columns.len()) {
            None if self.images == Images::Net && self.table.columns[index].is_large() => {
                Value::Image(index)
            }
            None => Value::Captured(index),
            Some(0) => Value::ChangeType,
            Some(1) => Value::CommitVersion,
            Some(2) => Value::CommitTimestamp,
            Some(_) => Value::Position,
        }
    }

    fn check(&self, values: &[Value]) -> std::result::Result<(), SourceError> {
        let captured = values.iter().filter_map(|value| value.captured());
        check_columns(&self.table, &captured.collect::<Vec<_>>(), self.images)
    }
}

/// The schema of images: the feed's, with large columns in the form of images, and [`POSITION`].
pub(super) fn image_schema(table: &CapturedTable) -> SchemaRef {
    let large = |index: usize| {
        let column = table.columns.get(index);
        column.is_some_and(CapturedColumn::is_large)
    };
    let fields = table.schema.fields().iter().enumerate();
    let mut fields: Vec<_> = fields
        .map(|(index, field)| match large(index) {
            true => Field::new(field.name(), image_type(field.data_type()), true).into(),
            false => Arc::clone(field),
        })
        .collect();
    fields.push(position());
    Arc::new(Schema::new(fields))
}

fn position() -> Arc<Field> {
    Arc::new(Field::new(POSITION, DataType::UInt64, false))
}

/// Refuses columns that cannot be read, or that net changes cannot carry.
pub(super) fn check_columns(
    table: &CapturedTable,
    indices: &[usize],
    images: Images,
) -> std::result::Result<(), SourceError> {
    let read = || indices.iter().map(|index| &table.columns[*index]);
    let those = |refused: fn(&CapturedColumn) -> bool| {
        let refused = read().filter(|column| refused(column));
        Columns::of(refused.map(|column| (column.name.clone(), column.type_name())))
    };
    let name = || table.name.clone();
    if let Some(columns) = those(|column| !column.sql_type.is_supported()) {
        let table = name();
        return Err(SourceError::UnsupportedColumns { table, columns });
    }
    if images == Images::All {
        return Ok(());
    }
    if let Some(dropped) = read().find(|column| column.source_name.is_none()) {
        return Err(SourceError::DroppedColumn {
            table: name(),
            column: dropped.name.clone(),
        });
    }
    if let Some(columns) = those(|column| column.masked) {
        let table = name();
        return Err(SourceError::MaskedColumns { table, columns });
    }
    Ok(())
}

#[async_trait]
impl TableProvider for Changes {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let values = projection
            .iter()
            .map(|index| self.value(*index))
            .collect::<Vec<_>>();
        self.check(&values)?;
        let schema = Arc::new(self.schema.project(&projection)?);
        let ascending = schema.index_of(COMMIT_VERSION).ok();
        Ok(Arc::new(SqlServerScanExec::new(Arc::new(ChangeRows {
            sql: rows_query(&self.table, self.images, &values, limit.is_some()),
            limit,
            pool: self.pool.clone(),
            table: Arc::clone(&self.table),
            window: self.window,
            images: self.images,
            values,
            schema,
            ascending,
        }))))
    }
}

/// Guard, `rows`, guard: one batch in one session, so that all three see one server.
pub(super) fn guarded(rows: &str) -> String {
    format!("{GUARD_BEFORE};\n{rows};\n{GUARD_AFTER};")
}

/// The rows after `@P1` up to `@P2`, at most `@P4` if they are limited, in the order of the change table's
/// clustered index, so that the server sorts nothing.
pub(super) fn rows_query(
    table: &CapturedTable,
    images: Images,
    values: &[Value],
    limited: bool,
) -> String {
    let captured = values.iter().filter_map(|value| value.captured());
    let captured = captured.map(|index| {
        let column = &table.columns[index];
        column.sql_type.select("c", &column.name)
    });
    let has_images = values.iter().any(|value| matches!(value, Value::Image(_)));
    let fixed = ["c.[__$start_lsn]", "c.[__$operation]", "c.[__$update_mask]"];
    let fixed = fixed.into_iter().take(fixed_columns(has_images));
    let command = if table.has_command_id {
        "c.[__$command_id], "
    } else {
        ""
    };
    format!(
        "SELECT {top}{list} {rows}{filter} \
         ORDER BY c.[__$start_lsn], {command}c.[__$seqval], c.[__$operation] OPTION (MAXDOP 1)",
        top = top_clause(limited.then_some("@P4")),
        list = select_list(fixed.map(str::to_string).chain(captured)),
        rows = table.relation.rows(AFTER, UPTO),
        filter = match images {
            Images::All => String::new(),
            Images::Net => key_may_have_moved(table),
        },
    )
}

/// How many columns stand before the captured ones: LSN, operation, and the update mask where images need it.
fn fixed_columns(has_images: bool) -> usize {
    if has_images { 3 } else { 2 }
}

/// Leaves out the images before an update that touched no column of the key.
///
/// Bytes of the update mask run backwards: ordinal 1 is the lowest bit of the last byte.
fn key_may_have_moved(table: &CapturedTable) -> String {
    let bits = table.key.iter().map(|index| {
        let bit = table.columns[*index].ordinal.saturating_sub(1);
        format!(
            " OR CAST(SUBSTRING(c.[__$update_mask], DATALENGTH(c.[__$update_mask]) - {}, 1) AS tinyint) & {} <> 0",
            bit / 8,
            1_u32 << (bit % 8)
        )
    });
    // The row by which the function refuses has NULL: it must arrive.
    let refusal = match table.relation.is_function() {
        true => "c.[__$operation] IS NULL OR ",
        false => "",
    };
    let bits = bits.collect::<String>();
    format!(" AND ({refusal}c.[__$operation] <> 3{bits})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;
    use crate::source::sqlserver::relation::ChangeRelation;

    #[test]
    fn a_feed_selects_what_is_asked_for_in_commit_order() {
        let values = [Value::CommitVersion, Value::Captured(1)];
        assert_eq!(
            rows_query(&customers(), Images::All, &values, true),
            "SELECT TOP (@P4) c.[__$start_lsn], c.[__$operation], c.[name] FROM cdc.[dbo_customers_CT] AS c \
             WHERE c.[__$start_lsn] > CAST(@P1 AS binary(10)) AND c.[__$start_lsn] <= CAST(@P2 AS binary(10)) \
             ORDER BY c.[__$start_lsn], c.[__$command_id], c.[__$seqval], c.[__$operation] OPTION (MAXDOP 1)"
        );
    }

    #[test]
    fn an_old_change_table_is_ordered_without_command_id() {
        let mut table = customers();
        table.has_command_id = false;
        let sql = rows_query(&table, Images::All, &[], false);
        assert!(
            sql.contains("ORDER BY c.[__$start_lsn], c.[__$seqval], c.[__$operation]"),
            "{sql}"
        );
    }

    #[test]
    fn the_function_is_asked_for_a_closed_range_and_may_answer_with_nulls() {
        let mut table = customers();
        table.relation = ChangeRelation::Function {
            name: "fn_cdc_get_all_changes_dbo_customers".to_string(),
            object_id: 8,
        };
        table.has_command_id = false;
        assert_eq!(
            rows_query(&table, Images::Net, &[Value::Captured(0)], false),
            "SELECT c.[__$start_lsn], c.[__$operation], c.[id] \
             FROM cdc.[fn_cdc_get_all_changes_dbo_customers](sys.fn_cdc_increment_lsn(CAST(@P1 AS binary(10))), \
             CAST(@P2 AS binary(10)), N'all update old') AS c WHERE 1 = 1 \
             AND (c.[__$operation] IS NULL OR c.[__$operation] <> 3 \
             OR CAST(SUBSTRING(c.[__$update_mask], DATALENGTH(c.[__$update_mask]) - 0, 1) AS tinyint) & 1 <> 0) \
             ORDER BY c.[__$start_lsn], c.[__$seqval], c.[__$operation] OPTION (MAXDOP 1)"
        );
    }

    #[test]
    fn net_changes_test_the_bits_of_the_key() {
        let mut table = customers();
        table.columns[2].ordinal = 10;
        table.key = vec![0, 2];
        assert_eq!(
            key_may_have_moved(&table),
            " AND (c.[__$operation] <> 3 \
             OR CAST(SUBSTRING(c.[__$update_mask], DATALENGTH(c.[__$update_mask]) - 0, 1) AS tinyint) & 1 <> 0 \
             OR CAST(SUBSTRING(c.[__$update_mask], DATALENGTH(c.[__$update_mask]) - 1, 1) AS tinyint) & 2 <> 0)"
        );
    }

    #[test]
    fn a_dropped_column_passes_a_feed_but_not_net_changes() {
        let mut table = customers();
        table.columns[1].source_name = None;
        assert!(check_columns(&table, &[1], Images::All).is_ok());
        let message = check_columns(&table, &[1], Images::Net)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("column name of dbo.customers was dropped"),
            "{message}"
        );
    }

    #[test]
    fn images_of_large_columns_come_with_the_update_mask() {
        let values = [Value::Captured(0), Value::Image(2)];
        let sql = rows_query(&customers(), Images::Net, &values, false);
        let list =
            "SELECT c.[__$start_lsn], c.[__$operation], c.[__$update_mask], c.[id], c.[notes] FROM";
        assert!(sql.starts_with(list), "{sql}");
        let schema = image_schema(&customers());
        assert_eq!(schema.field(2).data_type(), &image_type(&DataType::Utf8));
    }

    #[test]
    fn masked_columns_pass_a_feed_but_not_net_changes() {
        let mut table = customers();
        table.columns[0].masked = true;
        table.columns[1].masked = true;
        assert!(check_columns(&table, &[0, 1], Images::All).is_ok());
        let message = check_columns(&table, &[0, 1], Images::Net)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("columns id (int), name (nvarchar(64)) of dbo.customers are masked")
                && message.contains("GRANT UNMASK to the login, or leave them out"),
            "{message}"
        );
    }
}
