//! Values as SQL Server holds them.

use super::{database, ok, open, run, session};

#[tokio::test]
async fn identity_values_are_gone_after_a_rollback_and_after_a_failed_statement() {
    let database =
        database("CREATE TABLE t (id INT IDENTITY PRIMARY KEY, n INT NOT NULL UNIQUE)").await;
    let mut session = open(&database);
    run(&mut session, "INSERT INTO t (n) VALUES (1)").await;
    run(
        &mut session,
        "BEGIN TRAN INSERT INTO t (n) VALUES (2), (3) ROLLBACK",
    )
    .await;
    let duplicate = run(&mut session, "INSERT INTO t (n) VALUES (1)").await;
    assert_eq!(duplicate.numbers(), [2627]);
    let null = run(&mut session, "INSERT INTO t (n) VALUES (NULL)").await;
    assert_eq!(null.numbers(), [515]);
    run(&mut session, "INSERT INTO t (n) VALUES (6)").await;
    let rows = run(&mut session, "SELECT id, n FROM t ORDER BY id").await;
    assert_eq!(rows.lines(), ["1|1", "6|6"]);
}

#[tokio::test]
async fn text_of_a_code_page_holds_what_the_page_has() {
    let database = database("CREATE TABLE t (v VARCHAR(4), c CHAR(3), n NVARCHAR(4))").await;
    let mut session = open(&database);
    run(
        &mut session,
        "INSERT INTO t VALUES (N'Жé€Ā', N'é😀', N'Жé😀')",
    )
    .await;
    run(&mut session, "INSERT INTO t VALUES ('Ж', 'é', 'Ж')").await;
    let rows = run(
        &mut session,
        "SELECT v, c, n, DATALENGTH(v), DATALENGTH(n) FROM t ORDER BY v",
    )
    .await;
    assert_eq!(rows.lines(), ["?|é  |?|1|2", "?é€A|é??|Жé😀|4|8"]);
    let types = run(
        &mut session,
        "SELECT 'ab', N'ab', 'a' + N'b', 'a' + 'bc', ''",
    )
    .await;
    let types: Vec<String> = types.results[0]
        .0
        .iter()
        .map(|c| c.sql_type.declared())
        .collect();
    assert_eq!(
        types,
        [
            "varchar(2)",
            "nvarchar(2)",
            "nvarchar(2)",
            "varchar(3)",
            "varchar(1)"
        ]
    );
}

#[tokio::test]
async fn rows_of_values_may_differ_in_length_and_kind() {
    let database =
        database("CREATE TABLE t (a NVARCHAR(20), b VARBINARY(8), c DATETIME2, d FLOAT)").await;
    let mut session = open(&database);
    let sql =
        "INSERT INTO t VALUES ('a', 0x01, '2024-01-01', 1e0), (N'Жbc', 0x0203, SYSDATETIME(), 2),
               (NULL, NULL, NULL, NULL), (UPPER('x'), CAST(1 AS BINARY(2)), GETDATE(), -1.5)";
    assert_eq!(run(&mut session, sql).await.numbers(), [] as [u32; 0]);
    let rows = run(&mut session, "SELECT a, b, d FROM t ORDER BY d").await;
    assert_eq!(
        rows.lines(),
        [
            "NULL|NULL|NULL",
            "X|0x0001|-1.5",
            "a|0x01|1",
            "Жbc|0x0203|2",
        ]
    );
}

#[tokio::test]
async fn short_binary_values_have_zeros_behind_them() {
    let database = database("CREATE TABLE t (b BINARY(4))").await;
    let mut session = open(&database);
    run(&mut session, "INSERT INTO t VALUES (0x01), (1), (0x0102)").await;
    let rows = run(&mut session, "SELECT b FROM t ORDER BY b").await;
    assert_eq!(rows.lines(), ["0x00000001", "0x01000000", "0x01020000"]);
    let sql =
        "SELECT CAST(0x01 AS BINARY(10)), sys.fn_cdc_increment_lsn(0x01), CAST(-2 AS VARBINARY(2))";
    let row = run(&mut session, sql).await;
    assert_eq!(
        row.lines(),
        ["0x01000000000000000000|0x01000000000000000001|0xFFFE"]
    );
}

#[tokio::test]
async fn steps_of_100_ns_and_offsets_are_kept() {
    let database = database(
        "CREATE TABLE t (id INT PRIMARY KEY, d DATETIME2(7), o DATETIMEOFFSET(7), s DATETIME2(3));
         INSERT INTO t VALUES
         (1, '0001-01-01', '0001-01-01T00:00:00.0000001+00:00', '2024-01-01 00:00:00.0005'),
         (2, '9999-12-31 23:59:59.9999999', '2024-05-05 12:00:00.1234567 +05:30', NULL)",
    )
    .await;
    let mut session = open(&database);
    let rows = run(&mut session, "SELECT d, o, s FROM t ORDER BY d").await;
    assert_eq!(
        rows.lines(),
        [
            "0001-01-01 00:00:00.0000000|0001-01-01 00:00:00.0000001 +00:00|2024-01-01 00:00:00.001",
            "9999-12-31 23:59:59.9999999|2024-05-05 12:00:00.1234567 +05:30|NULL",
        ]
    );
    let found = run(
        &mut session,
        "SELECT id FROM t WHERE o = '2024-05-05T06:30:00.1234567Z' AND d > '9999-12-31 23:59:59.9999998'",
    )
    .await;
    assert_eq!(found.lines(), ["2"]);
    let steps = run(
        &mut session,
        "SELECT DATEPART(nanosecond, o), DATEPART(tz, o), SWITCHOFFSET(o, '-01:00'),
                DATEADD(hour, 12, o), CAST(o AS DATETIME2(7)), MAX(o) OVER () FROM t WHERE id = 2",
    )
    .await;
    assert_eq!(
        steps.lines(),
        [
            "123456700|330|2024-05-05 05:30:00.1234567 -01:00|2024-05-06 00:00:00.1234567 +05:30|\
             2024-05-05 12:00:00.1234567|2024-05-05 12:00:00.1234567 +05:30"
        ]
    );
}

#[tokio::test]
async fn instants_are_equal_whatever_their_offsets() {
    let database = database("CREATE TABLE t (o DATETIMEOFFSET PRIMARY KEY)").await;
    let mut session = open(&database);
    run(
        &mut session,
        "INSERT INTO t VALUES ('2024-01-01 00:00 +00:00')",
    )
    .await;
    let again = run(
        &mut session,
        "INSERT INTO t VALUES ('2024-01-01 02:00 +02:00')",
    )
    .await;
    assert_eq!(again.numbers(), [2627]);
}

#[tokio::test]
async fn a_datetime_counts_in_thirds_of_ten_milliseconds() {
    let database = database("CREATE TABLE t (d DATETIME)").await;
    let mut session = open(&database);
    run(&mut session, "INSERT INTO t VALUES ('2024-01-01 00:00:00.003'), ('1753-01-01'), ('9999-12-31 23:59:59.997')").await;
    let rows = run(
        &mut session,
        "SELECT d, CAST(d AS DATETIME2(7)), CAST(d AS BINARY(8)) FROM t ORDER BY d",
    )
    .await;
    assert_eq!(
        rows.lines(),
        [
            "1753-01-01 00:00:00.000|1753-01-01 00:00:00.0000000|0xFFFF2E4600000000",
            "2024-01-01 00:00:00.003|2024-01-01 00:00:00.0033333|0x0000B0EA00000001",
            "9999-12-31 23:59:59.997|9999-12-31 23:59:59.9966667|0x002D247F018B81FF",
        ]
    );
    let early = run(&mut session, "INSERT INTO t VALUES ('1752-12-31')").await;
    assert_eq!(early.numbers(), [242]);
}

#[tokio::test]
async fn uniqueidentifiers_are_ordered_by_their_last_group_first() {
    let database = database(
        "CREATE TABLE t (g UNIQUEIDENTIFIER PRIMARY KEY);
         INSERT INTO t VALUES ('ffffffff-0000-0000-0000-000000000001'),
           ('00000000-0000-0000-0100-000000000001'), ('{00000001-0000-0000-0000-000000000002}')",
    )
    .await;
    let mut session = open(&database);
    let rows = run(&mut session, "SELECT g FROM t ORDER BY g").await;
    assert_eq!(
        rows.lines(),
        [
            "FFFFFFFF-0000-0000-0000-000000000001",
            "00000000-0000-0000-0100-000000000001",
            "00000001-0000-0000-0000-000000000002",
        ]
    );
    let sql = "SELECT CAST(CAST('00112233-4455-6677-8899-aabbccddeeff' AS UNIQUEIDENTIFIER) AS BINARY(16))";
    let bytes = run(&mut session, sql).await;
    assert_eq!(bytes.value(), "0x33221100554477668899AABBCCDDEEFF");
}

#[tokio::test]
async fn the_greatest_decimals_are_rounded_like_others() {
    let mut session = session("CREATE TABLE t (a int)").await;
    let digits = "1.7014118346046923173168730371588410572";
    for (sql, value) in [
        (format!("SELECT CAST('{digits}' AS decimal(5,0))"), "2"),
        (format!("SELECT CAST('-{digits}' AS decimal(5,0))"), "-2"),
        ("SELECT CAST('2.5' AS decimal(5,0))".to_owned(), "3"),
        ("SELECT CAST('-2.4999' AS decimal(5,0))".to_owned(), "-2"),
    ] {
        assert_eq!(ok(&mut session, &sql).await.value(), value, "{sql}");
    }
}
