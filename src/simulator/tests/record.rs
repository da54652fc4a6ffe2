//! What clients commit is appended to the script, and replayed.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, LargeBinaryArray, StringArray};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Answer, collect, log_in, ok, open, run, run_with};
use crate::simulator::protocol::{Collation, Length, Parameter, SqlType, TransactionEvent};
use crate::simulator::record::disk::Disk;
use crate::simulator::session::Session;
use crate::simulator::{Behaviour, Database, Record, Simulator, SimulatorError, SimulatorOptions};

/// A script in a folder of its own.
struct Script {
    _folder: TempDir,
    path: PathBuf,
}

impl Script {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app_db.sql");
        std::fs::write(&path, text).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    async fn opened(&self) -> Result<Database, SimulatorError> {
        let opened = Record::open(&self.path).unwrap();
        Database::from_record("app_db", "app_db.sql", opened, Collation::SERVER).await
    }

    async fn database(&self) -> Database {
        self.opened().await.unwrap()
    }

    /// Asserts that a replay of the script has everything that `database` has.
    async fn assert_repeats(&self, database: Database) {
        let was = everything(&database);
        let held = self.text();
        let name = database.name().to_owned();
        drop(database);
        let replayed = Database::from_script(&name, "app_db.sql", &held).await;
        let replayed = replayed.unwrap_or_else(|error| panic!("{error:?} in\n{held}"));
        let is = everything(&replayed);
        assert_eq!(was.len(), is.len());
        for (was, is) in was.iter().zip(&is) {
            assert!(was == is, "{held}\n--- was\n{was}\n--- is\n{is}");
        }
    }
}

/// Every database with its tables, rows, clock, history and capture, as text.
fn everything(database: &Database) -> Vec<String> {
    let databases = database.server.databases();
    databases
        .iter()
        .map(|cell| ordered(&format!("{:#?}\n{:?}", cell.committed(), cell.log_end())))
        .collect()
}

/// A text in which the attributes of a field have one order.
fn ordered(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let attribute = |line: &&str| line.trim_start().starts_with("\"sql.");
    lines
        .chunk_by_mut(|one, other| attribute(one) && attribute(other))
        .for_each(<[&str]>::sort_unstable);
    lines.join("\n")
}

const TABLES: &str = "EXEC sys.sp_cdc_enable_db
CREATE TABLE dbo.t (k int IDENTITY PRIMARY KEY, n int NULL, v nvarchar(max) NULL, r rowversion)
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL
GO
INSERT dbo.t (n) VALUES (1), (2)";

fn parameter(name: &str, sql_type: SqlType, value: ArrayRef) -> Parameter {
    Parameter {
        name: name.to_owned(),
        sql_type,
        value,
        output: false,
    }
}

fn int(name: &str, value: i32) -> Parameter {
    parameter(name, SqlType::Int, Arc::new(Int32Array::from(vec![value])))
}

fn text(name: &str, value: &str) -> Parameter {
    let sql_type = SqlType::NVarChar(Length::Limited(4000));
    parameter(name, sql_type, Arc::new(StringArray::from(vec![value])))
}

async fn call(session: &mut Session, sql: &str, parameters: &[Parameter]) -> Answer {
    let (sender, receiver) = mpsc::channel(4);
    let work = async {
        session.call(sql, parameters, &sender).await;
        drop(sender);
    };
    let answer = futures::future::join(work, collect(receiver)).await.1;
    assert!(answer.errors.is_empty(), "{sql}: {:?}", answer.errors);
    answer
}

#[tokio::test]
async fn batches_calls_and_definitions_are_replayed() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let mut s = open(&database);
    ok(
        &mut s,
        "INSERT dbo.t (n, v) VALUES (3, N'it''s\nGO\n') -- a note
         UPDATE dbo.t SET n = n + 1 WHERE k > 1
         IF (SELECT COUNT(*) FROM dbo.t) > 1 DELETE dbo.t WHERE k = 1 ELSE DELETE dbo.t",
    )
    .await;
    let values = [int("@n", -4), text("@v", "a'b"), int("@unused", 0)];
    let insert = "INSERT dbo.t (n, v) SELECT @n, @v UNION ALL SELECT k, @V FROM dbo.t";
    call(&mut s, insert, &values).await;
    let names = [text("@name", "t"), text("@instance", "second")];
    call(
        &mut s,
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = @name, @role_name = NULL, \
         @capture_instance = @instance",
        &names,
    )
    .await;
    ok(
        &mut s,
        "ALTER TABLE dbo.t /* kept */\n ADD more int NOT NULL DEFAULT 7",
    )
    .await;
    ok(
        &mut s,
        "CREATE TABLE dbo.u (a int PRIMARY KEY, b datetime2 DEFAULT GETDATE())",
    )
    .await;
    ok(
        &mut s,
        "INSERT dbo.u (a) VALUES (1) INSERT dbo.u SELECT 2, SYSUTCDATETIME()",
    )
    .await;
    ok(&mut s, "sp_rename 'dbo.u', 'w'").await;
    ok(&mut s, "TRUNCATE TABLE dbo.w DROP TABLE dbo.w").await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_disable_table N'dbo', N't', N'dbo_t'",
    )
    .await;
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn a_second_server_goes_on_where_the_first_one_ended() {
    let script = Script::new(TABLES);
    for _ in 0..3 {
        let database = script.database().await;
        let mut s = open(&database);
        ok(&mut s, "INSERT dbo.t (n) VALUES (5)").await;
        script.assert_repeats(database).await;
    }
    let database = script.database().await;
    let keys = ok(&mut open(&database), "SELECT k FROM dbo.t ORDER BY k").await;
    assert_eq!(keys.lines(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_transaction_is_one_batch_and_a_rollback_is_none() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let (mut one, mut two) = (open(&database), open(&database));
    ok(&mut one, "BEGIN TRANSACTION a INSERT dbo.t (n) VALUES (3)").await;
    ok(&mut one, "SAVE TRANSACTION s UPDATE dbo.t SET n = 9").await;
    ok(&mut one, "ROLLBACK TRANSACTION s DELETE dbo.t WHERE k = 1").await;
    ok(&mut one, "BEGIN TRANSACTION UPDATE dbo.t SET n = 4 COMMIT").await;
    let before = script.text();
    ok(&mut one, "COMMIT").await;
    let added = script.text()[before.len()..].to_owned();
    assert_eq!(
        added,
        "\nGO\nBEGIN\nUSE [app_db];\nBEGIN TRANSACTION;\nINSERT dbo.t (n) VALUES (3);\n\
         EXEC sys.sp_simulator_spent @row_version = 2006;\nDELETE dbo.t WHERE k = 1;\n\
         UPDATE dbo.t SET n = 4;\nCOMMIT;\nEND\nGO\n"
    );
    let recorded = script.text();
    ok(&mut two, "BEGIN TRANSACTION DELETE dbo.t ROLLBACK").await;
    ok(&mut two, "BEGIN TRANSACTION COMMIT SELECT * FROM dbo.t").await;
    ok(
        &mut two,
        "DECLARE @t TABLE (a int) SET NOCOUNT ON PRINT 'x'",
    )
    .await;
    assert_eq!(script.text(), recorded);
    ok(
        &mut two,
        "SET IMPLICIT_TRANSACTIONS ON INSERT dbo.t (n) VALUES (6) INSERT dbo.t (n) VALUES (7) COMMIT",
    )
    .await;
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn what_is_not_committed_spends_values_in_a_replay_too() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let mut s = open(&database);
    ok(
        &mut s,
        "BEGIN TRANSACTION INSERT dbo.t (n) VALUES (3), (4) ROLLBACK",
    )
    .await;
    let spent = "EXEC sys.sp_simulator_spent @table = N'[dbo].[t]', @next_identity = 5;\n";
    assert!(script.text().contains(spent), "{}", script.text());
    ok(&mut s, "INSERT dbo.t (n) VALUES (5)").await;
    ok(
        &mut s,
        "BEGIN TRANSACTION INSERT dbo.t (n) VALUES (6) SAVE TRANSACTION s INSERT dbo.t (n) VALUES (7)
         ROLLBACK TRANSACTION s INSERT dbo.t (n) VALUES (8)",
    )
    .await;
    let failed = run(&mut s, "INSERT dbo.t (n) VALUES (1 / 0)").await;
    assert_eq!(failed.numbers(), [8134]);
    ok(&mut s, "CREATE UNIQUE INDEX i ON dbo.t (n)").await;
    let failed = run(&mut s, "INSERT dbo.t (n) VALUES (100), (8)").await;
    assert_eq!(failed.numbers(), [2601]);
    ok(&mut s, "INSERT dbo.t (n) VALUES (9) COMMIT").await;
    let failed = run(&mut s, "INSERT dbo.t (n) VALUES (100), (8)").await;
    assert_eq!(failed.numbers(), [2601]);
    let keys = ok(&mut s, "SELECT k FROM dbo.t ORDER BY k").await.lines();
    assert_eq!(keys[..4], ["1", "2", "5", "6"]);
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn a_session_that_ends_or_is_reset_has_spent_its_values() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let mut s = open(&database);
    ok(&mut s, "BEGIN TRANSACTION INSERT dbo.t (n) VALUES (3)").await;
    drop(s);
    let mut s = open(&database);
    ok(&mut s, "INSERT dbo.t (n) VALUES (4)").await;
    assert_eq!(ok(&mut s, "SELECT MAX(k) FROM dbo.t").await.value(), "4");
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn what_only_a_session_knows_is_recorded_as_a_constant() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let mut s = open(&database);
    ok(
        &mut s,
        "CREATE TABLE dbo.c (parent int NULL, who nvarchar(128) NULL, n int NULL, app nvarchar(9) NULL)
         INSERT dbo.t (n) VALUES (3)
         INSERT dbo.c VALUES (SCOPE_IDENTITY(), SUSER_SNAME(), @@TRANCOUNT, APP_NAME())
         UPDATE dbo.c SET n = @@ROWCOUNT, parent = @@IDENTITY WHERE who = ORIGINAL_LOGIN()",
    )
    .await;
    let text = script.text();
    assert!(
        text.contains(
            "VALUES (CAST(3 AS decimal(38,0)), CAST(N'sa' AS nvarchar(128)), CAST(0 AS int)"
        ),
        "{text}"
    );
    // Another session has none.
    ok(
        &mut open(&database),
        "INSERT dbo.c (parent) VALUES (SCOPE_IDENTITY())",
    )
    .await;
    let found = ok(&mut s, "SELECT * FROM dbo.c").await.lines();
    assert_eq!(found, ["3|sa|1|", "NULL|NULL|NULL|NULL"]);
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn what_a_replay_would_not_repeat_is_refused_with_the_reason() {
    let script = Script::new(
        "CREATE TABLE dbo.t (k int PRIMARY KEY, who sysname DEFAULT SUSER_SNAME(), n int NULL)
         ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON
         INSERT dbo.t (k) VALUES (1)
         CREATE LOGIN l WITH PASSWORD = N'Passw0rd!'
         CREATE USER l FOR LOGIN l
         GRANT INSERT, SELECT ON dbo.t TO l
         CREATE TABLE dbo.hidden (a int)",
    );
    let database = script.database().await;
    let before = script.text();
    let mut s = open(&database);
    for (user, sql, reason) in [
        (
            "sa",
            "INSERT dbo.t (k) VALUES (2)",
            "only its session knows",
        ),
        (
            "sa",
            "INSERT dbo.t (k, who, n) VALUES (2, '', IS_MEMBER('db_owner'))",
            "only its session knows",
        ),
        (
            "l",
            "INSERT dbo.t (k, who, n) SELECT 2, '', OBJECT_ID('dbo.hidden')",
            "only its session knows",
        ),
        (
            "sa",
            "INSERT dbo.t (k, who) SELECT 2, name FROM sys.databases WHERE database_id = 1",
            "logins, databases or work",
        ),
        (
            "sa",
            "DECLARE @t TABLE (a int) INSERT dbo.t (k, who) SELECT 2, '' FROM @t",
            "table variable",
        ),
    ] {
        let mut session = log_in(&database, user).unwrap();
        let answer = run(&mut session, sql).await;
        assert_eq!(answer.numbers(), [40510], "{sql}");
        let message = &answer.errors[0].message;
        assert!(message.contains("cannot be recorded"), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let mut other = open(&database);
    ok(
        &mut other,
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRANSACTION SELECT * FROM dbo.t",
    )
    .await;
    ok(&mut s, "CREATE TABLE dbo.mine (n int)").await;
    let stale = run(&mut other, "INSERT dbo.hidden SELECT n FROM dbo.t").await;
    assert!(
        stale.errors[0].message.contains("as it was before"),
        "{stale:?}"
    );
    let added = script.text()[before.len()..].to_owned();
    assert_eq!(added.matches("BEGIN\n").count(), 1, "{added}");
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn captured_changes_may_be_read_by_what_is_recorded_where_every_commit_is_captured() {
    let script = Script::new(&format!("{TABLES}\nCREATE TABLE dbo.c (n binary(10))"));
    let database = script.database().await;
    let mut s = open(&database);
    ok(
        &mut s,
        "UPDATE dbo.t SET n = 5 INSERT dbo.c SELECT __$start_lsn FROM cdc.dbo_t_CT",
    )
    .await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_stop_job INSERT dbo.c SELECT sys.fn_cdc_get_max_lsn()",
    )
    .await;
    ok(&mut s, "UPDATE dbo.t SET n = 6").await;
    let behind = run(&mut s, "INSERT dbo.c SELECT sys.fn_cdc_get_max_lsn()").await;
    assert!(
        behind.errors[0].message.contains("capture has written"),
        "{behind:?}"
    );
    let cleanup = run(&mut s, "EXEC sys.sp_cdc_start_job N'cleanup'").await;
    assert_eq!(cleanup.numbers(), [40510]);
    ok(&mut s, "EXEC sys.sp_cdc_start_job").await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_cleanup_change_table @capture_instance = N'dbo_t', @low_water_mark = NULL",
    )
    .await;
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn several_databases_logins_and_given_identity_values_are_replayed() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let mut s = open(&database);
    ok(&mut s, "CREATE DATABASE [o]]ther] COLLATE Japanese_CI_AS").await;
    ok(
        &mut s,
        "CREATE TABLE [o]]ther].dbo.t (k int IDENTITY(10, 5), n int)",
    )
    .await;
    ok(&mut s, "INSERT [o]]ther].dbo.t SELECT n FROM dbo.t").await;
    ok(
        &mut s,
        "USE [o]]ther] SET IDENTITY_INSERT t ON INSERT t (k, n) VALUES (100, 1) INSERT app_db.dbo.t (n) VALUES (3)",
    )
    .await;
    ok(
        &mut s,
        "SET IDENTITY_INSERT t OFF INSERT t VALUES (2) CREATE LOGIN l WITH PASSWORD = N'it''s'
         CREATE USER l FOR LOGIN l CREATE ROLE r ALTER ROLE r ADD MEMBER l GRANT SELECT ON dbo.t TO r",
    )
    .await;
    assert_eq!(
        run(&mut s, "CREATE DATABASE app_db").await.numbers(),
        [1801]
    );
    let again = "CREATE LOGIN l WITH PASSWORD = N'x'";
    assert_eq!(run(&mut s, again).await.numbers(), [15025]);
    let text = script.text();
    assert!(
        text.contains(
            "SET IDENTITY_INSERT [o]]ther].[dbo].[t] ON;\nINSERT t (k, n) VALUES (100, 1);\n"
        ),
        "{text}"
    );
    assert_eq!(text.matches("SET IDENTITY_INSERT").count(), 2, "{text}");
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn a_database_that_was_dropped_is_not_in_a_replay() {
    let script = Script::new(&format!("{TABLES}\nGO\nCREATE DATABASE d"));
    let database = script.database().await;
    let (mut one, mut two) = (open(&database), open(&database));
    ok(&mut one, "CREATE TABLE d.dbo.t (n int)").await;
    ok(&mut one, "INSERT d.dbo.t VALUES (7)").await;
    ok(
        &mut two,
        "BEGIN TRANSACTION INSERT dbo.t (n) SELECT n FROM d.dbo.t",
    )
    .await;
    ok(&mut one, "DROP DATABASE d").await;
    // The record has the end of what it has read before it.
    let refused = run(&mut two, "COMMIT").await;
    let message = &refused.errors[0].message;
    assert!(message.contains("has read the database d"), "{message}");
    ok(&mut one, "CREATE DATABASE d CREATE TABLE d.dbo.t (m int)").await;
    ok(&mut one, "USE d DROP TABLE t USE master DROP DATABASE d").await;
    ok(&mut one, "DROP DATABASE IF EXISTS d").await;
    let text = script.text();
    assert_eq!(text.matches("DROP DATABASE d").count(), 2, "{text}");
    assert!(!text.contains("IF EXISTS"), "{text}");
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn dates_are_read_in_the_language_of_the_session() {
    let script = Script::new(
        "CREATE LOGIN deutsch WITH PASSWORD = N'Passw0rd!', DEFAULT_LANGUAGE = German
         CREATE USER deutsch FOR LOGIN deutsch
         CREATE TABLE dbo.d (at datetime, day int, spoken nvarchar(20))
         GRANT INSERT ON dbo.d TO deutsch",
    );
    let database = script.database().await;
    let mut german = log_in(&database, "deutsch").unwrap();
    let insert = "INSERT dbo.d VALUES ('03.04.2024', DATEPART(weekday, '20240407'), @@LANGUAGE)";
    ok(&mut german, insert).await;
    let mut s = open(&database);
    ok(&mut s, insert).await;
    ok(&mut s, "SET DATEFORMAT dmy SET DATEFIRST 3").await;
    ok(&mut s, insert).await;
    let micros =
        datafusion::arrow::array::TimestampMicrosecondArray::from(vec![1_712_102_400_003_000]);
    let at = parameter("@at", SqlType::DateTime, Arc::new(micros));
    call(&mut s, "INSERT dbo.d (at) VALUES (@at)", &[at]).await;
    let found = ok(&mut s, "SELECT * FROM dbo.d ORDER BY at DESC, spoken").await;
    assert_eq!(
        found.lines(),
        [
            "2024-04-03 00:00:00.003|NULL|NULL",
            "2024-04-03 00:00:00.000|7|Deutsch",
            "2024-04-03 00:00:00.000|5|us_english",
            "2024-03-04 00:00:00.000|1|us_english"
        ]
    );
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn a_transaction_that_has_read_what_another_has_changed_is_refused() {
    let script = Script::new(&format!("{TABLES}\nCREATE DATABASE d"));
    let database = script.database().await;
    let (mut one, mut two) = (open(&database), open(&database));
    ok(&mut two, "CREATE TABLE d.dbo.t (n int)").await;
    let reads = "BEGIN TRANSACTION INSERT d.dbo.t SELECT n FROM app_db.dbo.t";
    ok(&mut two, reads).await;
    ok(&mut one, "UPDATE dbo.t SET n = 7").await;
    let refused = run(&mut two, "COMMIT").await;
    let message = &refused.errors[0].message;
    assert!(
        message.contains("has read the database app_db"),
        "{message}"
    );
    assert_eq!(
        ok(&mut two, "SELECT COUNT(*), @@TRANCOUNT FROM d.dbo.t")
            .await
            .lines(),
        ["0|0"]
    );
    ok(&mut two, reads).await;
    ok(&mut two, "COMMIT").await;
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn a_text_is_executed_with_typed_parameters() {
    let script = Script::new(TABLES);
    let database = script.database().await;
    let mut s = open(&database);
    let variant = parameter(
        "@x",
        SqlType::SqlVariant,
        Arc::new(LargeBinaryArray::from(vec![&[0x38, 0, 5, 0, 0, 0][..]])),
    );
    ok(&mut s, "CREATE TABLE dbo.v (x sql_variant, t int)").await;
    call(
        &mut s,
        "INSERT dbo.v SELECT @x, CAST(@x AS int)",
        &[variant],
    )
    .await;
    ok(
        &mut s,
        "EXEC sp_executesql N'INSERT dbo.t (n, v) VALUES (@n, @v)', N'@n int, @v nvarchar(2)', 5, @v = N'abc'",
    )
    .await;
    let last = "SELECT n, v FROM dbo.t WHERE k = 3";
    assert_eq!(ok(&mut s, last).await.lines(), ["5|ab"]);
    assert_eq!(ok(&mut s, "SELECT t FROM dbo.v").await.lines(), ["5"]);
    script.assert_repeats(database).await;
}

#[tokio::test]
async fn what_the_script_cannot_take_fails_its_commit_and_leaves_nothing() {
    let disk = Disk::new(TABLES, TABLES.len() + 300, true);
    let database =
        Database::from_record("app_db", "app_db.sql", disk.record(), Collation::SERVER).await;
    let database = database.unwrap();
    let mut s = open(&database);
    ok(&mut s, "INSERT dbo.t (n) VALUES (3)").await;
    let whole = disk.text();
    let long = format!(
        "BEGIN TRANSACTION INSERT dbo.t (v) VALUES (N'{}')",
        "x".repeat(300)
    );
    ok(&mut s, &long).await;
    let failed = run(&mut s, "COMMIT").await;
    assert_eq!(failed.numbers(), [9001]);
    assert!(matches!(
        failed.events[..],
        [TransactionEvent::RolledBack { .. }]
    ));
    let login = format!(
        "CREATE LOGIN {} WITH PASSWORD = N'Passw0rd!'",
        "l".repeat(100)
    );
    let other = format!("CREATE DATABASE {}", "d".repeat(100));
    disk.resize(whole.len() + 10);
    for sql in ["DELETE dbo.t", "CREATE TABLE dbo.u (a int)", &login, &other] {
        assert_eq!(run(&mut s, sql).await.numbers(), [9001], "{sql}");
    }
    assert_eq!(ok(&mut s, "SELECT COUNT(*) FROM dbo.t").await.value(), "3");
    let none = "SELECT OBJECT_ID('dbo.u'), (SELECT COUNT(*) FROM sys.server_principals)";
    assert_eq!(ok(&mut s, none).await.lines(), ["NULL|1"]);
    assert!(database.server.database(&"d".repeat(100)).is_none());
    disk.resize(usize::MAX);
    ok(&mut s, "INSERT dbo.t (n) VALUES (5)").await;
    assert_eq!(ok(&mut s, "SELECT MAX(k) FROM dbo.t").await.value(), "5");
    let was = everything(&database);
    let replayed = Database::from_script("app_db", "app_db.sql", &disk.text()).await;
    assert!(was == everything(&replayed.unwrap()), "{}", disk.text());
}

#[tokio::test]
async fn a_script_that_leaves_something_set_is_not_recorded_to() {
    for (set, named) in [
        ("SET IMPLICIT_TRANSACTIONS ON", "IMPLICIT_TRANSACTIONS"),
        ("SET DATEFORMAT dmy", "DATEFORMAT"),
        ("SET IDENTITY_INSERT dbo.t ON", "IDENTITY_INSERT"),
        (
            "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
            "ISOLATION LEVEL",
        ),
    ] {
        let script = Script::new(&format!("{TABLES}\n{set}"));
        let error = script.opened().await.unwrap_err();
        let SimulatorError::Script { source, .. } = error else {
            panic!("{error:?}");
        };
        assert!(source.message.contains(named), "{source}");
    }
}

#[tokio::test]
async fn a_torn_batch_is_named_with_its_line() {
    const BATCH: &str = "BEGIN\nUSE [app_db];\nINSERT dbo.t (v) VALUES (N'a\nb');\nEND\nGO\n";
    let whole = format!("{TABLES}\nGO\n{BATCH}{BATCH}");
    let first = whole.len() - BATCH.len();
    let line = whole[..first].matches('\n').count() + 1;
    for end in first..whole.len() {
        let replayed = Database::from_script("app_db", "app_db.sql", &whole[..end]).await;
        let torn = &whole[first..end];
        // A word that is cut is another word.
        let harmless = torn.is_empty() || torn.contains("\nEND") || torn.len() < "BEGIN".len();
        match replayed {
            Err(SimulatorError::Torn { line: named, .. }) => {
                assert_eq!(named as usize, line, "{torn:?}");
            }
            Err(SimulatorError::Script { line: named, .. }) => {
                assert!(named as usize >= line, "{torn:?}");
            }
            Err(error) => panic!("{error:?}"),
            Ok(_) => assert!(harmless, "{torn:?}"),
        }
    }
}

#[tokio::test]
async fn the_machines_clock_is_not_recorded() {
    let script = Script::new(TABLES);
    let options = SimulatorOptions {
        behaviour: Behaviour {
            clock: crate::simulator::Clock::Machine,
            ..Behaviour::default()
        },
        ..SimulatorOptions::default()
    };
    let started = Simulator::start(script.database().await, options).await;
    assert!(matches!(started, Err(SimulatorError::Clock)));
}

#[tokio::test]
async fn a_script_spends_values_and_a_client_does_not() {
    let spent = "EXEC sys.sp_simulator_spent @table = N'[dbo].[t]', @next_identity = 50";
    let script = Script::new(&format!("{TABLES}\n{spent}"));
    let database = script.database().await;
    let mut s = open(&database);
    assert_eq!(run(&mut s, spent).await.numbers(), [2812]);
    let next = run_with(
        &mut s,
        "INSERT dbo.t (n) VALUES (1) SELECT MAX(k) FROM dbo.t",
        &[],
    )
    .await;
    assert_eq!(next.value(), "50");
    script.assert_repeats(database).await;
}
