//! Columns of a source that come, go and change while flows are at work: in the middle of what they read, and at its end.

use std::thread;

use cdcql::simulator::control::Fault;

use crate::follow::Follower;
use crate::served::Served;

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, t VARCHAR(5) NULL);
GO
INSERT INTO dbo.a SELECT s.value, s.value, 'old' FROM GENERATE_SERIES(1, 9) AS s;
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
";

const SECOND: &str = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
                      @capture_instance = N'second';";
const ADD: &str = "ALTER TABLE dbo.a ADD note NVARCHAR(20) NOT NULL DEFAULT N'none';";
const DROP: &str = "ALTER TABLE dbo.a DROP COLUMN n;";
const WIDEN: &str = "ALTER TABLE dbo.a ALTER COLUMN t VARCHAR(20) NULL;";

fn served(policy: &str) -> Served {
    with(policy, Served::of(SCRIPT))
}

fn with(policy: &str, served: Served) -> Served {
    let table = format!("LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}')");
    served.edit("LOCATION 'lake/a'", &table);
    served
}

fn follower(served: &Served) -> Follower {
    Follower::spawn(served.command(&["run", "pipelines/p.sql", "--follow", "--every", "50ms"]))
}

/// What the target has in some columns is what the source has.
fn assert_same(served: &Served, columns: &str, case: &str) {
    let rows = |table: &str| served.csv(&format!("SELECT {columns} FROM {table} ORDER BY id"));
    assert_eq!(rows("a"), rows("db.dbo.a"), "{case}");
}

/// Where the second capture instance comes, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instance {
    None,
    WithTheAlteration,
    Later,
}

/// Alters the table in the middle of a batch or at its end; the batch is read in windows of so many transactions.
fn altered(policy: &str, alteration: &str, instance: Instance, at_end: bool, windows: &str) {
    let case = format!("{policy} {alteration} {instance:?} {at_end} {windows}");
    let served = served(policy);
    let run = ["run", "pipelines/p.sql", "--window-transactions", windows];
    let _ = served.cdcql(&run).succeeded();
    served.execute("UPDATE dbo.a SET t = 'one' WHERE id = 1; DELETE FROM dbo.a WHERE id = 9;");
    served.execute(alteration);
    if instance == Instance::WithTheAlteration {
        served.execute(SECOND);
    }
    if !at_end {
        served.execute(
            "UPDATE dbo.a SET t = 'two' WHERE id IN (1, 2); INSERT INTO dbo.a (id, t) VALUES (20, 'new'), (21, 'gone');
             DELETE FROM dbo.a WHERE id = 21; UPDATE dbo.a SET id = 30 WHERE id = 3;",
        );
    }
    if instance == Instance::Later {
        served.execute(SECOND);
    }
    let columns = if alteration == DROP {
        "id, t"
    } else {
        "id, n, t"
    };
    let _ = served.cdcql(&run).succeeded();
    assert_same(&served, columns, &case);
    served.execute("UPDATE dbo.a SET t = 'three' WHERE id = 2; DELETE FROM dbo.a WHERE id = 5;");
    for _ in 0..2 {
        let _ = served.cdcql(&run).succeeded();
        assert_same(&served, columns, &case);
    }
    if policy == "add" && alteration == ADD && instance != Instance::None {
        served.assert_true();
    }
    if alteration == DROP {
        // What has not changed stays.
        let rows = served.csv("SELECT id, n FROM a WHERE id IN (2, 4) ORDER BY id");
        assert_eq!(rows, "id,n\n2,\n4,4\n", "{case}");
    }
    let verified = served.cdcql(&["verify", "pipelines/p.sql"]);
    assert_eq!(
        verified.code,
        Some(0),
        "{case}\n{}{}",
        verified.stdout,
        verified.stderr
    );
}

fn all_alterations(policy: &'static str) {
    thread::scope(|scope| {
        for alteration in [ADD, DROP] {
            scope.spawn(move || {
                altered(policy, alteration, Instance::None, false, "1");
                altered(
                    policy,
                    alteration,
                    Instance::WithTheAlteration,
                    false,
                    "100",
                );
                altered(policy, alteration, Instance::Later, false, "1");
                altered(policy, alteration, Instance::Later, true, "100");
            });
        }
    });
}

#[test]
fn columns_that_come_and_go_in_a_batch_leave_the_others_true_where_they_are_ignored() {
    all_alterations("ignore");
}

#[test]
fn columns_that_come_and_go_in_a_batch_leave_the_others_true_where_they_are_added() {
    all_alterations("add");
}

#[test]
fn a_column_that_comes_while_another_goes_is_copied_and_the_other_stays() {
    let served = served("add");
    let _ = served.run().succeeded();
    served.execute(&format!("{DROP} {ADD}"));
    served.execute("UPDATE dbo.a SET t = 'two', note = N'x' WHERE id = 2;");
    served.execute(SECOND);
    let _ = served.run().succeeded();
    let _ = served.run().succeeded();
    assert_same(&served, "id, t, note", "");
    assert_eq!(served.csv("SELECT n FROM a WHERE id = 4"), "n\n4\n");
    let verified = served.cdcql(&["verify", "pipelines/p.sql"]).succeeded();
    assert!(
        verified.stderr.contains("not compared"),
        "{}",
        verified.stderr
    );
    assert!(verified.stderr.contains(": n"), "{}", verified.stderr);
}

#[test]
fn a_text_that_has_become_longer_is_not_cut_while_its_table_is_followed() {
    let served = served("fail");
    let mut follower = follower(&served);
    follower.wait_for(&["a: first copy:"]);
    served.execute("UPDATE dbo.a SET t = 'short' WHERE id = 1;");
    follower.wait_for(&["a: 0 inserted, 1 updated"]);
    served.execute(WIDEN);
    served.execute("UPDATE dbo.a SET t = 'long enough' WHERE id = 1;");
    follower.wait_for(&["a: 0 inserted, 1 updated"]);
    let _ = follower.end("-TERM");
    served.assert_true();
}

#[test]
fn a_text_that_has_become_longer_is_not_cut_by_a_copy_that_is_at_work() {
    for captured in [false, true] {
        let served = with("fail", Served::in_hand_of(SCRIPT));
        let mut held = served
            .simulator()
            .control()
            .on_next("FROM [dbo].[a] AS t", Fault::Stall);
        let mut command = served.command(&["run", "pipelines/p.sql", "--chunk-rows", "3"]);
        command.stderr(std::process::Stdio::null());
        let mut run = {
            let _entered = served.runtime.enter();
            tokio::process::Command::from(command).spawn().unwrap()
        };
        served.runtime.block_on(held.struck()).unwrap();
        if !captured {
            served.capture().hold();
        }
        served.execute(WIDEN);
        served.execute("UPDATE dbo.a SET t = 'long enough' WHERE id IN (1, 8);");
        held.release();
        served.capture().release();
        let ended = served.runtime.block_on(run.wait()).unwrap();
        assert!(ended.success(), "captured meanwhile: {captured}");
        served.assert_true();
    }
}

#[test]
fn a_column_that_goes_while_its_table_is_followed_stops_the_flow_or_is_null_from_then_on() {
    for policy in ["fail", "ignore", "add"] {
        let served = served(policy);
        let mut follower = follower(&served);
        follower.wait_for(&["a: first copy:"]);
        served.execute(DROP);
        served.execute("UPDATE dbo.a SET t = 'two' WHERE id = 2;");
        let rows = || served.csv("SELECT id, n FROM a WHERE id IN (2, 4) ORDER BY id");
        if policy == "fail" {
            follower.wait_for(&["a: stopped:", "column n of dbo.a was dropped"]);
            assert_eq!(follower.ended().code, Some(3));
            assert_eq!(rows(), "id,n\n2,2\n4,4\n");
        } else {
            follower.wait_for(&["a: 0 inserted, 1 updated"]);
            let _ = follower.end("-TERM");
            assert_eq!(rows(), "id,n\n2,\n4,4\n", "{policy}");
            assert_same(&served, "id, t", policy);
        }
    }
}

#[test]
fn a_column_of_another_type_stops_the_flow_that_is_followed() {
    for policy in ["fail", "ignore", "add"] {
        let served = served(policy);
        let mut follower = follower(&served);
        follower.wait_for(&["a: first copy:"]);
        let before = served.rows("a");
        served.execute("ALTER TABLE dbo.a ALTER COLUMN n BIGINT NULL;");
        served.execute("UPDATE dbo.a SET n = 5000000000 WHERE id = 2;");
        let words = "column 'n' is BIGINT in the source but INT in the target";
        follower.wait_for(&["a: stopped:", words]);
        assert_eq!(follower.ended().code, Some(3));
        assert_eq!(served.rows("a"), before);
    }
}

#[test]
fn a_column_that_was_made_again_is_another_one() {
    let served = served("ignore");
    let _ = served.run().succeeded();
    served.execute(&format!("{DROP} ALTER TABLE dbo.a ADD n INT NULL;"));
    served.execute(
        "UPDATE dbo.a SET n = 77 WHERE id IN (1, 2); UPDATE dbo.a SET t = 'x' WHERE id = 3;",
    );
    let _ = served.run().succeeded();
    let rows = served.csv("SELECT id, n FROM a WHERE id < 5 ORDER BY id");
    assert_eq!(rows, "id,n\n1,1\n2,2\n3,\n4,4\n");
    assert_same(&served, "id, t", "");
}

#[test]
fn columns_that_are_not_captured_are_none_until_an_instance_has_them() {
    let script = SCRIPT.replace(
        "@role_name = NULL;",
        "@role_name = NULL, @captured_column_list = N'id, t';",
    );
    let served = Served::of(&script);
    let table = "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = 'add')";
    served.edit("LOCATION 'lake/a'", table);
    let _ = served.run().succeeded();
    assert_same(&served, "id, t", "copied");
    let commits = served.commits();
    served.execute("UPDATE dbo.a SET n = 100 WHERE id = 1;");
    let _ = served.run().succeeded();
    assert_eq!(served.commits(), commits);
    served.execute("UPDATE dbo.a SET n = 101, t = 'x' WHERE id = 1; INSERT INTO dbo.a VALUES (20, 20, 'y'); DELETE FROM dbo.a WHERE id = 2;");
    let _ = served.run().succeeded();
    assert_eq!(served.csv("SELECT * FROM a WHERE id = 1"), "id,t\n1,x\n");
    assert_same(&served, "id, t", "changed");
    served.execute(SECOND);
    served.execute("UPDATE dbo.a SET n = 102 WHERE id = 3;");
    let _ = served.run().succeeded();
    assert_eq!(
        served.csv("SELECT id, n, t FROM a ORDER BY id"),
        served.csv("SELECT id, n, t FROM db.dbo.a ORDER BY id")
    );
    let _ = served.cdcql(&["verify", "pipelines/p.sql"]).succeeded();
}

#[test]
fn an_instance_that_was_made_again_under_its_name_is_no_loss_where_another_one_covers_it() {
    let remake = [
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'dbo_a';",
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;",
    ];
    for follows in [false, true] {
        let served = served("fail");
        let mut follower = follows.then(|| follower(&served));
        match &mut follower {
            Some(follower) => _ = follower.wait_for(&["a: first copy:"]),
            None => _ = served.run().succeeded(),
        }
        served.execute(SECOND);
        served.execute("UPDATE dbo.a SET t = 'two' WHERE id = 2;");
        match &mut follower {
            Some(follower) => _ = follower.wait_for(&["a: 0 inserted, 1 updated"]),
            None => _ = served.run().succeeded(),
        }
        served.execute(remake[0]);
        served
            .execute("UPDATE dbo.a SET t = 'three' WHERE id = 3; DELETE FROM dbo.a WHERE id = 4;");
        served.execute(remake[1]);
        served.execute("INSERT INTO dbo.a VALUES (20, 20, 'new');");
        if let Some(mut follower) = follower {
            while served.csv("SELECT id FROM a WHERE id = 20") == "id\n" {
                follower.wait_for(&["a: "]);
            }
            let _ = follower.end("-TERM");
        }
        let _ = served.run().succeeded();
        served.assert_true();
    }
}
