//! Each mistake ends with one clear error, its exit code, and nothing written.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::support::Project;

const FILE: &str = "pipelines/customers.sql";

fn with_edit(from: &str, to: &str) -> Project {
    let project = Project::new();
    let text = project.read(FILE);
    assert!(text.contains(from), "{from:?} is not in {FILE}");
    project.write(FILE, &text.replace(from, to));
    project
}

fn assert_nothing_written(project: &Project) {
    assert!(
        !project.path().join("pipelines/lake").exists(),
        "something was written"
    );
}

#[test]
fn an_unreachable_port_is_a_connection_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let project = Project::new();
    let mut command = project.command();
    command.args(["run", FILE]).env(
        "APP_DB_URL",
        format!("sqlserver://sa:secret@127.0.0.1:{port}/app_db"),
    );
    crate::support::Ended::from(command.output().unwrap())
        .failed(1, &[&format!("127.0.0.1:{port}"), "customers.sql:"]);
    assert_nothing_written(&project);
}

#[test]
fn an_unknown_host_is_a_connection_error() {
    let project = Project::new();
    let mut command = project.command();
    command.args(["run", FILE]).env(
        "APP_DB_URL",
        "sqlserver://sa:secret@no-such-host.invalid:1433/app_db",
    );
    crate::support::Ended::from(command.output().unwrap()).failed(1, &["no-such-host.invalid"]);
    assert_nothing_written(&project);
}

#[test]
fn a_missing_environment_variable_is_named_with_its_place() {
    let project = with_edit(
        "env('APP_DB_URL', 'embedded:app_db.sql')",
        "env('NOT_SET_ANYWHERE')",
    );
    project
        .cdcql(&["run", FILE])
        .failed(3, &["NOT_SET_ANYWHERE", "customers.sql:"]);
    assert_nothing_written(&project);
}

#[test]
fn a_syntax_error_has_file_line_column_and_caret() {
    let project = with_edit("MERGE INTO", "MERGEE INTO");
    let ended = project
        .cdcql(&["run", FILE])
        .failed(3, &["customers.sql:", "MERGEE", "^"]);
    assert!(ended.stderr.contains("MERGE"), "{}", ended.stderr);
    assert_nothing_written(&project);
}

#[test]
fn an_unknown_column_has_its_place() {
    let project = with_edit("change.customer_id", "change.custommer_id");
    project
        .cdcql(&["run", FILE])
        .failed(3, &["customers.sql:", "custommer_id"]);
    assert_nothing_written(&project);
}

#[test]
fn a_table_that_does_not_exist_is_refused() {
    let project = with_edit(
        "app_db.dbo.customers CHANGES",
        "app_db.dbo.custmers CHANGES",
    );
    project
        .cdcql(&["run", FILE])
        .failed(3, &["customers.sql:", "custmers"]);
    assert_nothing_written(&project);
}

#[test]
fn a_table_that_is_not_captured_says_how_to_capture_it() {
    let project = with_edit("app_db.dbo.customers CHANGES", "app_db.dbo.orders CHANGES");
    project.append_to_database(
        "CREATE TABLE dbo.orders (customer_id INT PRIMARY KEY, city NVARCHAR(10));",
    );
    project
        .cdcql(&["run", FILE])
        .failed(3, &["customers.sql:", "orders", "sp_cdc_enable_table"]);
    assert_nothing_written(&project);
}

#[test]
fn a_database_without_cdc_says_how_to_enable_it() {
    let project = Project::new();
    project.write(
        "pipelines/app_db.sql",
        "CREATE TABLE dbo.customers (customer_id INT PRIMARY KEY, city NVARCHAR(10));",
    );
    project
        .cdcql(&["run", FILE])
        .failed(3, &["customers.sql:", "app_db", "sp_cdc_enable_db"]);
    assert_nothing_written(&project);
}

#[test]
fn an_unknown_connection_is_refused() {
    let project = with_edit("STREAM app_db.dbo", "STREAM app_bd.dbo");
    project
        .cdcql(&["run", FILE])
        .failed(3, &["customers.sql:", "app_bd", "app_db"]);
    assert_nothing_written(&project);
}

#[test]
fn an_unwritable_location_is_a_storage_error() {
    let project = with_edit("'lake/customers'", "'/proc/cdcql-lake/customers'");
    project
        .cdcql(&["run", FILE])
        .failed(1, &["/proc/cdcql-lake/customers"]);
}

#[test]
fn a_location_below_a_file_is_a_storage_error() {
    let project = Project::new();
    project.write("pipelines/lake", "a file, not a folder");
    std::fs::set_permissions(
        project.path().join("pipelines/lake"),
        std::fs::Permissions::from_mode(0o444),
    )
    .unwrap();
    project.cdcql(&["run", FILE]).failed(1, &["lake/customers"]);
    assert_eq!(project.read("pipelines/lake"), "a file, not a folder");
}

#[test]
fn a_script_error_names_its_line_and_the_server_error() {
    let project = Project::new();
    project.append_to_database("INSERT INTO dbo.nowhere VALUES (1);");
    project
        .cdcql(&["run", FILE])
        .failed(1, &["app_db.sql", "208", "nowhere"]);
    assert_nothing_written(&project);
}

#[test]
fn an_empty_location_is_refused() {
    let project = with_edit("'lake/customers'", "''");
    let words = ["customers.sql:9:28", "the LOCATION of 'customers' is empty"];
    project.cdcql(&["run", FILE]).failed(3, &words);
    assert!(!project.path().join("pipelines/_delta_log").exists());
}

#[test]
fn a_target_that_is_another_tables_is_refused() {
    let project = Project::new();
    let _ = project.run();
    let text = project
        .read(FILE)
        .replace("INTO customers", "INTO c2")
        .replace("EXISTS customers", "EXISTS c2");
    project.write("pipelines/c2.sql", &text);
    let words = [
        "c2.sql:12:12",
        "holds rows but no checkpoint of this flow",
        "empty place",
    ];
    project
        .cdcql(&["run", "pipelines/c2.sql"])
        .failed(1, &words);
    assert_eq!(project.commits(), 1);
}

#[test]
fn a_file_without_a_flow_says_that_nothing_ran() {
    let project = Project::new();
    project.write("pipelines/none.sql", "CREATE SCHEMA s LOCATION 'lake';");
    let ended = project.cdcql(&["run", "pipelines/none.sql"]).succeeded();
    assert!(
        ended.stderr.contains("none.sql has no flow"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_value_that_fails_is_told_in_its_own_words() {
    let project = Project::new();
    for (sql, words) in [
        (
            "SELECT CAST('x' AS INT)",
            "error: Cast error: Cannot cast string 'x'",
        ),
        ("SELECT 1 / 0", "error: Divide by zero"),
    ] {
        project
            .cdcql(&["query", "-c", sql])
            .failed(1, &["-c:1:1", words]);
    }
}

#[test]
fn a_missing_pipeline_file_is_named() {
    let project = Project::new();
    project
        .cdcql(&["run", "pipelines/nothing.sql"])
        .failed(1, &["pipelines/nothing.sql"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let project = Project::new();
    for arguments in [&["run"][..], &["query"], &["--no-such-flag"], &["nonsense"]] {
        assert_eq!(project.cdcql(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_null_in_a_column_declared_not_null_is_refused_and_leaves_the_table_alone() {
    let project = with_edit(
        "customers USING DELTA",
        "customers (customer_id INT NOT NULL, first_name STRING, last_name STRING, email STRING, city STRING NOT NULL)\nUSING DELTA",
    );
    let nullable = project.read("pipelines/app_db.sql").replacen(
        "city        NVARCHAR(128) NOT NULL",
        "city        NVARCHAR(128) NULL",
        1,
    );
    project.write("pipelines/app_db.sql", &nullable);
    let _ = project.run();
    let before = project.customers();
    project.append_to_database("UPDATE dbo.customers SET city = NULL WHERE customer_id = 2;\n");
    project.cdcql(&["run", "pipelines/customers.sql"]).failed(
        1,
        &[
            "customers.sql:",
            "a row cannot be stored",
            "nothing was applied",
            "Clark",
        ],
    );
    assert_eq!((project.customers(), project.commits()), (before, 1));
}

#[test]
fn what_cdcql_does_not_change_is_refused() {
    let project = Project::new();
    let _ = project.run();
    for (sql, words) in [
        (
            "INSERT INTO app_db.dbo.customers SELECT * FROM customers",
            [
                "-c:1:1",
                "'app_db.dbo.customers' is a table of SQL Server, which cdcql only reads",
            ],
        ),
        (
            "EXPLAIN DELETE FROM app_db.dbo.customers",
            ["-c:1:1", "which cdcql only reads"],
        ),
        (
            "DELETE FROM customers LIMIT 1",
            ["DELETE of 'customers'", "MERGE INTO"],
        ),
        (
            "DELETE FROM customers WHERE customer_id IN (SELECT customer_id FROM app_db.dbo.customers)",
            ["a subquery in a MERGE clause", "USING query"],
        ),
        (
            "DROP TABLE customers",
            ["DROP TABLE 'customers'", "delete the table's folder"],
        ),
        (
            "CREATE DATABASE other",
            ["cdcql has no such statement", "CREATE TABLE"],
        ),
    ] {
        let arguments = ["query", "--pipeline", "pipelines/customers.sql", "-c", sql];
        project.cdcql(&arguments).failed(3, &words);
    }
    assert_eq!(project.commits(), 1);
}
