//! CREATE CONNECTION, CREATE SCHEMA, CREATE TABLE, and errors of whole files.

use super::{error, errors, one, parsed, planned, text, underlined};
use crate::sql::{
    Const, CreateConnection, CreateTable, Literal, SecretStore, Statement, StatementKind, parse,
};

fn connection(sql: &str) -> CreateConnection {
    match one(sql).kind {
        StatementKind::CreateConnection(connection) => connection,
        kind => panic!("{kind:?}"),
    }
}

fn table(sql: &str) -> CreateTable {
    match one(sql).kind {
        StatementKind::CreateTable(table) => *table,
        kind => panic!("{kind:?}"),
    }
}

#[test]
fn the_pipeline_of_the_tutorial_is_three_statements() {
    let sql = include_str!("../../../pipelines/customers.sql");
    let statements = parse(&text(sql)).unwrap();
    let kinds: Vec<_> = statements
        .iter()
        .map(|s| std::mem::discriminant(&s.kind))
        .collect();
    assert_eq!(kinds.len(), 3);
    assert!(matches!(
        statements[0].kind,
        StatementKind::CreateConnection(_)
    ));
    assert!(matches!(statements[1].kind, StatementKind::CreateTable(_)));
    assert!(matches!(statements[2].kind, StatementKind::Merge(_)));
    assert!(
        statements[2].text.starts_with("MERGE INTO") && statements[2].text.ends_with("INSERT *")
    );
    let StatementKind::CreateConnection(connection) = &statements[0].kind else {
        panic!()
    };
    let value = &connection.options[0].value;
    assert_eq!(
        value.to_string(),
        "env('APP_DB_URL', 'embedded:app_db.sql')"
    );
}

#[test]
fn connections_have_options() {
    let found = connection(
        "create connection if not exists [App DB] type SqlServer options (host 'h', port 1433, \
         encrypt true, password secret('file', '/run/pw'), 'user' = N'sa', ca_file env('CA'));",
    );
    assert!(found.if_not_exists);
    assert_eq!(found.name.value, "App DB");
    let value = |name: &str| {
        found
            .options
            .iter()
            .find(|o| o.name == name)
            .unwrap()
            .value
            .clone()
    };
    assert!(
        matches!(value("port"), Const::Literal { value: Literal::Number(n), .. } if n == "1433")
    );
    assert!(matches!(
        value("encrypt"),
        Const::Literal {
            value: Literal::Boolean(true),
            ..
        }
    ));
    assert!(
        matches!(value("password"), Const::Secret { store: SecretStore::File, name, .. } if name == "/run/pw")
    );
    assert!(matches!(value("user"), Const::Literal { value: Literal::String(s), .. } if s == "sa"));
    assert!(matches!(value("ca_file"), Const::Env { default: None, .. }));
}

#[test]
fn passwords_are_never_printed() {
    let sql = "CREATE CONNECTION c TYPE sqlserver OPTIONS (password 'hunter2', url 'sqlserver://sa:hunter2@h')";
    let debug = format!("{:?} {:?}", one(sql), text(sql));
    assert!(!debug.contains("hunter2"), "{debug}");
    for wrong in [
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (password 'hunter2' x)",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (password 'hunter2', prt 1)",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (url 'sqlserver://sa:hunter2@h', password = env('X', 'hunter2) y",
        "CREATE CONECTION c OPTIONS (password 'hunter2')",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (pasword 'hunter2')",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (password hunter2)",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (password \"hunter2\")",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS ('password' E'hunter2')",
        "CREATE CONNECTION c TYPE sqlserver OPTIONS ('hunter3', password 'hunter2' 'hunter2')",
    ] {
        for error in errors(wrong) {
            assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn connections_refuse_what_they_do_not_know() {
    let wrong = |options: &str| {
        error(&format!(
            "CREATE CONNECTION c TYPE sqlserver OPTIONS ({options})"
        ))
    };
    assert_eq!(
        wrong("pasword 'x'").help(),
        Some("did you mean `password`?")
    );
    assert!(
        wrong("colour 'x'")
            .help()
            .unwrap()
            .contains("trust_server_certificate")
    );
    assert!(wrong("host 'a', HOST 'b'").message().contains("twice"));
    assert!(wrong("host").message().contains("expected a literal"));
    assert!(wrong("host :name").message().contains("parameters"));
    assert!(wrong("").message().contains("expected an option"));
    assert!(
        error("CREATE CONNECTION c TYPE postgres OPTIONS (host 'x')")
            .message()
            .contains("sqlserver")
    );
    assert!(
        error("CREATE CONNECTION c TYPE sqlserver")
            .message()
            .contains("expected OPTIONS")
    );
    assert!(
        error("CREATE CONNECTION c TYPE sqlserver OPTIONS (host 'a') x")
            .message()
            .contains("end of the statement")
    );
}

#[test]
fn schemas_have_locations() {
    let StatementKind::CreateSchema(schema) =
        one("CREATE SCHEMA IF NOT EXISTS silver LOCATION 'lake/silver'").kind
    else {
        panic!()
    };
    assert_eq!(
        (schema.if_not_exists, schema.name.to_string().as_str()),
        (true, "silver")
    );
    assert_eq!(schema.location.unwrap().to_string(), "'lake/silver'");
    assert_eq!(
        error("CREATE SCHEMA silver LOCTION 'x'").help(),
        Some("did you mean LOCATION?")
    );
    assert!(
        error("CREATE SCHEMA s LOCATION secret('env', 'X')")
            .message()
            .contains("expected a path")
    );
}

#[test]
fn tables_have_all_their_clauses() {
    let found = table(
        "CREATE TABLE IF NOT EXISTS lake.customers (CustomerID INT NOT NULL COMMENT 'the key', \"name\" VARCHAR(20), \
         price DECIMAL(10, 2) NULL, tags ARRAY<STRING>) USING delta PARTITIONED BY (city, [Year]) LOCATION env('LAKE') \
         COMMENT 'all of them' TBLPROPERTIES ('cdcql.onSchemaChange' = 'add', delta.appendOnly = false)",
    );
    assert!(found.if_not_exists);
    assert_eq!(found.name.to_string(), "lake.customers");
    let columns = found.columns.unwrap();
    let shown: Vec<_> = columns
        .iter()
        .map(|c| format!("{} {} {}", c.name.value, c.data_type, c.nullable))
        .collect();
    assert_eq!(
        shown,
        [
            "CustomerID INT false",
            "name VARCHAR(20) true",
            "price DECIMAL(10,2) true",
            "tags ARRAY<STRING> true"
        ]
    );
    assert_eq!(columns[0].comment.as_deref(), Some("the key"));
    assert_eq!(
        found
            .partitioned_by
            .iter()
            .map(|c| c.value.as_str())
            .collect::<Vec<_>>(),
        ["city", "Year"]
    );
    assert_eq!(found.comment.as_deref(), Some("all of them"));
    let properties: Vec<_> = found
        .properties
        .iter()
        .map(|p| (p.name.as_str(), p.value.text()))
        .collect();
    assert_eq!(
        properties,
        [
            ("cdcql.onSchemaChange", "add"),
            ("delta.appendOnly", "false")
        ]
    );
}

#[test]
fn a_table_without_columns_takes_them_from_its_flow() {
    let found = table("CREATE TABLE customers USING DELTA LOCATION 'lake/customers'");
    assert_eq!((found.columns, found.if_not_exists), (None, false));
}

#[test]
fn tables_refuse_what_would_be_ignored() {
    let help = |sql: &str| error(sql).help().unwrap_or_default().to_owned();
    let wrong = |sql: &str| error(sql).message().to_owned();
    assert!(help("CREATE TABLE t USING DELTA LOCTION 'x'").contains("LOCATION"));
    assert!(
        help("CREATE TABLE t USING DELTA TBLPROPERTIES ('cdcql.onSchemaChang' = 'add')")
            .contains("cdcql.onSchemaChange")
    );
    assert!(
        help("CREATE TABLE t USING DELTA TBLPROPERTIES ('cdqcl.readBack' = 'true')")
            .contains("cdcql.readBack")
    );
    assert!(help("CREATE TABLE t USING PARQUET LOCATION 'x'").contains("DELTA"));
    assert!(help("CREATE OR REPLACE TABLE t USING DELTA").contains("IF NOT EXISTS"));
    assert!(help("CREATE TABLE t USING DELTA AS SELECT 1").contains("MERGE INTO"));
    assert!(wrong("CREATE TABLE t USING DELTA LOCATION 'x' LOCATION 'y'").contains("twice"));
    assert!(wrong("CREATE TABLE t (a INT) LOCATION 'x'").contains("expected USING DELTA"));
    assert!(wrong("CREATE TABLE t (a INT PRIMARY KEY) USING DELTA").contains("not supported"));
    assert!(wrong("CREATE TABLE t (a INT DEFAULT 1) USING DELTA").contains("not supported"));
    assert!(wrong("CREATE TABLE t (a INT, PRIMARY KEY (a)) USING DELTA").contains("constraint"));
    assert!(wrong("CREATE TABLE t (a INT, A INT) USING DELTA").contains("twice"));
    assert!(wrong("CREATE TABLE t () USING DELTA").contains("at least one column"));
    assert!(wrong("CREATE TABLE t (a) USING DELTA").contains("expected"));
    assert!(wrong("CREATE TABLE t (a INT USING DELTA").contains("expected"));
}

#[test]
fn statements_of_datafusion_are_left_to_it() {
    for sql in [
        "SELECT 1",
        "SHOW TABLES",
        "SET datafusion.execution.batch_size = 10",
        "DESCRIBE t",
        "VALUES (1)",
        "EXPLAIN ANALYZE SELECT 1",
        "INSERT INTO t VALUES (1)",
        "COPY t TO 'x.parquet'",
        "CREATE TABLE m AS SELECT 1 AS a",
        "CREATE TABLE m (a INT)",
        "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION 'x.csv'",
        "CREATE VIEW v AS SELECT 1",
        "DROP VIEW v",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "RESET datafusion.execution.batch_size",
        "SELECT a[1], [1, 2], {'a': 1} FROM t",
        "PREPARE p AS SELECT $1",
        "FROM t SELECT a",
    ] {
        assert!(matches!(one(sql).kind, StatementKind::Other(_)), "{sql}");
    }
}

#[test]
fn many_comparisons_are_not_nested() {
    one(&format!(
        "SELECT a FROM t WHERE a < 0{}",
        " OR a < 1".repeat(100)
    ));
}

#[test]
fn a_parameter_without_a_value_is_refused() {
    for sql in [
        "SELECT * FROM t WHERE a = :region",
        "SELECT ?",
        "SELECT 1 LIMIT :n",
    ] {
        assert!(error(sql).message().contains("parameter"), "{sql}");
    }
}

#[test]
fn what_the_planner_would_ignore_is_refused() {
    for (sql, part) in [
        ("SELECT * FROM t WITH (NOLOCK)", "NOLOCK"),
        ("SELECT * FROM t TABLESAMPLE (10 PERCENT)", "TABLESAMPLE"),
        ("SELECT * FROM t FOR UPDATE", "FOR clause"),
        ("SELECT * FROM t SETTINGS a = 1", "SETTINGS"),
        ("SELECT * FROM t PREWHERE a = 1", "PREWHERE"),
        (
            "EXPLAIN SELECT * FROM (SELECT * FROM t WITH (NOLOCK)) AS x",
            "NOLOCK",
        ),
    ] {
        let error = error(sql);
        assert!(error.message().contains(part), "{error}");
        assert!(error.help().is_some());
    }
}

#[test]
fn all_errors_of_a_file_are_reported_at_once() {
    let sql =
        "SELECT 1;\nSELCT 2;\nCREATE CONECTION c;\nSELECT 3 +;\nSELECT (4;\nSELECT 5; SELECT 'six";
    let errors = errors(sql);
    let found: Vec<_> = errors
        .iter()
        .map(|e| (e.span().line, e.span().column, e.help().unwrap_or_default()))
        .collect();
    assert_eq!(found[0], (2, 1, "did you mean SELECT?"));
    assert_eq!(found[1], (3, 8, "did you mean CONNECTION?"));
    assert_eq!((found[2].0, found[2].1), (4, 11));
    assert_eq!((found[3].0, found[3].1), (5, 10));
    assert_eq!((found[4].0, found[4].1), (6, 18));
    assert_eq!(errors.len(), 5);
    assert!(
        errors[2].message().contains("the end of the statement"),
        "{}",
        errors[2]
    );
}

#[test]
fn an_error_is_shown_with_its_line() {
    let shown = error("SELECT 1;\n  SELCT 2;").to_string();
    let expected = "f.sql:2:3: error: expected an SQL statement, found `SELCT`\n  |\n2 |   SELCT 2;\n  |   ^^^^^\n  |\n  = help: did you mean SELECT?";
    assert_eq!(shown, expected);
}

#[test]
fn statements_know_their_places() {
    let sql = "SELECT 1;\n\n SELECT c.City, \"x\" FROM t AS c -- end\n;";
    let statements = parsed(sql);
    let second: &Statement = &statements[1];
    assert_eq!((second.span.line, second.span.column), (3, 2));
    assert_eq!(second.text, "SELECT c.City, \"x\" FROM t AS c");
    let at = |name: &str| {
        second
            .find(name)
            .map(|span| (&sql[span.start..span.end], span.line, span.column))
    };
    assert_eq!(at("c.city"), Some(("c.City", 3, 9)));
    assert_eq!(at("other.city"), Some(("City", 3, 11)));
    assert_eq!(at("X"), Some(("\"x\"", 3, 17)));
    assert_eq!(at("nothing"), None);
    let shown = second
        .diagnostic(second.find("City").unwrap(), "no such column", None)
        .to_string();
    assert!(
        shown.starts_with("f.sql:3:11: error: no such column\n"),
        "{shown}"
    );
}

#[test]
fn extra_words_after_a_statement_are_an_error() {
    let sql = "SELECT 1 SELECT 2";
    let error = error(sql);
    assert_eq!(underlined(sql, &error), "SELECT");
    assert!(error.message().contains("end of the statement"));
    assert!(planned(&one("SELECT 1; -- the end")).starts_with("SELECT 1"));
    assert!(parsed("").is_empty() && parsed(";;\n-- nothing\n").is_empty());
}
