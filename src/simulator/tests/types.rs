//! The rarer types, and collations.

use super::{database, open, run};

#[tokio::test]
async fn every_row_has_a_version_that_rises_with_every_change() {
    let database = database(
        "CREATE TABLE t (id INT PRIMARY KEY, n INT, v ROWVERSION);
         INSERT INTO t (id, n) VALUES (1, 1), (2, 1); UPDATE t SET n = 1 WHERE id = 1",
    )
    .await;
    let mut session = open(&database);
    let rows = run(&mut session, "SELECT id, v FROM t ORDER BY v").await;
    assert_eq!(
        rows.lines(),
        ["2|0x00000000000007D2", "1|0x00000000000007D3"]
    );
    let number = run(
        &mut session,
        "SELECT CAST(v AS BIGINT) FROM t WHERE v > 0x00000000000007D2",
    )
    .await;
    assert_eq!(number.value(), "2003");
    run(
        &mut session,
        "BEGIN TRAN INSERT INTO t (id) VALUES (3) ROLLBACK",
    )
    .await;
    run(&mut session, "INSERT INTO t VALUES (4, 4, DEFAULT)").await;
    let last = run(&mut session, "SELECT v FROM t WHERE id = 4").await;
    assert_eq!(last.value(), "0x00000000000007D5");
    let explicit = run(&mut session, "INSERT INTO t (id, v) VALUES (5, 0x01)").await;
    assert_eq!(explicit.numbers(), [273]);
    assert_eq!(
        run(&mut session, "UPDATE t SET v = 0x01").await.numbers(),
        [272]
    );
}

#[tokio::test]
async fn a_variant_keeps_the_type_of_its_value() {
    let database = database(
        "CREATE TABLE t (id INT PRIMARY KEY, v SQL_VARIANT);
         INSERT INTO t VALUES (1, 42); INSERT INTO t VALUES (2, N'Ж'); INSERT INTO t VALUES (3, NULL);
         INSERT INTO t VALUES (4, CAST('2024-01-01 00:00:00.1234567' AS DATETIME2(7)));
         INSERT INTO t VALUES (5, CAST(-1.50 AS DECIMAL(5, 2)))",
    )
    .await;
    let mut session = open(&database);
    let rows = run(&mut session, "SELECT v FROM t ORDER BY id").await;
    assert_eq!(
        rows.lines(),
        ["42", "Ж", "NULL", "2024-01-01 00:00:00.1234567", "-1.50"]
    );
    let back = run(
        &mut session,
        "SELECT CAST(v AS INT) + 1 FROM t WHERE id = 1",
    )
    .await;
    assert_eq!(back.value(), "43");
    let large = run(
        &mut session,
        "INSERT INTO t VALUES (6, CAST('a' AS VARCHAR(MAX)))",
    )
    .await;
    assert_eq!(large.numbers(), [206]);
}

#[tokio::test]
async fn xml_is_checked_and_put_into_one_form() {
    let database = database("CREATE TABLE t (x XML)").await;
    let mut session = open(&database);
    run(
        &mut session,
        "INSERT INTO t VALUES (N'<a  b=''1''> <c></c> </a>')",
    )
    .await;
    let row = run(&mut session, "SELECT x, CAST(x AS NVARCHAR(50)) FROM t").await;
    assert_eq!(row.lines(), ["<a b=\"1\"><c/></a>|<a b=\"1\"><c/></a>"]);
    let open_end = run(&mut session, "INSERT INTO t VALUES ('<a>')").await;
    assert_eq!(open_end.numbers(), [9400]);
    let compared = run(&mut session, "SELECT 1 FROM t WHERE x = x").await;
    assert_eq!(compared.numbers(), [402]);
}

#[tokio::test]
async fn large_texts_of_the_older_types_are_read_and_not_compared() {
    let database = database(
        "CREATE TABLE t (a TEXT, b NTEXT, c IMAGE); INSERT INTO t VALUES ('Жé', N'Жé', 0x01)",
    )
    .await;
    let mut session = open(&database);
    let row = run(
        &mut session,
        "SELECT a, b, c, CAST(a AS VARCHAR(10)), DATALENGTH(b) FROM t",
    )
    .await;
    assert_eq!(row.lines(), ["?é|Жé|0x01|?é|4"]);
    assert_eq!(
        run(&mut session, "SELECT a FROM t WHERE a LIKE '%é'")
            .await
            .value(),
        "?é"
    );
    assert_eq!(
        run(&mut session, "SELECT 1 FROM t WHERE a = 'x'")
            .await
            .numbers(),
        [402]
    );
    assert_eq!(
        run(&mut session, "SELECT CAST(a AS INT) FROM t")
            .await
            .numbers(),
        [529]
    );
}

#[tokio::test]
async fn places_in_a_tree_have_paths_and_bytes() {
    let database = database(
        "CREATE TABLE t (h HIERARCHYID PRIMARY KEY, g GEOGRAPHY);
         INSERT INTO t VALUES ('/1/3/', 0xE6100000010C), (CAST(0x58 AS HIERARCHYID), NULL)",
    )
    .await;
    let mut session = open(&database);
    let rows = run(
        &mut session,
        "SELECT CAST(h AS VARCHAR(20)), h, g FROM t ORDER BY h",
    )
    .await;
    assert_eq!(
        rows.lines(),
        ["/1/|0x58|NULL", "/1/3/|0x5BC0|0xE6100000010C"]
    );
    let wrong = run(&mut session, "INSERT INTO t VALUES ('1', NULL)").await;
    assert_eq!(wrong.numbers(), [6522]);
}

#[tokio::test]
async fn alias_types_stand_for_types() {
    let database = database(
        "CREATE TYPE dbo.phone FROM VARCHAR(20) NOT NULL
         GO
         CREATE TABLE t (id INT, p dbo.phone, q phone NULL)",
    )
    .await;
    let mut session = open(&database);
    let columns = run(
        &mut session,
        "SELECT c.name, t.name, c.max_length, c.is_nullable, t.is_user_defined FROM sys.columns c
         JOIN sys.types t ON c.user_type_id = t.user_type_id
         WHERE c.object_id = OBJECT_ID('t') ORDER BY c.column_id",
    )
    .await;
    assert_eq!(
        columns.lines(),
        ["id|int|4|1|0", "p|phone|20|0|1", "q|phone|20|1|1"]
    );
    let used = run(&mut session, "DROP TYPE phone").await;
    assert_eq!(used.numbers(), [3732]);
    let unknown = run(&mut session, "CREATE TABLE u (a nothing)").await;
    assert_eq!(unknown.numbers(), [2715]);
}

#[tokio::test]
async fn a_lone_surrogate_can_be_stored() {
    let database = database("CREATE TABLE t (n NVARCHAR(4))").await;
    let mut session = open(&database);
    run(
        &mut session,
        "INSERT INTO t VALUES (CAST(0x00D8 AS NVARCHAR(1)) + N'a')",
    )
    .await;
    let row = run(
        &mut session,
        "SELECT CAST(n AS VARBINARY(8)), LEN(n), DATALENGTH(n) FROM t",
    )
    .await;
    assert_eq!(row.lines(), ["0x00D86100|2|4"]);
}

#[tokio::test]
async fn columns_hold_text_of_their_collations_code_page() {
    let database = database(
        "CREATE TABLE t (l VARCHAR(9) COLLATE Latin1_General_CI_AS, j VARCHAR(9) COLLATE Japanese_CI_AS,
           c VARCHAR(9) COLLATE Cyrillic_General_CI_AS, g VARCHAR(9) COLLATE Greek_CI_AS,
           u VARCHAR(9) COLLATE Latin1_General_100_CI_AS_SC_UTF8);
         INSERT INTO t VALUES (N'é表ж', N'é表ж', N'é表ж', N'é表жα', N'é表ж')",
    )
    .await;
    let mut session = open(&database);
    let row = run(&mut session, "SELECT * FROM t").await;
    assert_eq!(row.lines(), ["é??|e表ж|e?ж|e??α|é表ж"]);
    let lengths = run(
        &mut session,
        "SELECT DATALENGTH(l), DATALENGTH(j), DATALENGTH(u), CAST(j AS VARBINARY(9)) FROM t",
    )
    .await;
    assert_eq!(lengths.lines(), ["3|5|7|0x65955C8477"]);
    let names = run(
        &mut session,
        "SELECT collation_name FROM sys.columns WHERE object_id = OBJECT_ID('t') ORDER BY column_id",
    )
    .await;
    assert_eq!(names.lines()[1], "Japanese_CI_AS");
    assert_eq!(names.lines()[4], "Latin1_General_100_CI_AS_SC_UTF8");
}

#[tokio::test]
async fn texts_are_compared_by_their_collation() {
    let database = database(
        "CREATE TABLE t (ci NVARCHAR(9) COLLATE Latin1_General_CI_AS, cs NVARCHAR(9) COLLATE Latin1_General_CS_AS,
           ai NVARCHAR(9) COLLATE Latin1_General_CI_AI, bin NVARCHAR(9) COLLATE Latin1_General_BIN2);
         INSERT INTO t VALUES (N'é', N'é', N'é', N'é')",
    )
    .await;
    let mut session = open(&database);
    for (condition, holds) in [
        ("ci = N'É'", true),
        ("ci = N'e'", false),
        ("cs = N'É'", false),
        ("cs = N'é '", true),
        ("ai = N'E'", true),
        ("bin = N'É'", false),
        ("cs COLLATE Latin1_General_CI_AS = N'É'", true),
        ("cs COLLATE database_default = N'É'", true),
    ] {
        let sql = format!("SELECT COUNT(*) FROM t WHERE {condition}");
        let count = run(&mut session, &sql).await;
        assert_eq!(count.value() == "1", holds, "{condition}");
    }
    let conflict = run(&mut session, "SELECT 1 FROM t WHERE ci = cs").await;
    assert_eq!(conflict.numbers(), [468]);
    let unknown = run(&mut session, "SELECT ci COLLATE Klingon_CI_AS FROM t").await;
    assert_eq!(unknown.numbers(), [448]);
}

#[tokio::test]
async fn keys_are_unique_by_their_collation() {
    let database = database(
        "CREATE TABLE s (k NVARCHAR(9) COLLATE Latin1_General_CS_AS PRIMARY KEY);
         CREATE TABLE i (k NVARCHAR(9) COLLATE Latin1_General_CI_AI PRIMARY KEY);
         INSERT INTO s VALUES (N'a'), (N'A'), (N'á'); INSERT INTO i VALUES (N'a')",
    )
    .await;
    let mut session = open(&database);
    assert_eq!(
        run(&mut session, "INSERT INTO s VALUES (N'A ')")
            .await
            .numbers(),
        [2627]
    );
    assert_eq!(
        run(&mut session, "INSERT INTO i VALUES (N'Á')")
            .await
            .numbers(),
        [2627]
    );
}

#[tokio::test]
async fn a_database_has_a_collation_of_its_own() {
    let database = database(
        "CREATE DATABASE app_db COLLATE Japanese_CI_AS
         GO
         CREATE TABLE t (v VARCHAR(9)); INSERT INTO t VALUES ('表é'), (N'か')",
    )
    .await;
    let mut session = open(&database);
    let rows = run(
        &mut session,
        "SELECT v, DATALENGTH(v) FROM t WHERE v = '表e' OR v = N'カ' ORDER BY v",
    )
    .await;
    assert_eq!(rows.lines(), ["か|2", "表e|3"]);
    let name = run(
        &mut session,
        "SELECT collation_name FROM sys.databases WHERE name = 'app_db'",
    )
    .await;
    assert_eq!(name.value(), "Japanese_CI_AS");
    assert_eq!(
        run(&mut session, "CREATE DATABASE x COLLATE Klingon_CI_AS")
            .await
            .numbers(),
        [448]
    );
}
