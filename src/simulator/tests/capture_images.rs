//! What changes look like in change tables, in general and where servers differ.

use super::{behaving, ok, run, session};
use crate::simulator::{CaptureBehaviour, CommandId};

const TABLE: &str =
    "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, u int NULL UNIQUE, b bit NOT NULL, a int NULL)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL
    INSERT INTO dbo.t VALUES (1, 10, 1, 0), (2, 20, 0, 0)";

const CHANGES: &str = "SELECT __$operation, __$update_mask, k, u, b, a FROM cdc.dbo_t_CT";

#[tokio::test]
async fn an_update_of_a_unique_column_is_a_delete_and_an_insert_of_one_key() {
    let mut s = session(TABLE).await;
    ok(&mut s, "UPDATE t SET u = 11 WHERE k = 1").await;
    assert_eq!(
        ok(&mut s, CHANGES).await.lines()[2..],
        ["1|0x0F|1|10|1|0", "2|0x0F|1|11|1|0"]
    );
    let positions = "SELECT DISTINCT __$seqval FROM cdc.dbo_t_CT WHERE u = 11 OR __$operation = 1";
    assert_eq!(ok(&mut s, positions).await.rows().len(), 1);
}

#[tokio::test]
async fn deletes_can_lose_what_is_not_null() {
    let capture = CaptureBehaviour {
        deletes_lose_values: true,
        ..CaptureBehaviour::default()
    };
    let (mut s, _) = behaving(TABLE, capture).await;
    ok(&mut s, "DELETE FROM t WHERE k = 1").await;
    assert_eq!(
        ok(&mut s, CHANGES).await.lines()[2..],
        ["1|0x0F|1|10|NULL|0"]
    );
}

#[tokio::test]
async fn large_values_that_an_update_leaves_alone_can_be_omitted() {
    const LARGE: &str =
        "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, a int NULL, n nvarchar(max) NULL)
        EXEC sys.sp_cdc_enable_db
        EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL
        INSERT INTO dbo.t VALUES (1, 0, N'long')
        UPDATE dbo.t SET a = 1
        UPDATE dbo.t SET a = 2, n = N'longer'";
    let images = "SELECT __$operation, __$update_mask, n FROM cdc.dbo_t_CT";
    for omits in [false, true] {
        let capture = CaptureBehaviour {
            updates_omit_unchanged_values: omits,
            ..CaptureBehaviour::default()
        };
        let (mut s, _) = behaving(LARGE, capture).await;
        let after = if omits { "4|0x02|NULL" } else { "4|0x02|long" };
        assert_eq!(
            ok(&mut s, images).await.lines(),
            [
                "2|0x07|long",
                "3|0x02|NULL",
                after,
                "3|0x06|long",
                "4|0x06|longer"
            ]
        );
    }
}

#[tokio::test]
async fn trace_flag_8207_keeps_updates_of_one_key_whole() {
    let capture = CaptureBehaviour {
        trace_flag_8207: true,
        ..CaptureBehaviour::default()
    };
    let (mut s, _) = behaving(TABLE, capture).await;
    ok(&mut s, "UPDATE t SET k = 3 WHERE k = 1").await;
    assert_eq!(
        ok(&mut s, CHANGES).await.lines()[2..],
        ["3|0x01|1|10|1|0", "4|0x01|3|10|1|0"]
    );
    // Several keys at once are still deleted and inserted.
    ok(&mut s, "UPDATE t SET k = k + 10").await;
    let last = ok(&mut s, CHANGES).await.lines().split_off(4);
    let kinds: Vec<&str> = last.iter().map(|line| &line[..1]).collect();
    assert_eq!(kinds, ["1", "1", "2", "2"]);
}

#[tokio::test]
async fn keys_that_take_each_others_place_leave_before_they_come() {
    let mut s = session(TABLE).await;
    ok(&mut s, "UPDATE t SET k = k + 1, a = k").await;
    let ordered = "SELECT __$operation, k, a FROM cdc.dbo_t_CT WHERE a > 0 OR __$operation = 1
        ORDER BY __$start_lsn, __$command_id, __$seqval, __$operation";
    assert_eq!(
        ok(&mut s, ordered).await.lines(),
        ["1|1|0", "1|2|0", "2|2|1", "2|3|2"]
    );
    let positions =
        "SELECT COUNT(DISTINCT __$seqval) FROM cdc.dbo_t_CT WHERE a > 0 OR __$operation = 1";
    assert_eq!(ok(&mut s, positions).await.value(), "4");
}

#[tokio::test]
async fn change_tables_of_old_servers_number_no_commands() {
    let capture = CaptureBehaviour {
        command_id: CommandId::Absent,
        ..CaptureBehaviour::default()
    };
    let (mut s, _) = behaving(TABLE, capture).await;
    assert_eq!(ok(&mut s, CHANGES).await.rows().len(), 2);
    assert_eq!(
        run(&mut s, "SELECT __$command_id FROM cdc.dbo_t_CT")
            .await
            .numbers(),
        [207]
    );
    let all = "SELECT TOP (0) * FROM cdc.fn_cdc_get_all_changes_dbo_t(
        sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn(), 'all')";
    assert_eq!(ok(&mut s, all).await.names()[4..], ["k", "u", "b", "a"]);
}

#[tokio::test]
async fn the_command_id_can_be_outside_of_the_clustered_index() {
    let index = "SELECT c.name FROM sys.index_columns k JOIN sys.columns c
        ON c.object_id = k.object_id AND c.column_id = k.column_id
        WHERE k.object_id = OBJECT_ID('cdc.dbo_t_CT') ORDER BY k.key_ordinal";
    let mut s = session(TABLE).await;
    assert_eq!(
        ok(&mut s, index).await.lines(),
        ["__$start_lsn", "__$command_id", "__$seqval", "__$operation"]
    );
    let capture = CaptureBehaviour {
        command_id: CommandId::Unindexed,
        ..CaptureBehaviour::default()
    };
    let (mut s, _) = behaving(TABLE, capture).await;
    assert_eq!(
        ok(&mut s, index).await.lines(),
        ["__$start_lsn", "__$seqval", "__$operation"]
    );
    ok(&mut s, "SELECT __$command_id FROM cdc.dbo_t_CT").await;
}

#[tokio::test]
async fn computed_columns_are_null_in_changes() {
    let mut s = session(
        "CREATE TABLE dbo.c (k int NOT NULL PRIMARY KEY, a int NULL, twice AS a * 2, label AS (N'n' + CAST(k AS nvarchar(10))) PERSISTED)
         EXEC sys.sp_cdc_enable_db
         EXEC sys.sp_cdc_enable_table N'dbo', N'c', NULL
         INSERT INTO dbo.c VALUES (1, 5), (2, NULL)
         UPDATE dbo.c SET a = 6 WHERE k = 1",
    )
    .await;
    let rows = "SELECT k, twice, label FROM dbo.c ORDER BY k";
    assert_eq!(ok(&mut s, rows).await.lines(), ["1|12|n1", "2|NULL|n2"]);
    assert_eq!(
        ok(
            &mut s,
            "SELECT __$operation, __$update_mask, k, a, twice, label FROM cdc.dbo_c_CT"
        )
        .await
        .lines(),
        [
            "2|0x0F|1|5|NULL|NULL",
            "2|0x0F|2|NULL|NULL|NULL",
            "3|0x02|1|5|NULL|NULL",
            "4|0x02|1|6|NULL|NULL"
        ]
    );
    let known = "SELECT column_name FROM cdc.captured_columns WHERE is_computed = 1 ORDER BY column_ordinal";
    assert_eq!(ok(&mut s, known).await.lines(), ["twice", "label"]);
    let described = "SELECT name, is_persisted FROM sys.computed_columns ORDER BY column_id";
    assert_eq!(ok(&mut s, described).await.lines(), ["twice|0", "label|1"]);
    for bad in [
        "INSERT INTO dbo.c (k, twice) VALUES (3, 1)",
        "UPDATE dbo.c SET twice = 1",
    ] {
        assert_eq!(run(&mut s, bad).await.numbers(), [271], "{bad}");
    }
    let drop = "ALTER TABLE dbo.c DROP COLUMN a";
    assert_eq!(run(&mut s, drop).await.numbers(), [5074]);
}

const NET: &str = "FROM cdc.fn_cdc_get_net_changes_dbo_t(
    sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn(), ";

#[tokio::test]
async fn net_changes_have_one_row_for_each_key() {
    let mut s = session(TABLE).await;
    let low = ok(&mut s, "SELECT sys.fn_cdc_get_max_lsn()")
        .await
        .value()
        .to_owned();
    ok(
        &mut s,
        &format!("EXEC sys.sp_cdc_cleanup_change_table N'dbo_t', {low}"),
    )
    .await;
    ok(&mut s, "DELETE FROM t WHERE k = 2").await;
    let net = |option: &str| {
        format!(
            "SELECT __$operation, __$update_mask, k, a FROM cdc.fn_cdc_get_net_changes_dbo_t(
             sys.fn_cdc_increment_lsn({low}), sys.fn_cdc_get_max_lsn(), N'{option}') ORDER BY k"
        )
    };
    ok(&mut s, "UPDATE t SET a = 1 WHERE k = 1").await;
    ok(&mut s, "UPDATE t SET b = 0 WHERE k = 1").await;
    ok(&mut s, "INSERT INTO t VALUES (3, 30, 0, 3)").await;
    ok(&mut s, "UPDATE t SET a = 4 WHERE k = 3").await;
    ok(&mut s, "INSERT INTO t VALUES (4, 40, 0, 4)").await;
    ok(&mut s, "DELETE FROM t WHERE k = 4").await;
    assert_eq!(
        ok(&mut s, &net("all")).await.lines(),
        ["4|NULL|1|1", "1|NULL|2|0", "2|NULL|3|4"]
    );
    assert_eq!(
        ok(&mut s, &net("all with mask")).await.lines(),
        ["4|0x0C|1|1", "1|NULL|2|0", "2|NULL|3|4"]
    );
    assert_eq!(
        ok(&mut s, &net("all with merge")).await.lines(),
        ["5|NULL|1|1", "1|NULL|2|0", "5|NULL|3|4"]
    );
    assert_eq!(run(&mut s, &net("all update old")).await.numbers(), [313]);
    let columns = format!("SELECT TOP (0) * {NET} 'all')");
    assert_eq!(
        ok(&mut s, &columns).await.names(),
        [
            "__$start_lsn",
            "__$operation",
            "__$update_mask",
            "k",
            "u",
            "b",
            "a"
        ]
    );
}

#[tokio::test]
async fn net_changes_need_a_key_and_the_instances_support() {
    let mut s = session(TABLE).await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'plain', @supports_net_changes = 0",
    )
    .await;
    let plain = "SELECT * FROM cdc.fn_cdc_get_net_changes_plain(0x00, 0x00, 'all')";
    assert_eq!(run(&mut s, plain).await.numbers(), [208]);
    let range = "SELECT * FROM cdc.fn_cdc_get_net_changes_dbo_t(NULL, NULL, 'all')";
    assert_eq!(run(&mut s, range).await.numbers(), [313]);
}
