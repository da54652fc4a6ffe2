//! A statement's text in the form that the SQL parser gets: names in lower case, since T-SQL compares
//! them without case; hints left out.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::lexer::{Kind, Token};
use crate::simulator::protocol::ServerError;

/// The spelling of names in a statement, by their lower-case forms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelling {
    names: HashMap<String, String>,
    aliases: HashMap<String, String>,
    /// Every spelling of what may name a table or a column.
    every: HashMap<String, Vec<String>>,
}

impl Spelling {
    fn note(&mut self, name: &str, alias: bool, called: bool) {
        let lower = name.to_lowercase();
        let every = self.every.entry(lower.clone()).or_default();
        if !called && !every.iter().any(|known| known == name) {
            every.push(name.to_owned());
        }
        if alias {
            self.aliases.insert(lower.clone(), name.to_owned());
        }
        self.names.entry(lower).or_insert_with(|| name.to_owned());
    }

    /// The alias as the statement spells it, if it has such an alias after AS.
    pub(crate) fn alias(&self, lower: &str) -> Option<&str> {
        self.aliases.get(lower).map(String::as_str)
    }

    /// Checks, for names that tell cases apart, that the statement spells each as it was declared: 207 if one is
    /// another name.
    pub(crate) fn is_exact(&self, declared: &[String]) -> Result<(), ServerError> {
        for name in declared {
            let lower = name.to_lowercase();
            let alias = self.aliases.get(&lower);
            let every = self.every.get(&lower).map_or(&[][..], Vec::as_slice);
            let mut others = every.iter().filter(|spelled| *spelled != name);
            if let Some(other) = others.find(|spelled| alias != Some(spelled)) {
                return Err(if declared.contains(other) {
                    let both = format!("both {name} and {other} in one statement");
                    ServerError::unsupported(both)
                } else {
                    ServerError::invalid_column(other)
                });
            }
        }
        Ok(())
    }

    /// The name as the statement spells it.
    pub(crate) fn of(&self, lower: &str) -> String {
        self.names
            .get(lower)
            .cloned()
            .unwrap_or_else(|| lower.to_owned())
    }

    /// Every part of a dotted name as the statement spells it.
    pub(crate) fn of_dotted(&self, lower: &str) -> String {
        lower
            .split('.')
            .map(|part| self.of(part.trim_matches('"')))
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// Hints that may stand in WITH ( … ).
const HINTS: &[&str] = &[
    "NOLOCK",
    "READUNCOMMITTED",
    "READCOMMITTED",
    "READCOMMITTEDLOCK",
    "REPEATABLEREAD",
    "SERIALIZABLE",
    "HOLDLOCK",
    "ROWLOCK",
    "PAGLOCK",
    "TABLOCK",
    "TABLOCKX",
    "UPDLOCK",
    "XLOCK",
    "READPAST",
    "NOWAIT",
    "SNAPSHOT",
    "INDEX",
    "FORCESEEK",
    "FORCESCAN",
    "NOEXPAND",
    "KEEPIDENTITY",
    "KEEPDEFAULTS",
    "IGNORE_CONSTRAINTS",
    "IGNORE_TRIGGERS",
];

/// Whether a word is the name of a hint of a table.
pub(crate) fn is_table_hint(word: &str) -> bool {
    HINTS.iter().any(|hint| hint.eq_ignore_ascii_case(word))
}

/// The hints of a statement's tables, in upper case: in `WITH (…)` or in parentheses after a table's name.
///
/// # Errors
///
/// 321 for a hint that there is not; 40510 for one that the simulator cannot follow.
pub(crate) fn table_hints(tokens: &[Token]) -> Result<Vec<String>, ServerError> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let opens = tokens.get(at + 1).is_some_and(|next| next.symbol("("));
        let after = tokens.get(at + 2).zip(tokens.get(at + 3));
        let alone = after.is_some_and(|(hint, end)| {
            hint.is_any(HINTS) && (end.symbol(")") || end.symbol(",") || end.symbol("("))
        });
        let with = token.is("WITH");
        if !opens || !with && (token.name().is_none() || !alone || token.is_any(HINTS)) {
            continue;
        }
        let mut depth = 0_usize;
        for (offset, hint) in tokens[at + 1..].iter().enumerate() {
            let value = tokens[at + offset].symbol("=");
            match &hint.kind {
                Kind::Symbol("(") => depth += 1,
                Kind::Symbol(")") if depth == 1 => break,
                Kind::Symbol(")") => depth -= 1,
                Kind::Word(word) if depth == 1 && !value => {
                    found.push(known_hint(word, hint.line)?)
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

fn known_hint(word: &str, line: u32) -> Result<String, ServerError> {
    let word = word.to_ascii_uppercase();
    if !HINTS.contains(&word.as_str()) {
        return Err(ServerError::new(
            321,
            format!(
                "\"{word}\" is not a recognized table hints option. If it is intended as a parameter to a table-valued function or to the CHANGETABLE function, ensure that your database compatibility mode is set to 90."
            ),
        )
        .at_line(line));
    }
    if word == "SNAPSHOT" {
        return Err(ServerError::unsupported("the hint SNAPSHOT").at_line(line));
    }
    Ok(word)
}

/// The text of a statement, on as many lines as before, and its spelling of names.
pub(crate) fn normal(tokens: &[Token]) -> (String, Spelling) {
    let mut text = String::new();
    let mut spelling = Spelling::default();
    let mut line = tokens.first().map_or(1, |token| token.line);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(after) = hint_end(tokens, at) {
            at = after;
            continue;
        }
        while line < token.line {
            text.push('\n');
            line += 1;
        }
        text.push(' ');
        if let Some(name) = token.name() {
            let called = tokens.get(at + 1).is_some_and(|next| next.symbol("("));
            spelling.note(name, at > 0 && tokens[at - 1].is("AS"), called);
        }
        write_token(&mut text, token);
        if lacks_from(tokens, at) {
            text.push_str(" from");
        }
        at += 1;
    }
    (text, spelling)
}

/// Whether a DELETE at `at` goes without FROM: `DELETE t WHERE …`, but not `DELETE t FROM …`, where `t` may
/// be an alias.
fn lacks_from(tokens: &[Token], at: usize) -> bool {
    if !tokens[at].is("DELETE") {
        return false;
    }
    let mut rest = tokens[at + 1..].iter();
    match rest.next() {
        Some(next) if next.name().is_some() && !next.is_any(&["FROM", "TOP", "OUTPUT"]) => {}
        _ => return false,
    }
    !rest
        .find(|token| token.name().is_none() && !token.symbol(".") || token.is_any(AFTER_TARGET))
        .is_some_and(|token| token.is("FROM"))
}

/// What can stand after a DELETE's table.
const AFTER_TARGET: &[&str] = &["FROM", "WHERE", "WITH", "OUTPUT", "OPTION"];

/// The position after a hint that begins at `at`.
fn hint_end(tokens: &[Token], at: usize) -> Option<usize> {
    let open = tokens.get(at + 1).filter(|token| token.symbol("("))?;
    let inner = tokens.get(at + 2);
    let query_hint = tokens[at].is("OPTION");
    let table_hint = tokens[at].is("WITH") && inner.is_some_and(|token| token.is_any(HINTS));
    if !query_hint && !table_hint {
        return None;
    }
    debug_assert!(open.symbol("("));
    let mut depth = 0_usize;
    for (offset, token) in tokens[at + 1..].iter().enumerate() {
        if token.symbol("(") {
            depth += 1;
        } else if token.symbol(")") {
            depth -= 1;
            if depth == 0 {
                return Some(at + offset + 2);
            }
        }
    }
    None
}

fn write_token(text: &mut String, token: &Token) {
    // Writing into a String cannot fail.
    let _ = match &token.kind {
        Kind::Word(word) => write!(text, "{}", word.to_lowercase()),
        Kind::Quoted(name) | Kind::Variable(name) => {
            write!(text, "\"{}\"", name.to_lowercase().replace('"', "\"\""))
        }
        Kind::Text(content) => write!(text, "'{}'", content.replace('\'', "''")),
        Kind::National(content) => write!(text, "N'{}'", content.replace('\'', "''")),
        Kind::Number(number) if number.ends_with('.') => write!(text, "{number}0"),
        Kind::Number(number) => write!(text, "{number}"),
        Kind::Hex(digits) => {
            let pad = if digits.len() % 2 == 1 { "0" } else { "" };
            write!(text, "x'{pad}{digits}'")
        }
        Kind::Symbol(symbol) => write!(text, "{symbol}"),
    };
}

/// Tokens as T-SQL again, in the form in which the catalogue shows expressions: functions in lower case, and
/// blanks only where two words meet.
pub(crate) fn source(tokens: &[Token]) -> String {
    let mut text = String::new();
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        match &token.kind {
            Kind::Word(word) if next.is_some_and(|next| next.symbol("(")) => {
                text.push_str(&word.to_lowercase());
            }
            Kind::Word(word) | Kind::Variable(word) | Kind::Number(word) => text.push_str(word),
            Kind::Quoted(name) => {
                text.push('[');
                text.push_str(&name.replace(']', "]]"));
                text.push(']');
            }
            Kind::Text(content) | Kind::National(content) => {
                if matches!(token.kind, Kind::National(_)) {
                    text.push('N');
                }
                text.push_str(&format!("'{}'", content.replace('\'', "''")));
            }
            Kind::Hex(digits) => {
                text.push_str("0x");
                text.push_str(digits);
            }
            Kind::Symbol(symbol) => text.push_str(symbol),
        }
        let is_word = |token: &Token| !matches!(token.kind, Kind::Symbol(_));
        if is_word(token) && next.is_some_and(is_word) {
            text.push(' ');
        }
    }
    text
}

/// A statement's tokens as one line: what the history's hash is made of, so that blanks and comments
/// do not count.
pub(crate) fn canonical(source: &str, tokens: &[Token]) -> String {
    tokens
        .iter()
        .filter_map(|token| source.get(token.start..token.end))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    #[test]
    fn hints_go_and_names_fold() {
        let tokens = tokens(
            "SELECT [First Name] AS Given, 0xF, N'It''s'\nFROM Dbo.T WITH (NOLOCK) WHERE a = @P1 OPTION (MAXDOP 1)",
        )
        .unwrap();
        let (text, spelling) = normal(&tokens);
        assert_eq!(
            text,
            " select \"first name\" as given , x'0F' , N'It''s'\n from dbo . t where a = \"@p1\""
        );
        assert_eq!(spelling.alias("given"), Some("Given"));
        assert_eq!(spelling.of_dotted("dbo.t"), "Dbo.T");
    }

    #[test]
    fn expressions_are_shown_without_needless_blanks() {
        for (written, shown) in [
            ("( GETDATE ( ) )", "(getdate())"),
            ("N'it''s' + 'x'", "N'it''s'+'x'"),
            (
                "CASE WHEN 1 = 1 THEN 0xFF END",
                "CASE WHEN 1=1 THEN 0xFF END",
            ),
            ("- 1", "-1"),
        ] {
            assert_eq!(source(&tokens(written).unwrap()), shown);
        }
    }
}
