//! Transactions and isolation.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int32Type;
use tokio::sync::mpsc;

use super::{call, database, ok, open, run, session};
use crate::simulator::Database;
use crate::simulator::protocol::{Reply, TransactionEvent};

const TABLE: &str = "CREATE TABLE t (k int NOT NULL PRIMARY KEY) INSERT INTO t VALUES (1)";
const COUNT: &str = "SELECT COUNT(*) FROM t";

#[tokio::test]
async fn others_see_what_is_committed() {
    let database = database(TABLE).await;
    let (mut writer, mut reader) = (open(&database), open(&database));
    ok(&mut writer, "BEGIN TRANSACTION INSERT INTO t VALUES (2)").await;
    assert_eq!(ok(&mut writer, COUNT).await.value(), "2");
    assert_eq!(ok(&mut reader, COUNT).await.value(), "1");
    ok(&mut writer, "IF @@TRANCOUNT > 0 COMMIT TRAN").await;
    assert_eq!(ok(&mut reader, COUNT).await.value(), "2");
}

#[tokio::test]
async fn a_second_writer_waits_and_gives_up() {
    let database = database(TABLE).await;
    let (mut first, mut second) = (open(&database), open(&database));
    ok(&mut first, "BEGIN TRAN INSERT INTO t VALUES (2)").await;
    ok(&mut second, "SET LOCK_TIMEOUT 0").await;
    let answer = run(&mut second, "INSERT INTO t VALUES (3)").await;
    assert_eq!(answer.numbers(), [1222]);
    drop(first);
    ok(&mut second, "INSERT INTO t VALUES (2)").await;
    assert_eq!(ok(&mut second, COUNT).await.value(), "2");
}

#[tokio::test]
async fn transactions_nest_by_count() {
    let mut s = session(TABLE).await;
    ok(
        &mut s,
        "BEGIN TRAN BEGIN TRAN INSERT INTO t VALUES (2) COMMIT",
    )
    .await;
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "1");
    ok(&mut s, "ROLLBACK").await;
    assert_eq!(ok(&mut s, COUNT).await.value(), "1");
    assert_eq!(run(&mut s, "COMMIT").await.numbers(), [3902]);
    assert_eq!(run(&mut s, "ROLLBACK TRAN").await.numbers(), [3903]);
    ok(&mut s, "IF @@TRANCOUNT > 0 ROLLBACK TRAN").await;
}

#[tokio::test]
async fn a_failed_statement_leaves_its_transaction_alone() {
    let mut s = session(TABLE).await;
    ok(&mut s, "BEGIN TRAN INSERT INTO t VALUES (2)").await;
    let answer = run(&mut s, "INSERT INTO t VALUES (3), (1)").await;
    assert_eq!(answer.numbers(), [2627]);
    ok(&mut s, "INSERT INTO t VALUES (3) COMMIT").await;
    assert_eq!(ok(&mut s, COUNT).await.value(), "3");
}

#[tokio::test]
async fn snapshot_isolation_is_one_instant() {
    let database = database(TABLE).await;
    let (mut reader, mut writer) = (open(&database), open(&database));
    ok(
        &mut reader,
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRAN",
    )
    .await;
    assert_eq!(run(&mut reader, COUNT).await.numbers(), [3952]);
    ok(
        &mut writer,
        "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON",
    )
    .await;
    ok(&mut reader, "ROLLBACK BEGIN TRAN").await;
    assert_eq!(ok(&mut reader, COUNT).await.value(), "1");
    ok(&mut writer, "INSERT INTO t VALUES (2)").await;
    assert_eq!(ok(&mut reader, COUNT).await.value(), "1");
    let conflict = run(&mut reader, "INSERT INTO t VALUES (3)").await;
    assert_eq!(conflict.numbers(), [3960]);
    assert_eq!(ok(&mut reader, COUNT).await.value(), "2");
}

#[tokio::test]
async fn a_cancelled_statement_is_undone() {
    let database = database(TABLE).await;
    let (mut holder, mut s) = (open(&database), open(&database));
    ok(&mut holder, "BEGIN TRAN INSERT INTO t VALUES (2)").await;
    {
        let waits = run(&mut s, "INSERT INTO t VALUES (3)");
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());
    }
    ok(&mut holder, "ROLLBACK").await;
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "0");
    assert_eq!(ok(&mut s, COUNT).await.value(), "1");
    ok(&mut s, "INSERT INTO t VALUES (3)").await;
}

#[tokio::test]
async fn a_database_is_dropped_when_nobody_is_in_it() {
    let database = database(TABLE).await;
    let (mut s, mut other) = (open(&database), open(&database));
    ok(&mut s, "CREATE DATABASE d").await;
    ok(
        &mut s,
        "CREATE TABLE d.dbo.t (k int) INSERT d.dbo.t VALUES (1)",
    )
    .await;
    const DROP: &str = "DROP DATABASE d";

    ok(&mut other, "USE d").await;
    let used = run(&mut s, DROP).await;
    assert_eq!(used.numbers(), [3702]);
    let text = "Cannot drop database \"d\" because it is currently in use.";
    assert_eq!(used.errors[0].message, text);
    // A call that leaves it comes back to it.
    let called = "EXEC sp_executesql N'USE master DROP DATABASE d'";
    assert_eq!(run(&mut other, called).await.numbers(), [3702]);
    ok(
        &mut other,
        "USE app_db BEGIN TRANSACTION INSERT d.dbo.t VALUES (2)",
    )
    .await;
    assert_eq!(run(&mut s, DROP).await.numbers(), [3702]);
    assert_eq!(run(&mut other, DROP).await.numbers(), [574]);
    ok(&mut other, "ROLLBACK").await;

    ok(&mut s, DROP).await;
    let gone = "SELECT COUNT(*) FROM sys.databases WHERE name = N'd'";
    assert_eq!(ok(&mut s, gone).await.value(), "0");
    assert_eq!(run(&mut other, "USE d").await.numbers(), [911]);
    let missing = run(&mut s, DROP).await;
    assert_eq!(missing.numbers(), [3701]);
    let text =
        "Cannot drop the database 'd', because it does not exist or you do not have permission.";
    assert_eq!(missing.errors[0].message, text);
    ok(&mut s, "DROP DATABASE IF EXISTS d").await;
    assert_eq!(run(&mut s, "DROP DATABASE msdb").await.numbers(), [3708]);
    assert_eq!(run(&mut s, "DROP DATABASE a, b").await.numbers(), [40510]);

    // Another one of its name is empty.
    ok(&mut s, "CREATE DATABASE d").await;
    assert_eq!(run(&mut s, "SELECT * FROM d.dbo.t").await.numbers(), [208]);
}

#[tokio::test]
async fn a_client_whose_database_was_dropped_comes_to_no_other() {
    let database = database(TABLE).await;
    let mut s = open(&database);
    ok(&mut s, "USE master DROP DATABASE app_db").await;
    assert_eq!(super::log_in(&database, "sa").unwrap_err().number, 4060);
    ok(&mut s, "CREATE DATABASE app_db").await;
    assert_eq!(run(&mut open(&database), COUNT).await.numbers(), [208]);
}

#[tokio::test]
async fn databases_are_apart() {
    let mut s = session(TABLE).await;
    ok(&mut s, "CREATE DATABASE other").await;
    assert_eq!(run(&mut s, "CREATE DATABASE other").await.numbers(), [1801]);
    let used = ok(&mut s, "USE other").await;
    assert_eq!(used.messages, ["Changed database context to 'other'."]);
    assert_eq!(s.database(), "other");
    assert_eq!(run(&mut s, COUNT).await.numbers(), [208]);
    assert_eq!(
        ok(&mut s, "SELECT COUNT(*) FROM app_db.dbo.t")
            .await
            .value(),
        "1"
    );
    assert_eq!(
        ok(&mut s, "SELECT COUNT(*) FROM app_db..t").await.value(),
        "1"
    );
    ok(&mut s, "INSERT INTO app_db.dbo.t VALUES (5)").await;
    assert_eq!(
        ok(&mut s, "SELECT MAX(k) FROM app_db.dbo.t").await.value(),
        "5"
    );
}

#[tokio::test]
async fn a_savepoint_keeps_what_came_before_it() {
    let mut s = session(TABLE).await;
    ok(
        &mut s,
        "BEGIN TRAN outermost SAVE TRAN nothing INSERT INTO t VALUES (2) SAVE TRANSACTION two
         INSERT INTO t VALUES (3) SAVE TRAN three INSERT INTO t VALUES (4)",
    )
    .await;
    ok(&mut s, "ROLLBACK TRAN two").await;
    assert_eq!(ok(&mut s, COUNT).await.value(), "2");
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "1");
    assert_eq!(run(&mut s, "ROLLBACK TRAN three").await.numbers(), [6401]);
    ok(&mut s, "ROLLBACK TRAN two INSERT INTO t VALUES (5)").await;
    ok(&mut s, "ROLLBACK TRAN nothing").await;
    assert_eq!(ok(&mut s, COUNT).await.value(), "1");
    ok(&mut s, "INSERT INTO t VALUES (6) COMMIT TRAN anything").await;
    let keys = ok(&mut s, "SELECT k FROM t ORDER BY k").await;
    assert_eq!(keys.lines(), ["1", "6"]);
    assert_eq!(run(&mut s, "SAVE TRAN two").await.numbers(), [628]);
}

#[tokio::test]
async fn a_transaction_is_rolled_back_by_its_own_name() {
    let mut s = session(TABLE).await;
    ok(&mut s, "BEGIN TRAN a BEGIN TRAN b INSERT INTO t VALUES (2)").await;
    assert_eq!(run(&mut s, "ROLLBACK TRAN b").await.numbers(), [6401]);
    ok(&mut s, "ROLLBACK TRAN a").await;
    assert_eq!(
        ok(&mut s, "SELECT @@TRANCOUNT, XACT_STATE()").await.lines(),
        ["0|0"]
    );
    assert_eq!(ok(&mut s, COUNT).await.value(), "1");
}

#[tokio::test]
async fn a_client_is_told_of_its_transactions() {
    let mut s = session(TABLE).await;
    let began = TransactionEvent::Began { transaction: 1 };
    let nested = ok(&mut s, "BEGIN TRAN BEGIN TRAN COMMIT").await;
    assert_eq!(nested.events, [began]);
    let committed = TransactionEvent::Committed { transaction: 1 };
    assert_eq!(ok(&mut s, "COMMIT").await.events, [committed]);
    let failed = run(&mut s, "BEGIN TRAN SELECT CAST('x' AS int)").await;
    assert_eq!(failed.numbers(), [245]);
    assert_eq!(
        failed.events[1..],
        [TransactionEvent::RolledBack { transaction: 2 }]
    );
}

#[tokio::test]
async fn statements_begin_implicit_transactions() {
    let mut s = session(TABLE).await;
    ok(&mut s, "SET IMPLICIT_TRANSACTIONS ON").await;
    let depth = "SELECT @@TRANCOUNT";
    assert_eq!(ok(&mut s, depth).await.value(), "0");
    ok(&mut s, COUNT).await;
    assert_eq!(ok(&mut s, depth).await.value(), "1");
    ok(&mut s, "COMMIT INSERT INTO t VALUES (2)").await;
    assert_eq!(ok(&mut s, depth).await.value(), "1");
    ok(&mut s, "ROLLBACK BEGIN TRAN").await;
    assert_eq!(ok(&mut s, depth).await.value(), "2");
    ok(&mut s, "ROLLBACK SET IMPLICIT_TRANSACTIONS OFF").await;
    assert_eq!(ok(&mut s, COUNT).await.value(), "1");
}

#[tokio::test]
async fn what_a_call_sets_ends_with_it() {
    let mut s = session(TABLE).await;
    ok(&mut s, "CREATE DATABASE other").await;
    let set = "SET NOCOUNT ON SET LOCK_TIMEOUT 5 USE other";
    let within = call(&mut s, &format!("{set} SELECT @@LOCK_TIMEOUT, DB_NAME()")).await;
    assert_eq!(within.lines(), ["5|other"]);
    let after = "SELECT @@LOCK_TIMEOUT, DB_NAME()";
    let outside = ok(&mut s, after).await;
    assert_eq!(outside.lines(), ["-1|app_db"]);
    assert_eq!(outside.counts, [Some(1)]);
    ok(&mut s, set).await;
    let outside = ok(&mut s, after).await;
    assert_eq!(outside.lines(), ["5|other"]);
    assert_eq!(outside.counts, [None]);
}

#[tokio::test]
async fn a_call_that_leaves_a_transaction_open_says_so() {
    let mut s = session(TABLE).await;
    assert_eq!(call(&mut s, "BEGIN TRAN").await.numbers(), [266]);
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "1");
    assert_eq!(call(&mut s, "SELECT 1").await.numbers(), [0; 0]);
    assert_eq!(call(&mut s, "COMMIT").await.numbers(), [266]);
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "0");
}

#[tokio::test]
async fn failed_conversions_end_a_transaction_and_other_errors_do_not() {
    let mut s = session(TABLE).await;
    ok(&mut s, "BEGIN TRAN INSERT INTO t VALUES (2)").await;
    for (sql, number) in [
        ("SELECT 1 / 0", 8134),
        ("SELECT 2147483647 + 1", 8115),
        ("INSERT INTO t VALUES (1)", 2627),
    ] {
        let answer = run(&mut s, &format!("{sql} SELECT @@TRANCOUNT")).await;
        assert_eq!(answer.numbers(), [number]);
        assert_eq!(answer.results.last().unwrap().1, [["1"]], "{sql}");
    }
    assert_eq!(
        run(&mut s, "SELECT CAST('x' AS int)").await.numbers(),
        [245]
    );
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "0");
    assert_eq!(ok(&mut s, COUNT).await.value(), "1");
}

#[tokio::test]
async fn a_lock_hint_keeps_other_writers_waiting() {
    let database = database(TABLE).await;
    let (mut first, mut second) = (open(&database), open(&database));
    ok(&mut second, "SET LOCK_TIMEOUT 0").await;
    let locked = "SELECT COUNT(*) FROM t WITH (UPDLOCK, HOLDLOCK)";
    ok(&mut first, &format!("BEGIN TRAN {locked}")).await;
    let insert = "INSERT INTO t VALUES (3)";
    assert_eq!(run(&mut second, insert).await.numbers(), [1222]);
    assert_eq!(run(&mut second, locked).await.numbers(), [1222]);
    assert_eq!(ok(&mut second, COUNT).await.value(), "1");
    ok(&mut first, "COMMIT").await;
    ok(&mut second, locked).await;
    ok(&mut second, insert).await;
    let unknown = "SELECT * FROM t WITH (NOLOCKS)";
    assert_eq!(run(&mut second, unknown).await.numbers(), [321]);
}

#[tokio::test]
async fn repeatable_reads_are_repeated_or_deadlocked() {
    let database = database(TABLE).await;
    let (mut reader, mut writer) = (open(&database), open(&database));
    ok(
        &mut reader,
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE BEGIN TRAN",
    )
    .await;
    assert_eq!(ok(&mut reader, COUNT).await.value(), "1");
    ok(&mut writer, "INSERT INTO t VALUES (2)").await;
    assert_eq!(ok(&mut reader, COUNT).await.value(), "1");
    let victim = run(&mut reader, "INSERT INTO t VALUES (3)").await;
    assert_eq!(victim.numbers(), [1205]);
    assert_eq!(ok(&mut reader, "SELECT @@TRANCOUNT").await.value(), "0");
    assert_eq!(ok(&mut reader, COUNT).await.value(), "2");
}

#[tokio::test]
async fn snapshots_conflict_only_over_the_same_table() {
    let database = database(&format!(
        "{TABLE} CREATE TABLE u (k int) ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON"
    ))
    .await;
    let (mut one, mut other) = (open(&database), open(&database));
    ok(
        &mut one,
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRAN SELECT COUNT(*) FROM t",
    )
    .await;
    ok(&mut other, "INSERT INTO t VALUES (2)").await;
    ok(&mut one, "INSERT INTO u VALUES (1)").await;
    assert_eq!(ok(&mut one, COUNT).await.value(), "1");
    assert_eq!(ok(&mut one, "SELECT COUNT(*) FROM u").await.value(), "1");
    ok(
        &mut one,
        "COMMIT SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )
    .await;
    assert_eq!(ok(&mut one, COUNT).await.value(), "2");
    assert_eq!(ok(&mut one, "SELECT COUNT(*) FROM u").await.value(), "1");
}

const MANY: &str = "CREATE TABLE m (k int NOT NULL PRIMARY KEY, n int NOT NULL)
    INSERT INTO m SELECT value, 0 FROM GENERATE_SERIES(1, 200000)";

/// The rows that a query gives, as their second column, when `change` is committed after its first rows.
async fn values_around(database: &Database, before: &str, change: &str) -> Vec<i32> {
    values_of(database, before, "SELECT k, n FROM m", change).await
}

async fn values_of(database: &Database, before: &str, query: &str, change: &str) -> Vec<i32> {
    let (mut reader, mut writer) = (open(database), open(database));
    ok(&mut reader, before).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let work = async {
        reader.run(query, &[], &sender).await;
        drop(sender);
    };
    let read = async {
        let mut values = Vec::new();
        let mut changed = false;
        while let Some(reply) = receiver.recv().await {
            if let Reply::Rows(rows) = reply {
                let column = rows.column(1).as_primitive::<Int32Type>();
                values.extend_from_slice(column.values());
                if !changed {
                    changed = true;
                    ok(&mut writer, change).await;
                }
            }
        }
        values
    };
    futures::future::join(work, read).await.1
}

#[tokio::test]
async fn a_read_committed_scan_is_no_instant() {
    let database = database(MANY).await;
    let update = "UPDATE m SET n = 1";
    let values = values_around(&database, "SELECT 1", update).await;
    assert_eq!(values.len(), 200_000);
    assert!(values.contains(&0) && values.contains(&1));
    let insert = "INSERT INTO m SELECT value, 2 FROM GENERATE_SERIES(200001, 220000)";
    let values = values_around(&database, "SELECT 1", insert).await;
    assert!(values.contains(&2));
    let delete = "DELETE FROM m WHERE k > 190000";
    let values = values_around(&database, "SELECT 1", delete).await;
    assert_eq!(values.len(), 190_000);
}

#[tokio::test]
async fn a_scan_of_row_versions_is_one_instant() {
    let database = database(MANY).await;
    let mut owner = open(&database);
    let on = "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON";
    ok(&mut owner, on).await;
    let snapshot = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT";
    let values = values_around(&database, snapshot, "UPDATE m SET n = 1").await;
    assert_eq!((values.len(), values.contains(&1)), (200_000, false));
    let versions = "ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON";
    ok(&mut owner, versions).await;
    let values = values_around(&database, "SELECT 1", "UPDATE m SET n = 2").await;
    assert_eq!((values.len(), values.contains(&2)), (200_000, false));
}

#[tokio::test]
async fn a_scan_under_a_lock_hint_is_one_instant() {
    let database = database(MANY).await;
    for (hint, value) in [("HOLDLOCK", 1), ("TABLOCK", 2), ("SERIALIZABLE", 3)] {
        let query = format!("SELECT k, n FROM m WITH ({hint})");
        let change = format!("UPDATE m SET n = {value}");
        let values = values_of(&database, "SELECT 1", &query, &change).await;
        assert_eq!((values.len(), values.contains(&value)), (200_000, false));
    }
}

#[tokio::test]
async fn a_definition_that_changes_under_a_scan_is_not_seen() {
    let database = database(MANY).await;
    let add = "ALTER TABLE m ADD x int NULL";
    let values = values_around(&database, "SELECT 1", add).await;
    assert_eq!(values.len(), 200_000);
}

#[tokio::test]
async fn a_snapshot_fails_over_a_changed_definition() {
    let database = database(&format!(
        "{TABLE} ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON"
    ))
    .await;
    let (mut reader, mut other) = (open(&database), open(&database));
    let begin = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRAN SELECT COUNT(*) FROM t";
    ok(&mut reader, begin).await;
    ok(&mut other, "ALTER TABLE t ADD x int NULL").await;
    assert_eq!(run(&mut reader, COUNT).await.numbers(), [3961]);
    assert_eq!(ok(&mut reader, "SELECT @@TRANCOUNT").await.value(), "0");
    ok(&mut reader, "BEGIN TRAN").await;
    let alter = "ALTER TABLE t ADD y int NULL";
    assert_eq!(run(&mut reader, alter).await.numbers(), [3964]);
}

#[tokio::test]
async fn a_rollback_of_another_is_no_conflict() {
    let database = database(
        "CREATE TABLE i (k int IDENTITY PRIMARY KEY, n int)
         ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON
         INSERT INTO i VALUES (1)",
    )
    .await;
    let (mut reader, mut other) = (open(&database), open(&database));
    let begin = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRAN SELECT COUNT(*) FROM i";
    ok(&mut reader, begin).await;
    ok(&mut other, "BEGIN TRAN INSERT INTO i VALUES (2) ROLLBACK").await;
    ok(&mut reader, "UPDATE i SET n = 3").await;
    ok(&mut reader, "COMMIT").await;
    ok(&mut other, "INSERT INTO i VALUES (4)").await;
    let keys = ok(&mut other, "SELECT k, n FROM i ORDER BY k").await;
    assert_eq!(keys.lines(), ["1|3", "3|4"]);
}

/// Two databases with a table of the same name, a session of each one's.
const TWINS: &str = "CREATE TABLE z (k int NOT NULL PRIMARY KEY, v int NULL)
    INSERT INTO z VALUES (1, 1)";

async fn twins() -> (super::Session, crate::simulator::Database) {
    let database = database(TWINS).await;
    let mut s = open(&database);
    ok(
        &mut s,
        &format!("CREATE DATABASE other USE other {TWINS} USE app_db"),
    )
    .await;
    (s, database)
}

#[tokio::test]
async fn a_change_by_an_alias_is_one_of_the_database_that_from_names() {
    let (mut s, _) = twins().await;
    let (own, others) = (
        "SELECT v FROM app_db.dbo.z ORDER BY k",
        "SELECT v FROM other.dbo.z ORDER BY k",
    );
    ok(
        &mut s,
        "UPDATE a SET v = 7 FROM other.dbo.z AS a WHERE a.k = 1",
    )
    .await;
    assert_eq!(ok(&mut s, own).await.value(), "1");
    assert_eq!(ok(&mut s, others).await.value(), "7");
    ok(&mut s, "UPDATE z SET v = 8 FROM other.dbo.z").await;
    ok(&mut s, "UPDATE dbo.z SET v = o.v + 1 FROM other.dbo.z AS o").await;
    assert_eq!(ok(&mut s, own).await.value(), "9");
    assert_eq!(ok(&mut s, others).await.value(), "8");
    ok(&mut s, "DELETE a FROM other.dbo.z a").await;
    assert_eq!(ok(&mut s, own).await.value(), "9");
    assert!(ok(&mut s, others).await.rows().is_empty());
}

#[tokio::test]
async fn a_drop_is_one_of_the_database_that_its_name_has_in_front() {
    let (mut s, _) = twins().await;
    let both = "DROP TABLE dbo.z, other.dbo.z";
    assert_eq!(run(&mut s, both).await.numbers(), [40510]);
    ok(
        &mut s,
        "CREATE TYPE other.dbo.name FROM int CREATE TYPE dbo.name FROM bigint",
    )
    .await;
    ok(&mut s, "DROP TYPE other.dbo.name").await;
    assert_eq!(
        run(&mut s, "DROP TYPE other.dbo.name").await.numbers(),
        [218]
    );
    ok(&mut s, "DROP TYPE dbo.name").await;
    ok(&mut s, "DROP TABLE other.dbo.z").await;
    assert_eq!(ok(&mut s, "SELECT v FROM z").await.value(), "1");
    assert_eq!(
        run(&mut s, "DROP TABLE other.dbo.z").await.numbers(),
        [3701]
    );
}

/// Cancels an INSERT that never ends once it has the writer's seat.
async fn cancel_an_insert(first: &mut super::Session, other: &mut super::Session) {
    let endless = "INSERT INTO z SELECT COUNT(*), 0 FROM GENERATE_SERIES(1, 100000) AS a,
        GENERATE_SERIES(1, 100000) AS b, GENERATE_SERIES(1, 100000) AS c
        WHERE a.value + b.value + c.value < 0";
    let writes = async {
        let update = "SET LOCK_TIMEOUT 0 UPDATE z SET v = 2";
        while run(other, update).await.numbers() != [1222] {}
        ok(other, "SET LOCK_TIMEOUT -1").await;
    };
    tokio::select! {
        answer = run(first, endless) => panic!("ended: {answer:?}"),
        () = writes => {}
    }
}

#[tokio::test]
async fn a_cancelled_statement_leaves_the_writers_seat() {
    let database = database(TWINS).await;
    let (mut first, mut other) = (open(&database), open(&database));
    cancel_an_insert(&mut first, &mut other).await;
    ok(&mut other, "UPDATE z SET v = 3").await;
    assert_eq!(ok(&mut first, "SELECT v FROM z").await.value(), "3");
}

#[tokio::test]
async fn xact_abort_gives_a_cancelled_statements_transaction_up() {
    let database = database(TWINS).await;
    let (mut first, mut other) = (open(&database), open(&database));
    ok(&mut first, "SET XACT_ABORT ON BEGIN TRAN").await;
    cancel_an_insert(&mut first, &mut other).await;
    ok(&mut other, "UPDATE z SET v = 3").await;
    assert_eq!(ok(&mut first, "SELECT @@TRANCOUNT").await.value(), "0");
}

#[tokio::test]
async fn a_snapshot_of_two_databases_is_one_instant() {
    let (mut s, database) = twins().await;
    let mut writer = open(&database);
    let on = "ALTER DATABASE app_db SET ALLOW_SNAPSHOT_ISOLATION ON
        ALTER DATABASE other SET ALLOW_SNAPSHOT_ISOLATION ON";
    ok(&mut writer, on).await;
    ok(
        &mut s,
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRAN SELECT v FROM z",
    )
    .await;
    ok(
        &mut writer,
        "UPDATE other.dbo.z SET v = 2 UPDATE z SET v = 2",
    )
    .await;
    assert_eq!(ok(&mut s, "SELECT v FROM other.dbo.z").await.value(), "1");
    assert_eq!(ok(&mut s, "SELECT v FROM z").await.value(), "1");
    let late = run(&mut s, "UPDATE other.dbo.z SET v = 3").await;
    assert_eq!(late.numbers(), [3960]);
    assert_eq!(ok(&mut s, "SELECT v FROM other.dbo.z").await.value(), "2");
}

#[tokio::test]
async fn lock_hints_are_for_the_current_database() {
    let (mut s, _) = twins().await;
    for sql in [
        "SELECT v FROM other.dbo.z WITH (UPDLOCK)",
        "SELECT v FROM other..z (TABLOCKX)",
        "BEGIN TRAN SELECT v FROM other.dbo.z WITH (HOLDLOCK)",
        "INSERT INTO z SELECT k + 1, v FROM other.dbo.z WITH (XLOCK)",
    ] {
        assert_eq!(run(&mut s, sql).await.numbers(), [40510], "{sql}");
    }
    ok(&mut s, "SELECT v FROM other.dbo.z WITH (NOLOCK)").await;
    ok(&mut s, "SELECT v FROM z (READUNCOMMITTED)").await;
}

#[tokio::test]
async fn a_reset_leaves_nothing_but_the_transaction() {
    let mut s = session("CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY)").await;
    ok(
        &mut s,
        "SET NOCOUNT ON SET LOCK_TIMEOUT 7 BEGIN TRANSACTION INSERT INTO dbo.t VALUES (1) USE master",
    )
    .await;
    s.reset().await;
    assert_eq!(s.database(), "app_db");
    let asked = "SELECT @@TRANCOUNT, @@LOCK_TIMEOUT, DB_NAME(), (SELECT COUNT(*) FROM dbo.t)";
    let answer = ok(&mut s, asked).await;
    assert_eq!(answer.lines(), ["1|-1|app_db|1"]);
    assert_eq!(answer.counts, [Some(1)]);
    ok(&mut s, "ROLLBACK").await;
    assert_eq!(ok(&mut s, "SELECT COUNT(*) FROM dbo.t").await.value(), "0");
}
