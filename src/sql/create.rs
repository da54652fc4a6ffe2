//! CREATE CONNECTION and CREATE SCHEMA.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::constant::{Const, Literal, constant};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::options::{GivenOption, options};
use super::source::Span;

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
    pub options: Vec<GivenOption>,
}

/// `CREATE SCHEMA [IF NOT EXISTS] name {LOCATION const | OPTIONS (…)}`
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
    /// Options of the store that they lie in.
    pub options: Vec<GivenOption>,
}

/// What the options of a table and of a schema are of.
pub(super) const STORE: &str = "a store";

/// The options that a connection may have, in the order in which they are documented.
pub const CONNECTION_OPTIONS: &[&str] = &[
    "url",
    "host",
    "port",
    "instance",
    "database",
    "user",
    "password",
    "access_token",
    "integrated_security",
    "encrypt",
    "trust_server_certificate",
    "ca_file",
    "application_intent",
    "multi_subnet_failover",
    "application_name",
    "time_zone",
    "connect_timeout",
    "command_timeout",
    "retry_timeout",
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
    let options = options(cursor, "a connection", Some(CONNECTION_OPTIONS))?;
    end(cursor, &[])?;
    Ok(CreateConnection {
        if_not_exists,
        name,
        name_span,
        options,
    })
}

/// Reads what follows `CREATE SCHEMA`.
pub(super) fn schema(cursor: &mut Cursor<'_>) -> Result<CreateSchema, Diagnostic> {
    let if_not_exists = cursor.eat(&["IF", "NOT", "EXISTS"]);
    let first = cursor.position();
    let name = cursor.name("the name of the schema")?;
    let name_span = cursor.span_from(first);
    let mut schema = CreateSchema {
        if_not_exists,
        name,
        name_span,
        location: None,
        options: Vec::new(),
    };
    let mut clauses = vec!["LOCATION", "OPTIONS"];
    while let Some(place) = clauses.iter().position(|clause| cursor.eat(&[clause])) {
        match clauses.remove(place) {
            "LOCATION" => schema.location = Some(location(cursor)?),
            _ => schema.options = options(cursor, STORE, None)?,
        }
    }
    end(cursor, &clauses)?;
    Ok(schema)
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
