//! Where the words are keywords.

use super::{error, errors, one, planned, underlined};
use crate::sql::{RelationKind, table_references};

fn query(sql: &str) -> String {
    planned(&one(sql))
}

#[test]
fn changes_after_a_name_is_the_clause() {
    assert_eq!(
        query("SELECT * FROM app_db.dbo.customers CHANGES"),
        "SELECT * FROM app_db.dbo.\"customers~CHANGES\" AS customers"
    );
    assert_eq!(
        query("SELECT * FROM t changes c"),
        "SELECT * FROM \"t~CHANGES\" c"
    );
    assert_eq!(
        query("SELECT * FROM t CHANGES AS c"),
        "SELECT * FROM \"t~CHANGES\" AS c"
    );
    assert_eq!(
        query("SELECT * FROM \"T\" CHANGES"),
        "SELECT * FROM \"T~~CHANGES\" AS \"T\""
    );
    assert_eq!(
        query("SELECT * FROM [dbo].[My Table] CHANGES"),
        "SELECT * FROM \"dbo\".\"My Table~~CHANGES\" AS \"My Table\""
    );
    assert_eq!(
        query("SELECT * FROM changes CHANGES"),
        "SELECT * FROM \"changes~CHANGES\" AS changes"
    );
}

#[test]
fn changes_takes_bounds() {
    let from = |clause: &str| query(&format!("SELECT * FROM t {clause} WHERE a = 1"));
    assert_eq!(
        from("CHANGES FROM VERSION 3"),
        "SELECT * FROM \"t~CHANGES FROM VERSION 3 INCLUSIVE\" AS t WHERE a = 1"
    );
    assert_eq!(
        from("CHANGES FROM VERSION '00' EXCLUSIVE TO '0f' INCLUSIVE AS c"),
        "SELECT * FROM \"t~CHANGES FROM VERSION '00' EXCLUSIVE TO '0f' INCLUSIVE\" AS c WHERE a = 1"
    );
    assert_eq!(
        from("CHANGES FROM TIMESTAMP env('SINCE', '2024-01-01') TO '2025-01-01' EXCLUSIVE c"),
        "SELECT * FROM \"t~CHANGES FROM TIMESTAMP env('SINCE', '2024-01-01') INCLUSIVE TO '2025-01-01' EXCLUSIVE\" c WHERE a = 1"
    );
}

#[test]
fn a_table_has_versions() {
    assert_eq!(
        query("SELECT * FROM a.t VERSION AS OF 3"),
        "SELECT * FROM a.\"t~VERSION AS OF 3\" AS t"
    );
    assert_eq!(
        query("SELECT * FROM t TIMESTAMP AS OF '2024-01-01' AS old JOIN t ON old.a = t.a"),
        "SELECT * FROM \"t~TIMESTAMP AS OF '2024-01-01'\" AS old JOIN t ON old.a = t.a"
    );
}

#[test]
fn factors_stand_after_from_join_using_and_the_commas_of_a_from_list() {
    assert_eq!(
        query(
            "SELECT * FROM a CHANGES, b CHANGES x LEFT JOIN c CHANGES ON x.i = c.i, d VERSION AS OF 1"
        ),
        "SELECT * FROM \"a~CHANGES\" AS a, \"b~CHANGES\" x LEFT JOIN \"c~CHANGES\" AS c ON x.i = c.i, \"d~VERSION AS OF 1\" AS d"
    );
    assert_eq!(
        query("SELECT * FROM (a CHANGES JOIN b CHANGES USING (i))"),
        "SELECT * FROM (\"a~CHANGES\" AS a JOIN \"b~CHANGES\" AS b USING(i))"
    );
    assert_eq!(
        query("SELECT * FROM ((SELECT * FROM a CHANGES) UNION ALL SELECT * FROM b CHANGES) AS u"),
        "SELECT * FROM ((SELECT * FROM \"a~CHANGES\" AS a) UNION ALL SELECT * FROM \"b~CHANGES\" AS b) AS u"
    );
    assert_eq!(
        query(
            "WITH w AS (SELECT * FROM a CHANGES) SELECT (SELECT max(i) FROM b CHANGES), x IN (SELECT i FROM c CHANGES) FROM w"
        ),
        "WITH w AS (SELECT * FROM \"a~CHANGES\" AS a) SELECT (SELECT max(i) FROM \"b~CHANGES\" AS b), x IN (SELECT i FROM \"c~CHANGES\" AS c) FROM w"
    );
    assert_eq!(
        query("EXPLAIN SELECT * FROM a CHANGES"),
        "EXPLAIN SELECT * FROM \"a~CHANGES\" AS a"
    );
    assert_eq!(
        query("CREATE TEMPORARY VIEW v AS SELECT * FROM a CHANGES"),
        "CREATE TEMPORARY VIEW v AS SELECT * FROM \"a~CHANGES\" AS a"
    );
    assert_eq!(
        query("INSERT INTO t SELECT * FROM a CHANGES WHERE b = 1"),
        "INSERT INTO t SELECT * FROM \"a~CHANGES\" AS a WHERE b = 1"
    );
}

/// Texts in which the words are no keywords; they are read as DataFusion reads them.
#[test]
fn elsewhere_the_words_keep_their_meaning() {
    for sql in [
        "SELECT total changes FROM version",
        "SELECT changes, stream, version FROM t",
        "SELECT EXTRACT(DAY FROM stream) FROM t",
        "SELECT substring(stream FROM changes FOR 2) FROM t",
        "SELECT trim(LEADING 'x' FROM changes) FROM t",
        "SELECT x IS DISTINCT FROM stream FROM t",
        "SELECT x IS NOT DISTINCT FROM stream FROM t",
        "SELECT * FROM stream",
        "SELECT * FROM stream AS s",
        "SELECT * FROM stream WHERE x = 1",
        "SELECT * FROM stream, t",
        "SELECT * FROM stream JOIN t ON true",
        "SELECT * FROM stream.t",
        "SELECT * FROM \"STREAM\" t",
        "SELECT * FROM t AS changes",
        "SELECT * FROM version AS of",
        "SELECT * FROM t version",
        "SELECT * FROM t AS timestamp",
        "SELECT f(a, stream, changes) FROM t",
        "SELECT t.from, changes FROM t",
        "SELECT [a, changes] FROM t",
        "SELECT * FROM generate_series(1, 3) AS changes",
        "SELECT count(*) OVER (PARTITION BY stream ORDER BY version) FROM t",
        "SELECT * FROM t ORDER BY a, changes",
        "SELECT * FROM t \"CHANGES\"",
    ] {
        assert!(!query(sql).contains('~'), "{sql}");
    }
    assert_eq!(
        query("SELECT * FROM stream CHANGES"),
        "SELECT * FROM \"stream~CHANGES\" AS stream"
    );
    assert_eq!(
        query("SELECT * FROM stream VERSION AS OF 1"),
        "SELECT * FROM \"stream~VERSION AS OF 1\" AS stream"
    );
}

#[test]
fn stream_outside_a_flow_names_changes() {
    for sql in [
        "SELECT * FROM STREAM app_db.dbo.t CHANGES",
        "SELECT * FROM STREAM changes CHANGES AS c",
        "CREATE VIEW v AS SELECT * FROM STREAM app_db.dbo.t CHANGES",
        "INSERT INTO x SELECT * FROM STREAM app_db.dbo.t CHANGES",
        "SELECT * FROM 'x' JOIN STREAM app_db.dbo.t CHANGES ON true",
        "EXPLAIN MERGE INTO x USING STREAM t CHANGES AS s ON x.a = s.a WHEN MATCHED THEN DELETE",
        "MERGE INTO x USING s ON x.a IN (SELECT a FROM STREAM t CHANGES) WHEN MATCHED THEN DELETE",
        "MERGE INTO x USING (SELECT * FROM y WHERE a IN (SELECT a FROM STREAM t CHANGES)) AS s ON x.a = s.a WHEN MATCHED THEN DELETE",
    ] {
        let error = error(sql);
        assert!(underlined(sql, &error).starts_with("STREAM "), "{error}");
        assert!(underlined(sql, &error).ends_with(" CHANGES"), "{error}");
        assert!(error.message().contains("only in a flow"), "{error}");
        assert!(error.help().unwrap().contains("`name CHANGES`"), "{error}");
    }
}

#[test]
fn stream_takes_bare_changes_of_a_named_table() {
    let merge = |source: &str| {
        let sql = format!("MERGE INTO x USING {source} AS s ON x.a = s.a WHEN MATCHED THEN DELETE");
        error(&sql)
    };
    let missing = merge("STREAM a.b.t");
    assert!(
        missing.message().contains("CHANGES is missing"),
        "{missing}"
    );
    assert!(
        missing.help().unwrap().contains("STREAM a.b.t CHANGES"),
        "{missing}"
    );
    assert!(
        merge("STREAM t CHANGES FROM VERSION 1 TO 2")
            .message()
            .contains("TO cannot stand here")
    );
    assert!(
        merge("STREAM t CHANGES FROM VERSION 1 WITH (snapshot = true)")
            .message()
            .contains("not with both")
    );
    assert!(
        merge("STREAM t CHANGES WITH (snapshot = maybe)")
            .message()
            .contains("expected")
    );
    assert!(
        merge("STREAM t CHANGES WITH (snapshot 3)")
            .message()
            .contains("is true or false")
    );
    assert!(
        merge("STREAM t CHANGES WITH (snapshots = false)")
            .help()
            .unwrap()
            .contains("did you mean `snapshot`?")
    );
    assert!(
        merge("STREAM t VERSION AS OF 1")
            .help()
            .unwrap()
            .contains("STREAM t CHANGES")
    );
    assert!(
        merge("STREAM (SELECT 1)")
            .message()
            .contains("name of a table")
    );
    let sql = "MERGE INTO x USING (SELECT * FROM STREAM a CHANGES JOIN STREAM b CHANGES USING (i)) AS s ON true WHEN MATCHED THEN DELETE";
    let second = error(sql);
    assert_eq!(underlined(sql, &second), "STREAM b CHANGES");
}

#[test]
fn what_would_be_read_otherwise_is_refused() {
    let misplaced = error("SELECT * FROM t AS c CHANGES");
    assert!(
        misplaced.help().unwrap().contains("t CHANGES AS c"),
        "{misplaced}"
    );
    assert!(
        error("SELECT * FROM t CHANGES WITH (x = 1)")
            .message()
            .contains("unknown option `x` of CHANGES")
    );
    assert!(
        error("SELECT * FROM t CHANGES WITH (snapshot = false)")
            .message()
            .contains("it is for a STREAM")
    );
    assert!(
        error("SELECT * FROM t CHANGES FROM LSN 1")
            .message()
            .contains("expected VERSION or TIMESTAMP")
    );
    assert!(
        error("SELECT * FROM t VERSION AS OF x")
            .message()
            .contains("expected")
    );
    assert!(
        error("SELECT * FROM t VERSION AS OF secret('env', 'X')")
            .message()
            .contains("expected")
    );
    assert_eq!(
        errors("SELECT * FROM t CHANGES FROM VERSION, u VERSION AS OF").len(),
        2
    );
    let named = error("SELECT * FROM \"a\u{1f}STREAM\"");
    assert!(named.message().contains("U+001F"), "{named}");
}

#[test]
fn markers_cannot_be_forged() {
    for sql in [
        "SELECT * FROM 'a\u{1f}STREAM'",
        "SELECT * FROM (SELECT * FROM b.'a\u{1f}CHANGES')",
    ] {
        assert!(error(sql).message().contains("U+001F"), "{sql}");
    }
    one("SELECT 'a\u{1f}b' FROM t");
}

#[test]
fn parentheses_around_one_factor_change_nothing() {
    assert_eq!(
        query("SELECT * FROM (t CHANGES) AS c"),
        "SELECT * FROM \"t~CHANGES\" AS c"
    );
    assert_eq!(
        query("SELECT * FROM (t CHANGES)"),
        "SELECT * FROM \"t~CHANGES\" AS t"
    );
}

#[test]
fn errors_point_into_the_file_and_never_show_markers() {
    let sql = "SELECT *\nFROM app_db.dbo.customers CHANGES AS c\nWHERE c.a = = 1";
    let wrong = error(sql);
    assert_eq!((wrong.span().line, wrong.span().column), (3, 13), "{wrong}");
    let wrong = error("SELECT FROM t CHANGES t CHANGES CHANGES");
    assert!(!wrong.to_string().contains('\u{1f}'), "{wrong}");
}

#[test]
fn references_name_tables_once_with_what_is_meant() {
    let sql = "WITH w AS (SELECT * FROM a.b.t CHANGES) SELECT * FROM w, u, u AS v, generate_series(1, 2), x VERSION AS OF 2";
    let statement = one(sql);
    let references = table_references(&statement);
    let shown: Vec<_> = references
        .iter()
        .map(|r| (r.table.to_string(), &sql[r.span.start..r.span.end]))
        .collect();
    assert_eq!(
        shown,
        [
            ("a.b.t".to_owned(), "a.b.t CHANGES"),
            ("u".to_owned(), "u"),
            ("x".to_owned(), "x VERSION AS OF 2")
        ]
    );
    assert!(matches!(references[0].kind, RelationKind::Changes(_)));
    assert_eq!(references[1].kind, RelationKind::Live);
    assert_eq!(
        references[0].name.0[2].as_ident().unwrap().value,
        "t\u{1f}CHANGES"
    );
}
