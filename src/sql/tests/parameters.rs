//! `:name` and the constant in its place.

use super::{planned, text, underlined};
use crate::sql::{
    Const, Diagnostic, Literal, Parameters, Parsed, Statement, StatementKind, parse, parse_all,
};

fn parameters(given: &[(&str, &str)]) -> Parameters {
    let mut parameters = Parameters::default();
    for (name, value) in given {
        assert!(parameters.set(name, value), "{name}");
    }
    parameters
}

fn read(sql: &str, given: &[(&str, &str)]) -> Parsed {
    parse_all(&text(sql), &parameters(given))
}

/// The one statement of a text that is right.
fn one(sql: &str, given: &[(&str, &str)]) -> Statement {
    let mut parsed = read(sql, given);
    assert!(parsed.errors.is_empty(), "{sql}\n{:#?}", parsed.errors);
    assert_eq!(parsed.statements.len(), 1, "{sql}");
    parsed.statements.remove(0)
}

/// The one error of a text that is wrong.
fn error(sql: &str, given: &[(&str, &str)]) -> Diagnostic {
    let mut parsed = read(sql, given);
    assert_eq!(parsed.errors.len(), 1, "{sql}\n{:#?}", parsed.errors);
    parsed.errors.remove(0)
}

/// What the planner reads where `SELECT` is followed by `expression`.
fn expression(expression: &str, given: &[(&str, &str)]) -> String {
    let sql = planned(&one(&format!("SELECT {expression}"), given));
    sql.trim_start_matches("SELECT ").to_owned()
}

#[test]
fn values_are_numbers_booleans_null_and_texts() {
    for (value, constant) in [
        ("5", "5"),
        ("0.2", "0.2"),
        (".5", ".5"),
        ("-5", "(-5)"),
        ("-0.25", "(-0.25)"),
        ("true", "true"),
        ("FALSE", "false"),
        ("null", "NULL"),
        ("EU", "'EU'"),
        ("", "''"),
        ("'5'", "'5'"),
        ("'it''s'", "'it''s'"),
        ("''", "''"),
        ("it's", "'it''s'"),
        ("'s-Hertogenbosch", "'''s-Hertogenbosch'"),
        ("00123", "'00123'"),
        ("1e5", "'1e5'"),
        ("5.", "'5.'"),
        ("--5", "'--5'"),
        ("-", "'-'"),
        ("+5", "'+5'"),
        ("0", "0"),
        ("0.0", "0.0"),
        ("1; DROP TABLE t", "'1; DROP TABLE t'"),
        ("' OR 1 = 1 --", "''' OR 1 = 1 --'"),
        (r"\' OR 1 = 1 --", r"'\' OR 1 = 1 --'"),
    ] {
        assert_eq!(expression(":n", &[("n", value)]), constant, "{value}");
    }
}

#[test]
fn names_match_without_regard_to_case_and_are_told() {
    let parsed = read(
        "SELECT :Region, :region; SELECT :größe",
        &[("REGION", "EU"), ("Größe", "1")],
    );
    assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
    assert_eq!(planned(&parsed.statements[0]), "SELECT 'EU', 'EU'");
    assert_eq!(parsed.parameters, ["region", "größe"]);
    let mut given = parameters(&[("Region", "EU")]);
    assert!(!given.set("rEGION", "US"));
    assert_eq!(given.unused(&parsed.parameters), None);
    assert_eq!(given.unused(&["city".to_owned()]), Some("Region"));
}

#[test]
fn negative_numbers_keep_their_precedence() {
    for (sql, meaning) in [
        ("2 - :n", "2 - (-5)"),
        ("2 -:n", "2 - (-5)"),
        ("-:n", "-(-5)"),
        (":n ^ 2", "(-5) ^ 2"),
        (":n::text", "(-5)::TEXT"),
        ("a * :n + 1", "a * (-5) + 1"),
    ] {
        assert_eq!(expression(sql, &[("n", "-5")]), meaning, "{sql}");
    }
}

#[test]
fn a_parameter_stands_where_a_constant_stands() {
    for (sql, value, meaning) in [
        ("DATE :v", "2024-01-01", "DATE '2024-01-01'"),
        ("TIMESTAMP :v", "2024-01-01", "TIMESTAMP '2024-01-01'"),
        ("INTERVAL :v", "1 day", "INTERVAL '1 day'"),
        ("INTERVAL :v DAY", "2", "INTERVAL 2 DAY"),
        ("CAST(a AS DECIMAL(:v, 2))", "9", "CAST(a AS DECIMAL(9,2))"),
        ("a LIKE b ESCAPE :v", "!", "a LIKE b ESCAPE '!'"),
        ("a IN (:v, 2)", "1", "a IN (1, 2)"),
        ("a BETWEEN :v AND :v", "1", "a BETWEEN 1 AND 1"),
        (
            "CASE WHEN a THEN :v ELSE :v END",
            "x",
            "CASE WHEN a THEN 'x' ELSE 'x' END",
        ),
        ("a=:v", "1", "a = 1"),
        ("f(:v)", "null", "f(NULL)"),
        ("a FROM t LIMIT :v", "3", "a FROM t LIMIT 3"),
        (":v AS b", "x", "'x' AS b"),
        ("[:v, :v]", "1", "[1, 1]"),
        ("ARRAY[:v]", "1", "ARRAY[1]"),
        ("a[(:v)]", "1", "a[(1)]"),
        ("a[1: :v]", "2", "a[1:2]"),
        ("{'k': :v}", "2", "{'k': 2}"),
        ("MAP {:v: :v}", "2", "MAP {2: 2}"),
    ] {
        assert_eq!(expression(sql, &[("v", value)]), meaning, "{sql}");
    }
}

#[test]
fn other_colons_keep_their_meaning() {
    let given = [("n", "7"), ("int", "7"), ("b", "7"), ("text", "7")];
    for sql in [
        "SELECT a::int",
        "SELECT a[1:n]",
        "SELECT a[1 :n]",
        "SELECT a[n :n]",
        "SELECT a[:n]",
        "SELECT f(x)[:n]",
        "SELECT {'a':n}",
        "SELECT {'a' :n, 'b':n}",
        "SELECT MAP {'a':n, 'b' :n}",
        "SELECT a:b",
        "SELECT a:b.n",
        "SELECT a:b[n]",
        "SELECT ':n', \":n\" /* :n */ -- :n",
        "SELECT $$:n$$",
        "SELECT CAST(a AS STRUCT<n:int, b :text>)",
    ] {
        let parsed = read(sql, &given);
        assert!(parsed.errors.is_empty(), "{sql}\n{:?}", parsed.errors);
        assert!(parsed.parameters.is_empty(), "{sql}");
        let plain = parse(&text(sql)).unwrap();
        assert_eq!(planned(&parsed.statements[0]), planned(&plain[0]), "{sql}");
    }
}

#[test]
fn the_statements_of_the_language_take_parameters() {
    let sql = "CREATE TABLE t (a DECIMAL(:p, 2) COMMENT :c) USING DELTA LOCATION :l \
               OPTIONS (region :c, allow_http = :yes) COMMENT :c \
               TBLPROPERTIES ('delta.appendOnly' = :yes, 'x' = :n, 'y' = :c)";
    let given = [
        ("p", "9"),
        ("l", "lake/t"),
        ("c", "it's"),
        ("yes", "true"),
        ("n", "-1"),
    ];
    let statement = one(sql, &given);
    let StatementKind::CreateTable(table) = &statement.kind else {
        panic!("{statement:?}");
    };
    let literal = |constant: &Const| match constant {
        Const::Literal { value, span } => {
            assert!(sql[span.start..span.end].starts_with(':'));
            value.clone()
        }
        other => panic!("{other}"),
    };
    let text = |text: &str| Literal::String(text.to_owned());
    assert_eq!(literal(table.location.as_ref().unwrap()), text("lake/t"));
    assert_eq!(literal(&table.options[0].value), text("it's"));
    assert_eq!(literal(&table.options[1].value), Literal::Boolean(true));
    assert_eq!(table.comment.as_deref(), Some("it's"));
    let column = &table.columns.as_ref().unwrap()[0];
    assert_eq!(column.data_type.to_string(), "DECIMAL(9,2)");
    assert_eq!(column.comment.as_deref(), Some("it's"));
    let values: Vec<_> = table.properties.iter().map(|p| p.value.clone()).collect();
    let number = Literal::Number("-1".to_owned());
    assert_eq!(values, [Literal::Boolean(true), number, text("it's")]);
}

#[test]
fn flows_and_versions_take_parameters() {
    let given = [("region", "EU"), ("v", "3"), ("gone", "true")];
    let sql = planned(&one("SELECT * FROM t VERSION AS OF :v", &given));
    assert!(sql.contains("VERSION AS OF 3"), "{sql}");
    let flow = "CREATE FLOW f AS AUTO CDC INTO t FROM (SELECT id FROM STREAM a.b.c CHANGES AS s WHERE s.region = :region) \
                KEYS (id) APPLY AS DELETE WHEN :gone";
    let merge = planned(&one(flow, &given));
    assert!(merge.contains("'EU'") && merge.contains("true"), "{merge}");
}

#[test]
fn a_parameter_is_no_name() {
    for value in ["foo", "5", "-5", "true", "null"] {
        for sql in [
            "SELECT * FROM :p",
            "SELECT 1 AS :p",
            "SELECT upper :p",
            "SELECT a FROM t :p",
            "SELECT t.:p FROM t",
            "CREATE VIEW :p AS SELECT 1",
            "CREATE TABLE :p USING DELTA",
            "CREATE TABLE t (:p INT) USING DELTA",
            "CREATE TABLE t USING DELTA TBLPROPERTIES (:p = 1)",
            "CREATE STREAMING TABLE :p",
            "CREATE SCHEMA :p",
            "MERGE INTO :p USING t ON true WHEN MATCHED THEN DELETE",
        ] {
            let error = error(sql, &[("p", value)]);
            assert_eq!(underlined(sql, &error), ":p", "{sql}, {value}: {error}");
            assert!(error.message().contains("`:p`"), "{error}");
        }
    }
    let option = "CREATE TABLE t USING DELTA OPTIONS (:p 'x')";
    assert_eq!(underlined(option, &error(option, &[("p", "foo")])), ":p");
}

#[test]
fn every_parameter_without_a_value_is_told_with_all_else() {
    let sql = "SELECT :region, :regoin;\nSELEC 1;\nSELECT 1 FROM t WHERE a = :limit";
    let parsed = read(sql, &[("region", "EU")]);
    let told: Vec<_> = parsed
        .errors
        .iter()
        .map(|e| (underlined(sql, e), e.span().line, e.span().column))
        .collect();
    assert_eq!(
        told,
        [(":regoin", 1, 17), ("SELEC", 2, 1), (":limit", 3, 27)]
    );
    let near = &parsed.errors[0];
    assert_eq!(near.message(), "the parameter `:regoin` has no value");
    assert_eq!(
        near.help(),
        Some("did you mean `:region`, or --set regoin=…?")
    );
    assert_eq!(parsed.errors[2].help(), Some("give it one: --set limit=…"));
    assert_eq!(parsed.parameters, ["region", "regoin", "limit"]);
}

#[test]
fn in_the_place_of_a_secret_nothing_is_shown() {
    let sql = "CREATE CONNECTION c TYPE sqlserver OPTIONS (password :hunter2)";
    let error = error(sql, &[]);
    assert!(!format!("{error}").contains("hunter2"), "{error}");
    assert!(error.help().unwrap().contains("secret("));
}

#[test]
fn other_placeholders_are_refused_with_what_to_write() {
    for sql in ["SELECT ?", "SELECT : n", "SELECT :1"] {
        let error = error(sql, &[("n", "1")]);
        assert!(error.help().unwrap().contains("--set"), "{error}");
    }
}
