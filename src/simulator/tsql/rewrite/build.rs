//! Pieces of syntax trees.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value as SqlValue,
};

use crate::simulator::protocol::SqlType;
use crate::simulator::tsql::functions::CAST;
use crate::simulator::types::{Value, bytes_to_hex, text_of};

/// A quoted name.
pub(crate) fn ident(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// A name of one part.
pub(crate) fn object_name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(ident(name))])
}

/// A string.
pub(super) fn string(text: &str) -> Expr {
    Expr::value(SqlValue::SingleQuotedString(text.to_owned()))
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
pub(super) fn literal(sql_type: SqlType, value: &Value) -> Expr {
    match (value, sql_type) {
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
            let style = if sql_type == SqlType::Money { 2 } else { 121 };
            let text = text_of(value, sql_type, style).unwrap_or_default();
            convert(string(&text), sql_type)
        }
    }
}
