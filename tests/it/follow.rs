//! `cdcql run --follow`: each change arrives by itself, and what goes wrong with one flow is that flow's alone.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use cdcql::simulator::Behaviour;
use cdcql::simulator::control::{Fault, LoginFault, PendingFault};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::served::Served;
use crate::support::Ended;

/// A second table beside the one that every [`Served`] has, and a flow of it.
const SECOND_TABLE: &str = "CREATE TABLE dbo.b (id INT NOT NULL PRIMARY KEY, v NVARCHAR(10) NULL);
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
INSERT INTO dbo.b VALUES (1, N'x');";
const SECOND_FLOW: &str = "
CREATE TABLE IF NOT EXISTS b USING DELTA LOCATION 'lake/b';
MERGE INTO b AS target USING STREAM db.dbo.b CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
";

fn served() -> Served {
    Served::new()
}

pub(crate) fn with_second_flow(served: Served) -> Served {
    served.execute(SECOND_TABLE);
    let file = served.project.read("pipelines/p.sql");
    served
        .project
        .write("pipelines/p.sql", &(file + SECOND_FLOW));
    served
}

/// The program at work, as when it follows.
pub(crate) struct Follower {
    child: Child,
    told: BufReader<ChildStderr>,
    seen: String,
}

impl Follower {
    fn start(served: &Served, more: &[&str]) -> Self {
        let arguments = [&["run", "pipelines/p.sql", "--follow"], more].concat();
        Self::spawn(served.command(&arguments))
    }

    /// Starts `command`.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let seen = String::new();
        Self { child, told, seen }
    }

    /// Waits for a line with all of `words`, and answers with it.
    pub(crate) fn wait_for(&mut self, words: &[&str]) -> String {
        loop {
            let mut line = String::new();
            let bytes = self.told.read_line(&mut line).unwrap();
            assert!(bytes > 0, "it ended without {words:?}:\n{}", self.seen);
            self.seen.push_str(&line);
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by a signal.
    pub(crate) fn end(mut self, signal: &str) -> Ended {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
        self.ended()
    }

    /// Waits until it comes to the statement of a fault.
    pub(crate) fn reach(&mut self, runtime: &Runtime, fault: &mut PendingFault) {
        let look = Duration::from_millis(50);
        while runtime
            .block_on(async { timeout(look, fault.struck()).await })
            .is_err()
        {
            if self.child.try_wait().unwrap().is_some() {
                panic!("it ended before:\n{}", self.ended().stderr);
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        std::io::Read::read_to_string(&mut self.told, &mut self.seen).unwrap();
        Ended {
            code,
            stdout: String::new(),
            stderr: self.seen.clone(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
    }
}

#[test]
fn changes_arrive_as_they_are_made_until_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let served = served();
        let mut follower = Follower::start(&served, &[]);
        follower.wait_for(&["a: first copy: 4 inserted"]);
        served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
        follower.wait_for(&["a: 0 inserted, 1 updated, 0 deleted"]);
        served.execute("DELETE FROM dbo.a WHERE id = 2;");
        follower.wait_for(&["a: 0 inserted, 0 updated, 1 deleted"]);
        let ended = follower.end(signal);
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
        served.assert_true();
    }
}

#[test]
fn a_flow_that_fails_for_good_does_not_hold_the_other() {
    let served = with_second_flow(served());
    let mut follower = Follower::start(&served, &["--every", "50ms"]);
    follower.wait_for(&["first copy:"]);
    follower.wait_for(&["first copy:"]);
    served.execute(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', \
         @capture_instance = N'all';",
    );
    follower.wait_for(&["a: stopped:"]);
    served.execute("INSERT INTO dbo.b VALUES (2, N'y');");
    follower.wait_for(&["b: 1 inserted"]);
    // The last flow's end is the end of all.
    served.execute(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'b', \
         @capture_instance = N'all';",
    );
    follower.wait_for(&["b: stopped:"]);
    let ended = follower.ended();
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
}

#[test]
fn a_flow_goes_over_to_its_tables_second_capture_instance() {
    let served = served();
    let mut follower = Follower::start(&served, &["--every", "50ms"]);
    follower.wait_for(&["a: first copy:"]);
    served.execute(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
         @capture_instance = N'second';
         UPDATE dbo.a SET n = 50 WHERE id = 1;",
    );
    follower.wait_for(&["a: 0 inserted, 1 updated"]);
    served.execute(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', \
         @capture_instance = N'dbo_a';
         UPDATE dbo.a SET n = 51 WHERE id = 1;",
    );
    follower.wait_for(&["a: 0 inserted, 1 updated"]);
    let _ = follower.end("-TERM");
    served.assert_true();
}

#[test]
fn a_connection_that_is_cut_and_a_server_that_goes_away_are_outlasted() {
    let served = Served::in_hand();
    let control = served.simulator().control();
    let mut follower = Follower::start(&served, &["--every", "50ms"]);
    follower.wait_for(&["a: first copy:"]);
    for fault in [Fault::CutInRow { after: 0 }, Fault::DeadlockVictim] {
        let _fault = control.on_next("SELECT c.[__$start_lsn], c.[__$operation]", fault);
        served.execute("UPDATE dbo.a SET n = n + 1 WHERE id = 1;");
        follower.wait_for(&["trying again"]);
        follower.wait_for(&["a: 0 inserted, 1 updated"]);
    }
    control.set_logins(Some(LoginFault::Close));
    control.kill_all();
    follower.wait_for(&["trying again"]);
    control.set_logins(None);
    served.execute("DELETE FROM dbo.a WHERE id = 2;");
    follower.wait_for(&["a: 0 inserted, 0 updated, 1 deleted"]);
    let _ = follower.end("-TERM");
    served.assert_true();
}

/// The flow is looked at again when its own pause is over, however seldom the others are.
#[test]
fn a_source_that_cannot_be_asked_is_asked_again_after_growing_pauses() {
    let served = Served::in_hand();
    let _ = served.run().succeeded();
    served.execute("DELETE FROM dbo.a WHERE id = 2;");
    let control = served.simulator().control();
    let _faults = [(); 3].map(|()| control.on_next("AS is_newest", Fault::DeadlockVictim));
    let mut follower = Follower::start(&served, &["--every", "60m", "--log-format", "json"]);
    for least in [0.25, 0.5, 1.0] {
        let line = follower.wait_for(&["\"event\":\"retry\"", "deadlock"]);
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let pause = told["pause_seconds"].as_f64().unwrap();
        assert!((least..=2.0 * least).contains(&pause), "{line}");
    }
    follower.wait_for(&["\"event\":\"window\"", "\"deleted\":1"]);
    let _ = follower.end("-TERM");
    served.assert_true();
}

#[test]
fn a_table_is_maintained_in_the_pauses() {
    let served = Served::behaving(Behaviour::default());
    let mut follower = Follower::start(&served, &["--every", "20ms", "--window-transactions", "1"]);
    follower.wait_for(&["a: first copy:"]);
    for n in 0..25 {
        served.execute(&format!("UPDATE dbo.a SET n = 100 + {n} WHERE id = 1;"));
    }
    follower.wait_for(&["a: maintained:"]);
    let _ = follower.end("-TERM");
    // The last changes may have come after the commits that were enough.
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn programs_are_told_in_objects() {
    let served = served();
    let mut follower = Follower::start(&served, &["--log-format", "json"]);
    follower.wait_for(&["\"event\":\"copied\"", "\"flow\":\"a\"", "\"inserted\":4"]);
    served.execute("DELETE FROM dbo.a WHERE id = 2;");
    follower.wait_for(&["\"event\":\"window\"", "\"deleted\":1", "\"version\":1"]);
    let ended = follower.end("-TERM");
    for line in ended.stderr.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            object["timestamp"].is_string() && object["event"].is_string(),
            "{line}"
        );
    }
    assert!(
        ended.stderr.contains("\"exit_code\":130"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_table_that_is_gone_is_not_copied_anew_unasked() {
    let served = served();
    let mut follower = Follower::start(&served, &["--every", "50ms"]);
    follower.wait_for(&["a: first copy:"]);
    let lake = served.project.path().join("pipelines/lake");
    std::fs::rename(lake.join("a"), lake.join("b")).unwrap();
    // A look that has begun before may miss it in another way.
    follower.wait_for(&["a: stopped:"]);
    let ended = follower.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(!lake.join("a").exists());
}

#[test]
fn a_flow_that_stops_is_told_even_quietly() {
    let served = served();
    let _ = served.run().succeeded();
    served.execute(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'all';
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;",
    );
    let mut follower = Follower::start(&served, &["--quiet"]);
    let told = follower.wait_for(&["a: stopped:"]);
    assert_eq!(follower.seen, told);
    let ended = follower.ended();
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
}
