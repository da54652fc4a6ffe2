//! Waiting until a statement may read.

use std::sync::Arc;
use std::time::Duration;

use super::executor::Executor;
use super::settings::Isolation;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{DatabaseCell, Reading, State, Write};
use crate::simulator::tsql::lexer::Token;
use crate::simulator::tsql::normal::table_hints;
use crate::simulator::tsql::reads::reads;

impl Executor {
    /// Waits until nothing keeps a query or a row change from reading: a scan of the log that has begun to
    /// write, or another transaction's definitions. Error 1222 after LOCK_TIMEOUT.
    pub(super) async fn wait_to_read(&self, tokens: &[Token]) -> Result<(), ServerError> {
        // A replica is read from versions of rows.
        if self.replica.is_some() {
            return Ok(());
        }
        let databases = self.server.databases();
        if !databases.iter().any(|database| database.locks().are_held()) {
            return Ok(());
        }
        let readings = self.readings(tokens)?;
        let (hinted, limit) = (
            self.hinted(tokens, "NOWAIT")?,
            self.settings.lock_timeout_set,
        );
        let limit = u64::try_from(limit).ok().map(Duration::from_millis);
        let limit = if hinted { Some(Duration::ZERO) } else { limit };
        let free = async {
            while let Some((cell, reading)) = readings.iter().find(|(c, r)| c.locks().block(r)) {
                cell.locks().wait(reading).await?;
            }
            Ok(())
        };
        match limit {
            None => free.await,
            Some(limit) => tokio::time::timeout(limit, free)
                .await
                .unwrap_or_else(|_| Err(ServerError::lock_timeout())),
        }
    }

    fn hinted(&self, tokens: &[Token], wanted: &str) -> Result<bool, ServerError> {
        Ok(table_hints(tokens)?.iter().any(|hint| hint == wanted))
    }

    /// What a statement reads, by database. One that cannot be read, or names what is not there, reads
    /// nothing; its error comes when it is planned.
    fn readings(&self, tokens: &[Token]) -> Result<Vec<(Arc<DatabaseCell>, Reading)>, ServerError> {
        let hints = table_hints(tokens)?;
        let found = reads(tokens).unwrap_or_default();
        let write = self.transaction.as_ref().and_then(|t| t.writes());
        let reading = |(name, reads): (Option<String>, crate::simulator::tsql::reads::Reads)| {
            let cell = self
                .server
                .database(name.as_deref().unwrap_or(&self.database))?;
            let write = write.filter(|write| write.database() == cell.name());
            // A scan waits for whoever changes capture itself.
            let waits = !write.is_some_and(Write::defines_capture);
            let locks = reads.capture && waits && self.locks_rows(&hints, &cell.committed());
            let reading = Reading {
                tables: reads.tables,
                locks_capture: locks,
                writes: write.is_some(),
            };
            Some((cell, reading))
        };
        Ok(found.into_iter().filter_map(reading).collect())
    }

    /// Whether the session reads a database's rows under locks rather than from versions of them, or as they
    /// are. A hint of one table is taken for all of the statement's.
    fn locks_rows(&self, hints: &[String], state: &State) -> bool {
        let has = |wanted: &[&str]| hints.iter().any(|hint| wanted.contains(&hint.as_str()));
        if has(&["NOLOCK", "READUNCOMMITTED", "READPAST"]) {
            return false;
        }
        let holds = has(&["HOLDLOCK", "SERIALIZABLE", "REPEATABLEREAD"]);
        let asks = has(&["UPDLOCK", "XLOCK", "TABLOCK", "TABLOCKX"]);
        asks || match self.settings.isolation {
            Isolation::Uncommitted => holds,
            Isolation::Snapshot => false,
            Isolation::Repeatable => true,
            Isolation::Committed => {
                holds || !state.read_committed_snapshot || has(&["READCOMMITTEDLOCK"])
            }
        }
    }
}
