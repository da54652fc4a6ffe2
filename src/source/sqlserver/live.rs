//! A table as it is now.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use tiberius::ToSql;

use super::bulk::Rows;
use super::catalogue::SourceTable;
use super::cell::{Cells, Parameter, missing, row_count};
use super::decode::{ColumnBuilder, unexpected};
use super::error::SourceError;
use super::filter::{self, Translator};
use super::news::READ_ONLY;
use super::pool::Pool;
use super::scan::{Batcher, Output, RowSource, SqlServerScanExec};
use crate::change::Lsn;

/// A live table, a raw change table, or one of the tables that describe capture.
#[derive(Debug)]
pub(super) struct LiveTable {
    pool: Pool,
    table: Arc<SourceTable>,
}

impl LiveTable {
    pub(super) fn new(pool: Pool, table: SourceTable) -> Self {
        Self {
            pool,
            table: Arc::new(table),
        }
    }
}

#[async_trait]
impl TableProvider for LiveTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filter::support(&self.table.columns, filters))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.table.columns.len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        self.table.check(&projection)?;
        Ok(Arc::new(SqlServerScanExec::new(Arc::new(LiveRows {
            pool: self.pool.clone(),
            schema: Arc::new(self.table.schema.project(&projection)?),
            statement: Statement::new(&self.table, &projection, filters, limit)?,
            table: Arc::clone(&self.table),
            projection,
            floor: None,
            isolation: Isolation::ReadCommitted,
            of_a_copy: false,
        }))))
    }
}

/// How many parameters a statement may have: a request takes 2100, and two are the statement and their types.
const MAX_PARAMETERS: usize = 2_098;

/// A query and the values of its parameters.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<Parameter>,
}

/// What a read sees of changes that are made meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Each row as it was committed when it was read, after waiting for who changes it.
    ReadCommitted,
    /// All rows as of one instant; the database must allow it.
    Snapshot,
}

impl Statement {
    /// Rows are limited only where no filter may let too many pass.
    ///
    /// # Errors
    /// `Internal` for a filter that [`filter::support`] would not take, since nobody else may apply it.
    fn new(
        table: &SourceTable,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Self> {
        let mut translator = Translator::new(&table.columns);
        let mut conditions = Vec::with_capacity(filters.len());
        let mut exact = true;
        for filter in filters {
            let Some(predicate) = translator.translate(filter) else {
                return internal_err!("{} cannot answer the filter {filter}", table.name);
            };
            exact &= predicate.exact;
            conditions.push(predicate.sql);
        }
        let top = limit
            .filter(|_| exact)
            .map(|rows| translator.bind(row_count(rows)));
        let parameters = translator.into_parameters();
        if parameters.len() > MAX_PARAMETERS {
            return internal_err!(
                "the filters of {} have {} values, and a request takes {MAX_PARAMETERS}",
                table.name,
                parameters.len()
            );
        }
        Ok(Self {
            sql: table.select(projection, &conditions, top.as_deref()),
            parameters,
        })
    }
}

impl fmt::Display for Statement {
    /// The parameters' values are the query's own literals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many of a long list are shown.
        const SHOWN: usize = 8;
        f.write_str(&self.sql)?;
        if self.parameters.is_empty() {
            return Ok(());
        }
        let shown = (1..).zip(self.parameters.iter().take(SHOWN));
        let mut shown: Vec<String> = shown
            .map(|(number, value)| format!("@P{number} = {value}"))
            .collect();
        if self.parameters.len() > SHOWN {
            shown.push(format!("… {} more", self.parameters.len() - SHOWN));
        }
        write!(f, " [{}]", shown.join(", "))
    }
}

/// Before rows that must be as new as a commit: how far this server has captured, and whether it is a replica.
const GUARD: &str = "\
SELECT (SELECT TOP (1) m.start_lsn FROM cdc.lsn_time_mapping AS m ORDER BY m.start_lsn DESC) AS visible_max, \
CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability OPTION (MAXDOP 1)";

/// A replica may be behind the server that told the commit `floor`; the one that is written to has all commits, also
/// those that it has not captured yet.
fn check_server(cells: &Cells<'_>, floor: Lsn) -> Result<(), SourceError> {
    let visible = cells.lsn(0)?.unwrap_or(Lsn::ZERO);
    if cells.text(1)? == Some(READ_ONLY) && visible < floor {
        return Err(SourceError::Behind {
            upto: floor,
            visible,
        });
    }
    Ok(())
}

/// The projected rows of a table.
#[derive(Debug)]
pub(super) struct LiveRows {
    pool: Pool,
    table: Arc<SourceTable>,
    projection: Vec<usize>,
    schema: SchemaRef,
    statement: Statement,
    /// The commit that the server which answers must have captured.
    floor: Option<Lsn>,
    isolation: Isolation,
    /// Whether the rows are many, and have connections for such reads.
    of_a_copy: bool,
}

/// Begins and ends what is read at one instant.
const BEGIN_SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION;";
const END_SNAPSHOT: &str = "COMMIT TRANSACTION;";

impl LiveRows {
    /// The rows that `statement` reads of all columns of `table`, under the names of `schema`, from a server that has
    /// captured the commit.
    pub(super) fn stated(
        pool: Pool,
        table: Arc<SourceTable>,
        schema: SchemaRef,
        statement: Statement,
        (isolation, floor): (Isolation, Lsn),
    ) -> Self {
        Self {
            pool,
            statement,
            projection: (0..table.columns.len()).collect(),
            table,
            schema,
            floor: Some(floor),
            isolation,
            of_a_copy: false,
        }
    }

    /// The same over a connection of those that copies have.
    pub(super) fn of_a_copy(self) -> Self {
        Self {
            of_a_copy: true,
            ..self
        }
    }

    /// All columns of the rows for which `filter` holds, and maybe of others, under the names of `schema`, from a server
    /// that has captured `floor`.
    ///
    /// # Errors
    /// `Batch` for a filter that the server cannot answer.
    pub(super) fn matching(
        pool: Pool,
        table: Arc<SourceTable>,
        schema: SchemaRef,
        filter: Expr,
        floor: Lsn,
    ) -> Result<Self, SourceError> {
        let projection: Vec<usize> = (0..table.columns.len()).collect();
        let statement = Statement::new(&table, &projection, &[filter], None);
        Ok(Self {
            pool,
            statement: statement.map_err(|error| SourceError::Batch {
                source: error.into(),
            })?,
            projection,
            table,
            schema,
            floor: Some(floor),
            isolation: Isolation::ReadCommitted,
            of_a_copy: false,
        })
    }

    async fn stream(&self, output: &Output) -> Result<(), SourceError> {
        let action = format!("reading {}", self.table.name);
        let mut lease = match self.of_a_copy {
            true => self.pool.lend_for_copy().await?,
            false => self.pool.lend().await?,
        };
        let failed = |error| self.pool.error(&action, error);
        if self.isolation == Isolation::Snapshot {
            lease.run(&action, BEGIN_SNAPSHOT).await?;
        }
        let builders = self
            .projection
            .iter()
            .map(|index| ColumnBuilder::new(&self.table.columns[*index].sql_type))
            .collect();
        let mut batcher = Batcher::new(Arc::clone(&self.schema), builders);
        let parameters: Vec<&dyn ToSql> = self
            .statement
            .parameters
            .iter()
            .map(|parameter| parameter as &dyn ToSql)
            .collect();
        let sql = match self.floor {
            None => self.statement.sql.clone(),
            Some(_) => format!("{GUARD};\n{};", self.statement.sql),
        };
        let (client, mut rows) = lease.client_for_many(usize::from(self.floor.is_some()));
        let stream = client.query(sql, &parameters).await.map_err(failed)?;
        let mut stream = stream.into_row_stream();
        while let Some(row) = stream.next().await {
            let row = row.map_err(failed)?;
            if let (Some(floor), 0) = (self.floor, row.result_index()) {
                check_server(&Cells::new(&row, &action), floor)?;
                continue;
            }
            rows.take(row).map_err(failed)?;
            while rows.next_row().map_err(failed)? {
                self.append(&mut batcher, &mut rows, &action)?;
                if let Some(batch) = batcher.end_row()?
                    && !output.send(batch).await
                {
                    return Ok(());
                }
            }
        }
        drop(stream);
        if self.isolation == Isolation::Snapshot {
            lease.run(&action, END_SNAPSHOT).await?;
        }
        lease.give_back();
        if let Some(batch) = batcher.flush()? {
            let _ = output.send(batch).await;
        }
        Ok(())
    }

    /// Appends the row that is at hand.
    fn append(
        &self,
        batcher: &mut Batcher,
        rows: &mut Rows,
        action: &str,
    ) -> Result<(), SourceError> {
        let mut refused = None;
        for (index, column) in self.projection.iter().enumerate() {
            // Nothing as large as an error goes from hand to hand for each cell.
            let appended = rows.cell(|value| {
                if !batcher.append(index, &value) {
                    let column = &self.table.columns[*column];
                    refused = Some(unexpected(&column.name, &column.sql_type, &value));
                }
            });
            match appended {
                Ok(Some(())) if refused.is_none() => {}
                Ok(Some(())) => break,
                Ok(None) => return Err(missing(action, index)),
                Err(error) => return Err(self.pool.error(action, error)),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

impl RowSource for LiveRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> String {
        self.statement.to_string()
    }

    fn read(self: Arc<Self>, output: Output) -> BoxFuture<'static, Result<(), SourceError>> {
        async move { self.stream(&output).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::source::sqlserver::catalogue::SourceColumn;
    use crate::source::sqlserver::ident::TableName;
    use crate::source::sqlserver::types::SqlType;

    fn statement(filters: &[Expr], limit: Option<usize>) -> Result<String> {
        let column = SourceColumn {
            comparable: true,
            ..SourceColumn::read_only("id", SqlType::Int)
        };
        let table = SourceTable::new(TableName::new("dbo", "t"), vec![column], Default::default());
        Statement::new(&table, &[0], filters, limit).map(|statement| statement.to_string())
    }

    #[test]
    fn a_statement_has_all_filters_or_is_none() {
        let filters = [col("id").gt(lit(1)), col("id").is_not_null()];
        assert_eq!(
            statement(&filters, Some(3)).unwrap(),
            "SELECT TOP (@P2) t.[id] FROM [dbo].[t] AS t WHERE t.[id] > CAST(@P1 AS int) AND t.[id] IS NOT NULL \
             OPTION (MAXDOP 1) [@P1 = 1, @P2 = 3]"
        );
        let error = statement(&[col("id").like(lit("1%"))], None).unwrap_err();
        assert!(error.to_string().contains("dbo.t cannot answer"), "{error}");
    }

    #[test]
    fn a_statement_has_no_more_parameters_than_a_request_takes() {
        let list = || col("id").in_list((0..512).map(lit).collect(), false);
        assert!(statement(&vec![list(); 4], Some(1)).is_ok());
        let error = statement(&vec![list(); 5], None).unwrap_err();
        assert!(error.to_string().contains("have 2560 values"), "{error}");
    }
}
