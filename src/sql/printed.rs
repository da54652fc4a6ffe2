//! A text in its normal form: each statement on a line.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::lexer::{Lexeme, StatementTokens, lex};
use super::source::{Source, SourceText};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The statements of `text`, each on one line and ended by `;`; `None` where the text cannot be read as tokens.
///
/// Tokens are as they were written, so that a quoted text stays that text; white space and comments between two of them are
/// one blank, and those with nothing between them have none. What it says is what `text` says, and printed again it is the
/// same. Passwords are not masked.
///
/// A statement has more than one line where a line break means something: inside a string, a quoted name or a text between
/// `$$`, and between brackets that would hold a name if they stood on one line.
pub fn printed(text: &SourceText) -> Option<String> {
    let mut source = Source::new(text);
    let lexed = lex(&mut source);
    match lexed.error {
        Some(_) => None,
        None => Some(
            lexed
                .statements
                .iter()
                .map(|statement| line(&source, statement))
                .collect(),
        ),
    }
}

fn line(source: &Source, statement: &StatementTokens) -> String {
    let line = joined(source, &statement.lexemes, |_| " ");
    match reads_as(&line, &statement.lexemes) {
        true => line,
        // `[a` and `b]` on a line of their own are no name, and neither are `[a /* ] */ b]`.
        false => joined(source, &statement.lexemes, |between| {
            if between == " " { " " } else { "\n" }
        }),
    }
}

/// The tokens with `blank` of what the text has between them.
fn joined(source: &Source, lexemes: &[Lexeme], blank: impl Fn(&str) -> &'static str) -> String {
    let part = |start, end| source.text.get(start..end).unwrap_or_default();
    let mut line = String::new();
    let mut end = None;
    for lexeme in lexemes {
        let between = end.map_or("", |end| part(end, lexeme.span.start));
        if !between.is_empty() {
            line.push_str(blank(between));
        }
        line.push_str(part(lexeme.span.start, lexeme.span.end));
        end = Some(lexeme.span.end);
    }
    if line.starts_with(BYTE_ORDER_MARK) {
        // At the beginning of a text it would be no token.
        line.insert(0, ' ');
    }
    line.push_str(ending(lexemes));
    line
}

/// What ends a statement: directly behind these signs it would be a part of a name.
fn ending(lexemes: &[Lexeme]) -> &'static str {
    match lexemes.last().map(|last| &last.token) {
        Some(Token::AtSign | Token::AtAt | Token::Sharp) => " ;\n",
        _ => ";\n",
    }
}

/// Whether `line` is one statement of these tokens.
fn reads_as(line: &str, lexemes: &[Lexeme]) -> bool {
    let mut source = Source::new(&SourceText {
        name: String::new(),
        text: line.to_owned(),
    });
    let lexed = lex(&mut source);
    let [statement] = lexed.statements.as_slice() else {
        return false;
    };
    let tokens = |lexemes: &[Lexeme]| -> Vec<_> {
        lexemes.iter().map(|lexeme| lexeme.token.clone()).collect()
    };
    lexed.error.is_none() && tokens(&statement.lexemes) == tokens(lexemes)
}
