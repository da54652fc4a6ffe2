use std::num::NonZeroUsize;

use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;

use super::super::RowCounts;
use super::*;

async fn two_rows(lake: &Lake) {
    let changes = [
        (1, Some("Bruce"), Some("Gotham"), "insert"),
        (2, Some("Clark"), Some("Metropolis"), "insert"),
    ];
    let _ = lake.apply(&changes, first(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_updates_deletes_and_inserts_in_one_commit() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let changes = [
        (1, None, None, "delete"),
        (2, Some("Clark"), Some("Smallville"), "update_postimage"),
        (3, Some("Diana"), None, "insert"),
        (4, Some("Lex"), None, "delete"),
    ];
    let outcome = lake.apply(&changes, window(1, 2)).await;
    let rows = RowCounts {
        inserted: 1,
        updated: 1,
        deleted: 1,
    };
    assert_eq!((outcome.version(), outcome.rows()), (Some(1), rows));
    assert_eq!(lake.rows().await, "2,Clark,Smallville\n3,Diana,");
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_window_applied_to_the_same_start_gives_the_same_rows() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let changes = [(2, Some("Clark"), Some("Smallville"), "update_postimage")];
    let source = || Source::of(&changes).table();
    let _ = lake.write(MIRROR, source(), None).await.unwrap();
    let once = lake.rows().await;
    let _ = lake.apply(&changes, window(1, 2)).await;
    assert_eq!(lake.rows().await, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_changes_nothing_moves_the_checkpoint_alone() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let files = lake.data_files();
    let outcome = lake.apply(&[(9, None, None, "delete")], window(1, 2)).await;
    assert_eq!(
        (outcome.version(), outcome.rows()),
        (Some(1), RowCounts::default())
    );
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(2))
    );
    let outcome = lake.apply(&[], window(2, 3)).await;
    assert_eq!(outcome.version(), Some(2));
    assert_eq!(lake.data_files(), files);
    assert_eq!(lake.rows().await, "1,Bruce,Gotham\n2,Clark,Metropolis");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_changes_nothing_outside_a_flow_makes_no_commit() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let source = Source::of(&[(9, None, None, "delete")]).table();
    let outcome = lake.write(MIRROR, source, None).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Nothing);
    assert_eq!(lake.target().await.version(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_read_once() {
    let lake = Lake::new();
    for (commit, kind) in [(first(1), "insert"), (window(1, 2), "update_postimage")] {
        let source = Source::of(&[(1, Some("a"), None, kind), (2, Some("b"), None, kind)]);
        let reads = source.reads();
        let _ = lake
            .write(MIRROR, source.table(), Some(commit))
            .await
            .unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_writes_nothing_and_reads_nothing() {
    let lake = Lake::new();
    let explain = format!("EXPLAIN {MIRROR}");
    for existing in [false, true] {
        if existing {
            two_rows(&lake).await;
        }
        let version = lake.target().await.version();
        let ctx = SessionContext::new();
        let provider = lake.provider().await.with_commit(window(1, 2));
        ctx.register_table("customers", Arc::new(provider)).unwrap();
        let source = Source::of(&[(1, Some("b"), None, "insert")]);
        let reads = source.reads();
        ctx.register_table("src", source.table()).unwrap();
        let plan = query(&ctx, &explain).await;
        assert!(plan.contains("DeltaWriteExec"), "{plan}");
        assert!(
            plan.contains("target.customer_id = source.customer_id"),
            "{plan}"
        );
        assert_eq!(reads.load(Ordering::SeqCst), 0);
        assert_eq!(lake.target().await.version(), version);
        assert_eq!(lake.path().exists(), existing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_in_mixed_case_and_with_odd_letters_are_merged() {
    let lake = Lake::new();
    let names = ["CustomerId", "größe-in.cm", "It's"];
    let schema = Arc::new(Schema::new(vec![
        Field::new(names[0], DataType::Int32, false),
        Field::new(names[1], DataType::Int32, true),
        Field::new(names[2], DataType::Utf8, true),
    ]));
    let sql = r#"MERGE INTO customers AS "T" USING (SELECT s.*, s."CustomerId" * 2 AS twice FROM src AS s) AS "C"
        ON "T"."CustomerId" = "C"."CustomerId"
        WHEN MATCHED AND "C"."größe-in.cm" > "T"."größe-in.cm" THEN
            UPDATE SET "größe-in.cm" = "C"."größe-in.cm" + "T"."größe-in.cm", "It's" = 'bigger'
        WHEN NOT MATCHED THEN INSERT ("CustomerId", "größe-in.cm", "It's") VALUES ("C"."CustomerId", "C".twice, "C"."It's")"#;
    let run = async |rows: [(i32, i32); 2]| {
        let target = lake.target().await;
        let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&schema)))
            .await
            .unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(rows.map(|row| row.0))),
            Arc::new(Int32Array::from_iter_values(rows.map(|row| row.1))),
            Arc::new(StringArray::from(vec!["a", "b"])),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        write_to(Arc::new(provider), sql, Source::batch(batch).table())
            .await
            .unwrap()
    };
    assert_eq!(run([(1, 10), (2, 20)]).await.rows().inserted, 2);
    let rows = run([(2, 30), (3, 1)]).await.rows();
    assert_eq!((rows.inserted, rows.updated), (1, 1));
    assert_eq!(lake.rows().await, "1,2,a\n2,34,bigger\n3,6,b");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_with_a_column_list_leaves_the_others_null() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let sql = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
               WHEN NOT MATCHED THEN INSERT (city, customer_id) VALUES (src.city, src.customer_id)";
    let source = Source::of(&[(3, Some("Diana"), Some("Paris"), "insert")]);
    let _ = lake.write(sql, source.table(), None).await.unwrap();
    assert_eq!(
        lake.rows().await,
        "1,Bruce,Gotham\n2,Clark,Metropolis\n3,,Paris"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_source_lacks_are_deleted_where_that_is_allowed() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let sql = "MERGE INTO customers USING src ON customers.customer_id = src.customer_id \
               WHEN NOT MATCHED BY SOURCE AND customers.city = 'Gotham' THEN DELETE \
               WHEN NOT MATCHED BY SOURCE THEN UPDATE SET city = 'gone'";
    let source = || Source::of(&[(3, None, None, "insert")]).table();
    let error = lake
        .write(sql, source(), Some(window(1, 2)))
        .await
        .unwrap_err();
    assert!(
        matches!(sink_error(&error), SinkError::Unsupported { .. }),
        "{error}"
    );
    let provider = lake.provider().await.with_commit(window(1, 2));
    let provider = Arc::new(provider.with_not_matched_by_source(true));
    let outcome = write_to(provider, sql, source()).await.unwrap();
    assert_eq!((outcome.rows().updated, outcome.rows().deleted), (1, 1));
    assert_eq!(lake.rows().await, "2,Clark,gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_with_repeated_column_names_is_a_source() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let sql = "MERGE INTO customers AS t USING \
               (SELECT a.customer_id AS id, a.name, b.name AS other FROM src a JOIN src b USING (customer_id)) AS s \
               ON t.customer_id = s.id \
               WHEN MATCHED THEN UPDATE SET name = s.name || s.other";
    let source = Source::of(&[(1, Some("x"), None, "insert")]);
    let _ = lake.write(sql, source.table(), None).await.unwrap();
    assert_eq!(lake.rows().await, "1,xx,Gotham\n2,Clark,Metropolis");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_small_memory_pool_merges() {
    let lake = Lake::new();
    let many: Vec<Change> = (0..20_000)
        .map(|id| (id, Some("name"), Some("city"), "insert"))
        .collect();
    let pool = TrackConsumersPool::new(FairSpillPool::new(16 << 20), NonZeroUsize::new(3).unwrap());
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .build_arc()
        .unwrap();
    for commit in [first(1), window(1, 2)] {
        let ctx = SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&runtime));
        let provider = Arc::new(lake.provider().await.with_commit(commit));
        ctx.register_table("customers", Arc::clone(&provider) as _)
            .unwrap();
        ctx.register_table("src", Source::of(&many).table())
            .unwrap();
        ctx.sql(MIRROR).await.unwrap().collect().await.unwrap();
        assert_eq!(provider.outcome().unwrap().rows().total(), 20_000);
    }
    assert_eq!(runtime.memory_pool.reserved(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_does_not_fit_the_memory_pool_says_so_and_commits_nothing() {
    let lake = Lake::new();
    two_rows(&lake).await;
    let many: Vec<Change> = (0..20_000)
        .map(|id| (id, Some("name"), Some("city"), "insert"))
        .collect();
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(50_000, 1.0);
    let mut config = SessionConfig::new();
    // Otherwise this small target is what the join holds in memory.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.hash_join_single_partition_threshold = 0;
    optimizer.hash_join_single_partition_threshold_rows = 0;
    let ctx = SessionContext::new_with_config_rt(config, runtime.build_arc().unwrap());
    ctx.register_table("customers", Arc::new(lake.provider().await))
        .unwrap();
    ctx.register_table("src", Source::of(&many).table())
        .unwrap();
    let error = ctx.sql(MIRROR).await.unwrap().collect().await.unwrap_err();
    assert!(
        matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)),
        "{error:?}"
    );
    assert_eq!(lake.target().await.version(), Some(0));
}
