//! Maintenance of a table changes none of its rows.

mod expired;
mod races;

use std::num::NonZeroUsize;

use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use deltalake::delta_datafusion::DeltaCdfTableProvider;

use super::super::{
    Maintenance, MaintenanceAction, MaintenanceReport, SinkErrorKind, TableOptions,
};
use super::*;

fn options(properties: &[(&str, &str)]) -> TableOptions {
    let properties = properties.iter();
    TableOptions {
        properties: properties
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        ..TableOptions::default()
    }
}

/// A merge that marks every row it touches in a deletion vector, however small its file is.
async fn mark(lake: &Lake, changes: &[Change<'_>], commit: FlowCommit) {
    let provider = lake.provider().await.with_small_file(0).with_commit(commit);
    let source = Source::of(changes).table();
    let _ = write_to(Arc::new(provider), MIRROR, source).await.unwrap();
}

/// A table of the rows 1 to 100 and a window for each of `windows`, which updates that row and inserts another.
async fn with_windows(lake: &Lake, options: TableOptions, windows: u32) {
    let target = lake.target().await;
    let _ = target.create(&customers(), &options).await.unwrap();
    let rows: Vec<Change> = (1..=100)
        .map(|id| (id, Some("old"), Some("x"), "insert"))
        .collect();
    mark(lake, &rows, first(1)).await;
    for n in 1..=windows {
        let id = i32::try_from(n).unwrap();
        let changes = [
            (id * 7, Some("new"), Some("x"), "update_postimage"),
            (1000 - id, Some("late"), None, "insert"),
        ];
        mark(lake, &changes, window(n, n + 1)).await;
    }
}

fn by_key() -> Maintenance {
    Maintenance {
        keys: vec!["CUSTOMER_ID".to_string(), "no_such_column".to_string()],
        ..Maintenance::default()
    }
}

async fn maintain(lake: &Lake, maintenance: &Maintenance) -> Result<MaintenanceReport> {
    let state = SessionContext::new().state();
    let target = lake.target().await;
    target.maintain(maintenance, &state, &|_| ()).await
}

/// The paths of the newest version's files, and how many of these have a deletion vector.
async fn files(lake: &Lake) -> (Vec<String>, usize) {
    let target = lake.target().await;
    let files = target.snapshot().unwrap().log_data();
    let vectors = files
        .iter()
        .filter(|f| f.deletion_vector_descriptor().is_some());
    let vectors = vectors.count();
    (
        files.iter().map(|f| f.path().to_string()).collect(),
        vectors,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_and_deleted_rows_become_one_file_in_the_order_of_the_keys() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 12).await;
    let (rows, before) = (lake.rows().await, files(&lake).await);
    assert_eq!((before.0.len(), before.1), (13, 1));

    let report = maintain(&lake, &by_key()).await.unwrap();
    let step = report.step(MaintenanceAction::Rewrite).unwrap();
    assert_eq!(
        (
            step.before.files,
            step.before.rows,
            step.before.deleted_rows
        ),
        (13, 112, 12)
    );
    let after = step.after.unwrap();
    assert_eq!((after.files, after.rows, after.deleted_rows), (1, 112, 0));
    assert_eq!(step.version, lake.target().await.version());
    let now = files(&lake).await;
    assert_eq!((now.0.len(), now.1), (1, 0));
    assert_eq!(lake.rows().await, rows);
    let ctx = SessionContext::new();
    ctx.register_table("customers", Arc::new(lake.provider().await))
        .unwrap();
    let stored = query(&ctx, "SELECT customer_id FROM customers").await;
    let stored: Vec<i32> = stored.lines().map(|id| id.parse().unwrap()).collect();
    assert!(stored.is_sorted(), "{stored:?}");

    let again = maintain(&lake, &by_key()).await.unwrap();
    assert_eq!(again, MaintenanceReport::default());
    assert_eq!(lake.target().await.version(), step.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_goes_on_after_its_table_was_maintained() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 12).await;
    let _ = maintain(&lake, &by_key()).await.unwrap();
    let checkpoint = lake.target().await.checkpoint(&key()).await.unwrap();
    assert_eq!(checkpoint, Some(at(13)), "its tran_id among it");
    mark(&lake, &[(7, None, None, "delete")], window(13, 14)).await;
    assert!(!lake.rows().await.contains("\n7,"));
    let history = lake.target().await.history(2).await.unwrap();
    assert_eq!(history[1].operation.as_deref(), Some("OPTIMIZE"));
    assert_eq!((history[1].flow.as_ref(), history[1].lsn), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_same_and_changes_nothing() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 12).await;
    let (version, before) = (lake.target().await.version(), files(&lake).await);
    let log = std::fs::read_dir(lake.path().join("_delta_log"))
        .unwrap()
        .count();
    let dry_run = Maintenance {
        dry_run: true,
        ..by_key()
    };
    let told = maintain(&lake, &dry_run).await.unwrap();
    assert_eq!(lake.target().await.version(), version);
    assert_eq!(files(&lake).await, before);
    let unchanged = std::fs::read_dir(lake.path().join("_delta_log")).unwrap();
    assert_eq!(unchanged.count(), log);

    let done = maintain(&lake, &by_key()).await.unwrap();
    let steps = |report: &MaintenanceReport| -> Vec<_> {
        report.steps.iter().map(|step| step.action).collect()
    };
    assert_eq!(
        steps(&told),
        [MaintenanceAction::Rewrite, MaintenanceAction::Checkpoint]
    );
    assert_eq!(steps(&done), steps(&told));
    assert_eq!(told.steps[0].before, done.steps[0].before);
    assert_eq!(told.steps[0].after, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_is_rewritten_where_more_of_its_rows_are_deleted_than_the_threshold() {
    let lake = Lake::new();
    // Every file is a full one.
    with_windows(&lake, options(&[("delta.targetFileSize", "100")]), 2).await;
    assert_eq!(files(&lake).await.1, 1);
    let two_of_a_hundred = maintain(&lake, &by_key()).await.unwrap();
    assert_eq!(two_of_a_hundred, MaintenanceReport::default());
    mark(&lake, &[(1, None, None, "delete")], window(3, 4)).await;
    let rows = lake.rows().await;
    let report = maintain(&lake, &by_key()).await.unwrap();
    let step = report.step(MaintenanceAction::Rewrite).unwrap();
    assert_eq!(
        (
            step.before.files,
            step.before.rows,
            step.before.deleted_rows
        ),
        (1, 97, 3)
    );
    assert_eq!(files(&lake).await.1, 0);
    assert_eq!(lake.rows().await, rows);

    mark(&lake, &[(2, None, None, "delete")], window(4, 5)).await;
    let every = Maintenance {
        purge_percent: 0,
        ..by_key()
    };
    let report = maintain(&lake, &every).await.unwrap();
    assert!(report.step(MaintenanceAction::Rewrite).is_some());
    assert_eq!(files(&lake).await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_rewritten_within_their_partition() {
    let lake = Lake::new();
    let options = TableOptions {
        partition_columns: vec!["city".to_string()],
        ..TableOptions::default()
    };
    let _ = lake
        .target()
        .await
        .create(&customers(), &options)
        .await
        .unwrap();
    for n in 1..=4 {
        let id = i32::try_from(n).unwrap();
        let odd = format!("a{}", if n < 4 { "" } else { "b" });
        let changes = [
            (id, Some("x"), Some("New York"), "insert"),
            (10 + id, Some("x"), None, "insert"),
            (20 + id, Some("x"), Some(odd.as_str()), "insert"),
        ];
        let commit = if n == 1 { first(1) } else { window(n - 1, n) };
        mark(&lake, &changes, commit).await;
    }
    let rows = lake.rows().await;
    assert_eq!(files(&lake).await.0.len(), 12);
    for keys in [Vec::new(), vec!["customer_id".to_string()]] {
        let maintenance = Maintenance {
            keys,
            ..Maintenance::default()
        };
        let _ = maintain(&lake, &maintenance).await.unwrap();
        let (paths, _) = files(&lake).await;
        let of = |city: &str| paths.iter().filter(|path| path.starts_with(city)).count();
        // Three small files are too few.
        assert_eq!((of("city=New"), of("city=a/"), of("city=ab/")), (1, 3, 1));
        assert_eq!(paths.len(), 6, "{paths:?}");
        assert_eq!(lake.rows().await, rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_feed_does_not_show_a_rewrite() {
    let lake = Lake::new();
    with_windows(&lake, options(&[("delta.enableChangeDataFeed", "true")]), 5).await;
    let feed = async || {
        let table = lake.target().await.table().clone();
        let feed = table.scan_cdf().with_starting_version(0);
        let ctx = SessionContext::new();
        let feed = DeltaCdfTableProvider::try_new(feed).unwrap();
        ctx.register_table("feed", Arc::new(feed)).unwrap();
        let sql = "SELECT _change_type, _commit_version, count(*) AS rows, sum(customer_id) AS ids FROM feed \
                   GROUP BY 1, 2 ORDER BY 2, 1";
        query(&ctx, sql).await
    };
    let before = feed().await;
    assert!(before.contains("update_preimage,2,1,7"), "{before}");
    let report = maintain(&lake, &by_key()).await.unwrap();
    assert!(report.step(MaintenanceAction::Rewrite).is_some());
    assert_eq!(feed().await, before);
    mark(&lake, &[(1, None, None, "delete")], window(6, 7)).await;
    let after = feed().await;
    assert_eq!(after, format!("{before}\ndelete,8,1,1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_files_cannot_be_rewritten_says_why() {
    let lake = Lake::new();
    let nested = Field::new("n", DataType::Int32, false);
    let columns = Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("s", DataType::Struct(vec![nested].into()), true),
    ]);
    let target = lake.target().await;
    let _ = target
        .create(&columns, &TableOptions::default())
        .await
        .unwrap();
    let report = maintain(&lake, &by_key()).await.unwrap();
    let obstacle = report.obstacle.unwrap();
    assert!(
        obstacle.contains("NOT NULL within a nested column"),
        "{obstacle}"
    );
    assert!(report.steps.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_exist_is_an_error() {
    let lake = Lake::new();
    let error = maintain(&lake, &by_key()).await.unwrap_err();
    assert_eq!(sink_error(&error).kind(), SinkErrorKind::NotFound);
    assert!(!lake.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_fit_in_memory_are_sorted_on_disk() {
    let lake = Lake::new();
    let text = "x".repeat(100);
    for n in 0..4 {
        let rows: Vec<Change> = (0..20_000)
            .map(|id| (id * 4 + n, Some(text.as_str()), None, "insert"))
            .collect();
        let source = Source::of(&rows).table();
        let _ = lake.write(MIRROR, source, None).await.unwrap();
    }
    let pool = TrackConsumersPool::new(FairSpillPool::new(6 << 20), NonZeroUsize::MIN);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool));
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_sort_spill_reservation_bytes(1 << 20);
    let runtime = runtime.build_arc().unwrap();
    let state = SessionContext::new_with_config_rt(config, runtime).state();
    let target = lake.target().await;
    let report = target.maintain(&by_key(), &state, &|_| ()).await.unwrap();
    let step = report.step(MaintenanceAction::Rewrite).unwrap();
    assert_eq!(step.after.unwrap().rows, 80_000);
    let ctx = SessionContext::new();
    ctx.register_table("customers", Arc::new(lake.provider().await))
        .unwrap();
    let sql = "SELECT count(*), count(DISTINCT customer_id), max(customer_id) FROM customers";
    assert_eq!(query(&ctx, sql).await, "80000,80000,79999");
}
