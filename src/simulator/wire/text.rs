//! Text on the wire: UTF-16, and the code page of the server's collation.

use encoding_rs::{EncoderResult, UTF_8, WINDOWS_1252};

/// `SQL_Latin1_General_CP1_CI_AS`: locale 1033, ignoring case, kana and width; sort id 52.
pub(super) const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];

/// `fUTF8` of a collation.
const COLLATION_UTF8: u32 = 0x0400_0000;

/// Appends text as UTF-16.
pub(super) fn put_utf16(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    if text.is_ascii() {
        out.resize(start + text.len() * 2, 0);
        let units = out[start..].chunks_exact_mut(2);
        for (unit, byte) in units.zip(text.bytes()) {
            unit[0] = byte;
        }
    } else {
        for unit in text.encode_utf16() {
            out.extend_from_slice(&unit.to_le_bytes());
        }
    }
}

/// Appends text in code page 1252; as in SQL Server, `?` stands for what the page lacks.
pub(super) fn put_code_page(out: &mut Vec<u8>, text: &str) {
    if text.is_ascii() {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let start = out.len();
    // One byte for each character at most, whether the page has it or not.
    out.resize(start + text.len(), 0);
    let (mut read, mut end) = (0, start);
    let mut encoder = WINDOWS_1252.new_encoder();
    loop {
        let (rest, room) = (&text[read..], &mut out[end..]);
        let (result, from, to) = encoder.encode_from_utf8_without_replacement(rest, room, true);
        read += from;
        end += to;
        match result {
            EncoderResult::Unmappable(_) => {
                out[end] = b'?';
                end += 1;
            }
            EncoderResult::InputEmpty | EncoderResult::OutputFull => break,
        }
    }
    out.truncate(end);
}

/// Appends text after its length as one byte, cut to 255 code units.
pub(super) fn put_b_varchar(out: &mut Vec<u8>, text: &str) {
    let text = cut(text, usize::from(u8::MAX));
    out.push(0);
    let start = out.len();
    put_utf16(out, text);
    out[start - 1] = u8::try_from((out.len() - start) / 2).unwrap_or(u8::MAX);
}

/// Appends text after its length as two bytes, cut to `units` code units.
pub(super) fn put_us_varchar(out: &mut Vec<u8>, text: &str, units: u16) {
    let text = cut(text, usize::from(units));
    out.extend_from_slice(&[0, 0]);
    let start = out.len();
    put_utf16(out, text);
    let units = u16::try_from((out.len() - start) / 2).unwrap_or(units);
    out[start - 2..start].copy_from_slice(&units.to_le_bytes());
}

/// The longest front of `text` that is at most `units` code units of UTF-16.
fn cut(text: &str, units: usize) -> &str {
    if text.len() <= units {
        return text;
    }
    let mut taken = 0;
    for (index, character) in text.char_indices() {
        taken += character.len_utf16();
        if taken > units {
            return &text[..index];
        }
    }
    text
}

/// Text of a client, in the code page that its collation names: UTF-8, or else 1252.
pub(super) fn from_code_page(bytes: &[u8], collation: u32) -> String {
    let encoding = if collation & COLLATION_UTF8 == 0 {
        WINDOWS_1252
    } else {
        UTF_8
    };
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_and_other_text_become_utf16() {
        let mut out = Vec::new();
        put_utf16(&mut out, "aé😀");
        assert_eq!(out, [b'a', 0, 0xe9, 0, 0x3d, 0xd8, 0x00, 0xde]);
        let mut out = Vec::new();
        put_utf16(&mut out, "ab");
        assert_eq!(out, [b'a', 0, b'b', 0]);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let mut out = Vec::new();
        put_b_varchar(&mut out, &"😀".repeat(200));
        assert_eq!(out[0], 254);
        assert_eq!(out.len(), 1 + 254 * 2);
    }

    #[test]
    fn the_code_page_has_the_euro_and_lacks_cyrillic() {
        let mut out = Vec::new();
        put_code_page(&mut out, "a€é");
        assert_eq!(out, [b'a', 0x80, 0xe9]);
        put_code_page(&mut out, "яbя😀");
        assert_eq!(out[3..], *b"?b??");
        assert_eq!(from_code_page(&[b'a', 0x80, 0xe9], 0x00d0_0409), "a€é");
        assert_eq!(from_code_page("ж".as_bytes(), 0x04d0_0409), "ж");
    }
}
