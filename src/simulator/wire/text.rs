//! Text on the wire.

use crate::simulator::protocol::units;

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
        for unit in units::units(text) {
            out.extend_from_slice(&unit.to_le_bytes());
        }
    }
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
}
