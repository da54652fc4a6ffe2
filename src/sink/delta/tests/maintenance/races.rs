//! Maintenance that other writers race, and that is ended early.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use futures::StreamExt;

use super::super::super::MaintenanceEvent;
use super::*;

/// Maintains the table, and lets `other` happen when the first files are chosen.
async fn maintain_around(
    lake: &Lake,
    other: Task<'_>,
) -> (MaintenanceReport, Vec<MaintenanceEvent>) {
    let events = Mutex::new(Vec::new());
    let other = Mutex::new(Some(other));
    let tell = |event| {
        events.lock().unwrap().push(event);
        if let Some(other) = other.lock().unwrap().take() {
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(other));
        }
    };
    let state = SessionContext::new().state();
    let target = lake.target().await;
    let report = target.maintain(&by_key(), &state, &tell).await.unwrap();
    (report, events.into_inner().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_leaves_the_rewritten_files_alone_does_not_begin_the_rewrite_again() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let merge = mark(&lake, &[(500, Some("raced"), None, "insert")], window(6, 7));
    let (report, events) = maintain_around(&lake, Box::pin(merge)).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let step = report.step(MaintenanceAction::Rewrite).unwrap();
    assert_eq!((step.before.files, step.version), (6, Some(8)));
    assert_eq!(files(&lake).await.0.len(), 2);
    let rows = lake.rows().await;
    assert_eq!(rows.lines().count(), 106);
    assert!(rows.contains("\n500,raced,"));
    let checkpoint = lake.target().await.checkpoint(&key()).await.unwrap();
    assert_eq!(checkpoint, Some(at(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_during_a_rewrite_is_kept_and_the_files_are_chosen_again() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let merge = mark(
        &lake,
        &[
            (1, None, None, "delete"),
            (2, Some("raced"), None, "update_postimage"),
            (500, Some("raced"), None, "insert"),
        ],
        window(6, 7),
    );
    let (report, events) = maintain_around(&lake, Box::pin(merge)).await;
    let conflict = MaintenanceEvent::Conflict { attempt: 1 };
    assert!(events.contains(&conflict));
    let step = report.step(MaintenanceAction::Rewrite).unwrap();
    // The one hundred rows, without the seven that were replaced or deleted by then, and five windows' new ones.
    assert_eq!(step.before.deleted_rows, 7);
    let rows = lake.rows().await;
    assert_eq!(rows.lines().count(), 105);
    assert!(
        !rows.starts_with("1,") && rows.contains("2,raced,\n") && rows.contains("\n500,raced,")
    );
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(7))
    );
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A source during whose reading something happens.
struct Meanwhile {
    source: Source,
    task: Mutex<Option<Task<'static>>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl PartitionStream for Meanwhile {
    fn schema(&self) -> &SchemaRef {
        self.source.schema()
    }

    fn execute(&self, ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let task = self.task.lock().unwrap().take().unwrap();
        let rows = futures::stream::once(task)
            .filter_map(|()| std::future::ready(None))
            .chain(self.source.execute(ctx));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(self.schema()),
            rows,
        ))
    }
}

/// Runs `sql` over `source`, in the middle of which the table's files are rewritten.
async fn merge_around_a_rewrite(
    lake: &Lake,
    sql: &str,
    source: Source,
    commit: Option<FlowCommit>,
) -> Result<CommitOutcome> {
    let target = lake.target().await;
    let rewrite = async move {
        let state = SessionContext::new().state();
        let report = target.maintain(&by_key(), &state, &|_| ()).await.unwrap();
        assert!(report.step(MaintenanceAction::Rewrite).is_some());
    };
    let schema = Arc::clone(source.schema());
    let source = Meanwhile {
        source,
        task: Mutex::new(Some(Box::pin(rewrite))),
    };
    let table = StreamingTable::try_new(schema, vec![Arc::new(source)]).unwrap();
    let mut provider = lake.provider().await.with_small_file(0);
    if let Some(commit) = commit {
        provider = provider.with_commit(commit);
    }
    write_to(Arc::new(provider), sql, Arc::new(table)).await
}

/// The removals of a rewrite are no change of data, which deltalake's own check of conflicts does not look at.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_during_a_merge_is_merged_with() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let source = Source::of(&[
        (1, None, None, "delete"),
        (2, Some("raced"), None, "update_postimage"),
        (500, Some("raced"), None, "insert"),
    ]);
    let outcome = merge_around_a_rewrite(&lake, MIRROR, source, Some(window(6, 7))).await;
    let rows = outcome.unwrap().rows();
    assert_eq!((rows.inserted, rows.updated, rows.deleted), (1, 1, 1));
    let rows = lake.rows().await;
    assert_eq!(rows.lines().count(), 105);
    assert!(!rows.starts_with("1,") && rows.contains("2,raced,\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_during_a_full_join_is_a_conflict() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let rows = lake.rows().await;
    let source = Source::of(&[(2, Some("raced"), None, "update_postimage")]);
    let sql = "MERGE INTO customers AS target USING src AS change ON target.customer_id = change.customer_id \
               WHEN MATCHED THEN UPDATE SET name = change.name WHEN NOT MATCHED BY SOURCE THEN DELETE";
    let error = merge_around_a_rewrite(&lake, sql, source, None).await;
    let error = error.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
    assert_eq!(lake.rows().await, rows);
    assert_eq!(files(&lake).await.0.len(), 1, "the rewrite stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_that_is_dropped_leaves_the_table_as_it_was() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let (rows, version) = (lake.rows().await, lake.target().await.version());
    let begun = AtomicUsize::new(0);
    let tell = |_| {
        begun.fetch_add(1, Ordering::SeqCst);
    };
    let (state, target, maintenance) =
        (SessionContext::new().state(), lake.target().await, by_key());
    let mut rewrite = Box::pin(target.maintain(&maintenance, &state, &tell));
    while begun.load(Ordering::SeqCst) == 0 {
        assert!(futures::poll!(rewrite.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(rewrite);
    assert_eq!(lake.target().await.version(), version);
    assert_eq!(lake.rows().await, rows);
    let report = maintain(&lake, &by_key()).await.unwrap();
    assert!(report.step(MaintenanceAction::Rewrite).is_some());
    assert_eq!(lake.rows().await, rows);
}
