//! A first copy of a million rows, then ten thousand changes, over the wire.
//!
//! Prints rows per second for both steps and this process's peak memory. The server runs in a process of
//! its own, so that its memory is not counted. The peer is cdcql's own first copy: how much less a window
//! of changes costs than copying the table again.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Server, peak_memory, rows_from_environment};

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{FlowResult, Pipeline, Reporter, RunOptions};
use cdcql::source::sqlserver::{ConnectionConfig, Database};
use cdcql::sql::{SourceText, parse};

type BenchResult<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> BenchResult<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(Box::pin(measure()))
}

async fn measure() -> BenchResult<()> {
    let rows = rows_from_environment(1_000_000);
    let changes = (rows / 100).max(1);
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path(), &script(rows))?;
    let start = peak_memory("self");
    println!(
        "end_to_end: {rows} rows, then {changes} changes (each third an update, a delete, an insert)"
    );

    let (outcome, copy) = run(folder.path(), &server.url).await?;
    report("first copy", rows, copy);
    println!("  {outcome:?}");
    println!(
        "  peak memory {} MiB (at start {} MiB)",
        peak_memory("self"),
        start
    );

    let application = Database::connect(ConnectionConfig::from_url(&server.url)?).await?;
    for statement in change_statements(rows, changes) {
        application.execute_batch(&statement).await?;
    }
    let (outcome, merge) = run(folder.path(), &server.url).await?;
    if !matches!(outcome, FlowResult::Applied { .. }) {
        return Err(format!("the changes were not applied: {outcome:?}").into());
    }
    report("changes", changes, merge);
    println!("  {outcome:?}");
    println!(
        "  peak memory {} MiB, the server's {} MiB",
        peak_memory("self"),
        peak_memory(&server.process())
    );
    println!(
        "  ratio: copying the table again takes {:.1} times as long as applying the changes",
        copy.as_secs_f64() / merge.as_secs_f64()
    );
    Ok(())
}

fn script(rows: u64) -> String {
    format!(
        "CREATE TABLE dbo.big (id INT NOT NULL PRIMARY KEY, name NVARCHAR(40) NOT NULL, amount DECIMAL(18, 2) NULL,
             changed DATETIME2(3) NOT NULL, active BIT NOT NULL);
         GO
         INSERT INTO dbo.big (id, name, amount, changed, active)
         SELECT value, CONCAT(N'customer number ', value), CAST(value AS DECIMAL(18, 2)),
             CAST('2024-05-06T07:08:09' AS DATETIME2(3)), CAST(1 AS BIT)
         FROM GENERATE_SERIES(1, {rows});
         GO
         EXEC sys.sp_cdc_enable_db;
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'big', @role_name = NULL;
         GO
        "
    )
}

/// Changes that are spread over the whole table.
fn change_statements(rows: u64, changes: u64) -> Vec<String> {
    let each = (changes / 3).max(1);
    let step = (rows / each).max(1);
    vec![
        format!("UPDATE dbo.big SET amount = 0.01 WHERE id % {step} = 0;"),
        format!("DELETE FROM dbo.big WHERE id % {step} = 1;"),
        format!(
            "INSERT INTO dbo.big (id, name, amount, changed, active)
             SELECT value + {rows}, N'new', NULL, CAST('2024-05-07T00:00:00' AS DATETIME2(3)), CAST(0 AS BIT)
             FROM GENERATE_SERIES(1, {each});"
        ),
    ]
}

fn pipeline_text(folder: &Path, url: &str) -> String {
    format!(
        "CREATE CONNECTION db TYPE sqlserver OPTIONS (url '{url}');
         CREATE TABLE IF NOT EXISTS big USING DELTA LOCATION '{}';
         MERGE INTO big AS target USING STREAM db.dbo.big CHANGES AS change ON target.id = change.id
         WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
         WHEN MATCHED THEN UPDATE SET *
         WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;",
        folder.join("lake").display()
    )
}

async fn run(folder: &Path, url: &str) -> BenchResult<(FlowResult, Duration)> {
    let started = Instant::now();
    let engine = Engine::try_new(EngineOptions {
        memory_limit: EngineOptions::DEFAULT_MEMORY_LIMIT,
        directory: folder.to_path_buf(),
        resolver: ConnectionResolver::new(|url, _| Box::pin(async move { Ok(url) })),
    })?;
    let text = SourceText {
        name: "end_to_end".to_string(),
        text: pipeline_text(folder, url),
    };
    let statements = parse(&text).map_err(|diagnostics| format!("{diagnostics:?}"))?;
    let pipeline = Pipeline::bind(engine, statements, None).await?;
    let mut reports = pipeline
        .run(RunOptions::default(), &Reporter::new(|_| {}))
        .await;
    let report = reports.pop().ok_or("the pipeline has no flow")?;
    Ok((report.result?, started.elapsed()))
}

fn report(step: &str, rows: u64, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    println!(
        "{step}: {seconds:.2} s, {:.0} rows/s",
        rows as f64 / seconds
    );
}
