use std::path::Path;

use datafusion::arrow::util::pretty::pretty_format_batches;

use crate::engine::{ConnectionResolver, Engine, EngineOptions};
use crate::error::Error;
use crate::sql::{SourceText, parse};

/// A session with the Delta table `t` of three rows, and `u` of one.
async fn session(folder: &Path) -> Engine {
    let options = EngineOptions {
        memory_limit: EngineOptions::DEFAULT_MEMORY_LIMIT,
        directory: folder.to_path_buf(),
        resolver: ConnectionResolver::new(|url, _| Box::pin(async { Ok(url) })),
    };
    let engine = Engine::try_new(options).unwrap();
    for sql in [
        "CREATE TABLE t (id INT, v INT) USING DELTA LOCATION 't'",
        "CREATE TABLE u (id INT, v INT) USING DELTA LOCATION 'u'",
        "INSERT INTO t VALUES (1, 10), (2, 20), (3, NULL)",
        "INSERT INTO u VALUES (1, 100)",
    ] {
        run(&engine, sql).await.unwrap();
    }
    engine
}

async fn run(engine: &Engine, sql: &str) -> Result<String, Error> {
    let text = SourceText {
        name: "test".to_string(),
        text: format!("{sql};"),
    };
    let statements = parse(&text).map_err(|errors| Error::invalid(errors[0].clone()))?;
    engine.define_all(&statements, None).await?;
    if Engine::is_definition(&statements[0]) {
        return Ok(String::new());
    }
    let rows = engine.query(&statements[0]).await?.collect().await;
    let rows = rows.map_err(|error| Error::from_datafusion(error, Some(&statements[0])))?;
    Ok(pretty_format_batches(&rows).unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_another_table_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = session(folder.path()).await;
    let all = "SELECT * FROM t ORDER BY id";
    let before = run(&engine, all).await.unwrap();
    for sql in [
        "DELETE FROM t WHERE id IN (SELECT id FROM u)",
        "DELETE FROM t WHERE id NOT IN (SELECT id FROM u)",
        "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
        "DELETE FROM t WHERE v > (SELECT max(v) FROM u) - 95",
        "DELETE FROM t WHERE v > 5 AND (id = 1 OR id IN (SELECT id FROM u))",
        "DELETE FROM t USING u WHERE t.id = u.id",
        "DELETE FROM t LIMIT 1",
        "UPDATE t SET v = (SELECT max(v) FROM u)",
        "UPDATE t SET v = 0 WHERE id IN (SELECT id FROM u)",
        "UPDATE t SET v = u.v FROM u WHERE u.id = t.id",
    ] {
        let result = run(&engine, sql).await;
        assert!(result.is_err(), "{sql}: {result:?}");
        assert_eq!(run(&engine, all).await.unwrap(), before, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_the_optimizer_finds_false_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = session(folder.path()).await;
    let all = "SELECT * FROM t ORDER BY id";
    let before = run(&engine, all).await.unwrap();
    for condition in [
        "false",
        "NULL",
        "1 = 0",
        "id = 1 AND id = 2",
        "v > 5 AND v < 3",
        "id IS NULL AND id = 1",
    ] {
        for change in ["DELETE FROM t", "UPDATE t SET v = 0"] {
            let sql = format!("{change} WHERE {condition}");
            let count = run(&engine, &sql).await.unwrap();
            assert!(count.contains("| 0 "), "{sql}: {count}");
            assert_eq!(run(&engine, all).await.unwrap(), before, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_cast_to_their_columns_and_read_the_row_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let engine = session(folder.path()).await;
    for sql in [
        "UPDATE t SET id = v, v = id WHERE v = CAST(10 AS BIGINT)",
        "UPDATE t AS x SET v = x.id * 2.0 WHERE x.v IS NULL",
        "DELETE FROM lake.main.t WHERE t.v = 20",
    ] {
        let count = run(&engine, sql).await.unwrap();
        assert!(count.contains("| 1 "), "{sql}: {count}");
    }
    let rows = run(&engine, "SELECT * FROM t ORDER BY id").await.unwrap();
    assert!(rows.contains("| 3  | 6 |"), "{rows}");
    assert!(rows.contains("| 10 | 1 |"), "{rows}");
    assert_eq!(rows.lines().count(), 6, "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_assigned_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = session(folder.path()).await;
    let all = "SELECT * FROM t ORDER BY id";
    let before = run(&engine, all).await.unwrap();
    let merge = "MERGE INTO t USING u ON t.id = u.id WHEN";
    for sql in [
        "UPDATE t SET v = 1, v = 2".to_string(),
        "UPDATE t SET v = 1, id = 5, \"v\" = 2".to_string(),
        "EXPLAIN UPDATE t SET v = 1, V = 2".to_string(),
        format!("{merge} MATCHED THEN UPDATE SET v = 1, v = 2"),
        format!("{merge} NOT MATCHED THEN INSERT (id, v, v) VALUES (u.id, 1, 2)"),
        "INSERT INTO t (id, v, v) VALUES (7, 1, 2)".to_string(),
    ] {
        let error = run(&engine, &sql).await.unwrap_err();
        assert!(error.to_string().contains('v'), "{sql}: {error}");
        assert_eq!(run(&engine, all).await.unwrap(), before, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_may_compare_with_an_instant() {
    let folder = tempfile::tempdir().unwrap();
    let engine = session(folder.path()).await;
    for sql in [
        "CREATE TABLE s (id INT, at TIMESTAMP) USING DELTA LOCATION 's'",
        "INSERT INTO s VALUES (1, TIMESTAMP '2024-01-01T00:00:00'), (2, TIMESTAMP '2025-01-01T00:00:00')",
        "MERGE INTO s USING t ON s.id = t.id \
         WHEN MATCHED AND s.at < TIMESTAMP '2024-06-01T00:00:00' THEN DELETE \
         WHEN MATCHED THEN UPDATE SET at = TIMESTAMP '2026-01-01T00:00:00'",
    ] {
        run(&engine, sql).await.unwrap();
    }
    let rows = run(&engine, "SELECT * FROM s").await.unwrap();
    assert!(rows.contains("| 2  | 2026-01-01T00:00:00Z |"), "{rows}");
    assert_eq!(rows.lines().count(), 5, "{rows}");
}
