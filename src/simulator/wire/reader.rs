//! A checked cursor over the bytes of one message.

use super::error::WireError;

/// Reads from the front of a message; what is not there is an error.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, called `what` in errors.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn malformed(&self, problem: &'static str) -> WireError {
        WireError::malformed(self.what, problem)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u16_big_endian(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Text of `units` UTF-16 code units.
    pub(super) fn utf16(&mut self, units: usize) -> Result<String, WireError> {
        Ok(utf16_text(self.bytes(units * 2)?))
    }

    /// Text after its length in code units, as one byte.
    pub(super) fn b_varchar(&mut self) -> Result<String, WireError> {
        let units = self.u8()?;
        self.utf16(usize::from(units))
    }

    /// Text after its length in code units, as two bytes.
    pub(super) fn us_varchar(&mut self) -> Result<String, WireError> {
        let units = self.u16()?;
        self.utf16(usize::from(units))
    }
}

/// Little-endian UTF-16 as text; a lone surrogate becomes U+FFFD, an odd last byte is left out.
pub(super) fn utf16_text(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_little_endian_unless_told() {
        let mut reader = Reader::new("test", &[1, 2, 1, 2, 1, 0, 0, 0]);
        assert_eq!(reader.u16().unwrap(), 0x0201);
        assert_eq!(reader.u16_big_endian().unwrap(), 0x0102);
        assert_eq!(reader.u32().unwrap(), 1);
        assert!(reader.is_empty());
    }

    #[test]
    fn a_text_longer_than_the_message_is_an_error() {
        let error = Reader::new("login", &[3, b'a', 0]).b_varchar().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the client sent a malformed login: it ends too early"
        );
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(utf16_text(&[0x3d, 0xd8, b'a', 0]), "\u{fffd}a");
        assert_eq!(utf16_text(&[0x3d, 0xd8, 0x00, 0xde]), "\u{1f600}");
    }
}
