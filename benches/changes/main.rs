//! Changes from the wire to the commit, against a program in Python that does the same, and how long a change is on its
//! way under `--follow`.
//!
//! A table is copied, and then gets `CDCQL_BENCH_ROWS` changes (1 M) over a tenth as many keys, in up to a thousand
//! transactions: of twenty changes eighteen are updates, one is a delete and one an insert. One run applies them, in a
//! process of its own. The peer reads the same rows of the change table by Microsoft's driver for Python as Arrow
//! (`mssql-python`), takes the newest of each key (`pyarrow`), and merges them by the package `deltalake` into a target of
//! its own. `CDCQL_TEST_PYTHON` names a Python that has the packages.
//!
//! Prints changes per second, processor time and peak memory of each, and the ratios; the embedded server shares the
//! machine, so that what each side has it do is printed too. Then the time from a source commit to its Delta commit, as
//! p50, p95 and maximum.

mod latency;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{FlowResult, Pipeline, Reporter, RunOptions};
use cdcql::sink::delta::{DeltaTableProvider, DeltaTarget};
use cdcql::source::sqlserver::{ConnectionConfig, Database};
use cdcql::sql::{SourceText, parse};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use python::Peer;
use support::{
    Server, Usage, peak_memory, processor_time, reset_peak_memory, rows_from_environment, run_apart,
};

type BenchResult<T> = Result<T, Box<dyn std::error::Error>>;

const SCRIPT: &str = include_str!("merge_newest.py");
/// What the peer is called.
const PEER: &str = "mssql-python, pyarrow and deltalake of Python";

/// The folder of a run that a process of its own does.
const RUN: &str = "CDCQL_BENCH_RUN";
/// That run's target, and its server.
const TARGET: &str = "CDCQL_BENCH_TARGET";
const URL: &str = "CDCQL_BENCH_URL";

/// How often each key changes.
const ROUNDS: u64 = 10;
/// Of so many changes one is a delete and one an insert.
const SHARE: u64 = 20;
/// Transactions in which each key changes once, at most.
const TRANSACTIONS: u64 = 100;

fn main() -> BenchResult<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(Box::pin(async {
            match std::env::var(RUN) {
                Ok(folder) => work(Path::new(&folder)).await,
                Err(_) => measure().await,
            }
        }))
}

async fn measure() -> BenchResult<()> {
    let load = Load::of(rows_from_environment(1_000_000));
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), &load.script())?;
    let peer = Peer::find("mssql_python, pyarrow, deltalake")?;
    println!(
        "changes: {} changes of {} keys in {} transactions of {}",
        load.count(),
        load.keys(),
        ROUNDS * load.transactions,
        load.rows
    );
    for target in [OWN, PEERS] {
        if target == OWN || peer.is_some() {
            run_once(folder.path(), target, &server.url)?;
        }
    }
    let source = Database::connect(ConnectionConfig::from_url(&server.url)?).await?;
    let before = source.head().await?.ok_or("nothing was captured")?;
    for round in 0..ROUNDS {
        for transaction in 0..load.transactions {
            source
                .execute_batch(&load.transaction(round, transaction))
                .await?;
        }
    }
    let own = Cost::of(&server, || run_once(folder.path(), OWN, &server.url))?;
    own.print("cdcql", load.count());
    let expected = sums(source.table("dbo", "big").await?.ok_or("no table")?).await?;
    check(folder.path(), OWN, &expected).await?;
    if let Some(peer) = peer {
        let target = folder.path().join(PEERS);
        let after = before.newest.lsn.to_hex();
        let theirs = Cost::of(&server, || peer.run(SCRIPT, &server.url, &target, &after))?;
        theirs.print(PEER, load.count());
        check(folder.path(), PEERS, &expected).await?;
        own.print_ratios(&theirs);
    }
    println!(
        "  the server's peak memory {} MiB",
        peak_memory(&server.process())
    );
    let pipeline = bind(folder.path(), OWN, &server.url).await?;
    latency::measure(Arc::new(pipeline), &source, load.count()).await?;
    let expected = sums(source.table("dbo", "big").await?.ok_or("no table")?).await?;
    check(folder.path(), OWN, &expected).await
}

/// What one side took, and what it had the server do, in seconds of processor time.
struct Cost {
    usage: Usage,
    server: f64,
}

impl Cost {
    fn of(server: &Server, work: impl FnOnce() -> BenchResult<Usage>) -> BenchResult<Self> {
        let before = processor_time(&server.process())?;
        let usage = work()?;
        let server = processor_time(&server.process())? - before;
        Ok(Self {
            usage,
            server: server.as_secs_f64(),
        })
    }

    fn print(&self, who: &str, changes: u64) {
        let usage = &self.usage;
        println!(
            "  {who}: {:.2} s, {:.0} changes/s; processor time {:.2} s, and {:.2} s of the server; peak memory {} MiB",
            usage.seconds,
            changes as f64 / usage.seconds,
            usage.processor,
            self.server,
            usage.peak
        );
    }

    /// Prints how many times as much `peer` took.
    fn print_ratios(&self, peer: &Self) {
        println!(
            "  ratio: {:.2} of the time, {:.2} of the processor time, {:.2} of the memory",
            peer.usage.seconds / self.usage.seconds,
            peer.usage.processor / self.usage.processor,
            peer.usage.peak as f64 / self.usage.peak.max(1) as f64
        );
    }
}

/// The folders of the two targets.
const OWN: &str = "own";
const PEERS: &str = "peers";

/// The changes: each of [`ROUNDS`] times `transactions` transactions changes `rows` keys, once.
struct Load {
    transactions: u64,
    rows: u64,
}

impl Load {
    /// About so many changes.
    fn of(changes: u64) -> Self {
        let keys = (changes / ROUNDS).max(SHARE);
        let transactions = (keys / SHARE).clamp(1, TRANSACTIONS);
        Self {
            transactions,
            rows: keys / transactions / SHARE * SHARE,
        }
    }

    fn keys(&self) -> u64 {
        self.transactions * self.rows
    }

    fn count(&self) -> u64 {
        ROUNDS * self.keys()
    }

    fn script(&self) -> String {
        format!(
            "CREATE TABLE dbo.big (id INT NOT NULL PRIMARY KEY, name NVARCHAR(40) NOT NULL, amount DECIMAL(18, 2) NULL,
                 changed DATETIME2(3) NOT NULL, active BIT NOT NULL);
             GO
             INSERT INTO dbo.big (id, name, amount, changed, active)
             SELECT value, CONCAT(N'customer number ', value), CAST(value AS DECIMAL(18, 2)),
                 CAST('2024-05-06T07:08:09' AS DATETIME2(3)), CAST(1 AS BIT)
             FROM GENERATE_SERIES(0, {});
             GO
             EXEC sys.sp_cdc_enable_db;
             EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'big', @role_name = NULL;
             GO
            ",
            self.keys() - 1
        )
    }

    /// The keys of a transaction are every `transactions`th one. A twentieth is deleted, which the next round inserts
    /// again while it deletes another one.
    fn transaction(&self, round: u64, transaction: u64) -> String {
        let (step, last) = (self.transactions, self.rows - 1);
        let deleted = round % SHARE;
        let insert = match round.checked_sub(1) {
            None => String::new(),
            Some(before) => format!(
                "INSERT INTO dbo.big (id, name, amount, changed, active)
                 SELECT value * {step} + {transaction}, N'new', NULL, CAST('2024-05-07T00:00:00' AS DATETIME2(3)),
                     CAST(0 AS BIT)
                 FROM GENERATE_SERIES(0, {last}) WHERE value % {SHARE} = {};",
                before % SHARE
            ),
        };
        format!(
            "BEGIN TRANSACTION;
             UPDATE dbo.big SET amount = {round}.25, active = CAST({} AS BIT)
             WHERE id % {step} = {transaction} AND id / {step} % {SHARE} <> {deleted};
             DELETE FROM dbo.big WHERE id % {step} = {transaction} AND id / {step} % {SHARE} = {deleted};
             {insert}
             COMMIT;",
            round % 2
        )
    }
}

fn pipeline_text(target: &str, url: &str) -> String {
    // Other programs that write Delta tables do not write deletion vectors.
    let vectors = if target == OWN { "auto" } else { "off" };
    format!(
        "CREATE CONNECTION db TYPE sqlserver OPTIONS (url '{url}');
         CREATE TABLE IF NOT EXISTS big USING DELTA LOCATION '{target}'
             TBLPROPERTIES ('cdcql.deletionVectors' = '{vectors}');
         MERGE INTO big AS target USING STREAM db.dbo.big CHANGES AS change ON target.id = change.id
         WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
         WHEN MATCHED THEN UPDATE SET *
         WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;"
    )
}

async fn bind(folder: &Path, target: &str, url: &str) -> BenchResult<Pipeline> {
    let engine = Engine::try_new(EngineOptions {
        memory_limit: EngineOptions::DEFAULT_MEMORY_LIMIT,
        directory: folder.to_path_buf(),
        resolver: ConnectionResolver::new(|url, _| Box::pin(async move { Ok(url) })),
    })?;
    let text = SourceText {
        name: "changes".to_string(),
        text: pipeline_text(target, url),
    };
    let statements = parse(&text).map_err(|diagnostics| format!("{diagnostics:?}"))?;
    Ok(Pipeline::bind(engine, statements, None).await?)
}

/// Runs the pipeline once in a process of its own.
fn run_once(folder: &Path, target: &str, url: &str) -> BenchResult<Usage> {
    run_apart(&[
        (RUN, folder.as_os_str()),
        (TARGET, target.as_ref()),
        (URL, url.as_ref()),
    ])
}

async fn work(folder: &Path) -> BenchResult<()> {
    reset_peak_memory();
    let usage = Usage::start();
    let pipeline = bind(folder, &std::env::var(TARGET)?, &std::env::var(URL)?).await?;
    let reporter = Reporter::new(|_| {});
    let mut reports = pipeline.run(RunOptions::default(), &reporter).await;
    let report = reports.pop().ok_or("the pipeline has no flow")?;
    if let FlowResult::UpToDate { .. } = report.result? {
        return Err("there was nothing to do".into());
    }
    println!("{}", usage.end().to_line());
    Ok(())
}

/// Checks that a target holds what the source does.
async fn check(folder: &Path, target: &str, expected: &str) -> BenchResult<()> {
    let location = folder.join(target);
    let location = location.to_str().ok_or("a path that is no text")?;
    let opened = DeltaTarget::open(location, HashMap::new()).await?;
    let found = sums(Arc::new(DeltaTableProvider::try_new(opened, None).await?)).await?;
    if found != expected {
        return Err(format!("the target {target} has {found} instead of {expected}").into());
    }
    Ok(())
}

/// What must agree between two tables.
async fn sums(table: Arc<dyn TableProvider>) -> BenchResult<String> {
    let context = SessionContext::new();
    context.register_table("t", table)?;
    let query = "SELECT count(*), sum(id), sum(amount), count(DISTINCT name), max(changed), \
                 sum(CASE WHEN active THEN id ELSE 0 END) FROM t";
    let rows = context.sql(query).await?.collect().await?;
    Ok(pretty_format_batches(&rows)?.to_string())
}
