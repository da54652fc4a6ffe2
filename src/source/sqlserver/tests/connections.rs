//! How connections are made and given up, as the server sees it.

use tokio::net::UdpSocket;

use super::*;
use crate::simulator::control::{Encryption, Fault};
use crate::simulator::{Database as Simulated, Simulator, SimulatorOptions};

/// What reads the table's rows on the server.
const READ: &str = "FROM [dbo].[t]";

async fn simulator() -> Simulator {
    let script = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY);
                  INSERT INTO dbo.t VALUES (1), (2), (3);";
    let simulated = Simulated::from_script("d", "t.sql", script).await.unwrap();
    Simulator::start(simulated, SimulatorOptions::default())
        .await
        .unwrap()
}

async fn connect(simulator: &Simulator, options: &str) -> Result<Database, SourceError> {
    let url = format!("{}&{options}", simulator.url());
    Database::connect(ConnectionConfig::from_url(&url).unwrap()).await
}

/// Waits until no client is logged in.
async fn all_have_left(simulator: &Simulator) {
    let mut sessions = simulator.control().sessions();
    sessions.wait_for(Vec::is_empty).await.unwrap();
}

/// Waits until so many requests have been cancelled.
async fn cancelled(simulator: &Simulator, count: usize) {
    let mut cancelled = simulator.control().cancelled();
    cancelled.wait_for(|so_far| *so_far >= count).await.unwrap();
}

#[tokio::test]
async fn a_query_that_is_dropped_before_its_first_row_is_cancelled_on_the_server() {
    let simulator = simulator().await;
    for (count, options) in ["encrypt=required", "encrypt=login", "encrypt=off"]
        .into_iter()
        .enumerate()
    {
        let database = connect(&simulator, options).await.unwrap();
        let table = database.table("dbo", "t").await.unwrap().unwrap();
        let mut fault = simulator.control().on_next(READ, Fault::Stall);
        let read = tokio::spawn(async move { rows(table, "SELECT * FROM t").await.map(drop) });
        fault.struck().await.unwrap();
        read.abort();
        cancelled(&simulator, count + 1).await;
        drop(database);
        all_have_left(&simulator).await;
    }
}

#[tokio::test]
async fn a_client_that_is_given_up_without_a_runtime_cancels_its_query_too() {
    let simulator = simulator().await;
    let url = simulator.url();
    let mut fault = simulator.control().on_next(READ, Fault::Stall);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (told, hears) = std::sync::mpsc::channel::<()>();
        runtime.spawn(async move {
            let config = ConnectionConfig::from_url(&url).unwrap();
            let database = Database::connect(config).await.unwrap();
            let table = database.table("dbo", "t").await.unwrap().unwrap();
            drop(told);
            rows(table, "SELECT * FROM t").await.map(drop)
        });
        assert!(hears.recv().is_err());
        runtime
    });
    fault.struck().await.unwrap();
    let runtime = client.join().unwrap();
    tokio::task::spawn_blocking(move || drop(runtime))
        .await
        .unwrap();
    cancelled(&simulator, 1).await;
    all_have_left(&simulator).await;
}

#[tokio::test]
async fn a_connection_whose_answer_was_read_is_not_cancelled() {
    let simulator = simulator().await;
    let database = connect(&simulator, "").await.unwrap();
    let table = database.table("dbo", "t").await.unwrap().unwrap();
    assert_eq!(rows(table, "SELECT * FROM t").await.unwrap().len(), 3);
    drop(database);
    all_have_left(&simulator).await;
    assert_eq!(*simulator.control().cancelled().borrow(), 0);
}

#[tokio::test]
async fn the_intent_and_the_encryption_are_said_in_the_login() {
    let simulator = simulator().await;
    for (options, encryption, read_only) in [
        ("", Encryption::Everything, false),
        (
            "application_intent=read_write&encrypt=login",
            Encryption::LoginOnly,
            false,
        ),
        (
            "application_intent=read_only&encrypt=off",
            Encryption::Nothing,
            true,
        ),
    ] {
        let database = connect(&simulator, options).await.unwrap();
        let session = simulator.control().sessions().borrow()[0].clone();
        assert_eq!(
            (session.encryption, session.read_only),
            (encryption, read_only)
        );
        drop(database);
        all_have_left(&simulator).await;
    }
}

/// A SQL Server Browser that knows one instance, and answers once.
async fn browser(port: u16) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap().port();
    let answered = tokio::spawn(async move {
        let mut asked = [0; 100];
        let (length, from) = socket.recv_from(&mut asked).await.unwrap();
        let text = format!("ServerName;H;InstanceName;I;IsClustered;No;Version;16.0;tcp;{port};;");
        let mut answer = vec![5];
        answer.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        answer.extend_from_slice(text.as_bytes());
        socket.send_to(&answer, from).await.unwrap();
        asked[..length].to_vec()
    });
    (at, answered)
}

fn at_port(simulator: &Simulator, port: u16, options: &str) -> ConnectionConfig {
    let url = simulator.url().replace(
        &format!(":{}/", simulator.address().port()),
        &format!(":{port}/"),
    );
    ConnectionConfig::from_url(&format!("{url}&{options}")).unwrap()
}

#[tokio::test]
async fn the_port_of_a_named_instance_is_asked_for() {
    let simulator = simulator().await;
    let (port, asked) = browser(simulator.address().port()).await;
    let config = at_port(&simulator, port, "instance=I");
    let database = Database::connect(config).await.unwrap();
    assert_eq!(asked.await.unwrap(), b"\x04I");
    assert_eq!(database.name(), "d");
}

#[tokio::test]
async fn an_instance_that_no_browser_knows_is_named() {
    let simulator = simulator().await;
    // Nobody answers there.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = Database::connect(at_port(&simulator, port, "instance=SQLEXPRESS")).await;
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("instance 'SQLEXPRESS'"),
        "{error}"
    );
    assert!(!error.is_transient());
}

#[tokio::test]
async fn all_addresses_of_a_listener_are_tried_at_once() {
    let simulator = simulator().await;
    let url = simulator.url().replace("127.0.0.1", "localhost");
    let url = format!("{url}&multi_subnet_failover=true");
    let database = Database::connect(ConnectionConfig::from_url(&url).unwrap()).await;
    assert_eq!(database.unwrap().name(), "d");
}
