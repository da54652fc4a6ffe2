//! DataFusion plans what this room hands it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::empty::EmptyTable;
use datafusion::prelude::SessionContext;

use super::one;
use crate::sql::{Absent, StatementKind, expand_stars, resolve_names};

fn context(tables: &[(&str, &[&str])]) -> SessionContext {
    let context = SessionContext::new();
    for (name, columns) in tables {
        let fields: Vec<Field> = columns
            .iter()
            .map(|c| Field::new(*c, DataType::Utf8, true))
            .collect();
        let table = Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))));
        context
            .register_table(datafusion::common::TableReference::bare(*name), table)
            .unwrap();
    }
    context
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const TARGET: &[&str] = &["CustomerID", "city"];
const SOURCE: &[&str] = &["customerid", "City", "_change_type"];

#[tokio::test]
async fn a_flow_is_planned_with_its_marker_stars_and_conditions() {
    let context = context(&[("customers", TARGET), ("Source\u{1f}STREAM", SOURCE)]);
    let mut statement = one(
        "MERGE INTO customers AS target USING STREAM Source CHANGES AS change ON target.customerid = change.CUSTOMERID \
         WHEN MATCHED AND change._change_type = 'delete' THEN DELETE \
         WHEN MATCHED AND change.city = 'x' THEN DO NOTHING \
         WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *",
    );
    resolve_names(&mut statement, &|name| {
        Some(owned(if name.to_string().contains("STREAM") {
            SOURCE
        } else {
            TARGET
        }))
    })
    .unwrap();
    let StatementKind::Merge(merge) = &mut statement.kind else {
        panic!()
    };
    expand_stars(merge, &owned(TARGET), &owned(SOURCE), Absent::Refused).unwrap();
    let plan = context
        .state()
        .statement_to_plan(merge.to_statement())
        .await
        .unwrap();
    let shown = plan.display_indent().to_string();
    assert!(
        shown.contains("MergeInto") && shown.contains("STREAM"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_query_is_planned_with_columns_of_any_case() {
    let context = context(&[("t", TARGET), ("t\u{1f}CHANGES", SOURCE)]);
    let mut statement = one(
        "SELECT t.CUSTOMERID, c.City AS x FROM t JOIN t CHANGES AS c ON t.customerid = c.CustomerID WHERE c.CITY > 'a' ORDER BY X",
    );
    resolve_names(&mut statement, &|name| {
        Some(owned(if name.to_string().contains("CHANGES") {
            SOURCE
        } else {
            TARGET
        }))
    })
    .unwrap();
    let StatementKind::Other(query) = statement.kind else {
        panic!()
    };
    let plan = context.state().statement_to_plan(*query).await.unwrap();
    let columns: Vec<_> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(columns, ["CustomerID", "x"]);
}

#[tokio::test]
async fn errors_of_the_planner_have_places() {
    let context = context(&[("t", TARGET)]);
    context
        .sql("SET datafusion.sql_parser.collect_spans = true")
        .await
        .unwrap();
    let statement = super::parsed("SELECT 1;\nSELECT missing FROM t").remove(1);
    let StatementKind::Other(query) = &statement.kind else {
        panic!()
    };
    let error = context
        .state()
        .statement_to_plan((**query).clone())
        .await
        .unwrap_err();
    let span = error.diagnostic().and_then(|found| found.span).unwrap();
    let place = statement.planner_span(span);
    assert_eq!((place.line, place.column), (2, 8));
    assert_eq!(statement.find("missing"), Some(place));
}
