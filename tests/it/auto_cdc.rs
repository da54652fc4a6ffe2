//! AUTO CDC: flows that say what their target is.

use crate::served::Served;
use crate::support::Project;

const TABLES: &str = "\
CREATE TABLE dbo.customers (id INT NOT NULL PRIMARY KEY, name NVARCHAR(20) NOT NULL, region INT NOT NULL, n INT NOT NULL);
CREATE TABLE dbo.regions (id INT NOT NULL PRIMARY KEY, label NVARCHAR(20) NOT NULL);
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'customers', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'regions', @role_name = NULL;
INSERT INTO dbo.customers VALUES (1, N'Bruce', 1, 10), (2, N'Clark', 2, 0), (3, N'Diana', 1, 5);
INSERT INTO dbo.regions VALUES (1, N'Gotham');";

const CONNECTION: &str = "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));\n";

fn served(flow: &str) -> Served {
    let served = Served::new();
    served.execute(TABLES);
    pipeline(&served, flow);
    served
}

fn pipeline(served: &Served, flow: &str) {
    served
        .project
        .write("pipelines/p.sql", &format!("{CONNECTION}{flow}"));
}

/// What the target `t` holds after the next run.
fn run(served: &Served) -> String {
    let _ = served.run().succeeded();
    served.csv("SELECT * FROM t ORDER BY id")
}

#[test]
fn one_statement_is_a_mirror() {
    let served = served(
        "CREATE STREAMING TABLE customers LOCATION 'lake/customers'
         FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;",
    );
    let rows = || {
        let _ = served.run().succeeded();
        served.csv("SELECT * FROM customers ORDER BY id")
    };
    assert_eq!(
        rows(),
        "id,name,region,n\n1,Bruce,1,10\n2,Clark,2,0\n3,Diana,1,5\n"
    );
    served.execute(
        "UPDATE dbo.customers SET n = 11 WHERE id = 1;
         DELETE FROM dbo.customers WHERE id = 2;
         UPDATE dbo.customers SET id = 4 WHERE id = 3;
         INSERT INTO dbo.customers VALUES (5, N'Barry', 3, 1);",
    );
    assert_eq!(
        rows(),
        "id,name,region,n\n1,Bruce,1,11\n4,Diana,1,5\n5,Barry,3,1\n"
    );
}

#[test]
fn a_condition_is_membership_and_nothing_is_computed_of_rows_that_are_no_members() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT c.id, upper(c.name) AS name, 100 / c.n AS share
            FROM STREAM db.dbo.customers CHANGES AS c WHERE c.n > 0);",
    );
    assert_eq!(run(&served), "id,name,share\n1,BRUCE,10\n3,DIANA,20\n");
    served.execute(
        "UPDATE dbo.customers SET n = 0 WHERE id = 1;
         UPDATE dbo.customers SET n = 50 WHERE id = 2;
         INSERT INTO dbo.customers VALUES (6, N'Hal', 1, 0), (7, N'John', 1, 100);",
    );
    assert_eq!(
        run(&served),
        "id,name,share\n2,CLARK,2\n3,DIANA,20\n7,JOHN,1\n"
    );
    // A delete is one whatever its last values were.
    served.execute(
        "BEGIN TRAN; UPDATE dbo.customers SET n = 0 WHERE id = 2; DELETE FROM dbo.customers WHERE id = 2; COMMIT;
         UPDATE dbo.customers SET n = 4 WHERE id = 1;",
    );
    assert_eq!(
        run(&served),
        "id,name,share\n1,BRUCE,25\n3,DIANA,20\n7,JOHN,1\n"
    );
}

#[test]
fn a_row_whose_inner_join_finds_nothing_is_no_member() {
    let served = served(
        "CREATE STREAMING TABLE regions LOCATION 'lake/regions' FLOW AUTO CDC FROM STREAM db.dbo.regions CHANGES;
         CREATE STREAMING TABLE t LOCATION 'lake/t';
         CREATE FLOW placed AS AUTO CDC INTO t FROM (
            SELECT c.id, c.name, r.label FROM STREAM db.dbo.customers CHANGES AS c
            JOIN regions AS r ON r.id = c.region) KEYS (id);",
    );
    assert_eq!(
        run(&served),
        "id,name,label\n1,Bruce,Gotham\n3,Diana,Gotham\n"
    );
    served.execute(
        "INSERT INTO dbo.regions VALUES (2, N'Metropolis');
         UPDATE dbo.customers SET region = 9 WHERE id = 1;
         UPDATE dbo.customers SET region = 2 WHERE id = 3;",
    );
    assert_eq!(run(&served), "id,name,label\n3,Diana,Metropolis\n");
}

#[test]
fn a_join_that_makes_two_rows_of_one_is_refused_before_anything_is_written() {
    let flow = "CREATE STREAMING TABLE customers LOCATION 'lake/customers' FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;
         CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT r.id, c.name FROM STREAM db.dbo.regions CHANGES AS r LEFT JOIN customers AS c ON c.region = r.id);";
    let served = served(flow);
    let _ = served
        .run()
        .failed(1, &["makes two rows of the source's row with the key (1)"]);
    assert!(
        !served
            .project
            .path()
            .join("pipelines/lake/t/_delta_log")
            .exists()
    );
    served.execute("DELETE FROM dbo.customers WHERE id = 3;");
    assert_eq!(run(&served), "id,name\n1,Bruce\n");
}

#[test]
fn a_deleted_row_may_stay_and_say_so() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT c.id, c.name, c._change_type = 'delete' AS is_deleted
            FROM STREAM db.dbo.customers CHANGES AS c WHERE c.region = 1)
         APPLY AS DELETE WHEN false;",
    );
    assert_eq!(
        run(&served),
        "id,name,is_deleted\n1,Bruce,false\n3,Diana,false\n"
    );
    served.execute(
        "DELETE FROM dbo.customers WHERE id = 1;
         INSERT INTO dbo.customers VALUES (8, N'Arthur', 1, 1); DELETE FROM dbo.customers WHERE id = 8;
         UPDATE dbo.customers SET region = 2 WHERE id = 3;",
    );
    assert_eq!(
        run(&served),
        "id,name,is_deleted\n1,Bruce,true\n8,Arthur,true\n"
    );
}

#[test]
fn what_a_delete_is_can_be_said() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES
         APPLY AS DELETE WHEN _change_type = 'delete' OR n = 0 COLUMNS * EXCEPT (region) SEQUENCE BY _commit_version
         STORED AS SCD TYPE 1;",
    );
    assert_eq!(run(&served), "id,name,n\n1,Bruce,10\n3,Diana,5\n");
    served.execute("UPDATE dbo.customers SET n = 0 WHERE id = 1; DELETE FROM dbo.customers WHERE id = 3; UPDATE dbo.customers SET n = 1 WHERE id = 2;");
    assert_eq!(run(&served), "id,name,n\n2,Clark,1\n");
}

#[test]
fn columns_are_those_that_are_named() {
    let served = served(
        "CREATE STREAMING TABLE t (PRIMARY KEY (id)) LOCATION 'lake/t'
         FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES AS change COLUMNS (ID, name);",
    );
    assert_eq!(
        run(&served),
        "ID,name\n1,Bruce\n2,Clark\n3,Diana\n".replace("ID", "id")
    );
    served.execute("UPDATE dbo.customers SET name = N'Batman' WHERE id = 1; DELETE FROM dbo.customers WHERE id = 2;");
    assert_eq!(run(&served), "id,name\n1,Batman\n3,Diana\n");
}

#[test]
fn a_flow_may_have_a_name() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t';
         CREATE FLOW mirror COMMENT 'as it is' AS AUTO CDC INTO t FROM STREAM db.dbo.customers CHANGES;
         CREATE TABLE u USING DELTA LOCATION 'lake/u';
         CREATE FLOW merged AS MERGE INTO u AS target USING STREAM db.dbo.regions CHANGES AS change ON target.id = change.id
         WHEN MATCHED AND change._change_type = 'delete' THEN DELETE WHEN MATCHED THEN UPDATE SET *
         WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;",
    );
    let told = served
        .cdcql(&["run", "pipelines/p.sql", "--flow", "merged"])
        .succeeded()
        .stderr;
    assert!(told.contains("merged: first copy: 1 inserted"), "{told}");
    let planned = served.cdcql(&["plan", "pipelines/p.sql", "--flow", "mirror"]);
    let planned = planned.succeeded().stdout;
    for words in [
        "KEYS = the source's unique key (default)",
        "COMMENT of the flow = as it is",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    let told = served.run().succeeded().stderr;
    assert!(told.contains("mirror: first copy: 3 inserted"), "{told}");
}

#[test]
fn a_mirror_is_copied_again_as_a_merge_is() {
    let served = served(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;",
    );
    let first = run(&served);
    let spoil = "DELETE FROM t WHERE id = 1; UPDATE t SET n = 99 WHERE id = 2";
    let _ = served
        .cdcql(&["query", "--pipeline", "pipelines/p.sql", "-c", spoil])
        .succeeded();
    let verify = ["verify", "pipelines/p.sql"];
    assert_eq!(served.cdcql(&verify).code, Some(1));
    let again = ["run", "pipelines/p.sql", "--flow", "t", "--snapshot"];
    let _ = served.cdcql(&again).succeeded();
    assert_eq!(served.csv("SELECT * FROM t ORDER BY id"), first);
    let _ = served.cdcql(&verify).succeeded();
}

#[test]
fn what_cannot_be_exact_is_refused_in_its_place() {
    let served = served("");
    let flow = |rest: &str| {
        format!("CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM {rest};")
    };
    for (rest, words) in [
        (
            "STREAM db.dbo.customers CHANGES KEYS (name)",
            "KEYS leaves out 'id' of the source's key (id)",
        ),
        (
            "STREAM db.dbo.customers CHANGES COLUMNS (name, n)",
            "COLUMNS leaves out 'id', which tells the target's rows apart",
        ),
        (
            "STREAM db.dbo.customers CHANGES KEYS (id) COLUMNS (name, n)",
            "COLUMNS leaves the key `id` out",
        ),
        (
            "(SELECT c.id + 1 AS id, c.name FROM STREAM db.dbo.customers CHANGES AS c)",
            "the query does not give the column 'id' of the source's key as it is",
        ),
        (
            "(SELECT c.id, c.n + 1 FROM STREAM db.dbo.customers CHANGES AS c)",
            "`c.n + 1` has no name in the target",
        ),
        (
            "STREAM db.dbo.customers CHANGES KEYS (id, nmae)",
            "the target has no column `nmae`, which KEYS names",
        ),
        (
            "STREAM db.dbo.customers CHANGES COLUMNS * EXCEPT (id)",
            "COLUMNS leaves out 'id', which tells the target's rows apart",
        ),
        (
            "STREAM db.dbo.customers CHANGES COLUMNS * EXCEPT (nmae)",
            "the source has no column `nmae`",
        ),
        (
            "STREAM db.dbo.customers CHANGES SEQUENCE BY n",
            "in the order of the source's log, and not of `n`",
        ),
        (
            "STREAM db.dbo.customers CHANGES change",
            "an alias needs AS here",
        ),
    ] {
        pipeline(&served, &flow(rest));
        let _ = served.run().failed(3, &[words, "p.sql:2:"]);
    }
    assert!(!served.project.path().join("lake/t").exists());
}

#[test]
fn the_mirror_among_the_pipelines_has_what_the_merge_has() {
    let project = Project::new();
    let _ = project.run();
    let mirror = "pipelines/customers_mirror.sql";
    let _ = project.cdcql(&["run", mirror]).succeeded();
    project.append_to_database("DELETE FROM dbo.customers WHERE first_name = N'Clark';");
    let _ = project.run();
    let _ = project.cdcql(&["run", mirror]).succeeded();
    let _ = project.cdcql(&["verify", mirror]).succeeded();
    let sql = "SELECT * FROM customers_mirror ORDER BY customer_id";
    let rows = project
        .cdcql(&["query", "--pipeline", mirror, "-c", sql])
        .succeeded()
        .stdout;
    assert_eq!(rows, project.customers());
    assert!(rows.contains("Bruce") && !rows.contains("Clark"), "{rows}");
}

/// What the target is after changes that come in one window, and in a window of each transaction.
#[test]
fn the_target_is_the_query_over_the_source_whatever_the_windows_were() {
    const QUERY: &str = "SELECT c.id, c.name, c.n, 100 / c.n AS share FROM";
    const MEMBERS: &str = "WHERE c.n > 0 AND c.region <> 2";
    let flow = format!(
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM ({QUERY} STREAM db.dbo.customers CHANGES AS c {MEMBERS});"
    );
    let expected = format!("{QUERY} db.dbo.customers AS c {MEMBERS} ORDER BY c.id");
    for windows in [&["--window-transactions", "1"][..], &[]] {
        let served = served(&flow);
        let _ = served.run().succeeded();
        for step in 0..24 {
            let id = step % 5 + 1;
            served.execute(&match step % 4 {
                0 => format!("UPDATE dbo.customers SET n = {step} - 8 WHERE id = {id};"),
                1 => format!("DELETE FROM dbo.customers WHERE id = {id};"),
                2 => format!("INSERT INTO dbo.customers VALUES ({step} + 10, N'c{step}', {step} % 3, {step});"),
                _ => format!("UPDATE dbo.customers SET region = {step} % 3 + 1 WHERE id = {id};"),
            });
        }
        let arguments = ["run", "pipelines/p.sql"].iter().chain(windows).copied();
        let _ = served.cdcql(&arguments.collect::<Vec<_>>()).succeeded();
        let rows = served.csv("SELECT * FROM t ORDER BY id");
        assert_eq!(rows, served.csv(&expected));
        assert!(rows.lines().count() > 1, "{rows}");
    }
}

#[test]
fn the_key_is_found_however_the_query_spells_it() {
    let served = Served::new();
    served.execute(
        "CREATE TABLE dbo.people (PersonID INT NOT NULL PRIMARY KEY, n INT NULL);
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'people', @role_name = NULL;
         INSERT INTO dbo.people VALUES (1, 1), (2, 2);",
    );
    pipeline(
        &served,
        "CREATE STREAMING TABLE t LOCATION 'lake/t' FLOW AUTO CDC FROM (
            SELECT personid, n FROM STREAM db.dbo.people CHANGES AS c WHERE n > 0);",
    );
    let _ = served.run().succeeded();
    served.execute("UPDATE dbo.people SET n = 0 WHERE PersonID = 1;");
    let _ = served.run().succeeded();
    assert_eq!(served.csv("SELECT * FROM t"), "PersonID,n\n2,2\n");
}
