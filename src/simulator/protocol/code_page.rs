//! Text of code pages.

use encoding_rs::{EncoderResult, Encoding, UTF_8};
use icu_normalizer::DecomposingNormalizerBorrowed;

use super::collation::Collation;

/// Characters that stand in for others which a code page lacks, where that is no base letter: a part of
/// Windows' "best fit" tables.
const STAND_INS: &[(&str, char)] = &[
    (
        "\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}",
        ' ',
    ),
    ("\u{2010}\u{2011}\u{2212}\u{2500}", '-'),
    ("\u{2032}\u{2b9}\u{2bc}\u{2c8}", '\''),
    ("\u{2035}\u{2cb}\u{300}", '`'),
    ("\u{2ba}\u{30e}", '"'),
    ("\u{2044}\u{2215}", '/'),
    ("\u{2216}", '\\'),
    ("\u{2217}", '*'),
    ("\u{2236}\u{589}", ':'),
    ("\u{37e}", ';'),
    ("\u{221e}", '8'),
    ("\u{2017}\u{2cd}\u{331}\u{332}", '_'),
    ("\u{110}\u{189}", 'Ð'),
    ("\u{111}", 'd'),
    ("\u{126}", 'H'),
    ("\u{127}", 'h'),
    ("\u{131}", 'i'),
    ("\u{141}", 'L'),
    ("\u{142}", 'l'),
    ("\u{166}", 'T'),
    ("\u{167}", 't'),
    ("\u{180}", 'b'),
];

/// Bytes that are encoded at a time.
const BUFFER: usize = 1024;
/// Room for one character of any code page.
const CHARACTER: usize = 16;

/// The bytes of text in a collation's code page. A character that the page lacks becomes its best fit, or
/// else `?`.
pub(crate) fn encode(text: &str, collation: Collation) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    put(&mut bytes, text, collation);
    bytes
}

/// Appends the bytes of [`encode`].
pub(crate) fn put(out: &mut Vec<u8>, text: &str, collation: Collation) {
    let encoding = collation.encoding();
    if text.is_ascii() || encoding == UTF_8 {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut encoder = encoding.new_encoder();
    let mut buffer = [0; BUFFER];
    let mut rest = text;
    loop {
        let (result, read, written) =
            encoder.encode_from_utf8_without_replacement(rest, &mut buffer, true);
        out.extend_from_slice(&buffer[..written]);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return,
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(c) => best_fit(out, c, encoding),
        }
    }
}

/// Appends a character, if the page has it.
fn put_character(out: &mut Vec<u8>, c: char, encoding: &'static Encoding) -> bool {
    let (mut text, mut bytes) = ([0; 4], [0; CHARACTER]);
    let (result, _, written) = encoding.new_encoder().encode_from_utf8_without_replacement(
        c.encode_utf8(&mut text),
        &mut bytes,
        true,
    );
    let is_known = result == EncoderResult::InputEmpty;
    if is_known {
        out.extend_from_slice(&bytes[..written]);
    }
    is_known
}

/// Whether a collation's code page has a character.
pub(crate) fn holds(c: char, collation: Collation) -> bool {
    let encoding = collation.encoding();
    c.is_ascii() || encoding == UTF_8 || put_character(&mut Vec::new(), c, encoding)
}

fn best_fit(out: &mut Vec<u8>, c: char, encoding: &'static Encoding) {
    let full_width =
        char::from_u32(u32::from(c).wrapping_sub(0xfee0)).filter(|_| ('！'..='～').contains(&c));
    let stand_in = STAND_INS
        .iter()
        .find(|(from, _)| from.contains(c))
        .map(|(_, to)| *to);
    let base = DecomposingNormalizerBorrowed::new_nfd()
        .normalize_iter(std::iter::once(c))
        .next()
        .filter(|base| *base != c);
    let found = [full_width, stand_in, base]
        .into_iter()
        .flatten()
        .any(|c| put_character(out, c, encoding));
    if !found {
        // One for each UTF-16 code unit, as SQL Server counts.
        out.resize(out.len() + super::units::width(c), b'?');
    }
}

/// Text as it is after it was held in a collation's code page.
pub(crate) fn through(text: String, collation: Collation) -> String {
    if text.is_ascii() || collation.is_utf8() {
        return text;
    }
    let bytes = encode(&text, collation);
    decode(&bytes, collation).unwrap_or(text)
}

/// The text of bytes in a collation's code page; `None` if they are no text of it.
pub(crate) fn decode(bytes: &[u8], collation: Collation) -> Option<String> {
    let text = collation
        .encoding()
        .decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

/// The number of bytes of text in a collation's code page.
pub(crate) fn length(text: &str, collation: Collation) -> usize {
    if text.is_ascii() || collation.is_utf8() {
        text.len()
    } else {
        encode(text, collation).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, collation: &str) -> Vec<u8> {
        encode(text, Collation::named(collation).unwrap())
    }

    #[test]
    fn every_page_has_its_bytes() {
        assert_eq!(encoded("a€é", "Latin1_General_CI_AS"), [b'a', 0x80, 0xe9]);
        assert_eq!(encoded("ж", "Cyrillic_General_CI_AS"), [0xe6]);
        assert_eq!(encoded("表", "Japanese_CI_AS"), [0x95, 0x5c]);
        assert_eq!(
            encoded("ж", "Latin1_General_100_CI_AS_SC_UTF8"),
            "ж".as_bytes()
        );
        assert_eq!(encoded("中", "Chinese_PRC_CI_AS"), [0xd6, 0xd0]);
    }

    #[test]
    fn what_a_page_lacks_becomes_its_best_fit_or_a_question_mark() {
        let latin = |text| encoded(text, "Latin1_General_CI_AS");
        assert_eq!(latin("ĀčŁ∞Ａ"), *b"AcL8A");
        assert_eq!(latin("яbя😀"), *b"?b???");
        assert_eq!(encoded("é", "Cyrillic_General_CI_AS"), *b"e");
        assert_eq!(through("ĀЖ".into(), Collation::SERVER), "A?");
    }

    #[test]
    fn text_longer_than_the_buffer_keeps_every_character() {
        let times = 300_000;
        for (text, collation, bytes) in [
            ("жé", "Latin1_General_CI_AS", b"?\xe9".as_slice()),
            ("表aж", "Japanese_CI_AS", b"\x95\x5ca\x84\x77"),
            ("🙂é", "Latin1_General_CI_AS", b"??\xe9"),
        ] {
            let encoded = encoded(&text.repeat(times), collation);
            assert!(encoded == bytes.repeat(times), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let japanese = Collation::named("Japanese_CI_AS").unwrap();
        assert_eq!(decode(&[0x95, 0x5c], japanese).unwrap(), "表");
        assert_eq!(decode(&[0x95], japanese), None);
        assert_eq!(length("表a", japanese), 3);
    }
}
