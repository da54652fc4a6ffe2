//! T-SQL's constructs as ones that DataFusion plans.

mod build;
mod expression;
mod select;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, Statement, TableFactor, VisitMut, VisitorMut,
};

use super::scope::Scope;
use crate::simulator::protocol::ServerError;

pub(super) use build::{ident, object_name};

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
    };
    match statement.visit(&mut rewriter) {
        ControlFlow::Continue(()) => Ok(rewriter.names),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    scope: &'a Arc<Scope>,
    names: GivenNames,
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
        flow(select::limit(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<ServerError> {
        select::restore_ordinals(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<ServerError> {
        flow(select::name_items(select, &mut self.names))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<ServerError> {
        select::simplify_factor(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<ServerError> {
        flow(expression::before(expr, self.scope))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<ServerError> {
        flow(expression::after(expr, self.scope))
    }
}
