//! Packets in, messages out: the client's side of the conversation.

use std::io::ErrorKind;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::WireError;

/// Bytes of a packet header: type, status, length (big endian), session, sequence, window.
pub(super) const HEADER: usize = 8;
/// The longest packet TDS has.
pub(super) const PACKET_MAX: usize = 32767;
/// The longest PRELOGIN or LOGIN7 message taken.
pub(super) const LOGIN_LIMIT: usize = 128 * 1024;
/// The longest request taken.
pub(super) const REQUEST_LIMIT: usize = 64 * 1024 * 1024;

/// Status: the last packet of its message.
pub(super) const STATUS_END: u8 = 0x01;
const STATUS_IGNORE: u8 = 0x02;
const STATUS_RESET: u8 = 0x08;
const STATUS_RESET_KEEPING_TRANSACTION: u8 = 0x10;

const WHAT: &str = "packet";

/// The type in a packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketType {
    SqlBatch,
    Rpc,
    Attention,
    BulkLoad,
    TransactionManager,
    Login7,
    PreLogin,
}

impl PacketType {
    fn of(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            0x01 => Self::SqlBatch,
            0x03 => Self::Rpc,
            0x06 => Self::Attention,
            0x07 => Self::BulkLoad,
            0x0e => Self::TransactionManager,
            0x10 => Self::Login7,
            0x12 => Self::PreLogin,
            _ => return Err(WireError::malformed(WHAT, "its type is unknown")),
        })
    }
}

/// What a pooled client wants done to its session before the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    Nothing,
    Everything,
    AllButTransaction,
}

/// A whole message, reassembled.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: PacketType,
    pub(super) reset: Reset,
    pub(super) body: Vec<u8>,
}

struct Header {
    kind: PacketType,
    status: u8,
    length: usize,
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Result<Self, WireError> {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let kind = PacketType::of(bytes[0])?;
        if length < HEADER {
            return Err(WireError::malformed(WHAT, "it is shorter than its header"));
        }
        if length > PACKET_MAX {
            return Err(WireError::malformed(WHAT, "it is longer than TDS allows"));
        }
        Ok(Self {
            kind,
            status: bytes[1],
            length,
        })
    }

    fn has(&self, status: u8) -> bool {
        self.status & status != 0
    }

    fn reset(&self) -> Reset {
        if self.has(STATUS_RESET) {
            Reset::Everything
        } else if self.has(STATUS_RESET_KEEPING_TRANSACTION) {
            Reset::AllButTransaction
        } else {
            Reset::Nothing
        }
    }
}

/// Reassembles messages of bounded size.
#[derive(Debug)]
pub(super) struct Incoming {
    buffer: BytesMut,
    message: Option<Message>,
    limit: usize,
}

impl Incoming {
    /// Takes messages of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            message: None,
            limit,
        }
    }

    /// Takes longer or shorter messages from now on.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether nothing has been read beyond the messages returned.
    pub(super) fn is_drained(&self) -> bool {
        self.buffer.is_empty() && self.message.is_none()
    }

    /// The next message; `None` when the client has closed the connection between two messages.
    ///
    /// What was read stays in `self`: the future may be dropped and the call repeated.
    pub(super) async fn next<R: AsyncRead + Unpin>(
        &mut self,
        input: &mut R,
    ) -> Result<Option<Message>, WireError> {
        loop {
            while let Some(header) = self.header()? {
                if let Some(message) = self.accept(&header)? {
                    return Ok(Some(message));
                }
            }
            self.buffer.reserve(PACKET_MAX);
            match input.read_buf(&mut self.buffer).await {
                Ok(0) if self.is_drained() => return Ok(None),
                Ok(0) => return Err(WireError::malformed(WHAT, "it ends too early")),
                Ok(_) => {}
                // Clients close an encrypted connection without saying so inside of it.
                Err(error) if self.is_drained() && error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The header of the packet at the front of the buffer, if the packet is there as a whole.
    fn header(&self) -> Result<Option<Header>, WireError> {
        let Some(bytes) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::parse(bytes)?;
        Ok((self.buffer.len() >= header.length).then_some(header))
    }

    /// Takes the packet at the front; gives the message that it completes.
    fn accept(&mut self, header: &Header) -> Result<Option<Message>, WireError> {
        self.buffer.advance(HEADER);
        let body = self.buffer.split_to(header.length - HEADER);
        if header.kind == PacketType::Attention {
            // A client may give up a request that it has not sent as a whole.
            self.message = None;
        }
        let message = self.message.get_or_insert_with(|| Message {
            kind: header.kind,
            reset: header.reset(),
            body: Vec::new(),
        });
        if message.kind != header.kind {
            return Err(WireError::malformed(WHAT, "its type is not its message's"));
        }
        if message.body.len() + body.len() > self.limit {
            return Err(WireError::TooLong { limit: self.limit });
        }
        message.body.extend_from_slice(&body);
        if !header.has(STATUS_END) {
            return Ok(None);
        }
        let message = self.message.take();
        Ok(message.filter(|_| !header.has(STATUS_IGNORE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn messages(bytes: &[u8], limit: usize) -> Result<Vec<Message>, WireError> {
        let mut incoming = Incoming::new(limit);
        let mut input = bytes;
        let mut messages = Vec::new();
        while let Some(message) = incoming.next(&mut input).await? {
            messages.push(message);
        }
        Ok(messages)
    }

    fn packet(kind: u8, status: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + HEADER).unwrap().to_be_bytes();
        let mut packet = vec![kind, status, length[0], length[1], 0, 0, 1, 0];
        packet.extend_from_slice(body);
        packet
    }

    #[tokio::test]
    async fn packets_are_joined_until_the_last() {
        let bytes = [packet(1, 0, b"ab"), packet(1, 1, b"cd"), packet(3, 9, b"")].concat();
        let messages = messages(&bytes, 10).await.unwrap();
        assert_eq!(messages[0].body, b"abcd");
        assert_eq!(messages[0].kind, PacketType::SqlBatch);
        assert_eq!(messages[1].kind, PacketType::Rpc);
        assert_eq!(messages[1].reset, Reset::Everything);
    }

    #[tokio::test]
    async fn an_ignored_message_is_dropped_and_an_attention_ends_an_unfinished_one() {
        let ignored = [packet(1, 0, b"ab"), packet(1, 3, b"")].concat();
        assert!(messages(&ignored, 10).await.unwrap().is_empty());
        let abandoned = [packet(1, 0, b"ab"), packet(6, 1, b"")].concat();
        let found = messages(&abandoned, 10).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, PacketType::Attention);
    }

    #[tokio::test]
    async fn a_long_message_is_refused_before_it_is_whole() {
        let bytes = [packet(1, 0, &[0; 8]), packet(1, 0, &[0; 8])].concat();
        let error = messages(&bytes, 10).await.unwrap_err();
        assert!(matches!(error, WireError::TooLong { limit: 10 }));
    }

    #[tokio::test]
    async fn bad_headers_are_errors() {
        for bytes in [
            &[1, 1, 0, 7, 0, 0, 0, 0][..],
            &[1, 1, 0xff, 0xff, 0, 0, 0, 0],
            &[0x99, 1, 0, 8, 0, 0, 0, 0],
            &[0x16, 3, 1, 0, 8, 0, 0, 0],
            &[1, 1, 0],
            &[1, 1, 0, 9, 0, 0, 0, 0],
            &[1, 0, 0, 8, 0, 0, 0, 0, 3, 1, 0, 8, 0, 0, 0, 0],
        ] {
            assert!(messages(bytes, 10).await.is_err(), "{bytes:?}");
        }
    }
}
