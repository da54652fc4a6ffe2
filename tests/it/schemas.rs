//! Columns and types: what a stream cannot carry, what a target declares, what changes at the source.

use crate::support::Project;

const FILE: &str = "pipelines/p.sql";

/// A database with one captured table `dbo.a`, whose columns besides `id` are `columns`.
fn database(columns: &str, values: &str) -> String {
    format!(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, {columns});
GO
INSERT INTO dbo.a VALUES (1, {values});
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
"
    )
}

/// A project with that database and a flow from it into the table that `target` declares.
fn project(database: &str, target: &str) -> Project {
    let project = Project::new();
    project.write("pipelines/app_db.sql", database);
    project.write(
        FILE,
        &format!(
            "CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');
CREATE TABLE IF NOT EXISTS {target};
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
"
        ),
    );
    project
}

fn query(project: &Project, sql: &str) -> String {
    let arguments = ["query", "--pipeline", FILE, "-c", sql];
    project.cdcql(&arguments).succeeded().stdout
}

#[test]
fn a_max_column_that_the_flow_leaves_out_hinders_nothing() {
    let database = database("note NVARCHAR(MAX) NULL, n INT NOT NULL", "N'long', 7");
    let project = project(&database, "a (id INT, n INT) USING DELTA LOCATION 'lake/a'");
    let _ = project.cdcql(&["run", FILE]).succeeded();
    assert!(query(&project, "SELECT * FROM a").contains("| 1  | 7 |"));
}

#[test]
fn declared_types_are_deltas_own() {
    let database = database(
        "at DATETIMEOFFSET(6) NOT NULL, local DATETIME2(6) NOT NULL, small SMALLINT NOT NULL, whole DECIMAL(10, 0) NOT NULL",
        "'2024-05-06T07:08:09.123456+02:00', '2024-05-06T07:08:09.123456', 3, 12",
    );
    let columns = "id INT, at TIMESTAMP, local TIMESTAMP_NTZ, small SHORT, whole DECIMAL";
    let target = format!("a ({columns}) USING DELTA LOCATION 'lake/a'");
    let project = project(&database, &target);
    let _ = project.cdcql(&["run", FILE]).succeeded();
    let rows = query(&project, "SELECT at, local, small, whole FROM a");
    assert!(
        rows.contains(
            "| 2024-05-06T05:08:09.123456Z | 2024-05-06T07:08:09.123456 | 3     | 12    |"
        ),
        "{rows}"
    );
    let log = project.read("pipelines/lake/a/_delta_log/00000000000000000000.json");
    for stored in [
        r#"\"name\":\"at\",\"type\":\"timestamp\""#,
        r#"\"name\":\"local\",\"type\":\"timestamp_ntz\""#,
    ] {
        assert!(log.contains(stored), "{log}");
    }
}

#[test]
fn a_declared_zone_that_the_source_lacks_is_named_as_a_person_would_write_it() {
    let database = database("local DATETIME2(6) NOT NULL", "'2024-05-06T07:08:09'");
    let target = "a (id INT, local TIMESTAMP) USING DELTA LOCATION 'lake/a'";
    project(&database, target).cdcql(&["run", FILE]).failed(
        3,
        &["column 'local' is TIMESTAMP_NTZ in the source but TIMESTAMP in the target"],
    );
}

/// A flow from `dbo.a` with the columns `price` and `n` that stores `price` and `n` as given.
fn assigning(price: &str, n: &str) -> Project {
    let database = database(
        "price DECIMAL(10, 4) NOT NULL, ratio FLOAT NOT NULL",
        "1.2345, 2.9",
    );
    let project = project(&database, "");
    project.write(
        FILE,
        &format!(
            "CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');
CREATE TABLE IF NOT EXISTS a (id BIGINT, price DECIMAL(10, 2), n INT) USING DELTA LOCATION 'lake/a';
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED THEN UPDATE SET price = {price}
WHEN NOT MATCHED THEN INSERT (id, price, n) VALUES (change.id, 0, {n});
"
        ),
    );
    project
}

#[test]
fn a_value_that_its_column_would_change_is_refused_with_both_types() {
    for (price, n, words) in [
        (
            "change.price",
            "1",
            "column 'price' is DECIMAL(10, 2) and would not hold what it is given, change.price of type DECIMAL(10, 4)",
        ),
        (
            "0",
            "change.ratio",
            "column 'n' is INT and would not hold what it is given, change.ratio of type DOUBLE",
        ),
        (
            "CASE WHEN change.id = 1 THEN 1.5 ELSE 1.2345 END",
            "1",
            "column 'price' is DECIMAL(10, 2)",
        ),
    ] {
        let project = assigning(price, n);
        let words = ["p.sql:3:12", words, "write CAST(… AS "];
        let _ = project.cdcql(&["run", FILE]).failed(3, &words);
        assert!(!project.path().join("pipelines/lake").exists());
    }
}

#[test]
fn a_value_that_is_cast_or_fits_its_column_is_stored() {
    let project = assigning(
        "CAST(change.price AS DECIMAL(10, 2))",
        "CASE WHEN change.id = 1 THEN CAST(change.ratio AS INT) ELSE COALESCE(change.id, 0) + 1 END",
    );
    let _ = project.cdcql(&["run", FILE]).succeeded();
    assert!(query(&project, "SELECT * FROM a").contains("| 1  | 0.00  | 2 |"));
    project.append_to_database("UPDATE dbo.a SET price = 2.5;");
    let _ = project.cdcql(&["run", FILE]).succeeded();
    assert!(query(&project, "SELECT * FROM a").contains("| 1  | 2.50  | 2 |"));
}

#[test]
fn a_declaration_that_the_existing_table_contradicts_is_refused() {
    let database = database("n INT NOT NULL", "7");
    let project = project(&database, "a USING DELTA LOCATION 'lake/a'");
    let _ = project.cdcql(&["run", FILE]).succeeded();
    let text = project.read(FILE);
    for (columns, difference) in [
        ("id INT, n INT, more STRING", "it has no column 'more'"),
        ("id INT, n BIGINT", "its column 'n' is INT, not BIGINT"),
        ("id INT", "its column 'n' is not in the declaration"),
    ] {
        let declared = format!("a ({columns}) USING DELTA");
        project.write(FILE, &text.replace("a USING DELTA", &declared));
        let words = ["p.sql:3:12", "has other columns than", difference];
        project.cdcql(&["run", FILE]).failed(3, &words);
    }
}

#[test]
fn a_target_with_an_alias_is_known_by_that_alone() {
    let database = database("n INT NOT NULL", "7");
    let project = project(&database, "a USING DELTA LOCATION 'lake/a'");
    let text = project.read(FILE);
    let text = text
        .replace("target", "t")
        .replace("change.", "a.")
        .replace("AS change", "AS a");
    assert!(text.contains("MERGE INTO a AS t USING STREAM db.dbo.a CHANGES AS a ON t.id = a.id"));
    project.write(FILE, &text);
    let _ = project.cdcql(&["run", FILE]).succeeded();
    project.append_to_database("UPDATE dbo.a SET n = 8; INSERT INTO dbo.a VALUES (2, 9);");
    let merged = project.cdcql(&["run", FILE]).succeeded();
    assert!(
        merged.stderr.contains("1 inserted, 1 updated"),
        "{}",
        merged.stderr
    );
    let rows = query(&project, "SELECT id, n FROM a ORDER BY id");
    assert!(
        rows.contains("| 1  | 8 |") && rows.contains("| 2  | 9 |"),
        "{rows}"
    );
}

#[test]
fn a_column_that_was_dropped_stops_its_star_until_the_star_leaves_it_out() {
    let database = database("n INT NOT NULL, m INT NULL", "7, 8");
    let project = project(&database, "a USING DELTA LOCATION 'lake/a'");
    let _ = project.cdcql(&["run", FILE]).succeeded();
    project.append_to_database("ALTER TABLE dbo.a DROP COLUMN m;\nGO\nUPDATE dbo.a SET n = 9;");
    let dropped = "column m of dbo.a was dropped from the table";
    let words = [dropped, "leave it out with `* EXCEPT (m)`"];
    let _ = project.cdcql(&["run", FILE]).failed(3, &words);
    let text = project.read(FILE);
    project.write(
        FILE,
        &text
            .replace("SET *", "SET * EXCEPT (m)")
            .replace("INSERT *", "INSERT * EXCEPT (m)"),
    );
    let _ = project.cdcql(&["run", FILE]).succeeded();
    assert!(query(&project, "SELECT n, m FROM a").contains("| 9 | 8 |"));
}

/// Enables a second capture instance of `dbo.a`.
const SECOND: &str = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
                      @capture_instance = N'second'";

#[test]
fn a_second_capture_instance_does_not_stop_a_flow_that_the_first_still_covers() {
    let database = database("n INT NOT NULL", "7");
    let project = project(&database, "a USING DELTA LOCATION 'lake/a'");
    let _ = project.cdcql(&["run", FILE]).succeeded();
    project.append_to_database(&format!(
        "UPDATE dbo.a SET n = 8;\nGO\n{SECOND};\nGO\nINSERT INTO dbo.a VALUES (2, 9);"
    ));
    let both = project.cdcql(&["run", FILE]).succeeded();
    assert!(
        both.stderr.contains("1 inserted, 1 updated"),
        "{}",
        both.stderr
    );
    project.append_to_database("UPDATE dbo.a SET n = 10 WHERE id = 2;");
    let next = project.cdcql(&["run", FILE]).succeeded();
    assert!(
        next.stderr.contains("0 inserted, 1 updated"),
        "{}",
        next.stderr
    );
}

#[test]
fn a_schema_change_stops_the_flow_with_what_changed() {
    let database = database("n INT NOT NULL, m INT NOT NULL", "7, 8");
    let target = "a USING DELTA LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = 'fail')";
    let project = project(&database, target);
    let _ = project.cdcql(&["run", FILE]).succeeded();
    project.append_to_database(&format!(
        "{SECOND}, @captured_column_list = N'id, n';\nGO\nUPDATE dbo.a SET n = 9;"
    ));
    let covered = project.cdcql(&["run", FILE]).succeeded();
    assert!(covered.stderr.contains("1 updated"), "{}", covered.stderr);
    project.append_to_database("UPDATE dbo.a SET n = 10;");
    let before = query(&project, "SELECT * FROM a");
    project.cdcql(&["run", FILE]).failed(
        3,
        &[
            "p.sql:5:30",
            "no column `m`",
            "* EXCEPT (m)",
            "'cdcql.onSchemaChange' = 'add'",
        ],
    );
    assert_eq!(query(&project, "SELECT * FROM a"), before);
}
