//! The tables that a statement names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Merge, ObjectName, ObjectNamePart, Query, TableFactor, Visit, Visitor,
};

use super::ignored::visit;
use super::relation::{self, RelationKind};
use super::source::Span;
use super::statement::{Statement, StatementKind};

/// A table that a statement names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReference {
    /// The name for the planner; its last part is a marker where `kind` is not live.
    pub name: ObjectName,
    /// The name as it was written.
    pub table: ObjectName,
    /// What of the table is meant.
    pub kind: RelationKind,
    /// Where the name stands.
    pub span: Span,
}

/// Every table that a statement reads or writes, in the order in which they are named, each name once. Names
/// of WITH queries and functions are left out; a view's or table's own name in its definition is not.
pub fn table_references(statement: &Statement) -> Vec<TableReference> {
    let mut references = References::default();
    match &statement.kind {
        StatementKind::Merge(merge) => _ = merge.ast.visit(&mut references),
        StatementKind::Other(query) => visit(query, &mut references),
        _ => {}
    }
    let mut found = references.found();
    for reference in &mut found {
        reference.span = statement.span_of(&reference.name);
    }
    found
}

/// The tables that a MERGE reads or writes, without their places.
pub(super) fn references_of(merge: &Merge) -> Vec<TableReference> {
    let mut references = References::default();
    _ = merge.visit(&mut references);
    references.found()
}

fn unmarked(name: &ObjectName) -> (ObjectName, RelationKind) {
    let mut table = name.clone();
    if let Some(ObjectNamePart::Identifier(last)) = table.0.last_mut()
        && let Some((name, kind)) = relation::unmarked(last)
    {
        *last = name;
        return (table, kind);
    }
    (table, RelationKind::Live)
}

#[derive(Default)]
struct References {
    names: Vec<ObjectName>,
    /// For every query around the present place, the names of its WITH queries in lower case.
    ctes: Vec<Vec<String>>,
    /// Whether the next relation is a function's name.
    function: bool,
}

impl References {
    /// Each name once, without its place.
    fn found(self) -> Vec<TableReference> {
        let mut found: Vec<TableReference> = Vec::new();
        for name in self.names {
            if !found.iter().any(|other| other.name == name) {
                let (table, kind) = unmarked(&name);
                found.push(TableReference {
                    name,
                    table,
                    kind,
                    span: Span::default(),
                });
            }
        }
        found
    }
}

impl Visitor for References {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.push(
            tables
                .map(|cte| cte.alias.name.value.to_lowercase())
                .collect(),
        );
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.ctes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.function = matches!(factor, TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let function = std::mem::take(&mut self.function);
        let cte = match name.0.as_slice() {
            [one] => one.as_ident().is_some_and(|one| {
                self.ctes
                    .iter()
                    .flatten()
                    .any(|cte| *cte == one.value.to_lowercase())
            }),
            _ => false,
        };
        if !function && !cte {
            self.names.push(name.clone());
        }
        ControlFlow::Continue(())
    }
}
