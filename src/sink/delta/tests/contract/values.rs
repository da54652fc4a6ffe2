use super::Case;

/// A row of each value, NULLs among them; a merge that sets and inserts such values.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type() {
    for (data_type, [one, two]) in [
        ("BOOLEAN", ["true", "false"]),
        ("TINYINT", ["127", "-128"]),
        ("SMALLINT", ["32767", "-32768"]),
        ("INT", ["2147483647", "-2147483648"]),
        ("BIGINT", ["9223372036854775807", "-1"]),
        ("FLOAT", ["0.1", "'NaN'"]),
        ("DOUBLE", ["-0.0", "'Infinity'"]),
        (
            "DECIMAL(38, 38)",
            ["'0.00000000000000000000000000000000000001'", "'-0.5'"],
        ),
        (
            "DECIMAL(38, 0)",
            ["'99999999999999999999999999999999999999'", "'-1'"],
        ),
        ("DECIMAL(5, 2)", ["'999.99'", "'-0.01'"]),
        ("DATE", ["'9999-12-31'", "'0001-01-01'"]),
        (
            "TIMESTAMP",
            [
                "'2024-01-01T00:00:00.123456'",
                "'1969-12-31T23:59:59.999999'",
            ],
        ),
        (
            "TIMESTAMP WITH TIME ZONE",
            [
                "'2024-01-01T00:00:00.123456Z'",
                "'1969-12-31T23:59:59.999999Z'",
            ],
        ),
        ("VARCHAR", ["'größe | NULL'", "''"]),
        ("BYTEA", ["X'00ff'", "X''"]),
        ("INT[]", ["[1, NULL, 3]", "[]"]),
        (
            "STRUCT<a INT, b VARCHAR>",
            [
                "named_struct('a', 1, 'b', NULL)",
                "named_struct('a', NULL, 'b', 'x')",
            ],
        ),
        (
            "STRUCT<a INT[], b STRUCT<c DATE>>",
            [
                "named_struct('a', [1, 2], 'b', named_struct('c', DATE '2024-01-01'))",
                "named_struct('a', [], 'b', named_struct('c', NULL))",
            ],
        ),
    ] {
        let typed = |value: &str| format!("CAST({value} AS {data_type})");
        let [one, two] = [one, two].map(typed);
        let null = typed("NULL");
        Case::new(&format!("id INT, v {data_type}, w INT"))
            .file(&format!("VALUES (1, {one}, 1), (2, {two}, 2), (3, {null}, 3), (4, {one}, 4), (5, {two}, 5)"))
            .file(&format!("SELECT value, {one}, 6 FROM range(6, 12)"))
            .step(
                &format!("SELECT 1 AS id, {two} AS v UNION ALL SELECT 7, {null} UNION ALL SELECT 20, {one}"),
                "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v \
                 WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)",
                [1, 2, 0],
            )
            .step(
                "SELECT 2 AS id UNION ALL SELECT 8 UNION ALL SELECT 21",
                "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET w = t.w + 1 \
                 WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
                [1, 2, 0],
            )
            .check()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_nested_value_is_a_condition_and_a_key() {
    Case::new("id INT, v STRUCT<a INT, b VARCHAR>")
        .file(
            "SELECT value, named_struct('a', CAST(value AS INT), 'b', CAST(value AS VARCHAR)) FROM range(0, 12)",
        )
        .step(
            "SELECT 3 AS id, 5 AS n UNION ALL SELECT 4, 4",
            "s ON t.id = s.id WHEN MATCHED AND t.v['a'] = s.n THEN DELETE \
             WHEN MATCHED THEN UPDATE SET v = named_struct('a', s.n, 'b', t.v['b'])",
            [0, 1, 1],
        )
        .step(
            "SELECT 5 AS n",
            "s ON t.v['a'] = s.n WHEN MATCHED THEN UPDATE SET id = t.id + 100",
            [0, 2, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_in_mixed_case_and_with_odd_letters() {
    Case::new(r#""Id" INT, "größe-in.cm" INT, "It's" VARCHAR, "a""b" INT, "x/y" INT"#)
        .partitioned(&["x/y"])
        .file("VALUES (1, 10, 'a', 1, 1), (2, 20, 'b', 2, 1), (3, 30, 'c', 3, 1), (4, 40, 'd', 4, 2), (5, 50, 'e', 5, 1)")
        .step(
            r#"SELECT 1 AS "Id", 11 AS "größe-in.cm", 2 AS "x/y" UNION ALL SELECT 9, 90, 1 UNION ALL SELECT 4, 41, 2"#,
            r#"s ON t."Id" = s."Id" WHEN MATCHED AND t."größe-in.cm" < 40 THEN
                UPDATE SET "größe-in.cm" = s."größe-in.cm" + t."a""b", "It's" = t."It's" || '''', "x/y" = s."x/y"
               WHEN MATCHED THEN DELETE
               WHEN NOT MATCHED THEN INSERT ("x/y", "a""b", "Id") VALUES (s."x/y", s."größe-in.cm", s."Id")"#,
            [1, 1, 1],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_many_commits() {
    let mut case = Case::new("id INT, v INT");
    for file in 0..12 {
        let from = file * 7;
        case = case.file(&format!(
            "SELECT value, {file} FROM range({from}, {from} + 7)"
        ));
    }
    let mirror = "s ON t.id = s.id WHEN MATCHED AND s.n = 0 THEN DELETE \
                  WHEN MATCHED THEN UPDATE SET v = s.n \
                  WHEN NOT MATCHED AND s.n > 0 THEN INSERT (id, v) VALUES (s.id, s.n)";
    // A whole file and parts of others go.
    case.step(
        "SELECT value AS id, 0 AS n FROM range(7, 16)",
        mirror,
        [0, 0, 9],
    )
    .step(
        "SELECT value * 5 AS id, value AS n FROM range(1, 20)",
        mirror,
        [5, 14, 0],
    )
    .step(
        "SELECT value * 11 AS id, value % 2 AS n FROM range(0, 10)",
        mirror,
        [2, 3, 4],
    )
    .check()
    .await;
}
