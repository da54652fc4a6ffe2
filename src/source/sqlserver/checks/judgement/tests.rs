use super::super::database::Reach;
use super::*;
use crate::change::{Commit, Lsn};
use crate::source::sqlserver::news::Head;

const MINUTE: i64 = 60_000;

/// A database of which everything is known and well, whose newest commit is so old.
pub(in super::super) fn known(age_ms: i64) -> DatabaseFacts {
    let commit = Commit {
        lsn: Lsn::ZERO,
        end_time_ms: 1_000_000_000,
        tran_id: vec![1],
    };
    DatabaseFacts {
        engine_edition: 3,
        version: "16.0".to_string(),
        name: "app".to_string(),
        collation: "Latin1_General_CI_AS".to_string(),
        cdc_enabled: true,
        snapshot_allowed: true,
        published: false,
        log_reuse: "NOTHING".to_string(),
        read_only: false,
        user: "reader".to_string(),
        login: "login".to_string(),
        owner: false,
        unread_metadata: Vec::new(),
        sees_scans: true,
        has_performance_state: true,
        sees_definitions: true,
        largest: Some(-1),
        has_capture_job: Some(true),
        agent: Some(("SQL Server Agent (X)".to_string(), "Running".to_string())),
        scan_error: None,
        reach: Some(Reach {
            age_ms,
            head: Some(Head {
                newest: commit.clone(),
                oldest: commit,
                is_replica: false,
            }),
            retention_minutes: Some(DEFAULT_MINUTES),
        }),
    }
}

fn found(facts: &DatabaseFacts, check: Check) -> Option<Finding> {
    let mut findings = database(facts).into_iter();
    findings.find(|finding| finding.check == check)
}

fn state(facts: &DatabaseFacts, check: Check) -> CheckState {
    found(facts, check).unwrap().state
}

fn remedy(facts: &DatabaseFacts, check: Check) -> String {
    found(facts, check).unwrap().remedy.unwrap_or_default()
}

#[test]
fn what_is_well_is_ok_in_every_check() {
    let findings = database(&known(0));
    assert!(
        findings
            .iter()
            .all(|finding| finding.state == CheckState::Ok)
    );
    assert!(findings.iter().all(|finding| finding.remedy.is_none()));
    assert_eq!(findings.len(), 9);
}

#[test]
fn a_capture_that_stands_is_told_by_its_newest_commit() {
    assert_eq!(state(&known(6 * MINUTE), Check::CaptureJob), CheckState::Ok);
    let stands = known(7 * MINUTE);
    assert_eq!(state(&stands, Check::CaptureJob), CheckState::Warning);
    assert_eq!(remedy(&stands, Check::CaptureJob), START_CAPTURE_JOB);
    let azure = |age| DatabaseFacts {
        engine_edition: AZURE,
        agent: None,
        has_capture_job: Some(false),
        ..known(age)
    };
    assert_eq!(
        state(&azure(29 * MINUTE), Check::CaptureJob),
        CheckState::Ok
    );
    assert_eq!(
        state(&azure(31 * MINUTE), Check::CaptureJob),
        CheckState::Warning
    );
    assert_eq!(found(&azure(0), Check::Agent), None);
}

#[test]
fn who_reads_the_log_instead_of_the_job_is_told() {
    let no_job = DatabaseFacts {
        has_capture_job: Some(false),
        ..known(0)
    };
    assert_eq!(state(&no_job, Check::CaptureJob), CheckState::Failing);
    assert_eq!(remedy(&no_job, Check::CaptureJob), ADD_CAPTURE_JOB);
    let published = DatabaseFacts {
        published: true,
        ..no_job.clone()
    };
    assert_eq!(state(&published, Check::CaptureJob), CheckState::Ok);
    let stands = DatabaseFacts {
        published: true,
        ..known(7 * MINUTE)
    };
    let found = found(&stands, Check::CaptureJob).unwrap();
    assert!(found.seen.contains("Log Reader Agent") && found.remedy.is_none());
    let replica = DatabaseFacts {
        read_only: true,
        snapshot_allowed: false,
        agent: None,
        ..no_job
    };
    assert_eq!(state(&replica, Check::CaptureJob), CheckState::Ok);
    assert_eq!(state(&replica, Check::Snapshot), CheckState::Ok);
}

#[test]
fn a_scan_that_fails_and_an_agent_that_rests_hold_a_run() {
    let failed = DatabaseFacts {
        scan_error: Some((2628, "truncated".to_string())),
        ..known(0)
    };
    let found_error = found(&failed, Check::CaptureJob).unwrap();
    assert_eq!(found_error.state, CheckState::Failing);
    assert!(found_error.seen.contains("error 2628: truncated"));
    let stopped = DatabaseFacts {
        agent: Some(("SQL Server Agent (X)".to_string(), "Stopped".to_string())),
        ..known(0)
    };
    let found_agent = found(&stopped, Check::Agent).unwrap();
    assert_eq!(found_agent.state, CheckState::Failing);
    assert!(
        found_agent
            .seen
            .starts_with("SQL Server Agent (X) is stopped")
    );
}

#[test]
fn what_the_login_may_not_know_is_unknown() {
    let blind = DatabaseFacts {
        unread_metadata: METADATA.to_vec(),
        sees_scans: false,
        has_performance_state: false,
        has_capture_job: None,
        agent: None,
        reach: None,
        ..known(0)
    };
    for check in [Check::CaptureJob, Check::Agent, Check::Retention] {
        assert_eq!(state(&blind, check), CheckState::Unknown, "{check}");
    }
    assert_eq!(
        remedy(&blind, Check::DatabaseState),
        "GRANT VIEW DATABASE STATE TO [reader];"
    );
    assert_eq!(
        remedy(&blind, Check::Retention),
        "USE msdb;\nCREATE USER [login] FOR LOGIN [login];\nGRANT SELECT ON OBJECT::dbo.cdc_jobs TO [login];\nUSE [app];"
    );
    let azure = DatabaseFacts {
        engine_edition: AZURE,
        ..blind
    };
    assert_eq!(remedy(&azure, Check::Retention), "", "there is no msdb");
}

#[test]
fn capture_that_is_off_asks_for_nothing_else() {
    let off = DatabaseFacts {
        cdc_enabled: false,
        ..known(0)
    };
    assert_eq!(state(&off, Check::Capture), CheckState::Failing);
    assert_eq!(found(&off, Check::CaptureJob), None);
    let express = DatabaseFacts {
        engine_edition: EXPRESS,
        ..off
    };
    assert_eq!(remedy(&express, Check::Capture), "");
}

#[test]
fn a_reader_that_is_half_the_retention_behind_is_warned() {
    let facts = known(0);
    let after = |hours: i64| retention_for(&facts, hours * 60 * MINUTE);
    assert_eq!(after(36).state, CheckState::Ok);
    let late = after(48);
    assert_eq!(late.state, CheckState::Warning);
    assert_eq!(late.remedy.unwrap(), keep(6 * 24 * 60));
    assert_eq!(after(-1).state, CheckState::Ok);
}

#[test]
fn spans_have_two_units() {
    let spans = [0, 59_999, 61_000, 3_660_000, 90_000_000, -5].map(span);
    assert_eq!(
        spans,
        ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h", "0 s"]
    );
}
