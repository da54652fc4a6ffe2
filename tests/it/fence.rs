//! The fence of a copy: capture comes later than the table's rows, and the copy is the table as of a commit all the
//! same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cdcql::engine::{ConnectionResolver, Engine, EngineOptions};
use cdcql::pipeline::{Event, Pipeline, Reporter, RunOptions};
use cdcql::simulator::control::{ClientSession, Fault};
use cdcql::simulator::{Behaviour, CaptureBehaviour, CaptureJob, ReplicaClients};
use cdcql::sql::{SourceText, parse};

use crate::follow::Follower;
use crate::served::Served;

/// A login that may not see the scans of the log.
const READER: &str = "CREATE LOGIN reader WITH PASSWORD = N'Read3r!'
CREATE USER reader FOR LOGIN reader
GRANT SELECT ON SCHEMA::cdc TO reader
GRANT SELECT ON dbo.a TO reader";

/// Puts the capture instance in another one's place, so that the changes between are lost.
const RECAPTURE: [&str; 3] = [
    "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'all';",
    "DELETE FROM dbo.a WHERE id = 4; UPDATE dbo.a SET n = 100 WHERE id = 1;",
    "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;",
];

/// Statements that change no captured table and move the clock by ten seconds.
const TEN_SECONDS: &str =
    "CREATE TABLE dbo.o (n INT); DROP TABLE dbo.o; CREATE TABLE dbo.o (n INT); DROP TABLE dbo.o;
CREATE TABLE dbo.o (n INT); DROP TABLE dbo.o; CREATE TABLE dbo.o (n INT); DROP TABLE dbo.o;
CREATE TABLE dbo.o (n INT); DROP TABLE dbo.o;";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Login {
    SeesScans,
    SeesTheClock,
    /// It sees the scans of the primary, and reads from a replica.
    ReadsReplica,
}

impl Login {
    /// Tens of seconds by which a commit must be later than the read.
    fn tens(self) -> usize {
        match self {
            Self::SeesScans | Self::SeesTheClock => 1,
            Self::ReadsReplica => 6,
        }
    }
}

/// A database whose capture is held, and the URL of a login.
fn held(login: Login) -> (Served, String) {
    let served = Served::behaving(Behaviour {
        seed: Some(11),
        replica_lag: if login == Login::ReadsReplica { 3 } else { 0 },
        replica_clients: ReplicaClients::Readers,
        capture: CaptureBehaviour::default(),
        ..Behaviour::default()
    });
    served.execute(READER);
    served.capture().hold();
    let url = served.simulator().url();
    let (_, server) = url.split_once('@').unwrap();
    let url = match login {
        Login::SeesScans => url,
        Login::SeesTheClock => format!("sqlserver://reader:Read3r!@{server}"),
        Login::ReadsReplica => {
            served.url("trust_server_certificate=true&application_intent=read_only")
        }
    };
    (served, url)
}

/// Waits until a copy has looked twice how far capture is.
fn looks(served: &Served) {
    for _ in 0..2 {
        let mut look = served
            .simulator()
            .control()
            .on_next("AS server_local OPTION", Fault::Interjections);
        served.runtime.block_on(look.struck()).unwrap();
    }
}

/// Copies the table while capture is behind, and comes later to changes of before, during and after the copy's read.
fn copy(served: &Served, url: &str, login: Login) {
    served.execute(
        "UPDATE dbo.a SET n = 50 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;
         INSERT INTO dbo.a VALUES (2, 21, 22, 1); DELETE FROM dbo.a WHERE id = 3;
         INSERT INTO dbo.a VALUES (5, 50, 5, 0); UPDATE dbo.a SET id = 6 WHERE id = 5;",
    );
    let mut command = served.command(&["--log-format", "json", "run", "pipelines/p.sql"]);
    command.env("DB_URL", url);
    let mut run = Follower::spawn(command);
    run.wait_for(&["waiting_for_capture"]);
    let fixed = served.capture().fix_log_end();
    served.execute(
        "UPDATE dbo.a SET n = 51 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;
         INSERT INTO dbo.a VALUES (3, 30, 33, 1);",
    );
    looks(served);
    served.runtime.block_on(fixed.write());
    // What was read is captured now, and nothing shows that yet.
    looks(served);
    for _ in 0..login.tens() {
        served.execute(TEN_SECONDS);
    }
    served.execute("UPDATE dbo.a SET n = 60 WHERE id = 6;");
    let at_fence = served.rows("db.dbo.a");
    let fixed = served.capture().fix_log_end();
    served.execute("DELETE FROM dbo.a WHERE id = 6; UPDATE dbo.a SET n = 34 WHERE id = 3;");
    served.runtime.block_on(fixed.write());
    let ended = run.ended().succeeded();
    let waits = ended.stderr.matches("waiting_for_capture").count();
    assert_eq!(waits, 1, "{}", ended.stderr);
    assert_eq!(served.rows("a"), at_fence, "{login:?}");
    served.runtime.block_on(served.capture().step());
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_first_copy_is_the_table_as_of_a_commit_past_its_read() {
    for login in [Login::SeesScans, Login::SeesTheClock] {
        let (served, url) = held(login);
        copy(&served, &url, login);
    }
}

/// The replica is behind at first, and comes nearer with each look.
#[test]
fn a_first_copy_from_a_replica_and_the_window_after_it_are_the_table_as_of_a_commit() {
    let (served, url) = held(Login::ReadsReplica);
    let sessions = served.simulator().control().sessions();
    copy(&served, &url, Login::ReadsReplica);
    served.execute("DELETE FROM dbo.a WHERE id = 2; INSERT INTO dbo.a VALUES (7, 70, 7, 1);");
    served.runtime.block_on(served.capture().step());
    let mut command = served.command(&["--log-format", "json", "run", "pipelines/p.sql"]);
    command.env("DB_URL", &url);
    let mut look = served
        .simulator()
        .control()
        .on_next("AS is_newest", Fault::Stall);
    let mut run = Follower::spawn(command);
    run.reach(&served.runtime, &mut look);
    let all_read = |session: &ClientSession| session.read_only;
    assert!(sessions.borrow().iter().any(all_read));
    look.release();
    let ended = run.ended().succeeded();
    assert!(
        ended.stderr.contains("\"event\":\"window\""),
        "{}",
        ended.stderr
    );
    served.assert_true();
}

#[test]
fn a_copy_over_a_gap_is_the_table_as_of_a_commit_past_its_read() {
    for login in [Login::SeesScans, Login::SeesTheClock] {
        let (served, url) = held(login);
        let table = "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onGap' = 'resnapshot')";
        served.edit("LOCATION 'lake/a'", table);
        served.capture().release();
        let _ = served.run().succeeded();
        for statements in RECAPTURE {
            served.execute(statements);
        }
        served.capture().hold();
        copy(&served, &url, login);
    }
}

#[test]
fn a_copy_that_capture_does_not_come_past_ends_with_the_cause() {
    let causes = [
        (
            Login::SeesScans,
            "ended no scan of the log that began after the table was read",
        ),
        (Login::SeesTheClock, "GRANT VIEW DATABASE STATE"),
    ];
    for (login, cause) in causes {
        let (served, url) = held(login);
        served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let reporter = Reporter::new(move |event| seen.lock().unwrap().push(event));
        let options = RunOptions {
            capture_wait: Duration::from_millis(100),
            ..RunOptions::default()
        };
        let reports = served.runtime.block_on(async {
            let pipeline = pipeline(&served, &url).await;
            pipeline.run(options, &reporter).await
        });
        let error = reports[0].result.as_ref().unwrap_err();
        let text = error.cause().to_string();
        assert!(text.contains("check that SQL Server Agent runs"), "{text}");
        assert!(text.contains(cause), "{text}");
        assert_eq!(error.exit_code(), 1);
        let events = events.lock().unwrap();
        let waits = events
            .iter()
            .filter(|event| matches!(event, Event::WaitingForCapture { .. }));
        assert_eq!(waits.count(), 1);
        let log = served.project.path().join("pipelines/lake/a/_delta_log");
        assert_eq!(std::fs::read_dir(log).map_or(0, Iterator::count), 0);
    }
}

async fn pipeline(served: &Served, url: &str) -> Pipeline {
    let options = EngineOptions {
        memory_limit: 64 << 20,
        directory: served.project.path().join("pipelines"),
        resolver: ConnectionResolver::new(|url, _| Box::pin(async move { Ok(url) })),
    };
    let text = served.project.read("pipelines/p.sql");
    let text = SourceText {
        name: "p.sql".to_string(),
        text: text.replace("env('DB_URL')", &format!("'{url}'")),
    };
    let engine = Engine::try_new(options).unwrap();
    let statements = parse(&text).unwrap();
    Pipeline::bind(engine, statements, None).await.unwrap()
}

#[test]
fn a_login_that_may_not_see_the_scans_copies_from_a_server_that_dates_idle_databases() {
    let served = Served::behaving(Behaviour {
        capture_job: CaptureJob::Every(Duration::from_millis(5)),
        capture: CaptureBehaviour {
            idle_period: Duration::from_secs(1),
            ..CaptureBehaviour::default()
        },
        ..Behaviour::default()
    });
    served.execute(READER);
    let url = served.simulator().url();
    let (_, server) = url.split_once('@').unwrap();
    let mut command = served.command(&["--log-format", "json", "run", "pipelines/p.sql"]);
    command.env("DB_URL", format!("sqlserver://reader:Read3r!@{server}"));
    let mut run = Follower::spawn(command);
    run.wait_for(&["waiting_for_capture"]);
    looks(&served);
    served.execute(TEN_SECONDS);
    served.execute("CREATE TABLE dbo.o (n INT); DROP TABLE dbo.o;");
    let _ = run.ended().succeeded();
    served.assert_true();
}
