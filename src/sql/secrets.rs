//! What of a text must never be shown: passwords, and passwords inside URLs.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::lexer::Lexeme;
use crate::nearest::nearest;

/// The places of secrets in a text. Where the text could not be read to its end, `tail` is where that begins.
pub(super) fn secrets(text: &str, lexemes: &[Lexeme], tail: Option<usize>) -> Vec<Range<usize>> {
    let mut masked = Vec::new();
    // Inside the value of a secret option: how many parentheses are open in it.
    let mut depth: Option<usize> = None;
    let mut words = 0;
    let mut connection = false;
    for lexeme in lexemes {
        words = if lexeme.token == Token::SemiColon {
            0
        } else {
            words + 1
        };
        if words <= 2 {
            connection = words == 2 && nearest(word(&lexeme.token), ["CONNECTION"]).is_some();
        }
        match (&lexeme.token, &mut depth) {
            (Token::LParen, Some(depth)) => *depth += 1,
            (Token::RParen, Some(inner)) if *inner > 0 => *inner -= 1,
            (Token::RParen | Token::SemiColon, Some(_)) | (Token::Comma, Some(0)) => depth = None,
            (token, None) if is_secret_option(word(token)) => depth = Some(0),
            (token, Some(_)) if hides(token, connection) => {
                masked.push(lexeme.span.start..lexeme.span.end)
            }
            (Token::SingleQuotedString(_) | Token::NationalStringLiteral(_), None) => {
                masked.extend(url_password(text, lexeme.span.start..lexeme.span.end));
            }
            _ => {}
        }
    }
    if let Some(tail) = tail {
        let rest = text.get(tail..).unwrap_or_default();
        if depth.is_some() || (rest.contains("://") && rest.contains('@')) {
            masked.push(tail..text.len());
        }
    }
    masked
}

/// A token that may name an option.
fn word(token: &Token) -> &str {
    match token {
        Token::Word(word) => &word.value,
        Token::SingleQuotedString(text) => text,
        _ => "",
    }
}

/// The secret options of connections and stores, those of stores without the prefix of their kind.
const SECRET_OPTIONS: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "secret_access_key",
    "secret_key",
    "session_token",
    "access_key",
    "account_key",
    "storage_account_key",
    "storage_access_key",
    "master_key",
    "client_secret",
    "sas_key",
    "sas_token",
    "bearer_token",
    "authorization_token",
    "storage_sas_key",
    "storage_sas_token",
    "storage_client_secret",
    "service_account_key",
    "sse_customer_key_base64",
];

/// A secret option, and what a person may have meant by `password`.
fn is_secret_option(name: &str) -> bool {
    let name = name.to_lowercase();
    let prefixes = ["aws_", "azure_", "google_"];
    let prefix = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    SECRET_OPTIONS.contains(&prefix.unwrap_or(&name)) || nearest(&name, ["password"]).is_some()
}

/// Whether a token in the place of a secret may be one. A bare word is, in CREATE CONNECTION alone: elsewhere
/// `password` may be a column.
fn hides(token: &Token, connection: bool) -> bool {
    match token {
        Token::Comma | Token::Eq | Token::Period => false,
        Token::Word(word) => {
            let call = ["env", "secret"].contains(&word.value.to_lowercase().as_str());
            (connection || word.quote_style.is_some()) && !call
        }
        _ => true,
    }
}

/// The password in a `scheme://user:password@host` literal.
fn url_password(text: &str, literal: Range<usize>) -> Option<Range<usize>> {
    let url = text.get(literal.clone())?;
    let user = url.find("://")? + 3;
    let end = url.rfind('@').filter(|at| *at > user)?;
    let start = user + url.get(user..end)?.find(':')? + 1;
    Some(literal.start + start..literal.start + end)
}

#[cfg(test)]
mod tests {
    use crate::sql::SourceText;
    use crate::sql::lexer::{Lexed, lex};
    use crate::sql::source::Source;

    fn lexed(text: &str) -> (Source, Lexed) {
        let mut source = Source::new(&SourceText {
            name: "f.sql".to_owned(),
            text: text.to_owned(),
        });
        let lexed = lex(&mut source);
        (source, lexed)
    }

    #[test]
    fn passwords_are_masked() {
        let (source, _) = lexed(
            "OPTIONS (password 'one', url 'sqlserver://sa:two@h/db', password env('PW', 'three'), host 'h') x 'y'",
        );
        let all = source.shown(source.span(0, source.text.len()));
        assert!(
            !["one", "two", "three", "PW"]
                .iter()
                .any(|secret| all.contains(secret)),
            "{all}"
        );
        assert!(
            all.contains("'h'") && all.contains("'y'") && all.contains("sqlserver://sa:***@h/db"),
            "{all}"
        );
        let (source, lexed) = lexed("OPTIONS (password 'open");
        assert!(!lexed.error.unwrap().to_string().contains("open"));
        assert!(!source.shown(source.span(0, 99)).contains("open"));
    }
}
