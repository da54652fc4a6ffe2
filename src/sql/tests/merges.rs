//! MERGE: its forms, its stars, and what it refuses.

use super::{error, errors, one, planned, underlined};
use crate::sql::{Absent, Diagnostic, MergeStatement, StatementKind, expand_stars};

fn merge(sql: &str) -> MergeStatement {
    match one(sql).kind {
        StatementKind::Merge(merge) => *merge,
        kind => panic!("{kind:?}"),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A MERGE over a STREAM with these clauses.
fn flow(clauses: &str) -> String {
    format!("MERGE INTO t USING STREAM a.b.s CHANGES AS c ON t.id = c.id {clauses}")
}

fn expanded(clauses: &str, target: &[&str], source: &[&str]) -> Result<String, Diagnostic> {
    let mut merge = merge(&flow(clauses));
    expand_stars(&mut merge, &names(target), &names(source), Absent::Refused)?;
    let shown = merge.ast.to_string();
    Ok(shown.split_once("c.id ").unwrap().1.to_owned())
}

#[test]
fn a_flow_knows_its_stream() {
    let sql = "MERGE WITH SCHEMA EVOLUTION INTO lake.customers AS target USING STREAM app_db.dbo.Customers CHANGES AS change \
               ON target.id = change.id WHEN MATCHED THEN UPDATE SET *";
    let merge = merge(sql);
    assert!(merge.schema_evolution && merge.has_stars());
    assert_eq!(merge.target.to_string(), "lake.customers");
    assert_eq!(
        &sql[merge.target_span.start..merge.target_span.end],
        "lake.customers"
    );
    assert_eq!(merge.target_alias.unwrap().value, "target");
    assert_eq!(merge.source_alias.value, "change");
    let stream = merge.stream.unwrap();
    assert_eq!(stream.name.to_string(), "app_db.dbo.Customers");
    assert_eq!(
        stream.marker.0[2].as_ident().unwrap().value,
        "Customers\u{1f}STREAM"
    );
    assert_eq!(
        &sql[stream.span.start..stream.span.end],
        "STREAM app_db.dbo.Customers CHANGES"
    );
}

#[test]
fn rows_are_inserted_as_they_are_where_nothing_else_is_said_of_new_ones() {
    let pairs = |clauses: &str| {
        let mut merge = merge(&flow(clauses));
        let columns = names(&["id", "n"]);
        expand_stars(&mut merge, &columns, &columns, Absent::Refused).unwrap();
        merge.inserts_as_they_are()
    };
    let same = |name: &str| (name.to_owned(), name.to_owned());
    let both = Some(vec![same("id"), same("n")]);
    for clauses in [
        "WHEN NOT MATCHED THEN INSERT *",
        "WHEN MATCHED AND c._change_type = 'delete' THEN DELETE WHEN MATCHED THEN UPDATE SET * \
         WHEN NOT MATCHED AND c._change_type <> 'delete' THEN INSERT *",
        "WHEN NOT MATCHED AND c._change_type = 'delete' THEN INSERT (id) VALUES (0) WHEN NOT MATCHED THEN INSERT *",
    ] {
        assert_eq!(pairs(clauses), both, "{clauses}");
    }
    let renamed = "WHEN NOT MATCHED THEN INSERT (id, m) VALUES (c.id, c.n)";
    assert_eq!(
        pairs(renamed),
        Some(vec![same("id"), ("m".to_owned(), "n".to_owned())])
    );
    for clauses in [
        "WHEN MATCHED THEN DELETE",
        "WHEN NOT MATCHED AND c.n > 1 THEN INSERT *",
        "WHEN NOT MATCHED AND c.n > 1 THEN INSERT (id) VALUES (c.id) WHEN NOT MATCHED THEN INSERT *",
        "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (c.id, c.n + 1)",
        "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (c.id, 7)",
        "WHEN NOT MATCHED AND c._change_type = 'insert' THEN INSERT *",
    ] {
        assert_eq!(pairs(clauses), None, "{clauses}");
    }
    let query = "MERGE INTO t USING (SELECT id, n FROM STREAM a.b.s CHANGES) AS c ON t.id = c.id \
                 WHEN NOT MATCHED THEN INSERT (id, n) VALUES (c.id, c.n)";
    assert_eq!(merge(query).inserts_as_they_are(), None);
}

#[test]
fn the_targets_keys_are_those_that_on_compares_for_equality() {
    let keys = |target: &str, on: &str| {
        let text = format!("MERGE INTO {target} USING a.b.s AS c ON {on} WHEN MATCHED THEN DELETE");
        merge(&text).target_keys()
    };
    assert_eq!(keys("t", "t.id = c.id"), ["id"]);
    assert_eq!(
        keys(
            "x.t AS target",
            "(c.A = TARGET.b AND target.c = c.c) AND target.d > c.d"
        ),
        ["b", "c"]
    );
    assert!(keys("t", "t.id = c.id OR t.x = c.x").is_empty());
    assert!(keys("t", "abs(t.id) = c.id").is_empty());
}

#[test]
fn a_source_is_a_stream_a_table_or_a_query() {
    let plain = merge("MERGE INTO t USING a.b.s ON t.id = s.id WHEN MATCHED THEN DELETE");
    assert!(plain.stream.is_none() && !plain.schema_evolution);
    assert_eq!(plain.ast.source.to_string(), "a.b.s AS s");
    let bare =
        merge("MERGE INTO t USING STREAM a.b.s CHANGES ON t.id = s.id WHEN MATCHED THEN DELETE");
    assert_eq!(
        bare.ast.source.to_string().replace('\u{1f}', "~"),
        "a.b.\"s~STREAM\" AS s"
    );
    let query = merge(
        "MERGE INTO t USING (WITH w AS (SELECT * FROM STREAM a.b.s CHANGES) SELECT w.*, upper(x.tier) AS tier FROM w \
         LEFT JOIN (SELECT id, max(tier) AS tier FROM x GROUP BY id) AS x ON x.id = w.id WHERE region = 'eu') AS q \
         ON t.id = q.id WHEN MATCHED THEN DELETE",
    );
    assert_eq!(query.stream.unwrap().name.to_string(), "a.b.s");
    let feed = merge(
        "MERGE INTO t USING a.b.s CHANGES FROM VERSION 1 ON t.id = s.id WHEN MATCHED THEN DELETE",
    );
    assert!(feed.stream.is_none());
}

#[test]
fn stars_are_the_targets_columns_by_name() {
    let clauses =
        "WHEN MATCHED AND c.d THEN UPDATE SET * EXCEPT (ID) WHEN NOT MATCHED THEN INSERT *";
    let shown = expanded(
        clauses,
        &["id", "City"],
        &["ID", "city", "extra", "_change_type"],
    )
    .unwrap();
    assert_eq!(
        shown,
        "WHEN MATCHED AND c.d THEN UPDATE SET \"City\" = c.\"city\" WHEN NOT MATCHED THEN INSERT (\"id\", \"City\") VALUES (c.\"ID\", c.\"city\")"
    );
    let shown = expanded(
        "WHEN NOT MATCHED THEN INSERT * EXCEPT (city, [b])",
        &["a", "b", "city"],
        &["a"],
    )
    .unwrap();
    assert_eq!(
        shown,
        "WHEN NOT MATCHED THEN INSERT (\"a\") VALUES (c.\"a\")"
    );
}

#[test]
fn stars_need_every_column_once() {
    let clauses = "WHEN MATCHED THEN UPDATE SET *";
    let sql = flow(clauses);
    let missing = expanded(clauses, &["id", "email"], &["id", "mail"]).unwrap_err();
    assert_eq!(underlined(&sql, &missing), "*");
    assert!(
        missing.message().contains("`email`") && missing.help().unwrap().contains("EXCEPT (email)"),
        "{missing}"
    );
    let twice = expanded(clauses, &["id"], &["ID", "Id"]).unwrap_err();
    assert!(twice.message().contains("ID, Id"), "{twice}");
    assert!(expanded(clauses, &["id"], &["ID", "id"]).is_ok());
    let clauses = "WHEN MATCHED THEN UPDATE SET * EXCEPT (emial)";
    let unknown = expanded(clauses, &["id", "email"], &["id", "email"]).unwrap_err();
    assert_eq!(underlined(&flow(clauses), &unknown), "emial");
    assert_eq!(unknown.help(), Some("did you mean `email`?"));
    assert!(
        expanded(
            "WHEN MATCHED THEN UPDATE SET * EXCEPT (id)",
            &["id"],
            &["id"]
        )
        .is_err()
    );
    assert!(expanded("WHEN MATCHED THEN UPDATE SET *", &[], &[]).is_err());
}

#[test]
fn every_clause_of_the_grammar_is_read() {
    let sql = "MERGE INTO t USING s ON t.id = s.id \
        WHEN MATCHED AND s.a = 1 THEN UPDATE SET x = s.x, t.y = s.y + 1 \
        WHEN MATCHED THEN DELETE \
        WHEN NOT MATCHED BY TARGET AND s.a = 2 THEN INSERT (id, x) VALUES (s.id, s.x) \
        WHEN NOT MATCHED BY SOURCE AND t.a = 3 THEN UPDATE SET x = 0 \
        WHEN NOT MATCHED BY SOURCE THEN DELETE";
    assert_eq!(merge(sql).ast.clauses.len(), 5);
    assert!(!merge(sql).has_stars());
}

#[test]
fn do_nothing_is_a_condition_on_later_clauses_of_its_kind() {
    let shown = planned(&one(&flow(
        "WHEN MATCHED AND c.a = 1 THEN DO NOTHING WHEN MATCHED AND c.b = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET x = 1 \
         WHEN NOT MATCHED AND c.z THEN DO NOTHING WHEN NOT MATCHED BY TARGET THEN INSERT (id) VALUES (c.id)",
    )));
    let clauses = shown.split_once("c.id ").unwrap().1;
    assert_eq!(
        clauses,
        "WHEN MATCHED AND (c.b = 2) AND (c.a = 1) IS NOT TRUE THEN DELETE \
         WHEN MATCHED AND (c.a = 1) IS NOT TRUE THEN UPDATE SET x = 1 \
         WHEN NOT MATCHED BY TARGET AND (c.z) IS NOT TRUE THEN INSERT (id) VALUES (c.id)"
    );
    let last = planned(&one(&flow(
        "WHEN NOT MATCHED THEN INSERT (id) VALUES (1) WHEN MATCHED THEN DO NOTHING",
    )));
    assert!(
        last.ends_with("WHEN NOT MATCHED THEN INSERT (id) VALUES (1)"),
        "{last}"
    );
    assert!(
        error(&flow("WHEN MATCHED THEN DO NOTHING"))
            .message()
            .contains("does nothing")
    );
    assert!(
        error(&flow("WHEN NOT MATCHED BY SOURCE THEN DO NOTHING"))
            .message()
            .contains("DO NOTHING")
    );
    assert!(
        error(&flow(
            "WHEN MATCHED THEN DO NOTHING WHEN MATCHED THEN DELETE"
        ))
        .message()
        .contains("never applies")
    );
}

#[test]
fn case_expressions_inside_conditions_are_no_clauses() {
    let shown = planned(&one(&flow(
        "WHEN MATCHED AND CASE WHEN c.a THEN 1 ELSE 2 END = 1 THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    )));
    assert!(
        shown.contains("CASE WHEN c.a THEN 1 ELSE 2 END = 1 THEN UPDATE SET \"~*\" = NULL"),
        "{shown}"
    );
}

#[test]
fn actions_that_contradict_themselves_are_refused() {
    let wrong = |clauses: &str| error(&flow(clauses)).message().to_owned();
    assert!(wrong("WHEN MATCHED THEN UPDATE SET a = 1, A = 2").contains("set twice"));
    assert!(
        wrong("WHEN NOT MATCHED THEN INSERT (a, [A], a) VALUES (1, 2, 3)").contains("set twice")
    );
    assert!(
        wrong("WHEN NOT MATCHED THEN INSERT (a, b) VALUES (1)").contains("2 columns but 1 values")
    );
    assert!(wrong("WHEN NOT MATCHED THEN INSERT VALUES (1)").contains("which columns"));
    assert!(wrong("WHEN NOT MATCHED THEN INSERT (a) VALUES (1), (2)").contains("one row"));
    assert!(wrong("WHEN NOT MATCHED THEN INSERT ROW").contains("ROW"));
    assert!(wrong("WHEN MATCHED THEN UPDATE SET *, a = 1").contains("expected EXCEPT"));
    assert!(wrong("WHEN MATCHED THEN UPDATE SET * EXCEPT ()").contains("expected a column"));
    assert!(wrong("WHEN MATCHED THEN UPDATE SET (a, b) = (1, 2)").contains("one column"));
    assert!(wrong("WHEN MATCHED THEN UPDATE SET a = 1 WHERE b").contains("WHERE"));
    assert!(wrong("WHEN MATCHED THEN INSERT *").contains("INSERT is not allowed"));
    assert!(
        wrong("WHEN MATCHED THEN DELETE WHEN MATCHED AND c.a THEN DELETE")
            .contains("never applies")
    );
    assert!(wrong("WHEN MATCHED THEN DELETE RETURNING *").contains("RETURNING"));
    assert!(wrong("").contains("at least one WHEN"));
}

#[test]
fn target_and_source_have_different_names() {
    for sql in [
        "MERGE INTO customers USING STREAM a.b.customers CHANGES ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO lake.main.customers USING STREAM a.b.Customers CHANGES ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO x AS c USING a.b.t AS C ON true WHEN MATCHED THEN DELETE",
    ] {
        let error = error(sql);
        assert!(error.message().contains("both called"), "{error}");
        assert!(error.help().unwrap().contains("AS change"), "{error}");
    }
    let _ = merge("MERGE INTO c AS t USING a.b.d AS c ON true WHEN MATCHED THEN DELETE");
    assert!(
        error("MERGE INTO t USING (SELECT 1) ON true WHEN MATCHED THEN DELETE")
            .help()
            .unwrap()
            .contains("alias")
    );
    assert!(
        error("MERGE WITH EVOLUTION INTO t USING s ON true WHEN MATCHED THEN DELETE")
            .message()
            .contains("SCHEMA")
    );
}

#[test]
fn what_looks_at_several_rows_is_refused_over_a_stream() {
    let query = |query: &str| {
        format!("MERGE INTO t USING ({query}) AS c ON t.id = c.id WHEN MATCHED THEN DELETE")
    };
    for (sql, part) in [
        (
            "SELECT id, count(*) AS n FROM STREAM s CHANGES GROUP BY id",
            "GROUP BY",
        ),
        ("SELECT max(id) AS id FROM STREAM s CHANGES", "max()"),
        ("SELECT DISTINCT id FROM STREAM s CHANGES", "DISTINCT"),
        (
            "SELECT id, row_number() OVER (ORDER BY id) AS n FROM STREAM s CHANGES",
            "window function",
        ),
        ("SELECT * FROM STREAM s CHANGES LIMIT 10", "LIMIT"),
        (
            "SELECT id FROM STREAM s CHANGES UNION SELECT id FROM u",
            "UNION",
        ),
        (
            "WITH w AS (SELECT * FROM STREAM s CHANGES) SELECT * FROM (SELECT DISTINCT id FROM w) AS d",
            "DISTINCT",
        ),
        (
            "SELECT * FROM (SELECT * FROM STREAM s CHANGES) AS d LIMIT 1",
            "LIMIT",
        ),
    ] {
        let found = errors(&query(sql));
        assert!(
            found.iter().any(|e| e.message().contains(part)),
            "{sql}: {found:?}"
        );
        assert!(
            found.iter().all(|e| e.message().contains("over a STREAM")),
            "{sql}: {found:?}"
        );
    }
    for sql in [
        "SELECT id, count(*) AS n FROM s GROUP BY id",
        "SELECT id FROM STREAM s CHANGES UNION ALL SELECT id FROM u",
    ] {
        one(&query(sql));
    }
    let by_source = error(&flow("WHEN NOT MATCHED BY SOURCE THEN DELETE"));
    assert!(
        by_source.message().contains("NOT MATCHED BY SOURCE"),
        "{by_source}"
    );
}
