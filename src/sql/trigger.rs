//! `TRIGGER ON UPDATE AT MOST EVERY interval`: how often the flows of a table are executed that are followed.

use std::time::Duration;

use super::constant::{Literal, literal};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::source::Span;

/// The units of an interval, and the seconds that each has.
const UNITS: &[(&str, u64)] = &[
    ("SECOND", 1),
    ("SECONDS", 1),
    ("MINUTE", 60),
    ("MINUTES", 60),
    ("HOUR", 60 * 60),
    ("HOURS", 60 * 60),
    ("DAY", 24 * 60 * 60),
    ("DAYS", 24 * 60 * 60),
];

/// Reads what follows TRIGGER; the interval has whole seconds, one at least and fewer than 2³².
pub(super) fn trigger(cursor: &mut Cursor<'_>) -> Result<Duration, Diagnostic> {
    cursor.expect(&["ON", "UPDATE"])?;
    cursor.expect(&["AT", "MOST", "EVERY"])?;
    if !cursor.eat(&["INTERVAL"]) {
        let expected = cursor.expected("INTERVAL");
        return Err(expected.with_help("write an interval such as INTERVAL 30 SECONDS"));
    }
    let first = cursor.position();
    let refused = cursor.expected("a whole number and its unit");
    let refused = refused.with_help("write 30 SECONDS, '30' SECOND or '1 minute'");
    let number = match literal(cursor)? {
        Some(Literal::Number(digits)) => digits,
        Some(Literal::String(text)) => match text.trim().split_once(char::is_whitespace) {
            None => text,
            Some((number, unit)) => {
                let Some(seconds) = seconds_of(unit.trim()) else {
                    return Err(refused);
                };
                return interval(number, seconds, refused, cursor, first);
            }
        },
        _ => return Err(refused),
    };
    match UNITS.iter().find(|(unit, _)| cursor.eat(&[unit])) {
        Some((_, seconds)) => interval(&number, *seconds, refused, cursor, first),
        None => Err(cursor.expected_one_of(&["SECONDS", "MINUTES", "HOURS", "DAYS"])),
    }
}

fn seconds_of(unit: &str) -> Option<u64> {
    let mut units = UNITS.iter();
    let found = units.find(|(word, _)| word.eq_ignore_ascii_case(unit));
    found.map(|(_, seconds)| *seconds)
}

/// The interval whose tokens begin at `first` and have been read.
fn interval(
    number: &str,
    seconds: u64,
    refused: Diagnostic,
    cursor: &Cursor<'_>,
    first: usize,
) -> Result<Duration, Diagnostic> {
    let at: Span = cursor.span_from(first);
    let wrong = |what: &str| {
        let help = "write one such as INTERVAL 30 SECONDS, or leave TRIGGER out";
        Err(Diagnostic::new(cursor.source, at, what).with_help(help))
    };
    let digits = number.trim().strip_prefix('-').unwrap_or(number.trim());
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused);
    }
    if number.trim().starts_with('-') || digits.bytes().all(|b| b == b'0') {
        return wrong("the interval of a TRIGGER is more than nothing");
    }
    let whole = digits.parse::<u64>().ok();
    let whole = whole.and_then(|number| u32::try_from(number.checked_mul(seconds)?).ok());
    match whole {
        Some(whole) => Ok(Duration::from_secs(whole.into())),
        None => wrong("the interval of a TRIGGER is too long"),
    }
}
