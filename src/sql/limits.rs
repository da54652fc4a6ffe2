//! Limits on nesting and on chains, so that no text can exhaust the stack.
//!
//! The parser limits the nesting of expressions and queries itself, but not that of types, and not the length
//! of `a + b + c …`, which becomes a tree as deep as it is long.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::diagnostic::Diagnostic;
use super::lexer::Lexeme;
use super::source::Source;

/// Parentheses, brackets and the `<` of types inside each other.
const DEEPEST: usize = 48;
/// Tokens of one expression without a comma or a clause between them.
const LONGEST_EXPRESSION: usize = 1500;
/// Queries joined by UNION and the like.
const MOST_SET_OPERATIONS: usize = 200;
/// Words that begin an expression of their own.
const CLAUSES: &[Keyword] = &[
    Keyword::SELECT,
    Keyword::FROM,
    Keyword::WHERE,
    Keyword::ON,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::GROUP,
    Keyword::ORDER,
    Keyword::HAVING,
    Keyword::VALUES,
    Keyword::SET,
    Keyword::JOIN,
];

/// Refuses a statement that is nested too deeply or chains too much.
pub(super) fn check(source: &Source, lexemes: &[Lexeme]) -> Result<(), Diagnostic> {
    let mut chains = vec![Chain::default()];
    let mut angles = 0usize;
    let mut before = None;
    for lexeme in lexemes {
        match lexeme.token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.push(Chain::default()),
            Token::RParen | Token::RBracket | Token::RBrace if chains.len() > 1 => _ = chains.pop(),
            Token::Lt
                if matches!(
                    before,
                    Some(Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP)
                ) =>
            {
                angles += 1
            }
            Token::Gt => angles = angles.saturating_sub(1),
            Token::ShiftRight => angles = angles.saturating_sub(2),
            _ => {}
        }
        before = lexeme.keyword();
        if chains.len() > DEEPEST || angles > DEEPEST {
            return Err(Diagnostic::new(source, lexeme.span, "this is nested too deeply")
                .with_help(format!("at most {DEEPEST} levels can be read: name a part of it with WITH or CREATE VIEW")));
        }
        if let Some(chain) = chains.last_mut() {
            chain.note(source, lexeme)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Chain {
    tokens: usize,
    set_operations: usize,
    explains: usize,
}

impl Chain {
    fn note(&mut self, source: &Source, lexeme: &Lexeme) -> Result<(), Diagnostic> {
        self.tokens += 1;
        match lexeme.keyword() {
            Some(Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS) => {
                self.set_operations += 1
            }
            Some(Keyword::EXPLAIN) => self.explains += 1,
            Some(keyword) if CLAUSES.contains(&keyword) => self.tokens = 0,
            _ if lexeme.token == Token::Comma => self.tokens = 0,
            _ => {}
        }
        if self.tokens > LONGEST_EXPRESSION
            || self.set_operations > MOST_SET_OPERATIONS
            || self.explains > 1
        {
            return Err(
                Diagnostic::new(source, lexeme.span, "this chain is too long to be read")
                    .with_help(
                        "use IN (…) for many values, or name a part of it with WITH or CREATE VIEW",
                    ),
            );
        }
        Ok(())
    }
}
