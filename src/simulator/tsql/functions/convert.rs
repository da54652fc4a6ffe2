//! CAST, TRY_CAST, CONVERT and LIKE.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};

use super::{Function, literal_type};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::types::{Mode, Value, convert_array, to_form, values_of};

/// `__cast(value, 'type' [, style])`.
pub(crate) const CAST: &str = "__cast";
/// The same, with NULL in place of an error.
pub(crate) const TRY_CAST: &str = "__try_cast";
/// `__like(text, pattern [, escape])`.
pub(crate) const LIKE: &str = "__like";

pub(super) fn function(name: &str) -> Option<Function> {
    match name {
        CAST => Some(cast(CAST, Mode::Cast)),
        TRY_CAST => Some(cast(TRY_CAST, Mode::Try)),
        LIKE => Some(Function::arrays(
            LIKE,
            (2, 3),
            |_, _| Ok(SqlType::Bit),
            |arrays, _, _| like_arrays(arrays),
        )),
        _ => None,
    }
}

fn cast(name: &str, mode: Mode) -> Function {
    Function::typed(
        name,
        (2, 3),
        |_, literals| literal_type(literals, 1),
        move |arrays, types, to| {
            let style = match arrays.get(2) {
                Some(style) => values_of(style)?
                    .first()
                    .and_then(Value::as_int)
                    .unwrap_or(0),
                None => 0,
            };
            convert_array(&arrays[0], types[0], to, style, mode)
        },
    )
}

fn like_arrays(arrays: &[ArrayRef]) -> Result<ArrayRef, ServerError> {
    let text_type = SqlType::NVarChar(crate::simulator::protocol::Length::Max);
    let texts = arrays
        .iter()
        .map(|array| to_form(array, text_type))
        .collect::<Result<Vec<_>, _>>()?;
    let escape = texts
        .get(2)
        .and_then(|array| array.as_string::<i32>().iter().next().flatten())
        .and_then(|text| text.chars().next());
    let matches: BooleanArray = texts[0]
        .as_string::<i32>()
        .iter()
        .zip(texts[1].as_string::<i32>())
        .map(|(text, pattern)| {
            let text: Vec<char> = text?.to_lowercase().chars().collect();
            Some(like(&text, &parts(pattern?, escape)))
        })
        .collect();
    Ok(Arc::new(matches))
}

/// A part of a LIKE pattern, in lower case.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Is(char),
    Set(Vec<(char, char)>, bool),
}

fn parts(pattern: &str, escape: Option<char>) -> Vec<Part> {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        if Some(c) == escape {
            parts.extend(pattern.get(at).map(|c| Part::Is(*c)));
            at += 1;
            continue;
        }
        match c {
            '%' => parts.push(Part::Any),
            '_' => parts.push(Part::One),
            '[' => match pattern[at..].iter().position(|c| *c == ']') {
                Some(length) => {
                    parts.push(set(&pattern[at..at + length]));
                    at += length + 1;
                }
                None => parts.push(Part::Is('[')),
            },
            other => parts.push(Part::Is(other)),
        }
    }
    parts
}

fn set(content: &[char]) -> Part {
    let (negated, content) = match content {
        ['^', rest @ ..] => (true, rest),
        _ => (false, content),
    };
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&first) = content.get(at) {
        match (content.get(at + 1), content.get(at + 2)) {
            (Some('-'), Some(&last)) => {
                ranges.push((first, last));
                at += 3;
            }
            _ => {
                ranges.push((first, first));
                at += 1;
            }
        }
    }
    Part::Set(ranges, negated)
}

/// Whether a text is LIKE a pattern, without ESCAPE.
pub(crate) fn like_text(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    like(&text, &parts(pattern, None))
}

/// Matches with one point to return to: the last `%`, as is enough for this grammar.
fn like(text: &[char], parts: &[Part]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < parts.len() {
        match (parts.get(p), text.get(t)) {
            (Some(Part::Any), _) => {
                retry = Some((t, p));
                p += 1;
                continue;
            }
            (Some(part), Some(c)) if holds(part, *c) => {
                t += 1;
                p += 1;
                continue;
            }
            // Blanks at the end of the text do not count.
            (None, Some(' ')) if text[t..].iter().all(|c| *c == ' ') => return true,
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

fn holds(part: &Part, c: char) -> bool {
    match part {
        Part::Any => false,
        Part::One => true,
        Part::Is(expected) => *expected == c,
        Part::Set(ranges, negated) => {
            ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&c))
                != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, pattern: &str) -> bool {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        like(&text, &parts(pattern, Some('\\')))
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
}
