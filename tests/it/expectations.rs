//! What tables expect of their rows.

use crate::served::Served;

const TABLE: &str = "\
CREATE TABLE dbo.customers (id INT NOT NULL PRIMARY KEY, name NVARCHAR(20) NULL, n INT NULL);
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'customers', @role_name = NULL;
INSERT INTO dbo.customers VALUES (1, N'Bruce', 10), (2, NULL, 0), (3, N'Diana', NULL);";

const CONNECTION: &str = "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));\n";

fn served(flow: &str) -> Served {
    let served = Served::new();
    served.execute(TABLE);
    let text = format!("{CONNECTION}{flow}");
    served.project.write("pipelines/p.sql", &text);
    served
}

fn rows(served: &Served) -> String {
    served.csv("SELECT * FROM t ORDER BY id")
}

#[test]
fn rows_that_are_not_as_expected_are_kept_and_counted_or_dropped_and_counted() {
    let served = served(
        "CREATE STREAMING TABLE t (
            CONSTRAINT has_name EXPECT (name IS NOT NULL),
            CONSTRAINT positive EXPECT (n > 0) ON VIOLATION DROP ROW) LOCATION 'lake/t'
         FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;",
    );
    let run = || served.run().succeeded().stderr;
    let told = run();
    assert!(told.contains("'has_name' violated: 1 row kept"), "{told}");
    // NULL is not as expected.
    assert!(
        told.contains("'positive' violated: 2 rows dropped"),
        "{told}"
    );
    assert_eq!(rows(&served), "id,name,n\n1,Bruce,10\n");
    served.execute("UPDATE dbo.customers SET n = 5 WHERE id = 2;");
    served.execute("UPDATE dbo.customers SET n = -1 WHERE id = 1;");
    served.execute("DELETE FROM dbo.customers WHERE id = 3;");
    let told = run();
    assert!(told.contains("'has_name' violated: 1 row kept"), "{told}");
    assert!(
        told.contains("'positive' violated: 1 row dropped"),
        "{told}"
    );
    assert_eq!(rows(&served), "id,name,n\n2,,5\n");
    // A delete is none of what is expected.
    served.execute("DELETE FROM dbo.customers WHERE id = 2;");
    let told = run();
    assert!(!told.contains("violated"), "{told}");
    assert_eq!(rows(&served), "id,name,n\n");
}

#[test]
fn a_row_that_fails_the_update_leaves_the_target_as_it_was() {
    let served = served(
        "CREATE STREAMING TABLE t (CONSTRAINT sane EXPECT (coalesce(share, 0) < 100) ON VIOLATION FAIL UPDATE)
         LOCATION 'lake/t'
         FLOW AUTO CDC FROM (SELECT c.id, c.n * 2 AS share FROM STREAM db.dbo.customers CHANGES AS c);",
    );
    let _ = served.run().succeeded();
    let before = rows(&served);
    assert_eq!(before, "id,share\n1,20\n2,0\n3,\n");
    served.execute("UPDATE dbo.customers SET n = 7 WHERE id = 1; UPDATE dbo.customers SET n = 50 WHERE id = 3;");
    let _ = served.run().failed(
        4,
        &[
            "p.sql:2:27",
            "the row with the key (3) violates 'sane'",
            "nothing was committed",
        ],
    );
    assert_eq!(rows(&served), before);
    served.execute("UPDATE dbo.customers SET n = 40 WHERE id = 3;");
    let _ = served.run().succeeded();
    assert_eq!(rows(&served), "id,share\n1,14\n2,0\n3,80\n");
}

#[test]
fn a_dropped_row_ends_its_version() {
    let served = served(
        "CREATE STREAMING TABLE t (
            CONSTRAINT positive EXPECT (n > 0) ON VIOLATION DROP ROW,
            CONSTRAINT short EXPECT (length(name) < 6)) LOCATION 'lake/t'
         FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES STORED AS SCD TYPE 2;",
    );
    let told = served.run().succeeded().stderr;
    assert!(
        told.contains("'positive' violated: 2 rows dropped; 'short' violated: 1 row kept"),
        "{told}"
    );
    served.execute("UPDATE dbo.customers SET n = 0 WHERE id = 1;");
    served.execute(
        "UPDATE dbo.customers SET n = 3 WHERE id = 1; UPDATE dbo.customers SET n = 4 WHERE id = 3;",
    );
    let told = served.run().succeeded().stderr;
    assert!(
        told.contains("'positive' violated: 1 row dropped"),
        "{told}"
    );
    assert_eq!(
        served.csv("SELECT id, name, n, __END_AT IS NULL AS valid FROM t ORDER BY id, __START_AT"),
        "id,name,n,valid\n1,Bruce,10,false\n1,Bruce,3,true\n3,Diana,4,true\n"
    );
}

#[test]
fn a_copy_counts_too_and_verify_says_that_it_cannot_tell() {
    let served = served(
        "CREATE STREAMING TABLE t (CONSTRAINT positive EXPECT (n > 0) ON VIOLATION DROP ROW) LOCATION 'lake/t'
         FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;",
    );
    let _ = served.run().succeeded();
    served.execute(
        "UPDATE dbo.customers SET n = 1 WHERE id = 2; DELETE FROM dbo.customers WHERE id = 1;",
    );
    let told = served
        .cdcql(&["run", "pipelines/p.sql", "--snapshot"])
        .succeeded()
        .stderr;
    assert!(
        told.contains("'positive' violated: 1 row dropped"),
        "{told}"
    );
    assert_eq!(rows(&served), "id,name,n\n2,,1\n");
    let verified = served.cdcql(&["verify", "pipelines/p.sql"]);
    assert_eq!(verified.code, Some(3), "{}", verified.stderr);
    let cannot = "verify cannot tell what rows the target should have";
    assert!(verified.stderr.contains(cannot), "{}", verified.stderr);
}

#[test]
fn programs_are_told_of_each_expectation() {
    let served = served(
        "CREATE STREAMING TABLE t (CONSTRAINT named EXPECT (name IS NOT NULL)) LOCATION 'lake/t'
         FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;",
    );
    let told = served
        .cdcql(&["--log-format", "json", "run", "pipelines/p.sql"])
        .succeeded()
        .stderr;
    let expected = r#""expectations":[{"expectation":"named","on_violation":"kept","rows":1}]"#;
    assert!(told.contains(expected), "{told}");
}

#[test]
fn what_cannot_be_expected_is_refused_at_its_place() {
    let served = served("");
    let refused = |flow: &str, parts: &[&str]| {
        let text = format!("{CONNECTION}{flow}");
        served.project.write("pipelines/p.sql", &text);
        let _ = served.run().failed(3, parts);
    };
    let flow = |constraint: &str| {
        format!(
            "CREATE STREAMING TABLE t ({constraint}) LOCATION 'lake/t' FLOW AUTO CDC FROM STREAM db.dbo.customers CHANGES;"
        )
    };
    refused(
        &flow("CONSTRAINT a EXPECT (nane IS NOT NULL)"),
        &[
            "p.sql:2:48",
            "no column `nane`, of which 'a' expects something",
            "did you mean `name`?",
        ],
    );
    refused(
        &flow("CONSTRAINT a EXPECT (n > 0, n < 3)"),
        &["p.sql:2:47", "EXPECT takes one condition"],
    );
    refused(
        &flow("CONSTRAINT a EXPECT (n > 0) ON VIOLATION IGNORE"),
        &["expected DROP ROW or FAIL UPDATE"],
    );
    refused(
        &flow("CONSTRAINT a EXPECT (n > 0), CONSTRAINT A EXPECT (n < 9)"),
        &["a second CONSTRAINT is called 'A'"],
    );
    refused(
        "CREATE STREAMING TABLE t (CONSTRAINT a EXPECT (n > 0)) LOCATION 'lake/t';
         MERGE INTO t USING STREAM db.dbo.customers CHANGES AS change ON t.id = change.id
         WHEN NOT MATCHED THEN INSERT *;",
        &[
            "the table expects 'a' of its rows, and this MERGE may write any",
            "AUTO CDC",
        ],
    );
}
