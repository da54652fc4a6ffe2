//! Unquoted column names match without regard to case.
//!
//! DataFusion puts every unquoted name into lower case, so `CustomerID` never finds the column `CustomerID`.
//! This pass runs before planning: it writes the exact, quoted spelling wherever an unquoted name means a
//! column of the tables in scope. Everything else (aliases, functions, names that nothing answers to) is left
//! to the planner.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FromTable, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    Statement as SqlStatement, TableObject, VisitMut, VisitorMut,
};

use super::actions::is_stand_in;
use super::diagnostic::Diagnostic;
use super::ignored::visit_mut;
use super::merge::MergeStatement;
use super::places::{action_columns, assigned, excluded_columns, using_columns};
use super::scope::{Frame, Lookup, Scopes, Table};
use super::source::Source;
use super::stars::{Found, ambiguous, find_column, near};
use super::statement::{Statement, StatementKind};

/// Writes the exact spelling of every column that a statement names, given the columns of its tables.
///
/// `columns` is asked for every table, under the name that the statement has for it, markers included (see
/// [`table_references`](super::table_references)); `None` leaves the names of that table to the planner.
///
/// # Errors
/// A name that could be any of several columns which differ in case alone; in a MERGE also a column that
/// neither side has.
pub fn resolve_names(
    statement: &mut Statement,
    columns: &dyn Fn(&ObjectName) -> Option<Vec<String>>,
) -> Result<(), Diagnostic> {
    match &mut statement.kind {
        StatementKind::Merge(merge) => resolve_merge(merge, columns),
        StatementKind::Other(query) => {
            let mut names = Names::new(&statement.source, columns);
            finish(visit_mut(query, &mut names))
        }
        _ => Ok(()),
    }
}

fn finish(flow: ControlFlow<Box<Diagnostic>>) -> Result<(), Diagnostic> {
    match flow {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn resolve_merge(merge: &mut MergeStatement, columns: Lookup<'_>) -> Result<(), Diagnostic> {
    let mut names = Names::new(&merge.source, columns);
    let mut tables = Vec::new();
    names.scopes.add_tables(&merge.ast.table, &mut tables);
    let target = tables.first().and_then(|table| table.columns.clone());
    names.scopes.add_tables(&merge.ast.source, &mut tables);
    names.strict = tables.iter().all(|table| table.columns.is_some());
    names.scopes.push(Frame {
        tables,
        ..Frame::default()
    });
    if let Some(target) = &target {
        for clause in &mut merge.ast.clauses {
            for name in action_columns(&mut clause.action) {
                names.written(name, target)?;
            }
        }
    }
    finish(merge.ast.visit(&mut names))
}

struct Names<'a> {
    source: &'a Source,
    scopes: Scopes<'a>,
    /// Whether a name that nothing answers to is an error outside of subqueries.
    strict: bool,
    /// Queries around the present place.
    depth: usize,
}

impl<'a> Names<'a> {
    fn new(source: &'a Source, columns: Lookup<'a>) -> Self {
        Names {
            source,
            scopes: Scopes::new(columns),
            strict: false,
            depth: 0,
        }
    }

    fn error(&self, name: &Ident, message: String) -> Diagnostic {
        Diagnostic::new(self.source, self.source.locate(name.span), message)
    }

    /// Spells a column that is written to.
    fn written(&self, name: &mut ObjectName, target: &[String]) -> Result<(), Diagnostic> {
        let Some(ObjectNamePart::Identifier(column)) = name.0.last_mut() else {
            return Ok(());
        };
        if is_stand_in(column) {
            return Ok(());
        }
        match find_column(column, target) {
            Found::One(exact) => spell(column, exact),
            Found::Many(columns) => {
                return Err(self.error(column, ambiguous(&column.value, &columns)));
            }
            Found::Nothing => {
                let error = self.error(
                    column,
                    format!("the target has no column `{}`", column.value),
                );
                return Err(near(error, &column.value, target));
            }
        }
        Ok(())
    }

    /// Spells a name that stands alone.
    fn alone(&self, name: &mut Ident) -> Result<(), Diagnostic> {
        if name.quote_style.is_some() {
            return Ok(());
        }
        let lower = name.value.to_lowercase();
        for (level, frame) in self.scopes.inward_out().enumerate() {
            if frame.parameters.contains(&lower) {
                return Ok(());
            }
            for columns in frame.candidates(level == 0) {
                match find_column(name, &columns) {
                    Found::One(exact) => {
                        spell(name, exact);
                        return Ok(());
                    }
                    Found::Many(columns) => {
                        return Err(self.error(name, ambiguous(&name.value, &columns)));
                    }
                    Found::Nothing => {}
                }
            }
            if frame.tables.iter().any(|table| table.columns.is_none()) {
                return Ok(());
            }
        }
        self.unknown(name, || {
            self.scopes.inward_out().flat_map(Frame::columns).collect()
        })
    }

    /// Spells `table.column`; a name that no table answers to may be a column with fields.
    fn qualified(&self, parts: &mut [Ident]) -> Result<(), Diagnostic> {
        let Some(qualifier_end) = parts.len().checked_sub(1) else {
            return Ok(());
        };
        let found = self
            .scopes
            .inward_out()
            .flat_map(|frame| &frame.tables)
            .find_map(|table| {
                table
                    .answers_to(parts.get(..qualifier_end)?)
                    .map(|length| (table, length))
            });
        let Some((table, length)) = found else {
            return parts
                .first_mut()
                .map_or(Ok(()), |first| self.column_with_fields(first));
        };
        for (part, spelling) in parts.iter_mut().zip(table.spelling(length)) {
            if let (None, Some(quoted)) = (part.quote_style, spelling) {
                *part = Ident {
                    span: part.span,
                    ..quoted
                };
            }
        }
        match parts.get_mut(length) {
            Some(column) => self.column_of(table, column),
            None => Ok(()),
        }
    }

    /// Spells the column of `column.field`; in a MERGE it may also be the name of a table that is not there.
    fn column_with_fields(&self, first: &mut Ident) -> Result<(), Diagnostic> {
        self.alone(first).map_err(|error| {
            let tables: Vec<String> = self
                .scopes
                .inward_out()
                .flat_map(|frame| &frame.tables)
                .filter_map(|table| Some(table.qualifier.last()?.value.clone()))
                .collect();
            if tables.is_empty() || error.message().contains("could be any") {
                return error;
            }
            let error = self.error(
                first,
                format!("there is no table or column `{}`", first.value),
            );
            near(error, &first.value, &tables)
        })
    }

    fn column_of(&self, table: &Table, name: &mut Ident) -> Result<(), Diagnostic> {
        let (Some(columns), None) = (&table.columns, name.quote_style) else {
            return Ok(());
        };
        match find_column(name, columns) {
            Found::One(exact) => {
                spell(name, exact);
                Ok(())
            }
            Found::Many(columns) => Err(self.error(name, ambiguous(&name.value, &columns))),
            Found::Nothing => self.unknown(name, || columns.clone()),
        }
    }

    fn is_strict(&self) -> bool {
        self.strict && self.depth == 0
    }

    fn unknown(
        &self,
        name: &Ident,
        columns: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Diagnostic> {
        if !self.is_strict() {
            return Ok(());
        }
        Err(near(
            self.error(name, format!("there is no column `{}`", name.value)),
            &name.value,
            &columns(),
        ))
    }

    /// The parts of a SELECT that name columns without being expressions.
    fn bare_columns(&self, select: &mut Select) -> Result<(), Diagnostic> {
        for join in select.from.iter_mut().flat_map(|item| &mut item.joins) {
            for name in using_columns(&mut join.join_operator) {
                if let [ObjectNamePart::Identifier(column)] = name.0.as_mut_slice() {
                    self.alone(column)?;
                }
            }
        }
        for item in &mut select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item
            {
                for column in excluded_columns(options) {
                    self.alone(column)?;
                }
            }
        }
        Ok(())
    }

    /// Enters a statement that writes to one table, and spells the columns it writes.
    fn enter_statement(&mut self, statement: &mut SqlStatement) -> Result<(), Diagnostic> {
        let mut tables = Vec::new();
        match statement {
            SqlStatement::Insert(insert) => {
                if let TableObject::TableName(name) = &insert.table {
                    let target = self.scopes.columns_of_table(name);
                    for column in &mut insert.columns {
                        target
                            .as_deref()
                            .map_or(Ok(()), |target| self.written(column, target))?;
                    }
                }
            }
            SqlStatement::Update(update) => {
                tables = self.scopes.tables_of(std::slice::from_ref(&update.table));
                let target = tables.first().and_then(|table| table.columns.clone());
                for assignment in &mut update.assignments {
                    if let (Some(name), Some(target)) = (assigned(&mut assignment.target), &target)
                    {
                        self.written(name, target)?;
                    }
                }
            }
            SqlStatement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) =
                    &delete.from;
                tables = self.scopes.tables_of(from);
            }
            _ => {}
        }
        self.scopes.push(Frame {
            tables,
            ..Frame::default()
        });
        Ok(())
    }
}

fn spell(name: &mut Ident, exact: String) {
    name.value = exact;
    name.quote_style = Some('"');
}

fn flow(result: Result<(), Diagnostic>) -> ControlFlow<Box<Diagnostic>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

impl VisitorMut for Names<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_statement(&mut self, statement: &mut SqlStatement) -> ControlFlow<Self::Break> {
        flow(self.enter_statement(statement))
    }

    fn post_visit_statement(&mut self, _statement: &mut SqlStatement) -> ControlFlow<Self::Break> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        self.scopes.enter_query(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        self.scopes.enter_select(select);
        flow(self.bare_columns(select))
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<Self::Break> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(name) => flow(self.alone(name)),
            Expr::CompoundIdentifier(parts) => flow(self.qualified(parts)),
            Expr::Lambda(lambda) => {
                let parameters = lambda
                    .params
                    .iter()
                    .map(|parameter| parameter.name.value.to_lowercase())
                    .collect();
                self.scopes.push(Frame {
                    parameters,
                    ..Frame::default()
                });
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if matches!(expr, Expr::Lambda(_)) {
            self.scopes.pop();
        }
        ControlFlow::Continue(())
    }
}
