//! The schema of a flow's target: declared, found, or taken from the flow.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, MergeAction, MergeInsertKind, SelectItem,
};

use crate::change::is_change_column;
use crate::engine::select_from;
use crate::error::Error;
use crate::sql::{MergeStatement, Statement, StatementKind};

/// The columns that a star over a change stream stands for: all but the three change columns.
pub(super) fn without_change_columns(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .filter(|field| !is_change_column(field.name()))
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Column names, in order.
pub(super) fn names(schema: &Schema) -> Vec<String> {
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

/// Refuses a star whose source and target disagree: a type that differs, or, where the target took its
/// schema from this flow, a column that the target does not have yet.
pub(super) fn check_star(
    statement: &Statement,
    merge: &MergeStatement,
    source: &Schema,
    target: &Schema,
    columns_declared: bool,
) -> Result<(), Error> {
    for field in source.fields() {
        match find(target, field.name()) {
            Some(existing) if !same_type(existing.data_type(), field.data_type()) => {
                return Err(refuse(
                    statement,
                    merge,
                    format!(
                        "column '{}' is {} in the source but {} in the target",
                        field.name(),
                        field.data_type(),
                        existing.data_type()
                    ),
                ));
            }
            None if !columns_declared => {
                return Err(refuse(
                    statement,
                    merge,
                    format!(
                        "the source has a column '{}' that the target lacks",
                        field.name()
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refuse(statement: &Statement, merge: &MergeStatement, message: String) -> Error {
    let help = "the schema changed since the target was made: list the columns and their casts in SET and INSERT, \
                or copy the table again to an empty LOCATION";
    Error::invalid(statement.diagnostic(merge.target_span, message, Some(help.to_string())))
}

/// `SELECT * FROM <the source of the MERGE>`.
pub(super) fn source_query(
    statement: &Statement,
    merge: &MergeStatement,
) -> Result<StatementKind, Error> {
    select_from(statement, None, merge.ast.source.clone())
}

/// `SELECT <the row of the first INSERT> FROM <the source of the MERGE>`; stars must be expanded.
pub(super) fn inserted_row(
    statement: &Statement,
    merge: &MergeStatement,
) -> Result<StatementKind, Error> {
    let row = merge
        .ast
        .clauses
        .iter()
        .find_map(|clause| match &clause.action {
            MergeAction::Insert(insert) => match &insert.kind {
                MergeInsertKind::Values(values) => {
                    let row: &[Expr] = values.rows.first()?;
                    Some(items(&insert.columns, row))
                }
                MergeInsertKind::Row => None,
            },
            _ => None,
        });
    match row {
        Some(row) => select_from(statement, Some(row), merge.ast.source.clone()),
        None => Err(Error::invalid(statement.diagnostic(
            merge.target_span,
            "the target does not exist yet, and the flow inserts nothing that it could take its columns from",
            Some("add WHEN NOT MATCHED THEN INSERT *, or list the columns in CREATE TABLE".to_string()),
        ))),
    }
}

fn items(columns: &[ast::ObjectName], row: &[Expr]) -> Vec<SelectItem> {
    row.iter()
        .zip(columns)
        .map(|(expr, column)| SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: column
                .0
                .last()
                .and_then(|part| part.as_ident())
                .map_or_else(|| Ident::new(column.to_string()), |ident| ident.clone()),
        })
        .collect()
}

fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
    schema
        .fields()
        .iter()
        .find(|field| field.name() == name)
        .or_else(|| {
            schema
                .fields()
                .iter()
                .find(|field| field.name().eq_ignore_ascii_case(name))
        })
        .map(|field| field.as_ref())
}

/// True when values of `right` are stored in `left` as they are.
fn same_type(left: &DataType, right: &DataType) -> bool {
    let text = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    let bytes = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        )
    };
    left == right || (text(left) && text(right)) || (bytes(left) && bytes(right))
}
