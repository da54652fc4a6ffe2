//! The embedded server with a hundred clients at once.

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};

use crate::simulate::{Connection, Server};
use crate::support::Project;

const PASSWORD: &str = "Pa55word!";
const CLIENTS: i32 = 100;

async fn connect_all(server: &Server) -> Vec<Connection> {
    futures::future::join_all((0..CLIENTS).map(|_| server.connect(PASSWORD))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_write_and_read_at_once() {
    let project = Project::new();
    project.append_to_database("CREATE TABLE dbo.visits (client INT NOT NULL PRIMARY KEY);");
    let server = Server::start(&project, PASSWORD);
    let mut clients = connect_all(&server).await;
    let writes = clients.iter_mut().zip(0..).map(async |(client, number)| {
        client
            .execute("INSERT INTO dbo.visits (client) VALUES (@P1)", &[&number])
            .await
    });
    try_join_all(writes).await.unwrap();
    let reads = clients.iter_mut().map(async |client| {
        let rows = client.simple_query("SELECT COUNT(*), MAX(client) FROM dbo.visits");
        rows.await?.into_row().await
    });
    for row in try_join_all(reads).await.unwrap() {
        let row = row.unwrap();
        let counts: (Option<i32>, Option<i32>) = (row.get(0), row.get(1));
        assert_eq!(counts, (Some(CLIENTS), Some(CLIENTS - 1)));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_reading_cost_no_copy_of_the_table() {
    let project = Project::new();
    project.append_to_database(
        "CREATE TABLE dbo.big (id INT NOT NULL PRIMARY KEY, note NVARCHAR(400) NOT NULL);
         INSERT INTO dbo.big (id, note) SELECT value, REPLICATE(N'x', 400) FROM GENERATE_SERIES(1, 50000);",
    );
    let server = Server::start(&project, PASSWORD);
    let mut clients = connect_all(&server).await;
    let before = peak_memory_kib(server.process());
    let mut streams = Vec::new();
    for client in &mut clients {
        let mut rows = client
            .simple_query("SELECT id, note FROM dbo.big")
            .await
            .unwrap()
            .into_row_stream();
        assert!(rows.next().await.unwrap().is_ok());
        streams.push(rows);
    }
    let grown = peak_memory_kib(server.process()) - before;
    // The table has 20 MiB.
    assert!(
        grown < i64::from(CLIENTS) * 1024,
        "{CLIENTS} readers took {grown} KiB"
    );
    let last = streams.pop().unwrap();
    let rows: Vec<_> = last.try_collect().await.unwrap();
    assert_eq!(rows.len(), 49_999);
}

/// The most memory that a process has had resident (proc_pid_status(5)).
#[cfg(target_os = "linux")]
pub(crate) fn peak_memory_kib(process: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
