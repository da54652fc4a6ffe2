use super::Case;

const PLACES: &str = "VALUES (1, 'north', 10), (2, 'south', 20), (3, NULL, 30), (4, 'a b', 40), (5, 'x/y', 50), \
     (6, '50%', 60), (7, 'k=v', 70), (8, 'größe', 80), (9, '%20', 90), (10, 'a:b?c#d', 100), (11, '+', 110), \
     (12, 'north', 120), (13, NULL, 130), (14, 'a b', 140), (15, 'north', 150), (16, 'north', 160)";

/// Rows in partitions of all kinds of names.
fn places() -> Case {
    Case::new("id INT, place VARCHAR, v INT")
        .partitioned(&["place"])
        .file(PLACES)
        .file("SELECT value, 'north', 0 FROM range(100, 120)")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_column_is_no_key() {
    places()
        .step(
            "SELECT value AS id FROM range(1, 12)",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = t.v + 1",
            [0, 11, 0],
        )
        .step(
            "SELECT value AS id FROM range(1, 12)",
            "s ON t.id = s.id WHEN MATCHED AND t.place IS NOT NULL AND t.place <> 'south' THEN DELETE",
            [0, 0, 9],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_column_is_a_key() {
    let rows = "SELECT id, place, v * 10 AS v FROM (VALUES (1, 'north', 1), (2, 'north', 2), (3, NULL, 3), (4, 'a b', 4), \
                (5, 'x/y', 5), (6, '50%', 6), (7, 'k=v', 7), (8, 'größe', 8), (9, '%20', 9), (10, 'a:b?c#d', 10), \
                (11, '+', 11), (110, 'north', 110)) AS s(id, place, v)";
    places()
        .step(
            rows,
            "s ON t.id = s.id AND t.place = s.place WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED THEN INSERT (id, place, v) VALUES (s.id, s.place, s.v)",
            [2, 10, 0],
        )
        .step(
            rows,
            "s ON t.id = s.id AND t.place IS NOT DISTINCT FROM s.place WHEN MATCHED THEN DELETE",
            [0, 0, 13],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_moves_to_another_partition() {
    places()
        .step(
            "SELECT * FROM (VALUES (1, 'south'), (2, NULL), (3, 'new one/%'), (4, 'a b')) AS s(id, place)",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET place = s.place",
            [0, 4, 0],
        )
        .step(
            "SELECT 'new one/%' AS place UNION ALL SELECT 'south'",
            "s ON t.place = s.place WHEN MATCHED THEN UPDATE SET v = -1, place = t.place || '?'",
            [0, 2, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_every_type() {
    for (data_type, [one, two, three]) in [
        ("INT", ["1", "-2", "3"]),
        ("BIGINT", ["9223372036854775807", "-2", "3"]),
        ("SMALLINT", ["1", "-2", "3"]),
        ("TINYINT", ["1", "-2", "3"]),
        ("BOOLEAN", ["true", "false", "NULL"]),
        ("DATE", ["'2024-01-01'", "'0001-01-01'", "'1969-12-31'"]),
        ("DECIMAL(12, 2)", ["'1.10'", "'-0.05'", "'1234567890.12'"]),
        (
            "DECIMAL(38, 10)",
            [
                "'1234567890123456789012345678.0123456789'",
                "'-0.0000000001'",
                "'1'",
            ],
        ),
        ("DOUBLE", ["0.1", "-2.5", "1e15"]),
        ("FLOAT", ["0.1", "-2.5", "1e15"]),
        (
            "TIMESTAMP",
            [
                "'2024-01-01T00:00:00.123456'",
                "'1969-12-31T23:59:59.999999'",
                "'2024-01-01T00:00:00'",
            ],
        ),
        (
            "TIMESTAMP WITH TIME ZONE",
            [
                "'2024-01-01T00:00:00.123456Z'",
                "'1969-12-31T23:59:59.999999Z'",
                "'2024-01-01T00:00:00Z'",
            ],
        ),
        ("VARCHAR", ["'NULL'", "' '", "'null'"]),
    ] {
        let typed = |value: &str| format!("CAST({value} AS {data_type})");
        let rows = [one, two, three].map(typed);
        let [one, two, three] = &rows;
        Case::new(&format!("id INT, p {data_type}, v INT"))
            .partitioned(&["p"])
            .file(&format!("VALUES (1, {one}, 1), (2, {two}, 2), (3, {three}, 3), (4, NULL, 4), (5, {one}, 5)"))
            .step(
                &format!("SELECT 1 AS id, {two} AS p UNION ALL SELECT 2, {two} UNION ALL SELECT 9, {three}"),
                "s ON t.id = s.id AND t.p = s.p WHEN MATCHED THEN UPDATE SET v = 100 \
                 WHEN NOT MATCHED THEN INSERT (id, p, v) VALUES (s.id, s.p, 200)",
                [2, 1, 0],
            )
            .step(
                &format!("SELECT 5 AS id, {two} AS p"),
                "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET p = s.p",
                [0, 1, 0],
            )
            .check()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_partition_columns() {
    Case::new("id INT, a INT, b VARCHAR, v INT")
        .partitioned(&["b", "a"])
        .file("SELECT value, value % 3, CASE WHEN value % 4 = 0 THEN NULL ELSE CAST(value % 4 AS VARCHAR) END, 0 FROM range(0, 60)")
        .step(
            "SELECT value * 5 AS id, value % 3 AS a FROM range(0, 15)",
            "s ON t.id = s.id AND t.a = s.a WHEN MATCHED THEN UPDATE SET v = 1, a = 7 \
             WHEN NOT MATCHED THEN INSERT (id, a) VALUES (s.id, s.a)",
            [11, 4, 0],
        )
        .step(
            "SELECT 7 AS a",
            "s ON t.a = s.a WHEN MATCHED AND t.b IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET b = 'x'",
            [0, 3, 1],
        )
        .check()
        .await;
}
