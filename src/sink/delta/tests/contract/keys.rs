use super::{Case, Failure};

const MIRROR: &str = "s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v \
     WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)";

#[tokio::test(flavor = "multi_thread")]
async fn two_keys() {
    Case::new("a INT, b VARCHAR, v INT")
        .file("VALUES (1, 'x', 1), (1, 'y', 2), (2, 'x', 3), (2, NULL, 4), (NULL, 'x', 5), (3, 'z', 6)")
        .step(
            "SELECT * FROM (VALUES (1, 'y', 20), (2, 'x', 30), (2, NULL, 40), (NULL, 'x', 50), (3, 'x', 60)) AS s(a, b, v)",
            "s ON t.a = s.a AND t.b = s.b WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED THEN INSERT (a, b, v) VALUES (s.a, s.b, s.v)",
            [3, 2, 0],
        )
        .failing(
            "SELECT * FROM (VALUES (1, 'y', 20), (1, 'y', 30)) AS s(a, b, v)",
            "s ON t.a = s.a AND t.b = s.b WHEN MATCHED THEN UPDATE SET v = s.v",
            Failure::Duplicate(Some("a = 1, b = y".to_string())),
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_conditions_than_the_keys() {
    let table = || {
        Case::new("k INT, v INT").file(
            "VALUES (1, 10), (2, 20), (3, 30), (4, NULL), (5, 50), (6, 60), (7, 70), (8, 80), (9, 90)",
        )
    };
    let source = "SELECT * FROM (VALUES (1, 1), (3, 3), (4, 4), (5, NULL), (10, 10)) AS s(k, v)";
    for (condition, counts) in [
        ("t.v > 10", [3, 2, 0]),
        ("s.v > 1", [3, 2, 0]),
        ("t.v > s.v * 10", [5, 0, 0]),
        ("t.v >= s.v * 10 AND s.v < 3", [4, 1, 0]),
        ("(t.v IS NULL OR s.v IS NULL)", [3, 2, 0]),
        ("t.v <> s.v", [3, 2, 0]),
        ("1 = 0", [5, 0, 0]),
    ] {
        let merge = format!(
            "s ON t.k = s.k AND {condition} WHEN MATCHED THEN UPDATE SET v = -1 \
             WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, 1000)"
        );
        table().step(source, &merge, counts).check().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_keys_match_nothing() {
    Case::new("k INT, v INT")
        .file("VALUES (1, 10), (NULL, 20), (NULL, 21), (2, 30), (3, 40), (4, 50)")
        .step(
            "SELECT * FROM (VALUES (1, 1), (NULL, 2)) AS s(k, v)",
            MIRROR,
            [1, 1, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_that_are_not_distinct_match() {
    Case::new("k INT, v INT")
        .file("VALUES (1, 10), (NULL, 20), (NULL, 21), (2, 30), (3, 40), (4, 50), (5, 60), (6, 70), (7, 80)")
        .step(
            "SELECT * FROM (VALUES (1, 1), (NULL, 2), (9, 3)) AS s(k, v)",
            "s ON t.k IS NOT DISTINCT FROM s.k WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)",
            [1, 3, 0],
        )
        .step(
            "SELECT * FROM (VALUES (CAST(NULL AS INT))) AS s(k)",
            "s ON t.k IS NOT DISTINCT FROM s.k WHEN MATCHED THEN DELETE",
            [0, 0, 2],
        )
        .failing(
            "SELECT * FROM (VALUES (2, 1), (2, 2)) AS s(k, v)",
            "s ON t.k IS NOT DISTINCT FROM s.k WHEN MATCHED THEN UPDATE SET v = s.v",
            Failure::Duplicate(Some("k = 2".to_string())),
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_equal_and_one_not_distinct() {
    Case::new("a INT, b INT, v INT")
        .file("VALUES (1, 1, 1), (1, NULL, 2), (2, NULL, 3), (NULL, NULL, 4), (3, 3, 5), (4, 4, 6)")
        .step(
            "SELECT * FROM (VALUES (1, NULL, 20), (2, 2, 30), (NULL, NULL, 40)) AS s(a, b, v)",
            "s ON t.a = s.a AND t.b IS NOT DISTINCT FROM s.b WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED THEN INSERT (a, b, v) VALUES (s.a, s.b, s.v)",
            [2, 1, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_expressions_and_of_other_types() {
    let table = || {
        Case::new("k INT, v INT")
            .file("VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60)")
    };
    let source =
        "SELECT CAST(1 AS BIGINT) AS k, '2' AS text, 3 AS v UNION ALL SELECT 5000000000, '6', 4";
    for (on, counts) in [
        ("t.k = s.k", [1, 1, 0]),
        ("t.k = s.k + 1", [1, 1, 0]),
        ("t.k - 1 = s.k", [1, 1, 0]),
        ("CAST(t.k AS BIGINT) = s.k", [1, 1, 0]),
        ("CAST(t.k AS VARCHAR) = s.text", [0, 2, 0]),
        ("t.k = CAST(s.text AS INT)", [0, 2, 0]),
        ("s.v = t.k", [0, 2, 0]),
        ("t.k + t.v = s.k * 11", [1, 1, 0]),
        ("t.k % 100 = s.v", [0, 2, 0]),
        (
            "t.k = s.k AND CAST(t.k AS VARCHAR) = CAST(s.k AS VARCHAR)",
            [1, 1, 0],
        ),
    ] {
        let merge = format!(
            "s ON {on} WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED THEN INSERT (k, v) VALUES (0, s.v)"
        );
        table().step(source, &merge, counts).check().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_updated_lead_to_their_rows_at_their_new_place() {
    Case::new("k INT, v INT")
        .file("SELECT value, value AS v FROM range(0, 20)")
        .step(
            "SELECT 3 AS k, 300 AS v",
            "s ON t.k = s.k WHEN MATCHED THEN UPDATE SET k = s.v",
            [0, 1, 0],
        )
        .step(
            "SELECT * FROM (VALUES (3, 1), (300, 2)) AS s(k, v)",
            MIRROR,
            [1, 1, 0],
        )
        .check()
        .await;
}

/// Rows `(k, 0)` of some keys; a merge of the first, the third and a new one.
async fn of_type(data_type: &str, keys: [&str; 5], new: &str) {
    let [first, _, third, ..] = keys;
    let typed = |key: &str| format!("CAST({key} AS {data_type})");
    let row = |(number, key): (usize, &&str)| format!("({}, {number})", typed(key));
    let rows: Vec<String> = keys.iter().enumerate().map(row).collect();
    let source = |keys: &[&str]| {
        let rows = keys.iter().enumerate();
        let rows = rows.map(|(number, key)| format!("({}, {})", typed(key), number + 100));
        let rows: Vec<String> = rows.collect();
        format!("SELECT * FROM (VALUES {}) AS s(k, v)", rows.join(", "))
    };
    let mut case = Case::new(&format!("k {data_type}, v INT"));
    // Each key in a file of its own, so that statistics decide, and all of them in one.
    for row in &rows {
        case = case.file(&format!("VALUES {row}"));
    }
    case = case.file(&format!("VALUES {}", rows.join(", ")));
    case.step(&source(&[first, third, new]), MIRROR, [1, 4, 0])
        .step(&source(&[new, keys[4]]), MIRROR, [0, 3, 0])
        .step(
            &source(&[keys[1]]),
            "s ON t.k = s.k WHEN MATCHED THEN DELETE",
            [0, 0, 2],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_are_keys() {
    for data_type in ["TINYINT", "SMALLINT", "INT", "BIGINT"] {
        of_type(data_type, ["1", "-2", "0", "-128", "127"], "42").await;
    }
    let edges = [
        "9223372036854775807",
        "-9223372036854775807",
        "0",
        "9007199254740993",
        "9007199254740992",
    ];
    of_type("BIGINT", edges, "9007199254740994").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_are_keys() {
    of_type(
        "DECIMAL(9, 2)",
        [
            "'1.10'",
            "'-2.25'",
            "'0.00'",
            "'-9999999.99'",
            "'9999999.99'",
        ],
        "'1.11'",
    )
    .await;
    let near = [
        "'12345678901234567890123456789012345.678'",
        "'12345678901234567890123456789012345.679'",
        "'12345678901234567890123456789012345.680'",
        "'-12345678901234567890123456789012345.678'",
        "'99999999999999999999999999999999999.999'",
    ];
    of_type(
        "DECIMAL(38, 3)",
        near,
        "'12345678901234567890123456789012345.681'",
    )
    .await;
    let sixteen = [
        "'90071992547409.93'",
        "'90071992547409.92'",
        "'0.01'",
        "'-90071992547409.93'",
        "'1'",
    ];
    of_type("DECIMAL(16, 2)", sixteen, "'90071992547409.94'").await;
    let fifteen = [
        "'9007199254740.93'",
        "'9007199254740.92'",
        "'0.01'",
        "'-9007199254740.93'",
        "'0.10'",
    ];
    of_type("DECIMAL(15, 2)", fifteen, "'9007199254740.94'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_keys() {
    of_type("VARCHAR", ["'a'", "'b''c'", "''", "'größe'", "'A'"], "' a'").await;
    let prefix = "0123456789".repeat(8);
    let long = |end: &str| format!("'{prefix}{end}'");
    let keys = ["a", "b", "", "\u{10ffff}", "ä"].map(long);
    of_type("VARCHAR", keys.each_ref().map(String::as_str), &long("c")).await;
    let highest = |end: &str| format!("'{}{end}'", "\u{10ffff}".repeat(70));
    let keys = ["a", "b", "", "z", "ä"].map(highest);
    of_type(
        "VARCHAR",
        keys.each_ref().map(String::as_str),
        &highest("c"),
    )
    .await;
    let before_surrogates = |end: &str| format!("'{}{end}'", "\u{d7ff}".repeat(40));
    let keys = ["a", "b", "", "z", "ä"].map(before_surrogates);
    of_type(
        "VARCHAR",
        keys.each_ref().map(String::as_str),
        &before_surrogates("c"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_dates_and_instants_are_keys() {
    of_type(
        "BYTEA",
        ["X'00'", "X'00ff'", "X''", "X'ff'", "X'80'"],
        "X'7f'",
    )
    .await;
    of_type(
        "DATE",
        [
            "'2024-01-01'",
            "'1969-12-31'",
            "'0001-01-01'",
            "'9999-12-31'",
            "'1970-01-01'",
        ],
        "'2024-01-02'",
    )
    .await;
    let micros = [
        "'2024-01-01T00:00:00.123456'",
        "'2024-01-01T00:00:00.123457'",
        "'1969-12-31T23:59:59.999999'",
        "'2024-01-01T00:00:00.123'",
        "'1970-01-01T00:00:00'",
    ];
    for data_type in ["TIMESTAMP", "TIMESTAMP WITH TIME ZONE"] {
        of_type(data_type, micros, "'2024-01-01T00:00:00.123455'").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fractions_are_keys_and_so_is_what_is_no_number() {
    for data_type in ["FLOAT", "DOUBLE"] {
        of_type(
            data_type,
            ["1.5", "-2.25", "0.0", "'Infinity'", "'-Infinity'"],
            "0.1",
        )
        .await;
        of_type(
            data_type,
            ["'NaN'", "1.0", "2.0", "'-Infinity'", "'Infinity'"],
            "3.0",
        )
        .await;
        of_type(data_type, ["1.0", "2.0", "'NaN'", "-1.0", "4.0"], "3.0").await;
    }
}

/// Parquet's bounds of a file leave out what is no number.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_number_is_found_beside_numbers() {
    let nan = "CAST('NaN' AS DOUBLE)";
    let table = || {
        Case::new("id INT, k DOUBLE, v INT").file(&format!(
            "VALUES (1, {nan}, 1), (2, 1.0, 2), (3, 0.5, 3), (4, NULL, 4), (5, 2.0, 5)"
        ))
    };
    let source = format!("SELECT {nan} AS k, 1 AS id UNION ALL SELECT 1.0, 2");
    for (on, counts) in [
        ("t.k = s.k", [0, 2, 0]),
        ("t.id = s.id AND t.k > 5.0", [1, 1, 0]),
        ("t.id = s.id AND t.k = CAST('NaN' AS DOUBLE)", [1, 1, 0]),
    ] {
        let merge = format!(
            "s ON {on} WHEN MATCHED THEN UPDATE SET v = 100 \
             WHEN NOT MATCHED THEN INSERT (id) VALUES (1000)"
        );
        table().step(&source, &merge, counts).check().await;
    }
    table()
        .step(
            &format!("SELECT {nan} AS k"),
            "s ON t.k = s.k WHEN MATCHED THEN DELETE",
            [0, 0, 1],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_zero_is_a_zero() {
    for data_type in ["FLOAT", "DOUBLE"] {
        for (zero, given) in [("-0.0", "0.0"), ("0.0", "-0.0"), ("-0.0", "-0.0")] {
            let rows = format!(
                "VALUES (CAST('{zero}' AS {data_type}), 0), (1.0, 1), (2.0, 2), (3.0, 3), (4.0, 4)"
            );
            let source = format!("SELECT CAST('{given}' AS {data_type}) AS k, 100 AS v");
            Case::new(&format!("k {data_type}, v INT"))
                .file(&format!("VALUES (CAST('{zero}' AS {data_type}), 0)"))
                .file(&rows)
                .step(&source, MIRROR, [0, 2, 0])
                .check()
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_values_are_keys() {
    Case::new("k BOOLEAN, v INT")
        .file("VALUES (true, 1)")
        .file("VALUES (false, 2)")
        .file("VALUES (NULL, 3), (false, 4), (true, 5), (NULL, 6), (NULL, 7), (NULL, 8), (NULL, 9)")
        .step("SELECT true AS k, 10 AS v", MIRROR, [0, 2, 0])
        .step(
            "SELECT false AS k",
            "s ON t.k = s.k WHEN MATCHED THEN DELETE",
            [0, 0, 2],
        )
        .check()
        .await;
}
