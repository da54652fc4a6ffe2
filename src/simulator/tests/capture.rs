//! Change data capture.

use super::{ok, run, session};

const TABLE: &str =
    "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, a nvarchar(20) NULL, b int NULL)
    INSERT INTO dbo.t VALUES (1, N'one', 10), (2, N'two', 20)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL";

const CHANGES: &str =
    "SELECT __$operation, __$update_mask, k, a, b, __$command_id FROM cdc.dbo_t_CT";

#[tokio::test]
async fn updates_have_two_images_and_a_mask() {
    let mut s = session(TABLE).await;
    ok(&mut s, "UPDATE dbo.t SET b = b + 1, a = a WHERE k = 2").await;
    assert_eq!(
        ok(&mut s, CHANGES).await.lines(),
        ["3|0x04|2|two|20|1", "4|0x04|2|two|21|1"]
    );
}

#[tokio::test]
async fn an_update_of_the_key_is_a_delete_and_an_insert() {
    let mut s = session(TABLE).await;
    ok(&mut s, "UPDATE dbo.t SET k = k + 10 WHERE k = 1").await;
    assert_eq!(
        ok(&mut s, CHANGES).await.lines(),
        ["1|0x07|1|one|10|1", "2|0x07|11|one|10|1"]
    );
    let positions = "SELECT DISTINCT __$start_lsn, __$seqval FROM cdc.dbo_t_CT";
    assert_eq!(ok(&mut s, positions).await.rows().len(), 1);
}

#[tokio::test]
async fn an_update_that_changes_nothing_logs_nothing() {
    let mut s = session(TABLE).await;
    let commits = "SELECT COUNT(*) FROM cdc.lsn_time_mapping";
    let before = ok(&mut s, commits).await.value().to_owned();
    let answer = ok(&mut s, "UPDATE dbo.t SET a = a").await;
    assert_eq!(answer.counts, [Some(2)]);
    assert_eq!(ok(&mut s, CHANGES).await.rows().len(), 0);
    assert_eq!(ok(&mut s, commits).await.value(), before);
}

#[tokio::test]
async fn a_transaction_has_one_lsn_and_orders_its_commands() {
    let mut s = session(TABLE).await;
    ok(
        &mut s,
        "BEGIN TRAN
         INSERT INTO dbo.t VALUES (3, N'three', 30)
         UPDATE dbo.t SET a = N'drei' WHERE k = 3
         DELETE FROM dbo.t WHERE k = 3
         COMMIT",
    )
    .await;
    assert_eq!(
        ok(&mut s, CHANGES).await.lines(),
        [
            "2|0x07|3|three|30|1",
            "3|0x02|3|three|30|2",
            "4|0x02|3|drei|30|2",
            "1|0x07|3|drei|30|3",
        ]
    );
    let lsns = "SELECT COUNT(DISTINCT __$start_lsn), COUNT(DISTINCT __$seqval) FROM cdc.dbo_t_CT";
    assert_eq!(ok(&mut s, lsns).await.lines(), ["1|3"]);
    let order = "SELECT TOP (1) m.start_lsn FROM cdc.lsn_time_mapping m JOIN cdc.dbo_t_CT c
        ON c.__$start_lsn = m.start_lsn WHERE c.__$seqval < m.start_lsn AND m.tran_begin_lsn < c.__$seqval";
    assert_eq!(ok(&mut s, order).await.rows().len(), 1);
}

#[tokio::test]
async fn a_rollback_leaves_no_trace() {
    let mut s = session(TABLE).await;
    let all = "SELECT * FROM cdc.lsn_time_mapping";
    let now = "SELECT GETDATE()";
    let (before, clock) = (ok(&mut s, all).await.lines(), ok(&mut s, now).await.lines());
    ok(&mut s, "BEGIN TRAN DELETE FROM dbo.t ROLLBACK").await;
    assert_eq!(ok(&mut s, all).await.lines(), before);
    assert_eq!(ok(&mut s, now).await.lines(), clock);
    assert_eq!(ok(&mut s, "SELECT * FROM dbo.t").await.rows().len(), 2);
    assert_eq!(ok(&mut s, CHANGES).await.rows().len(), 0);
    // The key index has forgotten the rolled-back delete as well.
    let again = run(&mut s, "INSERT INTO dbo.t VALUES (1, N'again', 0)").await;
    assert_eq!(again.numbers(), [2627]);
}

#[tokio::test]
async fn wide_tables_have_masks_of_many_bytes() {
    let columns: Vec<String> = (1..=10).map(|n| format!("c{n} int NULL")).collect();
    let mut s = session(&format!(
        "CREATE TABLE w ({}, PRIMARY KEY (c1))
         EXEC sys.sp_cdc_enable_db
         EXEC sys.sp_cdc_enable_table N'dbo', N'w', NULL, @capture_instance = N'wide'
         INSERT INTO w (c1) VALUES (1)
         UPDATE w SET c9 = 1, c2 = 1",
        columns
            .join(", ")
            .replacen("c1 int NULL", "c1 int NOT NULL", 1)
    ))
    .await;
    let masks = "SELECT __$operation, __$update_mask FROM cdc.wide_CT";
    assert_eq!(
        ok(&mut s, masks).await.lines(),
        ["2|0x03FF", "3|0x0102", "4|0x0102"]
    );
    let bits = "SELECT sys.fn_cdc_is_bit_set(9, __$update_mask), sys.fn_cdc_is_bit_set(8, __$update_mask),
        sys.fn_cdc_has_column_changed('wide', 'C2', __$update_mask) FROM cdc.wide_CT WHERE __$operation = 4";
    assert_eq!(ok(&mut s, bits).await.lines(), ["1|0|1"]);
}

#[tokio::test]
async fn large_values_are_missing_from_the_image_before() {
    let mut s = session(
        "CREATE TABLE l (k int NOT NULL PRIMARY KEY, big nvarchar(max) NULL, n int NULL)
         EXEC sys.sp_cdc_enable_db
         EXEC sys.sp_cdc_enable_table N'dbo', N'l', NULL
         INSERT INTO l VALUES (1, N'text', 1)
         UPDATE l SET n = 2
         UPDATE l SET big = N'more'",
    )
    .await;
    let rows = "SELECT __$operation, big FROM cdc.dbo_l_CT";
    assert_eq!(
        ok(&mut s, rows).await.lines(),
        ["2|text", "3|NULL", "4|text", "3|text", "4|more"]
    );
}

#[tokio::test]
async fn text_is_missing_from_every_image_before() {
    let mut s = session(
        "CREATE TABLE l (k int NOT NULL PRIMARY KEY, old text NULL)
         EXEC sys.sp_cdc_enable_db
         EXEC sys.sp_cdc_enable_table N'dbo', N'l', NULL
         INSERT INTO l VALUES (1, 'text')
         UPDATE l SET old = 'more'
         DELETE FROM l",
    )
    .await;
    let rows = "SELECT __$operation, CAST(old AS varchar(9)) FROM cdc.dbo_l_CT";
    assert_eq!(
        ok(&mut s, rows).await.lines(),
        ["2|text", "3|NULL", "4|more", "1|NULL"]
    );
}

#[tokio::test]
async fn all_changes_of_a_range() {
    let mut s = session(TABLE).await;
    ok(&mut s, "UPDATE dbo.t SET b = 0 WHERE k = 1").await;
    ok(&mut s, "DELETE FROM dbo.t WHERE k = 2").await;
    let all = |option: &str| {
        format!(
            "SELECT __$operation, k, b FROM app_db.cdc.fn_cdc_get_all_changes_dbo_t(
             sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn(), N'{option}')"
        )
    };
    assert_eq!(ok(&mut s, &all("all")).await.lines(), ["4|1|0", "1|2|20"]);
    assert_eq!(
        ok(&mut s, &all("all update old")).await.lines(),
        ["3|1|10", "4|1|0", "1|2|20"]
    );
    assert_eq!(run(&mut s, &all("everything")).await.numbers(), [313]);
    let columns = "SELECT TOP (0) * FROM cdc.fn_cdc_get_all_changes_dbo_t(
        sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn(), 'all')";
    assert_eq!(
        ok(&mut s, columns).await.names(),
        [
            "__$start_lsn",
            "__$seqval",
            "__$operation",
            "__$update_mask",
            "k",
            "a",
            "b"
        ]
    );
    for range in [
        "0x00, sys.fn_cdc_get_max_lsn()",
        "sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_increment_lsn(sys.fn_cdc_get_max_lsn())",
        "sys.fn_cdc_get_max_lsn(), sys.fn_cdc_get_min_lsn('dbo_t')",
        "NULL, NULL",
    ] {
        let query = format!("SELECT * FROM cdc.fn_cdc_get_all_changes_dbo_t({range}, N'all')");
        assert_eq!(run(&mut s, &query).await.numbers(), [313], "{range}");
    }
}

#[tokio::test]
async fn lsns_and_times_map_to_each_other() {
    let mut s = session(TABLE).await;
    ok(&mut s, "DELETE FROM dbo.t WHERE k = 2").await;
    let same = "SELECT CASE WHEN sys.fn_cdc_map_time_to_lsn('largest less than or equal', GETDATE())
        = sys.fn_cdc_get_max_lsn() THEN 1 ELSE 0 END, sys.fn_cdc_map_lsn_to_time(sys.fn_cdc_get_max_lsn()), GETDATE()";
    assert_eq!(
        ok(&mut s, same).await.lines(),
        ["1|2024-01-01 00:00:05.000|2024-01-01 00:00:05.000"]
    );
    let none = "SELECT sys.fn_cdc_map_time_to_lsn('smallest greater than', GETDATE()), sys.fn_cdc_get_min_lsn('x')";
    assert_eq!(
        ok(&mut s, none).await.lines(),
        ["NULL|0x00000000000000000000"]
    );
}

#[tokio::test]
async fn procedures_refuse_what_cannot_be() {
    let mut s = session("CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY)").await;
    let enable = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL";
    assert_eq!(run(&mut s, enable).await.numbers(), [22901]);
    ok(&mut s, "EXEC sys.sp_cdc_enable_db").await;
    ok(&mut s, enable).await;
    assert_eq!(run(&mut s, enable).await.numbers(), [22926]);
    let second = format!("{enable}, @capture_instance = N'second'");
    ok(&mut s, &second).await;
    let third = format!("{enable}, @capture_instance = N'third'");
    assert_eq!(run(&mut s, &third).await.numbers(), [22962]);
    let missing = "sys.sp_cdc_enable_table N'dbo', N'nothing', NULL";
    assert_eq!(run(&mut s, missing).await.numbers(), [22931]);
    let no_role = "EXEC sys.sp_cdc_enable_table N'dbo', N't'";
    assert_eq!(run(&mut s, no_role).await.numbers(), [201]);
    assert_eq!(run(&mut s, "TRUNCATE TABLE dbo.t").await.numbers(), [4711]);
    assert_eq!(run(&mut s, "EXEC sp_nonsense").await.numbers(), [2812]);
}

#[tokio::test]
async fn two_instances_capture_the_same_changes() {
    let mut s = session(TABLE).await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'keys', @captured_column_list = N'[k]'",
    )
    .await;
    ok(&mut s, "INSERT INTO dbo.t VALUES (3, N'three', 30)").await;
    let both = "SELECT a.__$seqval, b.__$update_mask FROM cdc.dbo_t_CT a JOIN cdc.keys_CT b ON a.__$seqval = b.__$seqval";
    assert_eq!(ok(&mut s, both).await.rows()[0][1], "0x01");
    ok(
        &mut s,
        "EXEC sys.sp_cdc_disable_table N'dbo', N't', N'keys'",
    )
    .await;
    assert_eq!(
        run(&mut s, "SELECT * FROM cdc.keys_CT").await.numbers(),
        [208]
    );
    ok(&mut s, "EXEC sys.sp_cdc_disable_db").await;
    assert_eq!(
        run(&mut s, "SELECT * FROM cdc.change_tables")
            .await
            .numbers(),
        [208]
    );
}

#[tokio::test]
async fn cleanup_moves_the_low_end() {
    let mut s = session(TABLE).await;
    ok(&mut s, "DELETE FROM dbo.t WHERE k = 1").await;
    ok(&mut s, "DELETE FROM dbo.t WHERE k = 2").await;
    let max = ok(&mut s, "SELECT sys.fn_cdc_get_max_lsn()")
        .await
        .value()
        .to_owned();
    ok(
        &mut s,
        &format!("EXEC sys.sp_cdc_cleanup_change_table N'dbo_t', {max}"),
    )
    .await;
    assert_eq!(
        ok(&mut s, "SELECT sys.fn_cdc_get_min_lsn('dbo_t')")
            .await
            .value(),
        max
    );
    assert_eq!(ok(&mut s, CHANGES).await.lines(), ["1|0x07|2|two|20|1"]);
    let bad = "EXEC sys.sp_cdc_cleanup_change_table N'dbo_t', 0x00000000000000000001";
    assert_eq!(run(&mut s, bad).await.numbers(), [22964]);
}
