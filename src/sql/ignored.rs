//! Refuses what the parser reads and the planner would silently leave out.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement as QueryStatement};
use datafusion::sql::sqlparser::ast::{
    Ident, LimitClause, ObjectName, Query, Select, Spanned, TableFactor, Value, ValueWithSpan,
    Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span as TokenSpan;

use super::diagnostic::Diagnostic;
use super::lexer::MARK;
use super::source::Source;

/// Everything in `statement` that would be ignored.
pub(super) fn check(source: &Source, statement: &QueryStatement) -> Result<(), Vec<Diagnostic>> {
    let mut check = Check {
        source,
        errors: Vec::new(),
    };
    visit(statement, &mut check);
    check.finish()
}

/// Everything in a part of a statement that would be ignored.
pub(super) fn check_node(source: &Source, node: &impl Visit) -> Result<(), Vec<Diagnostic>> {
    let mut check = Check {
        source,
        errors: Vec::new(),
    };
    _ = node.visit(&mut check);
    check.finish()
}

/// Shows a visitor every syntax tree inside a statement.
pub(super) fn visit<V: Visitor>(statement: &QueryStatement, visitor: &mut V) {
    match statement {
        QueryStatement::Statement(statement) => _ = statement.visit(visitor),
        QueryStatement::Explain(explain) => visit(&explain.statement, visitor),
        QueryStatement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => _ = query.visit(visitor),
            CopyToSource::Relation(name) => _ = visitor.pre_visit_relation(name),
        },
        QueryStatement::CreateExternalTable(_) | QueryStatement::Reset(_) => {}
    }
}

/// Lets a visitor change every syntax tree inside a statement.
pub(super) fn visit_mut<V: VisitorMut>(
    statement: &mut QueryStatement,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    match statement {
        QueryStatement::Statement(statement) => statement.visit(visitor),
        QueryStatement::Explain(explain) => visit_mut(&mut explain.statement, visitor),
        QueryStatement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => query.visit(visitor),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        QueryStatement::CreateExternalTable(_) | QueryStatement::Reset(_) => {
            ControlFlow::Continue(())
        }
    }
}

struct Check<'a> {
    source: &'a Source,
    errors: Vec<Diagnostic>,
}

impl Check<'_> {
    fn refuse(&mut self, at: TokenSpan, what: &str, help: &str) {
        let diagnostic = Diagnostic::new(
            self.source,
            self.source.locate(at),
            format!("{what} is not supported"),
        );
        self.errors.push(diagnostic.with_help(help));
    }

    fn finish(self) -> Result<(), Vec<Diagnostic>> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.errors)
        }
    }
}

impl Visitor for Check<'_> {
    type Break = ();

    /// Strings may hold any character, and the parser takes a string for a name.
    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let forged = |name: &&Ident| name.quote_style == Some('\'') && name.value.contains(MARK);
        if name
            .0
            .iter()
            .filter_map(|part| part.as_ident())
            .any(|name| forged(&name))
        {
            self.refuse(
                name.span(),
                "the control character U+001F in a name",
                "write the name in double quotes",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let at = factor.span();
        match factor {
            TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => {
                self.refuse(at, "a table hint such as WITH (NOLOCK)", "leave it out");
            }
            TableFactor::Table {
                partitions,
                json_path,
                with_ordinality,
                index_hints,
                version,
                ..
            } if !partitions.is_empty()
                || json_path.is_some()
                || *with_ordinality
                || version.is_some()
                || !index_hints.is_empty() =>
            {
                self.refuse(
                    at,
                    "this clause after a table's name",
                    "name the table alone",
                );
            }
            TableFactor::Table {
                sample: Some(_), ..
            }
            | TableFactor::Derived {
                sample: Some(_), ..
            } => {
                self.refuse(at, "TABLESAMPLE", "write WHERE random() < 0.1");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let at = query.span();
        if !query.locks.is_empty() || query.for_clause.is_some() {
            self.refuse(at, "a FOR clause at the end of a query", "leave it out");
        }
        if query.settings.is_some() || query.format_clause.is_some() {
            self.refuse(
                at,
                "SETTINGS or FORMAT in a query",
                "leave it out; options are given with SET",
            );
        }
        if matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty())
        {
            self.refuse(
                at,
                "LIMIT … BY",
                "number the rows with row_number() OVER (PARTITION BY …)",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let at = select.select_token.0.span;
        if select.prewhere.is_some() {
            self.refuse(at, "PREWHERE", "write WHERE");
        }
        if !select.connect_by.is_empty() {
            self.refuse(at, "CONNECT BY", "write WITH RECURSIVE");
        }
        if !select.distribute_by.is_empty()
            || select.value_table_mode.is_some()
            || select.select_modifiers.is_some()
        {
            self.refuse(at, "this form of SELECT", "write a plain SELECT");
        }
        if select.exclude.is_some() {
            self.refuse(
                at,
                "EXCLUDE at the end of a select list",
                "write it directly after the star: * EXCLUDE (…)",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &value.value
            && name.starts_with([':', '@', '?'])
        {
            let what = format!("the parameter `{name}`");
            self.refuse(
                value.span,
                &what,
                "write `:name`, which --set name=value gives its value",
            );
        }
        ControlFlow::Continue(())
    }
}
