//! `[x]`: SQL Server's quoted names, told apart from arrays and subscripts by where they stand.
//!
//! `[…]` is a name after a dot, where a table is named, and where an expression may begin if all it holds is
//! one or more words (`[Order Details]`). After a value it is a subscript, inside an array literal it is an
//! array, and an array of one column is written `make_array(x)`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span as TokenSpan, Token, Word};

use super::lexer::Lexeme;
use super::source::{Source, Span};

/// Turns every bracketed name into one quoted word.
pub(super) fn join_brackets(source: &Source, lexemes: Vec<Lexeme>) -> Vec<Lexeme> {
    let mut joined: Vec<Lexeme> = Vec::with_capacity(lexemes.len());
    // For every open bracket or parenthesis: whether it is an array or a subscript.
    let mut open: Vec<bool> = Vec::new();
    let mut i = 0;
    while let Some(lexeme) = lexemes.get(i) {
        if lexeme.token == Token::LBracket {
            let in_array = open.last().copied().unwrap_or(false);
            if let Some((name, after)) =
                bracketed_name(source, &lexemes, i, joined.last(), in_array)
            {
                joined.push(name);
                i = after;
                continue;
            }
        }
        match lexeme.token {
            Token::LBracket => open.push(true),
            Token::LParen | Token::LBrace => open.push(false),
            Token::RBracket | Token::RParen | Token::RBrace => _ = open.pop(),
            Token::SemiColon => open.clear(),
            _ => {}
        }
        joined.push(lexeme.clone());
        i += 1;
    }
    joined
}

/// What may stand in brackets after a given token.
#[derive(PartialEq)]
enum Place {
    /// Only a name: anything up to `]`.
    Name,
    /// A name or an array.
    Expression,
    /// A subscript, an array element, a type.
    Other,
}

fn bracketed_name(
    source: &Source,
    lexemes: &[Lexeme],
    open: usize,
    before: Option<&Lexeme>,
    in_array: bool,
) -> Option<(Lexeme, usize)> {
    let place = place_after(before, in_array);
    if place == Place::Other {
        return None;
    }
    let start = lexemes.get(open)?;
    let (value, end) = text_to_bracket(source, start.span.end)?;
    let close = open
        + 1
        + lexemes
            .get(open + 1..)?
            .iter()
            .position(|l| l.span.end >= end)?;
    let last = lexemes
        .get(close)
        .filter(|l| l.token == Token::RBracket && l.span.end == end)?;
    let inside = lexemes.get(open + 1..close)?;
    if place == Place::Expression && !is_words(inside) {
        return None;
    }
    let word = Word {
        value,
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    };
    let name = Lexeme {
        token: Token::Word(word),
        at: TokenSpan::new(start.at.start, last.at.end),
        span: Span { end, ..start.span },
    };
    Some((name, close + 1))
}

/// One or more words, as in `[Address 2]`: no expression looks like that, save one column.
fn is_words(inside: &[Lexeme]) -> bool {
    let word = |l: &Lexeme| matches!(&l.token, Token::Word(w) if w.quote_style.is_none());
    inside.first().is_some_and(word)
        && inside
            .iter()
            .all(|l| word(l) || matches!(l.token, Token::Number(..)))
}

/// No name has more characters; so many are looked at behind each bracket.
const LONGEST_NAME: usize = 1024;

/// The text from `start` to its `]` on the same line, `]]` standing for `]`, and where that ends.
fn text_to_bracket(source: &Source, start: usize) -> Option<(String, usize)> {
    let mut value = String::new();
    let chars = source.text.get(start..)?.char_indices();
    let mut chars = chars.take(LONGEST_NAME).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' | '\r' => return None,
            ']' if chars.peek().is_some_and(|(_, next)| *next == ']') => {
                chars.next();
                value.push(']');
            }
            ']' if value.trim().is_empty() => return None,
            ']' => return Some((value, start + at + 1)),
            c => value.push(c),
        }
    }
    None
}

fn place_after(before: Option<&Lexeme>, in_array: bool) -> Place {
    let Some(before) = before else {
        return Place::Other;
    };
    match &before.token {
        Token::Period => Place::Name,
        Token::Comma if in_array => Place::Other,
        Token::SemiColon => Place::Other,
        Token::Word(w) if w.quote_style.is_some() => Place::Other,
        Token::Word(w) => after_word(w.keyword),
        Token::LBracket | Token::RBracket | Token::RParen | Token::RBrace => Place::Other,
        Token::Colon | Token::DoubleColon => Place::Other,
        Token::Number(..) | Token::SingleQuotedString(_) | Token::NationalStringLiteral(_) => {
            Place::Other
        }
        _ => Place::Expression,
    }
}

fn after_word(keyword: Keyword) -> Place {
    match keyword {
        Keyword::FROM
        | Keyword::JOIN
        | Keyword::INTO
        | Keyword::USING
        | Keyword::TABLE
        | Keyword::UPDATE
        | Keyword::VIEW
        | Keyword::SCHEMA
        | Keyword::EXISTS
        | Keyword::AS
        | Keyword::DESCRIBE
        | Keyword::STREAM
        | Keyword::CONNECTION => Place::Name,
        Keyword::SELECT
        | Keyword::DISTINCT
        | Keyword::WHERE
        | Keyword::AND
        | Keyword::OR
        | Keyword::NOT
        | Keyword::ON
        | Keyword::BY
        | Keyword::SET
        | Keyword::HAVING
        | Keyword::WHEN
        | Keyword::THEN
        | Keyword::ELSE
        | Keyword::CASE
        | Keyword::BETWEEN
        | Keyword::LIKE
        | Keyword::QUALIFY
        | Keyword::IS
        | Keyword::INTERVAL => Place::Expression,
        _ => Place::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::SourceText;
    use crate::sql::lexer::lex;

    /// Every bracketed name of a text.
    fn names(text: &str) -> Vec<String> {
        let mut source = Source::new(&SourceText {
            name: "f.sql".to_owned(),
            text: text.to_owned(),
        });
        let lexed = lex(&mut source);
        let words = lexed
            .statements
            .into_iter()
            .flat_map(|s| s.lexemes)
            .filter_map(|l| match l.token {
                Token::Word(w) if w.quote_style == Some('"') => Some(w.value),
                _ => None,
            });
        words.collect()
    }

    #[test]
    fn names_stand_where_names_stand() {
        assert_eq!(
            names("SELECT [CustomerID], c.[First Name] FROM [dbo].[Order Details] AS [c d]"),
            ["CustomerID", "First Name", "dbo", "Order Details", "c d"]
        );
        assert_eq!(
            names("SELECT a FROM t WHERE [x]=[y] AND f([z])>1"),
            ["x", "y", "z"]
        );
        assert_eq!(names("SELECT t.[a]]b; c]"), ["a]b; c"]);
        assert_eq!(names("SELECT t.[größe-1]"), ["größe-1"]);
    }

    #[test]
    fn arrays_and_subscripts_stay() {
        for text in [
            "SELECT a[1], b[i], f(x)[j], [1, 2], [a, b], [[a], [b]], [], ARRAY[x], x::int[], [ 'a' ]",
            "SELECT [a + 1]",
        ] {
            assert_eq!(names(text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(names("SELECT t.[a][1]"), ["a"]);
    }

    #[test]
    fn spans_cover_the_brackets() {
        let text = "SELECT [ab] FROM t";
        let mut source = Source::new(&SourceText {
            name: String::new(),
            text: text.to_owned(),
        });
        let lexed = lex(&mut source);
        let name = &lexed.statements[0].lexemes[1];
        assert_eq!(source.shown(name.span), "[ab]");
        assert_eq!(source.locate(name.at), name.span);
    }
}
