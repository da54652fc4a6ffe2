//! TRIGGER ON UPDATE AT MOST EVERY: flows that are followed go at the pace that their table says.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::follow::Follower;
use crate::served::Served;

const CONNECTION: &str = "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));\n";

/// A mirror of `dbo.a` that is executed every so often, and one of `dbo.b` that is executed whenever it has changed.
fn served(interval: &str) -> Served {
    let served = Served::new();
    served.execute(
        "CREATE TABLE dbo.b (id INT NOT NULL PRIMARY KEY, a INT NOT NULL);
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
         INSERT INTO dbo.b VALUES (1, 1);",
    );
    let file = format!(
        "{CONNECTION}
         CREATE STREAMING TABLE a LOCATION 'lake/a' TRIGGER ON UPDATE AT MOST EVERY INTERVAL {interval}
         FLOW AUTO CDC FROM STREAM db.dbo.a CHANGES;
         CREATE STREAMING TABLE b LOCATION 'lake/b' FLOW AUTO CDC FROM STREAM db.dbo.b CHANGES;"
    );
    served.project.write("pipelines/p.sql", &file);
    served
}

fn follow(served: &Served, more: &[&str]) -> Follower {
    let arguments = ["run", "pipelines/p.sql", "--follow", "--every", "50ms"];
    Follower::spawn(served.command(&[&arguments, more].concat()))
}

fn told_at(line: &str) -> DateTime<Utc> {
    let told: Value = serde_json::from_str(line).unwrap();
    told["timestamp"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_flow_waits_until_its_interval_has_passed_and_then_takes_all() {
    let served = served("2 SECONDS");
    let mut follower = follow(&served, &["--flow", "a", "--log-format", "json"]);
    let begun = told_at(&follower.wait_for(&["\"event\":\"first_copy\"", "\"flow\":\"a\""]));
    follower.wait_for(&["\"event\":\"copied\""]);
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
    let window = told_at(&follower.wait_for(&["\"event\":\"window\"", "\"updated\":1"]));
    // The copy began a little before it was told.
    assert!(
        window - begun > TimeDelta::seconds(1),
        "{begun} .. {window}"
    );
    served.execute("DELETE FROM dbo.a WHERE id = 2;");
    let next = told_at(&follower.wait_for(&["\"event\":\"window\"", "\"deleted\":1"]));
    assert!(next - window > TimeDelta::seconds(1), "{window} .. {next}");
    let _ = follower.end("-TERM");
    served.assert_true();
}

#[test]
fn others_do_not_wait_for_it_and_a_run_without_follow_does_not_wait_at_all() {
    let served = served("1 HOUR");
    let mut follower = follow(&served, &[]);
    follower.wait_for(&["first copy:"]);
    follower.wait_for(&["first copy:"]);
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1; UPDATE dbo.a SET n = 60 WHERE id = 2;");
    for id in 2..5 {
        served.execute(&format!("INSERT INTO dbo.b VALUES ({id}, 1);"));
        follower.wait_for(&["b: 1 inserted"]);
    }
    let ended = follower.end("-TERM");
    assert!(!ended.stderr.contains("a: reading"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("2 updated"), "{}", ended.stderr);
    let run = served.run().succeeded();
    assert!(
        run.stderr.contains("a: 0 inserted, 2 updated, 0 deleted"),
        "{}",
        run.stderr
    );
    served.execute("DELETE FROM dbo.a WHERE id = 3;");
    let run = served.run().succeeded();
    assert!(
        run.stderr.contains("0 updated, 1 deleted"),
        "{}",
        run.stderr
    );
    served.assert_true();
}

/// What is looked up is never older than the row that looks it up, though its flow waits.
#[test]
fn a_flow_waits_for_one_that_waits_and_whose_target_it_looks_up() {
    let served = served("2 SECONDS");
    served.edit(
        "FROM STREAM db.dbo.b CHANGES",
        "FROM (SELECT b.id, a.code FROM STREAM db.dbo.b CHANGES AS b LEFT JOIN a ON a.id = b.a)",
    );
    let mut follower = follow(&served, &[]);
    follower.wait_for(&["b: first copy:"]);
    for round in 5..7 {
        served.execute(&format!(
            "BEGIN TRAN; INSERT INTO dbo.a VALUES ({round}, {round}00, 1, 0);
             INSERT INTO dbo.b VALUES ({round}, {round}); COMMIT;"
        ));
        follower.wait_for(&["b: 1 inserted"]);
    }
    let _ = follower.end("-TERM");
    assert_eq!(
        served.csv("SELECT id, code FROM b ORDER BY id"),
        "id,code\n1,10\n5,500\n6,600\n"
    );
}

#[test]
fn the_plan_tells_the_interval_and_the_default() {
    let served = served("90 SECONDS");
    let plan = served
        .cdcql(&["plan", "pipelines/p.sql"])
        .succeeded()
        .stdout;
    for line in [
        "TRIGGER = on changes, at most every 90 seconds\n",
        "TRIGGER = on every change (default)\n",
    ] {
        assert!(plan.contains(line), "{plan}");
    }
    let plan = ["plan", "pipelines/p.sql", "--flow", "a", "--format", "json"];
    let plan: Value = serde_json::from_str(&served.cdcql(&plan).succeeded().stdout).unwrap();
    let settings = plan["settings"].as_array().unwrap();
    let trigger = settings
        .iter()
        .find(|setting| setting["name"] == "TRIGGER")
        .unwrap();
    assert_eq!(trigger["value"], "on changes, at most every 90 seconds");
}
