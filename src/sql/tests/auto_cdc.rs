//! AUTO CDC and its statements: what they become, and what they refuse.

use super::{error, one, parsed, planned, underlined};
use crate::sql::{MergeStatement, StatementKind};

const STREAM: &str = "STREAM a.b.t CHANGES";

fn merge(sql: &str) -> MergeStatement {
    let mut kinds = parsed(sql).into_iter().map(|statement| statement.kind);
    let found = kinds.find_map(|kind| match kind {
        StatementKind::Merge(merge) => Some(*merge),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{sql}"))
}

fn flow(rest: &str) -> String {
    format!("CREATE FLOW f AS AUTO CDC INTO lake.x FROM {rest}")
}

/// The MERGE of a flow over a source with the key `id`, from USING on.
fn keyed(rest: &str) -> String {
    let merge = merge(&flow(rest)).keyed(&["id"]).unwrap();
    let text = merge.to_sql().replace('\u{1f}', "~");
    text.split_once("USING ").unwrap().1.to_owned()
}

#[test]
fn a_mirror_is_the_merge_that_everybody_writes() {
    assert_eq!(
        keyed(STREAM),
        "STREAM a.b.t CHANGES AS t\nON target.\"id\" = t.\"id\"\n\
         WHEN MATCHED AND t._change_type = 'delete' THEN DELETE\n\
         WHEN MATCHED THEN UPDATE SET \"~*\" = NULL\n\
         WHEN NOT MATCHED AND t._change_type <> 'delete' THEN INSERT (\"~*\") VALUES (NULL)"
    );
    let merge = merge(&flow(&format!("{STREAM} AS Target")));
    assert_eq!(merge.target_alias.unwrap().value, "target_row");
    assert_eq!(merge.flow.unwrap().value, "f");
    assert_eq!(merge.target.to_string(), "lake.x");
}

#[test]
fn a_table_with_its_flow_is_two_statements_in_one_place() {
    let sql = "CREATE OR REFRESH STREAMING TABLE IF NOT EXISTS t (id INT, n DECIMAL(5, 2), PRIMARY KEY (id)) \
               PARTITIONED BY (n) LOCATION 'l' COMMENT 'c' FLOW AUTO CDC FROM STREAM a.b.t CHANGES";
    let statements = parsed(sql);
    let [table, flow] = statements.as_slice() else {
        panic!("{statements:#?}");
    };
    assert_eq!(table.span, flow.span);
    let StatementKind::CreateTable(table) = &table.kind else {
        panic!("{table:?}");
    };
    assert!(table.if_not_exists && table.location.is_some());
    assert_eq!(table.columns.as_ref().unwrap().len(), 2);
    assert!(
        planned(flow).contains("ON target.\"id\" = t.\"id\""),
        "{}",
        planned(flow)
    );
    let only = "CREATE STREAMING TABLE t USING DELTA LOCATION 'l'";
    assert!(matches!(one(only).kind, StatementKind::CreateTable(_)));
}

#[test]
fn clauses_stand_in_any_order_and_say_what_is_deleted_and_written() {
    let text = keyed(&format!(
        "{STREAM} AS c COLUMNS (id, n) APPLY AS DELETE WHEN gone OR c.n IN (1, 2) SEQUENCE BY c._commit_version KEYS (id, n) STORED AS SCD TYPE 1"
    ));
    assert!(
        text.contains("WHEN MATCHED AND (c.gone OR c.n IN (1, 2)) THEN DELETE"),
        "{text}"
    );
    assert!(
        text.contains("WHEN MATCHED THEN UPDATE SET id = c.id, n = c.n"),
        "{text}"
    );
    assert!(
        text.contains(
            "AND (c.gone OR c.n IN (1, 2)) IS NOT TRUE THEN INSERT (id, n) VALUES (c.id, c.n)"
        ),
        "{text}"
    );
    let text = keyed(&format!(
        "{STREAM} APPLY AS DELETE WHEN FALSE COLUMNS * EXCEPT (n)"
    ));
    assert!(!text.contains("DELETE"), "{text}");
    assert!(text.contains("\"~*\" = NULL, n = NULL"), "{text}");
    let bounded = merge(&flow(
        "STREAM a.b.t CHANGES FROM VERSION '0x00' WITH (snapshot = false) KEYS (id)",
    ));
    assert_ne!(bounded.stream.unwrap().start, Default::default());
}

#[test]
fn where_and_inner_joins_are_membership() {
    let text = keyed(
        "(SELECT c.id, r.label, c.n / 2 AS half FROM STREAM a.b.t CHANGES AS c \
         JOIN r ON r.id = c.r LEFT JOIN s ON s.id = c.s WHERE c.n > 0 OR c.m)",
    );
    let holds = "(r.id IS NOT NULL) AND (c.n > 0 OR c.m)";
    for part in [
        &format!("CASE WHEN c.\"_change_type\" <> 'delete' AND {holds} THEN c.n / 2 END AS half"),
        "c.\"_change_type\", c.\"_commit_version\", c.\"_commit_timestamp\"",
        &format!(
            "CASE WHEN c.\"_change_type\" = 'delete' THEN true ELSE ({holds}) IS TRUE END, count(*) OVER (PARTITION BY c.\"id\"), c.\"id\") AS \"__cdcql_member\""
        ),
        "LEFT JOIN r ON r.id = c.r LEFT JOIN s ON s.id = c.s)",
        "(change._change_type = 'delete') OR change.\"__cdcql_member\" IS NOT TRUE THEN DELETE",
        "(change._change_type <> 'delete') AND change.\"__cdcql_member\" THEN INSERT",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let text =
        keyed("(SELECT *, 1 AS one FROM STREAM a.b.t CHANGES AS c) APPLY AS DELETE WHEN false");
    assert!(
        text.contains("(SELECT *, 1 AS one FROM STREAM a.b.t CHANGES AS c) AS change"),
        "{text}"
    );
}

#[test]
fn a_key_may_have_another_name_in_the_target() {
    let text =
        keyed("(SELECT c.id AS customer, c.n FROM STREAM a.b.t CHANGES AS c) KEYS (customer)");
    assert!(
        text.contains("ON target.\"customer\" = change.\"customer\""),
        "{text}"
    );
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    for (rest, part, message) in [
        (
            "STREAM a.b.t CHANGES KEYS (id) KEYS (id)",
            "KEYS",
            "KEYS is given twice",
        ),
        (
            "STREAM a.b.t CHANGES KEYS (id, ID)",
            "ID",
            "column `ID` is given twice",
        ),
        (
            "STREAM a.b.t CHANGES COLUMN (id)",
            "COLUMN",
            "expected KEYS",
        ),
        (
            "STREAM a.b.t CHANGES STORED AS SCD TYPE 3",
            "3",
            "expected 1 or 2",
        ),
        (
            "STREAM a.b.t",
            "FROM",
            "expected CHANGES after the name of the table",
        ),
        (
            "a.b.t CHANGES",
            "a",
            "expected STREAM or a query in parentheses",
        ),
        (
            "STREAM a.b.t CHANGES APPLY AS DELETE WHEN KEYS (id)",
            "KEYS",
            "expected a condition",
        ),
        (
            "STREAM a.b.t CHANGES APPLY AS DELETE WHEN EXISTS (SELECT 1)",
            "AUTO",
            "APPLY AS DELETE WHEN asks other tables",
        ),
        (
            "(SELECT r.id FROM r JOIN STREAM a.b.t CHANGES AS c ON c.id = r.id)",
            "SELECT",
            "reads its STREAM first",
        ),
        (
            "(SELECT c.id FROM STREAM a.b.t CHANGES AS c JOIN r ON true)",
            "r",
            "does not compare a column",
        ),
        (
            "(SELECT c.id FROM STREAM a.b.t CHANGES AS c FULL JOIN r ON r.id = c.id)",
            "r",
            "by JOIN or LEFT JOIN",
        ),
        (
            "(SELECT c.id FROM STREAM a.b.t CHANGES AS c WHERE c.n IN (SELECT n FROM r))",
            "c.n IN (SELECT n FROM r",
            "WHERE of an AUTO CDC asks other tables",
        ),
    ] {
        let sql = flow(rest);
        let error = error(&sql);
        assert!(error.message().contains(message), "{rest}: {error}");
        let underlined = underlined(&sql, &error);
        assert!(
            underlined == part || part == "FROM",
            "{rest}: {underlined:?}"
        );
    }
}

#[test]
fn keys_are_of_a_flow_and_cover_its_sources_key() {
    for (sql, message) in [
        (
            "CREATE STREAMING TABLE t (PRIMARY KEY (id)) LOCATION 'l'",
            "PRIMARY KEY is of the flow that keeps the table",
        ),
        (
            "CREATE STREAMING TABLE t (PRIMARY KEY (id, id)) FLOW AUTO CDC FROM STREAM a.b.t CHANGES",
            "column `id` is given twice",
        ),
    ] {
        assert!(error(sql).message().contains(message), "{sql}");
    }
    let merge = merge(&flow("STREAM a.b.t CHANGES KEYS (n)"));
    let error = merge.keyed(&["id"]).unwrap_err();
    assert!(error.message().contains("KEYS leaves out 'id'"), "{error}");
    assert!(merge.keyed(&["n"]).is_ok());
}
