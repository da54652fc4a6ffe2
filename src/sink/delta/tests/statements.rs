//! UPDATE and DELETE, which reach a table as a MERGE whose source is one row without columns.

use datafusion::common::DFSchema;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::dml::{
    MergeIntoAction, MergeIntoClause, MergeIntoClauseKind, MergeIntoOp,
};
use datafusion::logical_expr::{DmlStatement, EmptyRelation, LogicalPlan, WriteOp, lit};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::super::{RowCounts, SinkErrorKind};
use super::contract::{Case, Seed, Table, Way, sorted_rows};
use super::*;

/// Runs the UPDATE or DELETE `sql` of the table `t`.
async fn statement(table: &Table, sql: &str) -> Result<CommitOutcome> {
    change(Arc::new(table.provider(table.way).await), sql).await
}

async fn change(provider: Arc<DeltaTableProvider>, sql: &str) -> Result<CommitOutcome> {
    let ctx = SessionContext::new();
    let columns = DFSchema::try_from_qualified_schema("t", &provider.schema())?;
    let expr = |text: String| ctx.state().create_logical_expr(&text, &columns);
    let parsed = Parser::parse_sql(&GenericDialect {}, sql)
        .unwrap()
        .remove(0);
    let (condition, action) = match parsed {
        Statement::Delete(delete) => (delete.selection, MergeIntoAction::Delete),
        Statement::Update(update) => {
            let assignments = update.assignments.iter().map(|assignment| {
                let value = expr(assignment.value.to_string())?;
                Ok((assignment.target.to_string(), value))
            });
            let assignments = assignments.collect::<Result<_>>()?;
            (update.selection, MergeIntoAction::Update(assignments))
        }
        other => panic!("{other}"),
    };
    let condition = condition.map(|condition| expr(condition.to_string()));
    let merge = MergeIntoOp {
        on: condition.transpose()?.unwrap_or_else(|| lit(true)),
        clauses: vec![MergeIntoClause {
            kind: MergeIntoClauseKind::Matched,
            predicate: None,
            action,
        }],
    };
    let row = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(DFSchema::empty()),
    });
    let plan = LogicalPlan::Dml(DmlStatement::new(
        "t".into(),
        provider_as_source(Arc::clone(&provider) as _),
        WriteOp::MergeInto(Box::new(merge)),
        Arc::new(row),
    ));
    ctx.execute_logical_plan(plan).await?.collect().await?;
    Ok(provider.outcome().unwrap())
}

fn counts(updated: u64, deleted: u64) -> RowCounts {
    RowCounts {
        inserted: 0,
        updated,
        deleted,
    }
}

fn items() -> Case {
    Case::new("id INT, name VARCHAR, v INT")
        .file("VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', NULL), (4, NULL, 40), (5, 'e', 50), (6, 'f', 60)")
        .file("VALUES (7, 'g', 70), (8, 'h', 80), (9, 'i', 90), (10, NULL, NULL), (11, 'k', 110), (12, 'l', 120)")
}

/// Runs `sql` every way of ours; what it says of itself, and the rows after it, are the same as those of `query`.
async fn changes(case: &Case, sql: &[(&str, RowCounts)], query: &str) {
    let seed = Seed::new(case).await;
    for way in [Way::Vectors, Way::Rewrite, Way::Off] {
        let table = Table::create(case, &seed, way).await;
        for (sql, expected) in sql {
            let outcome = statement(&table, sql).await.unwrap();
            assert_eq!(outcome.rows(), *expected, "{way:?} of {sql}");
        }
        let ctx = SessionContext::new();
        ctx.register_batch("t", seed.rows()).unwrap();
        let expected = ctx.sql(query).await.unwrap().collect().await.unwrap();
        assert_eq!(
            table.rows().await,
            sorted_rows(&expected),
            "{way:?} of {sql:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_for_which_a_condition_holds_are_deleted() {
    let all = "SELECT * FROM t WHERE ";
    for (condition, left, deleted) in [
        ("v > 50", "v <= 50 OR v IS NULL", 6),
        ("NOT (v > 50)", "v > 50 OR v IS NULL", 4),
        ("v IS NULL", "v IS NOT NULL", 2),
        ("name IN ('a', 'k') AND id < 5", "id <> 1", 1),
        ("id = 100", "true", 0),
        (
            "v + id > 80 OR name = 'b'",
            "id IN (1, 3, 4, 5, 6, 7, 10)",
            5,
        ),
        ("true", "false", 12),
    ] {
        let sql = format!("DELETE FROM t WHERE {condition}");
        changes(
            &items(),
            &[(&sql, counts(0, deleted))],
            &format!("{all}{left}"),
        )
        .await;
    }
    changes(
        &items(),
        &[("DELETE FROM t", counts(0, 12))],
        "SELECT * FROM t WHERE false",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_updated_from_their_own_columns() {
    changes(
        &items(),
        &[("UPDATE t SET v = v + id, name = name || '!' WHERE id % 2 = 0", counts(6, 0))],
        "SELECT id, CASE WHEN id % 2 = 0 THEN name || '!' ELSE name END, CASE WHEN id % 2 = 0 THEN v + id ELSE v END FROM t",
    )
    .await;
    changes(
        &items(),
        &[("UPDATE t SET v = id, id = v", counts(12, 0))],
        "SELECT v, name, id FROM t",
    )
    .await;
    changes(
        &items(),
        &[(
            "UPDATE t SET name = NULL WHERE v IS NULL OR v > 100",
            counts(4, 0),
        )],
        "SELECT id, CASE WHEN v IS NULL OR v > 100 THEN NULL ELSE name END, v FROM t",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_follow_one_another_over_marked_rows() {
    changes(
        &items(),
        &[
            ("DELETE FROM t WHERE id = 3", counts(0, 1)),
            ("UPDATE t SET v = -1 WHERE id IN (3, 4)", counts(1, 0)),
            ("DELETE FROM t WHERE v = -1", counts(0, 1)),
            ("DELETE FROM t WHERE id IN (3, 4)", counts(0, 0)),
            ("UPDATE t SET v = 1000 WHERE id = 7", counts(1, 0)),
        ],
        "SELECT id, name, CASE WHEN id = 7 THEN 1000 ELSE v END FROM t WHERE id NOT IN (3, 4)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_tables_are_changed() {
    let case = Case::new("id INT, p VARCHAR, v INT").partitioned(&["p"]).file(
        "SELECT value, CASE value % 3 WHEN 0 THEN NULL WHEN 1 THEN 'a b/%' ELSE 'x' END, 0 FROM range(0, 30)",
    );
    changes(
        &case,
        &[("DELETE FROM t WHERE p = 'x'", counts(0, 10))],
        "SELECT * FROM t WHERE p IS NULL OR p <> 'x'",
    )
    .await;
    changes(
        &case,
        &[("DELETE FROM t WHERE p IS NULL AND id > 20", counts(0, 3))],
        "SELECT * FROM t WHERE p IS NOT NULL OR id <= 20",
    )
    .await;
    changes(
        &case,
        &[("UPDATE t SET p = 'x', v = 1 WHERE p = 'a b/%' AND id < 10", counts(3, 0))],
        "SELECT id, CASE WHEN p = 'a b/%' AND id < 10 THEN 'x' ELSE p END, CASE WHEN p = 'a b/%' AND id < 10 THEN 1 ELSE v END FROM t",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_is_never_true_changes_nothing() {
    for condition in [
        "false",
        "1 = 0",
        "NULL",
        "id = 1 AND id = 2",
        "v > 5 AND v < 3",
        "id IS NULL AND id = 1",
    ] {
        let [delete, update] =
            ["DELETE FROM t", "UPDATE t SET v = 0"].map(|sql| format!("{sql} WHERE {condition}"));
        changes(
            &items(),
            &[(&delete, counts(0, 0)), (&update, counts(0, 0))],
            "SELECT * FROM t",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_number_is_greater_than_any() {
    let case = Case::new("id INT, v DOUBLE").file(
        "VALUES (1, 1.0), (2, CAST('NaN' AS DOUBLE)), (3, 2.0), (4, NULL), (5, CAST('-0.0' AS DOUBLE))",
    );
    changes(
        &case,
        &[
            ("DELETE FROM t WHERE v > 5.0", counts(0, 1)),
            ("UPDATE t SET v = 7.0 WHERE v = 0.0", counts(1, 0)),
        ],
        "SELECT id, CASE WHEN id = 5 THEN 7.0 ELSE v END FROM t WHERE id <> 2",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_hold_for_an_update() {
    let mut case = items();
    case.constraints
        .push(("small".to_string(), "v < 1000".to_string()));
    case.files.truncate(1);
    case.files[0] =
        "VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4), (5, 'e', 5)".to_string();
    let seed = Seed::new(&case).await;
    let table = Table::create(&case, &seed, Way::Vectors).await;
    for sql in [
        "UPDATE t SET v = 1000 WHERE id = 1",
        "UPDATE t SET v = NULL WHERE id = 1",
    ] {
        let error = statement(&table, sql).await.unwrap_err();
        assert_eq!(
            sink_error(&error).kind(),
            SinkErrorKind::InvalidRow,
            "{sql}"
        );
        assert_eq!(table.rows().await, sorted_rows(&[seed.rows()]), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_empty_or_not_there_has_no_row_to_change() {
    let lake = Lake::new();
    for exists in [false, true] {
        if exists {
            let _ = lake.apply(&[], first(1)).await;
        }
        for sql in ["DELETE FROM t", "UPDATE t SET name = 'x' WHERE city = 'y'"] {
            let outcome = change(Arc::new(lake.provider().await), sql).await.unwrap();
            assert_eq!(outcome, CommitOutcome::Nothing, "{sql}");
        }
        assert_eq!(lake.target().await.exists(), exists);
    }
}
