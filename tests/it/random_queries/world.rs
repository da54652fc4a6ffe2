//! The source, the two targets of a query, and what they should be.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{Event, Pipeline, Reporter, RunOptions};
use cdcql::simulator::control::Fault;
use cdcql::simulator::{Behaviour, CaptureControl, Database, Simulator, SimulatorOptions};
use cdcql::source::sqlserver::{self, WindowLimits};
use cdcql::sql::{SourceText, Statement, parse};
use datafusion::arrow::util::pretty::pretty_format_batches;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::cases::{Case, Query, Transaction, batch};

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, s NVARCHAR(10) NULL, r INT NOT NULL);
CREATE TABLE dbo.marks (seq INT NOT NULL PRIMARY KEY);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'marks', @role_name = NULL;
GO
INSERT INTO dbo.a VALUES (0, 1, N'a', 0), (1, NULL, N'bc', 1), (2, 7, NULL, 3);
INSERT INTO dbo.marks VALUES (0);
";

/// A part of the statement by which a copy looks how far capture is.
const LOOK: &str = "AS server_local OPTION";

const TABLES: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'URL');
CREATE TABLE tiers (r INT, tier STRING, w INT) USING DELTA LOCATION 'lake/tiers';
CREATE STREAMING TABLE present LOCATION 'lake/present';
CREATE STREAMING TABLE history (PERIOD FOR SYSTEM_TIME (valid_from, valid_to)) LOCATION 'lake/history';
";

/// The file of a case.
fn file(case: &Case, url: &str) -> String {
    let query = case.query.over("STREAM db.dbo.a CHANGES");
    let track = match case.tracks {
        true => "TRACK HISTORY ON * EXCEPT (v0)",
        false => "",
    };
    format!(
        "{}
         CREATE FLOW present AS AUTO CDC INTO present FROM ({query}) KEYS (id);
         CREATE FLOW history AS AUTO CDC INTO history FROM ({query}) STORED AS SCD TYPE 2 {track};",
        TABLES.replace("URL", url)
    )
}

fn engine(folder: &TempDir) -> Engine {
    Engine::try_new(EngineOptions {
        memory_limit: 64 << 20,
        directory: folder.path().to_path_buf(),
        resolver: ConnectionResolver::new(|url, _| Box::pin(async move { Ok(url) })),
    })
    .unwrap()
}

async fn bound(folder: &TempDir, file: &str) -> Pipeline {
    Pipeline::bind(engine(folder), parsed(file), None)
        .await
        .unwrap()
}

fn parsed(text: &str) -> Vec<Statement> {
    let text = SourceText {
        name: "random".to_string(),
        text: text.to_string(),
    };
    parse(&text).unwrap()
}

/// A state of the source: the commit, and what the query makes of it.
struct State {
    lsn: String,
    asked: Asked,
}

/// What the query makes of the source: all columns, and those whose changes make versions.
#[derive(PartialEq, Eq)]
struct Asked {
    rows: String,
    tracked: String,
}

pub(super) struct World {
    pub(super) capture: CaptureControl,
    simulator: Simulator,
    engine: Engine,
    client: sqlserver::Database,
    folder: TempDir,
    query: Query,
    tracks: bool,
    /// The rows of the source.
    ids: BTreeSet<u8>,
    flows: String,
    pipeline: Pipeline,
    /// The states of the source since the first one that the history tells of.
    states: Vec<State>,
    /// What the query makes of the source after each transaction that is not captured yet.
    pending: Vec<Asked>,
}

impl World {
    pub(super) async fn new(case: &Case) -> Self {
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
        let folder = tempfile::tempdir().unwrap();
        let flows = file(case, &simulator.url());
        let engine = engine(&folder);
        let tables = parsed(&TABLES.replace("URL", &simulator.url()));
        engine.define_all(&tables, None).await.unwrap();
        let insert =
            parsed("INSERT INTO tiers VALUES (0, 'gold', 3), (1, 'tin', NULL), (2, NULL, 1);");
        let inserted = engine.query(&insert[0]).await.unwrap();
        let _ = inserted.collect().await.unwrap();
        let capture = simulator.capture_of("app_db").unwrap();
        let mut world = Self {
            client: sqlserver::Database::connect(config).await.unwrap(),
            pipeline: bound(&folder, &flows).await,
            capture,
            simulator,
            engine,
            folder,
            query: case.query.clone(),
            tracks: case.tracks,
            ids: BTreeSet::from([0, 1, 2]),
            flows,
            states: Vec::new(),
            pending: Vec::new(),
        };
        world.capture.hold();
        let rows = world.expected().await;
        world.pending.push(rows);
        world.settle().await;
        world
    }

    /// Executes transactions, which are not captured yet.
    pub(super) async fn commit(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            let mark = self.states.len() + self.pending.len();
            let batch = batch(transaction, mark, &mut self.ids);
            self.client.execute_batch(&batch).await.unwrap();
            let rows = self.expected().await;
            self.pending.push(rows);
        }
    }

    /// Runs both flows, by the pipeline that has run before or, for a copy `anew`, by another. Capture goes on where one
    /// waits for it.
    pub(super) async fn run(&mut self, transactions: Option<u32>, anew: bool) {
        if anew {
            self.pipeline = bound(&self.folder, &self.flows).await;
        }
        let options = RunOptions {
            anew,
            limits: WindowLimits {
                rows: 1000,
                bytes: RunOptions::WINDOW_BYTES,
                transactions,
            },
            ..RunOptions::default()
        };
        let waiting = Arc::new(Notify::new());
        let told = Arc::clone(&waiting);
        let reporter = Reporter::new(move |event| {
            if matches!(event, Event::WaitingForCapture { .. }) {
                told.notify_one();
            }
        });
        let control = self.simulator.control();
        let mut running = pin!(self.pipeline.run(options, &reporter));
        let mut waits = false;
        let reports = loop {
            // One that waits looks again and again.
            let mut look = control.on_next(LOOK, Fault::Interjections);
            tokio::select! {
                reports = &mut running => break reports,
                () = waiting.notified(), if !waits => waits = true,
                struck = look.struck(), if waits => struck.unwrap(),
            }
            drop(self.capture.step().await);
        };
        for report in reports {
            assert!(report.result.is_ok(), "{report:?}");
        }
    }

    /// Both targets are what they should be.
    pub(super) async fn check(&mut self, when: &str) {
        self.settle().await;
        let (all, tracked) = (self.query.columns(0), self.tracked());
        let ask = async |columns: &str, from: &str| {
            let sql = format!("SELECT {columns} FROM {from} ORDER BY id");
            self.answer(&sql).await
        };
        let last = &self.states.last().unwrap().asked;
        assert_eq!(ask(&all, "present").await, last.rows, "present rows {when}");
        let valid = "history WHERE __END_AT IS NULL";
        assert_eq!(ask(&all, valid).await, last.rows, "valid rows {when}");
        let lsns = self.states.iter().enumerate();
        let lsns: Vec<_> = lsns
            .map(|(n, state)| format!("({n}, '{}')", state.lsn))
            .collect();
        let then = format!(
            "SELECT commits.n, {tracked} FROM (VALUES {}) AS commits (n, lsn) JOIN history
             ON __START_AT <= lsn AND (__END_AT IS NULL OR __END_AT > lsn) ORDER BY n, id",
            lsns.join(", ")
        );
        let found = self.answer(&then).await;
        let expected = self.states.iter().enumerate().flat_map(|(n, state)| {
            let rows = state.asked.tracked.lines();
            rows.map(move |row| format!("{n} {row}"))
                .collect::<Vec<_>>()
        });
        let found: Vec<_> = found.lines().collect();
        assert_eq!(found, expected.collect::<Vec<_>>(), "versions {when}");
        let broken = self
            .answer(
                "SELECT id FROM history WHERE __END_AT <= __START_AT OR valid_to < valid_from
                 UNION ALL SELECT id FROM history GROUP BY id, __START_AT HAVING count(*) > 1",
            )
            .await;
        assert_eq!(broken, "", "versions {when}");
    }

    fn tracked(&self) -> String {
        self.query.columns(usize::from(self.tracks))
    }

    /// What the query makes of the source now.
    async fn expected(&self) -> Asked {
        let query = self.query.over("db.dbo.a");
        let ask = async |columns: &str| {
            let sql = format!("SELECT {columns} FROM ({query}) AS asked ORDER BY id");
            self.answer(&sql).await
        };
        let rows = ask(&self.query.columns(0)).await;
        let tracked = match self.tracks {
            true => ask(&self.tracked()).await,
            false => rows.clone(),
        };
        Asked { rows, tracked }
    }

    /// Finds the commits of the states that are pending.
    async fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let known = self.states.len();
        let marks = "SELECT _commit_version FROM db.dbo.marks CHANGES ORDER BY seq";
        let lsns = self.answer(marks).await;
        let lsns: Vec<_> = lsns.lines().skip(known).map(str::to_string).collect();
        assert_eq!(
            lsns.len(),
            self.pending.len(),
            "transactions that are captured"
        );
        let states = lsns.into_iter().zip(self.pending.drain(..));
        self.states
            .extend(states.map(|(lsn, asked)| State { lsn, asked }));
    }

    async fn answer(&self, sql: &str) -> String {
        let statements = parsed(&format!("{sql};"));
        let frame = self.engine.query(&statements[0]).await.unwrap();
        let batches = frame.collect().await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        cells
            .map(|cells| format!("{}\n", cells.join(" ").trim()))
            .collect()
    }
}
