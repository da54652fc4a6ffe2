//! Expressions.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    TrimWhereField, UnaryOperator, Value as SqlValue,
};

use super::build::{
    binary, call, case, convert, int, literal, no_arguments, stated, string, text_literal,
};
use super::select::dotted;
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType};
use crate::simulator::tsql::functions::{
    AMONG, CAST, CHAIN, COLLATE, COLLATED, LIKE, MAYBE_NULL, TRY_CAST, method,
};
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

/// Whether an expression is a CASE, in one of its forms.
pub(super) fn is_choice(expr: &Expr) -> bool {
    match expr {
        Expr::Case { .. } => true,
        Expr::Function(function) => matches!(dotted(&function.name).as_str(), "iif" | "nullif"),
        _ => false,
    }
}

/// Before an expression's parts are visited: constructs become ones with the same parts.
pub(super) fn before(expr: &mut Expr, scope: &Arc<Scope>) -> Result<(), ServerError> {
    let rewritten = match take(expr) {
        Expr::BinaryOp {
            left,
            op: op @ (BinaryOperator::And | BinaryOperator::Or),
            right,
        } => balanced(*left, op, *right),
        Expr::BinaryOp { left, op, right } if sign(&op).is_some() => chain(*left, op, *right),
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
        Expr::CompoundIdentifier(parts) => property(parts),
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

/// Conditions in a row that are joined as they are; more become a tree.
const ROW: usize = 16;

/// Long rows of AND or of OR as a tree that is not deep. Their order means nothing.
fn balanced(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let same = |other: &BinaryOperator| *other == op;
    let mut length = 1;
    let mut spine = &left;
    while let Expr::BinaryOp { left, op, .. } = spine
        && same(op)
    {
        length += 1;
        spine = left;
    }
    if length < ROW {
        return binary(left, op, right);
    }
    let mut terms = vec![right];
    let mut spine = left;
    loop {
        match spine {
            Expr::BinaryOp {
                left,
                op: other,
                right,
            } if same(&other) => {
                terms.push(*right);
                spine = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    joined(terms, &op)
}

/// Operands in a row that are computed one by one; more become one call.
const OPERANDS: usize = 32;

fn sign(op: &BinaryOperator) -> Option<char> {
    Some(match op {
        BinaryOperator::Plus => '+',
        BinaryOperator::Minus => '-',
        BinaryOperator::Multiply => '*',
        BinaryOperator::Divide => '/',
        BinaryOperator::Modulo => '%',
        _ => return None,
    })
}

/// A long row of sums and products as one call.
fn chain(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let mut length = 1;
    let mut spine = &left;
    while let Expr::BinaryOp { left, op, .. } = spine
        && sign(op).is_some()
    {
        length += 1;
        spine = left;
    }
    if length < OPERANDS {
        return binary(left, op, right);
    }
    let mut signs: Vec<char> = sign(&op).into_iter().collect();
    let mut operands = vec![right];
    let mut spine = left;
    loop {
        match spine {
            Expr::BinaryOp { left, op, right } if sign(&op).is_some() => {
                signs.extend(sign(&op));
                operands.push(*right);
                spine = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    let signs: String = signs.into_iter().rev().collect();
    operands.push(string(&signs));
    operands.reverse();
    call(CHAIN, operands)
}

/// Conditions joined as a tree.
fn joined(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Expr::Nested(Box::new(binary(left, op.clone(), right))),
                None => left,
            });
        }
        terms = pairs;
    }
    terms.pop().unwrap_or_else(|| Expr::value(SqlValue::Null))
}

/// Items of IN that are compared one by one; more constants are looked up.
const FEW: usize = 16;

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Identifier(name) => name.value.starts_with('@'),
        Expr::UnaryOp { expr, .. } => matches!(expr.as_ref(), Expr::Value(_)),
        _ => false,
    }
}

/// `x IN (a, b)` as `x = a OR x = b`, so that each comparison converts as T-SQL does.
fn in_list(expr: &Expr, list: Vec<Expr>, negated: bool) -> Expr {
    if list.len() > FEW && list.iter().all(is_constant) {
        let mut arguments = vec![expr.clone()];
        arguments.extend(list);
        return negate(call(AMONG, arguments), negated);
    }
    let any = list
        .into_iter()
        .map(|item| binary(expr.clone(), BinaryOperator::Eq, item))
        .collect();
    negate(joined(any, &BinaryOperator::Or), negated)
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
        [.., name] => return method_of(name, &function, &full),
        [] => return Err(unknown_user_function(&full)),
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
        "count" | "count_big" | "sum" | "avg" | "min" | "max" => {
            let arguments = plain_arguments(&function);
            if matches!(&arguments[..], [Expr::Value(value)] if value.value == SqlValue::Null) {
                let message = format!("Operand data type NULL is invalid for {name} operator.");
                return Err(ServerError::new(8117, message));
            }
        }
        _ => {}
    }
    if DATE_PARTS.contains(&name) {
        quote_first(&mut function);
    }
    if name == "string_agg" {
        order_within(&mut function)?;
    }
    let name = match name {
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

/// WITHIN GROUP as the planner takes it.
fn order_within(function: &mut Function) -> Result<(), ServerError> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(());
    };
    if !list.clauses.is_empty() {
        return Err(ServerError::syntax("ORDER"));
    }
    let order = std::mem::take(&mut function.within_group);
    if !order.is_empty() {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    Ok(())
}

/// A method of a column, such as `t.place.AsBinaryZM()`.
fn method_of(name: &str, function: &Function, full: &str) -> Result<Expr, ServerError> {
    let owner = function
        .name
        .0
        .split_last()
        .map_or(&[][..], |(_, owner)| owner);
    let owner: Vec<Ident> = owner
        .iter()
        .filter_map(|part| part.as_ident().cloned())
        .collect();
    match method(name, false) {
        Some(method) if plain_arguments(function).is_empty() => {
            Ok(call(method, vec![Expr::CompoundIdentifier(owner)]))
        }
        _ => Err(unknown_user_function(full)),
    }
}

/// A property of a column, such as `t.place.STSrid`; other names of three parts stay what they are.
fn property(mut parts: Vec<Ident>) -> Expr {
    let found = match parts.as_slice() {
        [_, _, name] => method(&name.value, true),
        _ => None,
    };
    match found {
        Some(method) => {
            parts.pop();
            call(method, vec![Expr::CompoundIdentifier(parts)])
        }
        None => Expr::CompoundIdentifier(parts),
    }
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
            literal(sql_type, &value, scope.collation())
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
            SqlValue::SingleQuotedString(_) | SqlValue::NationalStringLiteral(_) => {
                text_literal(&value.value, 0, scope.collation())?
            }
            _ => Expr::Value(value),
        },
        subquery @ Expr::Subquery(_) => call(MAYBE_NULL, vec![subquery]),
        Expr::Collate { expr, collation } => {
            let mut name = dotted(&collation);
            if ["database_default", "catalog_default"].contains(&name.to_lowercase().as_str()) {
                name = scope.collation().to_string();
            }
            if Collation::named(&name).is_none() {
                return Err(ServerError::unknown_collation(&name));
            }
            call(COLLATED, vec![*expr, string(&format!("{COLLATE}{name}"))])
        }
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
            conversion(name, *expr, &data_type, Vec::new(), scope)?
        }
        Expr::Convert {
            is_try,
            expr,
            data_type: Some(data_type),
            styles,
            ..
        } => {
            let name = if is_try { TRY_CAST } else { CAST };
            conversion(name, *expr, &data_type, styles, scope)?
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
        let precision = u8::try_from(digits.len()).unwrap_or(u8::MAX);
        if digits.bytes().all(|b| b.is_ascii_digit()) && precision <= 38 {
            return convert(
                string(digits),
                SqlType::Decimal {
                    precision,
                    scale: 0,
                },
            );
        }
        value
    }
}

fn conversion(
    name: &str,
    expr: Expr,
    data_type: &DataType,
    styles: Vec<Expr>,
    scope: &Scope,
) -> Result<Expr, ServerError> {
    let declared = data_type.to_string().replace('"', "");
    let sql_type = SqlType::parse(&declared, DefaultLength::Cast)
        .or_else(|| scope.alias_type(&declared))
        .ok_or_else(|| ServerError::unknown_type(&declared))?;
    let mut arguments = vec![expr, string(&stated(sql_type, scope.collation()))];
    arguments.extend(styles.into_iter().take(1));
    Ok(call(name, arguments))
}
