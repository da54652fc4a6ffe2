//! UTF-16 code units of text, lone surrogates included.
//!
//! A value of an N type is a string of code units and may hold half of a surrogate pair, which no Rust
//! string can. In the Arrow form a character of plane 16, U+10D800 to U+10DFFF, stands for the surrogate
//! U+D800 to U+DFFF; text that has one of those characters itself is refused where it comes in.

/// The first character that stands for a lone surrogate.
const FIRST: u32 = 0x10_d800;
/// The last one.
const LAST: u32 = 0x10_dfff;
const OFFSET: u32 = 0x10_0000;

/// The lone surrogate that a character stands for.
fn surrogate(c: char) -> Option<u16> {
    let code = u32::from(c);
    (FIRST..=LAST)
        .contains(&code)
        .then(|| (code - OFFSET) as u16)
}

/// Whether text has a character that cannot be told from a lone surrogate's stand-in.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    // U+10D800 to U+10DFFF begin with these bytes, as some other characters do.
    let bytes = text.as_bytes();
    bytes.contains(&0xf4)
        && bytes.windows(2).any(|pair| pair == [0xf4, 0x8d])
        && text.chars().any(|c| surrogate(c).is_some())
}

/// The number of code units of a character of the Arrow form.
pub(crate) fn width(c: char) -> usize {
    if surrogate(c).is_some() {
        1
    } else {
        c.len_utf16()
    }
}

/// The number of code units of text.
pub(crate) fn count(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().map(width).sum()
    }
}

/// The code units of text.
pub(crate) fn units(text: &str) -> impl Iterator<Item = u16> {
    text.chars().flat_map(|c| {
        let mut pair = [0; 2];
        let length = match surrogate(c) {
            Some(lone) => {
                pair[0] = lone;
                1
            }
            None => c.encode_utf16(&mut pair).len(),
        };
        pair.into_iter().take(length)
    })
}

/// Text of code units; `None` if it has a character that [`is_ambiguous`] refuses.
pub(crate) fn text(units: impl IntoIterator<Item = u16>) -> Option<String> {
    char::decode_utf16(units)
        .map(|decoded| match decoded {
            Ok(c) => surrogate(c).is_none().then_some(c),
            Err(lone) => char::from_u32(u32::from(lone.unpaired_surrogate()) + OFFSET),
        })
        .collect()
}

/// The characters of text as functions count them: whole ones, or for each code unit of a pair the stand-in
/// of a lone surrogate.
pub(crate) fn characters(text: &str, whole: bool) -> Vec<char> {
    let halves = |c: char| {
        let mut pair = [0; 2];
        let pair = match c.encode_utf16(&mut pair) {
            [high, low] if !whole && surrogate(c).is_none() => [Some(*high), Some(*low)],
            _ => [None, None],
        };
        let stand_in = |unit: u16| char::from_u32(u32::from(unit) + OFFSET).unwrap_or(c);
        let first = pair[0].map_or(c, stand_in);
        [Some(first), pair[1].map(stand_in)].into_iter().flatten()
    };
    text.chars().flat_map(halves).collect()
}

/// The text of [`characters`], in which halves that meet are one character again.
pub(crate) fn text_of_characters(characters: &[char]) -> Option<String> {
    let text: String = characters.iter().collect();
    if text.is_ascii() {
        return Some(text);
    }
    self::text(units(&text))
}

/// A text that was joined, with one character for two halves that meet.
pub(crate) fn whole(joined: String) -> String {
    if is_ambiguous(&joined) {
        return text(units(&joined)).unwrap_or(joined);
    }
    joined
}

/// Text of code units, little endian; half a unit at the end is dropped.
pub(crate) fn text_of_bytes(bytes: &[u8]) -> Option<String> {
    let units = bytes
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    text(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_survive() {
        let given = [0x61, 0xd83d, 0xd83d, 0xde00, 0xde00];
        let held = text(given).unwrap();
        assert_eq!(units(&held).collect::<Vec<_>>(), given);
        assert_eq!(count(&held), 5);
        assert!(is_ambiguous(&held));
        assert!(!is_ambiguous("\u{10d7ff}😀"));
        assert_eq!(text("\u{10d800}".encode_utf16()), None);
        let halves = characters("a😀", false);
        assert_eq!(halves.len(), 3);
        assert_eq!(text_of_characters(&halves).unwrap(), "a😀");
        assert_eq!(
            units(&text_of_characters(&halves[..2]).unwrap()).last(),
            Some(0xd83d)
        );
        assert_eq!(characters("a😀", true), ['a', '😀']);
    }
}
