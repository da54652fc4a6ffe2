//! Constants: literals, and values named in the environment or a secret store.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::parameters;
use super::source::Span;

/// `const = literal | env('NAME' [, default]) | secret('env' | 'file', 'name')`, not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Const {
    /// A value in the text.
    Literal {
        /// The value.
        value: Literal,
        /// Where it stands.
        span: Span,
    },
    /// An environment variable.
    Env {
        /// The variable's name.
        name: String,
        /// What it is when the variable is not set.
        default: Option<Literal>,
        /// Where it stands.
        span: Span,
    },
    /// A value that is never printed, logged or stored.
    Secret {
        /// Where it is kept.
        store: SecretStore,
        /// The variable's or file's name.
        name: String,
        /// Where it stands.
        span: Span,
    },
}

/// A value in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `'text'`
    String(String),
    /// Digits, as written; a sign in front of them included.
    Number(String),
    /// `TRUE` or `FALSE`
    Boolean(bool),
}

/// Where a secret is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStore {
    /// An environment variable.
    Env,
    /// A file whose text, without its last line break, is the secret.
    File,
}

impl Const {
    /// Where it stands in its file.
    pub fn span(&self) -> Span {
        match self {
            Const::Literal { span, .. } | Const::Env { span, .. } | Const::Secret { span, .. } => {
                *span
            }
        }
    }

    /// The same constant with its literal hidden, for people to read.
    pub(super) fn redacted(&self) -> Const {
        let hidden = || Literal::String("***".to_owned());
        match self.clone() {
            Const::Literal { span, .. } => Const::Literal {
                value: hidden(),
                span,
            },
            Const::Env {
                name,
                default,
                span,
            } => Const::Env {
                name,
                default: default.map(|_| hidden()),
                span,
            },
            secret @ Const::Secret { .. } => secret,
        }
    }
}

impl Literal {
    /// The value as text: a string's content, a number's digits, `true` or `false`.
    pub fn text(&self) -> &str {
        match self {
            Literal::String(text) | Literal::Number(text) => text,
            Literal::Boolean(true) => "true",
            Literal::Boolean(false) => "false",
        }
    }
}

/// The SQL that reads as this literal.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::String(text) => write!(f, "'{}'", text.replace('\'', "''")),
            other => f.write_str(other.text()),
        }
    }
}

/// The SQL that reads as this constant.
impl fmt::Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Const::Literal { value, .. } => value.fmt(f),
            Const::Env { name, default, .. } => {
                write!(f, "env({}", Literal::String(name.clone()))?;
                match default {
                    Some(default) => write!(f, ", {default})"),
                    None => f.write_str(")"),
                }
            }
            Const::Secret { store, name, .. } => {
                let store = match store {
                    SecretStore::Env => "env",
                    SecretStore::File => "file",
                };
                write!(f, "secret('{store}', {})", Literal::String(name.clone()))
            }
        }
    }
}

/// Reads a constant.
pub(super) fn constant(cursor: &mut Cursor<'_>) -> Result<Const, Diagnostic> {
    let first = cursor.position();
    let calls = cursor.peek_nth(1).is_some_and(|l| l.token == Token::LParen);
    if calls && cursor.eat(&["ENV"]) {
        return environment(cursor, first);
    }
    if calls && cursor.eat(&["SECRET"]) {
        return secret(cursor, first);
    }
    match literal(cursor)? {
        Some(value) => Ok(Const::Literal {
            value,
            span: cursor.span_from(first),
        }),
        None => Err(cursor.expected("a literal, env('NAME') or secret('env', 'NAME')")),
    }
}

/// Reads a literal if one is next.
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Result<Option<Literal>, Diagnostic> {
    if let Some(value) = cursor.peek().and_then(|l| parameters::literal(&l.token)) {
        cursor.advance();
        return Ok(Some(value));
    }
    if cursor.eat(&["TRUE"]) {
        return Ok(Some(Literal::Boolean(true)));
    }
    if cursor.eat(&["FALSE"]) {
        return Ok(Some(Literal::Boolean(false)));
    }
    let negative = cursor.at_token(&Token::Minus);
    let number = cursor.peek_nth(usize::from(negative)).map(|l| &l.token);
    if let Some(Token::Number(digits, _)) = number {
        cursor.eat_token(&Token::Minus);
        cursor.advance();
        let sign = if negative { "-" } else { "" };
        return Ok(Some(Literal::Number(format!("{sign}{digits}"))));
    }
    match cursor.peek().map(|l| &l.token) {
        Some(Token::SingleQuotedString(_) | Token::NationalStringLiteral(_)) => {
            Ok(Some(Literal::String(cursor.string("a string")?)))
        }
        _ => Ok(None),
    }
}

fn environment(cursor: &mut Cursor<'_>, first: usize) -> Result<Const, Diagnostic> {
    cursor.expect_token(&Token::LParen)?;
    let name = cursor.string("the variable's name in quotes")?;
    let mut default = None;
    if cursor.eat_token(&Token::Comma) {
        default = literal(cursor)?;
        if default.is_none() {
            return Err(cursor.expected("a literal as the default"));
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(Const::Env {
        name,
        default,
        span: cursor.span_from(first),
    })
}

fn secret(cursor: &mut Cursor<'_>, first: usize) -> Result<Const, Diagnostic> {
    cursor.expect_token(&Token::LParen)?;
    let stores = "'env' or 'file'";
    let unknown = cursor.expected(stores);
    let store = match cursor.string(stores)?.as_str() {
        "env" => SecretStore::Env,
        "file" => SecretStore::File,
        _ => return Err(unknown),
    };
    cursor.expect_token(&Token::Comma)?;
    let name = cursor.string("the secret's name in quotes")?;
    cursor.expect_token(&Token::RParen)?;
    Ok(Const::Secret {
        store,
        name,
        span: cursor.span_from(first),
    })
}
