//! Random transactions, scans of the log, first copies, runs, faults and kills: after every run a target equals its source
//! as of the last captured transaction, and after one that was cut short, as of one before. A copy waits for capture,
//! which goes on meanwhile, as the transactions do: it equals its source as of one that was captured by then and is no
//! older than its read.
//!
//! The model is a map of rows, changed as the statements read; it shares nothing with the reader. `PROPTEST_CASES` asks
//! for more cases, `PROPTEST_RNG_SEED` repeats a run, and a failure prints the smallest case found:
//!
//! ```sh
//! PROPTEST_CASES=5000 cargo test --locked --test it random_changes
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{Event, FlowReport, Pipeline, Reporter, RunOptions};
use cdcql::simulator::control::Fault;
use cdcql::simulator::{Behaviour, CaptureControl, Database, Simulator, SimulatorOptions};
use cdcql::source::sqlserver::{self, WindowLimits};
use cdcql::sql::{SourceText, Statement, parse};
use datafusion::arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;
use tokio::sync::Notify;

/// How many cases there are, unless the environment says otherwise.
const CASES: u32 = 24;
/// How often a case that fails is made smaller.
const SHRINKS: u32 = 200;
/// A part of the statement by which a copy looks how far capture is.
const LOOK: &str = "AS server_local OPTION";

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
CREATE TABLE dbo.b (k VARCHAR(4) NOT NULL, s INT NOT NULL, n INT NULL, PRIMARY KEY (k, s));
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
GO
INSERT INTO dbo.a VALUES (0, 0), (1, 1);
INSERT INTO dbo.b VALUES ('x', 0, 0), ('Y', 1, 1);
";

const PIPELINE: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'URL');
CREATE TABLE IF NOT EXISTS a USING DELTA LOCATION 'lake/a';
CREATE TABLE IF NOT EXISTS b USING DELTA LOCATION 'lake/b';
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
MERGE INTO b AS target USING STREAM db.dbo.b CHANGES AS change ON target.k = change.k AND target.s = change.s
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
";

/// A change of one row, of the table's keys by number; what it is depends on whether the row is there.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Inserts the row, or updates it.
    Put { key: u8, n: i32 },
    /// Deletes the row, if it is there.
    Delete { key: u8 },
    /// Gives the row another key that is free.
    Move { key: u8, to: u8 },
    /// Updates every row.
    All,
}

#[derive(Debug, Clone)]
enum Step {
    Transaction(Transaction),
    /// One scan of the log.
    Capture,
    /// The targets go, so that the next run copies.
    Forget,
    Run(Run),
}

/// One transaction over both tables: true for `a`.
type Transaction = Vec<(bool, Change)>;

/// How the pipeline is run.
#[derive(Debug, Clone)]
struct Run {
    /// What is committed while it waits for capture, each after the next scan has fixed its end of the log.
    meanwhile: Vec<Transaction>,
    rows: u32,
    transactions: Option<u32>,
    fault: Option<Disturbance>,
    /// It is dropped when it has been polled so often.
    polls: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Deadlock,
    LockTimeout,
    Cut { after: u64 },
    Messages,
}

impl Disturbance {
    fn fault(self) -> Fault {
        match self {
            Self::Deadlock => Fault::DeadlockVictim,
            Self::LockTimeout => Fault::lock_timeout(),
            Self::Cut { after } => Fault::CutInRow { after },
            Self::Messages => Fault::Interjections,
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let key = 0_u8..6;
    prop_oneof![
        4 => (key.clone(), any::<i8>()).prop_map(|(key, n)| Change::Put { key, n: n.into() }),
        2 => key.clone().prop_map(|key| Change::Delete { key }),
        2 => (key.clone(), key).prop_map(|(key, to)| Change::Move { key, to }),
        1 => Just(Change::All),
    ]
}

fn transactions() -> impl Strategy<Value = Transaction> {
    prop::collection::vec((any::<bool>(), changes()), 1..6)
}

fn runs() -> impl Strategy<Value = Run> {
    let faults = prop_oneof![
        Just(Disturbance::Deadlock),
        Just(Disturbance::LockTimeout),
        (0_u64..4).prop_map(|after| Disturbance::Cut { after }),
        Just(Disturbance::Messages),
    ];
    let rows = prop_oneof![Just(1_u32), Just(3), Just(1000)];
    let transactions = prop::option::of(1_u32..4);
    let faults = prop::option::weighted(0.3, faults);
    let polls = prop::option::weighted(0.3, 1_u16..200);
    let meanwhile = prop::collection::vec(self::transactions(), 0..3);
    let all = (rows, transactions, faults, polls, meanwhile);
    all.prop_map(|(rows, transactions, fault, polls, meanwhile)| Run {
        meanwhile,
        rows,
        transactions,
        fault,
        polls,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => transactions().prop_map(Step::Transaction),
        4 => Just(Step::Capture),
        1 => Just(Step::Forget),
        4 => runs().prop_map(Step::Run),
    ];
    prop::collection::vec(step, 1..24)
}

/// The rows of both tables by the numbers of their keys.
type Rows = [BTreeMap<u8, i32>; 2];

/// What the source is, was when it was last captured, and every state since the targets were last known.
struct Model {
    rows: Rows,
    captured: usize,
    states: Vec<Rows>,
    /// Whether a target may be absent.
    is_forgotten: bool,
}

impl Model {
    fn new() -> Self {
        let two = BTreeMap::from([(0, 0), (1, 1)]);
        let rows = [two.clone(), two];
        Self {
            states: vec![rows.clone()],
            captured: 0,
            is_forgotten: false,
            rows,
        }
    }

    /// The batch of a transaction, which is made to the model too.
    fn transaction(&mut self, changes: &Transaction) -> String {
        let statements: Vec<String> = changes
            .iter()
            .filter_map(|(is_a, change)| self.change(*is_a, *change))
            .collect();
        self.states.push(self.rows.clone());
        format!("BEGIN TRAN; {}; COMMIT;", statements.join("; "))
    }

    /// The statement of a change, which is made to the model too; `None` where there is nothing to change.
    fn change(&mut self, is_a: bool, change: Change) -> Option<String> {
        let table = usize::from(!is_a);
        let rows = &mut self.rows[table];
        let name = ["dbo.a", "dbo.b"][table];
        Some(match change {
            Change::Put { key, n } if rows.contains_key(&key) => {
                rows.insert(key, n);
                format!("UPDATE {name} SET n = {n} WHERE {}", condition(table, key))
            }
            Change::Put { key, n } => {
                rows.insert(key, n);
                format!("INSERT INTO {name} VALUES ({}, {n})", values(table, key))
            }
            Change::Delete { key } => {
                rows.remove(&key)?;
                format!("DELETE FROM {name} WHERE {}", condition(table, key))
            }
            Change::Move { key, to } => {
                if rows.contains_key(&to) {
                    return None;
                }
                let n = rows.remove(&key)?;
                rows.insert(to, n);
                let set = match table {
                    0 => format!("id = {to}"),
                    _ => format!("k = '{}', s = {to}", letter(to)),
                };
                format!("UPDATE {name} SET {set} WHERE {}", condition(table, key))
            }
            Change::All => {
                rows.values_mut().for_each(|n| *n += 1);
                format!("UPDATE {name} SET n = n + 1")
            }
        })
    }
}

/// Letters of which pairs differ in case alone, which the table's collation does not tell apart.
fn letter(key: u8) -> &'static str {
    ["x", "Y", "X", "y", "z", "Z"][usize::from(key)]
}

fn values(table: usize, key: u8) -> String {
    match table {
        0 => key.to_string(),
        _ => format!("'{}', {key}", letter(key)),
    }
}

fn condition(table: usize, key: u8) -> String {
    match table {
        0 => format!("id = {key}"),
        _ => format!("k = '{}' AND s = {key}", letter(key)),
    }
}

/// The rows as the queries of [`World::rows`] print them.
fn printed(rows: &Rows, table: usize) -> Vec<String> {
    let lines = rows[table].iter().map(|(key, n)| match table {
        0 => format!("{key}|{n}"),
        _ => format!("{}|{key}|{n}", letter(*key)),
    });
    lines.collect()
}

/// A served database and the lake it is copied to.
struct World {
    simulator: Simulator,
    client: sqlserver::Database,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let behaviour = Behaviour {
            seed: Some(5),
            ..Behaviour::default()
        };
        let database = Database::from_script_with("app_db", "a.sql", SCRIPT, &behaviour);
        let options = SimulatorOptions {
            behaviour: behaviour.clone(),
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(database.await.unwrap(), options)
            .await
            .unwrap();
        let config = sqlserver::ConnectionConfig::from_url(&simulator.url()).unwrap();
        Self {
            client: sqlserver::Database::connect(config).await.unwrap(),
            simulator,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn engine(&self) -> Engine {
        Engine::try_new(EngineOptions {
            memory_limit: 64 << 20,
            directory: self.folder.path().to_path_buf(),
            resolver: ConnectionResolver::new(|url, _| Box::pin(async move { Ok(url) })),
        })
        .unwrap()
    }

    /// The pipeline as a new process would have it.
    async fn pipeline(&self) -> Pipeline {
        let statements = parsed(&PIPELINE.replace("URL", &self.simulator.url()));
        Pipeline::bind(self.engine(), statements, None)
            .await
            .unwrap()
    }

    /// Runs the pipeline; answers whether it had to wait for capture, which has gone on then.
    async fn run(&self, run: &Run, model: &mut Model, capture: &CaptureControl) -> bool {
        let pipeline = self.pipeline().await;
        let control = self.simulator.control();
        let fault = run.fault;
        let _fault = fault.map(|fault| control.on_next("c.[__$operation]", fault.fault()));
        let options = RunOptions {
            limits: WindowLimits {
                rows: run.rows,
                transactions: run.transactions,
            },
            ..RunOptions::default()
        };
        let waits = Arc::new(Notify::new());
        let waiting = Arc::clone(&waits);
        let reporter = Reporter::new(move |event| {
            if matches!(event, Event::WaitingForCapture { .. }) {
                waiting.notify_one();
            }
        });
        let running = Polled {
            running: pin!(pipeline.run(options, &reporter)),
            left: run.polls,
        };
        let mut running = pin!(running);
        let mut meanwhile = run.meanwhile.iter();
        let mut has_waited = false;
        loop {
            // A copy that waits looks again and again.
            let mut look = control.on_next(LOOK, Fault::Interjections);
            tokio::select! {
                reports = &mut running => {
                    reports.into_iter().for_each(assert_succeeded);
                    return has_waited;
                }
                () = waits.notified(), if !has_waited => has_waited = true,
                struck = look.struck(), if has_waited => struck.unwrap(),
            }
            let scan = capture.fix_log_end();
            let fixed = model.states.len() - 1;
            if let Some(changes) = meanwhile.next() {
                self.commit(model, changes).await;
            }
            scan.write().await;
            model.captured = fixed;
        }
    }

    async fn commit(&self, model: &mut Model, changes: &Transaction) {
        let batch = model.transaction(changes);
        self.client.execute_batch(&batch).await.unwrap();
    }

    /// Whether a target has a commit.
    fn has(&self, table: usize) -> bool {
        let log = self.lake().join(["a", "b"][table]).join("_delta_log");
        let is_commit = |path: PathBuf| path.extension().is_some_and(|end| end == "json");
        let entries = std::fs::read_dir(log).into_iter().flatten();
        entries.flatten().any(|entry| is_commit(entry.path()))
    }

    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// The rows of a target; none where there is no target.
    async fn rows(&self, table: usize) -> Vec<String> {
        if !self.has(table) {
            return Vec::new();
        }
        let engine = self.engine();
        engine.define_tables(&parsed(PIPELINE), None).await.unwrap();
        let sql = [
            "SELECT id, n FROM a ORDER BY id;",
            "SELECT k, s, n FROM b ORDER BY s;",
        ][table];
        let statements = parsed(sql);
        let frame = engine.query(&statements[0]).await.unwrap();
        let text = pretty_format_batches(&frame.collect().await.unwrap())
            .unwrap()
            .to_string();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        let cells = lines.map(|line| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            cells.collect::<Vec<_>>().join("|")
        });
        cells.collect()
    }
}

fn parsed(text: &str) -> Vec<Statement> {
    let text = SourceText {
        name: "random".to_string(),
        text: text.to_string(),
    };
    parse(&text).unwrap()
}

fn assert_succeeded(reports: Vec<FlowReport>) {
    for report in reports {
        assert!(report.result.is_ok(), "{report:?}");
    }
}

/// A future that is given up when it has been polled so often, if ever.
struct Polled<F> {
    running: F,
    left: Option<u16>,
}

impl<F: Future + Unpin> Future for Polled<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.left {
            Some(0) => return Poll::Ready(None),
            Some(left) => *left -= 1,
            None => {}
        }
        Pin::new(&mut self.running).poll(context).map(Some)
    }
}

async fn holds(steps: &[Step]) {
    let world = World::new().await;
    let mut model = Model::new();
    let whole = Run {
        meanwhile: Vec::new(),
        rows: 1000,
        transactions: None,
        fault: None,
        polls: None,
    };
    let capture = world.simulator.capture_of("app_db").unwrap();
    world.run(&whole, &mut model, &capture).await;
    capture.hold();
    let last = [Step::Capture, Step::Run(whole)];
    for step in steps.iter().chain(&last) {
        match step {
            Step::Transaction(changes) => world.commit(&mut model, changes).await,
            Step::Capture => {
                capture.step().await;
                model.captured = model.states.len() - 1;
            }
            Step::Forget => {
                let _ = std::fs::remove_dir_all(world.lake());
                model.is_forgotten = true;
            }
            Step::Run(run) => {
                let (captured, read) = (model.captured, model.states.len() - 1);
                let since = [0, 1].map(|table| if world.has(table) { captured } else { read });
                let has_waited = world.run(run, &mut model, &capture).await;
                let since = match (&run.polls, has_waited) {
                    (Some(_), _) => [0; 2],
                    (None, true) => since,
                    (None, false) => [captured; 2],
                };
                check(&world, &mut model, since, run.polls.is_none()).await;
            }
        }
    }
}

/// Each target is the source as of a transaction between that of `since` and what was captured last: that one itself,
/// unless the run was cut short or had to wait, when capture has gone on. A copy is no older than its read.
async fn check(world: &World, model: &mut Model, since: [usize; 2], is_whole: bool) {
    for (table, since) in since.into_iter().enumerate() {
        let found = world.rows(table).await;
        let states = &model.states[since..=model.captured];
        let known = states.iter().any(|rows| printed(rows, table) == found);
        let is_absent = !is_whole && model.is_forgotten && found.is_empty();
        assert!(
            known || is_absent,
            "{found:?} is no state of the source from {states:?}"
        );
    }
    if is_whole {
        let oldest = since[0].min(since[1]);
        model.states.drain(..oldest);
        model.captured -= oldest;
        model.is_forgotten = false;
    }
}

#[test]
fn targets_equal_their_sources_whatever_happens() {
    let mut config = Config {
        max_shrink_iters: SHRINKS,
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let checked = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(holds(&steps));
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
