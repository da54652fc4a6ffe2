use super::super::SinkErrorKind;
use super::*;

async fn three_versions(lake: &Lake) {
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let changes = [
        (1, Some("b"), None, "update_postimage"),
        (2, Some("c"), None, "insert"),
    ];
    let _ = lake.apply(&changes, window(1, 2)).await;
    let _ = lake
        .target()
        .await
        .commit_checkpoint(&window(2, 3))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_operation_rows_and_lsn_of_every_version() {
    let lake = Lake::new();
    three_versions(&lake).await;
    let target = lake.target().await;
    let history = target.history(10).await.unwrap();
    let short: Vec<_> = history
        .iter()
        .map(|entry| {
            let operation = entry.operation.as_deref().unwrap();
            let lsn = entry.lsn.unwrap();
            (
                entry.version,
                operation,
                entry.rows.inserted,
                entry.rows.updated,
                lsn,
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            (2, "STREAMING UPDATE", 0, 0, at(3).lsn),
            (1, "MERGE", 1, 1, at(2).lsn),
            (0, "WRITE", 1, 0, at(1).lsn),
        ]
    );
    assert!(history.iter().all(|entry| entry.timestamp_ms.is_some()));
    assert_eq!(history[1].flow, Some(key().to_string()));
    assert_eq!(history[1].tran_id, at(2).tran_id);
    let predicate = &history[1].parameters["mergePredicate"];
    assert_eq!(predicate, "target.customer_id = source.customer_id");
    assert_eq!(target.history(1).await.unwrap(), history[..1]);
    let earlier = target.at_version(1).await.unwrap();
    assert_eq!(earlier.history(10).await.unwrap(), history[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_version_has_its_rows_and_checkpoint() {
    let lake = Lake::new();
    three_versions(&lake).await;
    let target = lake.target().await;
    let earlier = target.at_version(0).await.unwrap();
    assert_eq!(earlier.checkpoint(&key()).await.unwrap(), Some(at(1)));
    let ctx = SessionContext::new();
    let provider = DeltaTableProvider::try_new(earlier, None).await.unwrap();
    ctx.register_table("t", Arc::new(provider)).unwrap();
    assert_eq!(query(&ctx, "SELECT * FROM t").await, "1,a,");
    let error = target.at_version(3).await.unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::NotFound);
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_exist_reads_as_empty() {
    let lake = Lake::new();
    let ctx = SessionContext::new();
    ctx.register_table("t", Arc::new(lake.provider().await))
        .unwrap();
    assert_eq!(query(&ctx, "SELECT count(*) FROM t").await, "0");
    assert_eq!(
        query(&ctx, "SELECT name FROM t WHERE customer_id = 1").await,
        ""
    );
    assert!(!lake.path().exists());
    let target = lake.target().await;
    assert_eq!(target.checkpoint(&key()).await.unwrap(), None);
    assert_eq!(target.history(5).await.unwrap(), []);
    assert_eq!(target.version(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_project_filter_join_and_limit() {
    let lake = Lake::new();
    three_versions(&lake).await;
    let ctx = SessionContext::new();
    ctx.register_table("t", Arc::new(lake.provider().await))
        .unwrap();
    assert_eq!(
        query(&ctx, "SELECT name FROM t WHERE customer_id > 1").await,
        "c"
    );
    assert_eq!(query(&ctx, "SELECT count(*) FROM t").await, "2");
    assert_eq!(
        query(&ctx, "SELECT customer_id FROM t ORDER BY 1 LIMIT 1").await,
        "1"
    );
    let join = "SELECT a.name, b.name FROM t a JOIN t b ON a.customer_id = b.customer_id + 1";
    assert_eq!(query(&ctx, join).await, "c,b");
}
