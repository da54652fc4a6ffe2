//! Servers that misbehave: errors after rows, silence, refusals, connections that are given up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use futures::StreamExt;
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::*;
use crate::simulator::Behaviour;
use crate::simulator::control::Control;
use crate::simulator::protocol::{
    Collation, Column, Length, Parameter, Reply, ServerError, SqlType,
};
use crate::simulator::server::{Certificate, Server as Listener, ServerOptions, Tls};
use crate::simulator::wire::Backend;
use crate::source::sqlserver::ErrorKind;

/// What reading `dbo.t`, a table with one column `id int`, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ErrorAfterRows,
    Denied,
    Silence,
    Endless,
}

/// What all sessions of one server share.
#[derive(Debug, Default)]
struct Seen {
    sessions: AtomicUsize,
    /// Sessions up to this number answer nothing more, as behind a firewall that forgot them.
    forgotten: AtomicUsize,
    batches: Mutex<Vec<String>>,
    control: Control,
}

/// A session that knows just enough of the catalogue to be connected to.
struct Faulty {
    fault: Fault,
    number: usize,
    seen: Arc<Seen>,
}

impl Backend for Faulty {
    fn database(&self) -> &str {
        "d"
    }

    async fn reset(&mut self) {}

    async fn run(&mut self, sql: &str, _: &[Parameter], replies: &mpsc::Sender<Reply>) {
        if self.number <= self.seen.forgotten.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        self.seen.batches.lock().unwrap().push(sql.to_string());
        let answer = if sql.contains("sys.databases") {
            result(vec![text("name", "d"), int("is_cdc_enabled", &[1])])
        } else if sql.contains("sys.tables") {
            let names = [text("schema_name", "dbo"), text("table_name", "t")];
            result([names.to_vec(), vec![int("object_id", &[5])]].concat())
        } else if sql.contains("sys.columns") {
            let names = ["name", "base_type", "declared_type"]
                .into_iter()
                .zip(["id", "int", "int"]);
            let mut cells = names
                .map(|(name, value)| text(name, value))
                .collect::<Vec<_>>();
            let numbers = [
                ("max_length", 4),
                ("precision", 10),
                ("scale", 0),
                ("is_encrypted", 0),
                ("is_nullable", 0),
            ];
            cells.extend(numbers.map(|(name, value)| int(name, &[value])));
            cells.push(text("collation_name", "Latin1_General_CI_AS"));
            cells.push(int("code_page", &[1252]));
            cells.push(int("is_masked", &[0]));
            cells.push(int("shows_masks", &[0]));
            result(cells)
        } else if sql.contains("FROM [dbo].[t]") {
            match self.fault {
                Fault::None => result(vec![int("id", &[1, 2, 3])]),
                Fault::ErrorAfterRows => {
                    let mut answer = result(vec![int("id", &[1, 2, 3])]);
                    answer.truncate(2);
                    answer.push(error(1205, "deadlocked"));
                    answer
                }
                Fault::Denied => vec![error(229, "The SELECT permission was denied.")],
                Fault::Silence => return std::future::pending().await,
                Fault::Endless => return endless(replies).await,
            }
        } else {
            vec![done(None)]
        };
        for reply in answer {
            if replies.send(reply).await.is_err() {
                return;
            }
        }
    }
}

async fn endless(replies: &mpsc::Sender<Reply>) {
    let rows = result(vec![int("id", &[7; 5000])]);
    let mut next = rows[0].clone();
    while replies.send(next).await.is_ok() {
        next = rows[1].clone();
    }
}

type Cell = (Column, ArrayRef);

fn text(name: &str, value: &str) -> Cell {
    let sql_type = SqlType::NVarChar(Length::Limited(128));
    (
        column(name, sql_type),
        Arc::new(StringArray::from(vec![value])),
    )
}

fn int(name: &str, values: &[i32]) -> Cell {
    (
        column(name, SqlType::Int),
        Arc::new(Int32Array::from(values.to_vec())),
    )
}

fn column(name: &str, sql_type: SqlType) -> Column {
    Column {
        name: name.to_string(),
        sql_type,
        collation: Collation::SERVER,
        nullable: true,
        identity: false,
    }
}

fn result(cells: Vec<Cell>) -> Vec<Reply> {
    let (columns, arrays): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
    let fields = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true))
        .collect::<Vec<_>>();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let rows = batch.num_rows() as u64;
    vec![
        Reply::Columns(columns.into()),
        Reply::Rows(batch),
        done(Some(rows)),
    ]
}

fn done(rows: Option<u64>) -> Reply {
    Reply::Done { rows, select: true }
}

fn error(number: u32, message: &str) -> Reply {
    Reply::Error(ServerError {
        number,
        severity: 13,
        state: 45,
        line: 1,
        message: message.to_string(),
    })
}

async fn listen(fault: Fault) -> (Listener, Database, Arc<Seen>) {
    listen_with(fault, "command_timeout=1").await
}

async fn listen_with(fault: Fault, timeouts: &str) -> (Listener, Database, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    let options = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        user: "u".to_string(),
        password: SecretString::from("p"),
        tls: Tls::Optional,
        certificate: Certificate::default(),
        behaviour: Behaviour::default(),
        control: seen.control.clone(),
    };
    let sessions = move |_: &_| {
        let number = shared.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let seen = Arc::clone(&shared);
        Ok(Faulty {
            fault,
            number,
            seen,
        })
    };
    let listener = Listener::bind(options, Arc::new(sessions)).await.unwrap();
    let url = format!(
        "sqlserver://u:p@{}/d?trust_server_certificate=true&{timeouts}",
        listener.address()
    );
    let config = ConnectionConfig::from_url(&url).unwrap();
    let database = Database::connect(config).await.unwrap();
    (listener, database, seen)
}

async fn read(database: &Database) -> Result<Vec<String>, DataFusionError> {
    let table = database.table("dbo", "t").await.unwrap().unwrap();
    rows(table, "SELECT * FROM t").await
}

#[tokio::test]
async fn one_connection_serves_reads_in_turn_and_is_set_up_for_each() {
    let (_listener, database, seen) = listen(Fault::None).await;
    for _ in 0..3 {
        assert_eq!(read(&database).await.unwrap(), ["1", "2", "3"]);
    }
    assert_eq!(seen.sessions.load(Ordering::Relaxed), 1);
    let batches = seen.batches.lock().unwrap();
    let (preambles, queries): (Vec<_>, Vec<_>) = batches
        .iter()
        .partition(|sql| sql.starts_with("SET NOCOUNT ON"));
    assert_eq!(preambles.len(), queries.len(), "{batches:?}");
    assert!(batches[0].starts_with("SET NOCOUNT ON"));
}

/// The limit of a request is far away: what is found out is that the connection is dead.
#[tokio::test]
async fn an_idle_connection_that_died_is_replaced() {
    let (_listener, database, seen) = listen_with(Fault::None, "connect_timeout=1").await;
    assert_eq!(read(&database).await.unwrap(), ["1", "2", "3"]);
    seen.forgotten.store(1, Ordering::SeqCst);
    assert_eq!(read(&database).await.unwrap(), ["1", "2", "3"]);
    assert_eq!(seen.sessions.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_error_after_rows_voids_the_read() {
    let (_listener, database, seen) = listen(Fault::ErrorAfterRows).await;
    let error = read(&database).await.unwrap_err();
    assert_eq!(inner(&error).number(), Some(1205));
    assert!(inner(&error).is_transient());
    assert_eq!(inner(&error).kind(), ErrorKind::Query);
    assert!(
        inner(&error).to_string().contains("while reading dbo.t"),
        "{error}"
    );
    // The failed connection is not used again.
    read(&database).await.unwrap_err();
    assert!(seen.sessions.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn a_denied_read_is_a_permission_error() {
    let (_listener, database, _) = listen(Fault::Denied).await;
    let error = read(&database).await.unwrap_err();
    assert_eq!(inner(&error).kind(), ErrorKind::Permission);
    assert!(inner(&error).to_string().contains("grant"), "{error}");
}

#[tokio::test]
async fn a_silent_server_ends_the_read_in_time() {
    let (_listener, database, _) = listen(Fault::Silence).await;
    let read = tokio::time::timeout(Duration::from_secs(20), read(&database));
    let error = read.await.unwrap().unwrap_err();
    assert!(
        matches!(inner(&error), SourceError::Timeout { seconds: 1, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_endless_read_stops_with_its_reader() {
    let (_listener, database, seen) = listen(Fault::Endless).await;
    let table = database.table("dbo", "t").await.unwrap().unwrap();
    let context = SessionContext::new();
    context.register_table("t", table).unwrap();
    let query = context.sql("SELECT * FROM t").await.unwrap();
    let mut stream = query.execute_stream().await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().num_rows(), 8192);
    drop(stream);
    let mut cancelled = seen.control.cancelled();
    cancelled.wait_for(|count| *count == 1).await.unwrap();
    assert!(database.table("dbo", "t").await.unwrap().is_some());
    assert_eq!(
        seen.sessions.load(Ordering::Relaxed),
        2,
        "the busy connection was closed"
    );
}

#[tokio::test]
async fn a_server_that_has_gone_is_a_connection_error() {
    let (listener, database, _) = listen(Fault::None).await;
    let table = database.table("dbo", "t").await.unwrap().unwrap();
    drop(listener);
    let error = rows(table, "SELECT * FROM t").await.unwrap_err();
    assert_eq!(inner(&error).kind(), ErrorKind::Connection, "{error}");
    assert!(inner(&error).is_transient(), "{error}");
}
