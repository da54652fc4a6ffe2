//! Transactions and isolation.

use super::{database, ok, open, run, session};

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
