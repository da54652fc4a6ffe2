//! Files of several pages, of which a merge reads some.

use super::Case;

#[tokio::test(flavor = "multi_thread")]
async fn scattered_keys_of_a_large_file() {
    Case::new("id BIGINT, name VARCHAR, v INT")
        .file("SELECT value * 2, concat('n', CAST(value AS VARCHAR)), 0 FROM range(0, 70000)")
        .step(
            "SELECT 40 AS id, 1 AS v UNION ALL SELECT 41, 1 UNION ALL SELECT 139998, 2 UNION ALL SELECT 60000, -1",
            "s ON t.id = s.id WHEN MATCHED AND s.v < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v \
             WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)",
            [1, 2, 1],
        )
        .step(
            "SELECT 60002 AS id, 'n30001' AS name UNION ALL SELECT 80, 'n41'",
            "s ON t.id = s.id AND t.name = s.name WHEN MATCHED THEN UPDATE SET v = 9 \
             WHEN NOT MATCHED THEN INSERT (id, name, v) VALUES (s.id, s.name, 8)",
            [1, 1, 0],
        )
        .check()
        .await;
}
