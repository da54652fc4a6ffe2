//! `cdcql demo`: the tutorial as a story, with real runs over the wire.

use std::path::Path;

use super::embedded::database_name;
use super::output::write_out;
use super::progress::{self, Lines};
use super::rows::{Out, Printer, RowFormat};
use super::session::Session;
use crate::engine::{ConnectionResolver, EngineOptions, MAIN};
use crate::error::Error;
use crate::pipeline::{Pipeline, RunOptions};
use crate::simulator::{Database, Simulator, SimulatorOptions};
use crate::source::sqlserver::{ConnectionConfig, Database as Client};

const SCRIPT: &str = include_str!("../../pipelines/app_db.sql");
const PIPELINE: &str = include_str!("../../pipelines/customers.sql");
/// How the tutorial's pipeline finds its server; the demo never follows the environment variable.
const URL_IN_PIPELINE: &str = "env('APP_DB_URL', 'embedded:app_db.sql')";
const TARGET: &str = "SELECT * FROM customers ORDER BY customer_id;";

/// Versions of the history that the story shows.
const HISTORY: usize = 10;

/// One step: what happens at the source, said and done.
struct Step {
    title: &'static str,
    statements: &'static [&'static str],
}

const STEPS: [Step; 2] = [
    Step {
        title: "Lex Luthor inserts himself and changes Clark's email",
        statements: &[
            "INSERT INTO dbo.customers (first_name, last_name, email, city)\n\
             VALUES (N'Lex', N'Luthor', N'lex@lexcorp.example', N'Metropolis');",
            "UPDATE dbo.customers SET email = N'clark@lexcorp.example' WHERE first_name = N'Clark';",
        ],
    },
    Step {
        title: "Cyborg deletes Lex, sets Clark's email back and his city to Smallville",
        statements: &[
            "DELETE FROM dbo.customers WHERE first_name = N'Lex';",
            "UPDATE dbo.customers SET email = N'clark@dailyplanet.example', city = N'Smallville'\n\
             WHERE first_name = N'Clark';",
        ],
    },
];

/// Tells the story on stdout, in a temporary folder that is removed at the end.
pub(super) async fn run() -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(|source| Error::Output { source })?;
    let simulator = start().await?;
    let url = simulator.url();
    say("A SQL Server database, app_db, with CDC enabled on dbo.customers:")?;
    show_statements(&[SCRIPT])?;
    let story = Story {
        url: url.clone(),
        pipeline: write_pipeline(folder.path())?,
        application: Client::connect(ConnectionConfig::from_url(&url)?).await?,
    };
    say("The pipeline that keeps a Delta table true to it:")?;
    show_statements(&[PIPELINE])?;
    say("$ cdcql run customers.sql      -- the snapshot, and the first changes")?;
    story.run_pipeline().await?;
    for step in &STEPS {
        say(step.title)?;
        show_statements(step.statements)?;
        for statement in step.statements {
            story.application.execute_batch(statement).await?;
        }
        say("$ cdcql run customers.sql")?;
        story.run_pipeline().await?;
    }
    story.finish().await
}

async fn start() -> Result<Simulator, Error> {
    let failed = |source: crate::simulator::SimulatorError| Error::Connection {
        name: "app_db".to_string(),
        source: source.into(),
    };
    let database = Database::from_script(
        &database_name(Path::new("app_db.sql")),
        "app_db.sql",
        SCRIPT,
    )
    .await
    .map_err(failed)?;
    Simulator::start(database, SimulatorOptions::default())
        .await
        .map_err(failed)
}

fn write_pipeline(folder: &Path) -> Result<std::path::PathBuf, Error> {
    let path = folder.join("customers.sql");
    let text = PIPELINE.replace(URL_IN_PIPELINE, "'embedded:app_db.sql'");
    std::fs::write(&path, text).map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// The running server, and the two sides that use it.
struct Story {
    url: String,
    pipeline: std::path::PathBuf,
    application: Client,
}

impl Story {
    /// A new session, as every `cdcql run` is, against the one running server.
    fn session(&self) -> Result<Session, Error> {
        let url = self.url.clone();
        let resolver = ConnectionResolver::new(move |_, _| {
            let url = url.clone();
            Box::pin(async move { Ok(url) })
        });
        Session::with_resolver(resolver, EngineOptions::DEFAULT_MEMORY_LIMIT)
    }

    async fn run_pipeline(&self) -> Result<(), Error> {
        let session = self.session()?;
        let statements = session.read(&self.pipeline).await?;
        let pipeline =
            Pipeline::bind(session.engine.clone(), statements, Some(&self.pipeline)).await?;
        for report in pipeline
            .run(
                RunOptions::default(),
                &progress::reporter(true, Lines::OfParts),
            )
            .await
        {
            if let Some(line) = progress::summary(&report) {
                write_out(&format!("{line}\n"))?;
            }
            let _ = report.result?;
        }
        self.show(TARGET).await
    }

    async fn show(&self, sql: &str) -> Result<(), Error> {
        let session = self.session()?;
        let _ = session.load(&self.pipeline).await?;
        let mut printer = Printer::try_new(RowFormat::default(), Out::stdout())?;
        session.execute("demo", sql, None, &mut printer).await
    }

    async fn finish(&self) -> Result<(), Error> {
        say("All is well. The Delta table's history:")?;
        let session = self.session()?;
        let _ = session.load(&self.pipeline).await?;
        for entry in session
            .engine
            .history(MAIN, "customers", HISTORY)
            .await?
            .iter()
            .rev()
        {
            let lsn = entry.lsn.map(|lsn| lsn.to_string()).unwrap_or_default();
            let operation = entry.operation.as_deref().unwrap_or_default();
            write_out(&format!(
                "  version {}  {operation:<6} LSN {lsn}  {} inserted, {} updated, {} deleted\n",
                entry.version, entry.rows.inserted, entry.rows.updated, entry.rows.deleted
            ))?;
        }
        say("Any version can be read again, and source and target can be joined in one query:")?;
        let sql = "SELECT s.customer_id, s.city AS city_in_sql_server, t.city AS city_in_delta\n\
                   FROM app_db.dbo.customers AS s JOIN customers AS t ON t.customer_id = s.customer_id\n\
                   ORDER BY s.customer_id;";
        show_statements(&[sql])?;
        self.show(sql).await
    }
}

fn say(text: &str) -> Result<(), Error> {
    write_out(&format!("\n== {text}\n"))
}

fn show_statements(statements: &[&str]) -> Result<(), Error> {
    let indented: Vec<String> = statements
        .iter()
        .flat_map(|statement| statement.lines())
        .map(|line| format!("    {line}"))
        .collect();
    write_out(&format!("\n{}\n\n", indented.join("\n")))
}
