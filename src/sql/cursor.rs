//! Reading the tokens of the statements that are ours.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::constant::Literal;
use super::diagnostic::Diagnostic;
use super::lexer::Lexeme;
use super::parameters;
use super::source::{Source, Span};
use crate::nearest::nearest;

/// A place between two tokens of a statement, moving on as they are read.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) source: &'a Source,
    lexemes: &'a [Lexeme],
    next: usize,
    end: Span,
}

impl<'a> Cursor<'a> {
    /// Begins before token `next`; `end` is the place just after the last token.
    pub(super) fn new(source: &'a Source, lexemes: &'a [Lexeme], next: usize, end: Span) -> Self {
        Cursor {
            source,
            lexemes,
            next,
            end,
        }
    }

    /// How many tokens lie behind.
    pub(super) fn position(&self) -> usize {
        self.next
    }

    pub(super) fn peek(&self) -> Option<&'a Lexeme> {
        self.peek_nth(0)
    }

    pub(super) fn peek_nth(&self, n: usize) -> Option<&'a Lexeme> {
        self.lexemes.get(self.next + n)
    }

    pub(super) fn advance(&mut self) -> Option<&'a Lexeme> {
        let lexeme = self.peek();
        self.next = self.lexemes.len().min(self.next + 1);
        lexeme
    }

    /// Whether the next words are these (upper case), unquoted.
    pub(super) fn at(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(n, word)| self.peek_nth(n).is_some_and(|l| l.is(word)))
    }

    /// Reads these words if they are next.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found = self.at(words);
        if found {
            self.next += words.len();
        }
        found
    }

    pub(super) fn at_token(&self, token: &Token) -> bool {
        self.peek().is_some_and(|l| l.token == *token)
    }

    pub(super) fn eat_token(&mut self, token: &Token) -> bool {
        let found = self.at_token(token);
        if found {
            self.next += 1;
        }
        found
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<(), Diagnostic> {
        if self.eat(words) {
            Ok(())
        } else {
            Err(self.expected(&words.join(" ")))
        }
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), Diagnostic> {
        if self.eat_token(token) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{token}`")))
        }
    }

    /// Whether all tokens are read.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.lexemes.len()
    }

    /// The place of the next token, or of the statement's end.
    pub(super) fn span(&self) -> Span {
        self.peek().map_or(self.end, |l| l.span)
    }

    /// The place of the token just read.
    pub(super) fn last_span(&self) -> Span {
        self.next
            .checked_sub(1)
            .and_then(|last| self.lexemes.get(last))
            .map_or(self.end, |l| l.span)
    }

    /// From token `first` to the token just read.
    pub(super) fn span_from(&self, first: usize) -> Span {
        self.lexemes
            .get(first)
            .map_or(self.end, |l| l.span)
            .to(self.last_span())
    }

    /// The tokens from `first` to the one just read.
    pub(super) fn since(&self, first: usize) -> &'a [Lexeme] {
        self.lexemes.get(first..self.next).unwrap_or_default()
    }

    /// The place just after the last token.
    pub(super) fn end(&self) -> Span {
        self.end
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, self.span(), message)
    }

    /// "expected …, found …" at the next token.
    pub(super) fn expected(&self, expected: &str) -> Diagnostic {
        match self.peek() {
            Some(found) => self.error(format!(
                "expected {expected}, found `{}`",
                self.source.excerpt(found.span)
            )),
            None => self.error(format!(
                "expected {expected}, found the end of the statement"
            )),
        }
    }

    /// "expected one of …", with the nearest of them as help.
    pub(super) fn expected_one_of(&self, words: &[&str]) -> Diagnostic {
        let diagnostic = self.expected(&listed(words));
        let found = self
            .peek()
            .map(|l| self.source.excerpt(l.span))
            .unwrap_or_default();
        match nearest(&found, words.iter().filter_map(|w| w.split(' ').next())) {
            Some(word) => diagnostic.with_help(format!("did you mean {word}?")),
            None => diagnostic,
        }
    }

    /// One identifier.
    pub(super) fn ident(&mut self, what: &str) -> Result<Ident, Diagnostic> {
        match self.peek() {
            Some(Lexeme {
                token: Token::Word(word),
                at,
                ..
            }) => {
                self.next += 1;
                Ok(word.clone().into_ident(*at))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A name of one to three parts.
    pub(super) fn name(&mut self, what: &str) -> Result<ObjectName, Diagnostic> {
        let mut parts = vec![self.ident(what)?];
        while self.eat_token(&Token::Period) {
            parts.push(self.ident("a name after the dot")?);
        }
        Ok(ObjectName::from(parts))
    }

    /// `( item {, item} )`.
    pub(super) fn parenthesised<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<Vec<T>, Diagnostic> {
        self.expect_token(&Token::LParen)?;
        let mut items = Vec::new();
        loop {
            items.push(item(self)?);
            if self.eat_token(&Token::RParen) {
                return Ok(items);
            }
            if !self.eat_token(&Token::Comma) {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    /// The text of a string literal.
    pub(super) fn string(&mut self, what: &str) -> Result<String, Diagnostic> {
        let text = match self.peek().map(|l| &l.token) {
            Some(Token::SingleQuotedString(text) | Token::NationalStringLiteral(text)) => {
                text.clone()
            }
            Some(other) => match parameters::literal(other) {
                Some(Literal::String(text)) => text,
                _ => return Err(self.expected(what)),
            },
            None => return Err(self.expected(what)),
        };
        self.next += 1;
        Ok(text)
    }

    /// The tokens from here to the `)` that closes the `(` which is next, both included; they are read.
    pub(super) fn group(&mut self) -> Result<&'a [Lexeme], Diagnostic> {
        let first = self.next;
        let mut depth = 0usize;
        while let Some(lexeme) = self.advance() {
            match lexeme.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(self.lexemes.get(first..self.next).unwrap_or_default());
            }
        }
        Err(self.expected("`)`"))
    }
}

/// `a`, `a or b`, `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
