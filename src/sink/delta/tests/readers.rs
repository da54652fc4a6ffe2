//! Tables with deletion vectors, read by readers that are not ours.

use std::process::Command;

use datafusion::dataframe::DataFrameWriteOptions;

use super::super::TableOptions;
use super::*;

/// Names a Python that has duckdb and its delta extension, deltalake, and pysail; `.ci/run` makes one.
const PYTHON: &str = "CDCQL_TEST_PYTHON";

/// The rows of a table of every type that Delta has, as a query over `value`.
const ROWS: &str = "SELECT value AS id, CASE WHEN value % 7 = 0 THEN NULL ELSE concat('r /', CAST(value % 3 AS VARCHAR)) END AS region, \
     CAST(value % 2 AS BOOLEAN) AS flag, CAST(value % 100 AS TINYINT) AS tiny, CAST(value AS SMALLINT) AS small, \
     CAST(value AS INT) AS number, CAST(value AS REAL) / 3 AS single, CAST(value AS DOUBLE) / 7 AS double, \
     CAST(value AS DECIMAL(38, 10)) / 3 AS exact, concat('ä', CAST(value AS VARCHAR)) AS text, \
     CAST(concat('b', CAST(value AS VARCHAR)) AS BYTEA) AS bytes, CAST(to_timestamp_seconds(value * 86400) AS DATE) AS day, \
     to_timestamp_micros(value * 1000001) AS local, \
     arrow_cast(to_timestamp_micros(value * 1000003), 'Timestamp(Microsecond, Some(\"UTC\"))') AS instant, \
     make_array(value, value + 1) AS list, named_struct('a', value, 'b', CAST(value AS VARCHAR)) AS pair \
     FROM generate_series";

async fn context(lake: &Lake, schema: Option<SchemaRef>) -> SessionContext {
    let ctx = SessionContext::new();
    let options = TableOptions {
        partition_columns: vec!["region".to_string()],
        ..TableOptions::default()
    };
    let provider = DeltaTableProvider::try_new(lake.target().await, schema)
        .await
        .unwrap()
        .with_options(options)
        .unwrap()
        // The files of this test are small, and are to get deletion vectors all the same.
        .with_small_file(0);
    ctx.register_table("t", Arc::new(provider)).unwrap();
    ctx
}

#[tokio::test(flavor = "multi_thread")]
async fn other_readers_see_the_same_rows() {
    let Some(python) = std::env::var_os(PYTHON) else {
        let required = std::env::var_os("CDCQL_TEST_CLIENTS").is_some();
        assert!(!required, "{PYTHON} names no Python");
        eprintln!(
            "SKIPPED: set {PYTHON} to a Python that has duckdb, deltalake and pysail to compare with them"
        );
        return;
    };
    let lake = Lake::new();
    let rows = SessionContext::new()
        .sql(&format!("{ROWS}(0, 1)"))
        .await
        .unwrap();
    let schema = Arc::new(rows.schema().as_arrow().clone());
    let first = context(&lake, Some(Arc::clone(&schema))).await;
    let insert = format!("INSERT INTO t {ROWS}(0, 999)");
    first.sql(&insert).await.unwrap().collect().await.unwrap();
    let columns: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    let set: Vec<_> = columns
        .iter()
        .map(|name| format!("{name} = s.{name}"))
        .collect();
    for range in ["(100, 400)", "(350, 1100)"] {
        let merge = format!(
            "MERGE INTO t USING ({ROWS}{range}) AS s ON t.id + 50 = s.id \
             WHEN MATCHED AND s.id % 5 = 0 THEN DELETE WHEN MATCHED AND s.id % 3 > 0 THEN UPDATE SET {} \
             WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
            set.join(", "),
            columns
                .iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            columns
                .iter()
                .map(|name| format!("s.{name}"))
                .collect::<Vec<_>>()
                .join(", "),
        );
        let ctx = context(&lake, None).await;
        ctx.sql(&merge).await.unwrap().collect().await.unwrap();
    }
    let target = lake.target().await;
    let files = target.snapshot().unwrap().log_data();
    assert!(
        files
            .iter()
            .any(|file| file.deletion_vector_descriptor().is_some())
    );
    let parquet = lake.folder.path().join("rows.parquet");
    let rows = context(&lake, None)
        .await
        .sql("SELECT * FROM t")
        .await
        .unwrap();
    let single = DataFrameWriteOptions::new().with_single_file_output(true);
    let count = rows.clone().count().await.unwrap();
    rows.write_parquet(parquet.to_str().unwrap(), single, None)
        .await
        .unwrap();
    let output = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/readers/compare.py"
        ))
        .args([lake.path(), parquet])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let expected =
        ["duckdb", "deltalake", "sail"].map(|reader| format!("{reader}: {count} rows\n"));
    assert_eq!(said, expected.concat());
}
