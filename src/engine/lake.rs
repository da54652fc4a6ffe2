//! The catalog of Delta tables: those declared by statements, and those found below a schema's location.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::MAIN;
use super::point::{feed_end, micros_of, version_of};
use crate::change::{OnGap, OnSchemaChange};
use crate::error::Error;
use crate::sink::delta::{DeltaTableProvider, DeltaTarget, StorageOptions, TableOptions};
use crate::sql::{Expectation, RelationKind, relation_from_marker};

/// What a statement says of a Delta table.
#[derive(Debug, Clone)]
pub struct TableDeclaration {
    /// Its schema in the lake.
    pub schema: String,
    /// Its name as written.
    pub name: String,
    /// An absolute path or a URL.
    pub location: String,
    /// Options of the store that it lies in.
    pub storage: StorageOptions,
    /// The columns, if the statement lists them.
    pub columns: Option<SchemaRef>,
    /// What a new table gets: partition columns, comment, properties.
    pub options: TableOptions,
    /// What its flow does where changes are lost.
    pub on_gap: OnGap,
    /// What its flow does where the source has other columns.
    pub on_schema_change: OnSchemaChange,
    /// Whether large values that changes lack are read from the source, so that expressions can use them.
    pub read_back: bool,
    /// Whether rows get the values of columns that came to the target after them, by a copy of the whole table.
    pub backfill_columns: bool,
    /// What is expected of its rows.
    pub expectations: Vec<Expectation>,
    /// The columns of the instants from which and to which a row was valid.
    pub period: Option<(String, String)>,
    /// How long there is at least between two executions of its flow, where that is followed.
    pub at_most_every: Option<Duration>,
}

impl TableDeclaration {
    /// Opens the table, or the place where it will be.
    pub async fn open(&self) -> Result<DeltaTarget, Error> {
        Ok(DeltaTarget::open(&self.location, self.storage.clone()).await?)
    }
}

/// What is not part of a path in a URL unless it is encoded.
const IN_URLS: &AsciiSet = &CONTROLS.add(b'%').add(b'#').add(b'?');

/// The catalog itself.
#[derive(Debug)]
pub(super) struct Lake {
    schemas: RwLock<BTreeMap<String, Arc<LakeSchema>>>,
}

impl Lake {
    pub(super) fn new() -> Self {
        let main = LakeSchema::new(MAIN.to_string(), None, StorageOptions::default());
        let main = Arc::new(main);
        Self {
            schemas: RwLock::new(BTreeMap::from([(MAIN.to_string(), main)])),
        }
    }

    /// Adds a schema unless it is there already; answers whether it was new.
    pub(super) fn create_schema(
        &self,
        name: &str,
        location: Option<String>,
        storage: StorageOptions,
    ) -> bool {
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        let key = name.to_lowercase();
        if schemas.contains_key(&key) {
            return false;
        }
        let schema = LakeSchema::new(name.to_string(), location, storage);
        schemas.insert(key, Arc::new(schema));
        true
    }

    pub(super) fn find_schema(&self, name: &str) -> Option<Arc<LakeSchema>> {
        self.schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&name.to_lowercase())
            .map(Arc::clone)
    }

    /// What is known of a table; one that was not declared is looked for below its schema's location.
    pub(super) fn find_table(&self, schema: &str, table: &str) -> Option<TableDeclaration> {
        self.find_schema(schema)?.declaration(table)
    }
}

impl CatalogProvider for Lake {
    fn schema_names(&self) -> Vec<String> {
        self.schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.find_schema(name)
            .map(|schema| schema as Arc<dyn SchemaProvider>)
    }
}

/// One schema of Delta tables and views.
#[derive(Debug)]
pub(super) struct LakeSchema {
    name: String,
    location: Option<String>,
    /// Options of the store that the location is in.
    storage: StorageOptions,
    tables: RwLock<BTreeMap<String, TableDeclaration>>,
    views: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
}

impl LakeSchema {
    fn new(name: String, location: Option<String>, storage: StorageOptions) -> Self {
        Self {
            name,
            location,
            storage,
            tables: RwLock::default(),
            views: RwLock::default(),
        }
    }

    /// Adds a table unless one of its name is there; answers whether it was new.
    pub(super) fn declare(&self, declaration: TableDeclaration) -> bool {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let key = declaration.name.to_lowercase();
        if tables.contains_key(&key) {
            return false;
        }
        tables.insert(key, declaration);
        true
    }

    /// Where a table of this schema lies when its statement does not say.
    pub(super) fn default_location(&self, table: &str) -> Option<String> {
        let location = self.location.as_ref()?.trim_end_matches('/');
        match location.contains("://") {
            true => Some(format!(
                "{location}/{}",
                utf8_percent_encode(table, IN_URLS)
            )),
            false => Some(format!("{location}/{table}")),
        }
    }

    /// The names of the folders below its location, which may hold tables; none where it has none.
    pub(super) async fn folders(&self) -> Result<Vec<String>, Error> {
        match &self.location {
            Some(location) => {
                let place = DeltaTarget::open(location, self.storage.clone()).await?;
                Ok(place.folders().await?)
            }
            None => Ok(Vec::new()),
        }
    }

    /// The options of the store that it lies in then.
    pub(super) fn default_storage(&self) -> &StorageOptions {
        &self.storage
    }

    fn declaration(&self, table: &str) -> Option<TableDeclaration> {
        let declared = self
            .tables
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&table.to_lowercase())
            .cloned();
        declared.or_else(|| {
            Some(TableDeclaration {
                schema: self.name.clone(),
                name: table.to_string(),
                location: self.default_location(table)?,
                storage: self.storage.clone(),
                columns: None,
                options: TableOptions::default(),
                on_gap: OnGap::default(),
                on_schema_change: OnSchemaChange::default(),
                read_back: false,
                backfill_columns: true,
                expectations: Vec::new(),
                period: None,
                at_most_every: None,
            })
        })
    }

    fn view(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.views
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&name.to_lowercase())
            .map(Arc::clone)
    }

    async fn open(&self, name: &str, kind: RelationKind) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(declaration) = self.declaration(name) else {
            return Ok(None);
        };
        let target = declaration.open().await.map_err(external)?;
        let target = match kind {
            RelationKind::Live => target,
            RelationKind::VersionAsOf(version) => target.at_version(version_of(&version)?).await?,
            RelationKind::TimestampAsOf(instant) => {
                target
                    .at_timestamp(micros_of(&instant)?.div_euclid(1_000))
                    .await?
            }
            RelationKind::Changes(bounds) => {
                let end = |bound: &Option<_>| bound.as_ref().map(feed_end).transpose();
                let (from, to) = (end(&bounds.from)?, end(&bounds.to)?);
                return Ok(Some(target.change_feed(from, to).await?));
            }
            RelationKind::Stream(_) => {
                return Err(DataFusionError::Plan(format!(
                    "'{name}' is a Delta table, and a STREAM reads a table of SQL Server; write '{name} CHANGES' \
                     to query what changed in it"
                )));
            }
        };
        if target.version().is_none() && declaration.columns.is_none() {
            let declared = self
                .tables
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(&name.to_lowercase());
            if !declared {
                return Ok(None);
            }
            return Err(external(Error::TableNotCreated {
                table: name.to_string(),
                location: declaration.location,
            }));
        }
        let provider = DeltaTableProvider::try_new(target, declaration.columns)
            .await?
            .with_options(declaration.options)?;
        Ok(Some(Arc::new(provider)))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        tables
            .values()
            .map(|table| table.name.clone())
            .chain(views.keys().cloned())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(view) = self.view(name) {
            return Ok(Some(view));
        }
        match relation_from_marker(name) {
            Some((table, kind)) => self.open(&table, kind).await,
            None => self.open(name, RelationKind::Live).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.view(name).is_some() {
            return Ok(Some(TableType::View));
        }
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    /// Only views are registered this way; Delta tables are declared.
    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        if table.table_type() != TableType::View {
            return Err(DataFusionError::Plan(format!(
                "'{name}': a table in the lake is a Delta table; write CREATE TABLE {name} (…) USING DELTA LOCATION '…'"
            )));
        }
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        Ok(views.insert(name.to_lowercase(), table))
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        Ok(views.remove(&name.to_lowercase()))
    }

    fn table_exist(&self, name: &str) -> bool {
        let key = name.to_lowercase();
        self.view(&key).is_some()
            || self
                .tables
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(&key)
    }
}
