//! Functions that count the characters of texts, or look for some, as a collation has them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;

use super::text::{count, int, text};
use super::{Function, each_row};
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType, units};
use crate::simulator::types::{Typed, Value, array_of, character_key};

const TEXT: SqlType = SqlType::NVarChar(Length::Max);

/// A character as a collation compares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letter {
    key: Arc<[u8]>,
    blank: bool,
}

impl Letter {
    /// Whether it is a blank.
    pub(super) fn is_blank(&self) -> bool {
        self.blank
    }
}

/// The characters of texts that are compared with each other.
#[derive(Debug)]
pub(super) struct Alphabet {
    of: Typed,
    /// Whether characters are let pass that are not one letter each.
    lenient: bool,
    known: HashMap<char, Letter>,
}

impl Alphabet {
    /// That of texts of some types, which have one collation.
    pub(super) fn of(types: &[Typed]) -> Self {
        let wide = types.iter().any(|of| of.sql_type.is_wide());
        let sql_type = if wide {
            TEXT
        } else {
            SqlType::VarChar(Length::Max)
        };
        let text = types.iter().find(|of| of.sql_type.is_text());
        let collation = text.map_or(Collation::SERVER, |of| of.collation);
        Self {
            of: Typed::new(sql_type, collation),
            lenient: false,
            known: HashMap::new(),
        }
    }

    /// That of the names of a server, in which every character is a letter.
    pub(super) fn of_names() -> Self {
        Self {
            lenient: true,
            ..Self::of(&[TEXT.into()])
        }
    }

    /// The characters of a text.
    pub(super) fn characters(&self, text: &str) -> Vec<char> {
        units::characters(text, self.of.collation.has_supplementary())
    }

    /// A character as it is compared.
    pub(super) fn letter(&mut self, c: char) -> Result<Letter, ServerError> {
        if let Some(known) = self.known.get(&c) {
            return Ok(known.clone());
        }
        let alone = || self.lenient.then(|| c.to_string().into_bytes());
        let key = character_key(c, self.of).or_else(alone).ok_or_else(|| {
            ServerError::unsupported(format!(
                "LIKE, CHARINDEX and REPLACE with the character '{c}' in the collation {}",
                self.of.collation
            ))
        })?;
        let letter = Letter {
            key: key.into(),
            blank: c == ' ',
        };
        self.known.insert(c, letter.clone());
        Ok(letter)
    }

    /// A text as it is compared.
    pub(super) fn letters(&mut self, text: &str) -> Result<Vec<Letter>, ServerError> {
        let characters = self.characters(text);
        characters.into_iter().map(|c| self.letter(c)).collect()
    }
}

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "len" => function_of(name, (1, 1), |types| long(types[0]), length),
        "charindex" => function_of(name, (2, 3), |types| long(types[1]), position),
        "substring" => function_of(name, (3, 3), part_type, substring),
        "left" => function_of(name, (2, 2), part_type, left),
        "right" => function_of(name, (2, 2), part_type, right),
        "stuff" => function_of(name, (4, 4), part_type, stuff),
        "replace" => function_of(name, (3, 3), part_type, replace),
        "reverse" => function_of(name, (1, 1), part_type, reverse),
        _ => return None,
    })
}

/// What a function makes of a row; any NULL gives NULL.
type OfRow = fn(&mut Alphabet, &[Value]) -> Result<Value, ServerError>;

fn function_of(
    name: &str,
    arguments: (usize, usize),
    result: fn(&[SqlType]) -> SqlType,
    compute: OfRow,
) -> Function {
    let body = move |arrays: &[ArrayRef], types: &[Typed], to: Typed| {
        let mut alphabet = Alphabet::of(types);
        let rows = arrays.first().map_or(0, |array| array.len());
        let values = each_row(arrays, rows, true, |args| compute(&mut alphabet, args))?;
        array_of(to.sql_type, values)
    };
    Function::typed(name, arguments, move |types, _| Ok(result(types)), body).meeting()
}

/// The type of a length within a value of a type.
fn long(of: SqlType) -> SqlType {
    match of {
        SqlType::VarChar(Length::Max) | SqlType::NVarChar(Length::Max) => SqlType::BigInt,
        SqlType::VarBinary(Length::Max) => SqlType::BigInt,
        _ => SqlType::Int,
    }
}

fn part_type(types: &[SqlType]) -> SqlType {
    match types[0] {
        binary if binary.is_binary() => SqlType::VarBinary(Length::Max),
        SqlType::Char(_) | SqlType::VarChar(_) => SqlType::VarChar(Length::Max),
        _ => TEXT,
    }
}

/// Bytes, or the characters of a text.
enum Whole {
    Bytes(Vec<u8>),
    Text(Vec<char>),
}

impl Whole {
    fn of(value: &Value, alphabet: &Alphabet) -> Self {
        match value {
            Value::Bytes(bytes) => Self::Bytes(bytes.clone()),
            other => Self::Text(alphabet.characters(&text(other))),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// `length` characters or bytes from the position `start`, which counts from 1 and may lie before it.
    fn slice(&self, start: i64, length: i64) -> Result<Value, ServerError> {
        let end = start.saturating_add(length).max(1);
        let from = usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX);
        let to = usize::try_from(end - 1).unwrap_or(usize::MAX).max(from);
        let (from, to) = (from.min(self.len()), to.min(self.len()));
        match self {
            Self::Bytes(bytes) => Ok(Value::Bytes(bytes[from..to].to_vec())),
            Self::Text(text) => joined(&text[from..to]),
        }
    }
}

fn joined(characters: &[char]) -> Result<Value, ServerError> {
    let refused = || ServerError::unsupported("the characters U+10D800 to U+10DFFF");
    let text = units::text_of_characters(characters).ok_or_else(refused)?;
    Ok(Value::Text(text))
}

fn length(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    Ok(count(match &args[0] {
        Value::Bytes(bytes) => bytes.len(),
        other => alphabet.characters(text(other).trim_end_matches(' ')).len(),
    }))
}

fn position(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    let what = alphabet.letters(&text(&args[0]))?;
    let whole = alphabet.letters(&text(&args[1]))?;
    let start = args.get(2).map(int).transpose()?.unwrap_or(1).max(1);
    let from = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let found = find(&whole, &what, from);
    Ok(found.map_or(Value::Int(0), |at| count(at + 1)))
}

/// Where some letters, if they are any, are first from a position on, found in one pass.
fn find(whole: &[Letter], what: &[Letter], from: usize) -> Option<usize> {
    if what.is_empty() {
        return None;
    }
    // How many letters before each end are also the first ones.
    let mut fallback = vec![0; what.len()];
    let mut matched = 0;
    for at in 1..what.len() {
        matched = extended(&fallback, what, matched, &what[at]);
        fallback[at] = matched;
    }
    matched = 0;
    for (at, letter) in whole.iter().enumerate().skip(from) {
        matched = extended(&fallback, what, matched, letter);
        if matched == what.len() {
            return Some(at + 1 - matched);
        }
    }
    None
}

/// How many letters match with one more.
fn extended(fallback: &[usize], what: &[Letter], mut matched: usize, letter: &Letter) -> usize {
    while matched > 0 && what[matched] != *letter {
        matched = fallback[matched - 1];
    }
    matched + usize::from(what[matched] == *letter)
}

/// The wanted length; an error with a number if it is below zero.
fn wanted(value: &Value, number: u32, function: &str) -> Result<i64, ServerError> {
    let length = int(value)?;
    if length >= 0 {
        return Ok(length);
    }
    let message = format!("Invalid length parameter passed to the {function} function.");
    Err(ServerError::new(number, message))
}

fn substring(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    let (start, length) = (int(&args[1])?, wanted(&args[2], 537, "LEFT or SUBSTRING")?);
    Whole::of(&args[0], alphabet).slice(start, length)
}

fn left(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    Whole::of(&args[0], alphabet).slice(1, wanted(&args[1], 537, "LEFT or SUBSTRING")?)
}

fn right(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    let wanted = wanted(&args[1], 536, "right")?;
    let whole = Whole::of(&args[0], alphabet);
    let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    whole.slice((length - wanted).max(0) + 1, wanted)
}

fn stuff(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    let mut whole = alphabet.characters(&text(&args[0]));
    let (start, length) = (int(&args[1])?, int(&args[2])?);
    let (Ok(start), Ok(length)) = (usize::try_from(start - 1), usize::try_from(length)) else {
        return Ok(Value::Null);
    };
    if start >= whole.len() {
        return Ok(Value::Null);
    }
    let end = start.saturating_add(length).min(whole.len());
    whole.splice(start..end, alphabet.characters(&text(&args[3])));
    joined(&whole)
}

fn replace(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    let (whole, what) = (text(&args[0]), text(&args[1]));
    let characters = alphabet.characters(&whole);
    let (whole, what) = (alphabet.letters(&whole)?, alphabet.letters(&what)?);
    let with = alphabet.characters(&text(&args[2]));
    let mut result = Vec::new();
    let mut at = 0;
    while let Some(found) = find(&whole, &what, at) {
        result.extend_from_slice(&characters[at..found]);
        result.extend_from_slice(&with);
        at = found + what.len();
    }
    result.extend_from_slice(&characters[at..]);
    joined(&result)
}

fn reverse(alphabet: &mut Alphabet, args: &[Value]) -> Result<Value, ServerError> {
    let mut whole = alphabet.characters(&text(&args[0]));
    whole.reverse();
    joined(&whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_may_begin_before_the_text() {
        let whole = Whole::Text("abcdef".chars().collect());
        for (start, length, wanted) in [(2, 3, "bcd"), (0, 3, "ab"), (5, 100, "ef"), (9, 1, "")] {
            assert_eq!(whole.slice(start, length).unwrap(), Value::from(wanted));
        }
        let bytes = Whole::Bytes(vec![1, 2, 3]);
        assert_eq!(bytes.slice(3, 1).unwrap(), Value::Bytes(vec![3]));
    }

    #[test]
    fn letters_are_found_wherever_they_begin() {
        let mut alphabet = Alphabet::of(&[TEXT.into()]);
        for (whole, what, from, wanted) in [
            ("aabaabaaa", "aabaaa", 0, Some(3)),
            ("abab", "AB", 1, Some(2)),
            ("aaab", "ab", 0, Some(2)),
            ("abc", "d", 0, None),
            ("abc", "", 0, None),
            ("abc", "a", 9, None),
        ] {
            let (whole, what) = (alphabet.letters(whole), alphabet.letters(what));
            assert_eq!(find(&whole.unwrap(), &what.unwrap(), from), wanted);
        }
    }
}
