//! Expressions.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, TrimWhereField,
    UnaryOperator, Value as SqlValue,
};

use super::build::{binary, call, case, convert, int, literal, no_arguments, string};
use super::select::dotted;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::tsql::functions::{CAST, LIKE, MAYBE_NULL, TRY_CAST};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::DefaultLength;

/// Functions whose first argument is the name of a part of a date.
const DATE_PARTS: &[&str] = &[
    "datepart",
    "datediff",
    "datediff_big",
    "dateadd",
    "datename",
];

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(SqlValue::Null))
}

/// Before an expression's parts are visited: constructs become ones with the same parts.
pub(super) fn before(expr: &mut Expr, scope: &Arc<Scope>) -> Result<(), ServerError> {
    let rewritten = match take(expr) {
        Expr::InList {
            expr,
            list,
            negated,
        } => in_list(&expr, list, negated),
        Expr::Between {
            expr,
            negated,
            low,
            high,
        } => {
            let within = binary(
                binary(expr.as_ref().clone(), BinaryOperator::GtEq, *low),
                BinaryOperator::And,
                binary(*expr, BinaryOperator::LtEq, *high),
            );
            negate(within, negated)
        }
        Expr::Like {
            negated,
            expr,
            pattern,
            escape_char,
            any: false,
        } => {
            let mut arguments = vec![*expr, *pattern];
            arguments.extend(escape_char.map(Expr::Value));
            negate(call(LIKE, arguments), negated)
        }
        Expr::Case {
            case_token,
            end_token,
            operand: Some(operand),
            mut conditions,
            else_result,
        } => {
            for when in &mut conditions {
                let value = take(&mut when.condition);
                when.condition = binary(operand.as_ref().clone(), BinaryOperator::Eq, value);
            }
            Expr::Case {
                case_token,
                end_token,
                operand: None,
                conditions,
                else_result,
            }
        }
        Expr::Function(function) => named(function, scope)?,
        other => syntax(other),
    };
    *expr = rewritten;
    Ok(())
}

fn negate(expr: Expr, negated: bool) -> Expr {
    let nested = Expr::Nested(Box::new(expr));
    if negated {
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(nested),
        }
    } else {
        nested
    }
}

/// `x IN (a, b)` as `x = a OR x = b`, so that each comparison converts as T-SQL does.
fn in_list(expr: &Expr, list: Vec<Expr>, negated: bool) -> Expr {
    let any = list
        .into_iter()
        .map(|item| binary(expr.clone(), BinaryOperator::Eq, item))
        .reduce(|left, right| binary(left, BinaryOperator::Or, right));
    negate(any.unwrap_or_else(|| expr.clone()), negated)
}

/// Functions that the parser has its own syntax for.
fn syntax(expr: Expr) -> Expr {
    match expr {
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let mut arguments = vec![*expr];
            arguments.extend(substring_from.map(|e| *e));
            arguments.extend(substring_for.map(|e| *e));
            call("substring", arguments)
        }
        Expr::Trim {
            expr,
            trim_where,
            trim_what: None,
            trim_characters: None,
        } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "trim",
            };
            call(name, vec![*expr])
        }
        Expr::Floor {
            expr,
            field: CeilFloorKind::DateTimeField(_),
        } => call("floor", vec![*expr]),
        Expr::Ceil {
            expr,
            field: CeilFloorKind::DateTimeField(_),
        } => call("ceil", vec![*expr]),
        other => other,
    }
}

/// Functions by name.
fn named(mut function: Function, scope: &Arc<Scope>) -> Result<Expr, ServerError> {
    if matches!(function.args, FunctionArguments::None) {
        function.args = no_arguments();
    }
    let full = dotted(&function.name);
    let parts: Vec<&str> = full.split('.').collect();
    let (name, qualified) = match parts.as_slice() {
        [name] => (*name, false),
        [.., "sys", name] => (*name, true),
        _ => return Err(unknown_user_function(&full)),
    };
    if name.starts_with("fn_cdc_") {
        if !qualified {
            return Err(ServerError::unknown_function(name));
        }
        let database = if parts.len() == 3 {
            parts[0]
        } else {
            scope.database()
        };
        insert_argument(&mut function, string(database));
    }
    match name {
        "iif" => return choose(&function, case),
        "nullif" => {
            let arguments = plain_arguments(&function);
            let [left, right] = <[Expr; 2]>::try_from(arguments).map_err(|_| {
                ServerError::new(174, "The nullif function requires 2 argument(s).")
            })?;
            let equal = binary(left.clone(), BinaryOperator::Eq, right);
            return Ok(case(equal, Expr::value(SqlValue::Null), left));
        }
        _ => {}
    }
    if DATE_PARTS.contains(&name) {
        quote_first(&mut function);
    }
    let name = match name {
        "ceiling" => "ceil",
        "var" | "varp" | "stdev" | "stdevp" => match name {
            "var" => "var",
            "varp" => "var_pop",
            "stdev" => "stddev",
            _ => "stddev_pop",
        },
        other => other,
    };
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    Ok(Expr::Function(function))
}

fn unknown_user_function(name: &str) -> ServerError {
    ServerError::new(
        4121,
        format!(
            "Cannot find either column \"{}\" or the user-defined function or aggregate \"{name}\", or the name is ambiguous.",
            name.split('.').next().unwrap_or_default()
        ),
    )
}

fn plain_arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Vec::new();
    };
    list.args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn choose(
    function: &Function,
    build: impl Fn(Expr, Expr, Expr) -> Expr,
) -> Result<Expr, ServerError> {
    let [condition, yes, no] = <[Expr; 3]>::try_from(plain_arguments(function))
        .map_err(|_| ServerError::new(174, "The iif function requires 3 argument(s)."))?;
    Ok(build(condition, yes, no))
}

fn insert_argument(function: &mut Function, argument: Expr) {
    if let FunctionArguments::List(list) = &mut function.args {
        let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
        list.args.insert(0, argument);
    }
}

fn quote_first(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut()
        && let Expr::Identifier(part) = first
    {
        *first = string(&part.value);
    }
}

/// After an expression's parts were visited: literals and conversions.
pub(super) fn after(expr: &mut Expr, scope: &Arc<Scope>) -> Result<(), ServerError> {
    let rewritten = match take(expr) {
        Expr::Identifier(name) if name.value.starts_with('@') => {
            let (sql_type, value) = scope.variable(&name.value)?;
            literal(sql_type, &value)
        }
        Expr::Value(value) => match &value.value {
            SqlValue::Number(digits, _) => number(digits, Expr::Value(value.clone())),
            SqlValue::HexStringLiteral(digits) => {
                // A constant of more than 8000 bytes is varbinary(max).
                let length = match digits.len() / 2 {
                    bytes @ 0..=8000 => Length::Limited(bytes.max(1) as u16),
                    _ => Length::Max,
                };
                convert(Expr::Value(value.clone()), SqlType::VarBinary(length))
            }
            _ => Expr::Value(value),
        },
        subquery @ Expr::Subquery(_) => call(MAYBE_NULL, vec![subquery]),
        Expr::Collate { expr, .. } => *expr,
        Expr::Cast {
            kind,
            expr,
            data_type,
            ..
        } => {
            let name = match kind {
                CastKind::TryCast => TRY_CAST,
                _ => CAST,
            };
            conversion(name, *expr, &data_type, Vec::new())?
        }
        Expr::Convert {
            is_try,
            expr,
            data_type: Some(data_type),
            styles,
            ..
        } => {
            let name = if is_try { TRY_CAST } else { CAST };
            conversion(name, *expr, &data_type, styles)?
        }
        // COUNT is an int, COUNT_BIG a bigint.
        Expr::Function(mut function) => match dotted(&function.name).as_str() {
            "count" => convert(Expr::Function(function), SqlType::Int),
            "count_big" => {
                function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("count"))]);
                Expr::Function(function)
            }
            _ => Expr::Function(function),
        },
        other => other,
    };
    *expr = rewritten;
    Ok(())
}

/// Whole numbers are `int` where they fit; numbers with an exponent are `float`, others `decimal`.
fn number(digits: &str, value: Expr) -> Expr {
    if digits.contains(['e', 'E']) {
        convert(string(digits), SqlType::Float)
    } else if digits.parse::<i32>().is_ok() {
        int(value)
    } else {
        value
    }
}

fn conversion(
    name: &str,
    expr: Expr,
    data_type: &DataType,
    styles: Vec<Expr>,
) -> Result<Expr, ServerError> {
    let declared = data_type.to_string().replace('"', "");
    let sql_type = SqlType::parse(&declared, DefaultLength::Cast)
        .ok_or_else(|| ServerError::unknown_type(&declared))?;
    let mut arguments = vec![expr, string(&sql_type.declared())];
    arguments.extend(styles.into_iter().take(1));
    Ok(call(name, arguments))
}
