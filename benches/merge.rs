//! Changes merged into a Delta table, against deltalake's own MERGE in the same run.
//!
//! A table of `CDCQL_BENCH_ROWS` rows (5 M) and twenty columns gets ten thousand changes at scattered keys, a hundred at
//! scattered keys, ten thousand at its newest keys, and changes of every tenth row; of ten changes eight are updates, one
//! is a delete and one an insert. Each side works on its own copy of the table, in a process of its own. Then cdcql alone
//! merges the same but the last into tables of a tenth and, unless `CDCQL_BENCH_LARGE` is 0, of ten times the rows, and
//! ten thousand scattered changes into one table twenty times.
//!
//! Prints seconds, bytes read and written as the system counts them, and the process's peak memory, as ratios too.

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use cdcql::engine::EngineOptions;
use cdcql::sink::delta::{DeltaTableProvider, DeltaTarget, Maintenance, TableOptions};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use support::{Usage, reset_peak_memory, rows_from_environment};

type BenchResult<T> = Result<T, Box<dyn std::error::Error>>;

/// The changes of one window.
const CHANGES: u64 = 10_000;
/// The changes of a short one.
const FEW: u64 = 100;
/// How often changes are merged into one table.
const REPEATED: u64 = 20;
/// The folder and the number of rows of a table that a process of its own makes.
const MAKE: &str = "CDCQL_BENCH_MAKE";
/// The merge that a process of its own does.
const MERGE: &str = "CDCQL_BENCH_MERGE";

/// The columns, as expressions over a row's number `k`.
const COLUMNS: [(&str, &str); 20] = [
    ("id", "k"),
    ("account", "(k * 7919) % 1000003"),
    ("branch", "CAST(k % 97 AS INT)"),
    ("status", "CAST(k % 5 AS INT)"),
    ("quantity", "CAST((k * 31) % 1000 AS INT)"),
    ("price", "CAST((k * 17) % 100000 AS DECIMAL(12, 2)) / 100"),
    ("discount", "CAST((k * 13) % 5000 AS DECIMAL(9, 4)) / 10000"),
    ("total", "CAST((k * 37) % 10000000 AS DECIMAL(18, 2))"),
    (
        "created_at",
        "to_timestamp_micros(1600000000000000 + k * 1000003)",
    ),
    (
        "changed_at",
        "to_timestamp_micros(1650000000000000 + (k * 7901) % 100000000000)",
    ),
    (
        "due_on",
        "CAST(to_timestamp_seconds(1600000000 + (k % 2000) * 86400) AS DATE)",
    ),
    ("name", "concat('Customer ', CAST(k AS VARCHAR))"),
    ("email", "concat('c', CAST(k AS VARCHAR), '@example.org')"),
    ("city", "concat('City ', CAST(k % 5000 AS VARCHAR))"),
    ("country", "concat('C', CAST(k % 200 AS VARCHAR))"),
    (
        "street",
        "concat('Street ', CAST((k * 7) % 100003 AS VARCHAR), ' no. ', CAST(k % 300 AS VARCHAR))",
    ),
    (
        "note",
        "concat('note ', CAST((k * 104729) % 1000000007 AS VARCHAR))",
    ),
    ("score", "CAST(k * 7 % 10007 AS DOUBLE) / 3.0"),
    ("weight", "CAST(k * 11 % 20011 AS DOUBLE) / 7.0"),
    ("revision", "k % 11"),
];

fn main() -> BenchResult<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Box::pin(async {
        if let Ok(folder) = std::env::var(MAKE) {
            return make(Path::new(&folder)).await;
        }
        match std::env::var(MERGE) {
            Ok(job) => Job::read(&job)?.work().await,
            Err(_) => measure().await,
        }
    }))
}

async fn measure() -> BenchResult<()> {
    let rows = rows_from_environment(5_000_000);
    let folder = tempfile::tempdir()?;
    let table = made(folder.path(), rows)?;
    println!("merge: {rows} rows of {} columns", COLUMNS.len());
    compare("scattered keys", &table, Changes::scattered(rows, CHANGES))?;
    compare("few scattered keys", &table, Changes::scattered(rows, FEW))?;
    compare("newest keys", &table, Changes::newest(rows))?;
    compare("every tenth row", &table, Changes::tenth(rows))?;
    repeat(&table, rows).await?;
    std::fs::remove_dir_all(&table)?;
    grow(folder.path(), rows / 10)?;
    if std::env::var("CDCQL_BENCH_LARGE").as_deref() != Ok("0") {
        grow(folder.path(), rows * 10)?;
    }
    Ok(())
}

/// Which rows change: `count` of a table of `rows`, at every `step`th key from `first`.
#[derive(Clone, Copy)]
struct Changes {
    rows: u64,
    step: u64,
    first: u64,
    count: u64,
}

impl Changes {
    fn scattered(rows: u64, count: u64) -> Self {
        let step = rows / count;
        Self {
            rows,
            step,
            first: 0,
            count,
        }
    }

    fn newest(rows: u64) -> Self {
        Self {
            rows,
            step: 1,
            first: rows - CHANGES,
            count: CHANGES,
        }
    }

    fn tenth(rows: u64) -> Self {
        Self {
            rows,
            step: 10,
            first: 0,
            count: rows / 10,
        }
    }
}

/// A merge in a process of its own, so that no other's memory is counted.
struct Job {
    own: bool,
    table: PathBuf,
    changes: Changes,
}

impl Job {
    /// Runs the job on a new copy of its table.
    fn run(mut self) -> BenchResult<(Usage, Sums)> {
        let copy = copied(&self.table)?;
        self.table = copy.path().to_path_buf();
        let Changes {
            rows,
            step,
            first,
            count,
        } = self.changes;
        let table = self.table.to_str().ok_or("a path that is no text")?;
        let job = format!("{}\n{table}\n{rows}\n{step}\n{first}\n{count}", self.own);
        let output = Command::new(std::env::current_exe()?)
            .env(MERGE, job)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err("a merge failed".into());
        }
        let text = String::from_utf8(output.stdout)?;
        let (usage, sums) = text.split_once('\n').ok_or("a merge said nothing")?;
        let usage = Usage::read(usage).ok_or("a merge did not say what it took")?;
        Ok((usage, sums.to_string()))
    }

    fn read(text: &str) -> BenchResult<Self> {
        let parts: Vec<&str> = text.split('\n').collect();
        let [own, table, numbers @ ..] = parts.as_slice() else {
            return Err("no job".into());
        };
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|n| n.parse())
            .collect::<Result<_, _>>()?;
        let [rows, step, first, count] = numbers[..] else {
            return Err("no changes".into());
        };
        Ok(Self {
            own: own.parse()?,
            table: PathBuf::from(table),
            changes: Changes {
                rows,
                step,
                first,
                count,
            },
        })
    }

    async fn work(&self) -> BenchResult<()> {
        let changes = changes(self.changes).await?;
        let usage = match self.own {
            true => ours(&self.table, changes).await?,
            false => deltalakes(&self.table, changes).await?,
        };
        println!("{}\n{}", usage.to_line(), sums(&self.table).await?);
        Ok(())
    }
}

/// One set of changes through both, each on its own copy.
fn compare(what: &str, table: &Path, changes: Changes) -> BenchResult<()> {
    println!("{what}: {} changes", changes.count);
    let job = |own| Job {
        own,
        table: table.to_path_buf(),
        changes,
    };
    let (own, own_rows) = job(true).run()?;
    own.print("cdcql");
    let (peer, peer_rows) = job(false).run()?;
    peer.print("deltalake");
    if own_rows != peer_rows {
        return Err(format!("the tables differ: {own_rows} and {peer_rows}").into());
    }
    own.print_ratios(&peer);
    Ok(())
}

/// Changes in a table of another size.
fn grow(folder: &Path, rows: u64) -> BenchResult<()> {
    let table = made(folder, rows)?;
    for (what, changes) in [
        ("scattered", Changes::scattered(rows, CHANGES)),
        ("few scattered", Changes::scattered(rows, FEW)),
        ("newest", Changes::newest(rows)),
    ] {
        let job = Job {
            own: true,
            table: table.clone(),
            changes,
        };
        job.run()?
            .0
            .print(&format!("cdcql, {what} keys of {rows} rows"));
    }
    std::fs::remove_dir_all(&table)?;
    Ok(())
}

/// Scattered changes again and again; then a scan of all columns against one of the table as it was, before and after
/// maintenance.
async fn repeat(table: &Path, rows: u64) -> BenchResult<()> {
    let copy = copied(table)?;
    let mut seconds = Vec::new();
    for round in 0..REPEATED {
        let mut scattered = Changes::scattered(rows, CHANGES);
        scattered.first = round * 13 % scattered.step;
        seconds.push(ours(copy.path(), changes(scattered).await?).await?.seconds);
    }
    let (first, last) = (seconds[0], seconds[seconds.len() - 1]);
    println!("{REPEATED} merges into one table: the first {first:.3} s, the last {last:.3} s");
    let (fresh, merged) = (scan(table).await?, scan(copy.path()).await?);
    let start = Instant::now();
    maintain(copy.path()).await?;
    let seconds = start.elapsed().as_secs_f64();
    let maintained = scan(copy.path()).await?;
    println!(
        "  full scan: {fresh:.3} s as it was, {merged:.3} s after, ratio {:.2}; maintained in {seconds:.3} s, \
         {maintained:.3} s, ratio {:.2}",
        merged / fresh,
        maintained / fresh
    );
    Ok(())
}

/// What `cdcql maintain` does.
async fn maintain(table: &Path) -> BenchResult<()> {
    let location = table.to_str().ok_or("a path that is no text")?;
    let target = DeltaTarget::open(location, HashMap::new()).await?;
    let maintenance = Maintenance {
        keys: vec!["id".to_string()],
        ..Maintenance::default()
    };
    let _ = target
        .maintain(&maintenance, &session()?.state(), &|_| ())
        .await?;
    Ok(())
}

/// Seconds to read all columns of all rows.
async fn scan(table: &Path) -> BenchResult<f64> {
    let context = session()?;
    context.register_table("t", provider(table).await?)?;
    let columns = COLUMNS.map(|(name, _)| format!("max({name})"));
    let query = format!("SELECT {} FROM t", columns.join(", "));
    let start = Instant::now();
    context.sql(&query).await?.collect().await?;
    Ok(start.elapsed().as_secs_f64())
}

async fn ours(table: &Path, changes: Vec<RecordBatch>) -> BenchResult<Usage> {
    let context = session()?;
    context.register_table("t", provider(table).await?)?;
    let schema = changes[0].schema();
    let source = MemTable::try_new(schema, vec![changes])?;
    context.register_table("s", Arc::new(source))?;
    let columns = COLUMNS.map(|(name, _)| name);
    let set = columns.map(|name| format!("{name} = s.{name}")).join(", ");
    let values = columns.map(|name| format!("s.{name}")).join(", ");
    let merge = format!(
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s._change_type = 'delete' THEN DELETE \
         WHEN MATCHED THEN UPDATE SET {set} \
         WHEN NOT MATCHED AND s._change_type <> 'delete' THEN INSERT ({}) VALUES ({values})",
        columns.join(", ")
    );
    reset_peak_memory();
    let usage = Usage::start();
    context.sql(&merge).await?.collect().await?;
    Ok(usage.end())
}

async fn deltalakes(table: &Path, changes: Vec<RecordBatch>) -> BenchResult<Usage> {
    let context = session()?;
    let schema = changes[0].schema();
    let source = context.read_table(Arc::new(MemTable::try_new(schema, vec![changes])?))?;
    let columns = COLUMNS.map(|(name, _)| name);
    let opened = deltalake::open_table(url(table)?).await?;
    reset_peak_memory();
    let usage = Usage::start();
    let is_delete = || col("s._change_type").eq(lit("delete"));
    opened
        .merge(source, col("t.id").eq(col("s.id")))
        .with_source_alias("s")
        .with_target_alias("t")
        .when_matched_delete(|delete| delete.predicate(is_delete()))?
        .when_matched_update(|update| {
            let values = columns.iter();
            values.fold(update, |update, name| {
                update.update(*name, col(format!("s.{name}")))
            })
        })?
        .when_not_matched_insert(|insert| {
            let values = columns.iter();
            values.fold(insert.predicate(!is_delete()), |insert, name| {
                insert.set(*name, col(format!("s.{name}")))
            })
        })?
        .await?;
    Ok(usage.end())
}

/// What must agree between two tables.
type Sums = String;

async fn sums(table: &Path) -> BenchResult<Sums> {
    let context = session()?;
    context.register_table("t", provider(table).await?)?;
    let rows = context
        .sql("SELECT count(*), sum(id), sum(account), sum(total), sum(revision), count(DISTINCT city) FROM t")
        .await?
        .collect()
        .await?;
    Ok(pretty_format_batches(&rows)?.to_string())
}

fn session() -> BenchResult<SessionContext> {
    let pool = FairSpillPool::new(EngineOptions::DEFAULT_MEMORY_LIMIT);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .build_arc()?;
    Ok(SessionContext::new_with_config_rt(
        SessionConfig::new(),
        runtime,
    ))
}

async fn provider(table: &Path) -> BenchResult<Arc<dyn TableProvider>> {
    let location = table.to_str().ok_or("a path that is no text")?;
    let target = DeltaTarget::open(location, HashMap::new()).await?;
    Ok(Arc::new(DeltaTableProvider::try_new(target, None).await?))
}

fn url(table: &Path) -> BenchResult<url::Url> {
    url::Url::from_directory_path(table).map_err(|()| "a relative path".into())
}

/// The rows of a window of changes.
async fn changes(changes: Changes) -> BenchResult<Vec<RecordBatch>> {
    let Changes {
        rows,
        step,
        first,
        count,
    } = changes;
    let columns = COLUMNS.map(|(name, expression)| match name {
        "revision" => "k % 11 + 100 AS revision".to_string(),
        name => format!("{expression} AS {name}"),
    });
    // One in ten is a new key, past the last.
    let query = format!(
        "SELECT {}, CASE n % 10 WHEN 0 THEN 'delete' WHEN 1 THEN 'insert' ELSE 'update_postimage' END AS _change_type \
         FROM (SELECT value AS n, CASE value % 10 WHEN 1 THEN {rows} + value ELSE {first} + value * {step} END AS k \
               FROM generate_series(0, {}))",
        columns.join(", "),
        count - 1
    );
    Ok(session()?.sql(&query).await?.collect().await?)
}

/// A table of `rows` rows, made by a process of its own so that this one's memory is not the maker's.
fn made(folder: &Path, rows: u64) -> BenchResult<PathBuf> {
    let table = folder.join(format!("table_{rows}"));
    let status = Command::new(std::env::current_exe()?)
        .env(MAKE, &table)
        .env("CDCQL_BENCH_ROWS", rows.to_string())
        .status()?;
    if !status.success() {
        return Err("the table could not be made".into());
    }
    Ok(table)
}

async fn make(table: &Path) -> BenchResult<()> {
    let rows = rows_from_environment(5_000_000);
    // In the order of the keys, as a first copy is.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let columns = COLUMNS.map(|(name, expression)| format!("{expression} AS {name}"));
    let query = format!(
        "SELECT {} FROM (SELECT value AS k FROM generate_series(0, {}))",
        columns.join(", "),
        rows - 1
    );
    let plan = context.sql(&query).await?;
    let location = table.to_str().ok_or("a path that is no text")?;
    let target = DeltaTarget::open(location, HashMap::new()).await?;
    let schema = Arc::new(plan.schema().as_arrow().clone());
    let provider = DeltaTableProvider::try_new(target, Some(schema))
        .await?
        .with_options(TableOptions::default())?;
    context.register_table("t", Arc::new(provider))?;
    context
        .sql(&format!("INSERT INTO t {query}"))
        .await?
        .collect()
        .await?;
    Ok(())
}

/// A copy of a table's folder, gone when dropped.
fn copied(table: &Path) -> BenchResult<tempfile::TempDir> {
    let parent = table.parent().ok_or("a table without a folder")?;
    let copy = tempfile::tempdir_in(parent)?;
    copy_folder(table, copy.path())?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> BenchResult<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            // Data files never change, so that a second name is a copy.
            std::fs::hard_link(entry.path(), target)?;
        }
    }
    Ok(())
}
