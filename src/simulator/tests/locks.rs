//! Readers that writers keep waiting, where the simulator is asked for that.

use super::{log_in, ok, open, run};
use crate::simulator::session::Session;
use crate::simulator::{Behaviour, CaptureControl, Database};

const TABLE: &str = "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, a int NULL)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL
    ALTER DATABASE app_db SET ALLOW_SNAPSHOT_ISOLATION ON";
const CHANGES: &str = "SELECT COUNT(*) FROM cdc.dbo_t_CT";

/// A writer, a reader, and a hand on the capture, which is held.
async fn blocking() -> (Session, Session, CaptureControl) {
    let behaviour = Behaviour {
        writers_block_readers: true,
        ..Behaviour::orderly()
    };
    let database = Database::from_script_with("app_db", "test.sql", TABLE, &behaviour)
        .await
        .unwrap()
        .behaving(behaviour);
    let control = database.capture_of("app_db").unwrap();
    control.hold();
    let reader = log_in(&database, "sa").unwrap();
    (open(&database), reader, control)
}

#[tokio::test]
async fn a_scan_that_writes_keeps_readers_of_changes_waiting() {
    let (mut writer, mut reader, control) = blocking().await;
    ok(&mut writer, "INSERT INTO t VALUES (1, 1)").await;
    let scan = control.fix_log_end();
    let busy = format!("SET LOCK_TIMEOUT 0 {CHANGES} INSERT INTO t VALUES (2, 2)");
    assert_eq!(run(&mut reader, &busy).await.numbers(), [1222]);
    // The batch went on, and the table itself can be read.
    assert_eq!(ok(&mut reader, "SELECT COUNT(*) FROM t").await.value(), "2");
    let row_versions = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT";
    assert_eq!(
        ok(&mut reader, &format!("{row_versions} {CHANGES}"))
            .await
            .value(),
        "0"
    );
    let patient = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED SET LOCK_TIMEOUT -1";
    let asked = format!("{patient} {CHANGES}");
    let released = async {
        control.reader_waits().await;
        scan.write().await
    };
    let (answer, _) = tokio::join!(run(&mut reader, &asked), released);
    assert_eq!((answer.numbers(), answer.value()), (vec![], "1"));
}

#[tokio::test]
async fn a_scan_that_is_given_up_lets_readers_go_on() {
    let (mut writer, mut reader, control) = blocking().await;
    ok(&mut writer, "INSERT INTO t VALUES (1, 1)").await;
    drop(control.fix_log_end());
    assert_eq!(ok(&mut reader, CHANGES).await.value(), "0");
}

#[tokio::test]
async fn a_table_whose_definition_changes_cannot_be_read_meanwhile() {
    let (mut writer, mut reader, _) = blocking().await;
    let asked = "SET LOCK_TIMEOUT 0 SELECT COUNT(*) FROM t";
    for change in [
        "ALTER TABLE t ADD b int NULL",
        "DROP TABLE t",
        "EXEC sp_rename N'dbo.t', N'u'",
    ] {
        ok(&mut writer, &format!("BEGIN TRANSACTION {change}")).await;
        assert_eq!(run(&mut reader, asked).await.numbers(), [1222], "{change}");
        ok(&mut writer, "ROLLBACK").await;
        assert_eq!(ok(&mut reader, asked).await.value(), "0", "{change}");
    }
}

#[tokio::test]
async fn a_reader_that_waits_can_be_cancelled() {
    let (mut writer, mut reader, control) = blocking().await;
    ok(&mut writer, "INSERT INTO t VALUES (1, 1)").await;
    let scan = control.fix_log_end();
    tokio::select! {
        answer = run(&mut reader, CHANGES) => panic!("did not wait: {answer:?}"),
        () = control.reader_waits() => {}
    }
    assert_eq!(ok(&mut reader, "SELECT 1").await.value(), "1");
    scan.write().await;
    assert_eq!(ok(&mut reader, CHANGES).await.value(), "1");
}
