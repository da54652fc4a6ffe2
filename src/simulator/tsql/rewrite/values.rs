//! VALUES of several rows: one type for each column, as DataFusion wants it.

use datafusion::sql::sqlparser::ast::{
    Expr, Query, SetExpr, UnaryOperator, Value as SqlValue, Values,
};

use super::build::{call, text_length, text_literal};
use crate::simulator::protocol::{Collation, ServerError, code_page};
use crate::simulator::tsql::functions::UNTYPED;

/// Gives the strings of a column the length of the longest one; other values of several types lose theirs
/// and meet in their Arrow types.
pub(super) fn unify(query: &mut Query, collation: Collation) -> Result<(), ServerError> {
    let SetExpr::Values(values) = query.body.as_mut() else {
        return Ok(());
    };
    if values.rows.len() < 2 {
        return Ok(());
    }
    let width = values.rows.iter().map(|row| row.len()).min().unwrap_or(0);
    for at in 0..width {
        let cells = || values.rows.iter().map(|row| &row[at]);
        if cells().all(is_plain) {
            continue;
        }
        let longest = longest_text(cells(), collation);
        for row in &mut values.rows {
            let cell = &mut row[at];
            let value = std::mem::replace(cell, Expr::value(SqlValue::Null));
            *cell = match (longest, value) {
                (Some((longest, national)), value) => {
                    common_text(value, longest, national, collation)?
                }
                (None, value) if is_plain(&value) => value,
                (None, value) => call(UNTYPED, vec![value]),
            };
        }
    }
    Ok(())
}

/// Whether several rows have a column of values that are not all numbers, all strings or all bytes, but for
/// NULL; their types would not meet as SQL Server has them meet.
pub(crate) fn is_mixed(values: &Values) -> bool {
    let width = values.rows.iter().map(|row| row.len()).min().unwrap_or(0);
    values.rows.len() > 1
        && (0..width).any(|at| {
            let cells = || values.rows.iter().map(|row| &row[at]);
            !cells().all(is_plain)
                && longest_text(cells(), Collation::SERVER).is_none()
                && !cells().all(is_bytes)
        })
}

/// Whether a value is a binary literal or NULL.
fn is_bytes(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value)
        if matches!(value.value, SqlValue::HexStringLiteral(_) | SqlValue::Null))
}

/// Whether a value has no SQL type beyond its Arrow type: NULL, and numbers without an exponent.
fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => match &value.value {
            SqlValue::Null => true,
            SqlValue::Number(digits, _) => !digits.contains(['e', 'E']),
            _ => false,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => is_plain(expr),
        // DEFAULT is replaced before, by an expression of any kind.
        _ => false,
    }
}

/// The length of the longest string, and whether one is an N string; `None` unless all are strings or NULL.
fn longest_text<'a>(
    cells: impl Iterator<Item = &'a Expr>,
    collation: Collation,
) -> Option<(usize, bool)> {
    let mut longest = None;
    for cell in cells {
        let Expr::Value(value) = cell else {
            return None;
        };
        match (&value.value, text_length(&value.value, collation)) {
            (SqlValue::Null, _) => {}
            (value, Some(length)) => {
                let national = matches!(value, SqlValue::NationalStringLiteral(_));
                let (most, any) = longest.unwrap_or((0, false));
                longest = Some((length.max(most), any || national));
            }
            _ => return None,
        }
    }
    longest
}

fn common_text(
    expr: Expr,
    longest: usize,
    national: bool,
    collation: Collation,
) -> Result<Expr, ServerError> {
    let Expr::Value(value) = expr else {
        return Ok(expr);
    };
    match value.value {
        // A string of the code page loses what the page lacks before it becomes an N string.
        SqlValue::SingleQuotedString(text) if national => {
            let page = code_page::through(text, collation);
            text_literal(&SqlValue::NationalStringLiteral(page), longest, collation)
        }
        SqlValue::Null => {
            let empty = if national {
                SqlValue::NationalStringLiteral(String::new())
            } else {
                SqlValue::SingleQuotedString(String::new())
            };
            null_like(text_literal(&empty, longest, collation)?)
        }
        other => text_literal(&other, longest, collation),
    }
}

/// NULL in the type that a conversion has.
fn null_like(conversion: Expr) -> Result<Expr, ServerError> {
    let Expr::Function(mut function) = conversion else {
        return Ok(conversion);
    };
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(first) = list.args.first_mut()
    {
        *first = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(SqlValue::Null)));
    }
    Ok(Expr::Function(function))
}
