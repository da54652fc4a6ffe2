//! Operators whose meaning depends on their operands' types.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::{self, CAST, COMPARABLE_BYTES, COMPARABLE_TEXT, CONCATENATE, external};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::types::sql_type_of;

/// T-SQL's operators: texts compare without case and trailing blanks, `+` joins texts, and where types
/// differ the lower one is converted to the higher.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let left = operand(&expr.left, schema)?;
        let right = operand(&expr.right, schema)?;
        let planned = match comparison(&expr.op) {
            Some(operator) => Some(compare(&expr, operator, left, right)?),
            None => arithmetic(&expr, left, right)?,
        };
        Ok(planned.map_or(PlannerResult::Original(expr), PlannerResult::Planned))
    }
}

/// The type of an operand; `None` for a bare NULL.
fn operand(expr: &Expr, schema: &DFSchema) -> Result<Option<SqlType>> {
    let (_, field) = expr.to_field(schema)?;
    Ok((*field.data_type() != DataType::Null).then(|| sql_type_of(&field)))
}

fn comparison(operator: &BinaryOperator) -> Option<Operator> {
    Some(match operator {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

fn call(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    functions::call(name, arguments).ok_or_else(|| external(ServerError::unknown_function(name)))
}

fn converted(expr: &Expr, to: SqlType) -> Result<Expr> {
    call(CAST, vec![expr.clone(), lit(to.declared())])
}

/// A bit as a number.
fn number(expr: &Expr, sql_type: SqlType) -> Expr {
    if sql_type == SqlType::Bit {
        Expr::Cast(Cast::new(Box::new(expr.clone()), DataType::Int32))
    } else {
        expr.clone()
    }
}

fn compare(
    expr: &RawBinaryExpr,
    operator: Operator,
    left: Option<SqlType>,
    right: Option<SqlType>,
) -> Result<Expr> {
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(binary_expr(expr.left.clone(), operator, expr.right.clone()));
    };
    let pair = if left.is_text() && right.is_text() {
        (
            call(COMPARABLE_TEXT, vec![expr.left.clone()])?,
            call(COMPARABLE_TEXT, vec![expr.right.clone()])?,
        )
    } else if left.is_binary() && right.is_binary() {
        compare_bytes(expr, left, right)?
    } else if left == right {
        (expr.left.clone(), expr.right.clone())
    } else if rank(left) < rank(right) && converts(left, right) {
        (converted(&expr.left, right)?, expr.right.clone())
    } else if rank(right) < rank(left) && converts(right, left) {
        (expr.left.clone(), converted(&expr.right, left)?)
    } else {
        (number(&expr.left, left), number(&expr.right, right))
    };
    Ok(binary_expr(pair.0, operator, pair.1))
}

fn compare_bytes(expr: &RawBinaryExpr, left: SqlType, right: SqlType) -> Result<(Expr, Expr)> {
    if left == right && matches!(left, SqlType::Binary(_)) {
        return Ok((expr.left.clone(), expr.right.clone()));
    }
    Ok((
        call(COMPARABLE_BYTES, vec![expr.left.clone()])?,
        call(COMPARABLE_BYTES, vec![expr.right.clone()])?,
    ))
}

/// The precedence of types, as far as conversions between kinds of types need it.
fn rank(sql_type: SqlType) -> u8 {
    match sql_type {
        SqlType::Binary(_) | SqlType::VarBinary(_) => 0,
        SqlType::Char(_) | SqlType::VarChar(_) => 1,
        SqlType::NChar(_) | SqlType::NVarChar(_) => 2,
        SqlType::UniqueIdentifier => 3,
        SqlType::Bit => 4,
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => 5,
        SqlType::Money | SqlType::SmallMoney | SqlType::Decimal { .. } => 6,
        SqlType::Real | SqlType::Float => 7,
        SqlType::Time(_) => 8,
        SqlType::Date => 9,
        SqlType::SmallDateTime | SqlType::DateTime => 10,
        SqlType::DateTime2(_) => 11,
        SqlType::DateTimeOffset(_) => 12,
    }
}

/// Whether a comparison converts explicitly: texts and bytes to anything, dates among each other.
/// Numbers meet in DataFusion's own types.
fn converts(from: SqlType, to: SqlType) -> bool {
    from.is_text() || from.is_binary() || rank(from) >= 8 && rank(to) >= 8
}

fn arithmetic(
    expr: &RawBinaryExpr,
    left: Option<SqlType>,
    right: Option<SqlType>,
) -> Result<Option<Expr>> {
    let operator = match expr.op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        BinaryOperator::BitwiseAnd => Operator::BitwiseAnd,
        BinaryOperator::BitwiseOr => Operator::BitwiseOr,
        BinaryOperator::BitwiseXor => Operator::BitwiseXor,
        _ => return Ok(None),
    };
    let joins = |sql_type: Option<SqlType>| sql_type.is_none_or(|t| t.is_text());
    let bytes = |sql_type: Option<SqlType>| sql_type.is_some_and(|t| t.is_binary());
    if operator == Operator::Plus
        && (joins(left) && joins(right) && (left.is_some() || right.is_some())
            || bytes(left) && bytes(right))
    {
        let pair = vec![expr.left.clone(), expr.right.clone()];
        return call(CONCATENATE, pair).map(Some);
    }
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(None);
    };
    let dates = |sql_type| (8..=12).contains(&rank(sql_type));
    if dates(left) || dates(right) {
        return date_arithmetic(expr, operator, left, right).map(Some);
    }
    if left.is_text() && right.is_text() {
        let sign = expr.op.to_string();
        return Err(external(functions::incompatible(left, right, &sign)));
    }
    let pair = if left.is_text() || left.is_binary() {
        (converted(&expr.left, right)?, number(&expr.right, right))
    } else if right.is_text() || right.is_binary() {
        (number(&expr.left, left), converted(&expr.right, left)?)
    } else {
        (number(&expr.left, left), number(&expr.right, right))
    };
    Ok(Some(binary_expr(pair.0, operator, pair.1)))
}

/// `datetime` plus or minus days.
fn date_arithmetic(
    expr: &RawBinaryExpr,
    operator: Operator,
    left: SqlType,
    right: SqlType,
) -> Result<Expr> {
    let integer = |sql_type| {
        matches!(
            sql_type,
            SqlType::TinyInt | SqlType::SmallInt | SqlType::Int
        )
    };
    let old = |sql_type| matches!(sql_type, SqlType::DateTime | SqlType::SmallDateTime);
    let days = match operator {
        Operator::Plus if old(left) && integer(right) => (expr.right.clone(), expr.left.clone()),
        Operator::Plus if integer(left) && old(right) => (expr.left.clone(), expr.right.clone()),
        Operator::Minus if old(left) && integer(right) => (
            Expr::Negative(Box::new(expr.right.clone())),
            expr.left.clone(),
        ),
        _ => {
            let sign = expr.op.to_string();
            return Err(external(functions::incompatible(left, right, &sign)));
        }
    };
    call("dateadd", vec![lit("day"), days.0, days.1])
}
