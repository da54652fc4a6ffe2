//! ALL_HEADERS, which stands before every request.

use super::error::WireError;
use super::reader::Reader;

/// Skips the headers: with one request at a time, the transaction they name is the session's own.
pub(super) fn skip(request: &mut Reader<'_>) -> Result<(), WireError> {
    let total = request.u32()? as usize;
    let Some(rest) = total.checked_sub(4) else {
        return Err(request.malformed("its headers are shorter than their length"));
    };
    let mut headers = Reader::new("request header", request.bytes(rest)?);
    while !headers.is_empty() {
        let length = headers.u32()? as usize;
        let Some(rest) = length.checked_sub(4).filter(|rest| *rest >= 2) else {
            return Err(headers.malformed("it is shorter than its length"));
        };
        headers.bytes(rest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the "SQL Batch Client Request" example of MS-TDS: a transaction descriptor header.
    const EXAMPLE: &[u8] = b"\x16\x00\x00\x00\x12\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\
        \x00\x01\x00\x00\x00\x00";

    #[test]
    fn the_text_follows_the_headers() {
        let bytes = [EXAMPLE, b"\x0a\x00"].concat();
        let mut request = Reader::new("batch", &bytes);
        skip(&mut request).unwrap();
        assert_eq!(request.rest(), b"\x0a\x00");
    }

    #[test]
    fn impossible_lengths_are_errors() {
        for bytes in [
            &b"\x03\x00\x00\x00"[..],
            b"\xff\xff\xff\xff",
            b"\x08\x00\x00\x00\x00\x00\x00\x00",
            b"\x08\x00\x00\x00\x05\x00\x00\x00",
            b"\x09\x00\x00\x00\x05\x00\x00\x00\x00",
        ] {
            assert!(skip(&mut Reader::new("batch", bytes)).is_err(), "{bytes:?}");
        }
        for length in 0..EXAMPLE.len() {
            assert!(skip(&mut Reader::new("batch", &EXAMPLE[..length])).is_err());
        }
    }
}
