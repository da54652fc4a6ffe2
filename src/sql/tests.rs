//! What the language means, by example.

mod auto_cdc;
mod every_table;
mod fuzz;
mod histories;
mod merges;
mod names;
mod parameters;
mod planned;
mod printed;
mod readme;
mod statements;
mod table_factors;
mod triggers;

use super::{Diagnostic, SourceText, Statement, StatementKind, parse};

fn text(text: &str) -> SourceText {
    SourceText {
        name: "f.sql".to_owned(),
        text: text.to_owned(),
    }
}

/// The statements of a text that is right.
fn parsed(sql: &str) -> Vec<Statement> {
    parse(&text(sql)).unwrap_or_else(|errors| panic!("{sql}\n{errors:#?}"))
}

/// The one statement of a text that is right.
fn one(sql: &str) -> Statement {
    let mut statements = parsed(sql);
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}

/// The errors of a text that is wrong.
fn errors(sql: &str) -> Vec<Diagnostic> {
    match parse(&text(sql)) {
        Ok(statements) => panic!("{sql}\nwas read as {statements:#?}"),
        Err(errors) => errors,
    }
}

/// The one error of a text that is wrong.
fn error(sql: &str) -> Diagnostic {
    let mut errors = errors(sql);
    assert_eq!(errors.len(), 1, "{sql}\n{errors:#?}");
    errors.remove(0)
}

/// The statement as the planner reads it, marks shown as `~`.
fn planned(statement: &Statement) -> String {
    match &statement.kind {
        StatementKind::Other(query) => query.to_string().replace('\u{1f}', "~"),
        StatementKind::Merge(merge) => merge.ast.to_string().replace('\u{1f}', "~"),
        kind => panic!("{kind:?}"),
    }
}

/// The part of a text that an error underlines.
fn underlined<'a>(sql: &'a str, error: &Diagnostic) -> &'a str {
    &sql[error.span().start..error.span().end]
}
