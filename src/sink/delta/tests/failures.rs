use futures::StreamExt;

use super::super::{SinkErrorKind, TableOptions};
use super::*;

async fn one_row(lake: &Lake) {
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_source_rows_for_one_target_row_are_an_error_with_the_key() {
    let lake = Lake::new();
    let rows = [1, 2, 3].map(|id| (id, Some("a"), None, "insert"));
    let _ = lake.apply(&rows, first(1)).await;
    let changes = [
        (2, Some("b"), None, "update_postimage"),
        (2, Some("c"), None, "update_postimage"),
    ];
    let source = Source::of(&changes).table();
    let error = lake
        .write(MIRROR, source, Some(window(1, 2)))
        .await
        .unwrap_err();
    let SinkError::DuplicateMatch { key: found, .. } = sink_error(&error) else {
        panic!("{error}");
    };
    assert_eq!(found.as_deref(), Some("customer_id = 2"));
    assert!(
        error.to_string().contains(lake.path().to_str().unwrap()),
        "{error}"
    );
    assert_eq!(lake.rows().await, "1,a,\n2,a,\n3,a,");
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_source_arrives_as_it_was() {
    let lake = Lake::new();
    for (commit, version) in [(first(1), None), (window(1, 2), Some(0))] {
        if version.is_some() {
            one_row(&lake).await;
        }
        let source = Source::of(&[(1, Some("b"), None, "insert")]).failing("the server went away");
        let error = lake.write(MIRROR, source.table(), Some(commit)).await;
        let error = error.unwrap_err();
        let DataFusionError::External(cause) = error.find_root() else {
            panic!("{error:?}");
        };
        assert!(cause.is::<SourceFailed>(), "{error:?}");
        assert_eq!(lake.target().await.version(), version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_refused_and_nothing_applied() {
    let lake = Lake::new();
    one_row(&lake).await;
    let sql = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
               WHEN NOT MATCHED THEN INSERT (customer_id, name) VALUES (src.name, src.city)";
    let source = Source::of(&[(9, Some("no number"), None, "insert")]).table();
    let error = lake.write(sql, source, None).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::InvalidRow,
        "{error:?}"
    );
    assert_eq!(lake.rows().await, "1,a,");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_for_a_column_that_is_not_null_is_refused() {
    let lake = Lake::new();
    let target = lake.target().await;
    let _ = target
        .create(&customers(), &TableOptions::default())
        .await
        .unwrap();
    let merge = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
                 WHEN NOT MATCHED THEN INSERT (name) VALUES (src.name)";
    for version in [0, 1] {
        if version == 1 {
            one_row(&lake).await;
        }
        let source = Source::of(&[(9, Some("b"), None, "insert")]).table();
        let error = lake.write(merge, source, None).await.unwrap_err();
        assert_eq!(
            sink_error(&error).kind(),
            SinkErrorKind::InvalidRow,
            "{error:?}"
        );
        assert_eq!(lake.target().await.version(), Some(version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_that_cannot_be_written_is_one_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("file/customers");
    let location = location.to_str().unwrap();
    let target = DeltaTarget::open(location, HashMap::new()).await.unwrap();
    std::fs::write(folder.path().join("file"), "no folder").unwrap();
    let provider = DeltaTableProvider::try_new(target.clone(), Some(customers())).await;
    let source = Source::of(&[(1, Some("a"), None, "insert")]);
    let reads = source.reads();
    let error = write_to(Arc::new(provider.unwrap()), MIRROR, source.table()).await;
    let error = error.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Storage,
        "{error:?}"
    );
    assert!(error.to_string().contains(location), "{error}");
    assert_eq!(reads.load(Ordering::SeqCst), 0);
    let error = target.prepare_folder().await.unwrap_err();
    assert!(error.to_string().contains(location), "{error}");
    let error = DeltaTarget::open(location, HashMap::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Storage, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_location_can_be_written_is_tried_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("new/customers");
    let location = location.to_str().unwrap();
    let target = DeltaTarget::open(location, HashMap::new()).await.unwrap();
    target.check_writable().await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    std::fs::write(folder.path().join("new"), "no folder").unwrap();
    let error = target.check_writable().await.unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Storage, "{error:?}");
    assert!(error.to_string().contains(location), "{error}");
    let stored = DeltaTarget::open("memory:///customers", HashMap::new());
    let stored = stored.await.unwrap();
    stored.check_writable().await.unwrap();
    let objects = stored.table().object_store();
    assert_eq!(objects.list(None).count().await, 0);
    stored.check_features().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_place_of_the_table_is_refused_when_opened() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = DeltaTarget::open(file.path().to_str().unwrap(), HashMap::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::NotADeltaTable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_log_is_no_delta_table() {
    let lake = Lake::new();
    let log = lake.path().join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let target = lake.target().await;
    assert!(
        !target.exists(),
        "an empty log is a table that was never committed"
    );
    std::fs::write(log.join("00000000000000000000.json"), "{\"what\":1}").unwrap();
    let error = DeltaTarget::open(lake.path().to_str().unwrap(), HashMap::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::NotADeltaTable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_leftover_files_becomes_a_table() {
    let lake = Lake::new();
    std::fs::create_dir_all(lake.path()).unwrap();
    std::fs::write(lake.path().join("part-0.parquet"), "left by a killed run").unwrap();
    one_row(&lake).await;
    assert_eq!(lake.rows().await, "1,a,");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_cannot_be_written_is_unsupported() {
    let lake = Lake::new();
    let log = lake.path().join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let entry = [
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["rowTracking","domainMetadata"]}}"#,
        r#"{"metaData":{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"customer_id\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}},{\"name\":\"name\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},{\"name\":\"city\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":1}}"#,
    ];
    std::fs::write(log.join("00000000000000000000.json"), entry.join("\n")).unwrap();
    let source = Source::of(&[(1, Some("a"), None, "insert")]).table();
    let error = lake.write(MIRROR, source, None).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Unsupported,
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_and_has_no_columns_is_an_error() {
    let lake = Lake::new();
    let error = DeltaTableProvider::try_new(lake.target().await, None)
        .await
        .unwrap_err();
    assert!(matches!(error, SinkError::NoSuchTable { .. }), "{error}");
    let error = lake
        .target()
        .await
        .commit_checkpoint(&first(1))
        .await
        .unwrap_err();
    assert!(matches!(error, SinkError::NoSuchTable { .. }), "{error}");
    assert!(!lake.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subquery_in_a_clause_is_refused_when_planned() {
    let lake = Lake::new();
    let sql = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
               WHEN MATCHED AND src.customer_id IN (SELECT max(customer_id) FROM src) THEN DELETE";
    let source = Source::of(&[(1, Some("a"), None, "insert")]).table();
    let error = lake.write(sql, source, None).await.unwrap_err();
    assert!(error.to_string().contains("subquery"), "{error}");
}

/// A table with one row, of which Delta's own checkpoint of version 1 cannot be written: a folder is in its place.
async fn blocked_after_the_commit(lake: &Lake) {
    let options = TableOptions {
        properties: vec![("delta.checkpointInterval".to_string(), "2".to_string())],
        ..TableOptions::default()
    };
    let provider = lake.provider().await.with_options(options).unwrap();
    let provider = Arc::new(provider.with_commit(first(1)));
    let source = Source::of(&[(1, Some("a"), None, "insert")]).table();
    let _ = write_to(provider, MIRROR, source).await.unwrap();
    let checkpoint = lake
        .path()
        .join("_delta_log/00000000000000000001.checkpoint.parquet/blocked");
    std::fs::create_dir_all(checkpoint).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_commit_is_no_failure_of_the_write() {
    let lake = Lake::new();
    blocked_after_the_commit(&lake).await;
    let outcome = lake
        .apply(&[(1, Some("b"), None, "insert")], window(1, 2))
        .await;
    assert_eq!((outcome.version(), outcome.rows().updated), (Some(1), 1));
    let target = lake.target().await;
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_it_one_of_a_checkpoint_that_moves_alone() {
    let lake = Lake::new();
    blocked_after_the_commit(&lake).await;
    let moved = lake.target().await.commit_checkpoint(&window(1, 2)).await;
    let outcome = moved.unwrap();
    assert_eq!((outcome.version(), outcome.rows().total()), (Some(1), 0));
    let target = lake.target().await;
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_it_one_of_a_write_that_belongs_to_no_flow() {
    let lake = Lake::new();
    blocked_after_the_commit(&lake).await;
    let source = Source::of(&[(2, Some("b"), None, "insert")]).table();
    let written = lake
        .write(
            "INSERT INTO customers SELECT customer_id, name, city FROM src",
            source,
            None,
        )
        .await;
    let outcome = written.unwrap();
    assert_eq!((outcome.version(), outcome.rows().inserted), (Some(1), 1));
    assert_eq!(lake.rows().await, "1,a,\n2,b,");
}
