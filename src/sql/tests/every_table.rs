//! CREATE STREAMING TABLE for every table of a schema.

use super::{error, one, parsed, underlined};
use crate::sql::{EveryTable, Statement, StatementKind};

fn every(sql: &str) -> (Statement, EveryTable) {
    let statement = one(sql);
    match &statement.kind {
        StatementKind::EveryTable(every) => (statement.clone(), (**every).clone()),
        other => panic!("{other:?}"),
    }
}

/// What a statement says of a table, without the places.
fn said(statements: &[Statement]) -> Vec<String> {
    let said = statements.iter().map(|statement| match &statement.kind {
        StatementKind::CreateTable(table) => format!("{} {:?}", table.name, table.comment),
        StatementKind::Merge(merge) => merge.to_sql().replace('\u{1f}', "~"),
        other => panic!("{other:?}"),
    });
    said.collect()
}

#[test]
fn it_means_for_a_table_what_it_would_mean_with_its_name() {
    for (stars, written) in [
        (
            "CREATE STREAMING TABLE bronze.* COMMENT 'c' FLOW AUTO CDC FROM STREAM a.b.* CHANGES EXCEPT TABLES (x, [y z]) KEYS (id)",
            "CREATE STREAMING TABLE bronze.\"my t\" COMMENT 'c' FLOW AUTO CDC FROM STREAM a.b.\"my t\" CHANGES KEYS (id)",
        ),
        (
            "CREATE OR REFRESH STREAMING TABLE IF NOT EXISTS lake.bronze.* FLOW AUTO CDC FROM (SELECT s.*, s.n * 2 AS m FROM STREAM a.b.* CHANGES AS s) KEYS (id)",
            "CREATE STREAMING TABLE IF NOT EXISTS lake.bronze.\"my t\" FLOW AUTO CDC FROM (SELECT s.*, s.n * 2 AS m FROM STREAM a.b.\"my t\" CHANGES AS s) KEYS (id)",
        ),
    ] {
        let (statement, every) = every(stars);
        assert_eq!(every.source.to_string(), "a.b");
        let read = statement.for_table(&every, "my t").unwrap();
        assert_eq!(said(&read), said(&parsed(written)));
        assert!(read.iter().all(|read| read.table() == Some("my t")));
    }
}

#[test]
fn what_it_leaves_out_is_listed() {
    let (_, every) = every(
        "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.* CHANGES EXCEPT TABLES (x, [y z])",
    );
    let except: Vec<_> = every
        .except
        .iter()
        .map(|name| name.value.as_str())
        .collect();
    assert_eq!(except, ["x", "y z"]);
}

#[test]
fn its_errors_are_found_when_it_is_read_and_name_the_table_later() {
    let bad =
        "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.* CHANGES STORED AS SCD TYPE 3";
    assert_eq!(error(bad).message(), "expected 1 or 2, found `3`");
    let (statement, every) =
        every("CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.* CHANGES");
    let control = statement.for_table(&every, "a\u{1f}b").unwrap_err();
    assert!(
        control[0].message().contains("control character"),
        "{}",
        control[0]
    );
    let read = statement.for_table(&every, "t").unwrap();
    let placed = read[0].diagnostic(read[0].span, "wrong", None);
    assert_eq!(placed.message(), "table 't': wrong");
}

#[test]
fn stars_go_together() {
    for (sql, place, part) in [
        (
            "CREATE STREAMING TABLE * FLOW AUTO CDC FROM STREAM a.b.* CHANGES",
            "*",
            "need a schema",
        ),
        (
            "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.t CHANGES",
            "b.*",
            "reads every table",
        ),
        ("CREATE STREAMING TABLE b.*", "b.*", "reads every table"),
        (
            "CREATE STREAMING TABLE b.t FLOW AUTO CDC FROM STREAM a.b.* CHANGES",
            "*",
            "for every table alone",
        ),
        (
            "CREATE FLOW f AS AUTO CDC INTO t FROM STREAM a.b.* CHANGES",
            "*",
            "for every table alone",
        ),
        ("SELECT * FROM a.b.* CHANGES", "*", "for every table alone"),
        (
            "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.* CHANGES",
            "a.*",
            "a connection's schema",
        ),
        (
            "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.c.* CHANGES",
            "a.b.c.*",
            "a connection's schema",
        ),
        (
            "CREATE STREAMING TABLE b.* LOCATION 'x' FLOW AUTO CDC FROM STREAM a.b.* CHANGES",
            "'x'",
            "at one LOCATION",
        ),
        (
            "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.*",
            "",
            "expected CHANGES",
        ),
        (
            "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.* CHANGES EXCEPT TABLES (c.d)",
            ".",
            "expected `,` or `)`",
        ),
        (
            "CREATE STREAMING TABLE b.* FLOW AUTO CDC FROM STREAM a.b.* CHANGES EXCEPT (c)",
            "EXCEPT",
            "expected",
        ),
    ] {
        let error = error(sql);
        assert!(error.message().contains(part), "{sql}: {error}");
        assert_eq!(underlined(sql, &error), place, "{sql}: {error}");
    }
}
