//! `cdcql verify`: targets beside their sources.

mod flows;
mod repairs;

use std::process::Stdio;

use cdcql::simulator::control::Fault;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::served::Served;
use crate::support::Ended;

const VERIFY: [&str; 4] = ["verify", "pipelines/p.sql", "--format", "json"];

fn served() -> Served {
    Served::new()
}

/// What is said of the one flow.
fn flow_of(stdout: &str) -> Value {
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(stdout).unwrap()
}

/// Verifies a target that has what its source has, as far as can be said.
fn agrees(served: &Served) -> Value {
    let flow = flow_of(&served.cdcql(&VERIFY).succeeded().stdout);
    assert_eq!(flow["state"], "agrees", "{flow}");
    assert_eq!(flow["differences"], Value::Array(Vec::new()), "{flow}");
    flow
}

/// Verifies a target that differs.
fn differs(served: &Served) -> Value {
    let ended = served.cdcql(&VERIFY);
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    let words = "the target of 1 flow does not have what its source has";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    let flow = flow_of(&ended.stdout);
    assert_eq!(flow["state"], "differs", "{flow}");
    flow
}

/// The keys that are listed, each with how it differs and in what columns.
fn listed(flow: &Value) -> Vec<String> {
    let differences = flow["differences"].as_array().unwrap().iter();
    let lines = differences.map(|one| {
        let columns = one["columns"].as_array().unwrap().iter();
        let columns: Vec<_> = columns.map(|name| name.as_str().unwrap()).collect();
        let text = |name: &str| one[name].as_str().unwrap().to_string();
        let line = format!("{}: {} {}", text("key"), text("rows"), columns.join(" "));
        line.trim_end().to_string()
    });
    lines.collect()
}

/// Meddles with the target.
fn meddle(served: &Served, sql: &str) {
    let query = ["query", "--pipeline", "pipelines/p.sql", "-c", sql];
    let _ = served.cdcql(&query).succeeded();
}

fn repair(served: &Served) -> Ended {
    served.cdcql(&[&VERIFY[..], &["--repair"]].concat())
}

/// What is said on stderr by a verification that could not compare.
fn refused(served: &Served, code: i32, words: &[&str]) {
    let ended = served.cdcql(&VERIFY);
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert_eq!(flow_of(&ended.stdout)["state"], "failing");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word} in {}", ended.stderr);
    }
}

fn edit(served: &Served, changes: &[(&str, &str)]) {
    let mut pipeline = served.project.read("pipelines/p.sql");
    for (from, to) in changes {
        assert!(pipeline.contains(from), "no {from} in {pipeline}");
        pipeline = pipeline.replace(from, to);
    }
    served.project.write("pipelines/p.sql", &pipeline);
}

#[test]
fn a_target_agrees_after_runs_and_while_changes_wait() {
    let served = served();
    refused(&served, 1, &["does not exist yet"]);
    let _ = served.run().succeeded();
    let flow = agrees(&served);
    assert_eq!(
        (&flow["source_rows"], &flow["target_rows"]),
        (&4.into(), &4.into())
    );
    assert_eq!(flow["left_out"], 0);
    served.execute(
        "UPDATE dbo.a SET n = 9 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;
         UPDATE dbo.a SET id = 33 WHERE id = 3; INSERT INTO dbo.a VALUES (5, 50, 5, 0);
         INSERT INTO dbo.a VALUES (6, 60, 6, 0); DELETE FROM dbo.a WHERE id = 6;",
    );
    let commits = served.commits();
    let flow = agrees(&served);
    // 1 and 2, 3 and 33, and 5: what both sides lack is the same.
    assert_eq!(flow["left_out"], 5, "{flow}");
    assert_eq!(served.commits(), commits);
    let _ = served.run().succeeded();
    assert_eq!(agrees(&served)["left_out"], 0);
}

#[test]
fn what_others_have_done_to_the_target_is_listed_by_key_and_copied_again() {
    let served = served();
    let _ = served.run().succeeded();
    let checkpoint = agrees(&served)["checkpoint_lsn"].clone();
    meddle(
        &served,
        "DELETE FROM a WHERE id = 1; UPDATE a SET n = NULL, on_sale = true WHERE id = 3; INSERT INTO a VALUES (900, 1, 1, true);",
    );
    // Other keys may change meanwhile.
    served.execute("UPDATE dbo.a SET n = 8 WHERE id = 4;");
    let flow = differs(&served);
    let unlike = [
        "id = 1: only in source",
        "id = 3: different n on_sale",
        "id = 900: only in target",
    ];
    assert_eq!(listed(&flow), unlike);
    for (name, count) in [
        ("only_in_source", 1),
        ("only_in_target", 1),
        ("different", 1),
        ("repeated", 0),
        ("left_out", 1),
        ("repaired", 0),
    ] {
        assert_eq!(flow[name], count, "{name} in {flow}");
    }
    let commits = served.commits();
    let flow = flow_of(&repair(&served).succeeded().stdout);
    assert_eq!(
        (&flow["state"], &flow["repaired"]),
        (&"repaired".into(), &3.into())
    );
    assert_eq!(listed(&flow), unlike);
    assert_eq!(served.commits(), commits + 1);
    let flow = agrees(&served);
    assert_eq!(flow["checkpoint_lsn"], checkpoint);
    let _ = served.run().succeeded();
    served.assert_true();
    assert!(served.run().succeeded().stderr.contains("nothing new"));
}

#[test]
fn people_see_a_table_of_the_flows_and_one_of_what_differs() {
    let served = served();
    let _ = served.run().succeeded();
    meddle(&served, "UPDATE a SET n = 0 WHERE id = 3");
    let ended = served.cdcql(&["verify", "pipelines/p.sql"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("| a    | differs |"),
        "{}",
        ended.stdout
    );
    let row = "| a    | id = 3 | different | n       |";
    assert!(ended.stdout.contains(row), "{}", ended.stdout);
    let ended = served.cdcql(&[
        "verify",
        "pipelines/p.sql",
        "--format",
        "csv",
        "--flow",
        "A",
    ]);
    assert!(
        ended.stdout.contains(",id = 3: different (n),"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let unknown = served.cdcql(&["verify", "pipelines/p.sql", "--flow", "b"]);
    let _ = unknown.failed(2, &["there is no flow 'b'"]);
}

#[test]
fn keys_that_the_target_has_twice_are_told_and_mended() {
    let served = served();
    let _ = served.run().succeeded();
    meddle(
        &served,
        "INSERT INTO a SELECT * FROM a WHERE id = 4; INSERT INTO a VALUES (900, 1, 1, true), (900, 1, 1, true);",
    );
    let flow = differs(&served);
    assert_eq!(
        listed(&flow),
        ["id = 4: repeated in target", "id = 900: only in target"]
    );
    let commits = served.commits();
    let _ = repair(&served).succeeded();
    assert_eq!(served.commits(), commits + 2);
    let _ = agrees(&served);
    served.assert_true();
}

#[test]
fn rows_without_a_key_are_told_and_left_to_people() {
    let served = served();
    let _ = served.run().succeeded();
    meddle(
        &served,
        "INSERT INTO a VALUES (NULL, 1, 1, true); DELETE FROM a WHERE id = 1",
    );
    assert_eq!(
        listed(&differs(&served)),
        ["id IS NULL: only in target", "id = 1: only in source"]
    );
    let repaired = repair(&served);
    assert_eq!(repaired.code, Some(1), "{}", repaired.stderr);
    assert!(
        repaired.stderr.contains("DELETE them by hand"),
        "{}",
        repaired.stderr
    );
    assert_eq!(listed(&differs(&served)), ["id IS NULL: only in target"]);
}

/// Verifies while the source is written to each time that it is asked for its rows or changes; how often that was, and how
/// it ended.
fn verify_among_writers(served: &Served, write: &mut impl FnMut()) -> (usize, Option<i32>, String) {
    let mut command = served.command(&VERIFY);
    command
        .args(["--chunk-rows", "6", "--parallel", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut verify = {
        let _entered = served.runtime.enter();
        tokio::process::Command::from(command).spawn().unwrap()
    };
    let mut times = 0;
    let mut held = None;
    loop {
        let control = served.simulator().control();
        let mut rows = control.on_next("FROM [dbo].[a] AS t", Fault::Stall);
        let mut changes = control.on_next("FROM cdc.[dbo_a_CT] AS c", Fault::Stall);
        // What is held goes on only when the next will be.
        drop(held.take());
        let ended = served.runtime.block_on(async {
            tokio::select! {
                struck = rows.struck() => { struck.unwrap(); None }
                struck = changes.struck() => { struck.unwrap(); None }
                ended = verify.wait() => Some(ended.unwrap()),
            }
        });
        if let Some(ended) = ended {
            let mut stdout = String::new();
            let mut output = verify.stdout.take().unwrap();
            let read = output.read_to_string(&mut stdout);
            served.runtime.block_on(read).unwrap();
            return (times, ended.code(), stdout);
        }
        times += 1;
        write();
        held = Some((rows, changes));
    }
}

#[test]
fn writers_make_no_difference_while_it_goes_on() {
    let script = "\
        CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
        GO
        INSERT INTO dbo.a SELECT s.value, 100 FROM GENERATE_SERIES(1, 40) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;";
    let served = Served::in_hand_of(script);
    let _ = served.run().succeeded();
    let mut times = 0;
    let mut write = || {
        times += 1;
        served.execute(&format!(
            "BEGIN TRAN; UPDATE dbo.a SET n = n + 1 WHERE id = {}; UPDATE dbo.a SET id = id + 1000 WHERE id = {};
             INSERT INTO dbo.a VALUES ({}, 1); DELETE FROM dbo.a WHERE id = {}; COMMIT;",
            1 + times % 5,
            6 + times % 5,
            2000 + times,
            2000 + times - 2,
        ));
    };
    let (count, code, stdout) = verify_among_writers(&served, &mut write);
    let flow = flow_of(&stdout);
    assert_eq!(
        (code, &flow["state"]),
        (Some(0), &"agrees".into()),
        "{flow}"
    );
    assert!(count > 12, "{count}");
    assert!(flow["left_out"].as_u64() > Some(5), "{flow}");
    meddle(&served, "UPDATE a SET n = 0 WHERE id IN (1, 30)");
    let (_, code, stdout) = verify_among_writers(&served, &mut write);
    let flow = flow_of(&stdout);
    assert_eq!(
        (code, listed(&flow)),
        (Some(1), vec!["id = 30: different n".to_string()])
    );
    let _ = served.run().succeeded();
    // A row that has changed since is as true as its last change.
    let flow = differs(&served);
    assert_eq!(listed(&flow), ["id = 30: different n"]);
}

#[test]
fn a_repair_that_a_run_has_overtaken_leaves_out_what_that_has_written() {
    let served = Served::in_hand();
    let _ = served.run().succeeded();
    meddle(&served, "UPDATE a SET n = 0 WHERE id IN (1, 3)");
    let mut command = served.command(&[&VERIFY[..], &["--repair"]].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let control = served.simulator().control();
    let mut held = control.on_next("FROM [dbo].[a] AS t", Fault::Stall);
    let mut verify = {
        let _entered = served.runtime.enter();
        tokio::process::Command::from(command).spawn().unwrap()
    };
    served.runtime.block_on(held.struck()).unwrap();
    served.execute("UPDATE dbo.a SET n = 7 WHERE id = 1;");
    let _ = served.run().succeeded();
    drop(held);
    let ended = served.runtime.block_on(async {
        let mut stdout = String::new();
        let mut output = verify.stdout.take().unwrap();
        output.read_to_string(&mut stdout).await.unwrap();
        (verify.wait().await.unwrap().code(), stdout)
    });
    let flow = flow_of(&ended.1);
    assert_eq!(ended.0, Some(0), "{flow}");
    assert_eq!(
        (&flow["repaired"], &flow["left_out"]),
        (&1.into(), &1.into())
    );
    served.assert_true();
    assert_eq!(agrees(&served)["left_out"], 0);
}

#[test]
fn keys_of_several_columns_and_texts_that_differ_in_case_are_told_apart() {
    let script = "\
        CREATE TABLE dbo.a (id NVARCHAR(20) COLLATE Latin1_General_CI_AS NOT NULL, part INT NOT NULL, n INT NULL,
            PRIMARY KEY (id, part));
        GO
        INSERT INTO dbo.a VALUES (N'a', 1, 1), (N'a', 2, 2), (N'B', 1, 3), (N'c', 1, NULL);
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;";
    let served = Served::of(script);
    let on = "ON target.id = change.id";
    edit(
        &served,
        &[(on, "ON change.part = target.part AND target.id = change.id")],
    );
    let _ = served.run().succeeded();
    served.execute("UPDATE dbo.a SET id = N'A' WHERE id = N'a' AND part = 1;");
    let flow = agrees(&served);
    assert_eq!(flow["left_out"], 2, "{flow}");
    let _ = served.run().succeeded();
    let _ = agrees(&served);
    meddle(
        &served,
        "UPDATE a SET id = 'b' WHERE id = 'B'; UPDATE a SET n = 0 WHERE id = 'c'",
    );
    let mut unlike = listed(&differs(&served));
    unlike.sort();
    assert_eq!(
        unlike,
        [
            "id = 'B' AND part = 1: only in source",
            "id = 'b' AND part = 1: only in target",
            "id = 'c' AND part = 1: different n",
        ]
    );
    let _ = repair(&served).succeeded();
    let _ = agrees(&served);
    served.assert_true();
}
