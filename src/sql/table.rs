//! CREATE TABLE … USING DELTA.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, DataType, Ident, ObjectName};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::constant::{Const, Literal, literal};
use super::create::{STORE, end, location};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::expectation::Expectation;
use super::history::Period;
use super::lexer::Lexeme;
use super::options::{GivenOption, options};
use super::parameters;
use super::parse::parser_error;
use super::source::Span;
use super::trigger::trigger;
use crate::nearest::nearest;

/// `CREATE TABLE [IF NOT EXISTS] name [(columns)] USING DELTA …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTable {
    /// Whether a table of that name may exist already.
    pub if_not_exists: bool,
    /// The table.
    pub name: ObjectName,
    /// Where the name stands.
    pub name_span: Span,
    /// Its columns; none means that it takes them from the flow that writes it.
    pub columns: Option<Vec<ColumnDefinition>>,
    /// What is expected of its rows.
    pub expectations: Vec<Expectation>,
    /// The columns that say when each of its rows was valid.
    pub period: Option<Period>,
    /// The columns it is partitioned by.
    pub partitioned_by: Vec<Ident>,
    /// Where it lies.
    pub location: Option<Const>,
    /// Options of the store that it lies in.
    pub options: Vec<GivenOption>,
    /// What it is.
    pub comment: Option<String>,
    /// Its properties, each at most once.
    pub properties: Vec<Property>,
    /// How long there is at least between two executions of a flow that writes it, where flows are followed.
    pub trigger: Option<Duration>,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name, in the case it was written.
    pub name: Ident,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it is.
    pub comment: Option<String>,
}

/// One table property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Literal,
    /// Where it stands.
    pub span: Span,
}

pub(super) const PROPERTIES: &[&str] = &[
    "cdcql.backfillColumns",
    "cdcql.deletionVectors",
    "cdcql.onGap",
    "cdcql.onSchemaChange",
    "cdcql.readBack",
];
pub(super) const TABLE_CLAUSES: &[&str] = &[
    "PARTITIONED BY",
    "LOCATION",
    "OPTIONS",
    "COMMENT",
    "TBLPROPERTIES",
];

const TRIGGER: &str = "TRIGGER";
/// The clauses of a CREATE STREAMING TABLE.
pub(super) const STREAMING_CLAUSES: &[&str] = &[
    "PARTITIONED BY",
    "LOCATION",
    "OPTIONS",
    "COMMENT",
    "TBLPROPERTIES",
    TRIGGER,
];

/// Whether these tokens are a CREATE TABLE of the language, and not one of DataFusion's tables in memory.
pub(super) fn is_delta_table(lexemes: &[Lexeme]) -> bool {
    let table = lexemes.iter().take(4).position(|l| l.is("TABLE"));
    let external = lexemes.iter().take(5).any(|l| l.is("EXTERNAL"));
    if !lexemes.first().is_some_and(|l| l.is("CREATE")) || table.is_none() || external {
        return false;
    }
    let mut depth = 0usize;
    for (i, lexeme) in lexemes.iter().enumerate() {
        match lexeme.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth > 0 || i <= 3 && !lexeme.is("USING") => {}
            // CREATE TABLE t AS SELECT …: what follows is a query.
            _ if lexeme.is("AS") => return false,
            _ if [
                "USING",
                "TBLPROPERTIES",
                "LOCATION",
                "OPTIONS",
                "PARTITIONED",
            ]
            .iter()
            .any(|word| lexeme.is(word)) =>
            {
                return true;
            }
            _ => {}
        }
    }
    false
}

/// Reads a CREATE TABLE … USING DELTA from its first word.
pub(super) fn table(cursor: &mut Cursor<'_>) -> Result<CreateTable, Diagnostic> {
    cursor.expect(&["CREATE"])?;
    if cursor.at(&["OR", "REPLACE"]) {
        return Err(cursor
            .error("a Delta table is not replaced by its definition")
            .with_help("write CREATE TABLE IF NOT EXISTS"));
    }
    cursor.expect(&["TABLE"])?;
    let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
    let first = cursor.position();
    let name = cursor.name("the name of the table")?;
    let name_span = cursor.span_from(first);
    let columns = if cursor.at_token(&Token::LParen) {
        Some(columns(cursor)?)
    } else {
        None
    };
    if !cursor.eat(&["USING"]) {
        return Err(cursor.expected("USING DELTA"));
    }
    if !cursor.eat(&["DELTA"]) {
        return Err(cursor
            .expected("DELTA")
            .with_help("DELTA is the one format of a target"));
    }
    let mut table = CreateTable {
        if_not_exists,
        name,
        name_span,
        columns,
        expectations: Vec::new(),
        period: None,
        partitioned_by: Vec::new(),
        location: None,
        options: Vec::new(),
        comment: None,
        properties: Vec::new(),
        trigger: None,
    };
    clauses(cursor, &mut table, TABLE_CLAUSES)?;
    if cursor.at(&[TRIGGER]) {
        return Err(cursor
            .error("TRIGGER is of a CREATE STREAMING TABLE")
            .with_help("write CREATE STREAMING TABLE, which a CREATE FLOW may write to"));
    }
    if cursor.at(&["AS"]) {
        return Err(cursor
            .error("a target is not filled by its definition")
            .with_help("leave out AS …, and write MERGE INTO … or INSERT INTO … after it"));
    }
    end(cursor, TABLE_CLAUSES)?;
    Ok(table)
}

/// Reads the clauses after the columns, each at most once, up to what is none.
pub(super) fn clauses(
    cursor: &mut Cursor<'_>,
    table: &mut CreateTable,
    known: &[&'static str],
) -> Result<(), Diagnostic> {
    let mut seen: Vec<&str> = Vec::new();
    while !cursor.is_done() {
        let clause = known
            .iter()
            .find(|clause| cursor.at(&clause.split(' ').collect::<Vec<_>>()));
        let Some(&clause) = clause else { break };
        if seen.contains(&clause) {
            return Err(cursor.error(format!("{clause} is given twice")));
        }
        seen.push(clause);
        cursor.eat(&clause.split(' ').collect::<Vec<_>>());
        match clause {
            "LOCATION" => table.location = Some(location(cursor)?),
            "OPTIONS" => table.options = options(cursor, STORE, None)?,
            "COMMENT" => table.comment = Some(cursor.string("the comment in quotes")?),
            "TBLPROPERTIES" => table.properties = properties(cursor)?,
            TRIGGER => table.trigger = Some(trigger(cursor)?),
            _ => table.partitioned_by = cursor.parenthesised(|cursor| cursor.ident("a column"))?,
        }
    }
    Ok(())
}

fn properties(cursor: &mut Cursor<'_>) -> Result<Vec<Property>, Diagnostic> {
    let mut properties: Vec<Property> = Vec::new();
    cursor.parenthesised(|cursor| {
        let property = property(cursor)?;
        if properties.iter().any(|other| other.name == property.name) {
            return Err(Diagnostic::new(
                cursor.source,
                property.span,
                format!("property `{}` is given twice", property.name),
            ));
        }
        properties.push(property);
        Ok(())
    })?;
    Ok(properties)
}

fn property(cursor: &mut Cursor<'_>) -> Result<Property, Diagnostic> {
    let first = cursor.position();
    let name = match cursor.peek().map(|l| &l.token) {
        Some(Token::SingleQuotedString(_)) => cursor.string("a property")?,
        _ => {
            let parts = cursor.name("a property such as 'cdcql.onSchemaChange'")?.0;
            parts
                .iter()
                .filter_map(|p| p.as_ident())
                .map(|p| p.value.as_str())
                .collect::<Vec<_>>()
                .join(".")
        }
    };
    let span = cursor.span_from(first);
    let near = nearest(&name, PROPERTIES.iter().copied());
    let ours = name.to_lowercase().starts_with("cdcql.") || near.is_some();
    if ours && !PROPERTIES.contains(&name.as_str()) {
        let diagnostic = Diagnostic::new(cursor.source, span, format!("unknown property `{name}`"));
        return Err(diagnostic.with_help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the properties are {}, and Delta's own",
                PROPERTIES.join(", ")
            ),
        }));
    }
    cursor.expect_token(&Token::Eq)?;
    let value = literal(cursor)?.ok_or_else(|| cursor.expected("a literal"))?;
    Ok(Property { name, value, span })
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnDefinition>, Diagnostic> {
    let lexemes = cursor.group()?;
    columns_of(cursor, lexemes)
}

/// Reads a list of columns from the tokens of it and of its parentheses.
pub(super) fn columns_of(
    cursor: &Cursor<'_>,
    lexemes: &[Lexeme],
) -> Result<Vec<ColumnDefinition>, Diagnostic> {
    let open = lexemes.first().map_or(cursor.span(), |open| open.span);
    let tokens = tokens_of_columns(lexemes);
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
    let failed = |error| parser_error(cursor.source, lexemes, cursor.last_span(), error);
    let (columns, constraints) = parser.parse_columns().map_err(failed)?;
    if let Some(constraint) = constraints.first() {
        return Err(Diagnostic::new(
            cursor.source,
            open,
            format!("a Delta table has no such constraint: {constraint}"),
        )
        .with_help("leave it out"));
    }
    if columns.is_empty() {
        return Err(
            Diagnostic::new(cursor.source, open, "a table has at least one column").with_help(
                "leave out `()`: the table takes its columns from the flow that writes it",
            ),
        );
    }
    let mut defined: Vec<ColumnDefinition> = Vec::new();
    for column in columns {
        let span = cursor.source.locate(column.name.span);
        if defined
            .iter()
            .any(|other| other.name.value.to_lowercase() == column.name.value.to_lowercase())
        {
            return Err(Diagnostic::new(
                cursor.source,
                span,
                format!("column `{}` is given twice", column.name.value),
            ));
        }
        defined.push(column_definition(cursor, span, column)?);
    }
    Ok(defined)
}

/// The parser takes one kind of text alone for the COMMENT of a column.
fn tokens_of_columns(lexemes: &[Lexeme]) -> Vec<TokenWithSpan> {
    let mut is_comment = false;
    let tokens = lexemes.iter().map(|lexeme| {
        let token = lexeme.to_parser();
        let text = is_comment
            .then(|| parameters::literal(&lexeme.token))
            .flatten();
        is_comment = lexeme.is("COMMENT");
        match text {
            Some(Literal::String(text)) => {
                TokenWithSpan::new(Token::SingleQuotedString(text), token.span)
            }
            _ => token,
        }
    });
    tokens.collect()
}

fn column_definition(
    cursor: &Cursor<'_>,
    span: Span,
    column: ColumnDef,
) -> Result<ColumnDefinition, Diagnostic> {
    let ColumnDef {
        name,
        data_type,
        options,
    } = column;
    let refuse = |what: String| Err(Diagnostic::new(cursor.source, span, what));
    if data_type == DataType::Unspecified {
        return refuse(format!("column `{}` has no type", name.value));
    }
    let mut definition = ColumnDefinition {
        name,
        data_type,
        nullable: true,
        comment: None,
    };
    for option in options {
        match option.option {
            ColumnOption::Null => definition.nullable = true,
            ColumnOption::NotNull => definition.nullable = false,
            ColumnOption::Comment(text) => definition.comment = Some(text),
            other => {
                return refuse(format!(
                    "`{other}` is not supported on the column of a target"
                ));
            }
        }
    }
    Ok(definition)
}
