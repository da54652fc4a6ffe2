//! What a file says: its statements, not bound to any table yet.

use std::fmt;

use datafusion::common::Span as PlannerSpan;
use datafusion::sql::parser::Statement as QueryStatement;
use datafusion::sql::sqlparser::ast::{Ident, Spanned};
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan, Token};

use super::create::{CreateConnection, CreateSchema};
use super::diagnostic::Diagnostic;
use super::every_table::EveryTable;
use super::lexer::lex;
use super::merge::MergeStatement;
use super::source::{SharedSource, Source, SourceText, Span};
use super::table::CreateTable;

/// A statement and its place in the file.
#[derive(Clone)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// From its first token to its last.
    pub span: Span,
    /// Its text, without the `;`. It may hold a password: show it to nobody but its writer.
    pub text: String,
    pub(super) source: SharedSource,
}

/// What a statement says.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// `CREATE CONNECTION`
    CreateConnection(CreateConnection),
    /// `CREATE SCHEMA`
    CreateSchema(CreateSchema),
    /// `CREATE TABLE … USING DELTA`
    CreateTable(Box<CreateTable>),
    /// `CREATE STREAMING TABLE` for every table of a schema
    EveryTable(Box<EveryTable>),
    /// `MERGE`
    Merge(Box<MergeStatement>),
    /// Any statement of DataFusion's: queries, views, INSERT, EXPLAIN, SET, SHOW, …
    Other(Box<QueryStatement>),
}

impl Statement {
    /// An error at `span` of this statement's file.
    pub fn diagnostic(
        &self,
        span: Span,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        let diagnostic = Diagnostic::new(&self.source, span, message);
        match help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }

    /// The name of the file that holds it.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// The table that it is for, of the statements that one [for every table](EveryTable) stands for.
    pub fn table(&self) -> Option<&str> {
        self.source.of_table.as_deref()
    }

    /// The place of an identifier of the statement's syntax tree.
    pub fn ident_span(&self, ident: &Ident) -> Span {
        self.source.locate(ident.span)
    }

    /// The place of any part of the statement's syntax tree; of the statement where the tree does not know it.
    pub fn span_of(&self, node: &dyn Spanned) -> Span {
        let span = self.source.locate(node.span());
        if span.line == 0 { self.span } else { span }
    }

    /// The place that an error of DataFusion's planner names.
    pub fn planner_span(&self, span: PlannerSpan) -> Span {
        let location = |line, column| Location::new(line, column);
        self.source.locate(TokenSpan::new(
            location(span.start.line, span.start.column),
            location(span.end.line, span.end.column),
        ))
    }

    /// The first place where the statement writes the dotted name `name` (such as `c.city`), without regard to
    /// case; its last part alone where the whole is not written.
    pub fn find(&self, name: &str) -> Option<Span> {
        let parts: Vec<&str> = name
            .split('.')
            .map(|part| part.trim_matches(['"', '`', '[', ']']))
            .collect();
        self.find_parts(&parts)
            .or_else(|| self.find_parts(parts.last().map(std::slice::from_ref)?))
    }

    fn find_parts(&self, parts: &[&str]) -> Option<Span> {
        let mut text = Source::new(&SourceText {
            name: String::new(),
            text: self.text.clone(),
        });
        let lexed = lex(&mut text);
        let lexemes = &lexed.statements.first()?.lexemes;
        let found = (0..lexemes.len()).find(|&first| {
            parts.iter().enumerate().all(|(n, part)| {
                let named = lexemes.get(first + 2 * n).is_some_and(
                    |l| matches!(&l.token, Token::Word(w) if w.value.to_lowercase() == part.to_lowercase()),
                );
                let dotted = n == 0 || lexemes.get(first + 2 * n - 1).is_some_and(|l| l.token == Token::Period);
                named && dotted
            })
        })?;
        let last = lexemes.get(found + 2 * parts.len().saturating_sub(1))?;
        let base = self.span.start;
        Some(
            self.source
                .span(base + lexemes.get(found)?.span.start, base + last.span.end),
        )
    }
}

/// Leaves the text out: it may hold a password.
impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("kind", &self.kind)
            .field("span", &self.span)
            .field("file", &self.source.name)
            .finish_non_exhaustive()
    }
}
