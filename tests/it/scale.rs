//! One transaction of very many rows.

use std::process::Command;

use crate::follow::Follower;
#[cfg(target_os = "linux")]
use crate::many_connections::peak_memory_kib;
use crate::simulate::Server;
use crate::support::{Ended, MIRROR, Project};

const PASSWORD: &str = "Pa55word!";

/// Says how many rows; a million take some two minutes of a build without optimization.
const ROWS: &str = "CDCQL_TEST_ROWS";
const FEW: u64 = 100_000;

const TABLE: &str = "\
CREATE TABLE dbo.t (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, v VARCHAR(40) NOT NULL);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL;
GO
INSERT INTO dbo.t VALUES (0, 0, 'first');
";

/// What the program may hold, and how much more it may have had at its peak than before the transaction, in KiB.
const MEMORY: &str = "128MiB";
#[cfg(target_os = "linux")]
const MOST_KIB: i64 = 256 << 10;

fn command(project: &Project, server: &Server, arguments: &[&str]) -> Command {
    let url = format!(
        "sqlserver://sa:{PASSWORD}@{}/app_db?trust_server_certificate=true",
        server.address
    );
    let mut command = project.command();
    command.args(arguments).env("APP_DB_URL", url);
    command
}

fn run(project: &Project, server: &Server, arguments: &[&str]) -> String {
    let mut command = command(project, server, arguments);
    let ended = Ended::from(command.output().unwrap()).succeeded();
    ended.stdout + &ended.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_very_many_rows_is_applied_as_one_commit() {
    let rows: u64 = std::env::var(ROWS).map_or(FEW, |rows| rows.parse().unwrap());
    let project = Project::new();
    project.write("app_db.sql", TABLE);
    project.write("pipelines/p.sql", MIRROR);
    let every_commit = ["--capture-interval", "0"];
    let server = Server::start_script(&project, "app_db.sql", PASSWORD, &every_commit);
    let follow = ["run", "pipelines/p.sql", "--follow", "--memory", MEMORY];
    let mut follower = Follower::spawn(command(&project, &server, &follow));
    follower.wait_for(&["first copy: 1 inserted"]);
    #[cfg(target_os = "linux")]
    let before = peak_memory_kib(follower.process());
    let mut client = server.connect(PASSWORD).await;
    let transaction = format!(
        "BEGIN TRANSACTION
         INSERT INTO dbo.t SELECT value, value % 7, CONCAT('row ', value) FROM GENERATE_SERIES(1, {rows})
         UPDATE dbo.t SET n = -1 WHERE id % 10 = 0
         DELETE FROM dbo.t WHERE id % 10 = 5
         COMMIT"
    );
    let answered = client.simple_query(transaction).await.unwrap();
    answered.into_results().await.unwrap();
    let applied = follower.wait_for(&["inserted, 1 updated, 0 deleted"]);
    let inserted = rows - (rows + 5) / 10;
    let told = format!("{inserted} inserted 1 updated");
    assert!(applied.replace(',', "").contains(&told), "{applied}");
    #[cfg(target_os = "linux")]
    {
        let more = peak_memory_kib(follower.process()) - before;
        assert!(
            more < MOST_KIB,
            "{more} KiB more than before the transaction"
        );
    }
    let _ = follower.end("-TERM");
    let count = |table: &str| {
        let sql = format!(
            "SELECT COUNT(*) AS n, SUM(n) AS s, MAX(id) AS m, SUM(LENGTH(v)) AS l FROM {table}"
        );
        run(
            &project,
            &server,
            &[
                "query",
                "--pipeline",
                "pipelines/p.sql",
                "--format",
                "csv",
                "-c",
                &sql,
            ],
        )
    };
    let target = count("t");
    assert_eq!(target, count("db.dbo.t"));
    assert!(target.contains(&format!("\n{},", inserted + 1)), "{target}");
    assert_eq!(commits(&project), 2, "the first copy and the transaction");
}

/// The versions of the target's log.
fn commits(project: &Project) -> usize {
    let log = project.path().join("pipelines/lake/t/_delta_log");
    let versions = std::fs::read_dir(log).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    versions.count()
}
