//! T-SQL text as tokens.

use crate::simulator::protocol::ServerError;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word: a keyword or a name, as written.
    Word(String),
    /// A name in brackets or double quotes, without them.
    Quoted(String),
    /// `@name` or `@@name`.
    Variable(String),
    /// The content of a string, which is text of the database's code page.
    Text(String),
    /// The content of an `N'…'` string.
    National(String),
    /// A number as written.
    Number(String),
    /// The digits of a `0x` literal.
    Hex(String),
    /// An operator or punctuation.
    Symbol(&'static str),
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its first byte.
    pub(crate) start: usize,
    /// The byte after its last.
    pub(crate) end: usize,
    /// Its line, from 1.
    pub(crate) line: u32,
}

impl Token {
    /// Whether it is this keyword.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(&self.kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether it is one of these keywords.
    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether it is this symbol.
    pub(crate) fn symbol(&self, symbol: &str) -> bool {
        matches!(self.kind, Kind::Symbol(s) if s == symbol)
    }

    /// The name, if it is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(name) | Kind::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

const SYMBOLS: [&str; 34] = [
    "<>", "<=", ">=", "!=", "!<", "!>", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "::", "(",
    ")", ",", ";", ".", "+", "-", "*", "/", "%", "=", "<", ">", "&", "|", "^", "~", ":", "$",
];

/// Splits text into tokens; comments and white space are left out.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, ServerError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.text[self.at..self.at + bytes];
        self.line += u32::try_from(passed.matches('\n').count()).unwrap_or(0);
        self.at += bytes;
    }

    fn next(&mut self) -> Result<Option<Token>, ServerError> {
        self.skip_blanks()?;
        let (start, line) = (self.at, self.line);
        let Some(first) = self.rest().chars().next() else {
            return Ok(None);
        };
        let kind = match first {
            '\'' => Kind::Text(self.delimited(1, '\'')?),
            '"' => Kind::Quoted(self.delimited(1, '"')?),
            '[' => Kind::Quoted(self.delimited(1, ']')?),
            'N' | 'n' if self.rest()[1..].starts_with('\'') => {
                Kind::National(self.delimited(2, '\'')?)
            }
            '0' if self.rest()[1..].starts_with(['x', 'X']) => self.hex(),
            '0'..='9' => self.number(),
            '.' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            '@' => Kind::Variable(self.word()),
            c if is_word_start(c) => Kind::Word(self.word()),
            _ => self.punctuation(first)?,
        };
        Ok(Some(Token {
            kind,
            start,
            end: self.at,
            line,
        }))
    }

    fn skip_blanks(&mut self) -> Result<(), ServerError> {
        loop {
            let rest = self.rest();
            let blanks = rest.len()
                - rest
                    .trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}', '\u{a0}'])
                    .len();
            if blanks > 0 {
                self.advance(blanks);
            } else if rest.starts_with("--") {
                let length = rest.find('\n').unwrap_or(rest.len());
                self.advance(length);
            } else if rest.starts_with("/*") {
                self.skip_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Block comments nest.
    fn skip_comment(&mut self) -> Result<(), ServerError> {
        let line = self.line;
        let mut depth = 0;
        while !self.rest().is_empty() {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let width = rest.chars().next().map_or(1, char::len_utf8);
                self.advance(width);
            }
        }
        Err(ServerError::new(113, "Missing end comment mark '*/'.").at_line(line))
    }

    /// Text up to an end mark, which is doubled inside.
    fn delimited(&mut self, open: usize, close: char) -> Result<String, ServerError> {
        let line = self.line;
        self.advance(open);
        let mut content = String::new();
        loop {
            let Some(length) = self.rest().find(close) else {
                content.push_str(self.rest());
                return Err(ServerError::unclosed_quote(&content).at_line(line));
            };
            content.push_str(&self.rest()[..length]);
            self.advance(length + close.len_utf8());
            if !self.rest().starts_with(close) {
                return Ok(content);
            }
            content.push(close);
            self.advance(close.len_utf8());
        }
    }

    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let length = rest.find(|c| !holds(c)).unwrap_or(rest.len());
        let taken = rest[..length].to_owned();
        self.advance(length);
        taken
    }

    fn hex(&mut self) -> Kind {
        self.advance(2);
        Kind::Hex(self.take_while(|c| c.is_ascii_hexdigit()))
    }

    fn number(&mut self) -> Kind {
        let mut number = self.take_while(|c| c.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.advance(1);
            number.push('.');
            number.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        let mut exponent = self.rest().chars();
        if matches!(exponent.next(), Some('e' | 'E')) {
            let signed = matches!(exponent.clone().next(), Some('+' | '-'));
            let digit = exponent.nth(usize::from(signed));
            if digit.is_some_and(|c| c.is_ascii_digit()) {
                let length = 1 + usize::from(signed);
                number.push_str(&self.rest()[..length]);
                self.advance(length);
                number.push_str(&self.take_while(|c| c.is_ascii_digit()));
            }
        }
        Kind::Number(number)
    }

    fn word(&mut self) -> String {
        self.take_while(|c| is_word_start(c) || c.is_ascii_digit() || matches!(c, '@' | '$'))
    }

    fn punctuation(&mut self, first: char) -> Result<Kind, ServerError> {
        let rest = self.rest();
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => {
                self.advance(symbol.len());
                Ok(Kind::Symbol(symbol))
            }
            None => Err(ServerError::syntax(&first.to_string()).at_line(self.line)),
        }
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(text).unwrap().into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn every_kind_of_token() {
        assert_eq!(
            kinds("SELECT [a]]b], N'it''s', 0x0F, 1.5e-3, @P1 <> @@rowcount -- end"),
            [
                Kind::Word("SELECT".into()),
                Kind::Quoted("a]b".into()),
                Kind::Symbol(","),
                Kind::National("it's".into()),
                Kind::Symbol(","),
                Kind::Hex("0F".into()),
                Kind::Symbol(","),
                Kind::Number("1.5e-3".into()),
                Kind::Symbol(","),
                Kind::Variable("@P1".into()),
                Kind::Symbol("<>"),
                Kind::Variable("@@rowcount".into()),
            ]
        );
    }

    #[test]
    fn lines_count_through_comments_and_strings() {
        let found = tokens("a /* x\n/* y */\n*/ b\n'c\nd' e").unwrap();
        let lines: Vec<u32> = found.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 4, 5]);
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        assert_eq!(tokens("SELECT 'abc").unwrap_err().number, 105);
        assert_eq!(tokens("/* abc").unwrap_err().number, 113);
        assert_eq!(tokens("SELECT ?").unwrap_err().number, 102);
    }
}
