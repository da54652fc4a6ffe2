use super::contract::{Case, Seed, Table, Way, sorted_rows};

const FEED: &str = "delta.enableChangeDataFeed";

/// Inserts, updates, deletes, and rows that two clauses could take.
const MERGE: &str = "s ON t.id = s.id \
     WHEN MATCHED AND s.n < 0 THEN DELETE \
     WHEN MATCHED AND s.n < 10 THEN UPDATE SET v = t.v + s.n, name = s.name \
     WHEN MATCHED THEN UPDATE SET p = s.n \
     WHEN NOT MATCHED AND s.n > 0 THEN INSERT (id, v, p) VALUES (s.id, s.n, s.n)";

fn case() -> Case {
    let rows = |from: i32| {
        format!(
            "SELECT value, CAST(value AS VARCHAR) || 'x', value % 3, value * 10 AS v FROM range({from}, {from} + 20)"
        )
    };
    Case::new("id INT, name VARCHAR, p INT, v INT")
        .file(&rows(0))
        .file(&rows(20))
        .step(
            "SELECT * FROM (VALUES (1, 'a', -1), (2, NULL, 5), (21, 'c', 77), (50, 'd', 1), (51, 'e', -1)) AS s(id, name, n)",
            MERGE,
            [1, 2, 1],
        )
        .step(
            "SELECT * FROM (VALUES (2, 'a', 6), (50, 'b', -1), (21, 'c', -1), (1, 'd', 3)) AS s(id, name, n)",
            MERGE,
            [1, 1, 2],
        )
        .step("SELECT 3 AS id", "s ON t.id = s.id WHEN MATCHED THEN DELETE", [0, 0, 1])
        .step(
            "SELECT value AS id, 4 AS n, 'x' AS name FROM range(20, 40)",
            MERGE,
            [0, 19, 0],
        )
        .step("SELECT 900 AS id, 4 AS n, 'x' AS name", MERGE, [1, 0, 0])
}

/// Each version's feed is what the merge reads as.
async fn feeds_agree(case: Case) {
    let case = case.property(FEED, "true");
    let seed = Seed::new(&case).await;
    for way in [Way::Vectors, Way::Rewrite, Way::Off] {
        let table = Table::create(&case, &seed, way).await;
        let mut rows = seed.rows();
        for step in &case.steps {
            let merged = seed.merge(&rows, step).await.unwrap();
            table.check(step, &seed, &Ok(merged.counts)).await;
            assert_eq!(table.feed().await, merged.changes, "{way:?} of {step:#?}");
            rows = merged.rows;
            assert_eq!(table.rows().await, sorted_rows(std::slice::from_ref(&rows)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_says_what_the_merge_did() {
    feeds_agree(case()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_of_a_partitioned_table_says_so_too() {
    feeds_agree(case().partitioned(&["p"])).await;
    feeds_agree(case().partitioned(&["p", "name"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_deleted_twice_is_one_change() {
    let twice = Case::new("id INT, v INT")
        .file("SELECT value, 0 FROM range(0, 20)")
        .step(
            "SELECT 3 AS id UNION ALL SELECT 3 UNION ALL SELECT 4",
            "s ON t.id = s.id WHEN MATCHED THEN DELETE",
            [0, 0, 2],
        );
    feeds_agree(twice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_feed_there_is_no_file_of_it() {
    for feed in [false, true] {
        let case = match feed {
            true => case().property(FEED, "true"),
            false => case(),
        };
        let seed = Seed::new(&case).await;
        for way in [Way::Vectors, Way::Rewrite, Way::Off] {
            let table = Table::create(&case, &seed, way).await;
            let _ = table.merge(&case.steps[0], &seed, way).await.unwrap();
            let folder = table.path().join("_change_data");
            assert_eq!(folder.exists(), feed, "{way:?}");
        }
    }
}
