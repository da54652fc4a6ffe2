//! Text -> tokens with their bytes, statements split at `;`.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span as TokenSpan, Token, TokenWithSpan, Tokenizer, Word,
};

use super::brackets::join_brackets;
use super::diagnostic::Diagnostic;
use super::parameters::parser_token;
use super::secrets::secrets;
use super::source::{Source, Span};

/// Separates a relation's name from its clause inside a marker; no identifier of a person may hold it.
pub(super) const MARK: char = '\u{1f}';

/// A token (never white space) and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    /// The place as the parser counts it.
    pub(super) at: TokenSpan,
    /// The same place.
    pub(super) span: Span,
}

impl Lexeme {
    /// Whether this is the unquoted word `word` (upper case).
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_word(&self) -> bool {
        matches!(self.token, Token::Word(_))
    }

    /// The keyword that this is if it is not quoted.
    pub(super) fn keyword(&self) -> Option<Keyword> {
        match &self.token {
            Token::Word(w) if w.quote_style.is_none() => Some(w.keyword),
            _ => None,
        }
    }

    /// Another token in the same place.
    pub(super) fn replaced(&self, token: Token) -> Lexeme {
        Lexeme {
            token,
            at: self.at,
            span: self.span,
        }
    }

    /// The quoted identifier `value` in this place.
    pub(super) fn quoted(&self, value: String) -> Lexeme {
        self.replaced(Token::Word(Word {
            value,
            quote_style: Some('"'),
            keyword: Keyword::NoKeyword,
        }))
    }

    /// The keyword `word` in this place.
    pub(super) fn word(&self, word: &str) -> Lexeme {
        self.replaced(Token::make_keyword(word))
    }

    pub(super) fn to_parser(&self) -> TokenWithSpan {
        TokenWithSpan::new(parser_token(&self.token), self.at)
    }
}

/// The tokens of one statement, and the place just after it.
pub(super) struct StatementTokens {
    pub(super) lexemes: Vec<Lexeme>,
    pub(super) end: Span,
}

/// A file as tokens.
pub(super) struct Lexed {
    pub(super) statements: Vec<StatementTokens>,
    /// Where the text stops being SQL; the statement there is left out.
    pub(super) error: Option<Diagnostic>,
    /// Whether the text ends with `;`.
    terminated: bool,
    /// Whether the error is one that more text could mend.
    unfinished: bool,
}

/// Splits a text into statements, and notes in `source` which literals must not be shown.
pub(super) fn lex(source: &mut Source) -> Lexed {
    let mut tokens = Vec::new();
    let failure = Tokenizer::new(&GenericDialect {}, &source.text)
        .tokenize_with_location_into_buf(&mut tokens)
        .err();
    let (lexemes, conditional) = place(source, tokens);
    let lexemes = join_brackets(source, lexemes);
    let tail = failure
        .as_ref()
        .map(|e| source.locate(TokenSpan::new(e.location, e.location)).start);
    source.mask(secrets(&source.text, &lexemes, tail));
    let unfinished = failure.as_ref().is_some_and(|e| is_unfinished(&e.message));
    let error = conditional.map(|span| {
        Diagnostic::new(
            source,
            span,
            "`/*! … */` is not a comment here but MySQL's conditional SQL",
        )
        .with_help("begin the comment with `/*` and a space")
    });
    let error = error.or_else(|| failure.map(|e| lexical_error(source, &e.message, e.location)));
    let terminated = lexemes
        .last()
        .is_some_and(|last| last.token == Token::SemiColon);
    let statements = split(source, lexemes, error.is_some());
    Lexed {
        statements,
        error,
        terminated,
        unfinished,
    }
}

/// Whether `text` is a whole number of statements: it ends with a `;` that stands outside strings, quoted
/// names and comments. A text that can never be read is complete too, so that its error is shown.
pub fn is_complete(text: &str) -> bool {
    let mut source = Source::new(&super::SourceText {
        name: String::new(),
        text: text.to_owned(),
    });
    let lexed = lex(&mut source);
    match lexed.error {
        None => lexed.terminated,
        Some(_) => !lexed.unfinished && text.trim_end().ends_with(';'),
    }
}

/// Gives every token its bytes and drops white space. Tokens always adjoin, except those that the tokenizer
/// reads out of a `/*! … */` comment: the place of the first such comment is returned, and reading stops there.
fn place(source: &Source, tokens: Vec<TokenWithSpan>) -> (Vec<Lexeme>, Option<Span>) {
    let mut lexemes = Vec::with_capacity(tokens.len());
    let mut chars = source.text.char_indices().peekable();
    let (mut at, mut byte) = (Location::new(1, 1), 0);
    for token in tokens {
        let (start, begun) = (byte, at);
        while at < token.span.end {
            let Some((_, c)) = chars.next() else { break };
            at = if c == '\n' {
                Location::new(at.line + 1, 1)
            } else {
                Location::new(at.line, at.column + 1)
            };
            byte = chars.peek().map_or(source.text.len(), |(next, _)| *next);
        }
        let rest = source.text.get(start..).unwrap_or_default();
        if token.span.start != begun || rest.starts_with("/*!") {
            return (lexemes, Some(source.span(start, start + rest.len().min(3))));
        }
        if !matches!(token.token, Token::Whitespace(_)) {
            let span = Span {
                start,
                end: byte,
                line: to_usize(begun.line),
                column: to_usize(begun.column),
            };
            lexemes.push(Lexeme {
                token: token.token,
                at: token.span,
                span,
            });
        }
    }
    (lexemes, None)
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Statements between `;`. The last one is left out where the text breaks off in it.
fn split(source: &Source, lexemes: Vec<Lexeme>, broken: bool) -> Vec<StatementTokens> {
    let mut statements = Vec::new();
    let mut current = Vec::new();
    for lexeme in lexemes {
        if lexeme.token != Token::SemiColon {
            current.push(lexeme);
        } else if !current.is_empty() {
            statements.push(StatementTokens {
                lexemes: std::mem::take(&mut current),
                end: lexeme.span,
            });
        }
    }
    if let (Some(last), false) = (current.last(), broken) {
        let end = source.span(last.span.end, last.span.end);
        statements.push(StatementTokens {
            lexemes: current,
            end,
        });
    }
    statements
}

fn is_unfinished(message: &str) -> bool {
    message.contains("nterminated") || message.contains("EOF")
}

fn lexical_error(source: &Source, message: &str, location: Location) -> Diagnostic {
    let start = source.locate(TokenSpan::new(location, location)).start;
    let width = source
        .text
        .get(start..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let span = source.span(start, start + width);
    if message.contains("comment") {
        return Diagnostic::new(source, span, "the file ends inside a `/*` comment")
            .with_help("close the comment with `*/`");
    }
    if is_unfinished(message) {
        return Diagnostic::new(source, span, "this quote is never closed")
            .with_help("close it with the same quote; a quote inside the text is written twice");
    }
    Diagnostic::new(source, span, message.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::SourceText;

    fn lexed(text: &str) -> (Source, Lexed) {
        let mut source = Source::new(&SourceText {
            name: "f.sql".to_owned(),
            text: text.to_owned(),
        });
        let lexed = lex(&mut source);
        (source, lexed)
    }

    #[test]
    fn statements_end_at_semicolons_outside_strings_names_and_comments() {
        let text = "SELECT ';', \";\", `;`, $$;$$ /* ; /* ; */ ; */ -- ;\n;; SELECT 2";
        let (source, lexed) = lexed(text);
        assert!(lexed.error.is_none());
        assert_eq!(lexed.statements.len(), 2);
        let first = &lexed.statements[0].lexemes;
        let last = first[first.len() - 1].span;
        assert_eq!(source.shown(last), "$$;$$");
    }

    #[test]
    fn text_is_complete_at_a_closing_semicolon() {
        for text in [
            "SELECT 1;",
            "SELECT 1; -- done\n",
            "SELECT '; ';",
            ";",
            "SELECT [a;b] FROM [t;u];",
            "a._ ;",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "",
            "SELECT 1",
            "SELECT ';",
            "SELECT \";",
            "/* ;",
            "/* /* */ ;",
            "SELECT $$;",
            "SELECT 1; x",
            "SELECT `a;",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[test]
    fn names_of_sql_server_and_of_the_world_are_words() {
        let (_, lexed) = lexed("__$start_lsn Größe 名前 #temp");
        assert!(lexed.error.is_none());
        assert_eq!(lexed.statements[0].lexemes.len(), 4);
        assert!(lexed.statements[0].lexemes.iter().all(Lexeme::is_word));
    }

    #[test]
    fn an_open_quote_is_shown_where_it_opens() {
        let (_, lexed) = lexed("SELECT 1;\nSELECT 'abc;\n");
        let error = lexed.error.unwrap();
        assert_eq!((error.span().line, error.span().column), (2, 8));
        assert_eq!(lexed.statements.len(), 1);
    }

    #[test]
    fn conditional_comments_are_refused() {
        let (_, lexed) = lexed("SELECT 1 /*!50110 + 1 */;");
        assert!(lexed.error.unwrap().message().contains("conditional"));
        let (_, lexed) = super::tests::lexed("SELECT /*!*/ 1");
        assert!(lexed.error.is_some());
    }
}
