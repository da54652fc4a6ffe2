//! The packets in which a TLS handshake goes to and fro (MS-TDS 3.2.5.2).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::negotiation::{END_OF_MESSAGE, HEADER_BYTES, PRELOGIN};
use super::tcp::Tcp;

/// A TCP connection on which everything is in packets of the type PRELOGIN, until the handshake is done.
#[derive(Debug)]
pub(super) struct Frames {
    tcp: Tcp,
    is_framed: bool,
    header: [u8; HEADER_BYTES],
    /// How many bytes of the header have come.
    begun: usize,
    /// Bytes of the packet that have not been read.
    left: usize,
    /// What is written with the next flush, after a header.
    outgoing: Vec<u8>,
    /// How many bytes of these are written.
    written: usize,
}

impl Frames {
    /// In packets, or, where TLS comes before all else, not.
    pub(super) fn new(tcp: Tcp, is_framed: bool) -> Self {
        Self {
            tcp,
            is_framed,
            header: [0; HEADER_BYTES],
            begun: 0,
            left: 0,
            outgoing: Vec::new(),
            written: 0,
        }
    }

    /// The handshake is done: the rest has no frames.
    pub(super) fn finish(&mut self) {
        self.is_framed = false;
    }

    pub(super) fn into_inner(self) -> Tcp {
        self.tcp
    }

    /// Reads a header; false at the end of the stream.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.begun < HEADER_BYTES {
            let mut rest = ReadBuf::new(&mut self.header[self.begun..]);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut rest))?;
            let count = rest.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(false));
            }
            self.begun += count;
        }
        let length = usize::from(u16::from_be_bytes([self.header[2], self.header[3]]));
        // Who answers is not known before the handshake is done.
        if self.header[0] != PRELOGIN || length <= HEADER_BYTES {
            let text = "expected a pre-login packet during the TLS handshake";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        (self.begun, self.left) = (0, length - HEADER_BYTES);
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for Frames {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_framed && this.left == 0 {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        if this.left == 0 && !ready!(this.poll_header(cx))? {
            return Poll::Ready(Ok(()));
        }
        let most = this.left.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        buf.advance(count);
        this.left -= count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_framed {
            return Pin::new(&mut this.tcp).poll_write(cx, buf);
        }
        if this.written > 0 {
            // A packet whose beginning is written has its length.
            ready!(Pin::new(&mut *this).poll_flush(cx))?;
        }
        if this.outgoing.is_empty() {
            this.outgoing.resize(HEADER_BYTES, 0);
        }
        let room = usize::from(u16::MAX).saturating_sub(this.outgoing.len());
        if room == 0 {
            ready!(Pin::new(&mut *this).poll_flush(cx))?;
            return Pin::new(this).poll_write(cx, buf);
        }
        let count = room.min(buf.len());
        this.outgoing.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    /// What was written becomes one packet.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Ok(length) = u16::try_from(this.outgoing.len())
            && length > 0
        {
            let [high, low] = length.to_be_bytes();
            let header = [PRELOGIN, END_OF_MESSAGE, high, low, 0, 0, 0, 0];
            this.outgoing[..HEADER_BYTES].copy_from_slice(&header);
        }
        while this.written < this.outgoing.len() {
            let rest = &this.outgoing[this.written..];
            match ready!(Pin::new(&mut this.tcp).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => this.written += count,
            }
        }
        this.outgoing.clear();
        this.written = 0;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Two ends of a connection, the first in packets.
    async fn ends() -> (Frames, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (server, _) = listener.accept().await.unwrap();
        (Frames::new(Tcp::new(stream.unwrap()), true), server)
    }

    fn packet(bytes: &[u8]) -> Vec<u8> {
        let [high, low] = (bytes.len() as u16 + 8).to_be_bytes();
        [&[PRELOGIN, 1, high, low, 0, 0, 0, 0], bytes].concat()
    }

    #[tokio::test]
    async fn what_is_written_while_a_packet_is_on_its_way_is_in_the_next() {
        let (mut frames, mut server) = ends().await;
        let first = vec![1; 60_000];
        // So many that the connection takes no more.
        let mut count = 0;
        loop {
            frames.write_all(&first).await.unwrap();
            count += 1;
            let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut frames).poll_flush(cx))).await;
            if flushed.is_pending() {
                break;
            }
        }
        assert!(frames.written < frames.outgoing.len());
        let written = tokio::spawn(async move {
            frames.write_all(&[2; 3]).await.unwrap();
            frames.flush().await.unwrap();
            frames.shutdown().await.unwrap();
        });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        written.await.unwrap();
        let expected = [packet(&first).repeat(count), packet(&[2; 3])].concat();
        assert!(read == expected);
    }

    #[tokio::test]
    async fn packets_are_read_wherever_they_are_cut_and_nothing_beyond_them() {
        let packets = [packet(b"ab"), packet(b"c"), b"bare".to_vec()].concat();
        for cut in 1..packets.len() {
            let (mut frames, mut server) = ends().await;
            let (first, rest) = packets.split_at(cut);
            let (first, rest) = (first.to_vec(), rest.to_vec());
            let server = tokio::spawn(async move {
                server.write_all(&first).await.unwrap();
                server.flush().await.unwrap();
                tokio::task::yield_now().await;
                server.write_all(&rest).await.unwrap();
            });
            let mut read = [0; 3];
            frames.read_exact(&mut read).await.unwrap();
            frames.finish();
            let mut bare = Vec::new();
            frames.read_to_end(&mut bare).await.unwrap();
            server.await.unwrap();
            assert_eq!((&read, &bare[..]), (b"abc", &b"bare"[..]), "{cut}");
        }
    }

    #[tokio::test]
    async fn what_is_no_packet_of_a_handshake_is_refused() {
        for bytes in [&[0x04, 1, 0, 9, 0, 0, 0, 0, 1][..], &packet(b"")] {
            let (mut frames, mut server) = ends().await;
            server.write_all(bytes).await.unwrap();
            let error = frames.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
