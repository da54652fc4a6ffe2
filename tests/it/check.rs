//! `cdcql check`: what is wrong with a file, without a server.

use crate::support::{Ended, Project};

const FILE: &str = "pipelines/p.sql";

/// A file in which nothing is wrong, over a server that nobody can reach.
const SOUND: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (host '127.0.0.1', port '1', database 'd', user 'u', password secret('env', 'P'));
CREATE TABLE IF NOT EXISTS a (id INT, n INT) USING DELTA LOCATION 'lake/a';
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
";

fn checked(text: &str) -> Ended {
    let project = Project::new();
    project.write(FILE, text);
    let ended = project.cdcql(&["check", FILE]);
    assert!(!project.path().join("pipelines/lake").exists());
    ended
}

/// The lines of stderr that name a place, in their order.
fn places(ended: &Ended) -> Vec<&str> {
    let lines = ended.stderr.lines();
    lines
        .filter(|line| line.starts_with("pipelines/p.sql:"))
        .collect()
}

fn changed(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from:?} is not in the file");
    SOUND.replace(from, to)
}

#[test]
fn a_sound_file_is_told_without_its_server_and_its_secrets() {
    let ended = checked(SOUND).succeeded();
    assert_eq!(ended.stdout, "");
    let said = "pipelines/p.sql: no error in 1 flow and 2 other statements\n";
    assert_eq!(ended.stderr, said);
}

#[test]
fn variables_that_are_not_set_are_told_and_hold_nothing() {
    let text = changed("'lake/a'", "env('CDCQL_NOT_SET') OPTIONS (region 'eu')").replace(
        "host '127.0.0.1', port '1'",
        "url env('CDCQL_NOT_SET_EITHER')",
    );
    let ended = checked(&text).succeeded();
    for name in ["CDCQL_NOT_SET ", "CDCQL_NOT_SET_EITHER "] {
        let said = format!("the environment variable {name}is not set here");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    }
}

#[test]
fn all_errors_are_told_in_the_order_of_the_file() {
    let text = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (hots 'h');
CREATE CONNECTION other TYPE sqlserver OPTIONS (host 'h', port 'many', database 'd', user 'u', password 'p');
CREATE TABLE a (id INT, n NUMBER_OF_SORTS) USING DELTA LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onGapp' = 'fail');
CREATE TABLE b USING DELTA LOCATION 'lake/b' TBLPROPERTIES ('cdcql.onGap' = 'sometimes');
CREATE TABLE c USING DELTA LOCATION '';
CREATE TABLE d USING DELTA LOCATION 'lake/d';
SELECT 1;
MERGE INTO d AS t USING STREAM other.dbo.a CHANGES AS c ON t.id = c.id WHEN MATCHED THEN UPDATE SET *;
MERGE INTO d AS t USING STREAM other.dbo.b CHANGES AS c ON t.id = c.id WHEN MATCHED THEN UPDATE SET *;
MERGEE INTO b USING x;
";
    let ended = checked(text).failed(3, &["^", "error"]);
    let told = places(&ended);
    let expected = [
        ":1:46: error: unknown option `hots`",
        ":2:19: error: ",
        ":3:",
        ":4:61: error: cdcql.onGap = 'sometimes' is no policy",
        ":5:14: error: the LOCATION of 'c' is empty",
        ":7:1: error: a run executes flows",
        ":9:12: error: a second flow writes 'd'",
        ":10:1: error: expected",
    ];
    assert_eq!(told.len(), expected.len(), "{}", ended.stderr);
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "no {expected} in {told}");
    }
    for help in [
        "did you mean `host`?",
        "did you mean `cdcql.onGap`?",
        "did you mean MERGE?",
    ] {
        assert!(ended.stderr.contains(help), "no {help} in {}", ended.stderr);
    }
}

#[test]
fn names_that_nothing_declares_are_told_with_the_nearest() {
    for (from, to, words) in [
        (
            "STREAM db.",
            "STREAM bd.",
            &[
                "p.sql:3:",
                "there is no connection 'bd'; did you mean 'db'?",
            ],
        ),
        (
            "MERGE INTO a ",
            "MERGE INTO aa ",
            &["p.sql:3:12", "there is no Delta table 'aa'"],
        ),
        (
            "STREAM db.dbo.a",
            "STREAM dbo.a",
            &["p.sql:3:", "'dbo.a' does not name a connection"],
        ),
        (
            "EXISTS a ",
            "EXISTS s.a ",
            &["p.sql:2:", "there is no schema 's'"],
        ),
        (
            "THEN UPDATE SET *",
            "THEN UPDATE SET nn = change.n",
            &["p.sql:5:", "the target has no column `nn`"],
        ),
        (
            "USING STREAM db.dbo.a CHANGES",
            "USING (SELECT s.id, x.n FROM STREAM db.dbo.a CHANGES AS s LEFT JOIN shop AS x ON x.id = s.id)",
            &["p.sql:3:", "there is no table 'shop'"],
        ),
        (
            "USING STREAM db.dbo.a CHANGES",
            "USING (SELECT s.id, x.n FROM STREAM db.dbo.a CHANGES AS s LEFT JOIN db.dbo.b VERSION AS OF 3 AS x ON x.id = s.id)",
            &["p.sql:3:", "has no versions to go back to"],
        ),
    ] {
        let _ = checked(&changed(from, to)).failed(3, words);
    }
    let text = changed("EXISTS a ", "EXISTS silber.a ");
    let text = format!("CREATE SCHEMA silver LOCATION 'lake/silver';\n{text}");
    let _ = checked(&text).failed(3, &["there is no schema 'silber'; did you mean 'silver'?"]);
    let text = changed("LOCATION 'lake/a'", "PARTITIONED BY (mm) LOCATION 'lake/a'")
        .replace("n INT", "m INT");
    let _ = checked(&text).failed(3, &["partition column 'mm'", "did you mean 'm'?"]);
    let views = format!(
        "{SOUND}CREATE VIEW v AS SELECT * FROM w;\nCREATE VIEW w AS SELECT * FROM db.dbo.x;\n"
    );
    let _ = checked(&views).succeeded();
}

#[test]
fn what_a_flow_cannot_do_with_its_policies_is_told() {
    for (policy, from, to, words) in [
        (
            "'cdcql.onGap' = 'resnapshot'",
            "WHEN MATCHED AND change._change_type = 'delete' THEN DELETE\n",
            "",
            &["p.sql:3:12", "'cdcql.onGap' = 'resnapshot' cannot delete"],
        ),
        (
            "'cdcql.onSchemaChange' = 'add'",
            "CHANGES AS change",
            "CHANGES WITH (snapshot = false) AS change",
            &["p.sql:3:", "begins without a copy of its table"],
        ),
        (
            "'delta.enableChangeDataFed' = 'true'",
            "CHANGES AS change",
            "CHANGES FROM VERSION 'x' AS change",
            &["p.sql:2:", "did you mean 'delta.enableChangeDataFeed'?"],
        ),
        (
            "'cdcql.deletionVectors' = 'on'",
            "CHANGES AS change",
            "CHANGES FROM TIMESTAMP 'yesterday' AS change",
            &["p.sql:3:", "'yesterday' is not an instant"],
        ),
    ] {
        let target = format!("'lake/a' TBLPROPERTIES ({policy})");
        let text = changed("'lake/a'", &target).replace(from, to);
        let _ = checked(&text).failed(3, words);
    }
}

#[test]
fn a_declaration_that_cannot_be_read_does_not_make_its_names_unknown() {
    let ended =
        checked(&changed("USING DELTA", "USING DELTTA")).failed(3, &["p.sql:2:", "expected DELTA"]);
    assert_eq!(places(&ended).len(), 1, "{}", ended.stderr);
    let ended =
        checked(&changed("OPTIONS (host", "OPTIONS (hosst")).failed(3, &["did you mean `host`?"]);
    assert_eq!(places(&ended).len(), 1, "{}", ended.stderr);
}

#[test]
fn a_hundred_errors_are_told_and_the_others_counted() {
    let ended = checked(&"SELCT 1;\n".repeat(150)).failed(3, &["and 50 more errors"]);
    assert_eq!(places(&ended).len(), 100);
}

#[test]
fn a_run_tells_the_same_before_it_connects() {
    let project = Project::new();
    let text = changed("MERGE INTO a", "MERGE INTO aa").replace("STREAM db.", "STREAM dbb.");
    project.write(FILE, &text);
    for command in ["run", "status", "doctor", "plan", "verify", "check"] {
        let ended = project.cdcql(&[command, FILE]).failed(
            3,
            &[
                "there is no Delta table 'aa'",
                "there is no connection 'dbb'",
            ],
        );
        assert_eq!(places(&ended).len(), 2, "{}", ended.stderr);
    }
    project.write(FILE, &format!("SELCT 1;\n{text}"));
    for command in ["run", "status", "doctor", "plan", "verify", "check"] {
        let ended = project
            .cdcql(&[command, FILE])
            .failed(3, &["did you mean SELECT?"]);
        assert_eq!(places(&ended).len(), 3, "{}", ended.stderr);
    }
}

#[test]
fn all_flows_that_do_not_fit_their_sources_are_told_at_once() {
    let project = Project::new();
    let text = "\
CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');
CREATE TABLE a USING DELTA LOCATION 'lake/a';
CREATE TABLE b USING DELTA LOCATION 'lake/b';
CREATE TABLE c USING DELTA LOCATION 'lake/c';
MERGE INTO a AS t USING STREAM app_db.dbo.nowhere CHANGES AS c ON t.id = c.id WHEN NOT MATCHED THEN INSERT *;
MERGE INTO b AS t USING STREAM app_db.dbo.customers CHANGES AS c ON t.id = c.idd WHEN NOT MATCHED THEN INSERT *;
MERGE INTO c AS t USING STREAM app_db.dbo.customers CHANGES AS c ON t.customer_id = c.customer_id WHEN NOT MATCHED THEN INSERT (x) VALUES (c.y);
";
    project.write(FILE, text);
    for command in ["run", "plan"] {
        let ended = project.cdcql(&[command, FILE]);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let told = places(&ended);
        assert_eq!(told.len(), 3, "{}", ended.stderr);
        for (told, line) in told.iter().zip([":5:", ":6:", ":7:"]) {
            assert!(told.contains(line), "{told}");
        }
        assert!(!project.path().join("pipelines/lake").exists());
    }
}
