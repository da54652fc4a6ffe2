//! One session: catalogs, memory, functions.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::common::ResolvedTableReference;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::connect::{ConnectionResolver, Connections, Values};
use super::expectations::Expectations;
use super::lake::{Lake, TableDeclaration};
use super::scratch::Scratch;
use super::single_row::single_row;
use super::{LAKE, MAIN};
use crate::error::Error;
use crate::sink::delta::HistoryEntry;
use crate::source::sqlserver::Database;

/// How many of a query's largest memory users an out-of-memory error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

/// How many spilled files a sort reads at once: each takes memory that the sorts beside it need.
const SPILL_FILES: usize = 16;

/// Bytes of a row with large values: SQL Server captures no value of more, unless its `max text repl size` was raised.
const LARGE_VALUE: usize = 64 << 10;
/// How many batches of such rows fit in memory: several sorts, each of [`SPILL_FILES`] files, hold some of each file.
const LARGE_BATCHES: usize = 512;
/// The fewest rows of such a batch.
const FEWEST_ROWS: usize = 2;
/// The part of the memory that a sort of such rows may hold back for the merging of what it spilled.
const SORTS: usize = 64;

/// What a session needs to know of the world.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Bytes that queries and merges may hold; what exceeds it spills to disk or fails.
    pub memory_limit: usize,
    /// The folder that relative paths start from where no file names them.
    pub directory: PathBuf,
    /// Turns a connection URL such as `embedded:app_db.sql` into one of a server.
    pub resolver: ConnectionResolver,
}

impl EngineOptions {
    /// The default of [`EngineOptions::memory_limit`]: 2 GiB.
    pub const DEFAULT_MEMORY_LIMIT: usize = 2 << 30;
}

/// A session over connections and Delta tables.
#[derive(Clone)]
pub struct Engine {
    pub(super) context: SessionContext,
    pub(super) connections: Arc<Connections>,
    pub(super) lake: Arc<Lake>,
    pub(super) options: EngineOptions,
    pub(super) values: Values,
    _scratch: Option<Arc<Scratch>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A session without connections or tables.
    pub fn try_new(options: EngineOptions) -> Result<Self, Error> {
        let pool =
            TrackConsumersPool::new(FairSpillPool::new(options.memory_limit), NAMED_CONSUMERS);
        let scratch = scratch();
        let mut runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_max_spill_merge_fan_in(SPILL_FILES);
        if let Some(scratch) = &scratch {
            runtime = runtime.with_temp_file_path(scratch.path());
        }
        let runtime = runtime.build_arc()?;
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(session_config())
            .with_runtime_env(runtime)
            .build();
        let context = SessionContext::new_with_state(state);
        context.register_udf(single_row());
        context.register_udf(Expectations::new(&[]).function());
        let lake = Arc::new(Lake::new());
        context.register_catalog(LAKE, Arc::clone(&lake) as Arc<dyn CatalogProvider>);
        Ok(Self {
            context,
            connections: Arc::new(Connections::default()),
            lake,
            options,
            values: Values::default(),
            _scratch: scratch.map(Arc::new),
        })
    }

    /// An engine that connects nowhere: it takes the definitions of a file to check them, without the secrets in them, and
    /// where environment variables are not set.
    #[must_use]
    pub fn offline(self) -> Self {
        Self {
            values: Values::lenient(),
            ..self
        }
    }

    /// The environment variables that an [offline](Engine::offline) engine has missed, by their names.
    pub fn unset_variables(&self) -> Vec<String> {
        self.values.absent()
    }

    /// Bytes that queries and merges may hold.
    pub fn memory_limit(&self) -> usize {
        self.options.memory_limit
    }

    /// The folder that relative paths start from: that of `file`, or the session's own.
    pub(super) fn base_of(&self, file: Option<&Path>) -> PathBuf {
        match file.and_then(Path::parent) {
            Some(parent) if parent.is_absolute() => parent.to_path_buf(),
            Some(parent) => self.options.directory.join(parent),
            None => self.options.directory.clone(),
        }
    }

    /// A session for work on tables that is no statement, with the engine's memory pool.
    pub fn state(&self) -> SessionState {
        self.context.state()
    }

    /// `state`, so that a batch of rows with large values takes a small part of the memory: a sort that spilled, and a
    /// join, hold several batches, whatever is in them.
    pub fn for_large_rows(&self, state: &SessionState) -> SessionState {
        let rows = self.options.memory_limit / LARGE_BATCHES / LARGE_VALUE;
        let rows = rows.clamp(FEWEST_ROWS, state.config().batch_size());
        let mut config = state.config().clone().with_batch_size(rows);
        let reserved = &mut config.options_mut().execution.sort_spill_reservation_bytes;
        *reserved = (*reserved).min(self.options.memory_limit / SORTS);
        SessionStateBuilder::new_from_existing(state.clone())
            .with_config(config)
            .build()
    }

    /// The connected database that `connection` mounts.
    pub fn database(&self, connection: &str) -> Result<Database, Error> {
        self.connections
            .find(connection)
            .ok_or_else(|| Error::UnknownConnection {
                name: connection.to_string(),
                known: self.connections.names(),
            })
    }

    /// For how long what needs the connections is tried again where it fails with what may pass by itself: the longest
    /// `retry_timeout` of them.
    pub fn retry_time(&self) -> Duration {
        self.connections.retry_time()
    }

    /// What is known of a Delta table; `None` for a name outside the lake or of no table.
    pub fn declaration(&self, reference: &ResolvedTableReference) -> Option<TableDeclaration> {
        if !reference.catalog.eq_ignore_ascii_case(LAKE) {
            return None;
        }
        self.lake.find_table(&reference.schema, &reference.table)
    }

    /// The newest `limit` versions of a Delta table, newest first.
    pub async fn history(
        &self,
        schema: &str,
        table: &str,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, Error> {
        let declaration = self
            .lake
            .find_table(schema, table)
            .ok_or_else(|| Error::NotInLake {
                name: table.to_string(),
            })?;
        Ok(declaration.open().await?.history(limit).await?)
    }

    /// The names of what lies below the location of a schema of the lake, where tables may be; none for another schema.
    ///
    /// # Errors
    /// Whatever listing the store gives.
    pub async fn tables_below(&self, schema: &str) -> Result<Vec<String>, Error> {
        match self.lake.find_schema(schema) {
            Some(schema) => schema.folders().await,
            None => Ok(Vec::new()),
        }
    }

    /// The names of the connections, in lower case, in their order.
    pub fn connection_names(&self) -> Vec<String> {
        self.connections.names()
    }

    /// The names of all catalogs with their schemas', sorted.
    pub fn schema_names(&self) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for catalog_name in self.context.catalog_names() {
            let schemas = self.context.catalog(&catalog_name);
            let schemas = schemas.map(|catalog| catalog.schema_names());
            let schemas = schemas.unwrap_or_default().into_iter();
            names.extend(schemas.map(|schema| (catalog_name.clone(), schema)));
        }
        names.sort();
        names
    }

    /// The names of all functions that a query may call, sorted.
    pub fn function_names(&self) -> Vec<String> {
        let state = self.context.state();
        let (scalar, aggregate) = (state.scalar_functions(), state.aggregate_functions());
        let names = scalar.keys().chain(aggregate.keys());
        let names = names.chain(state.window_functions().keys());
        let mut names: Vec<_> = names
            .filter(|name| !name.starts_with("__"))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The names of all schemas and tables, as `catalog.schema.table`, sorted.
    pub fn table_names(&self) -> Vec<String> {
        let tables = self.tables().into_iter();
        tables.map(|parts| parts.join(".")).collect()
    }

    /// The catalog, the schema and the name of each table, sorted.
    pub fn tables(&self) -> Vec<[String; 3]> {
        let mut names = Vec::new();
        for catalog_name in self.context.catalog_names() {
            let Some(catalog) = self.context.catalog(&catalog_name) else {
                continue;
            };
            for schema_name in catalog.schema_names() {
                let tables = catalog
                    .schema(&schema_name)
                    .map(|schema: Arc<dyn SchemaProvider>| schema.table_names())
                    .unwrap_or_default();
                names.extend(
                    tables
                        .into_iter()
                        .map(|table| [catalog_name.clone(), schema_name.clone(), table]),
                );
            }
        }
        names.sort();
        names
    }
}

/// The folder that queries spill to; without one they spill where DataFusion likes, and only then fail.
fn scratch() -> Option<Scratch> {
    let parent = std::env::temp_dir();
    match Scratch::below(&parent) {
        Ok(scratch) => Some(scratch),
        Err(error) => {
            tracing::info!(path = %parent.display(), %error, "no temporary folder");
            None
        }
    }
}

/// The planner's settings.
///
/// Join filters are not pushed down as IN lists: deltalake's scans answer them with an error on
/// dictionary-encoded columns, which is why its own sessions turn them off too.
fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(LAKE, MAIN)
        .with_information_schema(true);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.optimizer.hash_join_inlist_pushdown_max_size = 0;
    options
        .optimizer
        .hash_join_inlist_pushdown_max_distinct_values = 0;
    config
}
