//! The schema of a flow's target: declared, found, or taken from the flow.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, MergeAction, MergeInsertKind, SelectItem,
};

use crate::change::{OnSchemaChange, is_change_column};
use crate::engine::select_from;
use crate::error::Error;
use crate::sink::delta::widens;
use crate::source::sqlserver::unmarked;
use crate::sql::{Diagnostic, MergeStatement, Statement, StatementKind};

/// The columns that a star over a change stream stands for: all but the three change columns.
pub(super) fn without_change_columns(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .filter(|field| !is_change_column(field.name()))
        .map(|field| unmarked(field).with_nullable(true))
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

/// What a target gets which took its schema from a flow whose source has other columns since.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// New columns.
    pub(super) added: Vec<Field>,
    /// Columns in wider types.
    pub(super) widened: Vec<Field>,
    /// Why nothing can be written before they are wider.
    narrow: Option<Diagnostic>,
}

impl Growth {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.widened.is_empty()
    }

    /// Refuses to write into columns whose types are too narrow, of a table that is not the flow's own.
    pub(super) fn check_types(&self) -> Result<(), Error> {
        match &self.narrow {
            None => Ok(()),
            Some(diagnostic) => Err(Error::invalid(diagnostic.clone())),
        }
    }
}

/// What the target of a star gets first, which took its schema from this flow.
///
/// # Errors
/// `Invalid` where source and target disagree: a type that differs, or, by the policy, a column that the target does not
/// have.
pub(super) fn check_star(
    statement: &Statement,
    merge: &MergeStatement,
    source: &Schema,
    target: &Schema,
    (columns_declared, policy): (bool, OnSchemaChange),
) -> Result<Growth, Error> {
    let mut growth = Growth::default();
    for field in source.fields() {
        match find(target, field.name()) {
            Some(existing) if !same_type(existing.data_type(), field.data_type()) => {
                let refusal = refusal(
                    statement,
                    merge,
                    format!(
                        "column '{}' is {} in the source but {} in the target",
                        field.name(),
                        type_name(field.data_type()),
                        type_name(existing.data_type())
                    ),
                    columns_declared,
                );
                let widens = widens(existing.data_type(), field.data_type());
                if !widens || columns_declared || policy != OnSchemaChange::Evolve {
                    return Err(Error::invalid(refusal));
                }
                let wider = existing.clone().with_data_type(field.data_type().clone());
                growth.widened.push(wider);
                growth.narrow = Some(refusal);
            }
            None if columns_declared || policy == OnSchemaChange::Ignore => {}
            None if policy.adds() => growth.added.push(field.as_ref().clone()),
            None => {
                return Err(Error::invalid(refusal(
                    statement,
                    merge,
                    format!(
                        "the source has a column '{}' that the target lacks",
                        field.name()
                    ),
                    false,
                )));
            }
            _ => {}
        }
    }
    Ok(growth)
}

/// Refuses a declaration of other columns than the table at its location has: CREATE TABLE IF NOT EXISTS leaves
/// such a table as it is, and what the declaration says would be ignored.
pub(super) fn check_declared(
    statement: &Statement,
    merge: &MergeStatement,
    location: &str,
    existing: &Schema,
    declared: &Schema,
) -> Result<(), Error> {
    let difference = declared
        .fields()
        .iter()
        .find_map(|field| match find(existing, field.name()) {
            None => Some(format!("it has no column '{}'", field.name())),
            Some(found) if !same_type(found.data_type(), field.data_type()) => Some(format!(
                "its column '{}' is {}, not {}",
                field.name(),
                type_name(found.data_type()),
                type_name(field.data_type())
            )),
            Some(_) => None,
        })
        .or_else(|| {
            let extra = |field: &&Arc<Field>| find(declared, field.name()).is_none();
            let extra = existing.fields().iter().find(extra)?;
            Some(format!(
                "its column '{}' is not in the declaration",
                extra.name()
            ))
        });
    match difference {
        None => Ok(()),
        Some(difference) => Err(Error::invalid(statement.diagnostic(
            merge.target_span,
            format!("the table at {location} has other columns than its CREATE TABLE declares: {difference}"),
            Some(
                "write the columns that the table has, leave the column list out, or choose an empty LOCATION"
                    .to_string(),
            ),
        ))),
    }
}

/// A type as a column list names it.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_string(),
        DataType::Int8 => "TINYINT".to_string(),
        DataType::Int16 => "SMALLINT".to_string(),
        DataType::Int32 => "INT".to_string(),
        DataType::Int64 => "BIGINT".to_string(),
        DataType::Float32 => "FLOAT".to_string(),
        DataType::Float64 => "DOUBLE".to_string(),
        DataType::Date32 => "DATE".to_string(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_string(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".to_string(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".to_string(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP".to_string(),
        other => other.to_string(),
    }
}

fn refusal(
    statement: &Statement,
    merge: &MergeStatement,
    message: String,
    declared: bool,
) -> Diagnostic {
    let help = if declared {
        "declare the column as the source has it, or list the columns and their casts in SET and INSERT"
    } else {
        "where the source has changed since the target was made, say TBLPROPERTIES ('cdcql.onSchemaChange' = 'add') to have \
         new columns in the target, 'evolve' to widen types too, or 'ignore' to leave new columns out; for another type list the columns and their casts in SET \
         and INSERT, or copy the table again to an empty LOCATION; where the target is another table's, choose another \
         LOCATION"
    };
    statement.diagnostic(merge.target_span, message, Some(help.to_string()))
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

pub(super) fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
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
pub(super) fn same_type(left: &DataType, right: &DataType) -> bool {
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
