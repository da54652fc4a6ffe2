//! Where T-SQL means something else than other dialects of SQL.

use super::{ok, run, session};

const WORDS: &str =
    "CREATE TABLE w (id int NOT NULL PRIMARY KEY, word varchar(20) NULL, n int NULL)
    INSERT INTO w VALUES (1, 'apple', 1), (2, 'Banana', 2), (3, 'APPLE  ', 4), (4, 'banana', NULL),
        (5, 'Cherry', 8), (6, NULL, 16)";

async fn value(sql: &str) -> String {
    let mut s = session(WORDS).await;
    ok(&mut s, sql).await.value().to_owned()
}

async fn numbers(sql: &str) -> Vec<u32> {
    let mut s = session(WORDS).await;
    run(&mut s, sql).await.numbers()
}

async fn lines(sql: &str) -> Vec<String> {
    let mut s = session(WORDS).await;
    ok(&mut s, sql).await.lines()
}

#[tokio::test]
async fn numbers_that_do_not_fit_are_errors() {
    for sql in [
        "SELECT 2147483647 + 1",
        "SELECT -2147483647 - 2",
        "SELECT 65536 * 65536",
        "SELECT CAST(9223372036854775807 AS bigint) + 1",
        "SELECT CAST(200 AS tinyint) + CAST(100 AS tinyint)",
        "SELECT SUM(x) FROM (VALUES (2147483647), (1)) AS v (x)",
        "SELECT CAST(4000000000 AS int)",
        "SELECT CAST(99999999999999999999999999999999999999 AS decimal(38, 0)) * 10",
        "SELECT CAST(922337203685477.58 AS money) + 1",
        "SELECT 1e308 * 10",
    ] {
        assert_eq!(numbers(sql).await, [8115], "{sql}");
    }
    for sql in [
        "SELECT 1 / 0",
        "SELECT 1 % 0",
        "SELECT 1.5 / 0",
        "SELECT 1e0 / 0",
    ] {
        assert_eq!(numbers(sql).await, [8134], "{sql}");
    }
}

#[tokio::test]
async fn numbers_have_t_sqls_types() {
    for (sql, wanted) in [
        ("SELECT 7 / 2", "3"),
        ("SELECT -7 / 2", "-3"),
        ("SELECT -7 % 3", "-1"),
        ("SELECT 1.0 / 3", "0.333333"),
        ("SELECT 2.0 / 3", "0.666666"),
        ("SELECT 3000000000 * 3000000000", "9000000000000000000"),
        ("SELECT AVG(n) FROM w", "6"),
        ("SELECT SUM(n) FROM w", "31"),
        ("SELECT AVG(CAST(n AS decimal(9, 2))) FROM w", "6.200000"),
        ("SELECT SUM(DISTINCT n % 3) FROM w", "3"),
        ("SELECT 1.10 + 2", "3.10"),
        ("SELECT CAST(1.5 AS money) * 2", "3.00"),
        ("SELECT '3' + 4", "7"),
        ("SELECT '3' + '4'", "34"),
        ("SELECT 'a' + NULL", "NULL"),
        ("SELECT 5 & 3 | 8", "9"),
    ] {
        assert_eq!(value(sql).await, wanted, "{sql}");
    }
    assert_eq!(numbers("SELECT 'a' + 1").await, [245]);
    assert_eq!(numbers("SELECT SUM(word) FROM w").await, [8117]);
}

#[tokio::test]
async fn the_highest_type_of_a_choice_wins() {
    assert_eq!(
        value("SELECT CASE WHEN 1 = 1 THEN '5' ELSE 1 END + 1").await,
        "6"
    );
    assert_eq!(
        numbers("SELECT CASE WHEN 1 = 0 THEN 1 ELSE 'a' END").await,
        [245]
    );
    assert_eq!(numbers("SELECT COALESCE(NULL, 'a', 1)").await, [245]);
    assert_eq!(numbers("SELECT 1 UNION ALL SELECT 'a'").await, [245]);
    assert_eq!(lines("SELECT 1 AS x UNION SELECT '01'").await, ["1"]);
    assert_eq!(
        value("SELECT ISNULL(CAST(NULL AS varchar(2)), 'abc')").await,
        "ab"
    );
}

#[tokio::test]
async fn texts_are_alike_without_case_and_blanks_at_the_end() {
    assert_eq!(
        value("SELECT COUNT(*) FROM w WHERE word = 'APPLE'").await,
        "2"
    );
    assert_eq!(value("SELECT COUNT(DISTINCT word) FROM w").await, "3");
    assert_eq!(
        lines("SELECT COUNT(*) FROM w GROUP BY word ORDER BY word").await,
        ["1", "2", "2", "1"]
    );
    assert_eq!(
        lines("SELECT UPPER(RTRIM(word)) FROM w GROUP BY word ORDER BY word").await,
        ["NULL", "APPLE", "BANANA", "CHERRY"]
    );
    assert_eq!(
        value("SELECT COUNT(*) FROM (SELECT DISTINCT word FROM w) AS d").await,
        "4"
    );
    assert_eq!(
        lines("SELECT id FROM w ORDER BY word DESC, id").await,
        ["5", "2", "4", "1", "3", "6"]
    );
    assert_eq!(
        lines("SELECT id FROM w WHERE word IN (SELECT 'BANANA') ORDER BY id").await,
        ["2", "4"]
    );
    assert_eq!(
        lines("SELECT MIN(word), MAX(word) FROM w WHERE id IN (2, 5, 4)").await,
        ["Banana|Cherry"]
    );
    assert_eq!(
        lines("SELECT id, ROW_NUMBER() OVER (PARTITION BY word ORDER BY id) FROM w ORDER BY id")
            .await,
        ["1|1", "2|1", "3|2", "4|2", "5|1", "6|1"]
    );
    assert_eq!(
        lines("SELECT a.id, b.id FROM w AS a JOIN w AS b ON a.word = b.word AND a.id < b.id ORDER BY 1").await,
        ["1|3", "2|4"]
    );
    assert_eq!(
        value("SELECT COUNT(*) FROM (SELECT 'a' AS x INTERSECT SELECT 'A') AS i").await,
        "1"
    );
}

#[tokio::test]
async fn a_batch_with_a_mistake_does_not_begin() {
    for (rest, number) in [
        ("SELECT * FORM w", 102),
        ("IF 1 = 1 SELECT 1 +", 102),
        ("SELECT @x", 137),
        ("SET NONSENSE ON", 195),
        ("DECLARE @x int", 40510),
        ("SELECT * FROM w WITH (NOHINT)", 321),
    ] {
        let mut s = session(WORDS).await;
        let answer = run(&mut s, &format!("DELETE FROM w {rest}")).await;
        assert_eq!(answer.numbers(), [number], "{rest}");
        assert_eq!(
            ok(&mut s, "SELECT COUNT(*) FROM w").await.value(),
            "6",
            "{rest}"
        );
    }
    let mut s = session(WORDS).await;
    let late = run(&mut s, "DELETE FROM w SELECT * FROM nothing").await;
    assert_eq!(late.numbers(), [208]);
    assert_eq!(ok(&mut s, "SELECT COUNT(*) FROM w").await.value(), "0");
}

#[tokio::test]
async fn identifiers_sort_by_their_last_group_first() {
    let mut s = session("CREATE TABLE g (id uniqueidentifier NOT NULL PRIMARY KEY, n int)").await;
    ok(
        &mut s,
        "INSERT INTO g VALUES ('ff000000-0000-0000-0000-000000000001', 1),
            ('00000000-0000-0000-0000-000000000002', 2), ('01000000-0000-0000-0100-000000000001', 3),
            ('00000001-0000-0000-0000-000000000001', 4)",
    )
    .await;
    let order = ok(&mut s, "SELECT n FROM g ORDER BY id").await;
    assert_eq!(order.lines(), ["1", "4", "3", "2"]);
    let after = "SELECT n FROM g WHERE id > CAST('ff000000-0000-0000-0000-000000000001' AS uniqueidentifier) ORDER BY id";
    assert_eq!(ok(&mut s, after).await.lines(), ["4", "3", "2"]);
    let max = "SELECT n FROM g WHERE id = (SELECT MAX(id) FROM g)";
    assert_eq!(ok(&mut s, max).await.value(), "2");
}

#[tokio::test]
async fn replicate_stops_at_8000_bytes_unless_its_text_is_max() {
    let mut s = session("CREATE TABLE t (a int)").await;
    for (sql, length) in [
        ("SELECT LEN(REPLICATE('abc', 3000))", "8000"),
        ("SELECT LEN(REPLICATE(N'abc', 3000))", "4000"),
        (
            "SELECT LEN(REPLICATE(CAST('abc' AS varchar(max)), 3000000))",
            "9000000",
        ),
        ("SELECT REPLICATE('ab', 2)", "abab"),
        ("SELECT ISNULL(REPLICATE('ab', -1), 'NULL')", "NULL"),
    ] {
        assert_eq!(ok(&mut s, sql).await.value(), length, "{sql}");
    }
    let vast = "SELECT LEN(REPLICATE(CAST('abc' AS varchar(max)), 2000000000))";
    assert_eq!(run(&mut s, vast).await.numbers(), [701]);
}

#[tokio::test]
async fn branches_of_several_number_types_meet_in_a_common_one() {
    for (sql, wanted) in [
        (
            "SELECT CASE WHEN id = 1 THEN 1 ELSE 2.5 END FROM w WHERE id < 3 ORDER BY id",
            "1.0 2.5",
        ),
        (
            "SELECT IIF(id = 1, 0, 0.5) FROM w WHERE id < 3 ORDER BY id",
            "0.0 0.5",
        ),
        (
            "SELECT COALESCE(n, 0.25) FROM w WHERE id IN (3, 4) ORDER BY id",
            "4.00 0.25",
        ),
        ("SELECT 1 UNION ALL SELECT 3000000000", "1 3000000000"),
        (
            "SELECT 1 UNION ALL SELECT 2.5 UNION ALL SELECT 0.125",
            "1.000 2.500 0.125",
        ),
        ("SELECT CAST(1.5 AS money) UNION ALL SELECT 2", "1.50 2.00"),
        (
            "SELECT CASE WHEN id = 1 THEN 1.25 ELSE 2e0 END FROM w WHERE id < 3 ORDER BY id",
            "1.25 2",
        ),
        (
            "SELECT CASE WHEN id = 1 THEN CAST(1 AS tinyint) ELSE 70000 END FROM w WHERE id < 3 ORDER BY id",
            "1 70000",
        ),
        (
            "SELECT CASE WHEN id = 1 THEN '7' ELSE 2.5 END FROM w WHERE id < 3 ORDER BY id",
            "7.0 2.5",
        ),
    ] {
        assert_eq!(lines(sql).await.join(" "), wanted, "{sql}");
    }
}

#[tokio::test]
async fn what_branches_of_several_types_give_is_stored_whole() {
    let mut s = session(
        "CREATE TABLE d (k int NOT NULL PRIMARY KEY, v decimal(9, 2) NULL, b bigint NULL)
        INSERT INTO d VALUES (1, 0, 0), (2, 0, 0)",
    )
    .await;
    ok(
        &mut s,
        "UPDATE d SET v = CASE WHEN k = 1 THEN 1 ELSE 2.5 END, b = IIF(k = 1, 1, 3000000000)",
    )
    .await;
    ok(
        &mut s,
        "INSERT INTO d SELECT 3, x, y FROM (SELECT 1 AS x, 1 AS y UNION ALL SELECT 0.75, 5000000000) u
        WHERE x < 1",
    )
    .await;
    assert_eq!(
        ok(&mut s, "SELECT k, v, b FROM d ORDER BY k").await.lines(),
        ["1|1.00|1", "2|2.50|3000000000", "3|0.75|5000000000"]
    );
}

const ODD: &str =
    "CREATE TABLE o (id int NOT NULL PRIMARY KEY, t text NULL, n ntext NULL, i image NULL,
        x xml NULL, v sql_variant NULL, b varbinary(9) NULL, d datetimeoffset NULL)
    INSERT INTO o VALUES (1, 'a', N'a', 0x01, '<a/>', 1, 0x0100, '2020-01-01T01:00:00+01:00'),
        (2, 'a', N'a', 0x01, '<a/>', 1, 0x01, '2020-01-01T00:00:00+00:00'),
        (3, 'b', N'b', 0x02, '<b/>', 2, 0x02, '2020-01-01T03:00:00+02:00')";

#[tokio::test]
async fn large_texts_and_variants_are_not_sorted_or_grouped() {
    let mut s = session(ODD).await;
    for (sql, number) in [
        ("SELECT id FROM o ORDER BY t", 306),
        ("SELECT id FROM o ORDER BY n", 306),
        ("SELECT id FROM o ORDER BY i", 306),
        ("SELECT id FROM o ORDER BY x", 305),
        ("SELECT COUNT(*) FROM o GROUP BY t", 306),
        ("SELECT COUNT(*) FROM o GROUP BY x", 305),
        ("SELECT DISTINCT t FROM o", 421),
        ("SELECT DISTINCT x FROM o", 421),
        ("SELECT t FROM o UNION SELECT t FROM o", 5335),
        ("SELECT COUNT(DISTINCT i) FROM o", 8117),
        (
            "SELECT ROW_NUMBER() OVER (PARTITION BY t ORDER BY id) FROM o",
            306,
        ),
        ("SELECT id FROM o WHERE t = 'a'", 402),
        ("SELECT id FROM o ORDER BY v", 40510),
        ("SELECT DISTINCT v FROM o", 40510),
        ("SELECT COUNT(*) FROM o GROUP BY v", 40510),
        (
            "SELECT COUNT(*) FROM o GROUP BY GROUPING SETS ((b), ())",
            40510,
        ),
    ] {
        assert_eq!(run(&mut s, sql).await.numbers(), [number], "{sql}");
    }
    let both = ok(&mut s, "SELECT t FROM o UNION ALL SELECT t FROM o").await;
    assert_eq!(both.rows().len(), 6);
    for sets in ["GROUPING SETS ((id), ())", "ROLLUP (id)", "CUBE (id)"] {
        let sql = format!("SELECT id, COUNT(*) FROM o GROUP BY {sets} ORDER BY 1");
        let rows = ok(&mut s, &sql).await.lines();
        assert_eq!(rows, ["NULL|3", "1|1", "2|1", "3|1"], "{sql}");
    }
}

#[tokio::test]
async fn bytes_and_offsets_are_sorted_and_grouped_as_they_are_compared() {
    let mut s = session(ODD).await;
    for column in ["b", "d"] {
        for (sql, wanted) in [
            (
                format!("SELECT COUNT(*) FROM o GROUP BY {column} ORDER BY {column}"),
                ["2", "1"].as_slice(),
            ),
            (
                format!("SELECT COUNT(DISTINCT {column}) FROM o"),
                ["2"].as_slice(),
            ),
            (
                format!("SELECT COUNT(*) FROM (SELECT DISTINCT {column} FROM o) AS x"),
                ["2"].as_slice(),
            ),
            (
                format!("SELECT id FROM o ORDER BY {column} DESC, id DESC"),
                ["3", "2", "1"].as_slice(),
            ),
            (
                format!("SELECT id FROM o ORDER BY {column}, id"),
                ["1", "2", "3"].as_slice(),
            ),
            (
                format!(
                    "SELECT COUNT(*) FROM (SELECT {column} FROM o WHERE id = 1
                        INTERSECT SELECT {column} FROM o WHERE id = 2) AS x"
                ),
                ["1"].as_slice(),
            ),
            (
                format!("SELECT DENSE_RANK() OVER (ORDER BY {column}) FROM o ORDER BY id"),
                ["1", "1", "2"].as_slice(),
            ),
        ] {
            assert_eq!(ok(&mut s, &sql).await.lines(), wanted, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_key_is_unique_as_comparisons_tell() {
    let mut s = session("CREATE TABLE k (b varbinary(9) NOT NULL PRIMARY KEY)").await;
    ok(&mut s, "INSERT INTO k VALUES (0x01)").await;
    let again = run(&mut s, "INSERT INTO k VALUES (0x0100)").await;
    assert_eq!(again.numbers(), [2627]);
}

#[tokio::test]
async fn texts_are_joined_in_the_order_of_their_collation() {
    assert_eq!(
        value(
            "SELECT STRING_AGG(word, ' ') WITHIN GROUP (ORDER BY word) FROM w WHERE id IN (1, 2, 5)"
        )
        .await,
        "apple Banana Cherry"
    );
}

#[tokio::test]
async fn a_query_over_numbered_rows_finds_their_numbers() {
    let mut s = session(
        "CREATE TABLE w (g int NOT NULL, at datetime NULL)
        INSERT INTO w VALUES (1, '2024-01-01'), (1, '2024-01-02'), (2, '2024-01-03')",
    )
    .await;
    let newest = "SELECT n.g, n.at FROM (
            SELECT g, at, ROW_NUMBER() OVER (PARTITION BY g ORDER BY at DESC) AS place FROM w
        ) AS n WHERE n.place = 1 ORDER BY n.g";
    let answer = ok(&mut s, newest).await;
    let days: Vec<_> = answer
        .rows()
        .iter()
        .map(|row| row[1][..10].to_string())
        .collect();
    assert_eq!(days, ["2024-01-02", "2024-01-03"]);
}
