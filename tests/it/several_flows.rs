//! Several tables, several flows, several runs at once.

use std::thread;

use cdcql::source::sqlserver::{ConnectionConfig, Database};

use crate::simulate::Server;
use crate::support::{Ended, Project};

const DATABASE: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
CREATE TABLE dbo.b (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
GO
INSERT INTO dbo.a VALUES (1, 1);
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
GO
";

fn flow(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} USING DELTA LOCATION 'lake/{table}';
         MERGE INTO {table} AS target USING STREAM db.dbo.{table} CHANGES AS change ON target.id = change.id
         WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
         WHEN MATCHED THEN UPDATE SET *
         WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;\n"
    )
}

/// A project whose `p.sql` copies these tables of a database made by `script`.
fn project(script: &str, tables: &[&str]) -> Project {
    let project = Project::new();
    project.write("pipelines/app_db.sql", script);
    let connection =
        "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL', 'embedded:app_db.sql'));\n";
    let flows: String = tables.iter().map(|table| flow(table)).collect();
    project.write("pipelines/p.sql", &format!("{connection}{flows}"));
    project
}

fn run(project: &Project) -> Ended {
    project.cdcql(&["run", "pipelines/p.sql"]).succeeded()
}

fn query(project: &Project, sql: &str) -> String {
    let arguments = ["query", "--pipeline", "pipelines/p.sql", "-c", sql];
    project.cdcql(&arguments).succeeded().stdout
}

fn commits(project: &Project, table: &str) -> usize {
    let log = project
        .path()
        .join("pipelines/lake")
        .join(table)
        .join("_delta_log");
    let entries = std::fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .count()
}

#[test]
fn a_table_without_changes_has_nothing_new_while_another_changes() {
    let project = project(DATABASE, &["a", "b"]);
    let _ = run(&project);
    project.append_to_database("INSERT INTO dbo.b VALUES (1, 1);");
    let again = run(&project);
    assert!(again.stderr.contains("a: nothing new"), "{}", again.stderr);
    assert!(again.stderr.contains("b: 1 inserted"), "{}", again.stderr);
    assert_eq!((commits(&project, "a"), commits(&project, "b")), (1, 2));
}

#[test]
fn the_checkpoint_of_an_idle_table_keeps_up_with_the_source() {
    let project = project(DATABASE, &["a"]);
    let _ = run(&project);
    // Each statement is a second of the server's clock: more than ten minutes.
    let busy = "INSERT INTO dbo.b SELECT COUNT(*), 1 FROM dbo.b;\nGO 700\n";
    project.append_to_database(busy);
    let moved = run(&project);
    assert!(moved.stderr.contains("a: nothing new"), "{}", moved.stderr);
    assert_eq!(commits(&project, "a"), 2);
    let _ = run(&project);
    assert_eq!(commits(&project, "a"), 2, "a young checkpoint stays");
    project.append_to_database("UPDATE dbo.a SET n = 2;");
    let changed = run(&project);
    assert!(changed.stderr.contains("1 updated"), "{}", changed.stderr);
    assert!(query(&project, "SELECT n FROM a").contains("| 2 |"));
}

#[test]
fn runs_that_overtake_each_other_lose_and_repeat_nothing() {
    let project = project(DATABASE, &["a", "b"]);
    let server = Server::start(&project, "Pa55word!");
    let url = format!(
        "sqlserver://sa:Pa55word!@{}/app_db?trust_server_certificate=true",
        server.address
    );
    let run_once = || {
        let mut command = project.command();
        command.args(["run", "pipelines/p.sql"]).env("DB_URL", &url);
        Ended::from(command.output().unwrap())
    };
    let _ = run_once().succeeded();
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(&url, 120));
        let runners: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..4 {
                        let _ = run_once().succeeded();
                    }
                })
            })
            .collect();
        for runner in runners {
            runner.join().unwrap();
        }
        writer.join().unwrap();
    });
    let _ = run_once().succeeded();
    for table in ["a", "b"] {
        let sql = format!(
            "SELECT COUNT(*) AS rows, COUNT(DISTINCT t.id) AS keys,
             SUM(CASE WHEN s.n = t.n THEN 1 ELSE 0 END) AS equal, (SELECT COUNT(*) FROM db.dbo.{table}) AS source
             FROM {table} AS t LEFT JOIN db.dbo.{table} AS s ON s.id = t.id"
        );
        let arguments = ["query", "--pipeline", "pipelines/p.sql", "-c", &sql];
        let mut command = project.command();
        command.args(arguments).env("DB_URL", &url);
        let answer = Ended::from(command.output().unwrap()).succeeded().stdout;
        let line = answer.lines().nth(3).unwrap();
        let counts: Vec<&str> = line
            .split('|')
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        assert_eq!(counts.len(), 4, "{answer}");
        assert!(
            counts.iter().all(|count| *count == counts[0]),
            "{table}: {answer}"
        );
    }
}

/// Writes to both tables, each change a transaction of its own.
fn write(url: &str, rounds: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = ConnectionConfig::from_url(url).unwrap();
        let database = Database::connect(config).await.unwrap();
        for round in 0..rounds {
            for table in ["a", "b"] {
                let (id, old) = (round + 100, round / 2 + 100);
                let statement = format!(
                    "INSERT INTO dbo.{table} VALUES ({id}, 1); UPDATE dbo.{table} SET n = n + 1 WHERE id = {old}; \
                     DELETE FROM dbo.{table} WHERE id = {old} - 7 AND id % 3 = 0;"
                );
                database.execute_batch(&statement).await.unwrap();
            }
        }
        // The capture job scans now and then; what it has not seen yet is scanned at once.
        for statement in ["EXEC sys.sp_cdc_stop_job;", "EXEC sys.sp_cdc_scan;"] {
            database.execute_batch(statement).await.unwrap();
        }
    });
}

#[test]
fn decimal_keys_that_a_double_rounds_are_found() {
    let script = "\
CREATE TABLE dbo.d (id DECIMAL(20, 0) NOT NULL PRIMARY KEY, n INT NOT NULL, padding VARCHAR(200) NOT NULL);
GO
INSERT INTO dbo.d SELECT CAST(1800000000000000001 AS DECIMAL(20, 0)) + value * 2, 0,
    CONCAT(CAST(value * 7919 AS VARCHAR(20)), '-', CAST(CAST(value AS BIGINT) * 104729 AS VARCHAR(20)), '-', CAST(CAST(value AS BIGINT) * 1299709 AS VARCHAR(30)))
FROM GENERATE_SERIES(1, 60000);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'd', @role_name = NULL;
GO
";
    let project = project(script, &["d"]);
    let _ = run(&project);
    project.append_to_database(
        "UPDATE dbo.d SET n = 1 WHERE id >= CAST(1800000000000119995 AS DECIMAL(20, 0));
         DELETE FROM dbo.d WHERE id <= CAST(1800000000000000005 AS DECIMAL(20, 0));",
    );
    let merged = run(&project);
    assert!(
        merged.stderr.contains("0 inserted, 4 updated, 2 deleted"),
        "{}",
        merged.stderr
    );
    let counts = query(
        &project,
        "SELECT COUNT(*) AS rows, COUNT(DISTINCT id) AS keys, SUM(n) AS n FROM d",
    );
    assert!(counts.contains("| 59998 | 59998 | 4 |"), "{counts}");
}
