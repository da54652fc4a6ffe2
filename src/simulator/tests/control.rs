//! Faults on demand, as tiberius meets them.

use futures::{StreamExt, TryStreamExt};
use tiberius::error::Error;
use tiberius::{AuthMethod, Config, EncryptionLevel, QueryItem};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::simulator::control::{Fault, LoginFault, Stopped};
use crate::simulator::protocol::ServerError;
use crate::simulator::{Control, Database, Simulator, SimulatorOptions};

type Client = tiberius::Client<Compat<TcpStream>>;

const TEN_ROWS: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(max) NULL);
INSERT INTO dbo.t VALUES (1, N'a'), (2, NULL), (3, N'c'), (4, N'd'), (5, NULL),
(6, N'f'), (7, N'g'), (8, NULL), (9, N'i'), (10, N'j');";

async fn start() -> (Simulator, Control) {
    let database = Database::from_script("app_db", "t.sql", TEN_ROWS)
        .await
        .unwrap();
    let simulator = Simulator::start(database, SimulatorOptions::default())
        .await
        .unwrap();
    let control = simulator.control();
    (simulator, control)
}

async fn connect(simulator: &Simulator) -> tiberius::Result<Client> {
    let mut config = Config::new();
    config.host("127.0.0.1");
    config.port(simulator.address().port());
    config.authentication(AuthMethod::sql_server(
        simulator.user(),
        simulator.password(),
    ));
    config.encryption(EncryptionLevel::Required);
    config.application_name("watched");
    config.trust_cert();
    let socket = TcpStream::connect(config.get_addr()).await?;
    Box::pin(Client::connect(config, socket.compat_write())).await
}

/// The first column of the rows that came, and the error that the statement ended in.
async fn ids(client: &mut Client, sql: &str) -> (Vec<i32>, Option<Error>) {
    let mut stream = match client.simple_query(sql).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut ids = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(QueryItem::Row(row)) => ids.push(row.get(0).unwrap()),
            Ok(QueryItem::Metadata(_)) => {}
            Err(error) => return (ids, Some(error)),
        }
    }
    (ids, None)
}

fn number(error: Option<Error>) -> u32 {
    match error {
        Some(Error::Server(token)) => token.code(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_killed_session_ends_its_request_with_596() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    let mut fault = control.on_next("FROM dbo.t", Fault::Stall);
    let kill = async {
        fault.struck().await.unwrap();
        let session = control.sessions().borrow()[0].id;
        assert!(control.kill(session));
    };
    let ((ids, error), ()) = tokio::join!(Box::pin(ids(&mut client, "SELECT id FROM dbo.t")), kill);
    assert_eq!((ids.len(), number(error)), (0, 596));
    let mut sessions = control.sessions();
    sessions.wait_for(Vec::is_empty).await.unwrap();
    assert!(connect(&simulator).await.is_ok());
}

#[tokio::test]
async fn an_idle_session_that_is_killed_is_closed() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    assert_eq!(control.sessions().borrow()[0].application, "watched");
    assert_eq!(control.kill_all(), 1);
    let mut sessions = control.sessions();
    sessions.wait_for(Vec::is_empty).await.unwrap();
    let (_, error) = ids(&mut client, "SELECT id FROM dbo.t").await;
    assert!(error.is_some());
    assert!(!control.kill(51));
}

#[tokio::test]
async fn a_stalled_statement_answers_when_it_is_released() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    let mut fault = control.on_next("from DBO.T", Fault::Stall);
    assert_eq!(ids(&mut client, "SELECT 7 AS id").await.0, [7]);
    assert!(!fault.has_struck());
    let release = async {
        fault.struck().await.unwrap();
        fault.release();
    };
    let sql = "SELECT id FROM dbo.t WHERE id < 3 ORDER BY id";
    let (answer, ()) = tokio::join!(Box::pin(ids(&mut client, sql)), release);
    assert_eq!(answer.0, [1, 2]);
    let (again, _) = ids(&mut client, sql).await;
    assert_eq!(again, [1, 2], "a fault strikes once");
}

#[tokio::test]
async fn a_fault_that_is_dropped_strikes_no_more() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    drop(control.on_next("", Fault::lock_timeout()));
    assert_eq!(ids(&mut client, "SELECT 1 AS id").await.0, [1]);
    let fault = control.on_next("", Fault::lock_timeout());
    assert_eq!(number(ids(&mut client, "SELECT 1 AS id").await.1), 1222);
    assert!(fault.has_struck());
}

#[tokio::test]
async fn a_fault_never_strikes_once_the_server_has_stopped() {
    let (simulator, control) = start().await;
    let mut before = control.on_next("", Fault::lock_timeout());
    drop(simulator);
    assert_eq!(before.struck().await, Err(Stopped));
    let mut after = control.on_next("", Fault::lock_timeout());
    assert_eq!(after.struck().await, Err(Stopped));
}

#[tokio::test]
async fn a_deadlock_victim_loses_its_transaction() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    ids(&mut client, "BEGIN TRANSACTION DELETE FROM dbo.t").await;
    let fault = control.on_next("DELETE", Fault::DeadlockVictim);
    let (_, error) = ids(&mut client, "DELETE FROM dbo.t WHERE id = 1").await;
    assert_eq!(number(error), 1205);
    assert!(fault.has_struck());
    let (open, _) = ids(&mut client, "SELECT @@TRANCOUNT").await;
    assert_eq!(open, [0]);
    let (count, _) = ids(&mut client, "SELECT COUNT(*) FROM dbo.t").await;
    assert_eq!(count, [10]);
}

#[tokio::test]
async fn an_error_comes_after_as_many_rows_as_asked_for() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    for (rows, seen) in [(0, 0), (3, 3), (10, 10), (100, 10)] {
        let error = ServerError::new(824, "torn page");
        let _fault = control.on_next("dbo.t", Fault::ErrorAfterRows { rows, error });
        let (ids, error) = ids(&mut client, "SELECT id FROM dbo.t").await;
        assert_eq!((ids.len(), number(error)), (seen, 824), "{rows}");
    }
    assert_eq!(ids(&mut client, "SELECT id FROM dbo.t").await.0.len(), 10);
}

#[tokio::test]
async fn a_connection_is_cut_in_the_middle_of_a_row() {
    let (simulator, control) = start().await;
    for after in [0, 4, 9, 50] {
        let mut client = connect(&simulator).await.unwrap();
        let _fault = control.on_next("dbo.t", Fault::CutInRow { after });
        let (ids, error) = ids(&mut client, "SELECT id, a FROM dbo.t").await;
        assert_eq!(ids.len() as u64, after.min(10), "{after}: {ids:?}");
        assert!(
            error.is_some_and(|error| !matches!(error, Error::Server(_))),
            "{after}"
        );
    }
}

#[tokio::test]
async fn messages_between_tokens_change_nothing() {
    let (simulator, control) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    let sql = "SELECT id, a FROM dbo.t ORDER BY id; SELECT id FROM dbo.t WHERE id > 8 ORDER BY id";
    let fault = control.on_next(sql, Fault::Interjections);
    let results = client.simple_query(sql).await.unwrap();
    let results = results.into_results().await.unwrap();
    assert!(fault.has_struck());
    let rows: Vec<Vec<i32>> = results
        .iter()
        .map(|rows| rows.iter().map(|row| row.get(0).unwrap()).collect())
        .collect();
    let rows: Vec<_> = rows.into_iter().filter(|rows| !rows.is_empty()).collect();
    assert_eq!(rows, [(1..=10).collect::<Vec<_>>(), vec![9, 10]]);
}

#[tokio::test]
async fn logins_are_refused_until_they_are_let_in_again() {
    let (simulator, control) = start().await;
    control.set_logins(Some(LoginFault::database_unavailable("app_db")));
    assert_eq!(number(connect(&simulator).await.err()), 40613);
    control.set_logins(Some(LoginFault::Close));
    assert!(!matches!(
        connect(&simulator).await,
        Err(Error::Server(_)) | Ok(_)
    ));
    assert!(control.sessions().borrow().is_empty());
    control.set_logins(None);
    let mut client = connect(&simulator).await.unwrap();
    assert_eq!(ids(&mut client, "SELECT 1 AS id").await.0, [1]);
}

#[tokio::test]
async fn logins_are_sent_to_another_server() {
    let (simulator, control) = start().await;
    control.set_logins(Some(LoginFault::Redirect {
        host: "replica.example".to_owned(),
        port: 1434,
    }));
    match connect(&simulator).await {
        Err(Error::Routing { host, port }) => {
            assert_eq!((host.as_str(), port), ("replica.example", 1434));
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the client stays"),
    }
}

#[tokio::test]
async fn a_row_of_eight_megabytes_is_whole() {
    let (simulator, _) = start().await;
    let mut client = connect(&simulator).await.unwrap();
    let part = "REPLICATE(CAST(N'ab' AS nvarchar(max)), 524288)";
    let sql = format!("SELECT {part} + {part} + {part} + {part} AS a");
    let stream = client.simple_query(sql).await.unwrap();
    let rows: Vec<_> = stream.into_row_stream().try_collect().await.unwrap();
    let text: &str = rows[0].get(0).unwrap();
    assert_eq!(text.len(), 4 * 1024 * 1024);
    assert!(text.as_bytes().chunks(2).all(|pair| pair == b"ab"));
}
