//! A reader of one statement's tokens.

use super::batch::near;
use super::lexer::{Kind, Token};
use crate::simulator::protocol::ServerError;

/// A name of up to four parts, as written; an omitted part (`db..table`) is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName(pub(crate) Vec<String>);

impl ObjectName {
    /// The last part.
    pub(crate) fn object(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The part before the last, if it was given.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.part(2)
    }

    /// The part before the schema, if it was given.
    pub(crate) fn database(&self) -> Option<&str> {
        self.part(3)
    }

    fn part(&self, from_end: usize) -> Option<&str> {
        let at = self.0.len().checked_sub(from_end)?;
        self.0
            .get(at)
            .map(String::as_str)
            .filter(|part| !part.is_empty())
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Reads tokens one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A reader at the first token.
    pub(crate) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, at: 0 }
    }

    /// The next token.
    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    /// The tokens that are left.
    pub(crate) fn rest(&self) -> &'a [Token] {
        &self.tokens[self.at..]
    }

    /// Error 102 at the next token, or at the last one.
    pub(crate) fn error(&self) -> ServerError {
        match self.peek().or(self.tokens.last()) {
            Some(token) => near(token),
            None => ServerError::syntax(""),
        }
    }

    /// Takes a keyword if it is next.
    pub(crate) fn eat(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(keyword));
        self.at += usize::from(found);
        found
    }

    /// Takes some keywords if they are next, all of them.
    pub(crate) fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let start = self.at;
        let found = keywords.iter().all(|keyword| self.eat(keyword));
        if !found {
            self.at = start;
        }
        found
    }

    /// Takes a symbol if it is next.
    pub(crate) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.symbol(symbol));
        self.at += usize::from(found);
        found
    }

    /// Takes a keyword.
    pub(crate) fn expect(&mut self, keyword: &str) -> Result<(), ServerError> {
        if self.eat(keyword) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Takes a symbol.
    pub(crate) fn expect_symbol(&mut self, symbol: &str) -> Result<(), ServerError> {
        if self.eat_symbol(symbol) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Takes a name of one part.
    pub(crate) fn name(&mut self) -> Result<String, ServerError> {
        let name = self.peek().and_then(Token::name).map(str::to_owned);
        match name {
            Some(name) => {
                self.at += 1;
                Ok(name)
            }
            None => Err(self.error()),
        }
    }

    /// Takes a name of one to four parts.
    pub(crate) fn object_name(&mut self) -> Result<ObjectName, ServerError> {
        let mut parts = vec![self.name()?];
        while parts.len() < 4 && self.eat_symbol(".") {
            if self.peek().is_some_and(|token| token.symbol(".")) {
                parts.push(String::new());
            } else {
                parts.push(self.name()?);
            }
        }
        Ok(ObjectName(parts))
    }

    /// Takes a whole number, which may be negative.
    pub(crate) fn integer(&mut self) -> Result<i64, ServerError> {
        let negative = self.eat_symbol("-");
        let number = match self.peek().map(|token| &token.kind) {
            Some(Kind::Number(digits)) => digits.parse::<i64>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            return Err(self.error());
        };
        self.at += 1;
        Ok(if negative { -number } else { number })
    }

    /// Takes the tokens of a parenthesised list, the parentheses left out.
    pub(crate) fn parenthesised(&mut self) -> Result<&'a [Token], ServerError> {
        self.expect_symbol("(")?;
        let start = self.at;
        let mut depth = 1_usize;
        while let Some(token) = self.next() {
            if token.symbol("(") {
                depth += 1;
            } else if token.symbol(")") {
                depth -= 1;
                if depth == 0 {
                    return Ok(&self.tokens[start..self.at - 1]);
                }
            }
        }
        Err(self.error())
    }

    /// Error 102 unless everything was read.
    pub(crate) fn end(&self) -> Result<(), ServerError> {
        match self.peek() {
            Some(token) => Err(near(token)),
            None => Ok(()),
        }
    }
}

/// Splits tokens at commas outside parentheses.
pub(crate) fn at_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Symbol("(") => depth += 1,
            Kind::Symbol(")") => depth = depth.saturating_sub(1),
            Kind::Symbol(",") if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < tokens.len() || !parts.is_empty() {
        parts.push(&tokens[start..]);
    }
    parts
}

/// The items of a list with commas between them, each read whole; 102 for a list of none.
pub(crate) fn list<'a, T>(
    tokens: &'a [Token],
    read: impl Fn(&mut Cursor<'a>) -> Result<T, ServerError>,
) -> Result<Vec<T>, ServerError> {
    let items = at_commas(tokens)
        .into_iter()
        .map(|part| {
            let mut cursor = Cursor::new(part);
            let item = read(&mut cursor)?;
            cursor.end()?;
            Ok(item)
        })
        .collect::<Result<Vec<_>, ServerError>>()?;
    if items.is_empty() {
        return Err(Cursor::new(tokens).error());
    }
    Ok(items)
}
