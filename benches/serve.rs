//! Rows per second that the embedded server serves from memory on one core, against what reading them costs.
//!
//! The server and its client are processes of their own, so that each one's processor time is counted for
//! itself: a server that needed more of it than its client would be what the other benchmarks measure.
//! The table has ten columns, of the types and widths of a change table's row.

#[path = "support/driver.rs"]
mod driver;
mod support;

use std::time::Duration;

use driver::driver;
use futures::StreamExt;
use support::{Server, peak_memory, processor_time, rows_from_environment};

use cdcql::source::sqlserver::{ConnectionConfig, Database};
use datafusion::prelude::SessionContext;

type BenchResult<T> = Result<T, Box<dyn std::error::Error>>;

/// How often each side reads the whole table; the cheapest reading counts.
const ROUNDS: usize = 3;
const COLUMNS: &str = "lsn, seq, op, mask, id, name, city, amount, changed, active";

/// Processor time of the two ends of one reading.
#[derive(Clone, Copy)]
struct Cost {
    server: Duration,
    client: Duration,
}

impl Cost {
    const MAX: Self = Self {
        server: Duration::MAX,
        client: Duration::MAX,
    };

    fn min(self, other: Self) -> Self {
        Self {
            server: self.server.min(other.server),
            client: self.client.min(other.client),
        }
    }
}

fn main() -> BenchResult<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(Box::pin(measure()))
}

async fn measure() -> BenchResult<()> {
    let rows = rows_from_environment(1_000_000);
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), &script(rows))?;
    println!("serve: {rows} rows of {COLUMNS}, best of {ROUNDS}, processor time");
    for (name, option) in [("plaintext", "&encrypt=off"), ("TLS", "")] {
        let url = format!("{}{option}", server.url);
        let (mut arrow, mut bare) = (Cost::MAX, Cost::MAX);
        for _ in 0..ROUNDS {
            arrow = arrow.min(cost(&server, rows, read_to_arrow(&url)).await?);
            bare = bare.min(cost(&server, rows, read_with_driver(&url)).await?);
        }
        let per_second = |time: Duration| rows as f64 / time.as_secs_f64();
        let ratio = |cost: Cost| cost.client.as_secs_f64() / cost.server.as_secs_f64();
        let served = arrow.server.min(bare.server);
        println!("{name}");
        println!(
            "  server:                {:>9.0} rows/s of one core",
            per_second(served)
        );
        println!(
            "  cdcql, wire to Arrow:  {:>9.0} rows/s of one core, ratio client/server {:.2}",
            per_second(arrow.client),
            ratio(arrow)
        );
        println!(
            "  tiberius, rows only:   {:>9.0} rows/s of one core, ratio client/server {:.2}",
            per_second(bare.client),
            ratio(bare)
        );
    }
    println!(
        "server's peak memory {} MiB",
        peak_memory(&server.process())
    );
    Ok(())
}

fn script(rows: u64) -> String {
    format!(
        "CREATE TABLE dbo.big (lsn BINARY(10) NOT NULL, seq BINARY(10) NOT NULL, op INT NOT NULL,
             mask VARBINARY(128) NULL, id INT NOT NULL PRIMARY KEY, name NVARCHAR(40) NOT NULL,
             city NVARCHAR(40) NULL, amount DECIMAL(18, 2) NULL, changed DATETIME2(7) NOT NULL, active BIT NOT NULL);
         GO
         INSERT INTO dbo.big (lsn, seq, op, mask, id, name, city, amount, changed, active)
         SELECT 0x0000002A000000100001, 0x0000002A000000100002, 2, 0x1F, value,
             CONCAT(N'customer ', value), N'Gotham City', CAST(value AS DECIMAL(18, 2)),
             CAST('2024-05-06T07:08:09' AS DATETIME2(7)), CAST(1 AS BIT)
         FROM GENERATE_SERIES(1, {rows});
         GO
        "
    )
}

/// What one reading costs each end.
async fn cost(
    server: &Server,
    expected: u64,
    reading: impl Future<Output = BenchResult<u64>>,
) -> BenchResult<Cost> {
    let (server_before, client_before) =
        (processor_time(&server.process())?, processor_time("self")?);
    let rows = Box::pin(reading).await?;
    if rows != expected {
        return Err(format!("read {rows} rows, expected {expected}").into());
    }
    Ok(Cost {
        server: processor_time(&server.process())? - server_before,
        client: processor_time("self")? - client_before,
    })
}

async fn read_to_arrow(url: &str) -> BenchResult<u64> {
    let database = Database::connect(ConnectionConfig::from_url(url)?).await?;
    let table = database
        .table("dbo", "big")
        .await?
        .ok_or("no table dbo.big")?;
    let mut stream = SessionContext::new()
        .read_table(table)?
        .execute_stream()
        .await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

async fn read_with_driver(url: &str) -> BenchResult<u64> {
    let mut client = driver(url).await?;
    let mut stream = client
        .simple_query(format!("SELECT {COLUMNS} FROM dbo.big"))
        .await?
        .into_row_stream();
    let mut rows = 0;
    while let Some(row) = stream.next().await {
        drop(row?);
        rows += 1;
    }
    Ok(rows)
}
