//! CREATE STREAMING TABLE, a table and the flow that keeps it, and CREATE FLOW, a flow with a name of its own.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::auto_cdc::{auto_cdc, target_tokens};
use super::cdc_clauses::columns;
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::expectation::{Expectation, expectation};
use super::history::Period;
use super::lexer::Lexeme;
use super::merge::{self, MergeStatement};
use super::source::{SharedSource, Span};
use super::statement::StatementKind;
use super::table::{self, CreateTable};

/// The keys that PRIMARY KEY names, and where.
type PrimaryKey = Option<(Vec<Ident>, Span)>;

/// Whether the tokens begin a CREATE STREAMING TABLE.
pub(super) fn is_streaming_table(cursor: &Cursor<'_>) -> bool {
    cursor.at(&["CREATE", "STREAMING"]) || cursor.at(&["CREATE", "OR", "REFRESH"])
}

/// Reads a CREATE STREAMING TABLE from its first word: the table, and the flow that writes it where one is given.
pub(super) fn streaming_table(
    source: &SharedSource,
    cursor: &mut Cursor<'_>,
) -> Result<Vec<StatementKind>, Vec<Diagnostic>> {
    let one = |error| vec![error];
    let (table, name, primary_key) = definition(cursor).map_err(one)?;
    let mut kinds = vec![StatementKind::CreateTable(Box::new(table))];
    if cursor.is_done() {
        return match primary_key {
            None => Ok(kinds),
            Some((_, span)) => {
                let message =
                    "PRIMARY KEY is of the flow that keeps the table, and this statement has none";
                let error = Diagnostic::new(source, span, message);
                Err(one(error.with_help("write KEYS in its CREATE FLOW")))
            }
        };
    }
    cursor.expect(&["FLOW"]).map_err(one)?;
    let at = cursor.peek().cloned();
    cursor.expect(&["AUTO", "CDC"]).map_err(one)?;
    let Some(at) = at else {
        return Err(vec![cursor.expected("AUTO CDC")]);
    };
    let merge = auto_cdc(source, cursor, &at, name, primary_key)?;
    kinds.push(StatementKind::Merge(Box::new(merge)));
    Ok(kinds)
}

/// The table, the tokens of its name, and its PRIMARY KEY.
fn definition<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<(CreateTable, &'a [Lexeme], PrimaryKey), Diagnostic> {
    let if_not_exists = leading_words(cursor)?;
    let first = cursor.position();
    let name = cursor.name("the name of the table")?;
    let (tokens, name_span) = (cursor.since(first), cursor.span_from(first));
    let mut table = CreateTable {
        if_not_exists,
        name,
        name_span,
        columns: None,
        expectations: Vec::new(),
        period: None,
        partitioned_by: Vec::new(),
        location: None,
        options: Vec::new(),
        comment: None,
        properties: Vec::new(),
        trigger: None,
    };
    let mut primary_key = None;
    if cursor.at_token(&Token::LParen) {
        let elements = elements(cursor)?;
        (primary_key, table.period) = (elements.primary_key, elements.period);
        table.expectations = elements.expectations;
        if !elements.columns.is_empty() {
            table.columns = Some(table::columns_of(cursor, &elements.columns)?);
        }
    }
    if cursor.eat(&["USING"]) && !cursor.eat(&["DELTA"]) {
        return Err(cursor
            .expected("DELTA")
            .with_help("DELTA is the one format of a target"));
    }
    table::clauses(cursor, &mut table, table::STREAMING_CLAUSES)?;
    Ok((table, tokens, primary_key))
}

/// Reads the words before the name; answers whether IF NOT EXISTS is among them.
pub(super) fn leading_words(cursor: &mut Cursor<'_>) -> Result<bool, Diagnostic> {
    cursor.expect(&["CREATE"])?;
    cursor.eat(&["OR", "REFRESH"]);
    cursor.expect(&["STREAMING", "TABLE"])?;
    Ok(cursor.eat(&["IF", "NOT", "EXISTS"]))
}

/// What stands in the parentheses after the name.
#[derive(Default)]
struct Elements {
    /// The tokens of columns, in parentheses of their own.
    columns: Vec<Lexeme>,
    primary_key: PrimaryKey,
    period: Option<Period>,
    expectations: Vec<Expectation>,
}

fn elements(cursor: &mut Cursor<'_>) -> Result<Elements, Diagnostic> {
    let group = cursor.group()?;
    let (Some(open), Some(close)) = (group.first(), group.last()) else {
        return Err(cursor.expected("`(`"));
    };
    let within = group
        .get(1..group.len().saturating_sub(1))
        .unwrap_or_default();
    let mut elements = Elements::default();
    let others = &mut elements.columns;
    for element in split(within) {
        let mut inner = Cursor::new(cursor.source, element, 0, close.span);
        if inner.eat(&["PRIMARY", "KEY"]) {
            let keys = columns(&mut inner)?;
            if !inner.is_done() {
                return Err(inner.expected("`,` or `)`"));
            }
            let span = inner.span_from(0);
            if elements.primary_key.replace((keys, span)).is_some() {
                return Err(Diagnostic::new(
                    cursor.source,
                    span,
                    "PRIMARY KEY is given twice",
                ));
            }
        } else if inner.at(&["CONSTRAINT"]) {
            let given = expectation(&mut inner)?;
            let mut others = elements.expectations.iter();
            if others.any(|other| other.name.value.eq_ignore_ascii_case(&given.name.value)) {
                let message = format!("a second CONSTRAINT is called '{}'", given.name.value);
                return Err(Diagnostic::new(cursor.source, given.span, message));
            }
            elements.expectations.push(given);
        } else if inner.at(&["PERIOD", "FOR"]) {
            let given = period(&mut inner)?;
            let span = given.span;
            if elements.period.replace(given).is_some() {
                let message = "PERIOD FOR SYSTEM_TIME is given twice";
                return Err(Diagnostic::new(cursor.source, span, message));
            }
        } else {
            others.push(match others.is_empty() {
                true => open.clone(),
                false => open.replaced(Token::Comma),
            });
            others.extend(element.iter().cloned());
        }
    }
    if !others.is_empty() {
        others.push(close.clone());
    }
    Ok(elements)
}

/// `PERIOD FOR SYSTEM_TIME (from, to)`
fn period(cursor: &mut Cursor<'_>) -> Result<Period, Diagnostic> {
    cursor.expect(&["PERIOD", "FOR", "SYSTEM_TIME"])?;
    let columns = columns(cursor)?;
    let span = cursor.span_from(0);
    if !cursor.is_done() {
        return Err(cursor.expected("`,` or `)`"));
    }
    match <[Ident; 2]>::try_from(columns) {
        Ok([from, to]) => Ok(Period { from, to, span }),
        Err(_) => {
            let message = "PERIOD FOR SYSTEM_TIME takes two columns";
            let error = Diagnostic::new(cursor.source, span, message);
            Err(error.with_help("write PERIOD FOR SYSTEM_TIME (valid_from, valid_to)"))
        }
    }
}

/// Tokens between commas that stand in no parentheses, nor in the angle brackets of a column's type.
fn split(lexemes: &[Lexeme]) -> Vec<&[Lexeme]> {
    let (mut parentheses, mut brackets) = (0_usize, 0_usize);
    let mut is_type = !lexemes.first().is_some_and(|first| first.is("CONSTRAINT"));
    let mut place = 0;
    lexemes
        .split(|lexeme| {
            place += 1;
            match lexeme.token {
                Token::LParen => parentheses += 1,
                Token::RParen => parentheses = parentheses.saturating_sub(1),
                Token::Lt if is_type => brackets += 1,
                Token::Gt if is_type => brackets = brackets.saturating_sub(1),
                Token::ShiftRight if is_type => brackets = brackets.saturating_sub(2),
                Token::Comma if parentheses == 0 && brackets == 0 => {
                    let next = lexemes.get(place);
                    is_type = !next.is_some_and(|next| next.is("CONSTRAINT"));
                    return true;
                }
                _ => {}
            }
            false
        })
        .collect()
}

/// Reads what follows CREATE FLOW: `name [COMMENT str] AS { AUTO CDC INTO target … | MERGE … }`.
pub(super) fn flow(
    source: &SharedSource,
    cursor: &mut Cursor<'_>,
) -> Result<MergeStatement, Vec<Diagnostic>> {
    let one = |error| vec![error];
    let name = cursor.ident("the name of the flow").map_err(one)?;
    let comment = match cursor.eat(&["COMMENT"]) {
        true => Some(cursor.string("the comment in quotes").map_err(one)?),
        false => None,
    };
    cursor.expect(&["AS"]).map_err(one)?;
    let mut merge = if cursor.at(&["MERGE"]) {
        let first = cursor.position();
        while cursor.advance().is_some() {}
        merge::merge(source, cursor.since(first).to_vec(), cursor.end())?
    } else if cursor.at(&["AUTO", "CDC"]) {
        auto_cdc_into(source, cursor)?
    } else {
        let expected = cursor.expected("AUTO CDC INTO or MERGE INTO");
        return Err(one(expected.with_help(
            "a flow keeps a table like its source: AS AUTO CDC INTO target FROM STREAM … CHANGES",
        )));
    };
    (merge.flow, merge.comment) = (Some(name), comment);
    Ok(merge)
}

fn auto_cdc_into(
    source: &SharedSource,
    cursor: &mut Cursor<'_>,
) -> Result<MergeStatement, Vec<Diagnostic>> {
    let one = |error| vec![error];
    let at = cursor.peek().cloned();
    cursor.expect(&["AUTO", "CDC", "INTO"]).map_err(one)?;
    let Some(at) = at else {
        return Err(one(cursor.expected("AUTO CDC INTO")));
    };
    let target = target_tokens(cursor).map_err(one)?;
    auto_cdc(source, cursor, &at, target, None)
}
