//! TRIGGER ON UPDATE AT MOST EVERY: how often a table's flows are executed.

use std::time::Duration;

use super::{error, parsed, underlined};
use crate::sql::{Parameters, SourceText, StatementKind, parse_all};

const FLOW: &str = "FLOW AUTO CDC FROM STREAM a.b.t CHANGES";

fn trigger_of(sql: &str) -> Option<Duration> {
    match &parsed(sql)[0].kind {
        StatementKind::CreateTable(table) => table.trigger,
        other => panic!("{other:?}"),
    }
}

#[test]
fn intervals_are_written_as_in_sql() {
    for (interval, seconds) in [
        ("30 SECONDS", 30),
        ("1 second", 1),
        ("'30' SECOND", 30),
        ("'30 seconds'", 30),
        ("'1 minute'", 60),
        ("' 5  MINUTES '", 300),
        ("5 MINUTES", 300),
        ("'2' HOURS", 7200),
        ("1 HOUR", 3600),
        ("1 DAY", 86_400),
        ("7 DAYS", 7 * 86_400),
    ] {
        let every = format!("TRIGGER ON UPDATE AT MOST EVERY INTERVAL {interval}");
        let seconds = Some(Duration::from_secs(seconds));
        for sql in [
            format!("CREATE STREAMING TABLE t {every} {FLOW}"),
            format!("CREATE STREAMING TABLE t {every}"),
            format!("CREATE STREAMING TABLE t LOCATION 'l' {every} COMMENT 'c' {FLOW}"),
            format!("CREATE STREAMING TABLE t (PRIMARY KEY (id)) {every} {FLOW}"),
        ] {
            assert_eq!(trigger_of(&sql), seconds, "{sql}");
        }
    }
    assert_eq!(
        trigger_of(&format!("CREATE STREAMING TABLE t {FLOW}")),
        None
    );
}

#[test]
fn an_interval_may_be_a_parameter() {
    let mut parameters = Parameters::default();
    assert!(parameters.set("pause", "30") && parameters.set("whole", "2 hours"));
    for (interval, seconds) in [(":pause SECONDS", 30), (":whole", 7200)] {
        let text = SourceText {
            name: "f.sql".to_owned(),
            text: format!(
                "CREATE STREAMING TABLE t TRIGGER ON UPDATE AT MOST EVERY INTERVAL {interval}"
            ),
        };
        let read = parse_all(&text, &parameters);
        let StatementKind::CreateTable(table) = &read.statements[0].kind else {
            panic!("{:?}", read.errors);
        };
        assert_eq!(table.trigger, Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn what_is_no_interval_is_refused_where_it_stands() {
    for (interval, place, message) in [
        ("INTERVAL 0 SECONDS", "0 SECONDS", "more than nothing"),
        ("INTERVAL '00' SECONDS", "'00' SECONDS", "more than nothing"),
        ("INTERVAL -5 MINUTES", "-5 MINUTES", "more than nothing"),
        ("INTERVAL '-1 day'", "'-1 day'", "more than nothing"),
        ("INTERVAL 999999999 DAYS", "999999999 DAYS", "too long"),
        (
            "INTERVAL 99999999999999999999999 DAYS",
            "99999999999999999999999 DAYS",
            "too long",
        ),
        ("INTERVAL 0.5 SECONDS", "0.5", "a whole number"),
        (
            "INTERVAL '1 minute 30 seconds'",
            "'1 minute 30 seconds'",
            "a whole number",
        ),
        ("INTERVAL 'soon'", "FLOW", "SECONDS, MINUTES, HOURS or DAYS"),
        ("INTERVAL '5 parsecs'", "'5 parsecs'", "a whole number"),
        (
            "INTERVAL 5 SECONS",
            "SECONS",
            "SECONDS, MINUTES, HOURS or DAYS",
        ),
        (
            "INTERVAL 1 MONTH",
            "MONTH",
            "SECONDS, MINUTES, HOURS or DAYS",
        ),
        ("INTERVAL SECONDS", "SECONDS", "a whole number"),
        ("30 SECONDS", "30", "expected INTERVAL"),
    ] {
        let sql =
            format!("CREATE STREAMING TABLE t TRIGGER ON UPDATE AT MOST EVERY {interval} {FLOW}");
        let error = error(&sql);
        assert!(error.message().contains(message), "{sql}: {error}");
        assert_eq!(underlined(&sql, &error), place, "{error}");
    }
}

#[test]
fn a_trigger_is_of_a_streaming_table_and_given_once() {
    let every = "TRIGGER ON UPDATE AT MOST EVERY INTERVAL 1 MINUTE";
    let twice = error(&format!("CREATE STREAMING TABLE t {every} {every} {FLOW}"));
    assert!(twice.message().contains("given twice"), "{twice}");
    let plain = error(&format!("CREATE TABLE t USING DELTA LOCATION 'l' {every}"));
    assert!(
        plain.help().unwrap().contains("CREATE STREAMING TABLE"),
        "{plain}"
    );
    for cut in [
        "TRIGGER",
        "TRIGGER ON UPDATE",
        "TRIGGER ON UPDATE AT MOST EVERY INTERVAL 5",
    ] {
        let cut = error(&format!("CREATE STREAMING TABLE t {cut}"));
        assert!(cut.message().contains("expected"), "{cut}");
    }
}
