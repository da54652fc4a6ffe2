//! `cdcql simulate --record`: what clients execute is in the script, and there again after the next start.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::simulate::{self, Connection, Server};
use crate::support::{Ended, MIRROR, Project};

const PASSWORD: &str = "Pa55word!";
const SCRIPT: &str = "app_db.sql";

const TABLES: &str = "\
CREATE TABLE dbo.t (id INT IDENTITY NOT NULL PRIMARY KEY, n INT NULL, v NVARCHAR(100) NULL);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL;
GO
INSERT INTO dbo.t (n) VALUES (1), (2), (3);";

/// Everything that a replay shall have again.
const EVERYTHING: [&str; 5] = [
    "SELECT id, n, v FROM dbo.t ORDER BY id",
    "SELECT *, DB_NAME() FROM cdc.dbo_t_CT ORDER BY __$start_lsn, __$command_id, __$seqval, __$operation",
    "SELECT * FROM cdc.lsn_time_mapping ORDER BY start_lsn",
    "SELECT IDENT_CURRENT('dbo.t'), GETDATE()",
    "SELECT name, create_date FROM sys.tables ORDER BY object_id",
];

fn project() -> Project {
    let project = Project::new();
    project.write(SCRIPT, TABLES);
    project.write("pipelines/p.sql", MIRROR);
    project
}

fn start(project: &Project, interval: &str) -> Server {
    let arguments = ["--record", "--capture-interval", interval];
    Server::start_script(project, SCRIPT, PASSWORD, &arguments)
}

async fn batch(client: &mut Connection, sql: &str) {
    client
        .simple_query(sql)
        .await
        .unwrap()
        .into_results()
        .await
        .unwrap();
}

/// Rows as text.
async fn rows(client: &mut Connection, sql: &str) -> Vec<String> {
    let rows = simulate::rows(client, sql).await;
    rows.iter()
        .map(|row| {
            format!(
                "{:?}",
                row.cells().map(|(_, data)| data).collect::<Vec<_>>()
            )
        })
        .collect()
}

async fn everything(client: &mut Connection) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for sql in EVERYTHING {
        all.push(rows(client, sql).await);
    }
    all
}

/// Waits until capture has come to the newest commit, a change of the row 1.
async fn captured(client: &mut Connection) {
    batch(client, "UPDATE dbo.t SET v = N'last' WHERE id = 1").await;
    let seen = "SELECT COUNT(*) FROM cdc.dbo_t_CT WHERE v = N'last' AND id = 1";
    while rows(client, seen).await != ["[I32(Some(1))]"] {}
}

/// A change that no run has copied yet.
async fn captured_again(client: &mut Connection) {
    batch(client, "UPDATE dbo.t SET v = N'not yet' WHERE id = 1").await;
    let seen = "SELECT COUNT(*) FROM cdc.dbo_t_CT WHERE v = N'not yet' AND __$operation = 4";
    while rows(client, seen).await != ["[I32(Some(1))]"] {}
}

fn copied(project: &Project, server: &Server) -> Ended {
    let url = format!(
        "sqlserver://sa:{PASSWORD}@{}/app_db?trust_server_certificate=true",
        server.address
    );
    let mut command = project.command();
    command
        .args(["run", "pipelines/p.sql"])
        .env("APP_DB_URL", url);
    Ended::from(command.output().unwrap()).succeeded()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_replayed_with_its_changes_lsns_and_identity_values() {
    for interval in ["0", "10ms"] {
        let project = project();
        let mut server = start(&project, interval);
        let mut client = server.connect(PASSWORD).await;
        let values = "INSERT INTO dbo.t (n, v) VALUES (@P1, @P2)";
        client.execute(values, &[&4, &"it's\nGO\n"]).await.unwrap();
        client
            .execute("UPDATE dbo.t SET n = @P1 WHERE id < 3", &[&7_i64])
            .await
            .unwrap();
        batch(
            &mut client,
            "BEGIN TRANSACTION INSERT INTO dbo.t (n) VALUES (5) SAVE TRANSACTION s
             INSERT INTO dbo.t (n) VALUES (6) ROLLBACK TRANSACTION s DELETE FROM dbo.t WHERE id = 2 COMMIT",
        )
        .await;
        batch(
            &mut client,
            "BEGIN TRANSACTION INSERT INTO dbo.t (n) VALUES (0) ROLLBACK",
        )
        .await;
        batch(
            &mut client,
            "CREATE TABLE dbo.u (a INT) ALTER TABLE dbo.t ADD w INT NULL",
        )
        .await;
        captured(&mut client).await;
        assert!(copied(&project, &server).stderr.contains("first copy"));
        captured_again(&mut client).await;
        let before = everything(&mut client).await;
        let open = client
            .simple_query("BEGIN TRANSACTION DELETE FROM dbo.t")
            .await;
        open.unwrap().into_results().await.unwrap();
        server.kill();
        drop(client);

        let server = start(&project, interval);
        let mut client = server.connect(PASSWORD).await;
        assert_eq!(
            everything(&mut client).await,
            before,
            "{}",
            project.read(SCRIPT)
        );
        let copied = copied(&project, &server);
        assert!(copied.stderr.contains("1 updated"), "{}", copied.stderr);
        batch(&mut client, "INSERT INTO dbo.t (n) VALUES (8)").await;
        let last = rows(&mut client, "SELECT MAX(id) FROM dbo.t").await;
        assert_eq!(last, ["[I32(Some(8))]"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_has_recorded_what_it_has_acknowledged() {
    const WRITERS: usize = 4;
    const ENOUGH: i32 = 40;
    let project = project();
    let mut server = start(&project, "0");
    batch(
        &mut server.connect(PASSWORD).await,
        "CREATE TABLE dbo.acknowledged (writer INT NOT NULL, n INT NOT NULL)",
    )
    .await;
    let total = Arc::new(AtomicI32::new(0));
    let (enough, mut reached) = tokio::sync::mpsc::channel::<()>(1);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut client = server.connect(PASSWORD).await;
        let (total, enough) = (Arc::clone(&total), enough.clone());
        writers.push(tokio::spawn(async move {
            let writer = i32::try_from(writer).unwrap();
            let insert = "INSERT INTO dbo.acknowledged VALUES (@P1, @P2)";
            let mut acknowledged = 0;
            while client
                .execute(insert, &[&writer, &acknowledged])
                .await
                .is_ok()
            {
                acknowledged += 1;
                if total.fetch_add(1, Ordering::Relaxed) == ENOUGH {
                    enough.send(()).await.unwrap();
                }
            }
            acknowledged
        }));
    }
    reached.recv().await.unwrap();
    server.kill();
    let server = start(&project, "0");
    let mut client = server.connect(PASSWORD).await;
    for (writer, acknowledged) in writers.into_iter().enumerate() {
        let acknowledged = acknowledged.await.unwrap();
        let sql = format!("SELECT COUNT(*) FROM dbo.acknowledged WHERE writer = {writer}");
        let found = rows(&mut client, &sql).await;
        // The one that nobody has heard of may be there or not.
        let possible = [acknowledged, acknowledged + 1].map(|n| format!("[I32(Some({n}))]"));
        assert!(possible.contains(&found[0]), "{found:?} of {acknowledged}");
    }
}

#[test]
fn a_script_is_recorded_to_by_one_server_at_a_time() {
    let project = project();
    let server = start(&project, "0");
    let second = ["simulate", SCRIPT, "--record", "--listen", "127.0.0.1:0"];
    let _ = project
        .cdcql(&second)
        .failed(1, &[SCRIPT, "another server records to it"]);
    drop(server);
    assert_eq!(project.read(SCRIPT), TABLES, "nothing was executed");
}

#[test]
fn the_machines_clock_and_replicas_that_are_behind_are_not_recorded() {
    let project = project();
    for (other, value, words) in [
        ("--clock", "machine", "--record needs --clock statements"),
        ("--replica-lag", "3", "cannot be used with"),
    ] {
        let arguments = ["simulate", SCRIPT, "--record", other, value];
        let _ = project.cdcql(&arguments).failed(2, &[words]);
    }
}

#[test]
fn a_torn_script_is_refused_with_the_line() {
    let project = project();
    project.write(
        SCRIPT,
        &format!("{TABLES}\nGO\nBEGIN\nUSE [app_db];\nDELETE FROM dbo.t"),
    );
    let arguments = ["simulate", SCRIPT, "--record", "--listen", "127.0.0.1:0"];
    let _ = project
        .cdcql(&arguments)
        .failed(1, &["app_db.sql:8", "recorded last is torn"]);
}

#[test]
fn an_embedded_connection_does_not_record() {
    let project = project();
    let path = project.path().join(SCRIPT);
    let text = MIRROR.replace("env('APP_DB_URL')", "'embedded:../app_db.sql'");
    project.write("pipelines/p.sql", &text);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let mut command = project.command();
    command
        .args(["run", "pipelines/p.sql"])
        .stdin(Stdio::null());
    let _ = Ended::from(command.output().unwrap()).succeeded();
    assert_eq!(project.read(SCRIPT), TABLES);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
}
