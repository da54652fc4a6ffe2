use datafusion::prelude::SessionConfig;

use super::super::{RowCounts, TableOptions};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_merge_is_one_commit_that_creates_the_table_with_its_checkpoint() {
    let lake = Lake::new();
    let changes = [
        (1, Some("Bruce"), Some("Gotham"), "insert"),
        (2, None, None, "insert"),
        (3, Some("Lex"), None, "delete"),
    ];
    let outcome = lake.apply(&changes, first(7)).await;
    let rows = RowCounts {
        inserted: 2,
        ..RowCounts::default()
    };
    let expected = CommitOutcome::Committed {
        version: 0,
        created: true,
        rows,
    };
    assert_eq!(outcome, expected);
    assert_eq!(lake.rows().await, "1,Bruce,Gotham\n2,,");

    let target = lake.target().await;
    assert_eq!(target.version(), Some(0));
    assert!(!target.is_empty());
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(7)));
    let schema = target.schema().unwrap();
    let nullable: Vec<bool> = schema
        .fields()
        .iter()
        .map(|field| field.is_nullable())
        .collect();
    assert_eq!(nullable, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_without_rows_still_records_its_lsn() {
    let lake = Lake::new();
    let outcome = lake.apply(&[], first(7)).await;
    assert_eq!((outcome.version(), outcome.created()), (Some(0), true));
    let target = lake.target().await;
    assert!(target.is_empty());
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(7)));

    let outcome = lake
        .apply(&[(1, Some("Diana"), None, "insert")], window(7, 8))
        .await;
    assert_eq!((outcome.version(), outcome.created()), (Some(1), false));
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(8))
    );
    assert_eq!(lake.rows().await, "1,Diana,");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_window_over_an_empty_table_moves_the_checkpoint() {
    let lake = Lake::new();
    let _ = lake.apply(&[], first(1)).await;
    let outcome = lake.apply(&[], window(1, 2)).await;
    assert_eq!(outcome.version(), Some(1));
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_clause_that_holds_takes_a_row_and_null_holds_not() {
    let lake = Lake::new();
    let sql = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
               WHEN NOT MATCHED AND src.city = 'Gotham' THEN \
               INSERT (customer_id, city) VALUES (src.customer_id, upper(src.city)) \
               WHEN NOT MATCHED AND customers.name IS NULL AND src.customer_id < 3 THEN \
               INSERT (name, customer_id) VALUES (src.name, src.customer_id + 10)";
    let source = Source::of(&[
        (1, Some("a"), Some("Gotham"), "insert"),
        (2, Some("b"), None, "insert"),
        (3, Some("c"), None, "insert"),
    ]);
    let outcome = lake.write(sql, source.table(), None).await.unwrap();
    assert_eq!(outcome.rows().inserted, 2);
    assert_eq!(lake.rows().await, "1,,GOTHAM\n12,b,");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_without_insert_creates_an_empty_table() {
    let lake = Lake::new();
    let sql = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
               WHEN MATCHED THEN DELETE";
    let source = Source::of(&[(1, Some("a"), None, "insert")]);
    let outcome = lake
        .write(sql, source.table(), Some(first(1)))
        .await
        .unwrap();
    assert_eq!(outcome.rows(), RowCounts::default());
    assert!(lake.target().await.is_empty());
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_is_created_with_its_options_and_merged_into() {
    let lake = Lake::new();
    let options = TableOptions {
        partition_columns: vec!["city".to_string()],
        comment: Some("who buys".to_string()),
        properties: vec![
            ("delta.enableChangeDataFeed".to_string(), "true".to_string()),
            ("cdcql.readBack".to_string(), "true".to_string()),
        ],
    };
    let provider = lake.provider().await.with_options(options).unwrap();
    let source = Source::of(&[
        (1, Some("a"), Some("Gotham"), "insert"),
        (2, Some("b"), Some("São Paulo / 1"), "insert"),
        (3, Some("c"), None, "insert"),
    ]);
    let provider = Arc::new(provider.with_commit(first(1)));
    let outcome = write_to(provider, MIRROR, source.table()).await.unwrap();
    assert!(outcome.created());

    let target = lake.target().await;
    assert_eq!(target.partition_columns(), ["city"]);
    let metadata = target.snapshot().unwrap().metadata();
    assert_eq!(metadata.description(), Some("who buys"));
    assert!(!metadata.configuration().contains_key("cdcql.readBack"));

    let changes = [
        (1, Some("a"), Some("Metropolis"), "update_postimage"),
        (2, None, None, "delete"),
        (4, Some("d"), Some("Gotham"), "insert"),
    ];
    let rows = lake.apply(&changes, window(1, 2)).await.rows();
    assert_eq!((rows.inserted, rows.updated, rows.deleted), (1, 1, 1));
    assert_eq!(lake.rows().await, "1,a,Metropolis\n3,c,\n4,d,Gotham");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_created_with_a_column_list() {
    let lake = Lake::new();
    let target = lake.target().await;
    let created = target
        .create(&customers(), &TableOptions::default())
        .await
        .unwrap();
    assert_eq!(created.version(), Some(0));
    assert!(!created.schema().unwrap().field(0).is_nullable());
    let again = target.create(&customers(), &TableOptions::default()).await;
    assert!(again.is_err());
    let again = created
        .create(&customers(), &TableOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(again, SinkError::TableExists { .. }), "{again}");

    let outcome = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    assert_eq!((outcome.version(), outcome.created()), (Some(1), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn insert_into_creates_and_appends() {
    let lake = Lake::new();
    let source = || Source::of(&[(1, Some("a"), Some("x"), "insert")]).table();
    let insert = "INSERT INTO customers (customer_id, name) SELECT customer_id, name FROM src";
    let outcome = lake.write(insert, source(), None).await.unwrap();
    assert_eq!((outcome.created(), outcome.rows().inserted), (true, 1));
    let insert = "INSERT INTO customers SELECT customer_id + 1, name, city FROM src";
    let outcome = lake.write(insert, source(), Some(first(3))).await.unwrap();
    assert_eq!((outcome.version(), outcome.rows().inserted), (Some(1), 1));
    assert_eq!(lake.rows().await, "1,a,\n2,a,x");
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(3))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_keeps_the_order_of_its_source() {
    let lake = Lake::new();
    let changes: Vec<Change> = (0..50_000)
        .map(|id| (id, Some("name"), None, "insert"))
        .collect();
    let mut source = Source::of(&changes);
    let whole = source.batches.remove(0);
    source.batches = (0..50).map(|part| whole.slice(part * 1000, 1000)).collect();
    let outcome = lake.write(MIRROR, source.table(), Some(first(1))).await;
    assert_eq!(outcome.unwrap().rows().inserted, 50_000);
    assert_eq!(lake.data_files(), 1);
    let config = SessionConfig::new().with_target_partitions(1);
    let ctx = SessionContext::new_with_config(config);
    ctx.register_table("t", Arc::new(lake.provider().await))
        .unwrap();
    let ids = query(&ctx, "SELECT customer_id FROM t").await;
    let ids: Vec<u32> = ids.lines().map(|id| id.parse().unwrap()).collect();
    assert!(ids.is_sorted());
}
