//! Which files are marked, which are written anew, and which go.

use super::contract::{Case, Seed, Table, Way, sorted_rows};

const MIRROR: &str = "s ON t.id = s.id WHEN MATCHED AND s.n < 0 THEN DELETE \
     WHEN MATCHED THEN UPDATE SET v = s.n WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.n)";

/// A file's rows, and how many of them are marked as deleted.
async fn files(table: &Table) -> Vec<(usize, i64)> {
    let target = table.target().await;
    let files = target.snapshot().unwrap().log_data();
    let files = files.iter().map(|file| {
        let vector = file.deletion_vector_descriptor();
        (
            file.num_records().unwrap(),
            vector.map_or(0, |vector| vector.cardinality),
        )
    });
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    files
}

fn two_files() -> Case {
    Case::new("id INT, v INT")
        .file("SELECT value, 0 FROM range(0, 40)")
        .file("SELECT value, 0 FROM range(40, 90)")
}

/// Merges each step, and compares the files that the table then has.
async fn merged(case: Case, way: Way, expected: &[&[(usize, i64)]]) {
    let seed = Seed::new(&case).await;
    let table = Table::create(&case, &seed, way).await;
    let mut rows = seed.rows();
    for (step, expected) in case.steps.iter().zip(expected) {
        let merged = seed.merge(&rows, step).await.unwrap();
        table.check(step, &seed, &Ok(merged.counts)).await;
        assert_eq!(files(&table).await, *expected, "{step:#?}");
        rows = merged.rows;
        assert_eq!(
            table.rows().await,
            sorted_rows(std::slice::from_ref(&rows)),
            "{step:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_marked_and_marked_again() {
    let case = two_files()
        .step(
            "SELECT 3 AS id, 1 AS n UNION ALL SELECT 50, 2",
            MIRROR,
            [0, 2, 0],
        )
        .step(
            "SELECT 4 AS id, 1 AS n UNION ALL SELECT 3, 5",
            MIRROR,
            [0, 2, 0],
        )
        .step("SELECT 200 AS id, 1 AS n", MIRROR, [1, 0, 0])
        .step("SELECT 51 AS id, -1 AS n", MIRROR, [0, 0, 1]);
    // Of the file of the two new images, which are both or half gone, the rest moves into the next one.
    let expected: [&[(usize, i64)]; 4] = [
        &[(2, 0), (40, 1), (50, 1)],
        &[(3, 0), (40, 2), (50, 1)],
        &[(1, 0), (3, 0), (40, 2), (50, 1)],
        &[(1, 0), (3, 0), (40, 2), (50, 2)],
    ];
    merged(case, Way::Vectors, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_mostly_deleted_is_written_anew() {
    let case = two_files()
        .step(
            "SELECT value AS id, -1 AS n FROM range(0, 10)",
            MIRROR,
            [0, 0, 10],
        )
        .step("SELECT 10 AS id, -1 AS n", MIRROR, [0, 0, 1]);
    merged(
        case,
        Way::Vectors,
        &[&[(40, 10), (50, 0)], &[(29, 0), (50, 0)]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_rows_goes() {
    let case = two_files()
        .step(
            "SELECT value AS id, -1 AS n FROM range(0, 9)",
            MIRROR,
            [0, 0, 9],
        )
        .step(
            "SELECT value AS id, -1 AS n FROM range(9, 40)",
            MIRROR,
            [0, 0, 31],
        )
        .step(
            "SELECT value AS id, -1 AS n FROM range(40, 90)",
            MIRROR,
            [0, 0, 50],
        )
        .step("SELECT 1 AS id, 1 AS n", MIRROR, [1, 0, 0]);
    merged(
        case,
        Way::Vectors,
        &[&[(40, 9), (50, 0)], &[(50, 0)], &[], &[(1, 0)]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_written_anew_and_so_are_those_of_a_table_without_vectors() {
    for way in [Way::Rewrite, Way::Off] {
        let case = two_files()
            .step("SELECT 3 AS id, 1 AS n", MIRROR, [0, 1, 0])
            .step(
                "SELECT 3 AS id, -1 AS n UNION ALL SELECT 50, 1",
                MIRROR,
                [0, 1, 1],
            );
        merged(case, way, &[&[(40, 0), (50, 0)], &[(89, 0)]]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_file_is_written_anew_without_its_marks() {
    let case = two_files()
        .step(
            "SELECT 3 AS id, -1 AS n UNION ALL SELECT 5, -1",
            MIRROR,
            [0, 0, 2],
        )
        .step("SELECT 7 AS id, -1 AS n", MIRROR, [0, 0, 1]);
    let seed = Seed::new(&case).await;
    let table = Table::create(&case, &seed, Way::Vectors).await;
    let _ = table
        .merge(&case.steps[0], &seed, Way::Vectors)
        .await
        .unwrap();
    assert_eq!(files(&table).await, [(40, 2), (50, 0)]);
    let _ = table
        .merge(&case.steps[1], &seed, Way::Rewrite)
        .await
        .unwrap();
    assert_eq!(files(&table).await, [(37, 0), (50, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deltalake_reads_merges_and_optimizes_what_is_marked() {
    let case = two_files()
        .step(
            "SELECT 3 AS id, -1 AS n UNION ALL SELECT 50, 1",
            MIRROR,
            [0, 1, 1],
        )
        .step(
            "SELECT 4 AS id, -1 AS n UNION ALL SELECT 3, 1",
            MIRROR,
            [1, 0, 1],
        );
    let seed = Seed::new(&case).await;
    let table = Table::create(&case, &seed, Way::Vectors).await;
    let first = seed.merge(&seed.rows(), &case.steps[0]).await.unwrap();
    let _ = table
        .merge(&case.steps[0], &seed, Way::Vectors)
        .await
        .unwrap();
    let second = seed.merge(&first.rows, &case.steps[1]).await.unwrap();
    let _ = table
        .merge(&case.steps[1], &seed, Way::FullJoin)
        .await
        .unwrap();
    assert_eq!(
        table.rows().await,
        sorted_rows(std::slice::from_ref(&second.rows))
    );
    let target = table.target().await;
    target.table().clone().optimize().await.unwrap();
    assert_eq!(table.rows().await, sorted_rows(&[second.rows]));
}
