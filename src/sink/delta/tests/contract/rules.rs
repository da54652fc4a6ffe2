use super::{Case, Failure};

const MIRROR: &str = "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v \
     WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)";

fn positive() -> Case {
    Case::new("id INT, v INT")
        .constraint("positive", "v > 0")
        .constraint("small", "v < 1000 OR id = 7")
        .file("VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60)")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_breaks_a_constraint_is_refused() {
    positive()
        .failing("SELECT 1 AS id, 0 AS v", MIRROR, Failure::Row)
        .failing("SELECT 9 AS id, -1 AS v", MIRROR, Failure::Row)
        .failing("SELECT 2 AS id, 1000 AS v", MIRROR, Failure::Row)
        .step("SELECT 7 AS id, 1000 AS v", MIRROR, [1, 0, 0])
        .step("SELECT 1 AS id, 11 AS v", MIRROR, [0, 1, 0])
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_is_null_is_broken() {
    positive()
        .failing(
            "SELECT 1 AS id, CAST(NULL AS INT) AS v",
            MIRROR,
            Failure::Row,
        )
        .failing(
            "SELECT 9 AS id, CAST(NULL AS INT) AS v",
            MIRROR,
            Failure::Row,
        )
        .failing(
            "SELECT 9 AS id",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
            Failure::Row,
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_no_clause_takes_break_no_constraint() {
    positive()
        .step(
            "SELECT * FROM (VALUES (1, -1), (2, 5), (9, -1), (10, 5)) AS s(id, v)",
            "s ON t.id = s.id WHEN MATCHED AND s.v > 0 THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED AND s.v > 0 THEN INSERT (id, v) VALUES (s.id, s.v)",
            [1, 1, 0],
        )
        .step(
            "SELECT 3 AS id, -1 AS v",
            "s ON t.id = s.id WHEN MATCHED THEN DELETE",
            [0, 0, 1],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_not_null_stays_so() {
    Case::new("id INT NOT NULL, v VARCHAR NOT NULL, w INT")
        .file("VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', NULL), (4, 'd', 4), (5, 'e', 5)")
        .failing(
            "SELECT 1 AS id, CAST(NULL AS VARCHAR) AS v",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v",
            Failure::Row,
        )
        .failing(
            "SELECT 9 AS id, 'v' AS v",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
            Failure::Row,
        )
        .failing(
            "SELECT CAST(NULL AS INT) AS id, 'v' AS v",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)",
            Failure::Row,
        )
        .step(
            "SELECT * FROM (VALUES (2, NULL), (3, NULL), (4, 'x'), (9, NULL), (10, 'new')) AS s(id, v)",
            "s ON t.id = s.id WHEN MATCHED AND s.v IS NULL THEN DELETE \
             WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED AND s.v IS NOT NULL THEN INSERT (id, v) VALUES (s.id, s.v)",
            [1, 1, 2],
        )
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_refused() {
    Case::new("id TINYINT, v SMALLINT, d DECIMAL(4, 1)")
        .file("VALUES (1, 1, 1.0), (2, 2, 2.0), (3, 3, 3.0), (4, 4, 4.0), (5, 5, 5.0)")
        .failing(
            "SELECT 1 AS id, 70000 AS v",
            "s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v",
            Failure::Row,
        )
        .failing(
            "SELECT 300 AS id, 7 AS v",
            "s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)",
            Failure::Row,
        )
        .check()
        .await;
}
