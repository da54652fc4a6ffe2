//! Sessions against databases, as a client sees them.

mod calls;
mod capture;
mod capture_images;
mod case_sensitive;
mod catalogue;
mod client_queries;
mod control;
mod definitions;
mod errors;
mod functions;
mod guards;
mod hostile;
mod languages;
mod locks;
mod permissions;
mod procedures;
mod queries;
mod record;
mod replicas;
mod scans;
mod semantics;
mod transactions;
mod tutorial;
mod types;
mod values;

use tokio::sync::mpsc;

use super::protocol::{Column, Parameter, Reply, ServerError, TransactionEvent};
use super::session::{Login, Session};
use super::types::{Value, bytes_to_hex, text_of, values_of};
use super::{Behaviour, CaptureBehaviour, Database};

/// What a batch answered.
#[derive(Debug, Default)]
struct Answer {
    /// Columns and rows of each result set, the rows as texts.
    results: Vec<(Vec<Column>, Vec<Vec<String>>)>,
    counts: Vec<Option<u64>>,
    errors: Vec<ServerError>,
    messages: Vec<String>,
    events: Vec<TransactionEvent>,
}

impl Answer {
    /// The rows of the only result set.
    fn rows(&self) -> &[Vec<String>] {
        assert!(self.errors.is_empty(), "{:?}", self.errors);
        assert_eq!(self.results.len(), 1);
        &self.results[0].1
    }

    /// The rows with `|` between values.
    fn lines(&self) -> Vec<String> {
        self.rows().iter().map(|row| row.join("|")).collect()
    }

    /// The only value.
    fn value(&self) -> &str {
        let rows = self.rows();
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{rows:?}");
        &rows[0][0]
    }

    fn names(&self) -> Vec<&str> {
        self.results[0].0.iter().map(|c| c.name.as_str()).collect()
    }

    /// The numbers of the errors.
    fn numbers(&self) -> Vec<u32> {
        self.errors.iter().map(|error| error.number).collect()
    }
}

fn text(value: &Value, column: &Column) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bytes(bytes) => format!("0x{}", bytes_to_hex(bytes)),
        other => text_of(other, column.sql_type, 121).unwrap(),
    }
}

async fn collect(mut receiver: mpsc::Receiver<Reply>) -> Answer {
    let mut answer = Answer::default();
    while let Some(reply) = receiver.recv().await {
        match reply {
            Reply::Columns(columns) => answer.results.push((columns.to_vec(), Vec::new())),
            Reply::Rows(batch) => {
                let (columns, rows) = answer.results.last_mut().unwrap();
                for (field, column) in batch.schema().fields().iter().zip(columns.iter()) {
                    assert_eq!(*field.data_type(), column.sql_type.arrow_form());
                }
                let values: Vec<Vec<Value>> = batch
                    .columns()
                    .iter()
                    .map(|array| values_of(array).unwrap())
                    .collect();
                for row in 0..batch.num_rows() {
                    let texts = values.iter().zip(columns.iter());
                    rows.push(texts.map(|(v, column)| text(&v[row], column)).collect());
                }
            }
            Reply::Done { rows, .. } => answer.counts.push(rows),
            Reply::Error(error) => answer.errors.push(error),
            Reply::Info(message) => answer.messages.push(message.message),
            Reply::Transaction(event) => answer.events.push(event),
            Reply::Output(_) => {}
            Reply::Database { .. } | Reply::Language { .. } => {}
        }
    }
    answer
}

async fn run_with(session: &mut Session, sql: &str, parameters: &[Parameter]) -> Answer {
    let (sender, receiver) = mpsc::channel(4);
    let work = async {
        session.run(sql, parameters, &sender).await;
        drop(sender);
    };
    futures::future::join(work, collect(receiver)).await.1
}

/// Runs the text of a `sp_executesql`.
async fn call(session: &mut Session, sql: &str) -> Answer {
    let (sender, receiver) = mpsc::channel(4);
    let work = async {
        session.call(sql, &[], &sender).await;
        drop(sender);
    };
    futures::future::join(work, collect(receiver)).await.1
}

async fn run(session: &mut Session, sql: &str) -> Answer {
    run_with(session, sql, &[]).await
}

async fn database(script: &str) -> Database {
    Database::from_script("app_db", "test.sql", script)
        .await
        .unwrap()
}

fn open(database: &Database) -> Session {
    let login = Login {
        session_id: 51,
        user: "sa".to_owned(),
        ..Login::default()
    };
    database.session(login).unwrap()
}

/// A session of another login.
fn log_in(database: &Database, user: &str) -> Result<Session, ServerError> {
    database.session(Login {
        session_id: 52,
        user: user.to_owned(),
        ..Login::default()
    })
}

/// A session of a new database made by a script, on a server whose capture behaves so.
async fn behaving(script: &str, capture: CaptureBehaviour) -> (Session, Database) {
    let behaviour = Behaviour {
        seed: Some(7),
        capture,
        ..Behaviour::orderly()
    };
    let database = Database::from_script_with("app_db", "test.sql", script, &behaviour)
        .await
        .unwrap();
    (open(&database), database)
}

/// A session of a new database made by a script.
async fn session(script: &str) -> Session {
    open(&database(script).await)
}

/// Runs a statement that must not fail.
async fn ok(session: &mut Session, sql: &str) -> Answer {
    let answer = run(session, sql).await;
    assert!(answer.errors.is_empty(), "{sql}: {:?}", answer.errors);
    answer
}
