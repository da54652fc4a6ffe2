//! A table from the wire to a committed Delta table, against programs in Python that read it as Arrow and write it by the
//! package `deltalake`: Microsoft's driver (`mssql_python`) and `connectorx`.
//!
//! The table has `CDCQL_BENCH_ROWS` rows (4 M, which cdcql reads in seven chunks) of ten columns. Each side copies it five
//! times in turns, each time in a process of its own and into a new folder; cdcql with one connection and with two. What
//! cdcql does besides is to stage the rows so that a copy that was ended can go on, and to put the changes since then over
//! them.
//!
//! Prints rows and megabytes of values per second, processor time and peak memory at the median, and the ratios of medians;
//! the embedded server shares the machine.

#[path = "../support/python.rs"]
mod python;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{FlowResult, Pipeline, Reporter, RunOptions};
use cdcql::sql::{SourceText, parse};
use python::Peer;
use support::{
    Server, Usage, peak_memory, processor_time, reset_peak_memory, rows_from_environment, run_apart,
};

type BenchResult<T> = Result<T, Box<dyn std::error::Error>>;

/// The folder of a copy that a process of its own makes, its server, and how many connections it has.
const RUN: &str = "CDCQL_BENCH_RUN";
const URL: &str = "CDCQL_BENCH_URL";
const PARALLEL: &str = "CDCQL_BENCH_PARALLEL";

const ROUNDS: usize = 5;
/// Bytes of a row's values, about: two LSNs, op, mask, id, two texts in UTF-8, amount, time, bit.
const ROW_BYTES: f64 = 10.0 + 10.0 + 4.0 + 1.0 + 4.0 + 16.0 + 11.0 + 16.0 + 8.0 + 1.0;

const SCRIPT: &str = include_str!("copy.py");

fn main() -> BenchResult<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(Box::pin(async {
            match std::env::var(RUN) {
                Ok(folder) => work(Path::new(&folder)).await,
                Err(_) => measure(),
            }
        }))
}

/// Who copies.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Own(u8),
    Peers(&'static str),
}

impl Side {
    fn name(self) -> String {
        match self {
            Self::Own(parallel) => format!("cdcql --parallel {parallel}"),
            Self::Peers(package) => format!("{package} and deltalake of Python"),
        }
    }
}

/// What a copy took, and the processor time of the server for it.
struct Cost {
    usage: Usage,
    server: f64,
}

fn measure() -> BenchResult<()> {
    let rows = rows_from_environment(4_000_000);
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), &script(rows))?;
    let mut sides = vec![Side::Own(1), Side::Own(2)];
    for package in ["mssql_python", "connectorx"] {
        if Peer::find(&format!("deltalake, {package}"))?.is_some() {
            sides.push(Side::Peers(package));
        }
    }
    println!("snapshot: {rows} rows of ten columns, medians of {ROUNDS}");
    let mut costs: Vec<Vec<Cost>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        for (side, costs) in sides.iter().zip(&mut costs) {
            let target = folder.path().join(format!("{round}-{}", costs.len()));
            let target = target.join(side.name().replace(' ', "-"));
            costs.push(copy(&server, *side, &target)?);
            std::fs::remove_dir_all(&target)?;
        }
    }
    let medians: Vec<Cost> = costs
        .into_iter()
        .map(median)
        .collect::<Option<_>>()
        .ok_or("no rounds")?;
    for (side, cost) in sides.iter().zip(&medians) {
        let per_second = rows as f64 / cost.usage.seconds;
        println!(
            "  {}: {:.2} s, {per_second:.0} rows/s, {:.1} MB/s; processor time {:.2} s, and {:.2} s of the server; peak memory {} MiB",
            side.name(),
            cost.usage.seconds,
            per_second * ROW_BYTES / 1e6,
            cost.usage.processor,
            cost.server,
            cost.usage.peak
        );
    }
    let own = &medians[0].usage;
    for (side, cost) in sides.iter().zip(&medians).skip(1) {
        let usage = &cost.usage;
        println!(
            "  ratio of {} to {}: {:.2} of the time, {:.2} of the processor time, {:.2} of the memory",
            side.name(),
            sides[0].name(),
            usage.seconds / own.seconds,
            usage.processor / own.processor,
            usage.peak as f64 / own.peak.max(1) as f64
        );
    }
    println!(
        "  the server's peak memory {} MiB",
        peak_memory(&server.process())
    );
    Ok(())
}

fn median(mut costs: Vec<Cost>) -> Option<Cost> {
    costs.sort_by(|a, b| a.usage.seconds.total_cmp(&b.usage.seconds));
    let middle = costs.len() / 2;
    (middle < costs.len()).then(|| costs.swap_remove(middle))
}

fn copy(server: &Server, side: Side, target: &Path) -> BenchResult<Cost> {
    std::fs::create_dir_all(target)?;
    let before = processor_time(&server.process())?;
    let usage = match side {
        Side::Own(parallel) => {
            let parallel = parallel.to_string();
            run_apart(&[
                (RUN, target.as_os_str()),
                (URL, server.url.as_ref()),
                (PARALLEL, parallel.as_ref()),
            ])?
        }
        Side::Peers(package) => {
            let peer = Peer::find(package)?.ok_or("the peer has gone")?;
            peer.run(SCRIPT, &server.url, &target.join("big"), package)?
        }
    };
    let server = processor_time(&server.process())? - before;
    Ok(Cost {
        usage,
        server: server.as_secs_f64(),
    })
}

fn script(rows: u64) -> String {
    format!(
        "CREATE TABLE dbo.big (lsn BINARY(10) NOT NULL, seq BINARY(10) NOT NULL, op INT NOT NULL,
             mask VARBINARY(128) NULL, id INT NOT NULL PRIMARY KEY, name NVARCHAR(40) NOT NULL,
             city NVARCHAR(40) NULL, amount DECIMAL(18, 2) NULL, changed DATETIME2(6) NOT NULL, active BIT NOT NULL);
         GO
         INSERT INTO dbo.big (lsn, seq, op, mask, id, name, city, amount, changed, active)
         SELECT 0x0000002A000000100001, 0x0000002A000000100002, 2, 0x1F, value,
             CONCAT(N'customer ', value), N'Gotham City', CAST(value AS DECIMAL(18, 2)),
             CAST('2024-05-06T07:08:09' AS DATETIME2(6)), CAST(1 AS BIT)
         FROM GENERATE_SERIES(1, {rows});
         GO
         EXEC sys.sp_cdc_enable_db;
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'big', @role_name = NULL;
         GO
        "
    )
}

async fn work(folder: &Path) -> BenchResult<()> {
    reset_peak_memory();
    let usage = Usage::start();
    let engine = Engine::try_new(EngineOptions {
        memory_limit: EngineOptions::DEFAULT_MEMORY_LIMIT,
        directory: folder.to_path_buf(),
        resolver: ConnectionResolver::new(|url, _| Box::pin(async move { Ok(url) })),
    })?;
    let text = SourceText {
        name: "snapshot".to_string(),
        text: format!(
            "CREATE CONNECTION db TYPE sqlserver OPTIONS (url '{}');
             CREATE TABLE big USING DELTA LOCATION 'big';
             MERGE INTO big AS target USING STREAM db.dbo.big CHANGES AS change ON target.id = change.id
             WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
             WHEN MATCHED THEN UPDATE SET *
             WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;",
            std::env::var(URL)?
        ),
    };
    let statements = parse(&text).map_err(|diagnostics| format!("{diagnostics:?}"))?;
    let pipeline = Pipeline::bind(engine, statements, None).await?;
    let options = RunOptions {
        parallel: std::env::var(PARALLEL)?.parse()?,
        ..RunOptions::default()
    };
    let mut reports = pipeline.run(options, &Reporter::new(|_| {})).await;
    let report = reports.pop().ok_or("the pipeline has no flow")?;
    let FlowResult::Copied { .. } = report.result? else {
        return Err("nothing was copied".into());
    };
    println!("{}", usage.end().to_line());
    Ok(())
}
