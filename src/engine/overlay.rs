//! Tables, and a function, that stand in front of the session's own for the time of one statement.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::ResolvedTableReference;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ScalarUDF;

/// Providers by their full names, such as the window's change stream and the target of the flow.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    tables: HashMap<(String, String, String), Arc<dyn TableProvider>>,
    function: Option<Arc<ScalarUDF>>,
}

impl Overlay {
    /// Has `function` stand in front of the session's of that name.
    #[must_use]
    pub fn with_function(mut self, function: ScalarUDF) -> Self {
        self.function = Some(Arc::new(function));
        self
    }

    pub(super) fn function(&self) -> Option<Arc<ScalarUDF>> {
        self.function.clone()
    }

    /// Puts `provider` in front of whatever `reference` names.
    #[must_use]
    pub fn with(
        mut self,
        reference: &ResolvedTableReference,
        provider: Arc<dyn TableProvider>,
    ) -> Self {
        self.tables.insert(
            key(&reference.catalog, &reference.schema, &reference.table),
            provider,
        );
        self
    }

    /// The catalogs of `base` with this overlay in front.
    pub(super) fn over(self, base: &Arc<dyn CatalogProviderList>) -> Arc<dyn CatalogProviderList> {
        Arc::new(OverlayList {
            tables: Arc::new(self.tables),
            base: Arc::clone(base),
        })
    }
}

fn key(catalog: &str, schema: &str, table: &str) -> (String, String, String) {
    (
        catalog.to_lowercase(),
        schema.to_lowercase(),
        table.to_lowercase(),
    )
}

type Tables = Arc<HashMap<(String, String, String), Arc<dyn TableProvider>>>;

#[derive(Debug)]
struct OverlayList {
    tables: Tables,
    base: Arc<dyn CatalogProviderList>,
}

impl CatalogProviderList for OverlayList {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.base.register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.base.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let base = self.base.catalog(name)?;
        Some(Arc::new(OverlayCatalog {
            tables: Arc::clone(&self.tables),
            name: name.to_string(),
            base,
        }))
    }
}

#[derive(Debug)]
struct OverlayCatalog {
    tables: Tables,
    name: String,
    base: Arc<dyn CatalogProvider>,
}

impl CatalogProvider for OverlayCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.base.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let base = self.base.schema(name)?;
        Some(Arc::new(OverlaySchema {
            tables: Arc::clone(&self.tables),
            catalog: self.name.clone(),
            name: name.to_string(),
            base,
        }))
    }
}

#[derive(Debug)]
struct OverlaySchema {
    tables: Tables,
    catalog: String,
    name: String,
    base: Arc<dyn SchemaProvider>,
}

#[async_trait]
impl SchemaProvider for OverlaySchema {
    fn table_names(&self) -> Vec<String> {
        self.base.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.tables.get(&key(&self.catalog, &self.name, name)) {
            Some(provider) => Ok(Some(Arc::clone(provider))),
            None => self.base.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables
            .contains_key(&key(&self.catalog, &self.name, name))
            || self.base.table_exist(name)
    }
}
