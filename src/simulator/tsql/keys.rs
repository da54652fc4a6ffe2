//! What sorts and groups values, and which values nothing sorts or groups.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::functions::{COMPARABLE, external, stated_type};
use super::operators::call;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::types::{has_comparable, sql_type_of};

/// What compares the values of one expression with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    OrderBy,
    GroupBy,
    Distinct,
    SetOperation,
    Count,
}

/// The type of an expression; `None` for a bare NULL.
pub(super) fn type_of(expr: &Expr, schema: &DFSchema) -> Result<Option<SqlType>> {
    if let Some(stated) = stated_type(expr) {
        return Ok(Some(stated));
    }
    let (_, field) = expr.to_field(schema)?;
    let known = *field.data_type() != DataType::Null;
    Ok(known.then(|| sql_type_of(&field)))
}

/// Whether an expression's values are not compared in their Arrow form; an error where a clause cannot
/// compare them.
pub(super) fn is_folded(expr: &Expr, schema: &DFSchema, clause: Clause) -> Result<bool> {
    let Some(of) = type_of(expr, schema)? else {
        return Ok(false);
    };
    if of == SqlType::SqlVariant {
        return Err(external(ServerError::unsupported(
            "sorting and grouping of sql_variant",
        )));
    }
    if !of.is_comparable() {
        return Err(external(incomparable(of, clause)));
    }
    Ok(has_comparable(of))
}

/// What an expression's values are compared by.
pub(super) fn key(expr: Expr, schema: &DFSchema, clause: Clause) -> Result<Expr> {
    if is_folded(&expr, schema, clause)? {
        return call(COMPARABLE, vec![expr]);
    }
    Ok(expr)
}

/// The error of a type whose values are not compared.
fn incomparable(of: SqlType, clause: Clause) -> ServerError {
    let name = of.base_name();
    match (clause, of) {
        (Clause::Count, _) => ServerError::new(
            8117,
            format!("Operand data type {name} is invalid for count operator."),
        ),
        (Clause::Distinct, _) => ServerError::new(
            421,
            format!(
                "The {name} data type cannot be selected as DISTINCT because it is not comparable."
            ),
        ),
        (Clause::SetOperation, _) => ServerError::new(
            5335,
            format!(
                "The data type {name} cannot be used as an operand to the UNION, INTERSECT or EXCEPT operators because it is not comparable."
            ),
        ),
        (_, SqlType::Xml) => ServerError::new(
            305,
            "The XML data type cannot be compared or sorted, except when using the IS NULL operator.",
        ),
        (_, SqlType::Udt(_)) => ServerError::new(
            249,
            format!(
                "The type \"{name}\" is not comparable. It cannot be used in the {} clause.",
                match clause {
                    Clause::GroupBy => "GROUP BY",
                    _ => "ORDER BY",
                }
            ),
        ),
        _ => ServerError::new(
            306,
            "The text, ntext, and image data types cannot be compared or sorted, except when using IS NULL or LIKE operator.",
        ),
    }
}
