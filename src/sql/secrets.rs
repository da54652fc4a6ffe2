//! What of a text must never be shown: passwords and tokens, also inside URLs.

mod url;

use std::cmp::Ordering;
use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use self::url::secrets_in;
use super::lexer::{Lexeme, lex};
use super::source::{Source, SourceText};
use crate::nearest::nearest;

/// Whether `text` has a secret in it, or a word in which `password` is one, or one that may be OPTIONS misspelt: what
/// stands behind it is not known to be harmless then.
pub fn may_hold_secret(text: &str) -> bool {
    let mut source = Source::new(&SourceText {
        name: String::new(),
        text: text.to_owned(),
    });
    let lexed = lex(&mut source);
    let lower = text.to_lowercase();
    let is_near_options = |word: &str| strsim::osa_distance(word, "options") == 1;
    source.hides_any()
        || lexed.error.is_some()
        || ["password", "passwd", "pwd"]
            .iter()
            .any(|word| lower.contains(word))
        || lower
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(is_near_options)
}

/// The places of secrets in a text. Where the text could not be read to its end, `tail` is where that begins.
pub(super) fn secrets(text: &str, lexemes: &[Lexeme], tail: Option<usize>) -> Vec<Range<usize>> {
    let mut masked = Vec::new();
    let mut list = OptionList::default();
    // Inside the value of a secret option: how many parentheses are open in it.
    let mut depth: Option<usize> = None;
    for lexeme in lexemes {
        let place = lexeme.span.start..lexeme.span.end;
        masked.extend(secrets_at(text, without_quote(text, place.clone())));
        if let Some(hidden) = list.next(&lexeme.token) {
            if hidden && hides(&lexeme.token, true) {
                masked.push(place);
            }
            continue;
        }
        match (&lexeme.token, &mut depth) {
            (Token::LParen, Some(depth)) => *depth += 1,
            (Token::RParen, Some(inner)) if *inner > 0 => *inner -= 1,
            (Token::RParen | Token::SemiColon, Some(_)) | (Token::Comma, Some(0)) => depth = None,
            (token, None) if is_secret_option(word(token)) => depth = Some(0),
            (token, Some(_)) if hides(token, false) => masked.push(place),
            _ => {}
        }
    }
    masked.extend(bare_urls(text, lexemes));
    if let Some(tail) = tail {
        let rest = text.get(tail..).unwrap_or_default();
        let in_value = depth.is_some() || list.is_open();
        if in_value || !secrets_in(rest).is_empty() {
            masked.push(tail..text.len());
        }
    }
    masked
}

/// The secrets in a part of the text.
fn secrets_at(text: &str, place: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let found = secrets_in(text.get(place.clone()).unwrap_or_default());
    let from = place.start;
    found
        .into_iter()
        .map(move |secret| from + secret.start..from + secret.end)
}

/// The place of a token without the quote that closes it, which is no part of its last secret.
fn without_quote(text: &str, place: Range<usize>) -> Range<usize> {
    let quotes = ['\'', '"', '`', ']'];
    let is_quoted = text
        .get(place.clone())
        .is_some_and(|token| token.ends_with(quotes));
    place.start..place.end - usize::from(is_quoted)
}

/// Beginnings of URLs in one word that are looked at, each to the word's end; from the last one on all of it is hidden.
const MOST_URLS: usize = 100;

/// The secrets in URLs that no token holds: those that lack quotes, and those in comments.
fn bare_urls(text: &str, lexemes: &[Lexeme]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut end, mut urls) = (0, 0);
    for (at, mark) in text.match_indices("://") {
        let next = lexemes.partition_point(|lexeme| lexeme.span.end < at + mark.len());
        if lexemes
            .get(next)
            .is_some_and(|lexeme| lexeme.span.start <= at)
        {
            continue;
        }
        if at >= end {
            let rest = text.get(at..).unwrap_or_default();
            (end, urls) = (at + rest.find(char::is_whitespace).unwrap_or(rest.len()), 0);
        }
        urls += 1;
        match urls.cmp(&MOST_URLS) {
            Ordering::Less => found.extend(secrets_at(text, at..end)),
            Ordering::Equal => found.push(at..end),
            Ordering::Greater => {}
        }
    }
    found
}

/// The options of which everyone may see the values; any other may be a secret, a misspelt one too.
const SHOWN_OPTIONS: &[&str] = &[
    "url",
    "host",
    "port",
    "instance",
    "database",
    "user",
    "integrated_security",
    "encrypt",
    "trust_server_certificate",
    "ca_file",
    "application_intent",
    "multi_subnet_failover",
    "application_name",
    "time_zone",
    "connect_timeout",
    "command_timeout",
    "region",
    "endpoint",
    "endpoint_url",
    "base_url",
    "allow_http",
    "timeout",
    "max_retries",
    "retry_timeout",
    "virtual_hosted_style_request",
    "skip_signature",
    "account_name",
    "use_emulator",
];

/// The list behind the word OPTIONS, as far as it has been read.
#[derive(Default)]
struct OptionList {
    /// Whether the last token was that word.
    is_announced: bool,
    /// How many parentheses are open within the list; `None` outside.
    depth: Option<usize>,
    /// Whether the value of the option at hand is hidden; `None` before its name.
    hidden: Option<bool>,
}

impl OptionList {
    /// Takes the next token; answers whether it is to be hidden, if it is part of an option's value.
    fn next(&mut self, token: &Token) -> Option<bool> {
        let is_announced = std::mem::take(&mut self.is_announced);
        let Some(depth) = &mut self.depth else {
            self.is_announced = word(token).eq_ignore_ascii_case("options");
            if is_announced && *token == Token::LParen {
                (self.depth, self.hidden) = (Some(0), None);
            }
            return None;
        };
        match token {
            Token::SemiColon => self.depth = None,
            Token::RParen if *depth == 0 => self.depth = None,
            Token::RParen => *depth -= 1,
            Token::LParen => *depth += 1,
            Token::Comma if *depth == 0 => self.hidden = None,
            token => match self.hidden {
                Some(hidden) => return Some(hidden),
                None => self.hidden = Some(!is_shown(word(token))),
            },
        }
        // Nothing of the list is anything else.
        Some(false)
    }

    fn is_open(&self) -> bool {
        self.depth.is_some()
    }
}

fn is_shown(option: &str) -> bool {
    let option = option.to_lowercase();
    let prefixes = ["aws_", "azure_storage_", "azure_", "google_"];
    let plain = prefixes
        .iter()
        .find_map(|prefix| option.strip_prefix(prefix));
    SHOWN_OPTIONS.contains(&plain.unwrap_or(&option))
}

/// A token that may name an option.
fn word(token: &Token) -> &str {
    match token {
        Token::Word(word) => &word.value,
        Token::SingleQuotedString(text) => text,
        _ => "",
    }
}

/// `password`, and what a person may have meant by it.
fn is_secret_option(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "passwd", "pwd", "secret", "token"].contains(&name.as_str())
        || nearest(&name, ["password"]).is_some()
}

/// Whether a token in the place of a secret may be one. A bare word is, in a list of options alone: elsewhere `password`
/// may be a column.
fn hides(token: &Token, in_list: bool) -> bool {
    match token {
        Token::Comma | Token::Eq | Token::Period => false,
        Token::Word(word) => {
            let call = ["env", "secret"].contains(&word.value.to_lowercase().as_str());
            (in_list || word.quote_style.is_some()) && !call
        }
        _ => true,
    }
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
        let (source, _) = lexed(
            "CREATE TABLE t USING DELTA LOCATION 's3://b/t' OPTIONS (region 'eu', secret_acces_key 'one', \
             azure_storage_token = 'two', fabric_session_token secret('env', 'three'), AWS_ENDPOINT 'http://e', k four) \
             COMMENT 'five'",
        );
        let all = source.shown(source.span(0, source.text.len()));
        for secret in ["one", "two", "three", "four"] {
            assert!(!all.contains(secret), "{all}");
        }
        for plain in ["'eu'", "'http://e'", "'five'", "'s3://b/t'"] {
            assert!(all.contains(plain), "{all}");
        }
        let (source, lexed) = lexed("OPTIONS (password 'open");
        assert!(!lexed.error.unwrap().to_string().contains("open"));
        assert!(!source.shown(source.span(0, 99)).contains("open"));
    }

    #[test]
    fn secrets_in_urls_are_masked_wherever_the_url_stands() {
        for before in [
            "CREATE CONNECTION c TYPE sqlserver OPTIONS (url ",
            "CREATE CONNECTION c TYPE sqlserver OPTIONS (host ",
            "SELECT ",
            "CREATE TABLE t USING DELTA LOCATION ",
        ] {
            for url in [
                "'sqlserver://h/db?password=hush1'",
                "N'sqlserver://h/db?encrypt=off&access_token=hush1&x=hush2'",
                "'sqlserver://u:hush1?x@hush2@h/db'",
                "'sqlserver://h/db;Password=hush1;'",
                "'Server=h;Database=d;Password=hush1;hush2'",
                "\"sqlserver://h/db?password=hush1\"",
                "[sqlserver://u:hush1@h/db]",
                "`sqlserver://u:hush1@h/db`",
                "sqlserver://u:hush1@h/db?password=hush2",
                "$$sqlserver://u:hush1@h/db$$",
                "env('URL', 'sqlserver://u:hush1@h/db?password=hush2')",
                "'x' /* 'sqlserver://u:hush1@h/db' */",
                "'x' -- sqlserver://h/db?password=hush1",
                "'x', x 'sqlserver://h/db?password=hush1",
            ] {
                let (source, _) = lexed(&format!("{before}{url}"));
                let shown = source.shown(source.span(0, source.text.len()));
                assert!(!shown.contains("hush"), "{shown}");
                assert!(shown.starts_with(before), "{shown}");
            }
        }
    }
}
