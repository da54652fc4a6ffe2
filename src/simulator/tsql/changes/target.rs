//! The table that a statement changes.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Delete, Expr, FromTable, Ident, ObjectName as SqlName, ObjectNamePart, SelectItem, SetExpr,
    Statement, TableAlias, TableFactor, TableObject, TableWithJoins, UpdateTableFromKind, Visit,
    visit_expressions,
};

use crate::simulator::protocol::ServerError;
use crate::simulator::security::Permission;
use crate::simulator::store::Table;
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::lexer::{Token, tokens};
use crate::simulator::tsql::normal::Spelling;
use crate::simulator::tsql::parse::parse;
use crate::simulator::tsql::planner::TARGET;
use crate::simulator::tsql::rewrite::{ident, object_name};
use crate::simulator::tsql::scope::Scope;

/// A row change as it is written: read, and its target's name found.
#[derive(Debug)]
pub(crate) struct Change {
    pub(super) statement: Statement,
    pub(super) spelling: Spelling,
    /// The table's name, where the statement has an alias too.
    name: ObjectName,
    permission: Permission,
    /// The columns that conditions and values are computed from, by name in lower case, with what stands
    /// before it.
    read: Vec<(Option<String>, String)>,
    /// The name that columns of the target may have in front of theirs, in lower case.
    exposed: String,
}

impl Change {
    /// Reads a statement in a session whose current database has the given name.
    pub(crate) fn parse(tokens: &[Token], current: &str) -> Result<Self, ServerError> {
        let (statement, spelling) = parse(tokens)?;
        let mut read = Vec::new();
        let (named, from, permission) = match &statement {
            Statement::Insert(insert) => {
                let TableObject::TableName(name) = &insert.table else {
                    return Err(ServerError::unsupported("INSERT into anything but a table"));
                };
                let name = spelled(name, &spelling);
                let exposed = name.object().to_lowercase();
                return Ok(Self {
                    statement,
                    spelling,
                    name,
                    permission: Permission::Insert,
                    read,
                    exposed,
                });
            }
            Statement::Update(update) => {
                columns_in(&update.selection, &mut read);
                for assignment in &update.assignments {
                    columns_in(&assignment.value, &mut read);
                }
                let from = match &update.from {
                    Some(
                        UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from),
                    ) => from.clone(),
                    None => Vec::new(),
                };
                (update.table.clone(), from, Permission::Update)
            }
            Statement::Delete(delete) => {
                columns_in(&delete.selection, &mut read);
                let (named, from) = deleted(delete)?;
                (named, from, Permission::Delete)
            }
            _ => return Err(ServerError::unsupported("this statement")),
        };
        columns_in(&from, &mut read);
        let TableFactor::Table { name, .. } = &named.relation else {
            return Err(ServerError::unsupported("changes of anything but a table"));
        };
        let found = factors(&from).find(|factor| is_target(factor, name, current));
        let (real, alias) = match found.unwrap_or(&named.relation) {
            TableFactor::Table { name, alias, .. } => (name, alias.as_ref()),
            _ => (name, None),
        };
        let real = spelled(real, &spelling);
        let exposed = alias.map_or(real.object(), |alias| alias.name.value.as_str());
        Ok(Self {
            exposed: exposed.to_lowercase(),
            name: real,
            statement,
            spelling,
            permission,
            read,
        })
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &ObjectName {
        &self.name
    }

    /// What the session must be allowed to do with the table.
    pub(crate) fn permission(&self) -> Permission {
        self.permission
    }

    /// Whether the table belongs to change data capture.
    pub(crate) fn is_of_capture(&self) -> bool {
        let schema = self.name.schema();
        schema.is_some_and(|schema| schema.eq_ignore_ascii_case(crate::simulator::capture::SCHEMA))
    }

    /// Whether the table's own columns decide which rows change, or how. A bare name within a subquery
    /// counts, though it may be another table's.
    pub(crate) fn reads(&self, table: &Table) -> bool {
        self.read.iter().any(|(qualifier, column)| {
            let own = qualifier
                .as_ref()
                .is_none_or(|qualifier| *qualifier == self.exposed);
            own && table.column(column).is_some()
        })
    }
}

/// Notes the columns that expressions name.
fn columns_in(expressions: &impl Visit, read: &mut Vec<(Option<String>, String)>) {
    let _ = visit_expressions(expressions, |expr| {
        match expr {
            Expr::Identifier(name) => read.push((None, name.value.to_lowercase())),
            Expr::CompoundIdentifier(parts) => {
                if let [.., qualifier, name] = parts.as_slice() {
                    let qualifier = qualifier.value.to_lowercase();
                    read.push((Some(qualifier), name.value.to_lowercase()));
                }
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
}

fn factors(from: &[TableWithJoins]) -> impl Iterator<Item = &TableFactor> {
    from.iter().flat_map(|item| {
        let joined = item.joins.iter().map(|join| &join.relation);
        std::iter::once(&item.relation).chain(joined)
    })
}

/// A DELETE's target and what follows FROM.
pub(super) fn deleted(
    delete: &Delete,
) -> Result<(TableWithJoins, Vec<TableWithJoins>), ServerError> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let mut from = from.clone();
    let Some(alias_or_name) = delete.tables.first() else {
        return match from.is_empty() {
            true => Err(ServerError::syntax("DELETE")),
            false => Ok((from.remove(0), from)),
        };
    };
    // DELETE alias FROM …
    let mut named = from
        .first()
        .cloned()
        .ok_or_else(|| ServerError::syntax("FROM"))?;
    named.joins.clear();
    if let TableFactor::Table { name, alias, .. } = &mut named.relation {
        *name = alias_or_name.clone();
        *alias = None;
    }
    Ok((named, from))
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

/// Finds the target `named` (or aliased so in `from`), whose table is that of `real`, and puts the planner's
/// name in its place.
pub(super) fn target(
    mut named: TableWithJoins,
    mut from: Vec<TableWithJoins>,
    real: &ObjectName,
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
        .find(|factor| is_target(factor, &name, scope.database()));
    match found {
        Some(factor) => replace(factor),
        None => {
            replace(&mut named.relation);
            from.insert(0, named);
        }
    }
    Ok(Target {
        table: scope.table(real)?,
        database: real.database().unwrap_or(scope.database()).to_owned(),
        from,
    })
}

/// Whether a table of FROM is the one that the statement changes: it has that alias, or it is that table.
fn is_target(factor: &TableFactor, name: &SqlName, current: &str) -> bool {
    let TableFactor::Table {
        name: other, alias, ..
    } = factor
    else {
        return false;
    };
    let parts = |name: &SqlName| {
        let parts = name.0.iter().filter_map(ObjectNamePart::as_ident);
        ObjectName(parts.map(|part| part.value.to_lowercase()).collect())
    };
    let (own, other) = (parts(name), parts(other));
    if let Some(alias) = alias {
        return own.0.len() == 1 && own.object() == alias.name.value.to_lowercase();
    }
    let current = current.to_lowercase();
    let place = |name: &ObjectName| {
        let database = name.database().unwrap_or(&current).to_owned();
        (database, name.schema().unwrap_or("dbo").to_owned())
    };
    own.object() == other.object() && (own.0.len() == 1 || place(&own) == place(&other))
}

/// Puts the planner's name in place of a table's, under its old name or alias.
fn replace(factor: &mut TableFactor) {
    let TableFactor::Table { name, alias, .. } = factor else {
        return;
    };
    let last = name.0.last().and_then(ObjectNamePart::as_ident);
    let Some(shown) = alias.as_ref().map(|alias| &alias.name).or(last).cloned() else {
        return;
    };
    *name = object_name(TARGET);
    *alias = Some(TableAlias {
        explicit: true,
        name: shown,
        columns: Vec::new(),
        at: None,
    });
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
