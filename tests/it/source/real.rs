//! A database of its own for each test, on a SQL Server whose agent captures changes.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tiberius::{AuthMethod, Config};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_util::compat::TokioAsyncWriteCompatExt;
use url::Url;

use crate::simulate::{Connection, rows};

/// How often the scans of the log are looked at, and how many times at most: two minutes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const LOOKS: usize = 600;

/// The newest scan of the log. Those that find nothing share a row while they follow each other.
const NEWEST_SCAN: &str = "\
SELECT TOP (1) CAST(x.session_id AS int), CAST(x.empty_scan_count AS int), CAST(x.tran_count AS int)
FROM sys.dm_cdc_log_scan_sessions AS x WHERE x.session_id <> 0 ORDER BY x.session_id DESC";

/// A table that no test asks for, so that a commit can be captured.
const TICKS: &str = "\
IF OBJECT_ID(N'dbo.cdcql_ticks') IS NULL
BEGIN
    CREATE TABLE dbo.cdcql_ticks (id INT IDENTITY NOT NULL PRIMARY KEY);
    EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'cdcql_ticks', @role_name = NULL;
END";

/// The newest commit, as a constant.
const NEWEST_COMMIT: &str = "\
SELECT CONVERT(varchar(22), MAX(start_lsn), 1) FROM cdc.lsn_time_mapping WHERE tran_id <> 0x00";

/// 1807: another session has the model database, from which new ones are made. 3702: a database is in use.
const PASSING: [u32; 2] = [1807, 3702];

/// A database that is removed when dropped.
pub(crate) struct RealDatabase {
    server: Url,
    name: String,
}

impl RealDatabase {
    /// The database that `script` makes, once its changes are captured.
    pub(super) async fn create(server: &str, script: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("cdcql_test_{}_{made}", process::id());
        let server = Url::parse(server).unwrap_or_else(|error| panic!("the server's URL: {error}"));
        let database = Self { server, name };
        database
            .in_master(&format!("CREATE DATABASE [{}]", database.name))
            .await;
        for batch in batches(script) {
            database.batch(&batch).await;
        }
        if database.has_capture().await {
            // The agent's default is a scan every five seconds.
            database
                .batch("EXEC sys.sp_cdc_change_job N'capture', @pollinginterval = 0")
                .await;
            database.restart_capture().await;
            database.is_captured().await;
        }
        database
    }

    pub(super) fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.to_string()
    }

    /// Executes one batch, and waits until what it changed is captured.
    pub(super) async fn execute(&self, batch: &str) {
        self.batch(batch).await;
        if self.has_capture().await {
            self.is_captured().await;
        }
    }

    pub(super) async fn goes_on(&self) {
        self.batch(TICKS).await;
        self.execute("INSERT INTO dbo.cdcql_ticks DEFAULT VALUES")
            .await;
    }

    pub(super) async fn clean_up(&self) {
        let mut client = connect(&self.server, &self.name).await;
        let newest = rows(&mut client, NEWEST_COMMIT).await;
        let mark: &str = newest[0].get(0).unwrap();
        let instances = "SELECT capture_instance FROM cdc.change_tables";
        for row in rows(&mut client, instances).await {
            let instance = row.get::<&str, _>(0).unwrap().replace('\'', "''");
            let clean_up = format!(
                "EXEC sys.sp_cdc_cleanup_change_table @capture_instance = N'{instance}', @low_water_mark = {mark}"
            );
            self.batch(&clean_up).await;
        }
    }

    /// Waits until two scans have come to the end of the log since now: one may have fixed its end before.
    async fn is_captured(&self) {
        let mut client = connect(&self.server, &self.name).await;
        let mut seen = newest_scan(&mut client).await;
        let mut gone = 0;
        for _ in 0..LOOKS {
            let scan = newest_scan(&mut client).await;
            if scan != seen {
                (seen, gone) = (scan, gone + 1);
            }
            if gone >= 2 && seen.is_some_and(|(_, _, transactions)| transactions == 0) {
                return;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        panic!(
            "nothing scans the log of [{}] (is the server's agent running?); the newest scan is {seen:?}",
            self.name
        );
    }

    async fn has_capture(&self) -> bool {
        let mut client = connect(&self.server, &self.name).await;
        let jobs = "SELECT 1 WHERE OBJECT_ID(N'cdc.change_tables') IS NOT NULL
            AND EXISTS (SELECT 1 FROM msdb.dbo.cdc_jobs WHERE database_id = DB_ID() AND job_type = N'capture')";
        !rows(&mut client, jobs).await.is_empty()
    }

    /// A job reads its settings when it starts; one that is only about to start cannot be stopped yet.
    async fn restart_capture(&self) {
        let mut client = connect(&self.server, &self.name).await;
        for job in [
            "EXEC sys.sp_cdc_stop_job N'capture'",
            "EXEC sys.sp_cdc_start_job N'capture'",
        ] {
            let mut ended = run(&mut client, job).await;
            for _ in 0..LOOKS {
                if ended.is_ok() {
                    break;
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
                ended = run(&mut client, job).await;
            }
            ended.unwrap();
        }
    }

    async fn batch(&self, batch: &str) {
        let mut client = connect(&self.server, &self.name).await;
        run(&mut client, batch)
            .await
            .unwrap_or_else(|error| panic!("{error} in\n{batch}"));
    }

    async fn in_master(&self, batch: &str) {
        let mut client = connect(&self.server, "master").await;
        for _ in 0..LOOKS {
            match run(&mut client, batch).await {
                Err(error) if error.code().is_some_and(|code| PASSING.contains(&code)) => {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                ended => return ended.unwrap_or_else(|error| panic!("{error} in\n{batch}")),
            }
        }
        panic!("the server was busy for two minutes:\n{batch}");
    }

    /// Removes the database, and the agent's jobs before it.
    async fn remove(&self) {
        if self.has_capture().await {
            self.batch("EXEC sys.sp_cdc_disable_db").await;
        }
        self.in_master(&format!("DROP DATABASE [{}]", self.name))
            .await;
    }
}

impl Drop for RealDatabase {
    fn drop(&mut self) {
        // The test's own runtime may be what drops it.
        let removed = std::thread::scope(|scope| {
            let remove = || Runtime::new().unwrap().block_on(self.remove());
            scope.spawn(remove).join()
        });
        if removed.is_err() {
            eprintln!("the database [{}] is still on the server", self.name);
        }
    }
}

/// The batches of a script, between lines with GO alone.
fn batches(script: &str) -> Vec<String> {
    let mut batches = vec![String::new()];
    for line in script.lines() {
        match (line.trim().eq_ignore_ascii_case("GO"), batches.last_mut()) {
            (false, Some(batch)) => *batch += &format!("{line}\n"),
            _ => batches.push(String::new()),
        }
    }
    batches.retain(|batch| !batch.trim().is_empty());
    batches
}

async fn connect(server: &Url, database: &str) -> Connection {
    let text = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
    let password = text(server.password().unwrap_or_default());
    let mut config = Config::new();
    config.host(server.host_str().unwrap());
    config.port(server.port().unwrap_or(1433));
    config.database(database);
    config.authentication(AuthMethod::sql_server(text(server.username()), password));
    config.trust_cert();
    let socket = TcpStream::connect(config.get_addr()).await.unwrap();
    Box::pin(Connection::connect(config, socket.compat_write()))
        .await
        .unwrap()
}

async fn run(client: &mut Connection, batch: &str) -> Result<(), tiberius::error::Error> {
    client.simple_query(batch).await?.into_results().await?;
    Ok(())
}

/// The newest scan's session, how many empty ones share its row, and its transactions.
async fn newest_scan(client: &mut Connection) -> Option<(i32, i32, i32)> {
    let scans = rows(client, NEWEST_SCAN).await;
    let number = |row: &tiberius::Row, at| row.get::<i32, _>(at).unwrap_or_default();
    let scan = scans.first();
    scan.map(|row| (number(row, 0), number(row, 1), number(row, 2)))
}
