//! Pieces of syntax trees.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value as SqlValue,
};

use crate::simulator::protocol::{Collation, Length, ServerError, SqlType, code_page, units};
use crate::simulator::tsql::functions::{CAST, COLLATE};
use crate::simulator::types::{Value, bytes_to_hex, text_of};

/// A quoted name.
pub(crate) fn ident(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A name of one part.
pub(crate) fn object_name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(ident(name))])
}

/// A string that is none of the statement's, so that no type is given to it.
pub(super) fn string(text: &str) -> Expr {
    Expr::value(SqlValue::EscapedStringLiteral(text.to_owned()))
}

/// A string of the statement in its type: `varchar` in the database's code page, or `nvarchar`.
pub(super) fn text_literal(
    value: &SqlValue,
    least: usize,
    collation: Collation,
) -> Result<Expr, ServerError> {
    let (SqlValue::SingleQuotedString(text) | SqlValue::NationalStringLiteral(text)) = value else {
        return Ok(Expr::value(value.clone()));
    };
    if units::is_ambiguous(text) {
        return Err(ServerError::unsupported(
            "the characters U+10D800 to U+10DFFF",
        ));
    }
    let to = text_type(value, least, collation);
    Ok(convert_in(string(text), to, collation))
}

/// The type of a string of the statement that is at least `least` long.
fn text_type(value: &SqlValue, least: usize, collation: Collation) -> SqlType {
    let limit = |length: usize, most: u16| match u16::try_from(length.max(least).max(1)) {
        Ok(length) if length <= most => Length::Limited(length),
        _ => Length::Max,
    };
    match value {
        SqlValue::NationalStringLiteral(_) => {
            SqlType::NVarChar(limit(text_length(value, collation).unwrap_or(0), 4000))
        }
        _ => SqlType::VarChar(limit(text_length(value, collation).unwrap_or(0), 8000)),
    }
}

/// The length of a string in its type; `None` for other values.
pub(super) fn text_length(value: &SqlValue, collation: Collation) -> Option<usize> {
    match value {
        SqlValue::NationalStringLiteral(text) => Some(units::count(text)),
        SqlValue::SingleQuotedString(text) => Some(code_page::length(text, collation)),
        _ => None,
    }
}

/// A call of a function by its bare name.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: list(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn list(arguments: Vec<Expr>) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: arguments
            .into_iter()
            .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
            .collect(),
        clauses: Vec::new(),
    })
}

/// No arguments.
pub(super) fn no_arguments() -> FunctionArguments {
    list(Vec::new())
}

/// A conversion as T-SQL makes it.
pub(super) fn convert(expr: Expr, to: SqlType) -> Expr {
    call(CAST, vec![expr, string(&to.declared())])
}

/// A conversion to a type whose text is in a collation, unless it has one of its own.
pub(super) fn convert_in(expr: Expr, to: SqlType, collation: Collation) -> Expr {
    call(CAST, vec![expr, string(&stated(to, collation))])
}

/// A type as a conversion states it.
pub(super) fn stated(to: SqlType, collation: Collation) -> String {
    if to.is_text() && collation != Collation::SERVER {
        format!("{}{COLLATE}{collation}", to.declared())
    } else {
        to.declared()
    }
}

/// A whole number as `int`.
pub(super) fn int(number: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(number),
        data_type: DataType::Int(None),
        array: false,
        format: None,
    }
}

/// `left op right`.
pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

/// `CASE WHEN condition THEN result ELSE otherwise END`.
pub(super) fn case(condition: Expr, result: Expr, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: Some(Box::new(otherwise)),
    }
}

/// A value of a type, as an expression.
pub(super) fn literal(sql_type: SqlType, value: &Value, collation: Collation) -> Expr {
    match (value, sql_type) {
        (Value::Variant(inner), _) => {
            convert(literal(inner.0.sql_type, &inner.1, collation), sql_type)
        }
        (Value::Null, _) => convert(Expr::value(SqlValue::Null), sql_type),
        (Value::Int(number), SqlType::Int) if *number >= 0 => {
            int(Expr::value(SqlValue::Number(number.to_string(), false)))
        }
        (Value::Bytes(bytes), _) => {
            let hex = SqlValue::HexStringLiteral(bytes_to_hex(bytes));
            convert(Expr::value(hex), sql_type)
        }
        // Every digit of a float, not the six of CONVERT.
        (Value::Float(float), _) => convert(string(&format!("{float:e}")), sql_type),
        _ => {
            let style = match sql_type {
                SqlType::Money | SqlType::SmallMoney => 2,
                // The one form of these in which DATEFORMAT has no say.
                SqlType::DateTime | SqlType::SmallDateTime => 126,
                _ => 121,
            };
            let text = text_of(value, sql_type, style).unwrap_or_default();
            convert_in(string(&text), sql_type, collation)
        }
    }
}
