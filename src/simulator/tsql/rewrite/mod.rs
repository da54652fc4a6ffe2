//! T-SQL's constructs as ones that DataFusion plans.

mod build;
mod expression;
mod select;
mod values;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, Statement, TableFactor, VisitMut, VisitorMut,
};

use super::scope::Scope;
use super::size::JOINS;
use crate::simulator::protocol::ServerError;

pub(super) use build::{ident, object_name};
pub(super) use values::is_mixed;

/// Names given to select items that have none, or a name that another item has; by the name that the
/// client shall see.
pub(super) type GivenNames = HashMap<String, String>;

/// Rewrites a statement in place.
pub(super) fn rewrite(
    statement: &mut Statement,
    scope: &Arc<Scope>,
) -> Result<GivenNames, ServerError> {
    let mut rewriter = Rewriter {
        scope,
        names: HashMap::new(),
        expressions: 0,
        depth: 0,
        choices: 0,
        queries: Vec::new(),
    };
    match statement.visit(&mut rewriter) {
        ControlFlow::Continue(()) => Ok(rewriter.names),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Expressions of a statement at most, those included that others become.
const EXPRESSIONS: usize = 200_000;
/// Expressions within each other at most: as much as a thread's stack holds in any build.
const DEPTH: usize = 2_000;
/// CASE within CASE at most.
const CHOICES: usize = 10;
/// Queries within each other at most.
const QUERIES: usize = 32;
/// Queries within expressions of each other at most: DataFusion's checks of a plan visit each of them twice as
/// often as the one around it.
const SUBQUERIES: usize = 12;

/// A query that is being visited.
struct Enclosing {
    /// Expressions around it.
    depth: usize,
    /// Whether one of them belongs to the query around it.
    in_expression: bool,
}

struct Rewriter<'a> {
    scope: &'a Arc<Scope>,
    names: GivenNames,
    expressions: usize,
    depth: usize,
    choices: usize,
    queries: Vec<Enclosing>,
}

impl Rewriter<'_> {
    fn enter(&mut self, expr: &mut Expr) -> Result<(), ServerError> {
        self.expressions += 1;
        self.depth += 1;
        if self.expressions > EXPRESSIONS || self.depth > DEPTH {
            return Err(ServerError::no_plan());
        }
        if expression::is_choice(expr) {
            self.choices += 1;
            if self.choices > CHOICES {
                return Err(ServerError::new(
                    125,
                    format!("Case expressions may only be nested to level {CHOICES}."),
                ));
            }
        }
        expression::before(expr, self.scope)
    }
}

fn flow(result: Result<(), ServerError>) -> ControlFlow<ServerError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ServerError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<ServerError> {
        let around = self.queries.last().map_or(0, |query| query.depth);
        self.queries.push(Enclosing {
            depth: self.depth,
            in_expression: self.depth > around,
        });
        let subqueries = self.queries.iter().filter(|query| query.in_expression);
        if self.queries.len() > QUERIES || subqueries.count() > SUBQUERIES {
            return ControlFlow::Break(ServerError::nested_too_deeply());
        }
        flow(values::unify(query, self.scope.collation()).and_then(|()| select::limit(query)))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<ServerError> {
        self.queries.pop();
        select::restore_ordinals(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<ServerError> {
        if select.from.len() > JOINS {
            return ControlFlow::Break(ServerError::no_plan());
        }
        flow(select::name_items(select, &mut self.names))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<ServerError> {
        flow(select::simplify_factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<ServerError> {
        flow(self.enter(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<ServerError> {
        self.depth -= 1;
        if expression::is_choice(expr) {
            self.choices = self.choices.saturating_sub(1);
        }
        flow(expression::after(expr, self.scope))
    }
}
