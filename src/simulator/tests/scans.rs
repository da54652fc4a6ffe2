//! Scans of the log by the capture job.

use std::time::Duration;

use super::{behaving, database, ok, open, run};
use crate::simulator::session::Session;
use crate::simulator::{
    Behaviour, CaptureBehaviour, CaptureControl, CaptureJob, CommitTimes, Simulator,
    SimulatorOptions,
};

const TABLE: &str = "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, a int NULL)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL";

const ROWS: &str = "SELECT __$operation, k, a FROM cdc.dbo_t_CT ORDER BY __$start_lsn, __$command_id, __$seqval, __$operation";
const COMMITS: &str = "SELECT COUNT(*) FROM cdc.lsn_time_mapping";
const MAX: &str = "SELECT sys.fn_cdc_get_max_lsn()";

/// A session, and a hand on the capture of its database, which is held.
async fn held(script: &str) -> (Session, CaptureControl) {
    let database = database(script).await;
    let control = database.capture_of("app_db").unwrap();
    control.hold();
    (open(&database), control)
}

async fn value(session: &mut Session, sql: &str) -> String {
    ok(session, sql).await.value().to_owned()
}

#[tokio::test]
async fn commits_wait_in_the_log_for_a_scan() {
    let (mut s, control) = held(TABLE).await;
    let before = value(&mut s, MAX).await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(ok(&mut s, "SELECT k FROM t").await.lines(), ["1"]);
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 0);
    assert_eq!(value(&mut s, MAX).await, before);
    let waits = "SELECT log_reuse_wait_desc FROM sys.databases WHERE name = 'app_db'";
    assert_eq!(value(&mut s, waits).await, "REPLICATION");
    let report = control.step().await;
    assert_eq!(
        (report.transactions, report.rows, report.behind),
        (1, 1, false)
    );
    assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1"]);
    assert!(value(&mut s, MAX).await > before);
    assert_eq!(value(&mut s, waits).await, "NOTHING");
}

#[tokio::test]
async fn there_is_no_newest_commit_before_the_first_scan() {
    let (mut s, control) = held("CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY)").await;
    ok(&mut s, "EXEC sys.sp_cdc_enable_db").await;
    ok(&mut s, "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL").await;
    assert_eq!(value(&mut s, MAX).await, "NULL");
    let low = value(&mut s, "SELECT sys.fn_cdc_get_min_lsn('dbo_t')").await;
    control.step().await;
    assert_eq!(value(&mut s, MAX).await, low);
}

#[tokio::test]
async fn the_low_end_can_wait_for_the_scan() {
    let capture = CaptureBehaviour {
        start_lsn_by_scan: true,
        ..CaptureBehaviour::default()
    };
    let script = format!("{TABLE}\nEXEC sys.sp_cdc_stop_job");
    let (mut s, database) = behaving(&script, capture).await;
    let control = database.capture_of("app_db").unwrap();
    ok(
        &mut s,
        "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'second'",
    )
    .await;
    let start = "SELECT start_lsn FROM cdc.change_tables WHERE capture_instance = 'second'";
    assert_eq!(value(&mut s, start).await, "NULL");
    control.step().await;
    assert_eq!(value(&mut s, start).await, value(&mut s, MAX).await);
}

#[tokio::test]
async fn a_scan_captures_only_what_committed_before_it_fixed_its_end() {
    let (mut s, control) = held(TABLE).await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    let scan = control.fix_log_end();
    ok(&mut s, "INSERT INTO t VALUES (2, 2)").await;
    assert_eq!(scan.write().await.transactions, 1);
    assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1"]);
    assert!(control.is_behind());
    assert_eq!(control.step().await.transactions, 1);
    assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1", "2|2|2"]);
}

#[tokio::test]
async fn maxtrans_and_maxscans_bound_a_scan() {
    let (mut s, control) = held(TABLE).await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_change_job N'capture', @maxtrans = 2",
    )
    .await;
    for k in 1..=5 {
        ok(&mut s, &format!("INSERT INTO t VALUES ({k}, 0)")).await;
    }
    let report = control.step().await;
    assert_eq!((report.transactions, report.behind), (2, true));
    ok(&mut s, "EXEC sys.sp_cdc_scan @maxtrans = 1, @maxscans = 2").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 4);
    let bad = "EXEC sys.sp_cdc_change_job N'capture', @maxscans = 0";
    assert_eq!(run(&mut s, bad).await.numbers(), [22990]);
    assert_eq!(
        run(&mut s, "EXEC sys.sp_cdc_change_job N'nothing'")
            .await
            .numbers(),
        [22992]
    );
}

#[tokio::test]
async fn a_stopped_job_leaves_the_log_as_it_is() {
    let mut s = super::session(TABLE).await;
    ok(&mut s, "EXEC sys.sp_cdc_stop_job N'capture'").await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 0);
    ok(&mut s, "EXEC sys.sp_cdc_start_job").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 1);
}

#[tokio::test]
async fn an_open_transaction_does_not_hold_capture_up() {
    let (mut s, control) = held(TABLE).await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    ok(&mut s, "BEGIN TRAN INSERT INTO t VALUES (2, 2)").await;
    assert_eq!(control.step().await.transactions, 1);
    assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1"]);
    ok(&mut s, "COMMIT").await;
    assert_eq!(control.step().await.transactions, 1);
    assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1", "2|2|2"]);
}

#[tokio::test]
async fn a_change_of_capture_holds_scans_up_until_it_ends() {
    let (mut s, control) = held(TABLE).await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    ok(
        &mut s,
        "BEGIN TRAN EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'second'",
    )
    .await;
    let step = tokio::spawn({
        let control = control.clone();
        async move { control.step().await }
    });
    tokio::task::yield_now().await;
    assert!(!step.is_finished());
    ok(&mut s, "ROLLBACK").await;
    assert_eq!(step.await.unwrap().transactions, 1);
    assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1"]);
    assert_eq!(
        run(&mut s, "SELECT * FROM cdc.second_CT").await.numbers(),
        [208]
    );
}

#[tokio::test]
async fn an_instance_has_nothing_of_before_its_beginning() {
    let (mut s, control) = held(TABLE).await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'second'",
    )
    .await;
    ok(&mut s, "INSERT INTO t VALUES (2, 2)").await;
    control.step().await;
    assert_eq!(
        ok(&mut s, "SELECT k FROM cdc.second_CT").await.lines(),
        ["2"]
    );
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 2);
}

#[tokio::test]
async fn idle_entries_stand_for_no_transaction() {
    let (mut s, control) = held(TABLE).await;
    let before = value(&mut s, MAX).await;
    assert!(control.idle_entry());
    let newest = "SELECT TOP (1) tran_id, tran_begin_time, tran_begin_lsn FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC";
    assert_eq!(
        ok(&mut s, newest).await.lines(),
        ["0x00|NULL|0x00000000000000000000"]
    );
    let idle = value(&mut s, MAX).await;
    assert!(idle > before);
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    assert!(!control.idle_entry(), "a transaction comes first");
    control.step().await;
    assert!(value(&mut s, MAX).await > idle);
    let real = "SELECT COUNT(*) FROM cdc.lsn_time_mapping WHERE tran_id <> 0x00";
    assert_eq!(value(&mut s, real).await, "2");
}

#[tokio::test]
async fn the_jobs_turns_date_an_idle_database() {
    let (mut s, database) = behaving(
        TABLE,
        CaptureBehaviour {
            idle_period: Duration::from_secs(3),
            ..CaptureBehaviour::default()
        },
    )
    .await;
    let cell = database.server.database("app_db").unwrap();
    let commits = value(&mut s, COMMITS).await;
    crate::simulator::capture::turn(&cell, |_, _| true);
    assert_eq!(value(&mut s, COMMITS).await, commits);
    // Each statement moves the clock by one second, whether it changes a captured table or not.
    for _ in 0..4 {
        ok(
            &mut s,
            "CREATE TABLE dbo.other (n int) DROP TABLE dbo.other",
        )
        .await;
    }
    crate::simulator::capture::turn(&cell, |_, _| true);
    let newest =
        "SELECT TOP (1) tran_id, tran_end_time FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC";
    assert_eq!(
        ok(&mut s, newest).await.lines(),
        ["0x00|2024-01-01 00:00:11.000"]
    );
}

#[tokio::test]
async fn scans_are_seen_as_sessions() {
    let (mut s, control) = held(TABLE).await;
    let sessions = "SELECT session_id, tran_count, empty_scan_count, error_count
        FROM sys.dm_cdc_log_scan_sessions WHERE session_id <> 0 ORDER BY session_id DESC";
    let before = ok(&mut s, sessions).await.rows().len();
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    control.step().await;
    control.step().await;
    control.step().await;
    let after = ok(&mut s, sessions).await.lines();
    assert_eq!(after.len(), before + 2);
    assert!(after[0].ends_with("|0|2|0"), "{after:?}");
    assert!(after[1].ends_with("|1|0|0"), "{after:?}");
    let commit = "SELECT m.tran_end_time FROM cdc.lsn_time_mapping m
        JOIN sys.dm_cdc_log_scan_sessions x ON x.last_commit_time = m.tran_end_time
        WHERE x.tran_count = 1 AND x.session_id <> 0 AND x.command_count = 1";
    assert_eq!(ok(&mut s, commit).await.rows().len(), 1);
    ok(&mut s, "ALTER TABLE dbo.t ADD b int NULL").await;
    control.step().await;
    let changes = "SELECT TOP (1) schema_change_count, tran_count, command_count
        FROM sys.dm_cdc_log_scan_sessions WHERE session_id <> 0 ORDER BY session_id DESC";
    assert_eq!(ok(&mut s, changes).await.lines(), ["1|1|0"]);
}

#[tokio::test]
async fn a_job_that_captures_every_commit_comes_to_the_end_of_the_log_at_each_look() {
    let database = database(TABLE).await;
    let control = database.capture_of("app_db").unwrap();
    let mut s = open(&database);
    let looked = "SELECT TOP (1) session_id, tran_count, empty_scan_count
        FROM sys.dm_cdc_log_scan_sessions WHERE session_id <> 0 ORDER BY session_id DESC";
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    let session = |answer: Vec<String>| answer[0].clone();
    let first = session(ok(&mut s, looked).await.lines());
    assert!(first.ends_with("|0|1"), "{first}");
    assert!(session(ok(&mut s, looked).await.lines()).ends_with("|0|2"));
    // Held or stopped, it rests.
    control.hold();
    assert!(session(ok(&mut s, looked).await.lines()).ends_with("|0|2"));
    control.release();
    control.stop();
    assert!(session(ok(&mut s, looked).await.lines()).ends_with("|0|2"));
}

#[tokio::test]
async fn the_log_is_full_when_capture_is_too_far_behind() {
    let capture = CaptureBehaviour {
        log_limit: 4096,
        ..CaptureBehaviour::default()
    };
    let (mut s, database) = behaving(TABLE, capture).await;
    let control = database.capture_of("app_db").unwrap();
    control.hold();
    let mut written = 0;
    let number = loop {
        let answer = run(&mut s, &format!("INSERT INTO t VALUES ({written}, 0)")).await;
        match answer.numbers().first() {
            None => written += 1,
            Some(number) => break *number,
        }
    };
    assert_eq!(number, 9002);
    assert_eq!(
        value(&mut s, "SELECT COUNT(*) FROM t").await,
        written.to_string()
    );
    control.release();
    ok(&mut s, "INSERT INTO t VALUES (-1, 0)").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), written + 1);
}

#[tokio::test]
async fn one_transaction_has_no_more_room_than_the_log() {
    let capture = CaptureBehaviour {
        log_limit: 4096,
        ..CaptureBehaviour::default()
    };
    let (mut s, _) = behaving(TABLE, capture).await;
    ok(&mut s, "BEGIN TRAN INSERT INTO t VALUES (0, 0)").await;
    let many = "INSERT INTO t SELECT value, 0 FROM GENERATE_SERIES(1, 10000)";
    assert_eq!(run(&mut s, many).await.numbers(), [9002]);
    ok(&mut s, "IF @@TRANCOUNT > 0 ROLLBACK").await;
    assert_eq!(value(&mut s, "SELECT COUNT(*) FROM t").await, "0");
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 1);
}

#[tokio::test]
async fn jobs_and_instances_are_described() {
    let mut s = super::session(TABLE).await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_change_job N'cleanup', @retention = 60",
    )
    .await;
    let jobs = ok(&mut s, "EXEC sys.sp_cdc_help_jobs").await;
    let short: Vec<String> = jobs.rows().iter().map(|row| row[1..].join("|")).collect();
    assert_eq!(
        short,
        [
            "capture|cdc.app_db_capture|500|10|1|5|0|0",
            "cleanup|cdc.app_db_cleanup|0|0|0|0|60|5000"
        ]
    );
    let table = "SELECT job_type, maxtrans, retention FROM msdb.dbo.cdc_jobs ORDER BY job_type";
    assert_eq!(
        ok(&mut s, table).await.lines(),
        ["capture|500|0", "cleanup|0|60"]
    );
    let help = ok(
        &mut s,
        "EXEC sys.sp_cdc_help_change_data_capture N'dbo', N't'",
    )
    .await;
    let row = &help.rows()[0];
    assert_eq!(row[..3], ["dbo", "t", "dbo_t"]);
    assert_eq!(row[13..], ["[k]", "[k], [a]"]);
    ok(&mut s, "EXEC sys.sp_cdc_drop_job N'cleanup'").await;
    assert_eq!(
        ok(&mut s, "EXEC sys.sp_cdc_help_jobs").await.rows().len(),
        1
    );
    ok(
        &mut s,
        "EXEC sys.sp_cdc_add_job N'cleanup', @retention = 10",
    )
    .await;
    assert_eq!(
        ok(&mut s, "EXEC sys.sp_cdc_help_jobs").await.rows()[1][7],
        "10"
    );
}

#[tokio::test]
async fn replay_ends_with_everything_captured_whatever_its_gaps() {
    let script = format!("{TABLE}\nINSERT INTO t VALUES (1, 1)\nUPDATE t SET a = 2");
    let capture = CaptureBehaviour {
        lsn_gaps: true,
        interleaved: true,
        ..CaptureBehaviour::default()
    };
    let lsns = "SELECT __$start_lsn, __$seqval FROM cdc.dbo_t_CT ORDER BY __$start_lsn";
    let mut seen = Vec::new();
    for capture in [capture.clone(), capture, CaptureBehaviour::default()] {
        let (mut s, _) = behaving(&script, capture).await;
        assert_eq!(ok(&mut s, ROWS).await.lines(), ["2|1|1", "3|1|1", "4|1|2"]);
        seen.push(ok(&mut s, lsns).await.lines());
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test]
async fn changes_can_lie_below_the_commit_before() {
    let capture = CaptureBehaviour {
        interleaved: true,
        ..CaptureBehaviour::default()
    };
    let (mut s, _) = behaving(TABLE, capture).await;
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    ok(&mut s, "INSERT INTO t VALUES (2, 2)").await;
    let below = "SELECT CASE WHEN b.__$seqval < a.__$start_lsn THEN 1 ELSE 0 END
        FROM cdc.dbo_t_CT a JOIN cdc.dbo_t_CT b ON a.k = 1 AND b.k = 2";
    assert_eq!(value(&mut s, below).await, "1");
    let own = "SELECT COUNT(*) FROM cdc.dbo_t_CT WHERE __$seqval < __$start_lsn";
    assert_eq!(value(&mut s, own).await, "2");
}

#[tokio::test]
async fn commits_can_share_a_time_or_go_back_in_it() {
    let inserts = "INSERT INTO t VALUES (1, 1) INSERT INTO t VALUES (2, 2)
        INSERT INTO t VALUES (3, 3) INSERT INTO t VALUES (4, 4)";
    let times = "SELECT m.tran_end_time FROM cdc.lsn_time_mapping m JOIN cdc.dbo_t_CT c
        ON c.__$start_lsn = m.start_lsn ORDER BY m.start_lsn";
    let (mut s, _) = behaving(
        TABLE,
        CaptureBehaviour {
            commit_times: CommitTimes::Equal { commits: 10 },
            ..CaptureBehaviour::default()
        },
    )
    .await;
    ok(&mut s, inserts).await;
    let equal = ok(&mut s, times).await.lines();
    assert!(equal.iter().all(|at| *at == equal[0]), "{equal:?}");
    let (mut s, _) = behaving(
        TABLE,
        CaptureBehaviour {
            commit_times: CommitTimes::Back {
                commits: 2,
                by: Duration::from_secs(3600),
            },
            ..CaptureBehaviour::default()
        },
    )
    .await;
    ok(&mut s, inserts).await;
    let back = ok(&mut s, times).await.lines();
    assert!(back.windows(2).any(|two| two[1] < two[0]), "{back:?}");
    assert!(back.windows(2).any(|two| two[1] > two[0]), "{back:?}");
}

#[tokio::test]
async fn a_served_database_is_captured_in_the_background() {
    let database = database(TABLE).await;
    let mut s = open(&database);
    let options = SimulatorOptions {
        behaviour: Behaviour {
            capture_job: CaptureJob::Every(Duration::from_millis(1)),
            ..Behaviour::default()
        },
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(database, options).await.unwrap();
    let control = simulator.capture_of("app_db").unwrap();
    control.hold();
    ok(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 0);
    // Nobody else scans while capture is held.
    ok(&mut s, "EXEC sys.sp_cdc_scan").await;
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 1);
    ok(&mut s, "INSERT INTO t VALUES (2, 2)").await;
    control.release();
    control.caught_up().await.unwrap();
    assert_eq!(ok(&mut s, ROWS).await.rows().len(), 2);
    assert_eq!(run(&mut s, "EXEC sys.sp_cdc_scan").await.numbers(), [22903]);
}
