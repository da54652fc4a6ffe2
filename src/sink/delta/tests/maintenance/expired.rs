//! Files that nothing needs any more.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::super::Vacuum;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes every file of the table look as if it had been written long ago.
fn age(folder: &Path, by: Duration) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, by);
        } else {
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_keeps_what_versions_within_the_retention_need() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let _ = maintain(&lake, &by_key()).await.unwrap();
    std::fs::create_dir(lake.path().join("_cdcql")).unwrap();
    let others = [
        "_cdcql/chunk.parquet",
        "orphan.parquet",
        "deletion_vector_x.bin",
    ];
    for name in others {
        std::fs::write(lake.path().join(name), "x").unwrap();
    }
    age(&lake.path(), 30 * DAY);
    std::fs::write(lake.path().join("young.parquet"), "x").unwrap();
    let newest = lake.target().await.version().unwrap();

    let vacuum = Maintenance {
        vacuum: Some(Vacuum::default()),
        ..by_key()
    };
    let dry_run = Maintenance {
        dry_run: true,
        ..vacuum.clone()
    };
    let told = maintain(&lake, &dry_run).await.unwrap();
    assert!(lake.path().join("orphan.parquet").exists());
    let done = maintain(&lake, &vacuum).await.unwrap();
    for report in [&told, &done] {
        let step = report.step(MaintenanceAction::Vacuum).unwrap();
        assert_eq!((step.before.files, step.before.bytes), (2, 2));
    }
    let left = |name: &str| lake.path().join(name).exists();
    assert_eq!(others.map(left), [true, false, false]);
    assert!(left("young.parquet"));
    // Their files and vectors are old, but they were taken out just now.
    for version in 1..=newest {
        let target = lake.target().await.at_version(version).await.unwrap();
        let ctx = SessionContext::new();
        let table = DeltaTableProvider::try_new(target, None).await.unwrap();
        ctx.register_table("t", Arc::new(table)).unwrap();
        let rows = query(
            &ctx,
            "SELECT count(*) AS rows, sum(customer_id) AS ids FROM t",
        )
        .await;
        let inserted = (version - 1).min(5);
        assert!(
            rows.starts_with(&format!("{},", 100 + inserted)),
            "{version}: {rows}"
        );
    }
    let checkpoint = lake.target().await.checkpoint(&key()).await.unwrap();
    assert_eq!(checkpoint, Some(at(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_below_the_tables_retention_must_be_forced() {
    let lake = Lake::new();
    with_windows(&lake, TableOptions::default(), 5).await;
    let rows = lake.rows().await;
    let none = Vacuum {
        retain: Some(Duration::ZERO),
        below_retention: false,
    };
    let refused = Maintenance {
        vacuum: Some(none),
        ..by_key()
    };
    let version = lake.target().await.version();
    let error = maintain(&lake, &refused).await.unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Retention,
        "{error}"
    );
    assert!(error.to_string().contains("168 hours"), "{error}");
    assert_eq!(lake.target().await.version(), version);

    age(&lake.path(), DAY);
    let forced = Maintenance {
        vacuum: Some(Vacuum {
            below_retention: true,
            ..none
        }),
        ..by_key()
    };
    let report = maintain(&lake, &forced).await.unwrap();
    let step = report.step(MaintenanceAction::Vacuum).unwrap();
    // The six files that were rewritten, and the deletion vectors of five windows.
    assert_eq!(step.before.files, 11);
    assert_eq!(lake.data_files(), 1);
    assert_eq!(lake.rows().await, rows);
    let history = lake.target().await.history(2).await.unwrap();
    let operations: Vec<_> = history
        .iter()
        .filter_map(|e| e.operation.as_deref())
        .collect();
    assert_eq!(operations, ["VACUUM END", "VACUUM START"]);
    mark(&lake, &[(1, None, None, "delete")], window(6, 7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_many_commits_gets_a_checkpoint_and_loses_what_has_expired() {
    for (cleanup, left) in [("true", 1), ("false", 13)] {
        let lake = Lake::new();
        let properties = [
            ("delta.logRetentionDuration", "interval 2 days"),
            ("delta.enableExpiredLogCleanup", cleanup),
            ("delta.targetFileSize", "100"),
        ];
        with_windows(&lake, options(&properties), 2).await;
        for n in 3..=11 {
            mark(&lake, &[], window(n, n + 1)).await;
        }
        let rows = lake.rows().await;
        let log = lake.path().join("_delta_log");
        age(&log, 3 * DAY);
        let report = maintain(&lake, &by_key()).await.unwrap();
        let step = report.step(MaintenanceAction::Checkpoint).unwrap();
        assert_eq!((step.before.files, step.version), (13, Some(12)));
        assert!(log.join("00000000000000000012.checkpoint.parquet").exists());
        let cleaned = report.step(MaintenanceAction::CleanLog);
        assert_eq!(cleaned.map_or(0, |step| step.before.files), 13 - left);
        let commits = std::fs::read_dir(&log).unwrap().filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        assert_eq!(commits.count() as u64, left);
        assert_eq!(lake.rows().await, rows);
        let again = maintain(&lake, &by_key()).await.unwrap();
        assert_eq!(again, MaintenanceReport::default());
        let checkpoint = lake.target().await.checkpoint(&key()).await.unwrap();
        assert_eq!(checkpoint.map(|at| at.lsn), Some(at(12).lsn));
        mark(&lake, &[(1, None, None, "delete")], window(12, 13)).await;
    }
}
