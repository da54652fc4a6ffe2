//! A whole table in chunks, each a range of its clustered key, for the copy that is made from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;

use super::captured::CapturedTable;
use super::catalogue::{SourceColumn, SourceTable, select_list};
use super::caution::{Caution, Cautions};
use super::cell::{Cells, Parameter};
use super::clustered::{clustered_key, clustered_names, moves_unseen};
use super::error::SourceError;
use super::filter::ALIAS;
use super::ident::{TableName, quote};
use super::key_range::{Conditions, KeyBound, KeyRange, key_schema};
use super::live::{Isolation, LiveRows, Statement};
use super::pool::Pool;
use super::scan::{collect, start};
use crate::change::Lsn;

/// A chunk has rows of about so many bytes, unless it is said how many rows it has.
const CHUNK_BYTES: u64 = 128 << 20;
/// No chunk has more rows.
const MOST_ROWS: u64 = 1_000_000;
/// How many bytes a value of a type that may have more is taken to have.
const LIKELY_BYTES: u64 = 48;
/// The same of large types.
const LIKELY_LARGE_BYTES: u64 = 4 << 10;

/// What is known of a table (`@P1`: its object_id) for nothing: how many rows its partitions report, which is not
/// exact, and whether the database lets readers have versions of rows.
const FACTS: &str = "\
SELECT (SELECT CAST(SUM(p.rows) AS bigint) FROM sys.partitions AS p \
WHERE p.object_id = @P1 AND p.index_id IN (0, 1)) AS estimated_rows, \
CAST(d.snapshot_isolation_state AS int) AS snapshot_isolation_state \
FROM sys.databases AS d WHERE d.name = DB_NAME() OPTION (MAXDOP 1)";

/// `snapshot_isolation_state` where SNAPSHOT may be asked for.
const ALLOWED: i64 = 1;

/// A table that is read in chunks: the key and some columns of all its rows, each chunk at some time past a commit.
///
/// Chunks follow the clustered index. A table without one, or with one whose key allows NULL, has a type that cannot be
/// sent back exactly, or a column that is not captured, is one chunk. Where the database allows SNAPSHOT, each chunk is read in a transaction of its own
/// at one instant, and waits for nobody; else under READ COMMITTED. Rows that change meanwhile may be there in either
/// form, twice or not at all: a copy takes those from the change table.
#[derive(Debug)]
pub struct TableChunks {
    pub(super) pool: Pool,
    pub(super) table: Arc<SourceTable>,
    pub(super) schema: SchemaRef,
    /// The clustered key, as a table of its own; without columns, there is one chunk.
    key: Arc<SourceTable>,
    isolation: Isolation,
    pub(super) floor: Lsn,
    rows_per_chunk: u64,
    estimated_rows: Option<u64>,
    may_filter: bool,
    /// Whether the clustered key has a column whose updates are not captured.
    moves_unseen: bool,
    /// What the server can tell of the rows that a part of the table has.
    pub(super) limits: Option<Conditions>,
}

/// `table`'s key and `columns`, from a server that has captured `floor`, in chunks of `rows` or of what fits.
pub(super) async fn table_chunks(
    pool: &Pool,
    table: &CapturedTable,
    columns: &BTreeSet<usize>,
    floor: Lsn,
    rows: Option<u32>,
) -> Result<TableChunks, SourceError> {
    let action = format!("reading the size of {}", table.name);
    let object_id = Parameter::Int(table.source_object_id);
    let facts = pool.rows(&action, FACTS, &[&object_id]).await?;
    let (mut estimated_rows, mut isolation) = (None, Isolation::ReadCommitted);
    if let Some(row) = facts.first() {
        let cells = Cells::new(row, &action);
        estimated_rows = cells.integer(0)?.and_then(|rows| u64::try_from(rows).ok());
        if cells.integer(1)? == Some(ALLOWED) {
            isolation = Isolation::Snapshot;
        }
    }
    let (source, schema) = stored(table, columns);
    let names = clustered_names(pool, table).await?;
    let moves_unseen = moves_unseen(table, &names);
    // A row that goes from a chunk that is read to one that was would be in neither.
    let key = match moves_unseen {
        true => SourceTable::new(table.name.clone(), Vec::new(), Cautions::default()),
        false => clustered_key(pool, table, &names).await?,
    };
    if moves_unseen && isolation == Isolation::ReadCommitted {
        pool.cautions().say(&Caution::MovesUnseen {
            table: table.name.clone(),
        });
    }
    let rows_per_chunk = rows.map_or_else(|| likely_rows(&source.columns), u64::from);
    Ok(TableChunks {
        pool: pool.clone(),
        moves_unseen,
        key: Arc::new(key),
        table: Arc::new(source),
        schema,
        isolation,
        floor,
        rows_per_chunk: rows_per_chunk.max(1),
        estimated_rows,
        may_filter: table.row_filter,
        limits: None,
    })
}

/// The live table's key and `wanted` columns, and the schema of its rows under the captured names.
fn stored(table: &CapturedTable, wanted: &BTreeSet<usize>) -> (SourceTable, SchemaRef) {
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        let is_wanted = wanted.contains(&index) || table.key.contains(&index);
        let Some(source_name) = column.source_name.as_ref().filter(|_| is_wanted) else {
            continue;
        };
        columns.push(SourceColumn::read_only(
            source_name,
            column.sql_type.clone(),
        ));
        fields.push(Field::new(&column.name, column.sql_type.arrow(), true));
    }
    let source = SourceTable::new(table.name.clone(), columns, Cautions::default());
    (source, Arc::new(Schema::new(fields)))
}

/// How many rows of these columns are likely to have [`CHUNK_BYTES`].
fn likely_rows(columns: &[SourceColumn]) -> u64 {
    let bytes = columns.iter().map(|column| {
        let likely = if column.sql_type.is_large() {
            LIKELY_LARGE_BYTES
        } else {
            LIKELY_BYTES
        };
        column.sql_type.most_bytes().clamp(8, likely)
    });
    let bytes: u64 = bytes.sum();
    (CHUNK_BYTES / bytes.max(1)).min(MOST_ROWS)
}

impl TableChunks {
    /// The columns of the rows, under the captured names.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The names of the columns that chunks follow; none where the table is one chunk.
    pub fn key_names(&self) -> Vec<&str> {
        let columns = self.key.columns.iter();
        columns.map(|column| column.name.as_str()).collect()
    }

    /// How many rows the server counts, about; of a part nobody does.
    pub fn estimated_rows(&self) -> Option<u64> {
        self.estimated_rows.filter(|_| self.limits.is_none())
    }

    /// How many rows a chunk has at most, where there are chunks.
    pub fn rows_per_chunk(&self) -> u64 {
        self.rows_per_chunk
    }

    /// Whether each chunk is read as of one instant, and waits for no writer.
    pub fn reads_snapshots(&self) -> bool {
        self.isolation == Isolation::Snapshot
    }

    /// Where the chunk past `after` ends; `None` if it is the last.
    ///
    /// # Errors
    /// Whatever reading a table may give.
    pub async fn end_of_chunk(
        &self,
        after: Option<&KeyBound>,
    ) -> Result<Option<KeyBound>, SourceError> {
        let key = &self.key.columns;
        let is_small = self
            .estimated_rows
            .is_some_and(|rows| rows <= self.rows_per_chunk);
        if key.is_empty() || after.is_none() && is_small {
            return Ok(None);
        }
        let range = KeyRange {
            after: after.cloned(),
            upto: None,
        };
        let (conditions, parameters) = self.conditions(&range)?;
        let sql = nth_row(&self.table.name, key, &conditions, self.rows_per_chunk);
        let schema = key_schema(key);
        let rows = Arc::new(self.live_rows(&self.key, schema, Statement { sql, parameters }));
        let found = collect(rows, usize::MAX).await?;
        let row = found.and_then(|batches| batches.into_iter().find(|batch| batch.num_rows() > 0));
        let end = row.map(|row| KeyBound::new(row.slice(0, 1)));
        // Rows that cannot be told apart, or whose key cannot be sent back, end the chunks: what is left is one.
        Ok(end.filter(|end| Some(end) != after && end.is_exact(key)))
    }

    /// The rows of a range. Reading waits for one of the connections that copies of this database may have.
    ///
    /// # Errors
    /// `Query` for a range of another table; inside the stream, whatever reading a table may give.
    pub fn rows(&self, range: &KeyRange) -> Result<SendableRecordBatchStream, SourceError> {
        let (conditions, parameters) = self.conditions(range)?;
        let projection: Vec<usize> = (0..self.table.columns.len()).collect();
        let hints = hints(!conditions.is_empty());
        let sql = self
            .table
            .select_hinted(&projection, &conditions, None, hints);
        let rows = self.live_rows(&self.table, self.schema(), Statement { sql, parameters });
        Ok(start(Arc::new(rows.of_a_copy())))
    }

    /// What limits rows to a range, and the values of the parameters.
    fn conditions(&self, range: &KeyRange) -> Result<(Vec<String>, Vec<Parameter>), SourceError> {
        let limits = self.limits.clone().unwrap_or_default();
        let conditions = limits.within(range, &self.key.columns);
        let conditions = conditions.ok_or_else(|| SourceError::UnexpectedAnswer {
            action: format!("reading {} by ranges of its key", self.table.name),
            reason: "the key has other columns or types than before".to_string(),
        })?;
        Ok((conditions.sql, conditions.parameters))
    }

    fn live_rows(
        &self,
        table: &Arc<SourceTable>,
        schema: SchemaRef,
        statement: Statement,
    ) -> LiveRows {
        let reading = (self.isolation, self.floor);
        let pool = self.pool.clone();
        LiveRows::stated(pool, Arc::clone(table), schema, statement, reading)
    }

    /// Why a row that was not read may be in the table all the same, and have no change that tells of it.
    pub fn may_miss(&self) -> Option<&'static str> {
        if self.may_filter {
            Some("a security policy may hide rows of it from this login")
        } else if self.moves_unseen && self.isolation == Isolation::ReadCommitted {
            Some(
                "its clustered index has a column that is not captured, so that a row may move while others are read",
            )
        } else {
            None
        }
    }

    /// Says so where far fewer than the counted rows were read, and no policy is known to hide them: metadata of
    /// policies is for who may see definitions.
    pub fn check_count(&self, read: u64) {
        if let Some(counted) = self.estimated_rows()
            && !self.may_filter
            && read.saturating_mul(10) < counted.saturating_mul(9)
        {
            self.pool.cautions().say(&Caution::RowsMissing {
                table: self.table.name.clone(),
                read,
                counted,
            });
        }
    }
}

/// The key of the n-th row in its order. It is read outside of that order, which casts would change.
fn nth_row(table: &TableName, key: &[SourceColumn], conditions: &[String], nth: u64) -> String {
    let names = key
        .iter()
        .map(|column| format!("{ALIAS}.{}", quote(&column.name)));
    let names = names.collect::<Vec<_>>().join(", ");
    let read = key
        .iter()
        .map(|column| column.sql_type.select("b", &column.name));
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    format!(
        "SELECT {} FROM (SELECT {names} FROM {} AS {ALIAS}{filter} ORDER BY {names} \
         OFFSET {} ROWS FETCH NEXT 1 ROWS ONLY) AS b OPTION ({})",
        select_list(read),
        table.quoted(),
        nth.saturating_sub(1),
        hints(!conditions.is_empty())
    )
}

/// A plan that serves one range need not serve another.
fn hints(of_a_range: bool) -> &'static str {
    match of_a_range {
        true => "MAXDOP 1, RECOMPILE",
        false => "MAXDOP 1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;
    use crate::source::sqlserver::types::SqlType;

    #[test]
    fn the_key_and_what_is_wanted_are_read_under_the_captured_names() {
        let mut table = customers();
        table.columns[1].source_name = Some("full_name".to_string());
        let (source, schema) = stored(&table, &BTreeSet::from([1]));
        assert_eq!(
            source.select(&[0, 1], &[], None),
            "SELECT t.[id], t.[full_name] FROM [dbo].[customers] AS t OPTION (MAXDOP 1)"
        );
        assert_eq!(schema.field(1).name(), "name");
        table.columns[1].source_name = None;
        let all = BTreeSet::from([0, 1, 2]);
        assert_eq!(
            stored(&table, &all).1.fields().len(),
            table.columns.len() - 1
        );
    }

    #[test]
    fn wide_rows_make_short_chunks() {
        let column = |sql_type| SourceColumn::read_only("a", sql_type);
        let narrow = likely_rows(&[column(SqlType::Int)]);
        assert_eq!(narrow, MOST_ROWS);
        let text = SqlType::Text {
            name: "nvarchar(max)".to_string(),
            large: true,
            unicode: None,
        };
        let wide = likely_rows(&[column(SqlType::Int), column(text)]);
        assert!(wide > 30_000 && wide < 33_000, "{wide}");
    }

    #[test]
    fn the_end_of_a_chunk_is_the_key_of_its_last_row() {
        let key = [
            SourceColumn::read_only("a", SqlType::Int),
            SourceColumn::read_only("b]", SqlType::Int),
        ];
        let sql = nth_row(
            &TableName::new("dbo", "a"),
            &key,
            &["1 = 1".to_string()],
            1000,
        );
        assert_eq!(
            sql,
            "SELECT b.[a], b.[b]]] FROM (SELECT t.[a], t.[b]]] FROM [dbo].[a] AS t WHERE 1 = 1 \
             ORDER BY t.[a], t.[b]]] OFFSET 999 ROWS FETCH NEXT 1 ROWS ONLY) AS b OPTION (MAXDOP 1, RECOMPILE)"
        );
    }
}
