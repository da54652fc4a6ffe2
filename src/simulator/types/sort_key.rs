//! Keys of text: what a collation holds to be equal has one key.
//!
//! The keys also sort: punctuation, then digits, then letters; accents, kana and width, and case count only
//! between texts that are otherwise equal. Windows' own tables have more; a few letters that locales sort
//! on their own are known.

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::Typed;
use crate::simulator::protocol::{Collation, SqlType, code_page, units};

/// Letters that some locales hold to be letters of their own: LCID, letter, the letter that it follows.
const OWN_LETTERS: &[(u32, char, char)] = &[
    (0x040b, 'å', 'z'),
    (0x040b, 'ä', 'z'),
    (0x040b, 'ö', 'z'),
    (0x0406, 'æ', 'z'),
    (0x0406, 'ø', 'z'),
    (0x0406, 'å', 'z'),
    (0x0c0a, 'ñ', 'n'),
    (0x040a, 'ñ', 'n'),
];

const TURKISH: u32 = 0x041f;

/// The key of text under the collation and type that it has.
pub(crate) fn equality_key(text: &str, of: Typed) -> Vec<u8> {
    let text = text.trim_end_matches(' ');
    if of.collation.is_binary() {
        return binary_key(text, of);
    }
    let mut key = Key::default();
    let expands = of.sql_type.is_wide() || of.collation.bytes()[4] == 0;
    for c in text.chars() {
        key.push(c, of.collation, expands);
    }
    key.finish(of.collation)
}

/// The key of one character of a text; `None` if a collation holds it to be several letters, or a part of the
/// one before it.
pub(crate) fn character_key(c: char, of: Typed) -> Option<Vec<u8>> {
    let mut buffer = [0; 4];
    if of.collation.is_binary() {
        return Some(binary_key(c.encode_utf8(&mut buffer), of));
    }
    let expands = of.sql_type.is_wide() || of.collation.bytes()[4] == 0;
    let (lower, _) = lower(narrow(c).0, of.collation);
    let several =
        expands && matches!(lower, 'ß' | 'æ' | 'œ' | 'þ') && !is_own_letter(lower, of.collation);
    if several || is_mark(c) {
        return None;
    }
    let mut key = Key::default();
    key.push(c, of.collation, false);
    Some(key.finish(of.collation))
}

fn is_own_letter(c: char, collation: Collation) -> bool {
    OWN_LETTERS
        .iter()
        .any(|(lcid, letter, _)| *lcid == collation.lcid() && *letter == c)
}

/// Code points in order, or the bytes of the code page.
fn binary_key(text: &str, of: Typed) -> Vec<u8> {
    match of.sql_type {
        SqlType::Char(_) | SqlType::VarChar(_) => code_page::encode(text, of.collation),
        _ if units::is_ambiguous(text) => units::units(text).flat_map(u16::to_be_bytes).collect(),
        _ => text.as_bytes().to_vec(),
    }
}

/// A key in its levels.
#[derive(Default)]
struct Key {
    letters: Vec<u8>,
    accents: Vec<u8>,
    /// Kana, width and case, one byte for each letter.
    forms: Vec<u8>,
}

const KATAKANA: u8 = 0x40;
const FULL_WIDTH: u8 = 0x20;
const UPPER: u8 = 0x10;
/// Less than every byte of a level, so that a shorter text comes first.
const END: u8 = 0x01;

impl Key {
    fn push(&mut self, c: char, collation: Collation, expands: bool) {
        let (narrow, full_width) = narrow(c);
        let (lower, upper) = lower(narrow, collation);
        let mut form = 0x02;
        if full_width && !collation.ignores_width() {
            form |= FULL_WIDTH;
        }
        if upper && !collation.ignores_case() {
            form |= UPPER;
        }
        let own = OWN_LETTERS
            .iter()
            .position(|(lcid, letter, _)| *lcid == collation.lcid() && *letter == lower);
        if let Some(at) = own {
            self.letter(OWN_LETTERS[at].2, at as u8 + 1, form);
            return;
        }
        match lower {
            'ß' if expands => self.expanded("ss", form),
            'æ' if expands => self.expanded("ae", form),
            'œ' if expands => self.expanded("oe", form),
            'þ' if expands => self.expanded("th", form),
            _ => self.decomposed(lower, form, collation),
        }
    }

    fn expanded(&mut self, letters: &str, form: u8) {
        for letter in letters.chars() {
            self.letter(letter, 0, form);
        }
    }

    fn decomposed(&mut self, c: char, mut form: u8, collation: Collation) {
        let (c, katakana) = hiragana(c);
        if katakana && !collation.ignores_kana() {
            form |= KATAKANA;
        }
        let is_hangul = ('\u{ac00}'..='\u{d7a3}').contains(&c);
        if c.is_ascii() || is_hangul {
            self.letter(c, 0, form);
            return;
        }
        let parts = DecomposingNormalizerBorrowed::new_nfd().normalize_iter(std::iter::once(c));
        for (at, part) in parts.enumerate() {
            if at == 0 && !is_mark(part) {
                self.letter(part, 0, form);
            } else {
                self.accent(part, collation);
            }
        }
    }

    /// A letter; `step` tells letters apart that follow the same one.
    fn letter(&mut self, c: char, step: u8, form: u8) {
        let class = match c {
            ' ' => 2,
            c if c.is_alphabetic() => 5,
            c if c.is_numeric() => 4,
            _ => 3,
        };
        self.letters.push(class);
        self.letters
            .extend_from_slice(&u32::from(c).to_be_bytes()[1..]);
        self.letters.push(step + 2);
        self.accents.push(0x02);
        self.forms.push(form);
    }

    fn accent(&mut self, mark: char, collation: Collation) {
        // The voice of a kana is a part of the letter, whatever the collation ignores.
        if matches!(mark, '\u{3099}' | '\u{309a}') {
            self.letters.push(0xfe);
            self.letters.push(mark as u32 as u8);
        } else if !collation.ignores_accent() {
            self.accents.push(0x03);
            self.accents
                .extend_from_slice(&u32::from(mark).to_be_bytes()[1..]);
        }
    }

    fn finish(self, collation: Collation) -> Vec<u8> {
        let mut key = self.letters;
        key.push(END);
        if !collation.ignores_accent() {
            key.extend_from_slice(&self.accents);
        }
        key.push(END);
        key.extend_from_slice(&self.forms);
        key
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}')
}

/// A character in its narrow form, and whether it was a wide one; half-width kana become wide, as kana are.
fn narrow(c: char) -> (char, bool) {
    match c {
        '\u{3000}' => (' ', true),
        '！'..='～' => (char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c), true),
        '\u{ff66}'..='\u{ff9d}' => {
            let wide = DecomposingNormalizerBorrowed::new_nfkd()
                .normalize_iter(std::iter::once(c))
                .next();
            (wide.unwrap_or(c), false)
        }
        // Kana of full width.
        '\u{30a1}'..='\u{30fa}' => (c, true),
        _ => (c, false),
    }
}

/// A character in lower case, and whether it was in upper case.
pub(crate) fn lower(c: char, collation: Collation) -> (char, bool) {
    if collation.lcid() == TURKISH && matches!(c, 'I' | 'İ') {
        return (if c == 'I' { 'ı' } else { 'i' }, true);
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => (one, one != c),
        _ => (c, false),
    }
}

/// A character in upper case.
pub(crate) fn upper(c: char, collation: Collation) -> char {
    if collation.lcid() == TURKISH && matches!(c, 'i' | 'ı') {
        return if c == 'i' { 'İ' } else { 'I' };
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// A kana as hiragana, and whether it was katakana.
fn hiragana(c: char) -> (char, bool) {
    match c {
        '\u{30a1}'..='\u{30f6}' => (char::from_u32(u32::from(c) - 0x60).unwrap_or(c), true),
        _ => (c, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, collation: &str) -> Vec<u8> {
        let wide = SqlType::NVarChar(crate::simulator::protocol::Length::Max);
        let collation = Collation::named(collation).unwrap();
        equality_key(text, Typed::new(wide, collation))
    }

    #[test]
    fn a_collation_says_what_is_equal() {
        let equal = |one, other, collation| key(one, collation) == key(other, collation);
        let (ci_as, cs_as) = ("Latin1_General_CI_AS", "Latin1_General_CS_AS");
        let (ci_ai, bin2) = ("Latin1_General_CI_AI", "Latin1_General_BIN2");
        assert!(equal("Éa ", "éA", ci_as));
        assert!(!equal("Éa", "éa", cs_as));
        assert!(!equal("ea", "éa", ci_as));
        assert!(equal("ea", "ÉA", ci_ai));
        assert!(equal("Straße", "STRASSE", ci_as));
        assert!(equal("ａ", "a", ci_as));
        assert!(!equal("ａ", "a", "Latin1_General_CI_AS_WS"));
        assert!(!equal("a", "A", bin2));
        assert!(equal("a ", "a", bin2));
        let japanese = "Japanese_CI_AS";
        assert!(equal("カ", "か", japanese));
        assert!(equal("ｶ", "カ", japanese));
        assert!(!equal("カ", "か", "Japanese_CI_AS_KS"));
        assert!(!equal("が", "か", japanese));
        assert!(!equal("I", "i", "Turkish_CI_AS"));
        assert!(equal("I", "ı", "Turkish_CI_AS"));
        assert!(!equal("ö", "o", "Finnish_Swedish_CI_AI"));
    }

    #[test]
    fn texts_sort_by_letters_before_accents_and_case() {
        let mut words = [
            "Zoe", "zebra", "élan", "Elan", "_x", "9", "apple", "Apple", "apples",
        ];
        words.sort_by_key(|word| key(word, "Latin1_General_CS_AS"));
        assert_eq!(
            words,
            [
                "_x", "9", "apple", "Apple", "apples", "Elan", "élan", "zebra", "Zoe"
            ]
        );
        let mut words = ["öl", "zoo", "ost"];
        words.sort_by_key(|word| key(word, "Finnish_Swedish_CI_AS"));
        assert_eq!(words, ["ost", "zoo", "öl"]);
    }
}
