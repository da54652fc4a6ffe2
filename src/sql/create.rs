//! CREATE CONNECTION and CREATE SCHEMA.

use std::fmt;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::constant::{Const, Literal, constant};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::source::Span;
use crate::nearest::nearest;

/// `CREATE CONNECTION [IF NOT EXISTS] name TYPE sqlserver OPTIONS (…)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateConnection {
    /// Whether a connection of that name may exist already.
    pub if_not_exists: bool,
    /// The catalog that the connection mounts.
    pub name: Ident,
    /// Where the name stands.
    pub name_span: Span,
    /// The options, in their order; each at most once.
    pub options: Vec<ConnectionOption>,
}

/// One option of a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionOption {
    /// Its name in lower case.
    pub name: String,
    /// Its value, not looked up yet.
    pub value: Const,
    /// Where its name stands.
    pub span: Span,
}

/// Hides the literals of options that hold passwords.
impl fmt::Debug for ConnectionOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = matches!(self.name.as_str(), "password" | "url");
        let value = if secret {
            self.value.redacted()
        } else {
            self.value.clone()
        };
        write!(f, "{} {value}", self.name)
    }
}

/// `CREATE SCHEMA [IF NOT EXISTS] name [LOCATION const]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSchema {
    /// Whether a schema of that name may exist already.
    pub if_not_exists: bool,
    /// The schema.
    pub name: ObjectName,
    /// Where the name stands.
    pub name_span: Span,
    /// Where its Delta tables are found.
    pub location: Option<Const>,
}

const OPTIONS: &[&str] = &[
    "url",
    "host",
    "port",
    "database",
    "user",
    "password",
    "encrypt",
    "trust_server_certificate",
    "ca_file",
    "application_name",
    "connect_timeout",
    "command_timeout",
];

/// Reads what follows `CREATE CONNECTION`.
pub(super) fn connection(cursor: &mut Cursor<'_>) -> Result<CreateConnection, Diagnostic> {
    let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
    let name_span = cursor.span();
    let name = cursor.ident("the name of the connection")?;
    cursor.expect(&["TYPE"])?;
    if !cursor.eat(&["SQLSERVER"]) {
        return Err(cursor
            .expected("the type sqlserver")
            .with_help("sqlserver is the one type of connection"));
    }
    cursor.expect(&["OPTIONS"])?;
    let mut options: Vec<ConnectionOption> = Vec::new();
    cursor.parenthesised(|cursor| {
        let option = connection_option(cursor, &options)?;
        options.push(option);
        Ok(())
    })?;
    end(cursor, &[])?;
    Ok(CreateConnection {
        if_not_exists,
        name,
        name_span,
        options,
    })
}

fn connection_option(
    cursor: &mut Cursor<'_>,
    before: &[ConnectionOption],
) -> Result<ConnectionOption, Diagnostic> {
    let span = cursor.span();
    let name = match cursor.peek().map(|l| &l.token) {
        Some(Token::SingleQuotedString(_)) => cursor.string("an option")?,
        _ => cursor.ident("an option")?.value,
    }
    .to_lowercase();
    if !OPTIONS.contains(&name.as_str()) {
        let diagnostic = Diagnostic::new(
            cursor.source,
            span,
            format!("unknown option `{name}` of a connection"),
        );
        return Err(
            diagnostic.with_help(match nearest(&name, OPTIONS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the options are {}", OPTIONS.join(", ")),
            }),
        );
    }
    if before.iter().any(|option| option.name == name) {
        return Err(Diagnostic::new(
            cursor.source,
            span,
            format!("option `{name}` is given twice"),
        ));
    }
    cursor.eat_token(&Token::Eq);
    let value = constant(cursor)?;
    Ok(ConnectionOption { name, value, span })
}

/// Reads what follows `CREATE SCHEMA`.
pub(super) fn schema(cursor: &mut Cursor<'_>) -> Result<CreateSchema, Diagnostic> {
    let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
    let first = cursor.position();
    let name = cursor.name("the name of the schema")?;
    let name_span = cursor.span_from(first);
    let location = if cursor.eat(&["LOCATION"]) {
        Some(location(cursor)?)
    } else {
        None
    };
    end(
        cursor,
        if location.is_none() {
            &["LOCATION"]
        } else {
            &[]
        },
    )?;
    Ok(CreateSchema {
        if_not_exists,
        name,
        name_span,
        location,
    })
}

/// A place to store tables; a secret is none, since locations are printed.
pub(super) fn location(cursor: &mut Cursor<'_>) -> Result<Const, Diagnostic> {
    let refused = cursor.expected("a path or URL in quotes, or env('NAME')");
    match constant(cursor)? {
        Const::Literal {
            value: Literal::Number(_) | Literal::Boolean(_),
            ..
        }
        | Const::Secret { .. } => Err(refused),
        location => Ok(location),
    }
}

/// Expects the end, or names what could have followed.
pub(super) fn end(cursor: &Cursor<'_>, clauses: &[&str]) -> Result<(), Diagnostic> {
    match (cursor.is_done(), clauses) {
        (true, _) => Ok(()),
        (false, []) => Err(cursor
            .expected("the end of the statement")
            .with_help("statements are separated by `;`")),
        (false, clauses) => Err(cursor.expected_one_of(clauses)),
    }
}
