//! The table that a statement changes.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName as SqlName, ObjectNamePart, SelectItem, SetExpr, Statement, TableAlias,
    TableFactor, TableWithJoins,
};

use crate::simulator::protocol::ServerError;
use crate::simulator::store::Table;
use crate::simulator::tsql::cursor::{Cursor, ObjectName};
use crate::simulator::tsql::lexer::{Token, tokens};
use crate::simulator::tsql::normal::Spelling;
use crate::simulator::tsql::parse::parse;
use crate::simulator::tsql::planner::TARGET;
use crate::simulator::tsql::rewrite::{ident, object_name};
use crate::simulator::tsql::scope::Scope;

/// The database that a row change names, if it names one: what follows INTO, UPDATE, or DELETE FROM.
pub(crate) fn database_of(tokens: &[Token]) -> Option<String> {
    named_target(tokens)?.database().map(str::to_owned)
}

/// Whether a row change names a table that belongs to change data capture.
pub(crate) fn changes_capture(tokens: &[Token]) -> bool {
    let name = named_target(tokens);
    name.is_some_and(|name| {
        name.schema()
            .is_some_and(|schema| schema.eq_ignore_ascii_case(crate::simulator::capture::SCHEMA))
    })
}

fn named_target(tokens: &[Token]) -> Option<ObjectName> {
    let verb = tokens
        .iter()
        .position(|token| token.is_any(&["INSERT", "UPDATE", "DELETE"]))?;
    let mut cursor = Cursor::new(&tokens[verb + 1..]);
    let _ = cursor.eat("INTO") || cursor.eat("FROM");
    cursor.object_name().ok()
}

/// A parsed name as the statement spells it.
pub(super) fn spelled(name: &SqlName, spelling: &Spelling) -> ObjectName {
    ObjectName(
        name.0
            .iter()
            .filter_map(ObjectNamePart::as_ident)
            .map(|part| spelling.of(&part.value))
            .collect(),
    )
}

/// A statement's target: the table, and the FROM clause in which the planner's name stands for it.
pub(super) struct Target {
    pub(super) table: Arc<Table>,
    pub(super) database: String,
    pub(super) from: Vec<TableWithJoins>,
}

/// Finds the target named `name` (or aliased so in `from`), and puts the planner's name in its place.
pub(super) fn target(
    named: TableWithJoins,
    mut from: Vec<TableWithJoins>,
    spelling: &Spelling,
    scope: &Scope,
) -> Result<Target, ServerError> {
    let TableFactor::Table { name, .. } = &named.relation else {
        return Err(ServerError::unsupported("changes of anything but a table"));
    };
    let name = name.clone();
    let found = from
        .iter_mut()
        .flat_map(|item| {
            std::iter::once(&mut item.relation)
                .chain(item.joins.iter_mut().map(|join| &mut join.relation))
        })
        .find(|factor| is_target(factor, &name));
    let real = match found {
        Some(factor) => replace(factor),
        None => {
            let mut named = named;
            let real = replace(&mut named.relation);
            from.insert(0, named);
            real
        }
    };
    let real = spelled(&real.unwrap_or(name), spelling);
    Ok(Target {
        table: scope.table(&real)?,
        database: real.database().unwrap_or(scope.database()).to_owned(),
        from,
    })
}

fn is_target(factor: &TableFactor, name: &SqlName) -> bool {
    let TableFactor::Table {
        name: other, alias, ..
    } = factor
    else {
        return false;
    };
    let last = |name: &SqlName| {
        let part = name.0.last().and_then(ObjectNamePart::as_ident);
        part.map(|part| part.value.clone())
    };
    match alias {
        Some(alias) => name.0.len() == 1 && last(name) == Some(alias.name.value.clone()),
        None => last(other) == last(name),
    }
}

/// Puts the planner's name in place of a table's, under its old name or alias; returns the old name.
fn replace(factor: &mut TableFactor) -> Option<SqlName> {
    let TableFactor::Table { name, alias, .. } = factor else {
        return None;
    };
    let shown = match alias {
        Some(alias) => alias.name.clone(),
        None => name.0.last().and_then(ObjectNamePart::as_ident).cloned()?,
    };
    let real = std::mem::replace(name, object_name(TARGET));
    *alias = Some(TableAlias {
        explicit: true,
        name: shown,
        columns: Vec::new(),
        at: None,
    });
    Some(real)
}

/// `SELECT items FROM from WHERE selection`.
pub(super) fn select(
    items: Vec<(Expr, String)>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Statement, ServerError> {
    let (mut statement, _) = parse(&tokens("SELECT 1")?)?;
    if let Statement::Query(query) = &mut statement
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = items
            .into_iter()
            .map(|(expr, name)| SelectItem::ExprWithAlias {
                expr,
                alias: ident(&name),
            })
            .collect();
        select.from = from;
        select.selection = selection;
    }
    Ok(statement)
}

/// Whether an expression is the keyword DEFAULT.
pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(Ident { value, quote_style: None, .. }) if value == "default")
}

/// The expression that DEFAULT means for a column.
pub(super) fn default_of(table: &Table, column: usize) -> Result<Expr, ServerError> {
    let text = table.columns[column].default.as_deref().unwrap_or("NULL");
    let (statement, _) = parse(&tokens(&format!("SELECT {text}"))?)?;
    if let Statement::Query(query) = statement
        && let SetExpr::Select(mut select) = *query.body
        && let Some(SelectItem::UnnamedExpr(expr)) = select.projection.pop()
    {
        return Ok(expr);
    }
    Err(ServerError::unsupported("this DEFAULT"))
}
