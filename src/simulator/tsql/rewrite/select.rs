//! SELECT: TOP and FETCH, items without names, hints.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    CastKind, Expr, FunctionArg, FunctionArgExpr, LimitClause, ObjectName, ObjectNamePart, Offset,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TopQuantity, Value as SqlValue,
};

use super::GivenNames;
use super::build::{ident, object_name};
use crate::simulator::protocol::ServerError;
use crate::simulator::tsql::normal::is_table_hint;

/// Puts TOP and FETCH into the query's limit.
pub(super) fn limit(query: &mut Query) -> Result<(), ServerError> {
    if query.for_clause.take().is_some() {
        return Err(ServerError::unsupported("FOR XML and FOR JSON"));
    }
    if !query.locks.is_empty() {
        return Err(ServerError::new(
            1003,
            "Line 1: FOR UPDATE clause allowed only for DECLARE CURSOR.",
        ));
    }
    wrap_limited(&mut query.body)?;
    let mut quantity = None;
    if let SetExpr::Select(select) = query.body.as_mut() {
        quantity = top(select)?;
    }
    if let Some(fetch) = query.fetch.take() {
        if fetch.with_ties || fetch.percent {
            return Err(ServerError::unsupported("FETCH … WITH TIES or PERCENT"));
        }
        quantity = fetch.quantity;
    }
    if let Some(quantity) = quantity {
        let offset = take_offset(query);
        query.limit_clause = Some(LimitClause::LimitOffset {
            limit: Some(quantity),
            offset,
            limit_by: Vec::new(),
        });
    }
    Ok(())
}

fn take_offset(query: &mut Query) -> Option<Offset> {
    match query.limit_clause.take() {
        Some(LimitClause::LimitOffset { offset, .. }) => offset,
        _ => None,
    }
}

fn top(select: &mut Select) -> Result<Option<Expr>, ServerError> {
    let Some(top) = select.top.take() else {
        return Ok(None);
    };
    if top.percent || top.with_ties {
        return Err(ServerError::unsupported("TOP … PERCENT and WITH TIES"));
    }
    Ok(top.quantity.map(|quantity| match quantity {
        TopQuantity::Expr(expr) => expr,
        TopQuantity::Constant(n) => Expr::value(SqlValue::Number(n.to_string(), false)),
    }))
}

/// A branch of a UNION with TOP becomes a query of its own, since a limit belongs to a query.
fn wrap_limited(body: &mut SetExpr) -> Result<(), ServerError> {
    let SetExpr::SetOperation { left, right, .. } = body else {
        return Ok(());
    };
    for side in [left, right] {
        wrap_limited(side)?;
        if let SetExpr::Select(select) = side.as_mut()
            && select.top.is_some()
        {
            let quantity = top(select)?;
            let inner = SetExpr::Select(select.clone());
            **side = SetExpr::Query(Box::new(Query {
                with: None,
                body: Box::new(inner),
                order_by: None,
                limit_clause: Some(LimitClause::LimitOffset {
                    limit: quantity,
                    offset: None,
                    limit_by: Vec::new(),
                }),
                fetch: None,
                locks: Vec::new(),
                for_clause: None,
                settings: None,
                format_clause: None,
                pipe_operators: Vec::new(),
            }));
        }
    }
    Ok(())
}

/// ORDER BY 1 means the first column, so that its number stays bare.
pub(super) fn restore_ordinals(query: &mut Query) {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind)
    else {
        return;
    };
    for key in keys {
        let number = match &key.expr {
            Expr::Cast {
                kind: CastKind::Cast,
                expr,
                ..
            } => match expr.as_ref() {
                Expr::Value(value) if matches!(value.value, SqlValue::Number(..)) => expr.clone(),
                _ => continue,
            },
            _ => continue,
        };
        key.expr = *number;
    }
}

/// Gives every item a name of its own.
pub(super) fn name_items(select: &mut Select, names: &mut GivenNames) -> Result<(), ServerError> {
    if select.into.is_some() {
        return Err(ServerError::unsupported("SELECT … INTO"));
    }
    let mut taken = HashSet::new();
    for item in &mut select.projection {
        let (shown, key) = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) if !name.value.starts_with('@') => {
                (name.value.clone(), name.value.clone())
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                let last = parts.last().map(|part| part.value.clone());
                let all: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
                (last.unwrap_or_default(), all.join("."))
            }
            SelectItem::UnnamedExpr(_) => (String::new(), String::new()),
            SelectItem::ExprWithAlias { alias, .. } => (alias.value.clone(), alias.value.clone()),
            _ => continue,
        };
        if !key.is_empty() && taken.insert(key) {
            continue;
        }
        let given = format!("__column_{}", names.len() + 1);
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias {
            expr,
            alias: ident(&given),
        };
        names.insert(given, shown);
    }
    Ok(())
}

/// Leaves out hints, and joins the parts of a function's name into one.
pub(super) fn simplify_factor(factor: &mut TableFactor) -> Result<(), ServerError> {
    let TableFactor::Table {
        name,
        args,
        with_hints,
        sample,
        ..
    } = factor
    else {
        return Ok(());
    };
    if sample.is_some() {
        return Err(ServerError::unsupported("TABLESAMPLE"));
    }
    with_hints.clear();
    let Some(arguments) = args else { return Ok(()) };
    // FROM t (NOLOCK)
    let hint = arguments.args.iter().all(|argument| {
        matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))
            if is_table_hint(&name.value))
    });
    if hint && !arguments.args.is_empty() {
        *args = None;
    } else {
        *name = object_name(&dotted(name));
    }
    Ok(())
}

/// The parts of a name with dots between them.
pub(super) fn dotted(name: &ObjectName) -> String {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(ObjectNamePart::as_ident)
        .map(|ident| ident.value.as_str())
        .collect();
    parts.join(".")
}
