//! Tokens in, packets out: the server's side of the conversation.

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::WireError;
use super::packet::{HEADER, STATUS_END};
use crate::simulator::behaviour::Chance;

const TABULAR_RESULT: u8 = 0x04;

/// Of so many packets one is short, where chance has it.
const SHORT_PACKETS: usize = 4;
/// Of so many pieces one is torn apart on its way to the socket.
const TORN_SEGMENTS: usize = 2;

/// Tokens of the response being written, and its packets not yet on the wire.
#[derive(Debug)]
pub(super) struct Outgoing {
    tokens: Vec<u8>,
    packets: BytesMut,
    packet_size: usize,
    sequence: u8,
    session: u16,
    /// What ends packets early.
    packet_chance: Option<Chance>,
    /// What ends segments early.
    segment_chance: Option<Chance>,
}

impl Outgoing {
    pub(super) fn new(packet_size: usize, session: u16) -> Self {
        Self {
            tokens: Vec::new(),
            packets: BytesMut::new(),
            packet_size,
            sequence: 1,
            session,
            packet_chance: None,
            segment_chance: None,
        }
    }

    /// Lets chance end packets and segments from now on.
    pub(super) fn set_chance(&mut self, packets: Option<Chance>, segments: Option<Chance>) {
        self.packet_chance = packets;
        self.segment_chance = segments;
    }

    /// The session that packets are of.
    pub(super) fn session(&self) -> u16 {
        self.session
    }

    /// Sends everything, without an end of the message.
    pub(super) async fn send_all<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut W,
    ) -> Result<(), WireError> {
        self.pack_full();
        let rest = std::mem::take(&mut self.tokens);
        self.pack(&rest, 0);
        self.drain(output).await?;
        Ok(output.flush().await?)
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
        let mut last = std::mem::take(&mut self.tokens);
        if let Some(chance) = self.packet_chance.as_mut().filter(|_| last.len() > 1)
            && chance.once_in(2)
        {
            let at = 1 + chance.below(last.len() - 1);
            let rest = last.split_off(at);
            self.pack(&last, 0);
            last = rest;
        }
        self.pack(&last, STATUS_END);
        self.sequence = 1;
        self.drain(output).await?;
        // One long value does not hold its room for ever.
        self.packets = BytesMut::new();
        Ok(output.flush().await?)
    }

    /// At least one byte stays behind for the packet that ends the message.
    fn pack_full(&mut self) {
        let full = self.packet_size - HEADER;
        let mut tokens = std::mem::take(&mut self.tokens);
        let mut start = 0;
        while tokens.len() - start > full {
            let body = self.body(full);
            self.pack(&tokens[start..start + body], 0);
            start += body;
        }
        tokens.drain(..start);
        self.tokens = tokens;
    }

    /// The length of the next packet's body: `full`, unless chance has it otherwise.
    fn body(&mut self, full: usize) -> usize {
        if let Some(chance) = &mut self.packet_chance
            && chance.once_in(SHORT_PACKETS)
        {
            return 1 + chance.below(full);
        }
        full
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
        if let Some(chance) = &mut self.segment_chance
            && self.packets.len() > 1
            && chance.once_in(TORN_SEGMENTS)
        {
            let end = 1 + chance.below(self.packets.len() - 1);
            self.write(output, end).await?;
            // On its way alone, since the socket does not gather.
            output.flush().await?;
        }
        self.write(output, self.packets.len()).await
    }

    /// Writes this many bytes of the packets. What was written is no longer there when the future is dropped.
    async fn write<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut W,
        bytes: usize,
    ) -> Result<(), WireError> {
        let left = self.packets.len() - bytes;
        while self.packets.len() > left {
            let next = self.packets.len() - left;
            let written = output.write(&self.packets[..next]).await?;
            if written == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
            self.packets.advance(written);
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

    /// The bodies of packets, joined, and how many there were.
    fn joined(mut wire: &[u8]) -> (Vec<u8>, usize) {
        let (mut body, mut count) = (Vec::new(), 0);
        while let Some(header) = wire.first_chunk::<HEADER>() {
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            assert_eq!(header[1] == STATUS_END, length == wire.len());
            body.extend_from_slice(&wire[HEADER..length]);
            count += 1;
            wire = &wire[length..];
        }
        (body, count)
    }

    #[tokio::test]
    async fn chance_ends_packets_early_and_loses_nothing() {
        let tokens: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
        for seed in 0..20 {
            let mut outgoing = Outgoing::new(512, 51);
            outgoing.set_chance(Some(Chance::new(seed)), Some(Chance::new(seed)));
            let mut wire = Vec::new();
            for part in tokens.chunks(3_000) {
                outgoing.tokens().extend_from_slice(part);
                outgoing.send(&mut wire).await.unwrap();
            }
            outgoing.end(&mut wire).await.unwrap();
            let (body, count) = joined(&wire);
            assert_eq!(body, tokens, "seed {seed}");
            assert!(count > tokens.len() / 504 + 1, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn an_empty_message_is_one_empty_packet() {
        let mut wire = Vec::new();
        Outgoing::new(512, 51).end(&mut wire).await.unwrap();
        assert_eq!(wire, b"\x04\x01\x00\x08\x00\x33\x01\x00");
    }
}
