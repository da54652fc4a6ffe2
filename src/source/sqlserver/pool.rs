//! A small bounded pool of connections.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tiberius::{Row, ToSql};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::bulk::Rows;
use super::caution::Cautions;
use super::config::ConnectionConfig;
use super::connect_error::ConnectError;
use super::connection::{open, request_error};
use super::error::SourceError;
use super::socket::{Client, Connection};
use super::transient;
use super::zone::Memory;

/// How many connections are open at once; a query over many tables needs one for each.
const LIMIT: usize = 8;
/// How many more may be open for copies of whole tables; one that finds all busy waits for its turn.
pub(super) const COPY_LIMIT: usize = 16;
/// How many are kept open while nothing uses them.
const KEPT_IDLE: usize = 4;
/// How long a read waits for a connection while all are busy.
const WAIT: Duration = Duration::from_secs(60);
/// How long an idle connection may take at most to show that it is still there.
const REVIVAL: Duration = Duration::from_secs(5);

/// What every borrower may rely on: sent after each connect, and whenever a connection is lent again.
///
/// A plain batch: `SET` inside `sp_executesql` ends with it.
const PREAMBLE: &str = "\
SET NOCOUNT ON; SET XACT_ABORT ON; SET IMPLICIT_TRANSACTIONS OFF; SET ROWCOUNT 0; \
SET ANSI_NULLS ON; SET ANSI_PADDING ON; SET ANSI_WARNINGS ON; SET ARITHABORT ON; \
SET CONCAT_NULL_YIELDS_NULL ON; SET QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT OFF; \
SET LANGUAGE us_english; SET DATEFORMAT ymd; SET DATEFIRST 7; \
SET TEXTSIZE 2147483647; SET LOCK_TIMEOUT 15000; SET DEADLOCK_PRIORITY LOW; \
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;";

/// The connections to one database; clones share them.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    config: ConnectionConfig,
    permits: Arc<Semaphore>,
    copy_permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Whether the server has answered once.
    reached: AtomicBool,
    cautions: Cautions,
    zone: Memory,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.inner.config)
            .field("free", &self.inner.permits.available_permits())
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(config: ConnectionConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                config,
                permits: Arc::new(Semaphore::new(LIMIT)),
                copy_permits: Arc::new(Semaphore::new(COPY_LIMIT)),
                idle: Mutex::default(),
                reached: AtomicBool::new(false),
                cautions: Cautions::default(),
                zone: Memory::default(),
            }),
        }
    }

    pub(super) fn config(&self) -> &ConnectionConfig {
        &self.inner.config
    }

    /// What has been said about the database's tables.
    pub(super) fn cautions(&self) -> &Cautions {
        &self.inner.cautions
    }

    /// What is remembered of the server's zone.
    pub(super) fn zone(&self) -> &Memory {
        &self.inner.zone
    }

    /// Lends a connection, waiting a bounded time for one.
    pub(super) async fn lend(&self) -> Result<Lease, SourceError> {
        let permit = self.permits(1).await?;
        self.lend_with(permit).await
    }

    /// Lends a connection for a part of a copy, waiting for as long as others go on.
    pub(super) async fn lend_for_copy(&self) -> Result<Lease, SourceError> {
        let permits = Arc::clone(&self.inner.copy_permits);
        let permit = permits.acquire_owned().await;
        self.lend_with(permit.map_err(|_| exhausted())?).await
    }

    /// Lends two connections at once, so that two readers that each need two cannot starve each other.
    pub(super) async fn lend_two(&self) -> Result<(Lease, Lease), SourceError> {
        let mut first = self.permits(2).await?;
        let second = first.split(1).ok_or_else(exhausted)?;
        Ok((self.lend_with(first).await?, self.lend_with(second).await?))
    }

    async fn permits(&self, count: u32) -> Result<OwnedSemaphorePermit, SourceError> {
        let permits = Arc::clone(&self.inner.permits);
        match timeout(WAIT, permits.acquire_many_owned(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(exhausted()),
        }
    }

    async fn lend_with(&self, permit: OwnedSemaphorePermit) -> Result<Lease, SourceError> {
        if let Some(mut connection) = self.take_idle() {
            if let Ok(Ok(())) = timeout(self.revival(), prepare(connection.client())).await {
                return Ok(self.lease(connection, permit));
            }
            // What killed one, a failover or a firewall, has killed those that were idle beside it.
            self.drop_idle();
        }
        let mut connection = self.open().await?;
        prepare(connection.client())
            .await
            .map_err(|error| self.error("setting up the session", error))?;
        Ok(self.lease(connection, permit))
    }

    /// How long an idle connection may take to show that it is still there.
    fn revival(&self) -> Duration {
        REVIVAL.min(self.config().connect_timeout())
    }

    async fn open(&self) -> Result<Connection, SourceError> {
        match open(self.config()).await {
            Ok(connection) => {
                self.inner.reached.store(true, Ordering::Relaxed);
                Ok(connection)
            }
            Err(error) if passes(&error) && self.inner.reached.load(Ordering::Relaxed) => {
                Err(SourceError::Lost(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lease(&self, connection: Connection, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            connection: connection.rested().lent(permit),
            pool: self.clone(),
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    fn drop_idle(&self) {
        self.inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

async fn prepare(client: &mut Client) -> Result<(), tiberius::error::Error> {
    client.simple_query(PREAMBLE).await?.into_results().await?;
    Ok(())
}

/// True when a server that was reached before may be reached again a little later: it restarts or fails over, its name
/// is being moved to another one (no address for a while), or the error's number says so.
fn passes(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. }
        | ConnectError::ConnectTimeout { .. }
        | ConnectError::Handshake { .. }
        | ConnectError::UnknownHost { .. } => true,
        error => error.number().is_some_and(transient::passes_once_open),
    }
}

fn exhausted() -> SourceError {
    SourceError::PoolExhausted {
        limit: LIMIT,
        seconds: WAIT.as_secs(),
    }
}

/// A lent connection. Dropping it cancels what it was reading, and closes the connection; [`Lease::give_back`] keeps
/// it for the next borrower.
pub(super) struct Lease {
    connection: Connection,
    pool: Pool,
}

impl Lease {
    /// The connection itself, for streaming.
    pub(super) fn client(&mut self) -> &mut Client {
        self.connection.client()
    }

    /// The same, for a query with many rows in its `result`-th result set, counted from zero, and what takes these.
    pub(super) fn client_for_many(&mut self, result: usize) -> (&mut Client, Rows) {
        self.connection.client_for_many(result)
    }

    /// Runs a query with a small answer and returns its result sets.
    pub(super) async fn results(
        &mut self,
        action: &str,
        sql: &str,
        parameters: &[&dyn ToSql],
    ) -> Result<Vec<Vec<Row>>, SourceError> {
        let pool = self.pool.clone();
        let failed = |error| pool.error(action, error);
        let query = self.client().query(sql, parameters);
        let stream = query.await.map_err(failed)?;
        stream.into_results().await.map_err(failed)
    }

    /// Runs a plain batch without an answer.
    pub(super) async fn run(&mut self, action: &str, sql: &str) -> Result<(), SourceError> {
        let pool = self.pool.clone();
        let failed = |error| pool.error(action, error);
        let stream = self.client().simple_query(sql).await.map_err(failed)?;
        stream.into_results().await.map_err(failed)?;
        Ok(())
    }

    /// Returns the connection for reuse. Its last answer must have been read to the end.
    pub(super) fn give_back(self) {
        let Self { connection, pool } = self;
        let mut idle = pool
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_IDLE {
            idle.push(connection.rested());
        }
    }
}

impl Pool {
    /// What a failed request on one of these connections means; `action` completes "while …".
    pub(super) fn error(&self, action: &str, error: tiberius::error::Error) -> SourceError {
        request_error(action, self.config(), error)
    }

    /// Runs one query with a small answer on a connection of its own: its first result set.
    pub(super) async fn rows(
        &self,
        action: &str,
        sql: &str,
        parameters: &[&dyn ToSql],
    ) -> Result<Vec<Row>, SourceError> {
        let mut lease = self.lend().await?;
        let results = lease.results(action, sql, parameters).await?;
        lease.give_back();
        Ok(results.into_iter().next().unwrap_or_default())
    }

    /// Runs one plain batch and discards its rows. The connection is closed afterwards: the batch may
    /// have changed the session's database or left a transaction open.
    pub(super) async fn batch(&self, action: &str, sql: &str) -> Result<(), SourceError> {
        let mut lease = self.lend().await?;
        let failed = |error| self.error(action, error);
        let stream = lease.client().simple_query(sql).await.map_err(failed)?;
        let mut rows = stream.into_row_stream();
        while let Some(row) = futures::StreamExt::next(&mut rows).await {
            row.map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::ErrorKind;

    /// A pool whose host has no address.
    fn pool(reached: bool) -> Pool {
        let url = "sqlserver://u:p@no-such-host.invalid/d?connect_timeout=5";
        let pool = Pool::new(ConnectionConfig::from_url(url).unwrap());
        pool.inner.reached.store(reached, Ordering::Relaxed);
        pool
    }

    #[tokio::test]
    async fn a_host_without_an_address_may_come_back_where_it_was_reached_before() {
        let first = pool(false).lend().await.err().unwrap();
        assert!(!first.is_transient(), "{first}");
        let later = pool(true).lend().await.err().unwrap();
        assert!(later.is_transient(), "{later}");
        assert_eq!(later.kind(), ErrorKind::Connection);
    }

    #[test]
    fn a_database_that_is_recovered_may_be_opened_later_and_one_without_a_user_may_not() {
        let unavailable = |number| ConnectError::DatabaseUnavailable {
            database: "'d'".to_string(),
            host: "'h'".to_string(),
            user: "'u'".to_string(),
            number,
            message: String::new(),
        };
        assert!(passes(&unavailable(4060)) && passes(&unavailable(40_532)));
        assert!(!passes(&unavailable(916)));
    }
}
