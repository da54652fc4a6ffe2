//! A connection as a catalog.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;

use super::point::feed_bounds;
use crate::source::sqlserver::Database;
use crate::sql::{RelationKind, relation_from_marker};

/// Why a table of SQL Server is not read as of a version.
pub const NO_VERSIONS: &str = "a SQL Server table has no versions to go back to; VERSION AS OF and TIMESTAMP AS OF read Delta tables";

/// The catalog of one connected database.
#[derive(Debug)]
pub(super) struct ConnectionCatalog {
    database: Database,
}

impl ConnectionCatalog {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }
}

impl CatalogProvider for ConnectionCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.database.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let known = self.database.schema_names();
        let spelled = known.iter().find(|schema| *schema == name).or_else(|| {
            known
                .iter()
                .find(|schema| schema.eq_ignore_ascii_case(name))
        })?;
        Some(Arc::new(ConnectionSchema {
            database: self.database.clone(),
            name: spelled.clone(),
        }))
    }
}

/// One schema of a connected database.
#[derive(Debug)]
struct ConnectionSchema {
    database: Database,
    name: String,
}

impl ConnectionSchema {
    async fn relation(
        &self,
        table: &str,
        kind: RelationKind,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        match kind {
            RelationKind::Live => Ok(self.database.table(&self.name, table).await?),
            RelationKind::Changes(bounds) => {
                let captured = self.database.captured_table(&self.name, table).await?;
                let bounds = feed_bounds(&bounds)?;
                Ok(Some(self.database.change_feed(&captured, bounds).await?))
            }
            RelationKind::Stream(_) => Err(refused(
                table,
                "STREAM stands only in a flow that `cdcql run` executes; in a query write CHANGES",
            )),
            RelationKind::VersionAsOf(_) | RelationKind::TimestampAsOf(_) => {
                Err(refused(table, NO_VERSIONS))
            }
        }
    }
}

fn refused(table: &str, reason: &str) -> DataFusionError {
    DataFusionError::Plan(format!("'{table}': {reason}"))
}

#[async_trait]
impl SchemaProvider for ConnectionSchema {
    fn table_names(&self) -> Vec<String> {
        self.database.table_names(&self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match relation_from_marker(name) {
            Some((table, kind)) => self.relation(&table, kind).await,
            None => self.relation(name, RelationKind::Live).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.database
            .table_names(&self.name)
            .iter()
            .any(|table| table.eq_ignore_ascii_case(name))
    }
}
