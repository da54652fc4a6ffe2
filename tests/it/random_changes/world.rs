//! The source and its targets.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use cdcql::change::Lsn;
use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{Event, FlowReport, Pipeline, Reporter, RunOptions};
use cdcql::simulator::control::Fault;
use cdcql::simulator::{
    Behaviour, CaptureBehaviour, CaptureControl, Database, Simulator, SimulatorOptions,
};
use cdcql::sink::delta::DeltaTarget;
use cdcql::source::sqlserver::{self, WindowLimits};
use cdcql::sql::{SourceText, Statement, parse};
use datafusion::arrow::util::pretty::pretty_format_batches;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::model::Model;
use super::steps::{Run, Transaction};
use crate::simulate::{connect, rows};

const PASSWORD: &str = "Pa55word!";

/// The capture instances of both tables.
const INSTANCES: [&str; 2] = ["dbo_a", "dbo_b"];

/// A part of the statements that read the chunks of a table.
const READ: &str = "t.[n], t.[note]";

/// A part of the statement by which a copy looks how far capture is.
const LOOK: &str = "AS server_local OPTION";

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, note NVARCHAR(MAX) NULL, gone INT NULL);
CREATE TABLE dbo.b (k VARCHAR(4) NOT NULL, s INT NOT NULL, n INT NULL, note VARCHAR(MAX) NULL, PRIMARY KEY (k, s));
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
GO
INSERT INTO dbo.a VALUES (0, 0, N'0', 0), (1, 1, N'1', 1);
INSERT INTO dbo.b VALUES ('x', 0, 0, '0'), ('Y', 1, 1, '1');
";

/// What a case is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    /// Images after an update lack the notes that it did not change.
    pub(super) omits: bool,
    /// An update of one row's key is captured as an update.
    pub(super) moves: bool,
    /// Whether columns that come to `a` come to its target.
    pub(super) adds: bool,
    /// Which of the tables are copied.
    pub(super) copied: [bool; 2],
}

/// Where changes are lost, the flow `a` ends, and `b` is copied again.
const TABLES: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'URL');
CREATE TABLE IF NOT EXISTS a USING DELTA LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = 'POLICY');
CREATE TABLE IF NOT EXISTS b USING DELTA LOCATION 'lake/b' TBLPROPERTIES ('cdcql.onGap' = 'resnapshot');
";

const FLOWS: [&str; 2] = [
    "\
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
",
    "\
MERGE INTO b AS target USING STREAM db.dbo.b CHANGES AS change ON target.k = change.k AND target.s = change.s
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
",
];

/// How a run has ended.
pub(super) struct Ended {
    /// Whether it had to wait for capture, which has gone on then.
    pub(super) has_waited: bool,
    /// What the flows have come to; `None` if it was cut short.
    pub(super) reports: Option<Vec<FlowReport>>,
}

/// A served database and the lake it is copied to.
pub(super) struct World {
    pub(super) simulator: Simulator,
    subject: Subject,
    client: sqlserver::Database,
    folder: TempDir,
}

impl World {
    pub(super) async fn new(subject: Subject) -> Self {
        let behaviour = Behaviour {
            seed: Some(5),
            capture: CaptureBehaviour {
                updates_omit_unchanged_values: subject.omits,
                trace_flag_8207: subject.moves,
                ..CaptureBehaviour::default()
            },
            ..Behaviour::default()
        };
        let database = Database::from_script_with("app_db", "a.sql", SCRIPT, &behaviour);
        let options = SimulatorOptions {
            behaviour: behaviour.clone(),
            password: Some(PASSWORD.to_owned()),
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(database.await.unwrap(), options)
            .await
            .unwrap();
        let config = sqlserver::ConnectionConfig::from_url(&simulator.url()).unwrap();
        Self {
            client: sqlserver::Database::connect(config).await.unwrap(),
            simulator,
            subject,
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

    /// The tables that are copied.
    pub(super) fn tables(&self) -> impl Iterator<Item = usize> {
        let copied = self.subject.copied;
        (0..2).filter(move |table| copied[*table])
    }

    /// The pipeline as a new process would have it.
    pub(super) async fn pipeline(&self) -> Pipeline {
        let flows = self.tables().map(|table| FLOWS[table]);
        let text = TABLES.to_string() + &flows.collect::<String>();
        let policy = if self.subject.adds { "add" } else { "ignore" };
        let text = text.replace("POLICY", policy);
        let statements = parsed(&text.replace("URL", &self.simulator.url()));
        Pipeline::bind(self.engine(), statements, None)
            .await
            .unwrap()
    }

    /// Runs the pipeline. Where it has to wait for capture, capture goes on.
    pub(super) async fn run(
        &self,
        pipeline: &Pipeline,
        run: &Run,
        model: &mut Model,
        capture: &CaptureControl,
    ) -> Ended {
        let control = self.simulator.control();
        let fault = run.fault;
        let _fault = fault.map(|fault| control.on_next("c.[__$operation]", fault.fault()));
        let options = RunOptions {
            anew: run.snapshots,
            chunk_rows: Some(2),
            limits: WindowLimits {
                rows: run.rows,
                bytes: RunOptions::WINDOW_BYTES,
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
            // Writers come between the chunks.
            let mut read = control.on_next(READ, Fault::Stall);
            tokio::select! {
                reports = &mut running => return Ended { has_waited, reports },
                () = waits.notified(), if !has_waited => has_waited = true,
                struck = look.struck(), if has_waited => struck.unwrap(),
                struck = read.struck() => {
                    struck.unwrap();
                    if let Some(changes) = meanwhile.next() {
                        self.commit(model, changes).await;
                    }
                    continue;
                }
            }
            drop(read);
            let scan = capture.fix_log_end();
            let fixed = model.newest();
            if let Some(changes) = meanwhile.next() {
                self.commit(model, changes).await;
            }
            scan.write().await;
            model.captured = fixed;
        }
    }

    pub(super) async fn commit(&self, model: &mut Model, changes: &Transaction) {
        let batch = model.transaction(changes);
        self.client.execute_batch(&batch).await.unwrap();
    }

    pub(super) async fn alter(&self, batch: &str) {
        self.client.execute_batch(batch).await.unwrap();
    }

    /// Whether the target of `a` has what came later.
    pub(super) async fn has_extra(&self) -> bool {
        let location = self.lake().join("a");
        let target = DeltaTarget::open(location.to_str().unwrap(), HashMap::new());
        let schema = target.await.unwrap().schema();
        schema.is_some_and(|schema| schema.index_of("extra").is_ok())
    }

    /// Calls the clean-up of a table's changes.
    pub(super) async fn clean_up(&self, table: usize, part: u8) {
        let instance = INSTANCES[table];
        let marks = self
            .lsns(&format!(
                "SELECT m.start_lsn FROM cdc.lsn_time_mapping AS m JOIN cdc.change_tables AS c \
                 ON c.start_lsn <= m.start_lsn WHERE c.capture_instance = N'{instance}' ORDER BY m.start_lsn"
            ))
            .await;
        let Some(mark) = marks.get(marks.len() * usize::from(part) / 256) else {
            return;
        };
        let mark = mark.to_hex();
        let call = format!("EXEC sys.sp_cdc_cleanup_change_table N'{instance}', 0x{mark};");
        self.client.execute_batch(&call).await.unwrap();
    }

    /// Whether changes past a target's checkpoint may have been cleaned up.
    pub(super) async fn is_purged(&self, pipeline: &Pipeline, table: usize) -> bool {
        if !self.has(table) {
            return false;
        }
        let location = self.lake().join(["a", "b"][table]);
        let target = DeltaTarget::open(location.to_str().unwrap(), HashMap::new());
        let target = target.await.unwrap();
        let place = self.tables().position(|copied| copied == table);
        let key = pipeline.flows()[place.unwrap()].key();
        let Some(checkpoint) = target.checkpoint(key).await.unwrap() else {
            return false;
        };
        let name = ["dbo.a", "dbo.b"][table];
        let low = self
            .lsns(&format!(
                "SELECT start_lsn FROM cdc.change_tables WHERE source_object_id = OBJECT_ID(N'{name}') \
                 AND start_lsn IS NOT NULL ORDER BY start_lsn"
            ))
            .await;
        checkpoint.lsn.increment().unwrap() < low[0]
    }

    async fn lsns(&self, sql: &str) -> Vec<Lsn> {
        let address = self.simulator.address().to_string();
        let mut client = connect(&address, "app_db", PASSWORD).await;
        let rows = rows(&mut client, sql).await;
        let lsn = |row: &tiberius::Row| Lsn::from_slice(row.get::<&[u8], _>(0).unwrap());
        rows.iter().map(|row| lsn(row).unwrap()).collect()
    }

    /// Whether a target has a commit.
    pub(super) fn has(&self, table: usize) -> bool {
        let log = self.lake().join(["a", "b"][table]).join("_delta_log");
        let is_commit = |path: PathBuf| path.extension().is_some_and(|end| end == "json");
        let entries = std::fs::read_dir(log).into_iter().flatten();
        entries.flatten().any(|entry| is_commit(entry.path()))
    }

    pub(super) fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// The rows of a target, with what came later if that is `told`; none where there is no target.
    pub(super) async fn rows(&self, table: usize, told: bool) -> Vec<String> {
        if !self.has(table) {
            return Vec::new();
        }
        let engine = self.engine();
        let tables = TABLES.replace("POLICY", "add");
        engine.define_tables(&parsed(&tables), None).await.unwrap();
        let sql = [
            match told {
                true => "SELECT id, n, note, extra FROM a ORDER BY id;",
                false => "SELECT id, n, note FROM a ORDER BY id;",
            },
            "SELECT k, s, n, note FROM b ORDER BY s;",
        ][table];
        let statements = parsed(sql);
        let frame = engine.query(&statements[0]).await.unwrap();
        let text = pretty_format_batches(&frame.collect().await.unwrap())
            .unwrap()
            .to_string();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        let cells = lines.map(|line| {
            let line = line
                .strip_prefix('|')
                .and_then(|line| line.strip_suffix('|'));
            let cells = line.unwrap().split('|').map(str::trim);
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
