//! `CREATE STREAMING TABLE schema.*`: one statement for every captured table of a schema.

use crate::served::Served;

const FILE: &str = "pipelines/p.sql";

fn executed(served: &Served, batches: &str) {
    for batch in batches.split("\nGO\n") {
        served.execute(batch);
    }
}

/// A database with the tables `sales.orders`, `sales.lines` and, without a key, `sales.log`; and a file with that statement.
fn served(statement: &str) -> Served {
    let served = Served::new();
    executed(
        &served,
        "CREATE SCHEMA sales;
GO
CREATE TABLE sales.orders (id INT NOT NULL PRIMARY KEY, total DECIMAL(9, 2) NOT NULL);
CREATE TABLE sales.lines (id INT NOT NULL, place INT NOT NULL, item NVARCHAR(20) NULL, PRIMARY KEY (id, place));
CREATE TABLE sales.log (line NVARCHAR(20) NULL);
CREATE TABLE sales.other (id INT NOT NULL PRIMARY KEY);
EXEC sys.sp_cdc_enable_table @source_schema = N'sales', @source_name = N'orders', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'sales', @source_name = N'lines', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'sales', @source_name = N'log', @role_name = NULL;
INSERT INTO sales.orders VALUES (1, 10.00), (2, 20.00);
INSERT INTO sales.lines VALUES (1, 1, N'shoe'), (1, 2, N'sock');",
    );
    served.project.write(
        FILE,
        &format!(
            "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));
CREATE SCHEMA bronze LOCATION 'lake/bronze';
{statement}
"
        ),
    );
    served
}

const ALL_BUT_LOG: &str = "CREATE STREAMING TABLE bronze.*
FLOW AUTO CDC FROM STREAM db.sales.* CHANGES EXCEPT TABLES (log);";

#[test]
fn each_captured_table_becomes_a_flow_and_a_target() {
    let served = served(ALL_BUT_LOG);
    let _ = served.run().succeeded();
    assert_eq!(
        served.csv("SELECT id, place, item FROM bronze.lines ORDER BY id, place"),
        "id,place,item\n1,1,shoe\n1,2,sock\n"
    );
    served.execute("DELETE FROM sales.orders WHERE id = 1; UPDATE sales.lines SET item = N'boot' WHERE place = 1;");
    let told = served.run().succeeded().stderr;
    assert!(
        told.contains("orders:") && told.contains("lines:"),
        "{told}"
    );
    assert_eq!(served.csv("SELECT id FROM bronze.orders"), "id\n2\n");
    assert_eq!(
        served.csv("SELECT item FROM bronze.lines ORDER BY place"),
        "item\nboot\nsock\n"
    );
    let lake = served.project.path().join("pipelines/lake/bronze");
    assert!(!lake.join("log").exists() && !lake.join("other").exists());
}

#[test]
fn its_flows_are_planned_chosen_verified_and_maintained_by_their_names() {
    let served = served(ALL_BUT_LOG);
    let _ = served.cdcql(&["run", FILE, "--flow", "orders"]).succeeded();
    let lake = served.project.path().join("pipelines/lake/bronze");
    assert!(lake.join("orders").exists() && !lake.join("lines").exists());
    let unknown = served.cdcql(&["run", FILE, "--flow", "log"]);
    let _ = unknown.failed(2, &["'log'", "lines", "orders"]);
    let plan = served.cdcql(&["plan", FILE]).succeeded().stdout;
    assert!(
        plan.contains("db.sales.lines") && plan.contains("db.sales.orders"),
        "{plan}"
    );
    assert!(!plan.contains("sales.log"), "{plan}");
    let _ = served.run().succeeded();
    for command in ["status", "verify", "maintain", "doctor"] {
        let told = served.cdcql(&[command, FILE]).succeeded();
        let told = format!("{}{}", told.stdout, told.stderr);
        assert!(
            told.contains("orders") && told.contains("lines"),
            "{command}: {told}"
        );
    }
}

#[test]
fn a_table_with_a_flow_of_its_own_is_left_out() {
    let served = served(
        "CREATE STREAMING TABLE bronze.*
FLOW AUTO CDC FROM STREAM db.SALES.* CHANGES EXCEPT TABLES ([LOG]);
CREATE STREAMING TABLE totals LOCATION 'lake/totals' FLOW AUTO CDC FROM (
  SELECT o.id, o.total * 2 AS twice FROM STREAM db.sales.ORDERS CHANGES AS o);",
    );
    let _ = served.run().succeeded();
    assert_eq!(
        served.csv("SELECT * FROM totals ORDER BY id"),
        "id,twice\n1,20.00\n2,40.00\n"
    );
    let lake = served.project.path().join("pipelines/lake/bronze");
    assert!(lake.join("lines").exists() && !lake.join("orders").exists());
}

#[test]
fn clauses_and_queries_are_those_of_each_table() {
    let served = served(
        "CREATE STREAMING TABLE IF NOT EXISTS bronze.* (CONSTRAINT known EXPECT (id > 1) ON VIOLATION DROP ROW)
COMMENT 'as sold' TBLPROPERTIES ('cdcql.onSchemaChange' = 'add')
FLOW AUTO CDC FROM (SELECT t.*, t.id % 2 = 0 AS even FROM STREAM db.sales.* CHANGES EXCEPT TABLES (log, lines) AS t);",
    );
    let _ = served.run().succeeded();
    assert_eq!(
        served.csv("SELECT * FROM bronze.orders"),
        "id,total,even\n2,20.00,true\n"
    );
    let lake = served.project.path().join("pipelines/lake/bronze");
    assert!(!lake.join("lines").exists());
}

#[test]
fn what_is_wrong_for_a_table_names_it() {
    let served = served(
        "CREATE STREAMING TABLE bronze.* FLOW AUTO CDC FROM STREAM db.sales.* CHANGES COLUMNS (id, place);",
    );
    let _ = served.run().failed(
        3,
        &[
            "p.sql:3:",
            "table 'log': ",
            "table 'orders': ",
            "EXCEPT TABLES",
        ],
    );
    let lake = served.project.path().join("pipelines/lake");
    assert!(!lake.exists(), "a file with an error writes nothing");
}

#[test]
fn names_that_the_source_does_not_have_are_refused() {
    let given = |statement: &str, parts: &[&str]| {
        let served = served(statement);
        let _ = served.run().failed(3, parts);
    };
    given(
        "CREATE STREAMING TABLE bronze.* FLOW AUTO CDC FROM STREAM db.sales.* CHANGES EXCEPT TABLES (lgo);",
        &["p.sql:3:", "no table 'lgo'", "did you mean log?"],
    );
    given(
        "CREATE STREAMING TABLE bronze.* FLOW AUTO CDC FROM STREAM db.salse.* CHANGES;",
        &["p.sql:3:", "no schema salse", "did you mean 'sales'?"],
    );
    given(
        "CREATE STREAMING TABLE bronze.* FLOW AUTO CDC FROM STREAM dbb.sales.* CHANGES;",
        &["p.sql:3:", "'dbb'", "db"],
    );
}

#[test]
fn a_schema_without_capture_is_refused_with_what_enables_it() {
    let served =
        served("CREATE STREAMING TABLE bronze.* FLOW AUTO CDC FROM STREAM db.empty.* CHANGES;");
    executed(
        &served,
        "CREATE SCHEMA empty;\nGO\nCREATE TABLE empty.t (id INT NOT NULL PRIMARY KEY);",
    );
    let _ = served.run().failed(
        3,
        &[
            "no table of schema empty",
            "sys.sp_cdc_enable_table @source_schema = N'empty'",
        ],
    );
}

#[test]
fn a_name_that_is_no_folders_is_refused() {
    let served = served(ALL_BUT_LOG);
    served.execute(
        "CREATE TABLE sales.[../out] (id INT NOT NULL PRIMARY KEY);
EXEC sys.sp_cdc_enable_table @source_schema = N'sales', @source_name = N'../out', @role_name = NULL, @capture_instance = N'out';",
    );
    let _ = served.run().failed(3, &["'../out'", "EXCEPT TABLES"]);
    served.edit("(log)", "(log, \"../out\")");
    let _ = served.run().succeeded();
}

#[test]
fn a_table_whose_capture_has_ended_is_told() {
    let served = served(ALL_BUT_LOG);
    let told = served.run().succeeded().stderr;
    assert!(!told.contains("captured any more"), "{told}");
    served.execute(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'sales', @source_name = N'lines', @capture_instance = N'all';",
    );
    let told = served.run().succeeded().stderr;
    let warned =
        "'bronze.lines' holds a copy of sales.lines, of which nothing is captured any more";
    assert!(told.contains(warned), "{told}");
}

#[test]
fn two_schemas_are_copied_side_by_side() {
    let served = served(
        "CREATE SCHEMA raw LOCATION 'lake/raw';
CREATE STREAMING TABLE bronze.* FLOW AUTO CDC FROM STREAM db.sales.* CHANGES EXCEPT TABLES (log);
CREATE STREAMING TABLE raw.* FLOW AUTO CDC FROM STREAM db.dbo.* CHANGES;",
    );
    let _ = served.project.cdcql(&["check", FILE]).succeeded();
    let _ = served.run().succeeded();
    assert_eq!(served.csv("SELECT count(*) AS n FROM raw.a"), "n\n4\n");
    assert_eq!(
        served.csv("SELECT count(*) AS n FROM bronze.orders"),
        "n\n2\n"
    );
    served.edit("EXCEPT TABLES (log)", "EXCEPT TABLES (log, orders, lines)");
    let _ = served
        .run()
        .failed(3, &["p.sql:4:", "no table of 'db.sales' is left"]);
}

#[test]
fn a_file_is_checked_without_its_server() {
    let served = served(ALL_BUT_LOG);
    let check = || served.project.cdcql(&["check", FILE]);
    let _ = check().succeeded();
    served.edit("db.sales.*", "dbb.sales.*");
    let _ = check().failed(3, &["p.sql:4:", "'dbb'"]);
    served.edit("dbb.sales.*", "db.sales.*");
    served.edit(" LOCATION 'lake/bronze'", "");
    let _ = check().failed(3, &["p.sql:3:", "LOCATION"]);
}
