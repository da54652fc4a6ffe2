//! The clauses of an AUTO CDC.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::history::{History, Track};
use super::lexer::Lexeme;
use super::source::Span;
use crate::change::COMMIT_VERSION;

/// The clauses after the source.
#[derive(Default)]
pub(super) struct Clauses<'a> {
    pub(super) keys: Option<(Vec<Ident>, Span)>,
    pub(super) deletes: Option<&'a [Lexeme]>,
    pub(super) columns: Option<Columns<'a>>,
    pub(super) history: Option<History>,
}

/// `COLUMNS`.
pub(super) enum Columns<'a> {
    Of(Vec<Ident>),
    /// The tokens from `*` to the end of EXCEPT (…).
    Star(&'a [Lexeme]),
}

pub(super) const CLAUSES: &[&str] = &[
    "KEYS",
    "SEQUENCE BY",
    "APPLY AS DELETE WHEN",
    "COLUMNS",
    "STORED AS SCD TYPE",
    "TRACK HISTORY ON",
];

/// Whether a clause begins here.
fn at_a_clause(cursor: &Cursor<'_>) -> bool {
    CLAUSES.iter().any(|clause| at_clause(cursor, clause))
}

fn at_clause(cursor: &Cursor<'_>, clause: &str) -> bool {
    cursor.at(&clause.split(' ').collect::<Vec<_>>())
}

/// The clauses up to the end of the statement, each at most once.
pub(super) fn clauses<'a>(cursor: &mut Cursor<'a>) -> Result<Clauses<'a>, Diagnostic> {
    let mut clauses = Clauses::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut tracked = None;
    while !cursor.is_done() {
        let Some(&clause) = CLAUSES.iter().find(|clause| at_clause(cursor, clause)) else {
            let given = cursor.expected_one_of(CLAUSES);
            let is_word = cursor.peek().is_some_and(Lexeme::is_word);
            return Err(match seen.is_empty() && is_word {
                true => given.with_help("an alias needs AS here: STREAM … CHANGES AS change"),
                false => given,
            });
        };
        if seen.contains(&clause) {
            return Err(cursor.error(format!("{clause} is given twice")));
        }
        seen.push(clause);
        let first = cursor.position();
        cursor.eat(&clause.split(' ').collect::<Vec<_>>());
        match clause {
            "KEYS" => {
                let keys = columns(cursor)?;
                clauses.keys = Some((keys, cursor.span_from(first)));
            }
            "SEQUENCE BY" => sequence(cursor)?,
            "APPLY AS DELETE WHEN" => clauses.deletes = Some(condition(cursor)?),
            "COLUMNS" => clauses.columns = Some(written(cursor)?),
            "STORED AS SCD TYPE" => match cursor.peek().map(|l| &l.token) {
                Some(Token::Number(kind, _)) if kind == "1" => _ = cursor.advance(),
                Some(Token::Number(kind, _)) if kind == "2" => {
                    cursor.advance();
                    clauses.history = Some(History { track: None });
                }
                _ => return Err(cursor.expected("1 or 2")),
            },
            _ => tracked = Some((track(cursor)?, cursor.span_from(first))),
        }
    }
    match (tracked, &mut clauses.history) {
        (None, _) => Ok(clauses),
        (Some((track, _)), Some(history)) => {
            history.track = Some(track);
            Ok(clauses)
        }
        (Some((_, span)), None) => {
            let message = "TRACK HISTORY is of a table that keeps its history";
            let error = Diagnostic::new(cursor.source, span, message);
            Err(error.with_help("write STORED AS SCD TYPE 2 too, or leave TRACK HISTORY out"))
        }
    }
}

/// `(column, …)`, each once.
pub(super) fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<Ident>, Diagnostic> {
    let names = cursor.parenthesised(|cursor| cursor.ident("a column"))?;
    for (n, name) in names.iter().enumerate() {
        let is_same = |other: &Ident| other.value.eq_ignore_ascii_case(&name.value);
        if names[..n].iter().any(is_same) {
            let span = cursor.source.locate(name.span);
            let message = format!("column `{}` is given twice", name.value);
            return Err(Diagnostic::new(cursor.source, span, message));
        }
    }
    Ok(names)
}

/// The log's own order is the one order.
fn sequence(cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
    let first = cursor.position();
    let name = cursor.name("_commit_version")?;
    let is_version = name.0.last().and_then(|part| part.as_ident());
    if is_version.is_some_and(|column| column.value.eq_ignore_ascii_case(COMMIT_VERSION)) {
        return Ok(());
    }
    let message =
        format!("changes are applied in the order of the source's log, and not of `{name}`");
    let span = cursor.span_from(first);
    Err(Diagnostic::new(cursor.source, span, message)
        .with_help("write SEQUENCE BY _commit_version, or leave it out"))
}

/// The tokens of a condition, up to the next clause.
fn condition<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [Lexeme], Diagnostic> {
    let first = cursor.position();
    while !cursor.is_done() && !at_a_clause(cursor) {
        if cursor.at_token(&Token::LParen) {
            cursor.group()?;
        } else {
            cursor.advance();
        }
    }
    match cursor.since(first) {
        [] => Err(cursor.expected("a condition")),
        condition => Ok(condition),
    }
}

/// What follows COLUMNS.
fn written<'a>(cursor: &mut Cursor<'a>) -> Result<Columns<'a>, Diagnostic> {
    if cursor.at_token(&Token::LParen) {
        return columns(cursor).map(Columns::Of);
    }
    let first = cursor.position();
    if !cursor.eat_token(&Token::Mul) {
        return Err(cursor.expected("`(` or `*`"));
    }
    if cursor.eat(&["EXCEPT"]) {
        cursor.parenthesised(|cursor| cursor.ident("a column"))?;
    }
    Ok(Columns::Star(cursor.since(first)))
}

/// What follows TRACK HISTORY ON.
fn track(cursor: &mut Cursor<'_>) -> Result<Track, Diagnostic> {
    if cursor.at_token(&Token::LParen) {
        return columns(cursor).map(Track::Columns);
    }
    if !cursor.eat_token(&Token::Mul) {
        return Err(cursor.expected("`(` or `*`"));
    }
    match cursor.eat(&["EXCEPT"]) {
        true => columns(cursor).map(Track::Except),
        false => Ok(Track::Except(Vec::new())),
    }
}
