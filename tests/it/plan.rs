//! `cdcql plan`: what a run would do, and nothing written.

use std::path::Path;

use serde_json::Value;

use crate::served::Served;
use crate::support::{Ended, Project};

const PLAN: [&str; 2] = ["plan", "pipelines/p.sql"];
const JSON: [&str; 4] = ["plan", "pipelines/p.sql", "--format", "json"];

/// The one object that a plan prints.
fn object(ended: &Ended) -> Value {
    assert_eq!(
        ended.stdout.lines().count(),
        1,
        "{}\n{}",
        ended.stdout,
        ended.stderr
    );
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Every file below a folder with its size and time, sorted.
fn files(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let about = path.metadata().unwrap();
            found.push((
                path.display().to_string(),
                about.len(),
                about.modified().unwrap(),
            ));
        }
    }
    found.sort();
    found
}

#[test]
fn each_stage_of_a_flow_is_told_and_nothing_is_written() {
    let served = Served::new();
    let folder = served.project.path().join("pipelines");
    let before = files(&folder);

    let first = object(&served.cdcql(&JSON).succeeded());
    assert_eq!(first["state"], "not copied");
    assert_eq!(first["version"], Value::Null);
    let work = &first["work"];
    assert_eq!(work["action"], "first_copy");
    assert_eq!(work["estimated_rows"], 4);
    assert_eq!(work["chunks_by"], serde_json::json!(["id"]));
    assert_eq!(work["isolation"], "read committed");
    assert_eq!(work["after"], first["source_lsn"]);
    assert_eq!(first["merge_path"], "append");
    let columns = serde_json::json!([
        { "column": "id", "type": "INT" },
        { "column": "code", "type": "INT" },
        { "column": "n", "type": "INT" },
        { "column": "on_sale", "type": "BOOLEAN" },
    ]);
    assert_eq!(first["new_columns"], columns);
    assert_eq!(files(&folder), before);
    assert!(!folder.join("lake").exists());

    let _ = served.run().succeeded();
    let before = files(&folder);
    let idle = object(&served.cdcql(&JSON).succeeded());
    assert_eq!(
        (&idle["state"], &idle["version"]),
        (&"up to date".into(), &0.into())
    );
    assert_eq!(idle["work"]["action"], "nothing");
    assert_eq!(idle["rows_behind"], 0);
    assert_eq!(idle["checkpoint_lsn"], idle["source_lsn"]);
    assert_eq!(idle["merge_path"], "touched rows (deletion vectors)");
    assert_eq!(idle["differences"], serde_json::json!([]));

    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;");
    for _ in 0..2 {
        let behind = object(&served.cdcql(&JSON).succeeded());
        assert_eq!(behind["state"], "behind");
        let work = &behind["work"];
        assert_eq!(
            (&work["action"], &behind["rows_behind"]),
            (&"window".into(), &3.into())
        );
        assert_eq!(work["after"], behind["checkpoint_lsn"]);
        assert_eq!(work["upto"], behind["source_lsn"]);
    }
    assert_eq!(files(&folder), before);
    let ran = served.run().succeeded();
    assert!(
        ran.stderr.contains("0 inserted, 1 updated, 1 deleted"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_text_has_all_that_steers_the_flow_and_its_merge() {
    let served = Served::new();
    let text = served.project.read("pipelines/p.sql").replace(
        "LOCATION 'lake/a'",
        "PARTITIONED BY (on_sale) LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onGap' = 'resnapshot', 'delta.enableChangeDataFeed' = 'true')",
    );
    served.project.write("pipelines/p.sql", &text);
    let told = served.cdcql(&PLAN).succeeded().stdout;
    for words in [
        "a: not copied\n",
        "copy the table: about 4 rows, in chunks of up to ",
        "db.dbo.a in database '",
        ", by capture instance dbo_a",
        "id (primary key ",
        "ON compares id = id",
        "lake/a, still to be made",
        "id INT, code INT, n INT, on_sale BOOLEAN, as the flow inserts them",
        "begins = with a copy of the table (default)",
        "cdcql.onGap = resnapshot\n",
        "cdcql.onSchemaChange = fail (default)",
        "cdcql.readBack = false (default)",
        "cdcql.deletionVectors = auto (default)",
        "delta.enableChangeDataFeed = true\n",
        "PARTITIONED BY = on_sale\n",
        "--window-rows = 1000000 (default)",
        "--window-bytes = 4GiB (default)",
        "--parallel = 4 (default)",
        "--memory = 2GiB (default)",
        "MERGE INTO a AS target\n",
        "USING STREAM db.dbo.a CHANGES AS change\n",
        "WHEN MATCHED AND change._change_type = 'delete' THEN DELETE\n",
        "SET \"id\" = change.\"id\", \"code\" = change.\"code\"",
    ] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    assert!(!told.contains('\u{1f}') && !told.contains('*'), "{told}");
}

#[test]
fn the_merge_that_is_shown_is_the_merge() {
    let served = Served::new();
    let merge = object(&served.cdcql(&JSON).succeeded())["merge"].clone();
    let text = served.project.read("pipelines/p.sql");
    let (definitions, _) = text.split_once("MERGE").unwrap();
    let compiled = format!("{definitions}{};\n", merge.as_str().unwrap());
    served.project.write("pipelines/p.sql", &compiled);
    assert_eq!(object(&served.cdcql(&JSON).succeeded())["merge"], merge);
    let _ = served.run().succeeded();
    served.assert_true();
}

/// A flow that was copied, whose source has since got a column `m`, lost `code`, and has a second capture instance.
fn changed(policy: &str) -> Served {
    let served = Served::of(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, code INT NULL, n INT NULL);
GO
INSERT INTO dbo.a VALUES (1, 10, 1);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
",
    );
    let text = served.project.read("pipelines/p.sql").replace(
        "'lake/a'",
        &format!("'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}')"),
    );
    served.project.write("pipelines/p.sql", &text);
    let _ = served.run().succeeded();
    served.execute("ALTER TABLE dbo.a ADD m NVARCHAR(10) NULL;");
    served.execute("ALTER TABLE dbo.a DROP COLUMN code;");
    served
}

fn enable_second(served: &Served) {
    served.execute(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
         @capture_instance = N'second';",
    );
    // A run that has nothing to read comes to where the newer instance begins.
    served.execute("UPDATE dbo.a SET n = n + 1;");
}

fn effects(plan: &Value) -> Vec<(String, String)> {
    let differences = plan["differences"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let told = differences.map(|told| (text(&told["column"]), text(&told["effect"])));
    told.collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(column, effect): &(&str, &str)| (column.to_string(), effect.to_string());
    expected.iter().map(owned).collect()
}

#[test]
fn a_flow_that_its_source_has_left_is_told_with_what_changed_and_the_exit_code_of_a_run() {
    let served = changed("fail");
    let planned = served.cdcql(&JSON);
    assert_eq!(planned.code, Some(3), "{}", planned.stderr);
    let plan = object(&planned);
    assert_eq!(plan["state"], "invalid");
    assert_eq!(
        effects(&plan),
        pairs(&[("code", "stops"), ("m", "not captured")])
    );
    let history = plan["source"]["ddl_history"].as_array().unwrap();
    assert_eq!(history.len(), 2, "{plan}");
    assert!(history[0]["command"].as_str().unwrap().contains("ADD m"));
    assert!(
        history[1]["command"]
            .as_str()
            .unwrap()
            .contains("DROP COLUMN code")
    );
    assert_eq!(plan["work"], Value::Null);
    let ran = served.run();
    assert_eq!((ran.code, ran.stderr), (planned.code, planned.stderr));
    let text = served.cdcql(&PLAN);
    for words in [
        "a: invalid\n",
        "code (INT in the target, not in the source): stops the flow",
        "m (nvarchar(10) in the source): not captured",
        "ALTER TABLE dbo.a DROP COLUMN code",
    ] {
        assert!(
            text.stdout.contains(words),
            "no {words:?} in {}",
            text.stdout
        );
    }
}

#[test]
fn each_policy_for_columns_is_told_before_it_is_followed() {
    for (policy, new, state) in [
        ("ignore", "left out", "behind"),
        ("add", "added", "copied again"),
    ] {
        let served = changed(policy);
        let plan = object(&served.cdcql(&JSON).succeeded());
        assert_eq!(
            effects(&plan),
            pairs(&[("code", "null"), ("m", "not captured")])
        );
        enable_second(&served);
        // The older instance is read until the checkpoint has come to the newer one.
        let plan = object(&served.cdcql(&JSON).succeeded());
        if plan["source"]["has_newer_instance"] == true {
            let text = served.project.read("pipelines/p.sql");
            served
                .project
                .write("pipelines/p.sql", &text.replace("'add'", "'ignore'"));
            let _ = served.run().succeeded();
            served.project.write("pipelines/p.sql", &text);
            served.execute("UPDATE dbo.a SET n = n + 1;");
        }
        let plan = object(&served.cdcql(&JSON).succeeded());
        assert_eq!(plan["source"]["capture_instance"], "second", "{plan}");
        assert_eq!(effects(&plan), pairs(&[("m", new), ("code", "null")]));
        assert_eq!(plan["state"], state, "{plan}");
        if policy == "add" {
            assert_eq!(plan["work"]["why"], "the target gets new columns");
        }
        let _ = served.run().succeeded();
    }
}

#[test]
fn changes_that_are_lost_are_told_with_what_the_policy_makes_of_them() {
    let served = Served::new();
    let _ = served.run().succeeded();
    served.lose_changes();
    let ended = served.cdcql(&JSON);
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("are no longer on the server"),
        "{}",
        ended.stderr
    );
    let plan = object(&ended);
    assert_eq!(plan["state"], "changes lost");
    assert!(
        plan["error"]
            .as_str()
            .unwrap()
            .contains("are no longer on the server")
    );
    let text = served.project.read("pipelines/p.sql");
    for (policy, state, action) in [
        ("resnapshot", "copied again", "new_copy"),
        ("continue", "behind", "window"),
    ] {
        let given = format!("'lake/a' TBLPROPERTIES ('cdcql.onGap' = '{policy}')");
        served
            .project
            .write("pipelines/p.sql", &text.replace("'lake/a'", &given));
        let plan = object(&served.cdcql(&JSON).succeeded());
        assert_eq!(
            (&plan["state"], &plan["work"]["action"]),
            (&state.into(), &action.into())
        );
        assert!(
            plan["work"]["lost"]
                .as_str()
                .unwrap()
                .contains("no longer on the server")
        );
    }
    assert_eq!(served.commits(), 1);
}

#[test]
fn a_flow_that_begins_without_a_copy_tells_its_first_window() {
    let served = Served::new();
    let text = served.project.read("pipelines/p.sql");
    for (clause, begins, rows) in [
        (
            "CHANGES WITH (snapshot = false) AS",
            "with the first change after its first run",
            0,
        ),
        (
            "CHANGES FROM TIMESTAMP '2000-01-01' AS",
            "with the changes FROM TIMESTAMP '2000-01-01' INCLUSIVE",
            1,
        ),
    ] {
        served
            .project
            .write("pipelines/p.sql", &text.replace("CHANGES AS", clause));
        let plan = object(&served.cdcql(&JSON).succeeded());
        assert_eq!(plan["state"], "not begun", "{plan}");
        assert_eq!(
            (&plan["work"]["action"], &plan["rows_behind"]),
            (&"begin".into(), &rows.into())
        );
        let settings = plan["settings"].as_array().unwrap();
        let setting = settings
            .iter()
            .find(|setting| setting["name"] == "begins")
            .unwrap();
        assert_eq!(
            (&setting["value"], &setting["given"]),
            (&begins.into(), &true.into())
        );
    }
}

#[test]
fn a_target_with_rows_of_others_fails_as_a_run_does_and_holds_no_other() {
    let served = Served::new();
    let _ = served.run().succeeded();
    let text = served.project.read("pipelines/p.sql");
    let both = text
        .replace("EXISTS a ", "EXISTS b ")
        .replace("MERGE INTO a", "MERGE INTO b");
    let (_, flow_a) = text.split_once('\n').unwrap();
    served.project.write(
        "pipelines/p.sql",
        &format!("{both}{}", flow_a.replace("lake/a", "lake/other")),
    );
    let ended = served.cdcql(&JSON);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("holds rows but no checkpoint of this flow"),
        "{}",
        ended.stderr
    );
    let states = ended.stdout.lines().map(|line| {
        let plan: Value = serde_json::from_str(line).unwrap();
        (
            plan["flow"].as_str().unwrap().to_string(),
            plan["state"].as_str().unwrap().to_string(),
        )
    });
    let states: Vec<_> = states.collect();
    assert_eq!(states, pairs(&[("b", "failing"), ("a", "not copied")]));
    let one = served.cdcql(&["plan", "pipelines/p.sql", "--flow", "A", "--format", "json"]);
    assert_eq!(object(&one.succeeded())["flow"], "a");
    let none = served.cdcql(&["plan", "pipelines/p.sql", "--flow", "aa"]);
    let _ = none.failed(2, &["there is no flow 'aa'", "did you mean"]);
}

#[test]
fn a_flow_is_planned_after_those_that_it_looks_up_and_told_in_its_place() {
    let project = Project::new();
    let text = "\
CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');
CREATE TABLE first USING DELTA LOCATION 'lake/first';
CREATE TABLE second USING DELTA LOCATION 'lake/second';
MERGE INTO first AS t
USING (SELECT s.customer_id, x.city FROM STREAM app_db.dbo.customers CHANGES AS s LEFT JOIN second AS x ON x.customer_id = s.customer_id) AS c
ON t.customer_id = c.customer_id WHEN NOT MATCHED THEN INSERT *;
MERGE INTO second AS t USING STREAM app_db.dbo.customers CHANGES AS c ON t.customer_id = c.customer_id
WHEN NOT MATCHED AND c.city <> 'x' THEN INSERT *;
";
    project.write("pipelines/p.sql", text);
    let planned = project.cdcql(&JSON).succeeded().stdout;
    let plans: Vec<Value> = planned
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&plans[0]["flow"], &plans[1]["flow"]),
        (&"first".into(), &"second".into())
    );
    assert_eq!(plans[0]["goes_after"], serde_json::json!(["second"]));
    assert!(
        plans[0]["merge"]
            .as_str()
            .unwrap()
            .contains("FROM STREAM app_db.dbo.customers CHANGES AS s")
    );
    project.write("pipelines/p.sql", &text.replace("c.city <>", "c.citty <>"));
    let ended = project.cdcql(&PLAN);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("first: failing\n") && ended.stdout.contains("second: invalid\n"),
        "{}",
        ended.stdout
    );
    assert!(!project.path().join("pipelines/lake").exists());
}
