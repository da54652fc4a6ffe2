//! A table as it is now.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use tiberius::Row;

use super::catalogue::SourceTable;
use super::decode::{ColumnBuilder, unexpected};
use super::error::SourceError;
use super::pool::Pool;
use super::scan::{Batcher, Output, RowSource, SqlServerScanExec};

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

    /// Columns are chosen by the server. Filters stay here: collations and rounding would let a pushed
    /// comparison differ; so a limit arrives only where it is exact.
    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.table.columns.len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        self.table.check(&projection)?;
        Ok(Arc::new(SqlServerScanExec::new(Arc::new(LiveRows {
            pool: self.pool.clone(),
            schema: Arc::new(self.table.schema.project(&projection)?),
            table: Arc::clone(&self.table),
            projection,
            limit,
        }))))
    }
}

/// The projected rows of a table.
#[derive(Debug)]
pub(super) struct LiveRows {
    pool: Pool,
    table: Arc<SourceTable>,
    projection: Vec<usize>,
    schema: SchemaRef,
    limit: Option<usize>,
}

impl LiveRows {
    /// All rows and columns of `table`, under the names of `schema`.
    pub(super) fn all(pool: Pool, table: SourceTable, schema: SchemaRef) -> Self {
        Self {
            pool,
            projection: (0..table.columns.len()).collect(),
            table: Arc::new(table),
            schema,
            limit: None,
        }
    }

    async fn stream(&self, output: &Output) -> Result<(), SourceError> {
        let action = format!("reading {}", self.table.name);
        let sql = self.table.select(&self.projection, self.limit);
        let mut lease = self.pool.lend().await?;
        let failed = |error| self.pool.error(&action, error);
        let builders = self
            .projection
            .iter()
            .map(|index| ColumnBuilder::new(&self.table.columns[*index].sql_type))
            .collect();
        let mut batcher = Batcher::new(Arc::clone(&self.schema), builders);
        let stream = lease.client().query(sql, &[]).await.map_err(failed)?;
        let mut rows = stream.into_row_stream();
        while let Some(row) = rows.next().await {
            self.append(&mut batcher, &row.map_err(failed)?)?;
            if let Some(batch) = batcher.end_row()?
                && !output.send(batch).await
            {
                return Ok(());
            }
        }
        drop(rows);
        lease.give_back();
        if let Some(batch) = batcher.flush()? {
            let _ = output.send(batch).await;
        }
        Ok(())
    }

    fn append(&self, batcher: &mut Batcher, row: &Row) -> Result<(), SourceError> {
        for (index, (column, (_, value))) in self.projection.iter().zip(row.cells()).enumerate() {
            if !batcher.append(index, value) {
                let column = &self.table.columns[*column];
                return Err(unexpected(&column.name, &column.sql_type, value));
            }
        }
        Ok(())
    }
}

impl RowSource for LiveRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> String {
        self.table.select(&self.projection, self.limit)
    }

    fn read(self: Arc<Self>, output: Output) -> BoxFuture<'static, Result<(), SourceError>> {
        async move { self.stream(&output).await }.boxed()
    }
}
