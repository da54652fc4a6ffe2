//! The STREAM of a flow, and the constructs that would be wrong over it.
//!
//! A flow runs once per window of changes. What looks at several rows at once would see those of one window,
//! so its result would depend on how the changes fell into windows.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, Merge, MergeClauseKind, ObjectName, ObjectNamePart, Query,
    Select, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, Visit, Visitor,
    visit_relations,
};
use datafusion::sql::sqlparser::tokenizer::Span as TokenSpan;

use super::diagnostic::Diagnostic;
use super::relation::{RelationKind, StreamStart, unmarked};
use super::source::{Source, Span};

/// The STREAM of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRef {
    /// The table whose changes are read.
    pub name: ObjectName,
    /// The name under which the planner asks for them.
    pub marker: ObjectName,
    /// The name by which the MERGE calls its source.
    pub alias: Ident,
    /// Where a flow begins that has no checkpoint yet.
    pub start: StreamStart,
    /// From the word STREAM to the end of its clause.
    pub span: Span,
}

impl StreamRef {
    /// The STREAM in the source of a MERGE.
    pub(super) fn find(source: &TableFactor, alias: Ident, span: Span) -> Option<Self> {
        let found = visit_relations(source, |relation| match stream_name(relation) {
            Some((name, start)) => ControlFlow::Break((name, start, relation.clone())),
            None => ControlFlow::Continue(()),
        });
        let (name, start, marker) = found.break_value()?;
        Some(StreamRef {
            name,
            marker,
            alias,
            start,
            span,
        })
    }
}

/// Whether a name is the marker of a STREAM.
pub(super) fn is_stream(name: &ObjectName) -> bool {
    stream_name(name).is_some()
}

/// The table of a STREAM's marker, and where it begins.
fn stream_name(marker: &ObjectName) -> Option<(ObjectName, StreamStart)> {
    let last = marker.0.last()?.as_ident()?;
    match unmarked(last)? {
        (name, RelationKind::Stream(start)) => {
            let mut table = marker.clone();
            *table.0.last_mut()? = ObjectNamePart::Identifier(name);
            Some((table, start))
        }
        _ => None,
    }
}

/// Everything in a flow's MERGE that would be wrong one window at a time.
pub(super) fn check(source: &Source, ast: &Merge) -> Result<(), Vec<Diagnostic>> {
    let mut check = Check {
        source,
        queries: Vec::new(),
        streams: Vec::new(),
        errors: Vec::new(),
    };
    for clause in &ast.clauses {
        if clause.clause_kind == MergeClauseKind::NotMatchedBySource {
            let help = "a row that left the source arrives as a change: WHEN MATCHED AND _change_type = 'delete' THEN DELETE";
            check.refuse(clause.when_token.0.span, "NOT MATCHED BY SOURCE", help);
        }
    }
    _ = ast.source.visit(&mut check);
    if check.errors.is_empty() {
        Ok(())
    } else {
        Err(check.errors)
    }
}

struct Check<'a> {
    source: &'a Source,
    /// For every query around the present place: whether it reads the STREAM.
    queries: Vec<bool>,
    /// Names of WITH queries that read it, in lower case.
    streams: Vec<String>,
    errors: Vec<Diagnostic>,
}

const AGGREGATE: &str = "aggregate in a later query over the target";

impl Check<'_> {
    fn refuse(&mut self, at: TokenSpan, what: &str, help: &str) {
        let message = format!("{what} over a STREAM sees the rows of one window only");
        self.errors
            .push(Diagnostic::new(self.source, self.source.locate(at), message).with_help(help));
    }

    fn reads_stream(&self, query: &Query) -> bool {
        let found = visit_relations(query, |relation| {
            let named = match relation.0.as_slice() {
                [one] => one
                    .as_ident()
                    .is_some_and(|one| self.streams.contains(&one.value.to_lowercase())),
                _ => false,
            };
            if named || stream_name(relation).is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found.is_break()
    }

    fn over_stream(&self) -> bool {
        self.queries.last().copied().unwrap_or(false)
    }

    fn set_operations(&mut self, body: &SetExpr) {
        if let SetExpr::SetOperation {
            left,
            op,
            set_quantifier,
            right,
        } = body
        {
            if *op != SetOperator::Union || *set_quantifier != SetQuantifier::All {
                self.refuse(
                    right.span(),
                    &format!("{op}"),
                    "write UNION ALL, or a second MERGE",
                );
            }
            self.set_operations(left);
            self.set_operations(right);
        }
    }
}

impl Visitor for Check<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            if self.reads_stream(&cte.query) {
                self.streams.push(cte.alias.name.value.to_lowercase());
            }
        }
        let over = self.reads_stream(query);
        self.queries.push(over);
        if over {
            if query.limit_clause.is_some() || query.fetch.is_some() {
                self.refuse(query.span(), "LIMIT", "leave it out");
            }
            if !query.pipe_operators.is_empty() {
                self.refuse(query.span(), "`|>`", "write the query with SELECT");
            }
            self.set_operations(&query.body);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let at = select.select_token.0.span;
        if self.over_stream() {
            if select.distinct.is_some() {
                self.refuse(at, "DISTINCT", "leave it out: a STREAM has one row per key");
            }
            if select.top.is_some() {
                self.refuse(at, "TOP", "leave it out");
            }
            let groups = match &select.group_by {
                GroupByExpr::All(_) => true,
                GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
            };
            if groups || select.having.is_some() {
                self.refuse(at, "GROUP BY", AGGREGATE);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && self.over_stream()
        {
            match over_rows(function) {
                Some(what) if function.over.is_some() => {
                    let help = "use it in a later query over the target";
                    self.refuse(function.name.span(), &what, help);
                }
                Some(what) => self.refuse(function.name.span(), &what, AGGREGATE),
                None => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// Every aggregate that DataFusion knows, by each of its names.
/// What a function is that looks at several rows, if it does.
pub(super) fn over_rows(function: &Function) -> Option<String> {
    let name = function.name.to_string().to_lowercase();
    match function.over {
        Some(_) => Some("a window function".to_owned()),
        None => AGGREGATES
            .contains(&name)
            .then(|| format!("the aggregate {name}()")),
    }
}

static AGGREGATES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let functions = all_default_aggregate_functions();
    functions
        .iter()
        .flat_map(|f| std::iter::once(f.name().to_owned()).chain(f.aliases().iter().cloned()))
        .collect()
});
