//! `:name` in a file, and the constant that stands in its place.
//!
//! A parameter is one token from the first step on, so that a value is never SQL: in the statements that are ours it is
//! what [`literal`] reads, and DataFusion's parser gets a token that it reads as a value and never as a name. What that
//! token means is put into the syntax tree afterwards, where nothing can change its precedence.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as QueryStatement;
use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value, ValueWithSpan, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span as TokenSpan, Token};

use super::constant::Literal;
use super::diagnostic::Diagnostic;
use super::ignored::visit_mut;
use super::lexer::{Lexeme, MARK};
use super::source::Source;
use super::spelled::literal as literal_text;
use crate::nearest::nearest;

/// The values of parameters, by their names without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, Given)>);

/// What a parameter stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Constant(Literal),
    Null,
}

impl Parameters {
    /// Gives a parameter its value; answers false if it has one already, which it keeps.
    ///
    /// Numbers as SQL writes them (`5`, `-0.2`; no exponent, and no zeros in front, which are of codes), `true`, `false`
    /// and `null` are what they are in SQL. Anything else is a text, and so is what stands between `'` and `'`, where
    /// `''` is one quote.
    #[must_use]
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        if self.value(name).is_some() {
            return false;
        }
        self.0.push((name.to_owned(), Given::read(value)));
        true
    }

    /// Gives a parameter a value in place of the one that it has.
    pub fn replace(&mut self, name: &str, value: &str) {
        let lower = name.to_lowercase();
        self.0.retain(|(given, _)| given.to_lowercase() != lower);
        self.0.push((name.to_owned(), Given::read(value)));
    }

    /// The parameters and their values, as they may be given again.
    pub fn shown(&self) -> Vec<(String, String)> {
        let shown = self.0.iter().map(|(name, value)| {
            let value = match value {
                Given::Constant(Literal::String(text)) => literal_text(text),
                Given::Constant(other) => other.text().to_owned(),
                Given::Null => NULL.to_owned(),
            };
            (name.clone(), value)
        });
        shown.collect()
    }

    /// One that `used` (names in lower case) does not name.
    pub fn unused(&self, used: &[String]) -> Option<&str> {
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        names.find(|name| !used.contains(&name.to_lowercase()))
    }

    fn value(&self, name: &str) -> Option<&Given> {
        let name = name.to_lowercase();
        let found = self
            .0
            .iter()
            .find(|(given, _)| given.to_lowercase() == name);
        found.map(|(_, value)| value)
    }
}

impl Given {
    fn read(text: &str) -> Self {
        let constant = if is_number(text) {
            Literal::Number(text.to_owned())
        } else if let Some(text) = unquoted(text) {
            Literal::String(text)
        } else {
            match text.to_ascii_lowercase().as_str() {
                "true" => Literal::Boolean(true),
                "false" => Literal::Boolean(false),
                "null" => return Given::Null,
                _ => Literal::String(text.to_owned()),
            }
        };
        Given::Constant(constant)
    }

    /// The token of a parameter: nobody can write one that begins so.
    fn token(&self) -> Token {
        let value = match self {
            Given::Constant(Literal::String(text)) => format!("'{text}"),
            Given::Constant(other) => other.text().to_owned(),
            Given::Null => NULL.to_owned(),
        };
        Token::Placeholder(format!("{MARK}{value}"))
    }
}

const NULL: &str = "null";

fn is_number(text: &str) -> bool {
    let (whole, decimals) = match text.strip_prefix('-').unwrap_or(text).split_once('.') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (text.strip_prefix('-').unwrap_or(text), None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let padded = whole.len() > 1 && whole.starts_with('0');
    match decimals {
        Some(decimals) => digits(decimals) && !padded && (whole.is_empty() || digits(whole)),
        None => digits(whole) && !padded,
    }
}

/// What stands between quotes, if all of the text does.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let alone = inner.replace("''", "").contains('\'');
    (!alone).then(|| inner.replace("''", "'"))
}

/// Puts its value into the place of every parameter of a statement, and their names, in lower case, into `used`.
///
/// `given` is `None` where a text has no parameters.
pub(super) fn substitute(
    source: &Source,
    lexemes: Vec<Lexeme>,
    given: Option<&Parameters>,
    used: &mut Vec<String>,
) -> Result<Vec<Lexeme>, Vec<Diagnostic>> {
    let mut read = Reading::default();
    let mut errors = Vec::new();
    let mut lexemes = lexemes.into_iter().peekable();
    while let Some(lexeme) = lexemes.next() {
        let name = lexemes.peek().and_then(|next| name_behind(&lexeme, next));
        let Some(name) = name.filter(|_| read.takes_parameter(&lexeme)) else {
            read.push(lexeme);
            continue;
        };
        let end = lexemes.next().unwrap_or_else(|| lexeme.clone());
        let whole = Lexeme {
            at: TokenSpan::new(lexeme.at.start, end.at.end),
            span: lexeme.span.to(end.span),
            token: Token::Colon,
        };
        // The parser would make a name of a text here.
        if read
            .lexemes
            .last()
            .is_some_and(|l| l.token == Token::Period)
        {
            read.push(whole.replaced(Token::Char(':')));
            continue;
        }
        let lower = name.to_lowercase();
        if !used.contains(&lower) {
            used.push(lower);
        }
        match given.and_then(|given| given.value(&name)) {
            Some(value) => read.push(whole.replaced(value.token())),
            None => {
                errors.push(without_value(source, &whole, &name, given));
                read.push(whole.replaced(Given::Null.token()));
            }
        }
    }
    match errors.is_empty() {
        true => Ok(read.lexemes),
        false => Err(errors),
    }
}

/// The name in `:name`.
fn name_behind(colon: &Lexeme, next: &Lexeme) -> Option<String> {
    match &next.token {
        Token::Word(word)
            if colon.token == Token::Colon
                && word.quote_style.is_none()
                && colon.span.end == next.span.start =>
        {
            Some(word.value.clone())
        }
        _ => None,
    }
}

fn without_value(
    source: &Source,
    at: &Lexeme,
    name: &str,
    given: Option<&Parameters>,
) -> Diagnostic {
    let Some(given) = given else {
        return Diagnostic::new(source, at.span, "there are no parameters here")
            .with_help("write the value");
    };
    // In the place of a secret it may be one.
    if source.excerpt(at.span).contains('*') {
        return Diagnostic::new(source, at.span, "this parameter has no value")
            .with_help("give it one by --set NAME=VALUE, or write secret('env', 'NAME')");
    }
    let message = format!("the parameter `:{name}` has no value");
    let help = match nearest(name, given.0.iter().map(|(name, _)| name.as_str())) {
        Some(near) => format!("did you mean `:{near}`, or --set {name}=…?"),
        None => format!("give it one: --set {name}=…"),
    };
    Diagnostic::new(source, at.span, message).with_help(help)
}

/// What is open around a token.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Group,
    /// `a[1:2]`, `{'a': 1}`, `STRUCT<a: INT>`: a colon behind a value has a meaning here.
    Colons,
}

/// The tokens that have been read, and what is open behind them.
#[derive(Default)]
struct Reading {
    lexemes: Vec<Lexeme>,
    open: Vec<Open>,
}

impl Reading {
    fn push(&mut self, lexeme: Lexeme) {
        let before = self.lexemes.last();
        match lexeme.token {
            Token::LParen => self.open.push(Open::Group),
            Token::LBracket if before.is_some_and(ends_value) => self.open.push(Open::Colons),
            Token::LBracket => self.open.push(Open::Group),
            Token::LBrace => self.open.push(Open::Colons),
            Token::Lt if before.is_some_and(is_nested_type) => self.open.push(Open::Colons),
            Token::RParen | Token::RBracket | Token::RBrace => _ = self.open.pop(),
            _ => {}
        }
        self.lexemes.push(lexeme);
    }

    /// Whether a name behind this colon is a parameter's.
    fn takes_parameter(&self, colon: &Lexeme) -> bool {
        let Some(before) = self.lexemes.last() else {
            return true;
        };
        let adjoins = before.span.end == colon.span.start;
        let colons = self.open.last() == Some(&Open::Colons);
        match before.token {
            Token::Colon | Token::DoubleColon => !adjoins,
            Token::LBracket => !colons,
            _ => !ends_value(before) || !(adjoins || colons),
        }
    }
}

fn is_nested_type(lexeme: &Lexeme) -> bool {
    matches!(
        lexeme.keyword(),
        Some(Keyword::STRUCT | Keyword::MAP | Keyword::ARRAY)
    )
}

/// Whether a value or a name may end with this token.
fn ends_value(lexeme: &Lexeme) -> bool {
    match &lexeme.token {
        Token::Word(_) => lexeme.keyword().is_none_or(|k| !BEFORE_VALUES.contains(&k)),
        Token::RParen | Token::RBracket | Token::RBrace => true,
        Token::Number(..) | Token::Placeholder(_) => true,
        Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::HexStringLiteral(_) => true,
        _ => false,
    }
}

/// Words behind which a value begins.
const BEFORE_VALUES: &[Keyword] = &[
    Keyword::SELECT,
    Keyword::DISTINCT,
    Keyword::WHERE,
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::ON,
    Keyword::BY,
    Keyword::HAVING,
    Keyword::QUALIFY,
    Keyword::CASE,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::BETWEEN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::IN,
    Keyword::IS,
    Keyword::FROM,
    Keyword::INTERVAL,
    Keyword::LIMIT,
    Keyword::OFFSET,
    Keyword::ARRAY,
];

/// The constant that a parameter's token stands for, if it is one and not NULL.
pub(super) fn literal(token: &Token) -> Option<Literal> {
    let value = value_of(token)?;
    Some(match value {
        NULL => return None,
        "true" => Literal::Boolean(true),
        "false" => Literal::Boolean(false),
        _ => match value.strip_prefix('\'') {
            Some(text) => Literal::String(text.to_owned()),
            None => Literal::Number(value.to_owned()),
        },
    })
}

fn value_of(token: &Token) -> Option<&str> {
    match token {
        Token::Placeholder(text) => text.strip_prefix(MARK),
        _ => None,
    }
}

/// A token as DataFusion's parser shall read it: where SQL takes a text or a number and nothing else, it takes a
/// parameter's too; no name can be made of it.
pub(super) fn parser_token(token: &Token) -> Token {
    match literal(token) {
        Some(Literal::String(text)) => Token::EscapedStringLiteral(text),
        Some(Literal::Number(digits)) if !digits.starts_with('-') => Token::Number(digits, false),
        _ => token.clone(),
    }
}

/// Puts what the parser took for parameters' tokens into the values that they stand for.
pub(super) fn put_values(statement: &mut QueryStatement) {
    _ = visit_mut(statement, &mut PutValues);
}

struct PutValues;

impl VisitorMut for PutValues {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(ValueWithSpan {
            value: Value::Placeholder(text),
            span,
        }) = expr
            && let Some(digits) = text.strip_prefix(MARK).and_then(|n| n.strip_prefix('-'))
        {
            let positive = Value::Number(digits.to_owned(), false).with_span(*span);
            let negative = Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: Box::new(Expr::Value(positive)),
            };
            *expr = Expr::Nested(Box::new(negative));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        let put = match &value.value {
            Value::EscapedStringLiteral(text) => Value::SingleQuotedString(text.clone()),
            Value::Placeholder(text) => match text.strip_prefix(MARK) {
                Some("true") => Value::Boolean(true),
                Some("false") => Value::Boolean(false),
                Some(NULL) => Value::Null,
                Some(digits) => Value::Number(digits.to_owned(), false),
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        value.value = put;
        ControlFlow::Continue(())
    }
}
