//! Rows per second from the wire to Arrow, against the driver alone.
//!
//! Both read the same table from the same server in turns; the ratio tells what decoding into Arrow costs
//! beyond the driver's own rows.

#[path = "support/driver.rs"]
mod driver;
mod support;

use std::time::{Duration, Instant};

use driver::driver;
use futures::StreamExt;
use support::{Server, peak_memory, rows_from_environment};

use cdcql::source::sqlserver::{ConnectionConfig, Database};
use datafusion::prelude::SessionContext;

type BenchResult<T> = Result<T, Box<dyn std::error::Error>>;

/// How often each side reads the whole table; the fastest reading counts.
const ROUNDS: usize = 3;
const COLUMNS: &str = "id, name, amount, changed, active, code";

fn main() -> BenchResult<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(Box::pin(measure()))
}

async fn measure() -> BenchResult<()> {
    let rows = rows_from_environment(500_000);
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), &script(rows))?;
    let (mut ours, mut driver) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        ours = ours.min(read_to_arrow(&server.url, rows).await?);
        driver = driver.min(Box::pin(read_with_driver(&server.url, rows)).await?);
    }
    println!("decode: {rows} rows of {COLUMNS}, best of {ROUNDS}");
    println!(
        "cdcql, wire to Arrow: {:.0} rows/s",
        rows as f64 / ours.as_secs_f64()
    );
    println!(
        "tiberius, rows only:  {:.0} rows/s",
        rows as f64 / driver.as_secs_f64()
    );
    println!(
        "ratio cdcql/tiberius in time: {:.2}",
        ours.as_secs_f64() / driver.as_secs_f64()
    );
    println!(
        "peak memory {} MiB, the server's {} MiB",
        peak_memory("self"),
        peak_memory(&server.process())
    );
    Ok(())
}

fn script(rows: u64) -> String {
    format!(
        "CREATE TABLE dbo.big (id INT NOT NULL PRIMARY KEY, name NVARCHAR(40) NOT NULL, amount DECIMAL(18, 2) NULL,
             changed DATETIME2(3) NOT NULL, active BIT NOT NULL, code VARBINARY(10) NULL);
         GO
         INSERT INTO dbo.big (id, name, amount, changed, active, code)
         SELECT value, CONCAT(N'customer number ', value), CAST(value AS DECIMAL(18, 2)),
             CAST('2024-05-06T07:08:09' AS DATETIME2(3)), CAST(1 AS BIT), 0x0123456789
         FROM GENERATE_SERIES(1, {rows});
         GO
        "
    )
}

async fn read_to_arrow(url: &str, expected: u64) -> BenchResult<Duration> {
    let database = Database::connect(ConnectionConfig::from_url(url)?).await?;
    let table = database
        .table("dbo", "big")
        .await?
        .ok_or("no table dbo.big")?;
    let context = SessionContext::new();
    let started = Instant::now();
    let mut stream = context.read_table(table)?.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows() as u64;
    }
    check(rows, expected)?;
    Ok(started.elapsed())
}

async fn read_with_driver(url: &str, expected: u64) -> BenchResult<Duration> {
    let mut client = driver(url).await?;
    let started = Instant::now();
    let mut stream = client
        .simple_query(format!("SELECT {COLUMNS} FROM dbo.big"))
        .await?
        .into_row_stream();
    let mut rows = 0;
    while let Some(row) = stream.next().await {
        drop(row?);
        rows += 1;
    }
    check(rows, expected)?;
    Ok(started.elapsed())
}

fn check(rows: u64, expected: u64) -> BenchResult<()> {
    if rows == expected {
        Ok(())
    } else {
        Err(format!("read {rows} rows, expected {expected}").into())
    }
}
