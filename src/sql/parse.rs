//! A file -> its statements, or everything that is wrong with it.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement as QueryStatement};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan};

use super::create;
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::every_table::every_table;
use super::factors;
use super::ignored;
use super::lexer::{Lexeme, MARK, StatementTokens, lex};
use super::limits;
use super::merge;
use super::parameters::{self, Parameters};
use super::source::{SharedSource, Source, SourceText, Span};
use super::statement::{Statement, StatementKind};
use super::streaming;
use super::table;
use crate::nearest::nearest;

/// Nesting that the parser accepts; DataFusion's own default.
const RECURSION_LIMIT: usize = 50;

/// Stack for the parser, in bytes: in a build without optimisation, the deepest nesting that it accepts takes
/// more than the 2 MiB of an ordinary thread.
const STACK: usize = 32 << 20;

/// Errors of one file that are kept; those after them are counted.
const MOST_ERRORS: usize = 100;

/// What could be read of a file, and what could not.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The statements that could be read, in their order.
    pub statements: Vec<Statement>,
    /// What is wrong with the others, in the order of the file, up to a hundred errors.
    pub errors: Vec<Diagnostic>,
    /// How many errors there are after those.
    pub more: usize,
    /// Whether one of the others begins with CREATE: what it would have declared is not known.
    pub lacks_definitions: bool,
    /// The parameters that the file uses, in lower case.
    pub parameters: Vec<String>,
}

impl Parsed {
    fn fail(&mut self, errors: Vec<Diagnostic>) {
        let kept = MOST_ERRORS.saturating_sub(self.errors.len());
        self.more += errors.len().saturating_sub(kept);
        self.errors.extend(errors.into_iter().take(kept));
    }
}

/// Reads a file without parameters.
///
/// # Errors
/// All errors of the file up to a hundred, in its order: a statement that cannot be read does not hide those after it.
pub fn parse(text: &SourceText) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    let parsed = read(text, None);
    match parsed.errors.is_empty() {
        true => Ok(parsed.statements),
        false => Err(parsed.errors),
    }
}

/// Reads as much of a file as there is to read, with these values of its parameters.
pub fn parse_all(text: &SourceText, parameters: &Parameters) -> Parsed {
    read(text, Some(parameters))
}

/// Runs a parser where it has the stack that it may need; `None` if it failed there.
pub(super) fn on_parser_thread<T: Send>(parser: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn_scoped(scope, parser).ok()?.join().ok()
    })
}

fn read(text: &SourceText, given: Option<&Parameters>) -> Parsed {
    on_parser_thread(|| file(text, given)).unwrap_or_else(|| {
        let source = Source::new(text);
        let failed = "the parser failed on this file";
        Parsed {
            errors: vec![Diagnostic::new(&source, source.span(0, 0), failed)],
            lacks_definitions: true,
            ..Parsed::default()
        }
    })
}

fn file(text: &SourceText, given: Option<&Parameters>) -> Parsed {
    let mut source = Source::new(text);
    let lexed = lex(&mut source);
    let source = Arc::new(source);
    let mut parsed = Parsed::default();
    for tokens in lexed.statements {
        let defines = tokens.lexemes.first().is_some_and(|l| l.is("CREATE"));
        let StatementTokens { lexemes, end } = tokens;
        let put = parameters::substitute(&source, lexemes, given, &mut parsed.parameters);
        let read = put.and_then(|lexemes| statement(&source, lexemes, end));
        match read {
            Ok(statements) => parsed.statements.extend(statements),
            Err(found) => {
                parsed.lacks_definitions |= defines;
                parsed.fail(found);
            }
        }
    }
    if let Some(error) = lexed.error {
        // What follows the place is not known.
        parsed.lacks_definitions = true;
        parsed.fail(vec![error]);
    }
    parsed
}

/// A statement, or the two that a table with its flow is.
fn statement(
    source: &SharedSource,
    lexemes: Vec<Lexeme>,
    end: Span,
) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    let span = lexemes
        .first()
        .map_or(end, |l| l.span)
        .to(lexemes.last().map_or(end, |l| l.span));
    let text = source
        .text
        .get(span.start..span.end)
        .unwrap_or_default()
        .to_owned();
    reserved_names(source, &lexemes)?;
    limits::check(source, &lexemes).map_err(|error| vec![error])?;
    let kinds = kinds(source, lexemes, end)?.into_iter();
    let statements = kinds.map(|kind| Statement {
        kind,
        span,
        text: text.clone(),
        source: Arc::clone(source),
    });
    Ok(statements.collect())
}

fn kinds(
    source: &SharedSource,
    lexemes: Vec<Lexeme>,
    end: Span,
) -> Result<Vec<StatementKind>, Vec<Diagnostic>> {
    let mut cursor = Cursor::new(source, &lexemes, 0, end);
    if let Some(refused) = unsupported(&cursor) {
        return Err(vec![refused]);
    }
    if streaming::is_streaming_table(&cursor) {
        let mut first = Cursor::new(source, &lexemes, 0, end);
        if let Some(every) = every_table(source, &mut first, &lexemes)? {
            return Ok(vec![StatementKind::EveryTable(Box::new(every))]);
        }
        return streaming::streaming_table(source, &mut cursor);
    }
    if cursor.eat(&["CREATE", "FLOW"]) {
        let flow = streaming::flow(source, &mut cursor)?;
        return Ok(vec![StatementKind::Merge(Box::new(flow))]);
    }
    kind(source, lexemes, end).map(|kind| vec![kind])
}

fn kind(
    source: &SharedSource,
    lexemes: Vec<Lexeme>,
    end: Span,
) -> Result<StatementKind, Vec<Diagnostic>> {
    let mut cursor = Cursor::new(source, &lexemes, 0, end);
    let one = |error| vec![error];
    if cursor.eat(&["CREATE", "CONNECTION"]) {
        return create::connection(&mut cursor)
            .map(StatementKind::CreateConnection)
            .map_err(one);
    }
    if cursor.eat(&["CREATE", "SCHEMA"]) {
        return create::schema(&mut cursor)
            .map(StatementKind::CreateSchema)
            .map_err(one);
    }
    if table::is_delta_table(&lexemes) {
        return table::table(&mut cursor)
            .map(|table| StatementKind::CreateTable(Box::new(table)))
            .map_err(one);
    }
    if cursor.at(&["MERGE"]) {
        return merge::merge(source, lexemes, end)
            .map(|merge| StatementKind::Merge(Box::new(merge)));
    }
    query(source, lexemes, end)
}

/// Statements of others' that this language has under another name.
fn unsupported(cursor: &Cursor<'_>) -> Option<Diagnostic> {
    if cursor.at(&["CREATE", "OR", "REPLACE", "STREAMING"]) {
        let replaced = cursor.error("a Delta table is not replaced by its definition");
        return Some(replaced.with_help("write CREATE OR REFRESH STREAMING TABLE"));
    }
    if cursor.at(&["AUTO", "CDC"]) {
        return Some(cursor.error("AUTO CDC stands in a statement of its table or its flow").with_help(
            "write CREATE FLOW name AS AUTO CDC INTO …, or CREATE STREAMING TABLE … FLOW AUTO CDC FROM …",
        ));
    }
    let applies = cursor.at(&["APPLY", "CHANGES", "INTO"]);
    applies.then(|| {
        cursor
            .error("APPLY CHANGES INTO is called AUTO CDC here")
            .with_help("write CREATE FLOW name AS AUTO CDC INTO …")
    })
}

/// No name may look like a marker.
fn reserved_names(source: &Source, lexemes: &[Lexeme]) -> Result<(), Vec<Diagnostic>> {
    let errors: Vec<_> = lexemes
        .iter()
        .filter(|l| matches!(&l.token, Token::Word(w) if w.value.contains(MARK)))
        .map(|l| {
            Diagnostic::new(
                source,
                l.span,
                "a name cannot hold the control character U+001F",
            )
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Any statement of DataFusion's.
fn query(
    source: &SharedSource,
    lexemes: Vec<Lexeme>,
    end: Span,
) -> Result<StatementKind, Vec<Diagnostic>> {
    let factors = factors::rewrite(source, lexemes, end);
    if !factors.errors.is_empty() {
        return Err(factors.errors);
    }
    let statement =
        datafusion_statement(source, &factors.lexemes, end).map_err(|error| vec![error])?;
    ignored::check(source, &statement)?;
    Ok(StatementKind::Other(Box::new(statement)))
}

/// Reads exactly one statement with DataFusion's parser.
pub(super) fn datafusion_statement(
    source: &Source,
    lexemes: &[Lexeme],
    end: Span,
) -> Result<QueryStatement, Diagnostic> {
    let mut tokens: Vec<TokenWithSpan> = lexemes.iter().map(Lexeme::to_parser).collect();
    let place = Location::new(end.line as u64, end.column as u64);
    tokens.push(TokenWithSpan::at(Token::EOF, place, place));
    let syntax = |error| syntax_error(source, lexemes, end, error);
    let mut parser = DFParserBuilder::new(tokens)
        .with_recursion_limit(RECURSION_LIMIT)
        .build()
        .map_err(syntax)?;
    let mut statement = parser.parse_statement().map_err(syntax)?;
    parameters::put_values(&mut statement);
    let next = parser.parser.peek_token_ref();
    if next.token == Token::EOF {
        return Ok(statement);
    }
    let span = source.locate(next.span);
    Err(Diagnostic::new(
        source,
        span,
        format!(
            "expected the end of the statement, found `{}`",
            source.excerpt(span)
        ),
    )
    .with_help("statements are separated by `;`"))
}

/// The parser puts the place of an error into its text, as ` at Line: 3, Column: 5`.
fn syntax_error(
    source: &Source,
    lexemes: &[Lexeme],
    end: Span,
    error: DataFusionError,
) -> Diagnostic {
    match error {
        DataFusionError::SQL(error, _) => parser_error(source, lexemes, end, *error),
        DataFusionError::Diagnostic(_, error) | DataFusionError::Context(_, error) => {
            syntax_error(source, lexemes, end, *error)
        }
        other => message_error(source, lexemes, end, &other.to_string()),
    }
}

/// An error of the parser with the place that its text names.
pub(super) fn parser_error(
    source: &Source,
    lexemes: &[Lexeme],
    end: Span,
    error: ParserError,
) -> Diagnostic {
    match error {
        ParserError::RecursionLimitExceeded => {
            let span = lexemes.first().map_or(end, |l| l.span);
            Diagnostic::new(source, span, "this statement is nested too deeply")
                .with_help("name a part of it with WITH or CREATE VIEW")
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            message_error(source, lexemes, end, &message)
        }
    }
}

fn message_error(source: &Source, lexemes: &[Lexeme], end: Span, message: &str) -> Diagnostic {
    let (message, place) = split_place(message);
    let found = place
        .and_then(|place| lexemes.iter().find(|l| l.at.start == place))
        .or(if place.is_none() {
            lexemes.first()
        } else {
            None
        });
    let span = match (found, place) {
        (Some(lexeme), _) => lexeme.span,
        (None, Some(place)) => source.locate(TokenSpan::new(place, place)),
        (None, None) => end,
    };
    let text = source.excerpt(span);
    let diagnostic = Diagnostic::new(source, span, reworded(message, &text));
    match suggestion(lexemes, span, &text) {
        Some(word) => diagnostic.with_help(format!("did you mean {word}?")),
        None => diagnostic,
    }
}

fn split_place(message: &str) -> (&str, Option<Location>) {
    let Some((text, place)) = message.rsplit_once(" at Line: ") else {
        return (message, None);
    };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location::new(
            line.trim().parse().ok()?,
            column.trim().parse().ok()?,
        ))
    });
    (text, location)
}

/// The parser's "Expected: X, found: Y" in our words; what was found is shown as the file has it, since Y may
/// be a marker.
fn reworded(message: &str, found: &str) -> String {
    let message = message.trim().trim_start_matches("sql parser error: ");
    if let Some((expected, _)) = message
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.rsplit_once(", found: "))
    {
        if found.is_empty() {
            return format!("expected {expected}, found the end of the statement");
        }
        return format!("expected {expected}, found `{found}`");
    }
    let visible: String = message.chars().filter(|c| !c.is_control()).collect();
    let mut chars = visible.chars();
    match chars.next() {
        Some(first) if chars.as_str().starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        Some(_) => visible,
        None => "this statement cannot be read".to_owned(),
    }
}

const LEADING: &[&str] = &[
    "SELECT", "CREATE", "MERGE", "INSERT", "UPDATE", "DELETE", "EXPLAIN", "SET", "SHOW",
    "DESCRIBE", "WITH", "DROP", "VALUES", "COPY", "RESET",
];
const CREATED: &[&str] = &[
    "CONNECTION",
    "SCHEMA",
    "TABLE",
    "VIEW",
    "TEMPORARY",
    "EXTERNAL",
    "STREAMING",
    "FLOW",
    "FUNCTION",
    "DATABASE",
];

/// The keyword that a misspelt first or second word was meant to be.
fn suggestion(lexemes: &[Lexeme], span: Span, found: &str) -> Option<&'static str> {
    let at = lexemes.iter().position(|l| l.span == span)?;
    let words = match at {
        0 => LEADING,
        1 if lexemes.first().is_some_and(|l| l.is("CREATE")) => CREATED,
        _ => return None,
    };
    nearest(found, words.iter().copied()).filter(|word| !word.eq_ignore_ascii_case(found))
}
