//! Statistics as other writers leave them in the log.

use super::contract::{Case, Seed, Table, Way, sorted_rows};

/// Replaces `from` by `to` in all commits of `table`.
fn rewrite_log(table: &Table, from: &str, to: &str) {
    let log = table.path().join("_delta_log");
    let mut found = false;
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = std::fs::read_to_string(&path).unwrap();
            found |= text.contains(from);
            std::fs::write(&path, text.replace(from, to)).unwrap();
        }
    }
    assert!(found, "the log has no {from}");
}

async fn merged_after(case: Case, from: &str, to: &str) {
    let seed = Seed::new(&case).await;
    let table = Table::create(&case, &seed, Way::Vectors).await;
    rewrite_log(&table, from, to);
    let merged = seed.merge(&seed.rows(), &case.steps[0]).await.unwrap();
    table.check(&case.steps[0], &seed, &Ok(merged.counts)).await;
    assert_eq!(table.rows().await, sorted_rows(&[merged.rows]));
}

/// The log has instants to the millisecond, cut off.
#[tokio::test(flavor = "multi_thread")]
async fn an_instant_between_two_milliseconds_finds_its_file() {
    for (data_type, stored) in [
        ("TIMESTAMP", "Timestamp(Microsecond, None)"),
        (
            "TIMESTAMP WITH TIME ZONE",
            "Timestamp(Microsecond, Some(\"UTC\"))",
        ),
    ] {
        for instant in ["2024-01-01T00:00:07.123456", "1959-12-31T23:59:07.123999"] {
            let key = format!("arrow_cast(CAST('{instant}' AS {data_type}), '{stored}')");
            let case = Case::new(&format!("k {data_type}, v INT"))
                .file(&format!("VALUES ({key}, 1)"))
                .step(
                    &format!("SELECT {key} AS k"),
                    "s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = 2",
                    [0, 1, 0],
                );
            merged_after(case, ".123", ".123").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_no_statistics() {
    let case = Case::new("k INT, v INT")
        .file("SELECT value, 0 FROM range(0, 30)")
        .step(
            "SELECT value * 10 AS k FROM range(0, 4)",
            "s ON t.k = s.k WHEN MATCHED THEN UPDATE SET v = 2 WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k)",
            [1, 3, 0],
        );
    merged_after(case, "\"stats\":", "\"other\":").await;
}
