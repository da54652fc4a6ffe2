//! Definitions that change under capture, and databases that go back in time.

use super::{database, ok, open, run, session};
use crate::simulator::session::Session;

const TABLE: &str =
    "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, a nvarchar(10) NULL, b int NULL)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL
    INSERT INTO dbo.t VALUES (1, N'one', 1)";

async fn value(session: &mut Session, sql: &str) -> String {
    ok(session, sql).await.value().to_owned()
}

#[tokio::test]
async fn an_instance_keeps_its_shape() {
    let mut s = session(TABLE).await;
    ok(&mut s, "ALTER TABLE dbo.t ADD c int NULL").await;
    ok(&mut s, "UPDATE dbo.t SET c = 5, b = 2").await;
    ok(&mut s, "ALTER TABLE dbo.t DROP COLUMN b").await;
    ok(&mut s, "INSERT INTO dbo.t VALUES (2, N'two', 6)").await;
    assert_eq!(
        ok(&mut s, "SELECT * FROM dbo.t ORDER BY k").await.lines(),
        ["1|one|5", "2|two|6"]
    );
    assert_eq!(
        ok(
            &mut s,
            "SELECT __$operation, __$update_mask, k, a, b FROM cdc.dbo_t_CT"
        )
        .await
        .lines(),
        [
            "2|0x07|1|one|1",
            "3|0x04|1|one|1",
            "4|0x04|1|one|2",
            "2|0x07|2|two|NULL"
        ]
    );
    ok(
        &mut s,
        "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'second'",
    )
    .await;
    ok(&mut s, "UPDATE dbo.t SET c = 7 WHERE k = 2").await;
    assert_eq!(
        ok(
            &mut s,
            "SELECT k, a, c FROM cdc.second_CT WHERE __$operation = 4"
        )
        .await
        .lines(),
        ["2|two|7"]
    );
    assert_eq!(
        ok(&mut s, "SELECT k FROM cdc.dbo_t_CT").await.rows().len(),
        4
    );
}

#[tokio::test]
async fn a_column_id_is_never_used_again() {
    let mut s = session(TABLE).await;
    ok(&mut s, "ALTER TABLE dbo.t DROP COLUMN b").await;
    ok(&mut s, "ALTER TABLE dbo.t ADD b int NULL").await;
    ok(&mut s, "UPDATE dbo.t SET b = 9, a = N'x'").await;
    let id =
        "SELECT column_id FROM sys.columns WHERE object_id = OBJECT_ID('dbo.t') AND name = 'b'";
    assert_eq!(value(&mut s, id).await, "4");
    let last = "SELECT a, b FROM cdc.dbo_t_CT WHERE __$operation = 4";
    assert_eq!(ok(&mut s, last).await.lines(), ["x|NULL"]);
}

#[tokio::test]
async fn the_change_table_follows_a_columns_type() {
    let mut s = session(TABLE).await;
    ok(&mut s, "ALTER TABLE dbo.t ALTER COLUMN a nvarchar(50) NULL").await;
    ok(&mut s, "ALTER TABLE dbo.t ALTER COLUMN b bigint").await;
    ok(
        &mut s,
        "UPDATE dbo.t SET a = REPLICATE(N'x', 20), b = 5000000000",
    )
    .await;
    let types = "SELECT c.name, TYPE_NAME(c.system_type_id), c.max_length FROM sys.columns c
        WHERE c.object_id = OBJECT_ID('cdc.dbo_t_CT') AND c.name IN ('a', 'b') ORDER BY c.name";
    assert_eq!(
        ok(&mut s, types).await.lines(),
        ["a|nvarchar|100", "b|bigint|8"]
    );
    assert_eq!(
        ok(
            &mut s,
            "SELECT a, b FROM cdc.dbo_t_CT WHERE __$operation <> 3"
        )
        .await
        .lines(),
        ["one|1", "xxxxxxxxxxxxxxxxxxxx|5000000000"]
    );
    let history = ok(
        &mut s,
        "SELECT required_column_update, ddl_command FROM cdc.ddl_history ORDER BY ddl_lsn",
    )
    .await;
    assert_eq!(
        history.lines(),
        [
            "1|ALTER TABLE dbo.t ALTER COLUMN a nvarchar(50) NULL",
            "1|ALTER TABLE dbo.t ALTER COLUMN b bigint"
        ]
    );
    let report = ok(&mut s, "EXEC sys.sp_cdc_get_ddl_history N'dbo_t'").await;
    assert_eq!(report.rows().len(), 2);
    let captured = "SELECT column_type FROM cdc.captured_columns WHERE column_name = 'b'";
    assert_eq!(value(&mut s, captured).await, "bigint");
}

#[tokio::test]
async fn narrowing_a_column_stops_all_capture() {
    let mut s = session(TABLE).await;
    ok(&mut s, "UPDATE dbo.t SET a = N'x'").await;
    ok(&mut s, "ALTER TABLE dbo.t ALTER COLUMN a nvarchar(2) NULL").await;
    ok(&mut s, "INSERT INTO dbo.t VALUES (2, N'y', 2)").await;
    assert_eq!(
        value(&mut s, "SELECT COUNT(*) FROM cdc.dbo_t_CT").await,
        "3"
    );
    let errors = "SELECT TOP (1) error_number FROM sys.dm_cdc_errors";
    assert_eq!(value(&mut s, errors).await, "2628");
    let failed = "SELECT TOP (1) CASE WHEN error_count > 0 THEN 1 ELSE 0 END
        FROM sys.dm_cdc_log_scan_sessions WHERE session_id <> 0 ORDER BY session_id DESC";
    assert_eq!(value(&mut s, failed).await, "1");
    // Without the instance there is nothing to narrow.
    ok(
        &mut s,
        "EXEC sys.sp_cdc_disable_table N'dbo', N't', N'dbo_t'",
    )
    .await;
    ok(&mut s, "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL").await;
    ok(&mut s, "INSERT INTO dbo.t VALUES (3, N'z', 3)").await;
    assert_eq!(
        ok(&mut s, "SELECT k FROM cdc.dbo_t_CT").await.lines(),
        ["3"]
    );
}

#[tokio::test]
async fn a_changed_type_is_captured_in_its_turn() {
    let database = database(TABLE).await;
    let control = database.capture_of("app_db").unwrap();
    let mut s = open(&database);
    control.hold();
    ok(&mut s, "ALTER TABLE dbo.t ALTER COLUMN b bigint").await;
    let kind = "SELECT TYPE_NAME(system_type_id) FROM sys.columns
        WHERE object_id = OBJECT_ID('cdc.dbo_t_CT') AND name = 'b'";
    assert_eq!(value(&mut s, kind).await, "int");
    control.step().await;
    assert_eq!(value(&mut s, kind).await, "bigint");
}

#[tokio::test]
async fn names_change_and_the_instance_goes_on() {
    let mut s = session(TABLE).await;
    ok(&mut s, "EXEC sp_rename 'dbo.t.a', 'label', 'COLUMN'").await;
    ok(&mut s, "EXEC sp_rename N'dbo.t', N'renamed'").await;
    ok(&mut s, "UPDATE dbo.renamed SET label = N'new'").await;
    assert_eq!(run(&mut s, "SELECT * FROM dbo.t").await.numbers(), [208]);
    let last = "SELECT a FROM cdc.dbo_t_CT WHERE __$operation = 4";
    assert_eq!(value(&mut s, last).await, "new");
    let names = "SELECT cc.column_name, src.name, OBJECT_NAME(ct.source_object_id)
        FROM cdc.change_tables ct JOIN cdc.captured_columns cc ON cc.object_id = ct.object_id
        JOIN sys.columns src ON src.object_id = ct.source_object_id AND src.column_id = cc.column_id
        WHERE cc.column_ordinal = 2";
    assert_eq!(ok(&mut s, names).await.lines(), ["a|label|renamed"]);
    for (bad, number) in [
        ("EXEC sp_rename 'dbo.nothing', 'x'", 15225),
        ("EXEC sp_rename 'dbo.renamed.nothing', 'x', 'COLUMN'", 15225),
        ("EXEC sp_rename 'dbo.renamed.label', 'b', 'COLUMN'", 15335),
        ("EXEC sp_rename 'cdc.dbo_t_CT', 'x'", 15225),
    ] {
        assert_eq!(run(&mut s, bad).await.numbers(), [number], "{bad}");
    }
}

#[tokio::test]
async fn what_capture_stands_on_cannot_be_altered_away() {
    let mut s = session(
        "CREATE TABLE dbo.t (k int NOT NULL CONSTRAINT pk PRIMARY KEY, u int CONSTRAINT uq UNIQUE)
         EXEC sys.sp_cdc_enable_db
         EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL",
    )
    .await;
    for (bad, number) in [
        ("ALTER TABLE t DROP CONSTRAINT pk", 22979),
        ("ALTER TABLE t DROP CONSTRAINT nothing", 3728),
        ("ALTER TABLE t DROP COLUMN k", 5074),
        ("ALTER TABLE t DROP COLUMN nothing", 4924),
        ("ALTER TABLE t ALTER COLUMN k bigint NOT NULL", 5074),
        ("ALTER TABLE nothing DROP COLUMN k", 4902),
        ("TRUNCATE TABLE t", 4711),
    ] {
        assert_eq!(run(&mut s, bad).await.numbers(), [number], "{bad}");
    }
    ok(&mut s, "ALTER TABLE t DROP CONSTRAINT uq").await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1), (2, 1)").await;
}

#[tokio::test]
async fn a_dropped_tables_instance_waits_for_the_scan() {
    let database = database(TABLE).await;
    let control = database.capture_of("app_db").unwrap();
    let mut s = open(&database);
    control.hold();
    ok(&mut s, "DROP TABLE dbo.t").await;
    let pending = "SELECT has_drop_pending FROM cdc.change_tables";
    assert_eq!(value(&mut s, pending).await, "1");
    assert_eq!(
        ok(&mut s, "SELECT k FROM cdc.dbo_t_CT").await.rows().len(),
        1
    );
    control.step().await;
    assert_eq!(ok(&mut s, pending).await.rows().len(), 0);
    assert_eq!(
        run(&mut s, "SELECT k FROM cdc.dbo_t_CT").await.numbers(),
        [208]
    );
}

#[tokio::test]
async fn an_instance_that_is_made_again_begins_later() {
    let mut s = session(TABLE).await;
    let start = "SELECT start_lsn FROM cdc.change_tables";
    let before = value(&mut s, start).await;
    ok(&mut s, "EXEC sys.sp_cdc_disable_table N'dbo', N't', N'all'").await;
    ok(&mut s, "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL").await;
    assert!(value(&mut s, start).await > before);
    assert_eq!(
        ok(&mut s, "SELECT k FROM cdc.dbo_t_CT").await.rows().len(),
        0
    );
    ok(&mut s, "EXEC sys.sp_cdc_disable_db").await;
    ok(&mut s, "EXEC sys.sp_cdc_enable_db").await;
    assert_eq!(
        value(&mut s, "SELECT COUNT(*) FROM cdc.lsn_time_mapping").await,
        "0"
    );
}

#[tokio::test]
async fn a_restored_database_has_another_history() {
    let database = database(TABLE).await;
    let control = database.capture_of("app_db").unwrap();
    let mut s = open(&database);
    let newest = "SELECT TOP (1) start_lsn, tran_end_time, tran_id FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC";
    let kept = control.keep();
    let old = ok(&mut s, newest).await.rows()[0].clone();
    ok(&mut s, "INSERT INTO dbo.t VALUES (2, N'two', 2)").await;
    let lost = ok(&mut s, newest).await.rows()[0].clone();
    control.restore(&kept).await;
    assert_eq!(ok(&mut s, newest).await.rows()[0], old);
    assert_eq!(ok(&mut s, "SELECT k FROM dbo.t").await.lines(), ["1"]);
    ok(&mut s, "INSERT INTO dbo.t VALUES (2, N'two', 2)").await;
    let again = ok(&mut s, newest).await.rows()[0].clone();
    assert_eq!(
        again[..2],
        lost[..2],
        "the LSN and the time are given out again"
    );
    assert_ne!(again[2], lost[2], "to another transaction");
}

#[tokio::test]
async fn a_stopped_job_does_not_start_with_a_restore() {
    let database = database(TABLE).await;
    let control = database.capture_of("app_db").unwrap();
    let mut s = open(&database);
    let commits = "SELECT COUNT(*) FROM cdc.lsn_time_mapping";
    let kept = control.keep();
    let before = value(&mut s, commits).await;
    ok(&mut s, "EXEC sys.sp_cdc_stop_job").await;
    control.restore(&kept).await;
    ok(&mut s, "INSERT INTO dbo.t VALUES (2, N'two', 2)").await;
    assert_eq!(value(&mut s, commits).await, before);
    ok(&mut s, "EXEC sys.sp_cdc_start_job").await;
    assert_ne!(value(&mut s, commits).await, before);
}

#[tokio::test]
async fn cleanup_moves_the_low_end_before_it_deletes() {
    let database = database(TABLE).await;
    let control = database.capture_of("app_db").unwrap();
    let mut s = open(&database);
    ok(&mut s, "UPDATE dbo.t SET b = 2").await;
    let newest = value(&mut s, "SELECT sys.fn_cdc_get_max_lsn()").await;
    let mark: Vec<u8> = (2..newest.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&newest[at..at + 2], 16).unwrap())
        .collect();
    let mark: [u8; 10] = mark.try_into().unwrap();
    let begun = control.begin_cleanup("dbo_t", mark).unwrap();
    let low = "SELECT sys.fn_cdc_get_min_lsn('dbo_t')";
    assert_eq!(value(&mut s, low).await, newest);
    let rows = "SELECT COUNT(*) FROM cdc.dbo_t_CT";
    assert_eq!(value(&mut s, rows).await, "3");
    begun.delete_rows().unwrap();
    assert_eq!(value(&mut s, rows).await, "2");
    assert_eq!(
        value(&mut s, "SELECT COUNT(*) FROM cdc.lsn_time_mapping").await,
        "1"
    );
    let missing = control.begin_cleanup("dbo_t", [0; 10]).unwrap_err();
    assert_eq!(missing.number, 22964);
}

#[tokio::test]
async fn the_cleanup_job_counts_from_the_newest_commit() {
    let mut s = session(TABLE).await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_change_job N'cleanup', @retention = 1",
    )
    .await;
    for n in 0..90 {
        ok(&mut s, &format!("UPDATE dbo.t SET b = {}", n + 10)).await;
    }
    ok(&mut s, "EXEC sys.sp_cdc_start_job N'cleanup'").await;
    // A statement a second: the last minute has the newest commit and the sixty before it.
    let kept = "SELECT COUNT(DISTINCT __$start_lsn) FROM cdc.dbo_t_CT";
    assert_eq!(value(&mut s, kept).await, "61");
    let low = "SELECT CASE WHEN sys.fn_cdc_get_min_lsn('dbo_t') =
        (SELECT MIN(start_lsn) FROM cdc.lsn_time_mapping) THEN 1 ELSE 0 END";
    assert_eq!(value(&mut s, low).await, "1");
    let bad = "EXEC sys.sp_cdc_change_job N'cleanup', @retention = 0";
    assert_eq!(run(&mut s, bad).await.numbers(), [22994]);
}
