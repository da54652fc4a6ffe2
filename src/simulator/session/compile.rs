//! Reading a batch as a whole: whatever can be known to be wrong without running it.

use super::settings::Settings;
use crate::simulator::protocol::{Collation, ServerError};
use crate::simulator::tsql::batch::Node;
use crate::simulator::tsql::command::{Command, command};
use crate::simulator::tsql::lexer::{Kind, Token, tokens};
use crate::simulator::tsql::normal::table_hints;
use crate::simulator::tsql::parse::check;
use crate::simulator::tsql::scope::Variable;

/// What stands behind a variable that gets a value.
const ASSIGNMENTS: &[&str] = &["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="];

/// The variables of a batch.
struct Declared<'a> {
    names: Vec<&'a str>,
    /// The server's, which compares their names.
    collation: Collation,
}

impl Declared<'_> {
    fn has(&self, name: &str) -> bool {
        let mut names = self.names.iter();
        names.any(|known| self.collation.is_same_name(known, name))
    }
}

/// Checks the syntax of every statement, and that its variables are declared. Names of tables and columns
/// are looked up when a statement runs, as in SQL Server.
pub(super) fn compile(
    nodes: &[Node<'_>],
    variables: &[Variable],
    collation: Collation,
) -> Result<(), ServerError> {
    let variables = &Declared {
        names: variables.iter().map(|v| v.declared.as_str()).collect(),
        collation,
    };
    let mut first = true;
    for node in nodes {
        compile_node(node, first, variables)?;
        first = false;
    }
    Ok(())
}

fn compile_node(node: &Node<'_>, first: bool, variables: &Declared<'_>) -> Result<(), ServerError> {
    match node {
        Node::Block(nodes) => nodes
            .iter()
            .try_for_each(|node| compile_node(node, false, variables)),
        Node::If {
            condition,
            then,
            otherwise,
        } => {
            expression(condition, "SELECT CASE WHEN (", ") THEN 1 END", variables)?;
            compile_node(then, false, variables)?;
            otherwise
                .iter()
                .try_for_each(|node| compile_node(node, false, variables))
        }
        Node::Statement(tokens) => {
            statement(tokens, first, variables).map_err(|error| placed(error, tokens))
        }
    }
}

fn statement(tokens: &[Token], first: bool, variables: &Declared<'_>) -> Result<(), ServerError> {
    match command(tokens, first)? {
        Command::Query(tokens) | Command::Change(tokens) => {
            declared(tokens, variables)?;
            table_hints(tokens)?;
            check(tokens)
        }
        Command::Print(tokens) => expression(tokens, "SELECT", "", variables),
        Command::Set(options) => {
            declared(tokens, variables)?;
            Settings::default().set(options)
        }
        _ => Ok(()),
    }
}

fn expression(
    tokens_of: &[Token],
    before: &str,
    after: &str,
    variables: &Declared<'_>,
) -> Result<(), ServerError> {
    declared(tokens_of, variables)?;
    let mut all = tokens(before)?;
    all.extend_from_slice(tokens_of);
    all.extend(tokens(after)?);
    check(&all).map_err(|error| placed(error, tokens_of))
}

/// Checks that every variable is declared, and that none is assigned to.
fn declared(tokens: &[Token], variables: &Declared<'_>) -> Result<(), ServerError> {
    for (at, token) in tokens.iter().enumerate() {
        // Whether a table variable is declared is known when its statement runs.
        let table = at > 0 && tokens[at - 1].is_any(&["FROM", "JOIN", "INTO", "APPLY"]);
        if let Kind::Variable(name) = &token.kind
            && !table
            && !name.starts_with("@@")
            && !variables.has(name)
        {
            return Err(ServerError::undeclared_variable(name).at_line(token.line));
        }
        if let Kind::Variable(_) = token.kind
            && at > 0
            && let Some(after) = tokens.get(at + 1)
            && is_assigned(&tokens[at - 1], after)
        {
            return Err(ServerError::unsupported("assignments to variables").at_line(token.line));
        }
    }
    Ok(())
}

/// Whether a variable between these tokens gets a value, as in `SELECT @n = 1` and `SET @n += 1`.
fn is_assigned(before: &Token, after: &Token) -> bool {
    let begins = before.is_any(&["SELECT", "ALL", "DISTINCT", "PERCENT", "TIES", "SET"])
        || before.symbol(",")
        || before.symbol(")")
        || matches!(before.kind, Kind::Number(_));
    begins && ASSIGNMENTS.iter().any(|symbol| after.symbol(symbol))
}

/// An error that does not know its line is at the statement's.
fn placed(mut error: ServerError, tokens: &[Token]) -> ServerError {
    if error.line == 1 {
        error.line = tokens.first().map_or(1, |token| token.line);
    }
    error
}
