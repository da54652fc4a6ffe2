use datafusion::prelude::SessionContext;

use super::contract::{Case, Seed, Table, Way, sorted_rows};
use super::{Lake, Source, customers, query};
use crate::sink::delta::{FeedEnd, FeedPoint, SinkError, TableOptions};

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

/// Sets the property that records the feed, in one commit.
async fn set_feed(lake: &Lake, value: &str) {
    let table = lake.target().await.table().clone();
    let properties = [(FEED.to_string(), value.to_string())];
    let set = table.set_tbl_properties();
    let _ = set.with_properties(properties.into()).await.unwrap();
}

/// The versions of the changes between two ends, or the error.
async fn versions(
    lake: &Lake,
    from: Option<FeedEnd>,
    to: Option<FeedEnd>,
) -> Result<String, SinkError> {
    let feed = lake.target().await.change_feed(from, to).await?;
    let ctx = SessionContext::new();
    ctx.register_table("feed", feed).unwrap();
    let sql = "SELECT _commit_version || _change_type FROM feed ORDER BY 1";
    Ok(query(&ctx, sql).await.replace('\n', " "))
}

fn version(version: u64, inclusive: bool) -> Option<FeedEnd> {
    let at = FeedPoint::Version(version);
    Some(FeedEnd { at, inclusive })
}

/// Versions 0 (made), 1 (a row), 2 (feed on), 3 and 4 (a row each), 5 (feed off), 6 (a row).
async fn switched() -> Lake {
    let lake = Lake::new();
    let _ = lake
        .target()
        .await
        .create(&customers(), &TableOptions::default())
        .await
        .unwrap();
    let insert = async |id: i32| {
        let source = Source::of(&[(id, Some("n"), None, "insert")]).table();
        let sql = "INSERT INTO customers SELECT customer_id, name, city FROM src";
        let _ = lake.write(sql, source, None).await.unwrap();
    };
    insert(1).await;
    set_feed(&lake, "true").await;
    insert(3).await;
    insert(4).await;
    set_feed(&lake, "false").await;
    insert(6).await;
    lake
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_has_the_versions_that_were_recorded_and_no_others() {
    let lake = switched().await;
    let all = versions(&lake, version(2, true), version(4, true)).await;
    assert_eq!(all.unwrap(), "3insert 4insert");
    let from_start = versions(&lake, None, version(5, false)).await;
    assert_eq!(from_start.unwrap(), "3insert 4insert");
    let one = versions(&lake, version(3, false), version(4, true)).await;
    assert_eq!(one.unwrap(), "4insert");
    for (from, to, since) in [
        (version(1, true), version(4, true), Some(2)),
        (version(3, true), None, None),
        (None, None, None),
    ] {
        match versions(&lake, from, to).await {
            Err(SinkError::NoChangeFeed { since: found, .. }) => assert_eq!(found, since),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_without_versions_is_empty_and_one_ahead_of_the_table_is_not_there() {
    let lake = switched().await;
    let empty = versions(&lake, version(6, false), None).await;
    assert_eq!(empty.unwrap(), "");
    let none = versions(&lake, None, version(0, false)).await;
    assert_eq!(none.unwrap(), "");
    let ahead = versions(&lake, version(9, true), None).await;
    assert!(
        matches!(ahead, Err(SinkError::NoSuchVersion { .. })),
        "{ahead:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_mean_the_versions_between_them() {
    let lake = switched().await;
    let history = lake.target().await.history(10).await.unwrap();
    let micros = |version: u64| {
        let mut entries = history.iter();
        let entry = entries.find(|entry| entry.version == version).unwrap();
        entry.timestamp_ms.unwrap() * 1_000
    };
    let end = |micros, inclusive| {
        let at = FeedPoint::Instant(micros);
        Some(FeedEnd { at, inclusive })
    };
    // Commits of one millisecond share their instant.
    let upto = history
        .iter()
        .filter(|e| e.timestamp_ms.unwrap() * 1_000 <= micros(3));
    let upto = upto.map(|entry| entry.version).max().unwrap();
    let expected = (3..=upto.min(4)).map(|version| format!("{version}insert"));
    let expected = expected.collect::<Vec<_>>().join(" ");
    if upto < 5 {
        let found = versions(&lake, version(2, true), end(micros(3), true)).await;
        assert_eq!(found.unwrap(), expected);
    }
    let before = versions(&lake, None, end(micros(0), false)).await;
    assert_eq!(before.unwrap(), "");
    let after = versions(&lake, end(micros(6), false), None).await;
    assert_eq!(after.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_before_a_column_was_added_has_the_columns_of_then() {
    let lake = switched().await;
    let table = lake.target().await.table().clone();
    let field =
        deltalake::kernel::StructField::nullable("added", deltalake::kernel::DataType::STRING);
    let _ = table.add_columns().with_fields([field]).await.unwrap();
    let then = versions(&lake, version(2, true), version(4, true)).await;
    assert_eq!(then.unwrap(), "3insert 4insert");
}
