//! Histories and expectations: how they are read, and what they refuse.

use super::{error, parsed, underlined};
use crate::sql::{CreateTable, MergeStatement, OnViolation, StatementKind, Track};

const FLOW: &str = "FLOW AUTO CDC FROM STREAM a.b.t CHANGES";

fn read(sql: &str) -> (CreateTable, MergeStatement) {
    let kinds: Vec<_> = parsed(sql)
        .into_iter()
        .map(|statement| statement.kind)
        .collect();
    match <[StatementKind; 2]>::try_from(kinds) {
        Ok(
            [
                StatementKind::CreateTable(table),
                StatementKind::Merge(merge),
            ],
        ) => (*table, *merge),
        other => panic!("{sql}\n{other:?}"),
    }
}

fn names(idents: &[datafusion::sql::sqlparser::ast::Ident]) -> Vec<&str> {
    idents.iter().map(|ident| ident.value.as_str()).collect()
}

#[test]
fn a_history_is_of_the_flow_and_its_period_of_the_table() {
    let (table, merge) = read(&format!(
        "CREATE STREAMING TABLE x (PERIOD FOR SYSTEM_TIME (valid_from, [valid to])) {FLOW}
         TRACK HISTORY ON * EXCEPT (seen) STORED AS SCD TYPE 2"
    ));
    let period = table.period.unwrap();
    assert_eq!(
        (period.from.value.as_str(), period.to.value.as_str()),
        ("valid_from", "valid to")
    );
    assert!(table.columns.is_none());
    let history = merge.history().unwrap().clone();
    assert!(matches!(history.track, Some(Track::Except(columns)) if names(&columns) == ["seen"]));
    let (_, merge) = read(&format!(
        "CREATE STREAMING TABLE x {FLOW} STORED AS SCD TYPE 2 TRACK HISTORY ON (a, b)"
    ));
    let track = merge.history().unwrap().track.clone();
    assert!(matches!(track, Some(Track::Columns(columns)) if names(&columns) == ["a", "b"]));
    let (_, merge) = read(&format!(
        "CREATE STREAMING TABLE x {FLOW} STORED AS SCD TYPE 1"
    ));
    assert!(merge.history().is_none());
}

#[test]
fn expectations_say_what_becomes_of_rows() {
    let (table, _) = read(&format!(
        "CREATE STREAMING TABLE x (CONSTRAINT a EXPECT (n < 9 AND (s LIKE 'x,%' OR s IS NULL)),
         id INT, CONSTRAINT b EXPECT (true) ON VIOLATION DROP ROW,
         CONSTRAINT \"C c\" EXPECT (coalesce(n > 1, false)) ON VIOLATION FAIL UPDATE) {FLOW}"
    ));
    let expected = table.expectations.iter().map(|expectation| {
        let condition = expectation.condition.to_string();
        (
            expectation.name.value.as_str(),
            condition,
            expectation.on_violation,
        )
    });
    assert_eq!(
        expected.collect::<Vec<_>>(),
        [
            (
                "a",
                "(n < 9 AND (s LIKE 'x,%' OR s IS NULL))".to_owned(),
                OnViolation::Keep
            ),
            ("b", "(true)".to_owned(), OnViolation::DropRow),
            (
                "C c",
                "(coalesce(n > 1, false))".to_owned(),
                OnViolation::FailUpdate
            ),
        ]
    );
    assert_eq!(table.columns.unwrap().len(), 1);
}

#[test]
fn what_is_wrong_with_them_is_told_at_its_place() {
    for (elements, clauses, place, message) in [
        (
            "",
            "TRACK HISTORY ON (a)",
            "TRACK HISTORY ON (a)",
            "keeps its history",
        ),
        ("", "STORED AS SCD TYPE 3", "3", "expected 1 or 2"),
        (
            "",
            "STORED AS SCD TYPE 2 TRACK HISTORY ON a",
            "a",
            "expected `(` or `*`",
        ),
        (
            "(PERIOD FOR SYSTEM_TIME (a))",
            "",
            "PERIOD FOR SYSTEM_TIME (a)",
            "takes two columns",
        ),
        (
            "(PERIOD FOR SYSTEM_TIME (a, b), PERIOD FOR SYSTEM_TIME (c, d))",
            "",
            "PERIOD FOR SYSTEM_TIME (c, d)",
            "given twice",
        ),
        ("(PERIOD FOR SYSTEM_TIME (a, A))", "", "A", "given twice"),
        (
            "(CONSTRAINT c CHECK (a > 0))",
            "",
            "CHECK",
            "expected EXPECT (condition)",
        ),
        ("(CONSTRAINT c EXPECT a > 0)", "", "a", "expected"),
        (
            "(CONSTRAINT c EXPECT (a > 0 AND count(a) > 1))",
            "",
            "count",
            "the aggregate count() looks at several",
        ),
        (
            "(CONSTRAINT c EXPECT (a IN (SELECT b FROM t)))",
            "",
            "(a IN (SELECT b FROM t))",
            "asks other tables",
        ),
        (
            "(CONSTRAINT c EXPECT (a > 0) ON VIOLATION WARN)",
            "",
            "WARN",
            "DROP ROW or FAIL UPDATE",
        ),
    ] {
        let sql = format!("CREATE STREAMING TABLE x {elements} {FLOW} {clauses}");
        let error = error(&sql);
        assert!(error.message().contains(message), "{error}");
        assert_eq!(underlined(&sql, &error), place, "{error}");
    }
}
