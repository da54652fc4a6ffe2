use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;

use super::super::SinkErrorKind;
use super::*;

/// A source that lets another writer commit while it is read.
#[derive(Debug)]
struct Intrusion {
    source: Source,
    path: PathBuf,
    /// What the other writer's commit says of the flow.
    commit: Option<FlowCommit>,
}

impl PartitionStream for Intrusion {
    fn schema(&self) -> &SchemaRef {
        self.source.schema()
    }

    fn execute(&self, ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let path = self.path.clone();
        let commit = self.commit.clone();
        let intrude = async move {
            let location = path.to_str().unwrap();
            let target = DeltaTarget::open(location, HashMap::new()).await.unwrap();
            let mut provider = DeltaTableProvider::try_new(target, Some(customers()))
                .await
                .unwrap();
            if let Some(commit) = commit {
                provider = provider.with_commit(commit);
            }
            let source = Source::of(&[(77, Some("other"), None, "insert")]).table();
            let _ = write_to(Arc::new(provider), MIRROR, source).await.unwrap();
        };
        let rows = self.source.execute(ctx);
        let stream = futures::stream::once(Box::pin(intrude))
            .filter_map(|()| std::future::ready(None))
            .chain(rows);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(self.schema()),
            stream,
        ))
    }
}

async fn interrupted(
    lake: &Lake,
    commit: FlowCommit,
    other: Option<FlowCommit>,
) -> Result<CommitOutcome> {
    let source = Source::of(&[(1, Some("new"), None, "update_postimage")]);
    let schema = Arc::clone(source.schema());
    let intrusion = Intrusion {
        source,
        path: lake.path(),
        commit: other,
    };
    let table = StreamingTable::try_new(schema, vec![Arc::new(intrusion)]).unwrap();
    lake.write(MIRROR, Arc::new(table), Some(commit)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_during_a_merge_is_merged_with() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let outcome = interrupted(&lake, window(1, 2), None).await.unwrap();
    assert_eq!((outcome.version(), outcome.rows().updated), (Some(2), 1));
    assert_eq!(lake.rows().await, "1,new,\n77,other,");
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_another_run_applied_during_a_merge_is_not_applied_again() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let error = interrupted(&lake, window(1, 2), Some(window(1, 2))).await;
    let error = error.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::CheckpointMoved,
        "{error}"
    );
    assert!(sink_error(&error).is_retryable());
    assert_eq!(lake.rows().await, "1,a,\n77,other,");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_appears_during_the_first_write_is_a_conflict() {
    let lake = Lake::new();
    let error = interrupted(&lake, first(1), None).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
    assert_eq!(lake.rows().await, "77,other,");
    assert_eq!(lake.target().await.checkpoint(&key()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_row_during_a_write_to_an_empty_table_is_a_conflict() {
    let lake = Lake::new();
    let _ = lake.apply(&[], first(1)).await;
    let error = interrupted(&lake, window(1, 2), None).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
    assert_eq!(lake.rows().await, "77,other,");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_created_between_planning_and_running_is_a_conflict() {
    let lake = Lake::new();
    let provider = Arc::new(lake.provider().await);
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let source = Source::of(&[(2, Some("b"), None, "insert")]).table();
    let error = write_to(provider, MIRROR, source).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_between_planning_and_running_is_merged_with() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let provider = Arc::new(lake.provider().await.with_commit(window(1, 2)));
    let source = Source::of(&[(2, Some("b"), None, "insert")]).table();
    let _ = lake.write(MIRROR, source, None).await.unwrap();
    let source = Source::of(&[(2, Some("c"), None, "insert")]).table();
    let outcome = write_to(provider, MIRROR, source).await.unwrap();
    assert_eq!((outcome.version(), outcome.rows().updated), (Some(2), 1));
    assert_eq!(lake.rows().await, "1,a,\n2,c,");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_not_committed_over_another_writers_version() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let stale = lake.target().await;
    let source = Source::of(&[(2, Some("b"), None, "insert")]).table();
    let _ = lake.write(MIRROR, source, None).await.unwrap();
    let error = stale
        .write_checkpoint(&window(1, 2), uuid::Uuid::new_v4())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Conflict, "{error}");
    let outcome = stale.commit_checkpoint(&window(1, 2)).await.unwrap();
    assert_eq!(outcome.version(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_run_twice_applies_its_window_once() {
    let lake = Lake::new();
    let ctx = SessionContext::new();
    let provider = lake.provider().await.with_commit(first(1));
    ctx.register_table("customers", Arc::new(provider)).unwrap();
    let source = Source::of(&[(1, Some("a"), None, "insert")]);
    ctx.register_table("src", source.table()).unwrap();
    let plan = ctx.sql(MIRROR).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    let session = ctx.state();
    let run =
        |plan: Arc<dyn ExecutionPlan>| datafusion::physical_plan::collect(plan, session.task_ctx());
    run(Arc::clone(&plan)).await.unwrap();
    let error = run(plan).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
    assert_eq!(lake.rows().await, "1,a,");
}
