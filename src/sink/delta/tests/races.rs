//! Other writers, and failures, between a merge's files and its commit.

use deltalake::DeltaTable;
use deltalake::operations::vacuum::VacuumMode;
use futures::FutureExt;

use super::super::SinkErrorKind;
use super::stores::{Stop, Stopping};
use super::*;

/// A table of forty rows in two files, whose commits can be stopped.
struct Stopped {
    store: Arc<Stopping>,
    location: String,
}

impl Stopped {
    async fn new() -> Self {
        let (store, location) = Stopping::new();
        let stopped = Self { store, location };
        for (from, commit) in [(0, first(1)), (20, window(1, 2))] {
            let ids = from..from + 20;
            let rows: Vec<Change> = ids.map(|id| (id, Some("a"), None, "insert")).collect();
            let _ = stopped.merge(&rows, Some(commit)).await.unwrap();
        }
        stopped
    }

    async fn target(&self) -> DeltaTarget {
        DeltaTarget::open(&self.location, HashMap::new())
            .await
            .unwrap()
    }

    async fn table(&self) -> DeltaTable {
        self.target().await.table().clone()
    }

    async fn merge(
        &self,
        changes: &[Change<'_>],
        commit: Option<FlowCommit>,
    ) -> Result<CommitOutcome> {
        merge_at(&self.location, changes, commit).await
    }

    /// Lets `happens` happen before the next commit.
    fn before_the_commit(&self, happens: impl Future<Output = ()> + Send + 'static) {
        self.store.stop(Stop::Run(happens.boxed()));
    }

    async fn rows(&self) -> Vec<String> {
        let ctx = SessionContext::new();
        let provider = DeltaTableProvider::try_new(self.target().await, None).await;
        ctx.register_table("t", Arc::new(provider.unwrap()))
            .unwrap();
        let rows = query(&ctx, "SELECT * FROM t ORDER BY 1, 2").await;
        rows.lines().map(ToString::to_string).collect()
    }

    /// The table's rows if the merges of `changes` had come one after the other.
    fn rows_after(&self, changes: &[Change<'_>]) -> Vec<String> {
        let mut rows: std::collections::BTreeMap<i32, String> =
            (0..40).map(|id| (id, format!("{id},a,"))).collect();
        for (id, name, city, kind) in changes {
            if *kind == "delete" {
                rows.remove(id);
            } else {
                let row = format!("{id},{},{}", name.unwrap_or(""), city.unwrap_or(""));
                rows.insert(*id, row);
            }
        }
        rows.into_values().collect()
    }
}

async fn merge_at(
    location: &str,
    changes: &[Change<'_>],
    commit: Option<FlowCommit>,
) -> Result<CommitOutcome> {
    let target = DeltaTarget::open(location, HashMap::new()).await.unwrap();
    let provider = DeltaTableProvider::try_new(target, Some(customers())).await?;
    let mut provider = provider.with_small_file(0);
    if let Some(commit) = commit {
        provider = provider.with_commit(commit);
    }
    write_to(Arc::new(provider), MIRROR, Source::of(changes).table()).await
}

const OURS: [Change<'_>; 3] = [
    (3, Some("ours"), None, "update_postimage"),
    (25, None, None, "delete"),
    (99, Some("ours"), None, "insert"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_other_rows_of_the_same_files_comes_first() {
    let stopped = Stopped::new().await;
    let theirs = [
        (4, Some("theirs"), None, "update_postimage"),
        (26, None, None, "delete"),
    ];
    let location = stopped.location.clone();
    stopped.before_the_commit(async move {
        let _ = merge_at(&location, &theirs, None).await.unwrap();
    });
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    assert_eq!((outcome.version(), outcome.rows().total()), (Some(3), 3));
    let expected = stopped.rows_after(&[&theirs[..], &OURS[..]].concat());
    assert_eq!(stopped.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_the_same_rows_comes_first() {
    let stopped = Stopped::new().await;
    let theirs = [
        (3, None, None, "delete"),
        (25, Some("theirs"), None, "update_postimage"),
        (99, Some("theirs"), None, "insert"),
    ];
    let location = stopped.location.clone();
    stopped.before_the_commit(async move {
        let _ = merge_at(&location, &theirs, None).await.unwrap();
    });
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    let rows = outcome.rows();
    assert_eq!((rows.inserted, rows.updated, rows.deleted), (1, 1, 1));
    let expected = stopped.rows_after(&[&theirs[..], &OURS[..]].concat());
    assert_eq!(stopped.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_merges_come_first_one_before_each_try() {
    let stopped = Stopped::new().await;
    let theirs: Vec<_> = (0..4)
        .map(|id| (id, Some("theirs"), None, "update_postimage"))
        .collect();
    for change in theirs.clone() {
        let location = stopped.location.clone();
        let store = Arc::clone(&stopped.store);
        stopped.before_the_commit(async move {
            // Their own commit would come to the next stop.
            let stops = store.take();
            let _ = merge_at(&location, &[change], None).await.unwrap();
            store.put_back(stops);
        });
    }
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    assert_eq!(outcome.version(), Some(6));
    let expected = stopped.rows_after(&[&theirs[..], &OURS[..]].concat());
    assert_eq!(stopped.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimize_comes_first() {
    let stopped = Stopped::new().await;
    let _ = stopped
        .merge(&[(5, None, None, "delete")], None)
        .await
        .unwrap();
    let table = stopped.table().await;
    stopped.before_the_commit(async move {
        let (_, metrics) = table.optimize().await.unwrap();
        assert_eq!(metrics.num_files_added, 1);
    });
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    assert_eq!(outcome.version(), Some(4));
    let expected = stopped.rows_after(&[&[(5, None, None, "delete")], &OURS[..]].concat());
    assert_eq!(stopped.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_comes_first() {
    let stopped = Stopped::new().await;
    let table = stopped.table().await;
    stopped.before_the_commit(async move {
        table
            .delete()
            .with_predicate("customer_id IN (3, 7, 30)")
            .await
            .unwrap();
    });
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    assert_eq!((outcome.rows().inserted, outcome.rows().updated), (2, 0));
    let deleted = [3, 7, 30].map(|id| (id, None, None, "delete"));
    let expected = stopped.rows_after(&[&deleted[..], &OURS[..]].concat());
    assert_eq!(stopped.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimize_and_a_delete_that_began_before_the_merge_come_too_late() {
    for delete in [false, true] {
        let stopped = Stopped::new().await;
        let location = stopped.location.clone();
        stopped.before_the_commit(async move {
            let _ = merge_at(&location, &OURS, Some(window(2, 3)))
                .await
                .unwrap();
        });
        let table = stopped.table().await;
        let late = if delete {
            let deleting = table.delete().with_predicate("customer_id IN (3, 7, 30)");
            deleting.await.map(drop)
        } else {
            table.optimize().await.map(drop)
        };
        let expected = stopped.rows_after(&OURS);
        assert!(late.is_err(), "delete: {delete}");
        assert_eq!(stopped.rows().await, expected);
        assert_eq!(stopped.store.left(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_columns_comes_first_and_is_a_conflict() {
    let stopped = Stopped::new().await;
    let table = stopped.table().await;
    stopped.before_the_commit(async move {
        let column =
            deltalake::kernel::StructField::nullable("more", deltalake::kernel::DataType::LONG);
        table.add_columns().with_fields([column]).await.unwrap();
    });
    let error = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
    assert_eq!(stopped.target().await.version(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_of_one_window_apply_it_once() {
    let stopped = Stopped::new().await;
    let location = stopped.location.clone();
    stopped.before_the_commit(async move {
        let _ = merge_at(&location, &OURS, Some(window(2, 3)))
            .await
            .unwrap();
    });
    let error = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::CheckpointMoved,
        "{error}"
    );
    assert_eq!(stopped.rows().await, stopped.rows_after(&OURS));
    let target = stopped.target().await;
    assert_eq!(target.version(), Some(2));
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_and_an_append_that_race_are_both_there() {
    let stopped = Stopped::new().await;
    let location = stopped.location.clone();
    stopped.before_the_commit(async move {
        let target = DeltaTarget::open(&location, HashMap::new()).await.unwrap();
        let provider = Arc::new(DeltaTableProvider::try_new(target, None).await.unwrap());
        let rows = Source::of(&[(99, Some("appended"), None, "insert")]).table();
        let insert = "INSERT INTO customers SELECT customer_id, name, city FROM src";
        let _ = write_to(provider, insert, rows).await.unwrap();
    });
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    let rows = outcome.rows();
    assert_eq!((rows.inserted, rows.updated, rows.deleted), (0, 2, 1));
    assert_eq!(stopped.rows().await, stopped.rows_after(&OURS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_leaves_the_table_as_it_was_and_orphans_to_vacuum() {
    let stopped = Stopped::new().await;
    let before = stopped.rows().await;
    let files = stopped.store.files(".parquet").await.len();
    stopped.store.stop(Stop::Refuse);
    let error = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap_err();
    assert_eq!(sink_error(&error).kind(), SinkErrorKind::Storage, "{error}");
    assert_eq!(stopped.rows().await, before);
    let target = stopped.target().await;
    assert_eq!(target.version(), Some(1));
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(2)));
    assert!(stopped.store.files(".parquet").await.len() > files);
    assert_eq!(stopped.store.files(".bin").await.len(), 1);
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    assert_eq!(outcome.version(), Some(2));
    vacuum(stopped.table().await).await;
    // The live vectors and files stay.
    assert_eq!(stopped.store.files(".bin").await.len(), 1);
    assert_eq!(stopped.store.files(".parquet").await.len(), files + 1);
    assert_eq!(stopped.rows().await, stopped.rows_after(&OURS));
}

async fn vacuum(table: DeltaTable) {
    let vacuum = table
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(chrono::Duration::zero())
        .with_enforce_retention_duration(false);
    vacuum.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_in_the_log() {
    let stopped = Stopped::new().await;
    stopped.store.stop(Stop::Forget);
    let outcome = stopped.merge(&OURS, Some(window(2, 3))).await.unwrap();
    assert_eq!((outcome.version(), outcome.rows().total()), (Some(2), 3));
    assert_eq!(stopped.rows().await, stopped.rows_after(&OURS));
}
