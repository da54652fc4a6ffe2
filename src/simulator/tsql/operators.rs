//! Operators whose meaning depends on their operands' types.

use std::cmp::Ordering;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::arithmetic::{Operand, Operation};
use super::comparison::{Form, forms, rank};
use super::functions::{self, ARITHMETIC, CAST, COMPARABLE, CONCATENATE, external};
use super::keys::type_of;
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType};
use crate::simulator::types::{Label, collation_of, label_of};

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
        let comparison = comparison(&expr.op);
        if comparison.is_none() && operation(&expr.op).is_none() {
            return Ok(PlannerResult::Original(expr));
        }
        let left = type_of(&expr.left, schema)?;
        let right = type_of(&expr.right, schema)?;
        let planned = match comparison {
            Some(operator) => Some(compare(schema, &expr, operator, left, right)?),
            None => arithmetic(&expr, left, right)?,
        };
        Ok(planned.map_or(PlannerResult::Original(expr), PlannerResult::Planned))
    }
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

pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    functions::call(name, arguments).ok_or_else(|| external(ServerError::unknown_function(name)))
}

pub(super) fn converted(expr: &Expr, to: SqlType) -> Result<Expr> {
    call(CAST, vec![expr.clone(), lit(to.declared())])
}

/// An operand in the form in which it is compared.
///
/// Texts are compared in `collation`, or else each in its own.
pub(super) fn in_form(expr: &Expr, form: Form, collation: Option<Collation>) -> Result<Expr> {
    match form {
        Form::AsIs => Ok(expr.clone()),
        Form::Text | Form::WideText => {
            let wide = SqlType::NVarChar(Length::Max);
            let mut arguments = vec![match form {
                Form::WideText => converted(expr, wide)?,
                _ => expr.clone(),
            }];
            arguments.extend(collation.map(|collation| lit(collation.to_string())));
            call(COMPARABLE, arguments)
        }
        Form::Instant | Form::Bytes => call(COMPARABLE, vec![expr.clone()]),
        Form::InstantOf(to) => call(COMPARABLE, vec![converted(expr, to)?]),
        Form::Number => Ok(Expr::Cast(Cast::new(
            Box::new(expr.clone()),
            DataType::Int32,
        ))),
        Form::As(to) => converted(expr, to),
    }
}

fn comparison_name(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "equal to",
        Operator::NotEq => "not equal to",
        Operator::Lt => "less than",
        Operator::LtEq => "less than or equal to",
        Operator::Gt => "greater than",
        _ => "greater than or equal to",
    }
}

/// The collation in which two texts meet: the firmer one's; error 468 where two are as firm and differ.
pub(super) fn common_collation(left: &Field, right: &Field, operator: &str) -> Result<Collation> {
    let collations = (collation_of(left), collation_of(right));
    match label_of(left).cmp(&label_of(right)) {
        Ordering::Greater => Ok(collations.0),
        Ordering::Less => Ok(collations.1),
        Ordering::Equal if collations.0 == collations.1 || label_of(left) == Label::Coercible => {
            Ok(collations.0)
        }
        Ordering::Equal => Err(external(ServerError::collation_conflict(
            collations.0,
            collations.1,
            operator,
        ))),
    }
}

fn compare(
    schema: &DFSchema,
    expr: &RawBinaryExpr,
    operator: Operator,
    left: Option<SqlType>,
    right: Option<SqlType>,
) -> Result<Expr> {
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(binary_expr(expr.left.clone(), operator, expr.right.clone()));
    };
    let forms = forms(left, right, comparison_name(operator)).map_err(external)?;
    let collation = match forms {
        (text, _) if text.is_text() => Some(common_collation(
            &expr.left.to_field(schema)?.1,
            &expr.right.to_field(schema)?.1,
            comparison_name(operator),
        )?),
        _ => None,
    };
    let left = in_form(&expr.left, forms.0, collation)?;
    let right = in_form(&expr.right, forms.1, collation)?;
    Ok(binary_expr(left, operator, right))
}

fn arithmetic(
    expr: &RawBinaryExpr,
    left: Option<SqlType>,
    right: Option<SqlType>,
) -> Result<Option<Expr>> {
    let Some(operation) = operation(&expr.op) else {
        return Ok(None);
    };
    let joins = |sql_type: Option<SqlType>| sql_type.is_none_or(|t| t.is_text());
    let bytes = |sql_type: Option<SqlType>| sql_type.is_some_and(|t| t.is_binary());
    if operation == Operation::Add
        && (joins(left) && joins(right) && (left.is_some() || right.is_some())
            || bytes(left) && bytes(right))
    {
        let text = SqlType::NVarChar(Length::Limited(1));
        let joined = functions::joined_type(left.unwrap_or(text), right.unwrap_or(text));
        let arguments = vec![
            expr.left.clone(),
            expr.right.clone(),
            lit(joined.declared()),
        ];
        return call(CONCATENATE, arguments).map(Some);
    }
    // A bare NULL is an int.
    let (left, right) = (left.unwrap_or(SqlType::Int), right.unwrap_or(SqlType::Int));
    let dates = |sql_type| (8..=12).contains(&rank(sql_type));
    if dates(left) || dates(right) {
        return date_arithmetic(expr, operation, left, right).map(Some);
    }
    let other = |own: SqlType, other: SqlType| {
        if own.is_text() || own.is_binary() {
            other
        } else {
            own
        }
    };
    let (from, to) = (other(left, right), other(right, left));
    let operands = (operand_of(&expr.left, from), operand_of(&expr.right, to));
    let result = operation
        .result(operands.0, operands.1)
        .ok_or_else(|| external(functions::incompatible(left, right, operation.name())))?;
    let converts = |expr: &Expr, own: SqlType, wanted: SqlType| {
        if own == wanted {
            Ok(expr.clone())
        } else {
            converted(expr, wanted)
        }
    };
    let pair = vec![
        converts(&expr.left, left, from)?,
        converts(&expr.right, right, to)?,
        lit(operation.sign()),
        lit(result.declared()),
    ];
    call(ARITHMETIC, pair).map(Some)
}

fn operation(operator: &BinaryOperator) -> Option<Operation> {
    Some(match operator {
        BinaryOperator::Plus => Operation::Add,
        BinaryOperator::Minus => Operation::Subtract,
        BinaryOperator::Multiply => Operation::Multiply,
        BinaryOperator::Divide => Operation::Divide,
        BinaryOperator::Modulo => Operation::Remainder,
        BinaryOperator::BitwiseAnd => Operation::And,
        BinaryOperator::BitwiseOr => Operation::Or,
        BinaryOperator::BitwiseXor => Operation::Xor,
        _ => return None,
    })
}

/// An operand as arithmetic sees it.
fn operand_of(expr: &Expr, sql_type: SqlType) -> Operand {
    let mut inner = expr;
    while let Expr::Cast(cast) = inner {
        inner = &cast.expr;
    }
    let digits = match inner {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) if sql_type == SqlType::Int => {
            u8::try_from(number.to_string().len()).ok()
        }
        _ => None,
    };
    Operand { sql_type, digits }
}

/// `datetime` plus or minus days.
fn date_arithmetic(
    expr: &RawBinaryExpr,
    operation: Operation,
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
    let days = match operation {
        Operation::Add if old(left) && integer(right) => (expr.right.clone(), expr.left.clone()),
        Operation::Add if integer(left) && old(right) => (expr.left.clone(), expr.right.clone()),
        Operation::Subtract if old(left) && integer(right) => (
            Expr::Negative(Box::new(expr.right.clone())),
            expr.left.clone(),
        ),
        _ => {
            let name = operation.name();
            return Err(external(functions::incompatible(left, right, name)));
        }
    };
    call("dateadd", vec![lit("day"), days.0, days.1])
}
