//! A database of a SQL Server: the door through which everything above reads it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use datafusion::catalog::TableProvider;

use crate::change::{Commit, Finding, Lsn, LsnRange};

use super::captured::{self, CapturedTable};
use super::catalogue::{self, TableEntry};
use super::changes::Changes;
use super::checks::{self, DatabaseChecks};
use super::chunks::{self, TableChunks};
use super::commits::{self, FeedBound, FeedBounds};
use super::config::ConnectionConfig;
use super::cut::{self, WindowLimits};
use super::dates::Dates;
use super::definition::{self, DefinitionChange, TableDefinition};
use super::error::SourceError;
use super::fence::Fence;
use super::first_copy::{CopiedRows, changed_rows, first_copy};
use super::health::{self, Health};
use super::ident::TableName;
use super::large::LargeValues;
use super::live::LiveTable;
use super::net::net_changes;
use super::news::{self, Asked, Head, News};
use super::pool::Pool;
use super::schema_tables;

/// A connected database; clones share its connections.
///
/// Every method asks the server when it is called. The names of tables are kept from the last time they
/// were asked for, since a catalogue has to list them without waiting.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    name: String,
    tables: RwLock<Arc<Vec<TableEntry>>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.shown_name())
            .field("pool", &self.inner.pool)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, and fetches the names of the tables.
    ///
    /// # Errors
    /// Whatever keeps the database from being opened, of kind `Configuration`, `Connection`, `Login` or
    /// `Permission`; `Configuration` also where the server's clock does not show the time of the zone that is named.
    pub async fn connect(config: ConnectionConfig) -> Result<Self, SourceError> {
        let pool = Pool::new(config);
        let info = catalogue::database_info(&pool).await?;
        if pool.config().time_zone().is_some() {
            Dates::now(&pool).await?;
        }
        let tables = catalogue::tables(&pool).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                name: info.name,
                tables: RwLock::new(Arc::new(tables)),
            }),
        })
    }

    /// The database's name, as the server spells it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The database's name for people: in quotes, or what stands for it where it was given as a secret.
    pub fn shown_name(&self) -> String {
        self.inner.pool.config().shown_as_database(&self.inner.name)
    }

    /// For how long what reads it is tried again where it fails with what may pass by itself.
    pub fn retry_time(&self) -> Duration {
        self.inner.pool.config().retry_time()
    }

    /// The schemas that have tables the login may see.
    pub fn schema_names(&self) -> Vec<String> {
        let tables = self.known_tables();
        let names = tables.iter().map(|table| table.name.schema.clone());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The tables of a schema, whose name matches without regard to case. Schema `cdc` has the change
    /// tables and the tables that describe capture.
    pub fn table_names(&self, schema: &str) -> Vec<String> {
        let wanted = schema.to_lowercase();
        self.known_tables()
            .iter()
            .filter(|table| table.name.schema.to_lowercase() == wanted)
            .map(|table| table.name.name.clone())
            .collect()
    }

    /// A live table, raw change table or capture metadata table, as it is now; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidName` if the name matches several tables that differ in case.
    pub async fn table(
        &self,
        schema: &str,
        table: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, SourceError> {
        let Some(entry) = self.find(&TableName::new(schema, table)).await? else {
            return Ok(None);
        };
        let source = catalogue::source_table(&self.inner.pool, &entry).await?;
        let live = LiveTable::new(self.inner.pool.clone(), source);
        Ok(Some(Arc::new(live)))
    }

    /// The captured tables of a schema, whose name matches without regard to case, in the order of their names.
    ///
    /// # Errors
    /// `InvalidName` if there is no such schema, or several that differ in case; `NotCaptured` if none of its tables is
    /// captured.
    pub async fn captured_tables(&self, schema: &str) -> Result<Vec<TableName>, SourceError> {
        self.refresh().await?;
        let schemas = self.schema_names();
        schema_tables::captured_in(&self.inner.pool, self.shown_name(), schema, &schemas).await
    }

    /// The table that a name means, as the server spells it; `None` if there was none when the tables were last asked for.
    ///
    /// # Errors
    /// `InvalidName` if the name matches several tables that differ in case.
    pub fn table_named(&self, schema: &str, table: &str) -> Result<Option<TableName>, SourceError> {
        let wanted = TableName::new(schema, table);
        let found = catalogue::resolve(&wanted, &self.known_tables())?;
        Ok(found.map(|entry| entry.name))
    }

    /// A captured table through its newest capture instance.
    ///
    /// # Errors
    /// `InvalidName` if there is no such table, `NotCaptured` if it or its database is not captured.
    pub async fn captured_table(
        &self,
        schema: &str,
        table: &str,
    ) -> Result<CapturedTable, SourceError> {
        self.captured(schema, table, None).await
    }

    /// A captured table through the newest capture instance that reaches back to a window after `after`.
    ///
    /// # Errors
    /// As [`Database::captured_table`].
    pub async fn captured_table_after(
        &self,
        schema: &str,
        table: &str,
        after: Lsn,
    ) -> Result<CapturedTable, SourceError> {
        self.captured(schema, table, Some(after)).await
    }

    async fn captured(
        &self,
        schema: &str,
        table: &str,
        after: Option<Lsn>,
    ) -> Result<CapturedTable, SourceError> {
        let wanted = TableName::new(schema, table);
        let database = self.shown_name();
        let Some(entry) = self.find(&wanted).await? else {
            let tables = self.known_tables();
            return Err(catalogue::no_such_table(database, &wanted, &tables));
        };
        if !catalogue::database_info(&self.inner.pool)
            .await?
            .cdc_enabled
        {
            return Err(SourceError::CdcDisabled {
                database,
                table: entry.name,
            });
        }
        captured::captured_table(&self.inner.pool, &entry, after)
            .await?
            .ok_or(SourceError::NotCaptured {
                database,
                table: entry.name,
            })
    }

    /// Whether `table` has the columns and types by now that it had when it was looked up.
    ///
    /// # Errors
    /// Whatever asking for columns may give.
    pub async fn has_columns_of(&self, table: &CapturedTable) -> Result<bool, SourceError> {
        captured::has_columns_of(&self.inner.pool, table).await
    }

    /// Every image of `table` within `bounds`, in commit order: its captured columns, then `_change_type`,
    /// `_commit_version` (20 hex digits) and `_commit_timestamp` (as [`Dates`] has it).
    ///
    /// # Errors
    /// `ChangesLost` if the instance has been dropped; while reading, also if the window's start has been
    /// cleaned up.
    pub async fn change_feed(
        &self,
        table: &CapturedTable,
        bounds: FeedBounds,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        let window = commits::window(&self.inner.pool, table, bounds).await?;
        let table = Arc::new(table.clone());
        Ok(Arc::new(Changes::feed(
            self.inner.pool.clone(),
            table,
            window,
        )))
    }

    /// The exclusive start of the changes from `bound` on; `None` if no commit at or past its instant was captured.
    ///
    /// # Errors
    /// Whatever asking for commits may give.
    pub async fn start_of_feed(&self, bound: FeedBound) -> Result<Option<Lsn>, SourceError> {
        commits::start(&self.inner.pool, bound).await
    }

    /// The net changes of `table` in `window`: at most one row per key, its last image, in the schema of
    /// the change feed. A key that moved gives a `delete` of the old key as well.
    ///
    /// Columns whose values an update may lack come as `large` says, and their fields are marked ([`is_large`]).
    ///
    /// # Errors
    /// `Unsupported` if the table has no unique key.
    ///
    /// [`is_large`]: super::is_large
    pub async fn net_changes(
        &self,
        table: &CapturedTable,
        window: LsnRange,
        large: LargeValues,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        let table = Arc::new(table.clone());
        let changes = net_changes(&self.inner.pool, &table, window, large)?;
        Ok(Arc::new(changes))
    }

    /// The key and `columns` (places among [`CapturedTable::columns`]) of all rows, to be read in chunks of `rows`, or of
    /// what fits, from a server that has captured `floor`.
    ///
    /// # Errors
    /// Whatever asking for the table's size and clustered index may give.
    pub async fn table_chunks(
        &self,
        table: &CapturedTable,
        columns: &BTreeSet<usize>,
        floor: Lsn,
        rows: Option<u32>,
    ) -> Result<TableChunks, SourceError> {
        chunks::table_chunks(&self.inner.pool, table, columns, floor, rows).await
    }

    /// A first copy as of the end of `window`: the `rows` whose key has no change in the window, as `insert` rows dated
    /// with the window's last commit, which is `end`, and the window's net changes.
    ///
    /// The window must begin at or before the moment that began, and end after
    /// it ended: at a [`Fence`]. Large values come as `large` says; those that changes lack come from `rows`.
    ///
    /// # Errors
    /// `Unsupported` if the table has no unique key, and whatever asking for the server's clock may give.
    pub async fn first_copy(
        &self,
        table: &CapturedTable,
        rows: CopiedRows,
        window: LsnRange,
        end: &Commit,
        large: LargeValues,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        let pool = &self.inner.pool;
        let (dates, _) = Dates::now(pool).await?;
        let end_micros = dates
            .utc_ms(end.lsn, end.end_time_ms)
            .await?
            .saturating_mul(1000);
        let table = Arc::new(table.clone());
        let copy = first_copy(pool, &table, rows, (window, end_micros), large)?;
        Ok(Arc::new(copy))
    }

    /// Those of `rows`, which have the key's columns, whose key has a change in the window.
    ///
    /// # Errors
    /// `Unsupported` if the table has no unique key.
    pub fn changed_rows(
        &self,
        table: &CapturedTable,
        rows: Arc<dyn TableProvider>,
        window: LsnRange,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        let table = Arc::new(table.clone());
        let changed = changed_rows(&self.inner.pool, &table, rows, window)?;
        Ok(Arc::new(changed))
    }

    /// The first LSN that the capture instance of `table` has now.
    ///
    /// # Errors
    /// `ChangesLost` if the instance has been dropped; `Permission` if the login may not see it.
    pub async fn minimum(&self, table: &CapturedTable) -> Result<Lsn, SourceError> {
        commits::minimum(&self.inner.pool, table).await
    }

    /// Both ends of the history that the server maps; `None` while capture is warming up.
    ///
    /// # Errors
    /// `Permission` without SELECT on `cdc.lsn_time_mapping`.
    pub async fn head(&self) -> Result<Option<Head>, SourceError> {
        news::head(&self.inner.pool).await
    }

    /// A fence past everything that has been read by now, and at or past `floor`.
    pub fn fence(&self, floor: Lsn) -> Fence {
        Fence::new(self.inner.pool.clone(), floor)
    }

    /// What is new of tables up to `upto`, by one statement for up to a hundred of them; the answers are in the order
    /// of `asked`.
    ///
    /// # Errors
    /// What concerns one table is in its answer: `ChangesLost` if the instance has been dropped.
    pub async fn news(
        &self,
        asked: &[Asked<'_>],
        upto: Lsn,
    ) -> Result<Vec<Result<News, SourceError>>, SourceError> {
        news::news(&self.inner.pool, asked, upto).await
    }

    /// The commit at which a window that begins like `window` has to end for `limits`, if that lies before its end.
    ///
    /// # Errors
    /// `ChangesLost` if the instance has been dropped, or the mapping does not have that commit any more.
    pub async fn window_end(
        &self,
        table: &CapturedTable,
        window: LsnRange,
        limits: WindowLimits,
    ) -> Result<Option<Commit>, SourceError> {
        cut::cut(&self.inner.pool, table, window, limits).await
    }

    /// How the database's capture does.
    ///
    /// # Errors
    /// As [`Database::head`].
    pub async fn health(&self) -> Result<Health, SourceError> {
        health::health(&self.inner.pool).await
    }

    /// What `table` is like now, beside what its capture instance records.
    ///
    /// # Errors
    /// Whatever asking for columns and indexes may give.
    pub async fn definition(&self, table: &CapturedTable) -> Result<TableDefinition, SourceError> {
        definition::definition(&self.inner.pool, table).await
    }

    /// The columns of `table` that an older capture instance of it knows by other names, each with the old name first.
    ///
    /// # Errors
    /// Whatever asking for the columns of capture instances may give.
    pub async fn renamed_columns(
        &self,
        table: &CapturedTable,
    ) -> Result<Vec<(String, String)>, SourceError> {
        definition::renamed(&self.inner.pool, table).await
    }

    /// What was done to `table` while it was captured, oldest first; `None` if the login may not know.
    ///
    /// # Errors
    /// Whatever asking for it may give.
    pub async fn ddl_history(
        &self,
        table: &CapturedTable,
    ) -> Result<Option<Vec<DefinitionChange>>, SourceError> {
        definition::changes(&self.inner.pool, table).await
    }

    /// How many rows the changes of `table` in `window` have, counted up to `limit`.
    ///
    /// # Errors
    /// `ChangesLost` if the instance has been dropped.
    pub async fn rows_in(
        &self,
        table: &CapturedTable,
        window: LsnRange,
        limit: u32,
    ) -> Result<u64, SourceError> {
        health::rows_in(&self.inner.pool, table, window, limit).await
    }

    /// What of the database itself, its capture and the login would hold a run.
    ///
    /// # Errors
    /// The connection breaks; what the login may not know is a finding.
    pub async fn check(&self) -> Result<DatabaseChecks, SourceError> {
        let mut checks = checks::database(&self.inner.pool).await?;
        self.mask(&mut checks.findings);
        Ok(checks)
    }

    /// What of a table would hold a run, its capture instances and columns among it.
    ///
    /// # Errors
    /// As [`Database::check`].
    pub async fn check_table(
        &self,
        database: &DatabaseChecks,
        schema: &str,
        table: &str,
    ) -> Result<Vec<Finding>, SourceError> {
        let wanted = TableName::new(schema, table);
        let mut findings = match self.find(&wanted).await {
            Ok(Some(entry)) => checks::table(&self.inner.pool, database, &entry).await?,
            Ok(None) => {
                let tables = self.known_tables();
                let error = catalogue::no_such_table(self.shown_name(), &wanted, &tables);
                vec![database.missing_table(&wanted, &error)]
            }
            Err(error @ SourceError::Ambiguous { .. }) => {
                vec![database.missing_table(&wanted, &error)]
            }
            Err(error) => return Err(error),
        };
        self.mask(&mut findings);
        Ok(findings)
    }

    /// Takes out of findings what was given as a secret.
    fn mask(&self, findings: &mut [Finding]) {
        let config = self.inner.pool.config();
        for finding in findings {
            finding.seen = config.masked(&finding.seen);
            finding.remedy = finding.remedy.take().map(|text| config.masked(&text));
        }
    }

    /// Runs one plain batch on a connection of its own and discards its rows.
    ///
    /// # Errors
    /// The first error that the server reports.
    pub async fn execute_batch(&self, sql: &str) -> Result<(), SourceError> {
        self.inner.pool.batch("running a batch", sql).await
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    fn known_tables(&self) -> Arc<Vec<TableEntry>> {
        let tables = self.inner.tables.read();
        Arc::clone(&tables.unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds a table by name, asking the server again before saying that there is none.
    async fn find(&self, wanted: &TableName) -> Result<Option<TableEntry>, SourceError> {
        if let Some(entry) = catalogue::resolve(wanted, &self.known_tables())? {
            return Ok(Some(entry));
        }
        catalogue::resolve(wanted, &self.refresh().await?)
    }

    /// Asks the server for its tables again.
    async fn refresh(&self) -> Result<Arc<Vec<TableEntry>>, SourceError> {
        let fresh = Arc::new(catalogue::tables(&self.inner.pool).await?);
        let tables = self.inner.tables.write();
        *tables.unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }
}
