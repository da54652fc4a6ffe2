//! Tokens in, packets out: the server's side of the conversation.

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::WireError;
use super::packet::{HEADER, STATUS_END};

const TABULAR_RESULT: u8 = 0x04;

/// Tokens of the response being written, and its packets not yet on the wire.
#[derive(Debug)]
pub(super) struct Outgoing {
    tokens: Vec<u8>,
    packets: BytesMut,
    packet_size: usize,
    sequence: u8,
    session: u16,
}

impl Outgoing {
    pub(super) fn new(packet_size: usize, session: u16) -> Self {
        Self {
            tokens: Vec::new(),
            packets: BytesMut::new(),
            packet_size,
            sequence: 1,
            session,
        }
    }

    /// Splits into packets of this size, header included, from the next message on.
    pub(super) fn set_packet_size(&mut self, packet_size: usize) {
        self.packet_size = packet_size;
    }

    /// Where whole tokens are appended.
    pub(super) fn tokens(&mut self) -> &mut Vec<u8> {
        &mut self.tokens
    }

    /// Sends what fills packets. When the future is dropped, what was not sent is kept, so that the
    /// response can still be ended properly.
    pub(super) async fn send<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut W,
    ) -> Result<(), WireError> {
        self.pack_full();
        self.drain(output).await
    }

    /// Sends the rest and ends the message.
    pub(super) async fn end<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut W,
    ) -> Result<(), WireError> {
        self.pack_full();
        let last = std::mem::take(&mut self.tokens);
        self.pack(&last, STATUS_END);
        self.sequence = 1;
        self.drain(output).await?;
        // One long value does not hold its room for ever.
        self.packets = BytesMut::new();
        Ok(output.flush().await?)
    }

    /// At least one byte stays behind for the packet that ends the message.
    fn pack_full(&mut self) {
        let body = self.packet_size - HEADER;
        let mut tokens = std::mem::take(&mut self.tokens);
        let mut start = 0;
        while tokens.len() - start > body {
            self.pack(&tokens[start..start + body], 0);
            start += body;
        }
        tokens.drain(..start);
        self.tokens = tokens;
    }

    fn pack(&mut self, body: &[u8], status: u8) {
        self.packets.reserve(HEADER + body.len());
        self.packets.put_u8(TABULAR_RESULT);
        self.packets.put_u8(status);
        // A packet is at most 32767 bytes long.
        self.packets.put_u16((HEADER + body.len()) as u16);
        self.packets.put_u16(self.session);
        self.packets.put_u8(self.sequence);
        self.packets.put_u8(0);
        self.packets.put_slice(body);
        self.sequence = self.sequence.wrapping_add(1);
    }

    async fn drain<W: AsyncWrite + Unpin>(&mut self, output: &mut W) -> Result<(), WireError> {
        while !self.packets.is_empty() {
            if output.write_buf(&mut self.packets).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_split_at_the_packet_size_and_the_last_packet_ends_it() {
        let mut outgoing = Outgoing::new(12, 0x33);
        let mut wire = Vec::new();
        outgoing.tokens().extend_from_slice(b"abcdefgh");
        outgoing.send(&mut wire).await.unwrap();
        assert_eq!(wire, b"\x04\x00\x00\x0c\x00\x33\x01\x00abcd");
        outgoing.end(&mut wire).await.unwrap();
        assert_eq!(wire[12..], *b"\x04\x01\x00\x0c\x00\x33\x02\x00efgh");
    }

    #[tokio::test]
    async fn an_empty_message_is_one_empty_packet() {
        let mut wire = Vec::new();
        Outgoing::new(512, 51).end(&mut wire).await.unwrap();
        assert_eq!(wire, b"\x04\x01\x00\x08\x00\x33\x01\x00");
    }
}
