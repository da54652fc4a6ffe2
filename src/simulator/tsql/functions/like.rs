//! LIKE.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};

use super::Function;
use super::letters::{Alphabet, Letter};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::types::{Typed, to_form};

/// `__like(text, pattern [, escape])`.
pub(crate) const LIKE: &str = "__like";

pub(super) fn function(name: &str) -> Option<Function> {
    (name == LIKE).then(|| {
        let body = |arrays: &[ArrayRef], types: &[Typed], _: Typed| like_arrays(arrays, types);
        Function::typed(LIKE, (2, 3), |_, _| Ok(SqlType::Bit), body).meeting()
    })
}

fn like_arrays(arrays: &[ArrayRef], types: &[Typed]) -> Result<ArrayRef, ServerError> {
    let wide = SqlType::NVarChar(Length::Max);
    let texts = arrays
        .iter()
        .map(|array| to_form(array, wide))
        .collect::<Result<Vec<_>, _>>()?;
    let mut alphabet = Alphabet::of(types);
    let escape = texts
        .get(2)
        .and_then(|array| array.as_string::<i32>().iter().next().flatten());
    let escape = escape.map(escape_character).transpose()?;
    // Blanks at the end of a text count only if the text or the pattern is one of code units.
    let trims = !types.iter().any(|of| of.sql_type.is_wide());
    let matches = texts[0]
        .as_string::<i32>()
        .iter()
        .zip(texts[1].as_string::<i32>())
        .map(|(text, pattern)| {
            let (Some(text), Some(pattern)) = (text, pattern) else {
                return Ok(None);
            };
            let parts = parts(pattern, escape, &mut alphabet)?;
            let text = alphabet.letters(text)?;
            Ok(Some(like(&text, &parts, trims)))
        })
        .collect::<Result<BooleanArray, ServerError>>()?;
    Ok(Arc::new(matches))
}

/// The character of ESCAPE; error 506 for more than one, or none.
fn escape_character(text: &str) -> Result<char, ServerError> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(ServerError::new(
            506,
            format!("The invalid escape character \"{text}\" was specified in a LIKE predicate."),
        )),
    }
}

/// A part of a LIKE pattern.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Is(Letter),
    Set(Vec<(Letter, Letter)>, bool),
}

fn parts(
    pattern: &str,
    escape: Option<char>,
    alphabet: &mut Alphabet,
) -> Result<Vec<Part>, ServerError> {
    let pattern = alphabet.characters(pattern);
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        if Some(c) == escape {
            if let Some(c) = pattern.get(at) {
                parts.push(Part::Is(alphabet.letter(*c)?));
            }
            at += 1;
            continue;
        }
        let end = || pattern[at..].iter().position(|c| *c == ']');
        match (c, end()) {
            ('%', _) => parts.push(Part::Any),
            ('_', _) => parts.push(Part::One),
            ('[', Some(length)) => {
                parts.push(set(&pattern[at..at + length], alphabet)?);
                at += length + 1;
            }
            _ => parts.push(Part::Is(alphabet.letter(c)?)),
        }
    }
    Ok(parts)
}

fn set(content: &[char], alphabet: &mut Alphabet) -> Result<Part, ServerError> {
    let (negated, content) = match content {
        ['^', rest @ ..] => (true, rest),
        _ => (false, content),
    };
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&first) = content.get(at) {
        let (last, length) = match (content.get(at + 1), content.get(at + 2)) {
            (Some('-'), Some(&last)) => (last, 3),
            _ => (first, 1),
        };
        ranges.push((alphabet.letter(first)?, alphabet.letter(last)?));
        at += length;
    }
    Ok(Part::Set(ranges, negated))
}

/// Whether a name is LIKE a pattern, without ESCAPE, in the server's collation.
pub(crate) fn like_text(text: &str, pattern: &str) -> bool {
    let mut alphabet = Alphabet::of_names();
    let parts = parts(pattern, None, &mut alphabet);
    parts
        .and_then(|parts| Ok(like(&alphabet.letters(text)?, &parts, true)))
        .unwrap_or(false)
}

/// Matches with one point to return to: the last `%`, as is enough for this grammar.
fn like(text: &[Letter], parts: &[Part], trims: bool) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < parts.len() {
        match (parts.get(p), text.get(t)) {
            (Some(Part::Any), _) => {
                retry = Some((t, p));
                p += 1;
                continue;
            }
            (Some(part), Some(letter)) if holds(part, letter) => {
                t += 1;
                p += 1;
                continue;
            }
            (None, Some(_)) if trims && text[t..].iter().all(Letter::is_blank) => return true,
            _ => {}
        }
        match retry {
            Some((start, any)) if start < text.len() => {
                retry = Some((start + 1, any));
                t = start + 1;
                p = any + 1;
            }
            _ => return false,
        }
    }
    true
}

fn holds(part: &Part, letter: &Letter) -> bool {
    match part {
        Part::Any => false,
        Part::One => true,
        Part::Is(expected) => expected == letter,
        Part::Set(ranges, negated) => {
            let within = |(first, last): &(Letter, Letter)| first <= letter && letter <= last;
            ranges.iter().any(within) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::Collation;

    fn matches_in(collation: &str, text: &str, pattern: &str) -> bool {
        let of = SqlType::NVarChar(Length::Max);
        let collation = Collation::named(collation).unwrap();
        let mut alphabet = Alphabet::of(&[Typed::new(of, collation)]);
        let parts = parts(pattern, Some('\\'), &mut alphabet).unwrap();
        like(&alphabet.letters(text).unwrap(), &parts, true)
    }

    fn matches(text: &str, pattern: &str) -> bool {
        matches_in("SQL_Latin1_General_CP1_CI_AS", text, pattern)
    }

    #[test]
    fn like_has_wildcards_sets_and_escapes() {
        assert!(matches("dbo_customers_CT", "%[_]ct"));
        assert!(!matches("dbo_customersxCT", "%[_]CT"));
        assert!(matches("Bruce", "b_u%"));
        assert!(matches("abc", "[a-c]%[^d]"));
        assert!(matches("50%", "50\\%"));
        assert!(!matches("505", "50\\%"));
        assert!(matches("x  ", "x"));
        assert!(matches("", "%"));
        assert!(!matches(
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "%a%a%a%a%a%a%a%a%b"
        ));
    }

    #[test]
    fn like_follows_the_collation() {
        assert!(matches("É", "[d-f]"));
        for exact in ["Latin1_General_CS_AS", "Latin1_General_BIN2"] {
            assert!(!matches_in(exact, "abc", "A%"), "{exact}");
            assert!(matches_in(exact, "abc", "a%"), "{exact}");
        }
        assert!(matches_in("Latin1_General_CS_AS", "B", "[a-c]"));
        assert!(!matches_in("Latin1_General_BIN2", "B", "[a-c]"));
        assert!(matches_in("Latin1_General_CI_AI", "É", "e"));
        assert!(!matches("😀", "_"));
        assert!(matches_in("Latin1_General_100_CI_AS_SC", "😀", "_"));
    }
}
