//! `CREATE STREAMING TABLE schema.* FLOW AUTO CDC FROM STREAM connection.schema.* CHANGES [EXCEPT TABLES (…)]`: one
//! statement for every captured table of a schema.
//!
//! Which tables those are is not known here. The statement is kept as its tokens, and read once for each table with the
//! table's name in the place of both stars, so that it means for each what it would mean if it had been written for it.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::lexer::{Lexeme, MARK};
use super::parse::on_parser_thread;
use super::relation::clause_of;
use super::source::{SharedSource, Source, Span};
use super::statement::{Statement, StatementKind};
use super::streaming;

/// What errors call the table of a statement for every table before it is known which they are.
const ANY: &str = "*";

/// Why a star cannot stand where one table is read.
pub(super) const EVERY_TABLE: &str =
    "every table of a schema is read by a target for every table alone";
/// What to write for that.
pub(super) const EVERY_TABLE_HELP: &str = "write CREATE STREAMING TABLE schema.* FLOW AUTO CDC FROM STREAM connection.schema.* CHANGES, or name one table";

/// A statement for every captured table of a schema.
#[derive(Clone, Debug)]
pub struct EveryTable {
    /// The schema of the targets.
    pub target: String,
    /// The connection and the schema of the tables.
    pub source: ObjectName,
    /// Where those are named.
    pub source_span: Span,
    /// The tables that EXCEPT TABLES leaves out.
    pub except: Vec<Ident>,
    /// The statement without EXCEPT TABLES.
    lexemes: Arc<[Lexeme]>,
    /// The places of its stars.
    stars: [usize; 2],
    end: Span,
}

impl EveryTable {
    /// What the statement says of one table.
    fn kinds(
        &self,
        source: &SharedSource,
        table: &str,
    ) -> Result<Vec<StatementKind>, Vec<Diagnostic>> {
        let mut lexemes = self.lexemes.to_vec();
        for star in self.stars {
            if let Some(lexeme) = lexemes.get_mut(star) {
                *lexeme = lexeme.quoted(table.to_owned());
            }
        }
        let mut cursor = Cursor::new(source, &lexemes, 0, self.end);
        streaming::streaming_table(source, &mut cursor)
    }
}

impl Statement {
    /// The statements that `every`, which this statement is, stands for where a table is called `table`: the target and the
    /// flow. Their errors name the table.
    ///
    /// # Errors
    /// A name that no statement can have.
    pub fn for_table(
        &self,
        every: &EveryTable,
        table: &str,
    ) -> Result<Vec<Statement>, Vec<Diagnostic>> {
        if table.contains(MARK) {
            let message = format!(
                "table '{}' has a control character in its name",
                table.escape_debug()
            );
            let error = Diagnostic::new(&self.source, every.source_span, message);
            return Err(vec![
                error.with_help("rename it, or enable no capture of it"),
            ]);
        }
        let source = Arc::new(self.source.for_table(table));
        self.statements(every, &source, table)
    }

    /// The statements that `every`, which this statement is, stands for, of a table that nobody knows yet; `nth` is how many
    /// such statements the file has before it.
    ///
    /// # Errors
    /// None that reading the file has not found.
    pub fn for_any_table(
        &self,
        every: &EveryTable,
        nth: usize,
    ) -> Result<Vec<Statement>, Vec<Diagnostic>> {
        let any = match nth {
            0 => ANY.to_owned(),
            nth => format!("{ANY} ({})", nth + 1),
        };
        self.statements(every, &self.source, &any)
    }

    fn statements(
        &self,
        every: &EveryTable,
        source: &SharedSource,
        table: &str,
    ) -> Result<Vec<Statement>, Vec<Diagnostic>> {
        let kinds = on_parser_thread(|| every.kinds(source, table)).unwrap_or_else(|| {
            let failed = "the parser failed on this statement";
            Err(vec![Diagnostic::new(source, self.span, failed)])
        })?;
        let statements = kinds.into_iter().map(|kind| Statement {
            kind,
            span: self.span,
            text: self.text.clone(),
            source: Arc::clone(source),
        });
        Ok(statements.collect())
    }
}

/// Reads a CREATE STREAMING TABLE for every table of a schema from its first word; `None` for one of a single table.
pub(super) fn every_table(
    source: &SharedSource,
    cursor: &mut Cursor<'_>,
    lexemes: &[Lexeme],
) -> Result<Option<EveryTable>, Vec<Diagnostic>> {
    let one = |error| vec![error];
    streaming::leading_words(cursor).map_err(one)?;
    let first = cursor.position();
    let Some(target) = star_after(lexemes, first) else {
        return Ok(None);
    };
    let at = |place: usize| lexemes.get(place).map_or(cursor.end(), |l| l.span);
    let refused = |span, message: &str, help: &str| {
        let error = Diagnostic::new(source, span, message);
        Err(vec![error.with_help(help)])
    };
    if target == first {
        let help = "write a schema: CREATE SCHEMA bronze LOCATION '…', and CREATE STREAMING TABLE bronze.*";
        return refused(at(target), "the tables need a schema to be in", help);
    }
    let Some((name, star)) = stream_star(lexemes, target) else {
        let message = "a target for every table of a schema reads every table of a schema";
        let help = "write FLOW AUTO CDC FROM STREAM connection.schema.* CHANGES";
        return refused(at(first).to(at(target)), message, help);
    };
    let source_span = at(name).to(at(star));
    let mut parts = Cursor::new(source, lexemes, name, cursor.end());
    let mut written = vec![parts.ident("a connection").map_err(one)?];
    while parts.eat_token(&Token::Period) && !parts.at_token(&Token::Mul) {
        written.push(parts.ident("a schema").map_err(one)?);
    }
    if written.len() != 2 {
        let message = "the tables are those of a connection's schema";
        return refused(
            source_span,
            message,
            "write STREAM connection.schema.* CHANGES",
        );
    }
    let (except, given) = exceptions(source, lexemes, star, cursor.end()).map_err(one)?;
    let kept = lexemes.iter().enumerate();
    let kept = kept.filter(|(place, _)| !given.contains(place));
    let schema = target.checked_sub(2).and_then(|place| lexemes.get(place));
    let every = EveryTable {
        target: match schema.map(|lexeme| &lexeme.token) {
            Some(Token::Word(word)) => word.value.clone(),
            _ => String::new(),
        },
        source: ObjectName::from(written),
        source_span,
        except,
        lexemes: kept.map(|(_, lexeme)| lexeme.clone()).collect(),
        stars: [target, star],
        end: cursor.end(),
    };
    let kinds = every.kinds(source, ANY)?;
    check(source, &kinds).map_err(one)?;
    Ok(Some(every))
}

/// The place of the star that ends a dotted name which begins at `first`.
fn star_after(lexemes: &[Lexeme], first: usize) -> Option<usize> {
    let mut place = first;
    let is = |place: usize, token: &Token| lexemes.get(place).is_some_and(|l| l.token == *token);
    while !is(place, &Token::Mul) {
        if !lexemes.get(place)?.is_word() || !is(place + 1, &Token::Period) {
            return None;
        }
        place += 2;
    }
    Some(place)
}

/// The places of the first word and of the star of the STREAM over every table, which stands after `target`.
fn stream_star(lexemes: &[Lexeme], target: usize) -> Option<(usize, usize)> {
    let mut streams = lexemes.iter().enumerate().skip(target);
    streams.find_map(|(place, lexeme)| {
        let name = place + 1;
        let star = star_after(lexemes, name).filter(|star| *star > name)?;
        lexeme.is("STREAM").then_some((name, star))
    })
}

/// The names in EXCEPT TABLES after the clause of the star, and the places of its tokens.
fn exceptions(
    source: &SharedSource,
    lexemes: &[Lexeme],
    star: usize,
    end: Span,
) -> Result<(Vec<Ident>, std::ops::Range<usize>), Diagnostic> {
    let mut cursor = Cursor::new(source, lexemes, star + 1, end);
    if !cursor.at(&["CHANGES"]) {
        return Err(cursor.expected("CHANGES after the name of the tables"));
    }
    clause_of(&mut cursor)?;
    let first = cursor.position();
    if !cursor.eat(&["EXCEPT", "TABLES"]) {
        return Ok((Vec::new(), first..first));
    }
    let names =
        cursor.parenthesised(|cursor| cursor.ident("the name of a table, without its schema"))?;
    Ok((names, first..cursor.position()))
}

/// Refuses what cannot be one thing for several tables.
fn check(source: &Source, kinds: &[StatementKind]) -> Result<(), Diagnostic> {
    for kind in kinds {
        if let StatementKind::CreateTable(table) = kind
            && let Some(location) = &table.location
        {
            let message = "several tables cannot lie at one LOCATION";
            let error = Diagnostic::new(source, location.span(), message);
            return Err(error.with_help(
                "give it to the schema: CREATE SCHEMA name LOCATION '…'; each table lies below it, by its name",
            ));
        }
    }
    Ok(())
}
