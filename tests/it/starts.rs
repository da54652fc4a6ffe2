//! Flows that begin without a copy of their table.

use crate::served::Served;

/// A pipeline whose stream has this after CHANGES.
fn starting(clause: &str) -> Served {
    let served = Served::new();
    start(&served, clause);
    served
}

fn start(served: &Served, clause: &str) {
    let text = served.project.read("pipelines/p.sql");
    let (before, after) = text.split_once(" CHANGES").unwrap();
    let (_, after) = after.split_once(" AS change").unwrap();
    let text = format!("{before} CHANGES {clause} AS change{after}");
    served.project.write("pipelines/p.sql", &text);
}

fn ids(served: &Served) -> String {
    let rows = served.csv("SELECT id, n FROM a ORDER BY id");
    rows.lines().skip(1).collect::<Vec<_>>().join(" ")
}

fn newest(served: &Served) -> (String, String) {
    let status = served.cdcql(&["status", "pipelines/p.sql", "--format", "json"]);
    let status = status.succeeded().stdout;
    let value = |name: &str| {
        let (_, rest) = status.split_once(&format!("\"{name}\":\"")).unwrap();
        rest.split_once('"').unwrap().0.to_string()
    };
    (value("source_lsn"), value("source_time"))
}

#[test]
fn a_flow_that_begins_now_has_what_changes_from_then_on() {
    let served = starting("WITH (snapshot = false)");
    let first = served.run().succeeded();
    assert!(first.stderr.contains("0 inserted"), "{}", first.stderr);
    assert_eq!((ids(&served).as_str(), served.commits()), ("", 1));
    served.execute(
        "UPDATE dbo.a SET n = 7 WHERE id = 1; INSERT INTO dbo.a VALUES (9, 90, 9, 0); DELETE FROM dbo.a WHERE id = 2;",
    );
    let _ = served.run().succeeded();
    assert_eq!(ids(&served), "1,7 9,9");
    assert!(served.run().succeeded().stderr.contains("nothing new"));
    let verified = served.cdcql(&["verify", "pipelines/p.sql"]);
    assert_eq!(verified.code, Some(3), "{}", verified.stderr);
    let reason = "begins without a copy of the table";
    assert!(verified.stderr.contains(reason), "{}", verified.stderr);
}

#[test]
fn a_flow_begins_with_the_changes_from_a_commit_or_an_instant_on() {
    let served = Served::new();
    served.execute("UPDATE dbo.a SET n = 7 WHERE id = 1;");
    let (lsn, time) = newest(&served);
    served.execute("UPDATE dbo.a SET n = 8 WHERE id = 2;");
    served.execute("DELETE FROM dbo.a WHERE id = 1; INSERT INTO dbo.a VALUES (9, 90, 9, 0);");
    let starts = [
        (format!("FROM VERSION '{lsn}'"), "2,8 9,9"),
        (format!("FROM VERSION '{lsn}' EXCLUSIVE"), "2,8 9,9"),
        (
            format!("FROM TIMESTAMP '{time}' EXCLUSIVE WITH (snapshot = false)"),
            "2,8 9,9",
        ),
        (
            "FROM VERSION '0000002a:00000030:0000'".to_string(),
            "2,8 4,4 9,9",
        ),
    ];
    for (place, (clause, rows)) in starts.iter().enumerate() {
        start(&served, clause);
        let text = served.project.read("pipelines/p.sql");
        let text = text.replace("'lake/a'", &format!("'lake/{place}'"));
        let text = text.replace(
            &format!("'lake/{}'", place.wrapping_sub(1)),
            &format!("'lake/{place}'"),
        );
        served.project.write("pipelines/p.sql", &text);
        let windows = ["run", "pipelines/p.sql", "--window-transactions", "1"];
        let _ = served.cdcql(&windows).succeeded();
        assert_eq!(&ids(&served), rows, "{clause}");
        assert!(served.run().succeeded().stderr.contains("nothing new"));
    }
}

#[test]
fn a_start_that_the_source_does_not_have_is_refused() {
    let served = starting("FROM VERSION 'ffffffff:00000000:0001'");
    let _ = served
        .run()
        .failed(1, &["begins past the newest commit of its source"]);
    start(&served, "FROM TIMESTAMP '2199-01-01T00:00:00Z'");
    let _ = served
        .run()
        .failed(1, &["begins past the newest commit of its source"]);
    start(&served, "FROM VERSION '00000001:00000000:0001'");
    let _ = served.run().failed(5, &["are no longer on the server"]);
    start(&served, "FROM VERSION 'x'");
    let _ = served.run().failed(3, &["p.sql:3:"]);
    let log = served.project.path().join("pipelines/lake/a/_delta_log");
    assert!(!log.exists());
}

#[test]
fn a_target_with_rows_is_gone_on_with_where_that_is_said() {
    let served = Served::new();
    let folder = served.project.path().join("pipelines/lake/a");
    let make = format!(
        "CREATE TABLE b (id INT NOT NULL, code INT, n INT, on_sale BOOLEAN) USING DELTA LOCATION '{}';
         INSERT INTO b VALUES (1, 10, 100, false), (900, 9000, 900, true);",
        folder.display()
    );
    let _ = served.cdcql(&["query", "-c", &make]).succeeded();
    start(&served, "WITH (snapshot = false)");
    let _ = served
        .run()
        .failed(1, &["holds rows but no checkpoint of this flow"]);
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--adopt"])
        .succeeded();
    served.execute("UPDATE dbo.a SET n = 8 WHERE id = 1;");
    let _ = served.run().succeeded();
    assert_eq!(ids(&served), "1,8 900,900");
}
