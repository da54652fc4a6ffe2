//! A secondary replica that is behind, and can only be read.

use super::{log_in, ok, open, run};
use crate::simulator::session::Login;
use crate::simulator::{Behaviour, Database, ReplicaClients};

const TABLE: &str = "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, a int NULL)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL";

const MAX: &str = "SELECT sys.fn_cdc_get_max_lsn()";

/// A database with a replica that is two commits or scans behind.
async fn replicated(replica_clients: ReplicaClients) -> Database {
    let behaviour = Behaviour {
        replica_lag: 2,
        replica_clients,
        ..Behaviour::orderly()
    };
    Database::from_script_with("app_db", "test.sql", TABLE, &behaviour)
        .await
        .unwrap()
        .behaving(behaviour)
}

#[tokio::test]
async fn every_second_connection_may_be_behind() {
    let database = replicated(ReplicaClients::EverySecond).await;
    let (mut first, mut second) = (open(&database), log_in(&database, "sa").unwrap());
    for n in 1..4 {
        ok(&mut first, &format!("INSERT INTO t VALUES ({n}, {n})")).await;
    }
    let asked = "SELECT (SELECT COUNT(*) FROM t), (SELECT COUNT(*) FROM cdc.dbo_t_CT),
        IIF(sys.fn_cdc_get_max_lsn() = (SELECT MAX(__$start_lsn) FROM cdc.dbo_t_CT), 1, 0)";
    assert_eq!(ok(&mut first, asked).await.lines(), ["3|3|1"]);
    let newest = ok(&mut first, MAX).await.lines();
    // A commit and its scan are two states.
    assert_eq!(ok(&mut second, asked).await.lines(), ["2|2|1"]);
    assert_eq!(ok(&mut second, asked).await.lines(), ["3|2|1"]);
    assert_eq!(ok(&mut second, MAX).await.lines(), newest);
}

/// Facts by which a client knows a replica.
const REPLICA: &str = "SELECT DATABASEPROPERTYEX(DB_NAME(), 'Updateability'),
    DATABASEPROPERTYEX('tempdb', 'Updateability'), @@SERVERNAME,
    (SELECT COUNT(*) FROM sys.dm_cdc_log_scan_sessions)";

#[tokio::test]
async fn a_replica_can_only_be_read_and_knows_no_scans() {
    let database = replicated(ReplicaClients::EverySecond).await;
    let (mut first, mut second) = (open(&database), log_in(&database, "sa").unwrap());
    ok(&mut first, "INSERT INTO t VALUES (1, 1)").await;
    let primary = ok(&mut first, REPLICA).await.lines();
    assert!(
        primary[0].starts_with("READ_WRITE|READ_WRITE|cdcql-simulator|"),
        "{primary:?}"
    );
    assert!(!primary[0].ends_with("|0"), "{primary:?}");
    for _ in 0..2 {
        let replica = ok(&mut second, REPLICA).await.lines();
        assert_eq!(replica, ["READ_ONLY|READ_WRITE|cdcql-replica|0"]);
    }
    for write in [
        "INSERT INTO t VALUES (2, 2)",
        "UPDATE t SET a = 2",
        "BEGIN TRANSACTION DELETE FROM t",
        "TRUNCATE TABLE t",
        "CREATE TABLE dbo.u (n int)",
        "EXEC sys.sp_cdc_disable_db",
        "EXEC sys.sp_cdc_change_job N'cleanup', @retention = 1",
        "EXEC sys.sp_cdc_stop_job",
    ] {
        let answer = run(&mut second, write).await;
        assert_eq!(answer.numbers(), [3906], "{write}");
        ok(&mut second, "IF @@TRANCOUNT > 0 ROLLBACK").await;
    }
    ok(
        &mut second,
        "DECLARE @t TABLE (n int); SELECT k FROM t WITH (UPDLOCK, HOLDLOCK)",
    )
    .await;
    assert_eq!(ok(&mut first, "SELECT k, a FROM t").await.lines(), ["1|1"]);
}

#[tokio::test]
async fn a_snapshot_transaction_on_a_replica_sees_the_replica() {
    let database = replicated(ReplicaClients::EverySecond).await;
    let (mut first, mut second) = (open(&database), log_in(&database, "sa").unwrap());
    ok(
        &mut first,
        "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON",
    )
    .await;
    for n in 1..4 {
        ok(&mut first, &format!("INSERT INTO t VALUES ({n}, {n})")).await;
    }
    let begin = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT BEGIN TRANSACTION SELECT COUNT(*) FROM t";
    assert_eq!(ok(&mut second, begin).await.lines(), ["2"]);
    for _ in 0..3 {
        let again = ok(&mut second, "SELECT COUNT(*) FROM t").await;
        assert_eq!(again.lines(), ["2"]);
    }
    ok(&mut second, "COMMIT").await;
    assert_eq!(ok(&mut second, "SELECT COUNT(*) FROM t").await.value(), "3");
}

#[tokio::test]
async fn a_replica_may_get_those_alone_that_only_read() {
    let database = replicated(ReplicaClients::Readers).await;
    let ask = "SELECT DATABASEPROPERTYEX(DB_NAME(), 'Updateability')";
    for session_id in [51, 52] {
        for (reads_only, expected) in [(false, "READ_WRITE"), (true, "READ_ONLY")] {
            let login = Login {
                session_id,
                user: "sa".to_owned(),
                reads_only,
                ..Login::default()
            };
            let mut session = database.session(login).unwrap();
            assert_eq!(ok(&mut session, ask).await.value(), expected);
        }
    }
}
