use super::{Case, Failure};

/// Ten rows in two files, of which a few are NULL.
fn items() -> Case {
    Case::new("id INT, name VARCHAR, v INT")
        .file("VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', NULL), (4, NULL, 40), (5, 'e', 50)")
        .file("VALUES (6, 'f', 60), (7, 'g', 70), (8, 'h', 80), (9, 'i', 90), (10, NULL, NULL)")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_clause_that_holds_takes_the_row() {
    items()
        .step(
            "SELECT * FROM (VALUES (1, 1), (2, 2), (3, 3), (11, 11), (12, 12)) AS s(id, n)",
            "s ON t.id = s.id \
             WHEN MATCHED AND s.n = 1 THEN UPDATE SET name = 'first' \
             WHEN MATCHED AND s.n <= 2 THEN DELETE \
             WHEN MATCHED THEN UPDATE SET name = 'last' \
             WHEN NOT MATCHED AND s.n = 11 THEN INSERT (id, name) VALUES (s.id, 'eleven') \
             WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.n)",
            [2, 2, 1],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_is_null_does_not_hold() {
    items()
        .step(
            "SELECT * FROM (VALUES (1, 10), (3, 30), (4, NULL), (10, 1), (11, NULL), (12, 1)) AS s(id, n)",
            "s ON t.id = s.id \
             WHEN MATCHED AND t.v = s.n THEN DELETE \
             WHEN MATCHED AND NOT (t.v > s.n) THEN UPDATE SET name = 'wrong' \
             WHEN MATCHED AND t.v IS NULL AND s.n > 1 THEN UPDATE SET v = s.n \
             WHEN NOT MATCHED AND s.n <> 2 THEN INSERT (id, v) VALUES (s.id, s.n)",
            [1, 1, 1],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_either_side_and_from_both() {
    items()
        .step(
            "SELECT * FROM (VALUES (1, 'x', 1), (2, 'y', 2), (7, NULL, 7)) AS s(id, name, n)",
            "s ON t.id = s.id \
             WHEN MATCHED AND s.n = 1 THEN UPDATE SET v = t.v + s.n, name = t.name || s.name \
             WHEN MATCHED AND s.n = 2 THEN UPDATE SET v = t.id, name = CAST(t.v AS VARCHAR) \
             WHEN MATCHED THEN UPDATE SET name = s.name, v = s.n * 1000",
            [0, 3, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_read_the_row_as_it_was() {
    Case::new("id INT, a INT, b INT")
        .file("VALUES (1, 10, 11), (2, 20, 21), (3, 30, 31), (4, 40, 41), (5, 50, 51)")
        .step(
            "SELECT 1 AS id UNION ALL SELECT 4",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = t.b, b = t.a, id = t.id * 100",
            [0, 2, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_without_an_assignment_keeps_its_value() {
    items()
        .step(
            "SELECT 3 AS id, 'n' AS n UNION ALL SELECT 10, 'm'",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.n",
            [0, 2, 0],
        )
        .step(
            "SELECT 3 AS id, 33 AS n",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.n",
            [0, 1, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_to_the_same_value_is_an_update() {
    items()
        .step(
            "SELECT 2 AS id",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = t.v",
            [0, 1, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_names_its_columns_in_any_order_or_none() {
    items()
        .step(
            "SELECT 20 AS id, 'z' AS n",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (v, id) VALUES (s.id * 2, s.id)",
            [1, 0, 0],
        )
        .step(
            "SELECT 21 AS id, 'z' AS n",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.n, NULL)",
            [1, 0, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_with_and_without_a_condition() {
    items()
        .step(
            "SELECT * FROM (VALUES (1), (2), (9), (11)) AS s(id)",
            "s ON t.id = s.id WHEN MATCHED AND t.v < 50 THEN DELETE",
            [0, 0, 2],
        )
        .step(
            "SELECT * FROM (VALUES (1), (3), (9), (11)) AS s(id)",
            "s ON t.id = s.id WHEN MATCHED THEN DELETE",
            [0, 0, 2],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_without_rows_without_matches_and_with_nothing_else() {
    let mirror = "s ON t.id = s.id \
                  WHEN MATCHED THEN UPDATE SET v = s.n \
                  WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.n)";
    items()
        .step("SELECT 1 AS id, 2 AS n WHERE false", mirror, [0, 0, 0])
        .step("SELECT 1000 AS id, 2 AS n", mirror, [1, 0, 0])
        .step(
            "SELECT value AS id, 1 AS n FROM range(1, 11)",
            mirror,
            [0, 10, 0],
        )
        .step(
            "SELECT value AS id FROM range(1, 11)",
            "s ON t.id = s.id WHEN MATCHED THEN DELETE",
            [0, 0, 10],
        )
        .step(
            "SELECT 1000 AS id",
            "s ON t.id = s.id WHEN MATCHED THEN DELETE",
            [0, 0, 1],
        )
        .step(
            "SELECT value AS id, 1 AS n FROM range(1, 11)",
            mirror,
            [10, 0, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clause_that_is_not_there_leaves_its_rows_alone() {
    items()
        .step(
            "SELECT 1 AS id UNION ALL SELECT 99",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
            [1, 0, 0],
        )
        .step(
            "SELECT 1 AS id UNION ALL SELECT 77",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 0",
            [0, 1, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_twice_for_one_row_is_an_error_that_names_the_key() {
    let twice = "SELECT * FROM (VALUES (2, 1), (2, 2), (3, 1)) AS s(id, n)";
    let duplicate = || Failure::Duplicate(Some("id = 2".to_string()));
    items()
        .failing(twice, "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.n", duplicate())
        .failing(
            twice,
            "s ON t.id = s.id WHEN MATCHED AND s.n > 0 THEN DELETE",
            duplicate(),
        )
        .failing(
            twice,
            "s ON t.id = s.id WHEN MATCHED AND s.n = 1 THEN UPDATE SET v = s.n WHEN MATCHED THEN DELETE",
            duplicate(),
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_twice_for_one_row_is_none_where_one_of_them_acts() {
    items()
        .step(
            "SELECT * FROM (VALUES (2, 1), (2, 2), (3, 1)) AS s(id, n)",
            "s ON t.id = s.id WHEN MATCHED AND s.n = 2 THEN UPDATE SET v = s.n",
            [0, 1, 0],
        )
        .step(
            "SELECT * FROM (VALUES (2, 1), (2, 2), (3, 1)) AS s(id, n)",
            "s ON t.id = s.id WHEN MATCHED THEN DELETE",
            [0, 0, 2],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_twice_without_a_match_is_inserted_twice() {
    items()
        .step(
            "SELECT * FROM (VALUES (20, 1), (20, 2), (NULL, 3), (NULL, 3)) AS s(id, n)",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.n)",
            [4, 0, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_twice_for_one_key_changes_twice() {
    Case::new("id INT, v INT")
        .file("VALUES (1, 10), (1, 11), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60)")
        .file("VALUES (1, 12), (7, 70), (8, 80), (9, 90), (10, 100), (11, 110)")
        .step(
            "SELECT 1 AS id, 5 AS n",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = t.v + s.n",
            [0, 3, 0],
        )
        .step(
            "SELECT 1 AS id",
            "s ON t.id = s.id WHEN MATCHED AND t.v <> 16 THEN DELETE",
            [0, 0, 2],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_a_source() {
    items()
        .step(
            "SELECT value AS id, value * 2 AS n FROM range(1, 5)",
            "(SELECT id, sum(n) AS total FROM s WHERE id <> 2 GROUP BY id) AS x ON t.id = x.id \
             WHEN MATCHED AND x.total > 2 THEN UPDATE SET v = x.total",
            [0, 2, 0],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_follow_one_another_over_the_same_rows() {
    let set = "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.n \
               WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.n)";
    let mut case = Case::new("id INT, v INT").file("SELECT value, 0 FROM range(0, 60)");
    for round in 0..6 {
        let source = format!("SELECT value * 9 + {round} AS id, {round} AS n FROM range(0, 5)");
        case = case.step(&source, set, [0, 5, 0]);
    }
    case.step(
        "SELECT value * 7 AS id FROM range(0, 20)",
        "s ON t.id = s.id WHEN MATCHED AND t.v > 0 THEN DELETE",
        [0, 0, 3],
    )
    .check()
    .await;
}
