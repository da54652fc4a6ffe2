//! A served database and a temporary project, and the connections that the files name.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::error::Error;
use cdcql::pipeline::{FlowReport, FlowResult, Pipeline, Reporter, RunOptions};
use cdcql::simulator::Behaviour;
use cdcql::sql::{Parameters, SourceText, Statement, parse_all};
use sqllogictest::{Connection, DB, DBOutput};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::rows::{Type, answer};
use crate::source::Source;

const SCRIPT: &str = "EXEC sys.sp_cdc_enable_db;";

/// What every pipeline file of the tests begins with.
const CONNECTION: &str =
    "CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');";

/// The statement that runs the last pipeline file again.
const RUN: &str = "RUN";

/// An error as a person would be told it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Told(String);

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        let mut told = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !told.contains(&text) {
                told.push_str(&format!("\ncaused by: {text}"));
            }
            cause = error.source();
        }
        Self(told)
    }
}

/// What all connections of a file share.
pub(super) struct World(Arc<Shared>);

struct Shared {
    runtime: Runtime,
    source: Source,
    project: TempDir,
    /// The text of the last pipeline file.
    file: Mutex<String>,
    parameters: Mutex<Parameters>,
    /// The name of the connection that comes next.
    expected: Mutex<Connection>,
}

impl World {
    pub(super) fn new() -> Self {
        let behaviour = Behaviour {
            seed: Some(7),
            ..Behaviour::default()
        };
        let runtime = Runtime::new().unwrap();
        let source = runtime.block_on(Source::anywhere(SCRIPT, behaviour));
        Self(Arc::new(Shared {
            runtime,
            source,
            project: tempfile::tempdir().unwrap(),
            file: Mutex::default(),
            parameters: Mutex::default(),
            expected: Mutex::new(Connection::Default),
        }))
    }

    /// The connection that is made next is this one.
    pub(super) fn expect(&self, connection: &Connection) {
        set(&self.0.expected, connection.clone());
    }

    /// The connection that is expected.
    pub(super) fn session(&self) -> Result<Session, Told> {
        let speaks = match get(&self.0.expected) {
            Connection::Default => Speaks::Queries,
            Connection::Named(name) => match name.as_str() {
                "source" => Speaks::TransactSql,
                "pipeline" => Speaks::Pipelines,
                "parameters" => Speaks::Parameters,
                _ => return Err(Told(format!("there is no connection '{name}'"))),
            },
        };
        Ok(Session {
            shared: Arc::clone(&self.0),
            speaks,
        })
    }
}

/// A connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    speaks: Speaks,
}

#[derive(Clone, Copy)]
enum Speaks {
    Queries,
    TransactSql,
    Pipelines,
    Parameters,
}

impl DB for Session {
    type Error = Told;
    type ColumnType = Type;

    fn run(&mut self, text: &str) -> Result<DBOutput<Type>, Told> {
        let shared = &self.shared;
        shared.runtime.block_on(async {
            match self.speaks {
                Speaks::Queries => Box::pin(shared.query(text)).await,
                Speaks::TransactSql => shared.execute(text).await,
                Speaks::Pipelines => Box::pin(shared.run(text)).await,
                Speaks::Parameters => shared.give(text),
            }
        })
    }
}

impl Shared {
    /// Executes statements at the source; what they change is captured then.
    async fn execute(&self, text: &str) -> Result<DBOutput<Type>, Told> {
        self.source.execute(text).await;
        Ok(DBOutput::StatementComplete(0))
    }

    /// Takes values of parameters, a `name=value` a line, in the place of those before.
    fn give(&self, text: &str) -> Result<DBOutput<Type>, Told> {
        let mut parameters = Parameters::default();
        for line in text.lines() {
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| Told(format!("no value: {line}")))?;
            if !parameters.set(name, value) {
                return Err(Told(format!("a second value: {line}")));
            }
        }
        set(&self.parameters, parameters);
        Ok(DBOutput::StatementComplete(0))
    }

    /// Answers statements as `cdcql query --pipeline` does, with the last pipeline file; the rows are those of the last.
    async fn query(&self, text: &str) -> Result<DBOutput<Type>, Told> {
        let engine = self.engine()?;
        let file = self.path();
        let pipeline = self.pipeline(&get(&self.file))?;
        engine.define_all(&pipeline, Some(&file)).await?;
        let mut output = DBOutput::StatementComplete(0);
        for statement in self.parsed("query", text)? {
            if engine.define(&statement, None).await?.is_some() {
                continue;
            }
            let frame = engine.query(&statement).await?;
            let schema = Arc::clone(frame.schema().inner());
            let batches = frame.collect().await;
            let batches =
                batches.map_err(|error| Error::from_datafusion(error, Some(&statement)))?;
            output = answer(&schema, &batches);
        }
        Ok(output)
    }

    /// Runs a pipeline file, which is kept if it can be run: how many rows were not as each of its flows expected.
    async fn run(&self, text: &str) -> Result<DBOutput<Type>, Told> {
        let text = match text.trim() {
            RUN => get(&self.file),
            _ => text.to_string(),
        };
        let statements = self.pipeline(&text)?;
        let pipeline = Pipeline::bind(self.engine()?, statements, Some(&self.path())).await?;
        set(&self.file, text);
        let options = RunOptions::default();
        let reports = pipeline.run(options, &Reporter::new(|_| {})).await;
        let rows = reports.into_iter().map(violations);
        let rows: Vec<Vec<Vec<String>>> = rows.collect::<Result<_, _>>()?;
        Ok(DBOutput::Rows {
            types: vec![Type::Text, Type::Text, Type::Integer],
            rows: rows.concat(),
        })
    }

    fn engine(&self) -> Result<Engine, Error> {
        let url = self.source.url();
        Engine::try_new(EngineOptions {
            memory_limit: 64 << 20,
            directory: self.project.path().to_path_buf(),
            resolver: ConnectionResolver::new(move |_, _| {
                let url = url.clone();
                Box::pin(async move { Ok(url) })
            }),
        })
    }

    fn path(&self) -> PathBuf {
        self.project.path().join("pipeline.sql")
    }

    /// The statements of a pipeline file, with its connection.
    fn pipeline(&self, text: &str) -> Result<Vec<Statement>, Told> {
        let mut statements = self.parsed("connection", CONNECTION)?;
        statements.extend(self.parsed("pipeline.sql", text)?);
        Ok(statements)
    }

    fn parsed(&self, name: &str, text: &str) -> Result<Vec<Statement>, Told> {
        let text = SourceText {
            name: name.to_string(),
            text: text.to_string(),
        };
        let parsed = parse_all(&text, &get(&self.parameters));
        match parsed.errors.is_empty() {
            true => Ok(parsed.statements),
            false => Err(Told::from(Error::Invalid {
                diagnostics: parsed.errors,
                more: parsed.more,
            })),
        }
    }
}

/// The flow, the expectation and the rows of each that was violated.
fn violations(report: FlowReport) -> Result<Vec<Vec<String>>, Error> {
    let violations = match report.result? {
        FlowResult::Copied { violations, .. } | FlowResult::Applied { violations, .. } => {
            violations
        }
        FlowResult::UpToDate { .. } => Vec::new(),
    };
    let violated = violations.into_iter().filter(|one| one.rows > 0);
    let rows = violated.map(|one| vec![report.flow.clone(), one.expectation, one.rows.to_string()]);
    Ok(rows.collect())
}

fn get<T: Clone>(cell: &Mutex<T>) -> T {
    cell.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(cell: &Mutex<T>, value: T) {
    *cell.lock().unwrap_or_else(PoisonError::into_inner) = value;
}
