use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::protocol::{DeltaOperation, SaveMode};

use super::super::SinkErrorKind;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_does_not_start_at_the_checkpoint_is_not_applied() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(5))
        .await;
    let changes = [(1, Some("b"), None, "update_postimage")];
    for commit in [first(6), window(4, 6), window(6, 7)] {
        let source = Source::of(&changes);
        let reads = source.reads();
        let error = lake
            .write(MIRROR, source.table(), Some(commit.clone()))
            .await
            .unwrap_err();
        let SinkError::CheckpointMoved {
            expected, found, ..
        } = sink_error(&error)
        else {
            panic!("{error}");
        };
        assert_eq!(expected, &commit.expected.clone().map(Box::new));
        assert_eq!(found.as_ref().map(|at| at.lsn), Some(at(5).lsn));
        assert!(
            error.to_string().contains(&at(5).lsn.to_string()),
            "{error}"
        );
        assert_eq!(reads.load(Ordering::SeqCst), 0);
        let error = lake
            .target()
            .await
            .commit_checkpoint(&commit)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::CheckpointMoved);
    }
    assert_eq!(lake.rows().await, "1,a,");
    assert_eq!(lake.target().await.version(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_committed_alone() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let target = lake.target().await;
    let outcome = target.commit_checkpoint(&window(1, 2)).await.unwrap();
    assert_eq!((outcome.version(), outcome.rows().total()), (Some(1), 0));
    assert_eq!(
        lake.target().await.checkpoint(&key()).await.unwrap(),
        Some(at(2))
    );
    let outcome = target.commit_checkpoint(&window(2, 2)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Nothing);
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_of_one_table_have_checkpoints_of_their_own() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let mut other = first(9);
    other.key.database = "other_db".to_string();
    let _ = lake
        .apply(&[(2, Some("b"), None, "insert")], other.clone())
        .await;
    let target = lake.target().await;
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(1)));
    assert_eq!(target.checkpoint(&other.key).await.unwrap(), Some(at(9)));
    other.key.flow = "nobody".to_string();
    assert_eq!(target.checkpoint(&other.key).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_an_error_that_names_flow_and_table() {
    for (part, low) in [("hi", 0), ("lo", -1)] {
        let lake = Lake::new();
        let _ = lake.apply(&[], first(1)).await;
        let table = lake.target().await.table().clone();
        let mut damaged = key();
        damaged.flow = "damaged".to_string();
        let mut entries = vec![Transaction::new(format!("{damaged}/{part}"), low)];
        if part == "lo" {
            entries.push(Transaction::new(format!("{damaged}/hi"), 0));
            entries.push(Transaction::new(format!("{damaged}/time"), 0));
        }
        let properties = CommitProperties::default().with_application_transactions(entries);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: None,
            predicate: None,
        };
        CommitBuilder::from(properties)
            .build(
                Some(table.snapshot().unwrap()),
                table.log_store(),
                operation,
            )
            .await
            .unwrap();
        let error = lake.target().await.checkpoint(&damaged).await.unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::DamagedCheckpoint);
        assert!(error.to_string().contains("flow 'damaged'"), "{error}");
        assert!(
            error.to_string().contains(lake.path().to_str().unwrap()),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_its_commit_in_the_log_has_no_tran_id() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(1))
        .await;
    let source = Source::of(&[(2, Some("b"), None, "insert")]).table();
    let _ = lake.write(MIRROR, source, None).await.unwrap();
    let table = lake.target().await.table().clone();
    deltalake::checkpoints::create_checkpoint(&table, None)
        .await
        .unwrap();
    let entry = lake.path().join("_delta_log/00000000000000000000.json");
    std::fs::remove_file(entry).unwrap();
    let expected = Checkpoint {
        tran_id: None,
        ..at(1)
    };
    let target = lake.target().await;
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(expected));
    assert_eq!(target.history(10).await.unwrap().len(), 1);
    assert!(target.at_version(0).await.is_err());
    let changes = [(3, Some("c"), None, "insert")];
    let _ = lake.apply(&changes, window(1, 2)).await;
    let target = lake.target().await;
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_survive_many_commits() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some("a"), None, "insert")], first(0))
        .await;
    let target = lake.target().await;
    for upto in 1..=12 {
        let _ = target
            .commit_checkpoint(&window(upto - 1, upto))
            .await
            .unwrap();
    }
    let target = lake.target().await;
    assert_eq!(target.version(), Some(12));
    assert_eq!(target.checkpoint(&key()).await.unwrap(), Some(at(12)));
    assert_eq!(lake.rows().await, "1,a,");
}
