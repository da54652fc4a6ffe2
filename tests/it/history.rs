//! STORED AS SCD TYPE 2: targets that keep every version of a row.

use crate::served::Served;

const TABLE: &str = "\
CREATE TABLE dbo.customers (id INT NOT NULL PRIMARY KEY, name NVARCHAR(20) NOT NULL, n INT NULL, seen INT NOT NULL);
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'customers', @role_name = NULL;
INSERT INTO dbo.customers VALUES (1, N'Bruce', 10, 0), (2, N'Clark', NULL, 0), (3, N'Diana', 5, 0);";

const CONNECTION: &str = "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));\n";

const HISTORY: &str = "\
CREATE STREAMING TABLE t (PERIOD FOR SYSTEM_TIME (valid_from, valid_to)) LOCATION 'lake/t'
FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES STORED AS SCD TYPE 2;";

fn served(flow: &str) -> Served {
    let served = Served::new();
    served.execute(TABLE);
    let text = format!("{CONNECTION}{flow}");
    served.project.write("pipelines/p.sql", &text);
    served
}

/// Each version, whether it is the valid one, and whether the next one of its key begins where it ends.
const VERSIONS: &str = "\
SELECT id, name, n, seen, __END_AT IS NULL AS valid,
coalesce(__END_AT = lead(__START_AT) OVER (PARTITION BY id ORDER BY __START_AT), false) AS goes_on
FROM t ORDER BY id, __START_AT";

/// The versions after the next run, without their names.
fn run(served: &Served) -> String {
    let _ = served.run().succeeded();
    let csv = served.csv(VERSIONS);
    let (_, rows) = csv.split_once('\n').unwrap();
    rows.to_string()
}

#[test]
fn every_commit_that_changes_a_row_makes_a_version() {
    let served = served(HISTORY);
    assert_eq!(
        run(&served),
        "1,Bruce,10,0,true,false\n2,Clark,,0,true,false\n3,Diana,5,0,true,false\n"
    );
    served.execute("UPDATE dbo.customers SET n = 11 WHERE id = 1;");
    served.execute(
        "UPDATE dbo.customers SET n = 12 WHERE id = 1; DELETE FROM dbo.customers WHERE id = 2;",
    );
    served.execute(
        "BEGIN TRAN; UPDATE dbo.customers SET n = 6 WHERE id = 3; UPDATE dbo.customers SET n = 7 WHERE id = 3; COMMIT;",
    );
    assert_eq!(
        run(&served),
        "1,Bruce,10,0,false,true\n1,Bruce,11,0,false,true\n1,Bruce,12,0,true,false\n2,Clark,,0,false,false\n\
         3,Diana,5,0,false,true\n3,Diana,7,0,true,false\n"
    );
    served.execute("INSERT INTO dbo.customers VALUES (2, N'Kal', 1, 0), (4, N'Hal', 2, 0);");
    served.execute(
        "DELETE FROM dbo.customers WHERE id = 4; UPDATE dbo.customers SET id = 9 WHERE id = 3;",
    );
    assert_eq!(
        run(&served),
        "1,Bruce,10,0,false,true\n1,Bruce,11,0,false,true\n1,Bruce,12,0,true,false\n2,Clark,,0,false,false\n\
         2,Kal,1,0,true,false\n3,Diana,5,0,false,true\n3,Diana,7,0,false,false\n4,Hal,2,0,false,false\n9,Diana,7,0,true,false\n"
    );
    // Nothing new: nothing is written.
    let _ = run(&served);
    assert_eq!(served.csv("SELECT count(*) AS n FROM t"), "n\n9\n");
}

#[test]
fn the_present_rows_and_those_of_an_instant_are_a_question_of_the_period() {
    let served = served(HISTORY);
    let _ = run(&served);
    served.execute("UPDATE dbo.customers SET n = 11 WHERE id = 1;");
    served.execute("DELETE FROM dbo.customers WHERE id = 2;");
    let _ = run(&served);
    assert_eq!(
        served.csv("SELECT id, n FROM t WHERE valid_to IS NULL ORDER BY id"),
        "id,n\n1,11\n3,5\n"
    );
    let at = "(SELECT max(valid_from) FROM t)";
    let then = format!(
        "SELECT id, n FROM t WHERE valid_from <= {at} AND (valid_to IS NULL OR valid_to > {at}) ORDER BY id"
    );
    assert_eq!(served.csv(&then), "id,n\n1,11\n2,\n3,5\n");
    let before = then.replace(at, "(SELECT min(valid_from) FROM t)");
    assert_eq!(served.csv(&before), "id,n\n1,10\n2,\n3,5\n");
    assert_eq!(
        served.csv("SELECT count(*) AS n FROM t WHERE valid_to < valid_from OR valid_from IS NULL"),
        "n\n0\n"
    );
}

#[test]
fn versions_do_not_depend_on_how_changes_fall_into_windows() {
    let from = "FROM STREAM db.dbo.customers CHANGES";
    let flow = |name: &str| {
        format!(
            "CREATE STREAMING TABLE {name} (PERIOD FOR SYSTEM_TIME (valid_from, valid_to)) LOCATION 'lake/{name}'
             FLOW AUTO CDC {from} STORED AS SCD TYPE 2 TRACK HISTORY ON * EXCEPT (seen);"
        )
    };
    let served = served(&format!("{}\n{}", flow("whole"), flow("cut")));
    let _ = served.run().succeeded();
    for n in 0..6 {
        served.execute(&format!(
            "UPDATE dbo.customers SET n = {n} / 2, seen = {n} WHERE id = 1;
             UPDATE dbo.customers SET seen = {n} WHERE id = 2;
             BEGIN TRAN; DELETE FROM dbo.customers WHERE id = 3; INSERT INTO dbo.customers VALUES (3, N'Diana', {n}, 0); COMMIT;"
        ));
    }
    served.execute("DELETE FROM dbo.customers WHERE id = 2;");
    served.execute("INSERT INTO dbo.customers VALUES (2, N'Clark', 1, 1);");
    let one = [
        "run",
        "pipelines/p.sql",
        "--flow",
        "cut",
        "--window-transactions",
        "1",
    ];
    let _ = served.cdcql(&one).succeeded();
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--flow", "whole"])
        .succeeded();
    let rows = |name: &str| served.csv(&format!("SELECT * FROM {name} ORDER BY id, __START_AT"));
    assert_eq!(rows("cut"), rows("whole"));
    assert_eq!(
        served.csv("SELECT id, name, n, seen, __END_AT IS NULL AS valid FROM whole WHERE id < 3 ORDER BY id, __START_AT"),
        "id,name,n,seen,valid\n1,Bruce,10,0,false\n1,Bruce,0,1,false\n1,Bruce,1,3,false\n1,Bruce,2,5,true\n\
         2,Clark,,5,false\n2,Clark,1,1,true\n"
    );
}

#[test]
fn a_change_of_no_tracked_column_is_written_into_the_valid_version() {
    let served = served(&HISTORY.replace("TYPE 2", "TYPE 2 TRACK HISTORY ON (name, n)"));
    let _ = run(&served);
    served.execute("UPDATE dbo.customers SET seen = 1 WHERE id = 1;");
    served.execute("UPDATE dbo.customers SET seen = 2 WHERE id = 2;");
    served.execute("UPDATE dbo.customers SET n = 3, seen = 3 WHERE id = 2;");
    served.execute("UPDATE dbo.customers SET seen = 4 WHERE id = 2;");
    assert_eq!(
        run(&served),
        "1,Bruce,10,1,true,false\n2,Clark,,2,false,true\n2,Clark,3,4,true,false\n3,Diana,5,0,true,false\n"
    );
}

#[test]
fn a_row_that_is_no_member_any_more_ends_its_version() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT c.id, upper(c.name) AS name, c.n, c.seen FROM STREAM db.dbo.customers CHANGES AS c WHERE c.n > 4)
         STORED AS SCD TYPE 2;",
    );
    assert_eq!(
        run(&served),
        "1,BRUCE,10,0,true,false\n3,DIANA,5,0,true,false\n"
    );
    served.execute("UPDATE dbo.customers SET n = 1 WHERE id = 1;");
    served.execute("UPDATE dbo.customers SET n = 2 WHERE id = 1;");
    served.execute(
        "UPDATE dbo.customers SET n = 8 WHERE id = 1; UPDATE dbo.customers SET n = 9 WHERE id = 2;",
    );
    assert_eq!(
        run(&served),
        "1,BRUCE,10,0,false,false\n1,BRUCE,8,0,true,false\n2,CLARK,9,0,true,false\n3,DIANA,5,0,true,false\n"
    );
}

#[test]
fn a_soft_delete_is_a_version_like_others() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT c.id, c.name, c.n, CASE WHEN c._change_type = 'delete' THEN 1 ELSE 0 END AS seen
            FROM STREAM db.dbo.customers CHANGES AS c)
         APPLY AS DELETE WHEN false STORED AS SCD TYPE 2;",
    );
    let _ = run(&served);
    served.execute("DELETE FROM dbo.customers WHERE id = 1;");
    // A copy lacks such rows, and cannot tell what became of them.
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--snapshot"])
        .failed(
            3,
            &[
                "--snapshot cannot delete",
                "APPLY AS DELETE WHEN says what a delete is",
            ],
        );
    assert_eq!(
        run(&served),
        "1,Bruce,10,0,false,true\n1,Bruce,10,1,true,false\n2,Clark,,0,true,false\n3,Diana,5,0,true,false\n"
    );
}

#[test]
fn a_new_copy_keeps_the_commits_since_the_last_run() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT c.id, c.name, c.n, c.seen, c._change_type AS kind FROM STREAM db.dbo.customers CHANGES AS c)
         STORED AS SCD TYPE 2;",
    );
    let _ = run(&served);
    served.execute("UPDATE dbo.customers SET n = 12 WHERE id = 1;");
    served.execute("UPDATE dbo.customers SET n = 10 WHERE id = 1;");
    served.execute("DELETE FROM dbo.customers WHERE id = 2;");
    served.execute("INSERT INTO dbo.customers VALUES (2, N'Clark', NULL, 0);");
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--snapshot"])
        .succeeded();
    assert_eq!(
        run(&served),
        "1,Bruce,10,0,false,true\n1,Bruce,12,0,false,true\n1,Bruce,10,0,true,false\n2,Clark,,0,false,false\n\
         2,Clark,,0,true,false\n3,Diana,5,0,true,false\n"
    );
}

#[test]
fn a_new_copy_begins_versions_of_what_differs_and_ends_those_of_what_is_gone() {
    let served = served(HISTORY);
    let _ = run(&served);
    served.edit("STORED", "COLUMNS * STORED");
    served.execute("UPDATE dbo.customers SET n = 12 WHERE id = 1;");
    served.execute("DELETE FROM dbo.customers WHERE id = 2;");
    served.execute("INSERT INTO dbo.customers VALUES (4, N'Hal', 2, 0);");
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--snapshot"])
        .succeeded();
    let copied = "1,Bruce,10,0,false,true\n1,Bruce,12,0,true,false\n2,Clark,,0,false,false\n3,Diana,5,0,true,false\n\
                  4,Hal,2,0,true,false\n";
    assert_eq!(run(&served), copied);
    // Nothing differs from it any more.
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--snapshot"])
        .succeeded();
    assert_eq!(run(&served), copied);
}

#[test]
fn what_cannot_be_kept_is_refused_with_what_to_write() {
    let served = served(HISTORY);
    let refused = |flow: &str, parts: &[&str]| {
        let text = format!("{CONNECTION}{flow}");
        served.project.write("pipelines/p.sql", &text);
        let _ = served.run().failed(3, parts);
    };
    refused(
        &HISTORY.replace("TYPE 2", "TYPE 1"),
        &[
            "PERIOD FOR SYSTEM_TIME (valid_from, valid_to) of 't'",
            "write STORED AS SCD TYPE 2",
        ],
    );
    refused(
        &HISTORY.replace("TYPE 2", "TYPE 2 TRACK HISTORY ON (nane)"),
        &["TRACK HISTORY names", "did you mean `name`?"],
    );
    refused(
        &HISTORY.replace("TYPE 2", "TYPE 2 TRACK HISTORY ON (id)"),
        &["`id` is of the key"],
    );
    refused(
        &HISTORY.replace("valid_from", "seen"),
        &["'seen' is a column of the flow and of its target's history"],
    );
    served.execute(
        "CREATE TABLE dbo.notes (id INT NOT NULL PRIMARY KEY, note NVARCHAR(MAX) NULL);
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'notes', @role_name = NULL;",
    );
    refused(
        &HISTORY.replace("customers", "notes"),
        &[
            "leave the value of 'note' out of an update",
            "COLUMNS * EXCEPT (note)",
        ],
    );
    let present = HISTORY.replace(" STORED AS SCD TYPE 2", "");
    let present = present.replace(" (PERIOD FOR SYSTEM_TIME (valid_from, valid_to))", "");
    served
        .project
        .write("pipelines/p.sql", &format!("{CONNECTION}{present}"));
    let _ = served.run().succeeded();
    refused(
        HISTORY,
        &[
            "the target has no column '__START_AT'",
            "choose an empty LOCATION",
        ],
    );
}

#[test]
fn a_plan_tells_what_is_kept_and_what_versions_are_written() {
    let table = "(CONSTRAINT named EXPECT (name <> '') ON VIOLATION DROP ROW, PERIOD";
    let history = HISTORY.replace("(PERIOD", table);
    let served = served(&history.replace("TYPE 2", "TYPE 2 TRACK HISTORY ON * EXCEPT (seen)"));
    let plan = || {
        served
            .cdcql(&["plan", "pipelines/p.sql"])
            .succeeded()
            .stdout
    };
    let first = plan();
    for told in [
        "STORED AS = SCD TYPE 2",
        "TRACK HISTORY = ON * EXCEPT (seen)",
        "PERIOD FOR SYSTEM_TIME = valid_from, valid_to",
        "EXPECT named = (name <> ''), violations: DROP ROW",
        "__START_AT STRING, __END_AT STRING, valid_from TIMESTAMP, valid_to TIMESTAMP",
    ] {
        assert!(first.contains(told), "no {told:?} in:\n{first}");
    }
    let _ = served.run().succeeded();
    assert!(plan().contains("no difference"), "{}", plan());
}

#[test]
fn a_column_that_comes_to_the_source_comes_to_the_history() {
    let options = "LOCATION 'lake/t' TBLPROPERTIES ('cdcql.onSchemaChange' = 'add')";
    let served = served(&HISTORY.replace("LOCATION 'lake/t'", options));
    let _ = run(&served);
    served.execute("ALTER TABLE dbo.customers ADD rank INT NULL;");
    served.execute(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'customers', @role_name = NULL,
         @capture_instance = N'newer';",
    );
    served.execute("UPDATE dbo.customers SET rank = 1 WHERE id = 1;");
    let _ = run(&served);
    served.execute("UPDATE dbo.customers SET rank = 2 WHERE id = 1;");
    let _ = run(&served);
    let ranks = "SELECT id, rank, __END_AT IS NULL AS valid FROM t ORDER BY id, __START_AT";
    assert_eq!(
        served.csv(ranks),
        "id,rank,valid\n1,,false\n1,1,false\n1,2,true\n2,,true\n3,,true\n"
    );
}
