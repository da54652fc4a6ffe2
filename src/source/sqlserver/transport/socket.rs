//! What the driver reads from and writes to.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::source::sqlserver::bulk::{Filter, Passage};

use super::frames::Frames;
use super::negotiation::{Agreed, END_OF_MESSAGE, Encryption, HEADER_BYTES, negotiate};
use super::tcp::Tcp;

/// Bytes that are read at once where an answer is filtered.
const READ_BYTES: usize = 1 << 16;

/// Says of the next answer which of its result sets has many rows, and where these go.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Wanted(Arc<Mutex<Option<(usize, Passage)>>>);

impl Wanted {
    /// The one of that index, or none.
    pub(in super::super) fn set(&self, result: Option<(usize, Passage)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = result;
    }

    fn take(&self) -> Option<(usize, Passage)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What the bytes go over.
#[derive(Debug)]
pub(super) enum Carrier {
    Plain(Tcp),
    Tls(Box<TlsStream<Frames>>),
}

enum Stage {
    /// The driver's PRELOGIN, so far as it is written.
    Asking(Option<Tcp>, Vec<u8>, Encryption),
    Negotiating(BoxFuture<'static, io::Result<Agreed>>),
    Open(Carrier),
    /// Between two others, or after an error.
    Closed,
}

/// The driver's end of a connection.
pub(in super::super) struct Socket {
    stage: Stage,
    /// The server's answer to the PRELOGIN, and how much of it has been read.
    answer: (Vec<u8>, usize),
    /// The login's packets, after which nothing is encrypted any more.
    login: Option<Outgoing>,
    wanted: Wanted,
    filter: Option<Box<Filter>>,
    buffer: Vec<u8>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    pub(in super::super) fn new(tcp: Tcp, encryption: Encryption) -> Self {
        Self {
            stage: Stage::Asking(Some(tcp), Vec::new(), encryption),
            answer: (Vec::new(), 0),
            login: None,
            wanted: Wanted::default(),
            filter: None,
            buffer: Vec::new(),
        }
    }

    /// What says how the next answer is read.
    pub(in super::super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// The carrier, once server and client have agreed.
    fn poll_carrier(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Carrier>> {
        loop {
            match &mut self.stage {
                Stage::Open(_) => break,
                Stage::Closed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                Stage::Asking(..) => {
                    let stage = std::mem::replace(&mut self.stage, Stage::Closed);
                    if let Stage::Asking(Some(tcp), request, encryption) = stage {
                        let future = negotiate(tcp, request, encryption);
                        self.stage = Stage::Negotiating(Box::pin(future));
                    }
                }
                Stage::Negotiating(future) => {
                    let agreed = ready!(future.as_mut().poll(cx));
                    self.stage = Stage::Closed;
                    let agreed = agreed?;
                    self.answer = (agreed.answer, 0);
                    self.login = agreed.only_login.then(Outgoing::default);
                    self.stage = Stage::Open(agreed.carrier);
                }
            }
        }
        match &mut self.stage {
            Stage::Open(carrier) => Poll::Ready(Ok(carrier)),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Reads an answer by way of the filter.
    fn poll_filtered(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Stage::Open(carrier) = &mut self.stage else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let Some(filter) = &mut self.filter else {
            return Pin::new(carrier).poll_read(cx, buf);
        };
        self.buffer.resize(READ_BYTES, 0);
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while !filter.give(buf) {
            let mut read = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut *carrier).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            filter.take(read.filled())?;
        }
        if filter.is_done() {
            self.filter = None;
            self.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the encryption, once the login is written.
    fn end_encryption(&mut self) {
        if !self.login.as_ref().is_some_and(|login| login.is_whole) {
            return;
        }
        self.login = None;
        self.stage = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Open(Carrier::Tls(stream)) => {
                let (frames, _) = stream.into_inner();
                Stage::Open(Carrier::Plain(frames.into_inner()))
            }
            other => other,
        };
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_carrier(cx))?;
        let (answer, read) = &mut this.answer;
        if *read < answer.len() {
            let count = (answer.len() - *read).min(buf.remaining());
            buf.put_slice(&answer[*read..*read + count]);
            *read += count;
            return Poll::Ready(Ok(()));
        }
        if let Some((result, passage)) = this.wanted.take() {
            this.filter = Some(Box::new(Filter::new(result, passage)));
        }
        this.poll_filtered(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Stage::Asking(_, request, _) = &mut this.stage {
            request.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        let carrier = ready!(this.poll_carrier(cx))?;
        let written = ready!(Pin::new(carrier).poll_write(cx, buf))?;
        if let Some(login) = &mut this.login {
            login.follow(&buf[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Stage::Open(carrier) = &mut this.stage {
            ready!(Pin::new(carrier).poll_flush(cx))?;
            this.end_encryption();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stage {
            Stage::Open(carrier) => Pin::new(carrier).poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// Follows packets as they are written.
#[derive(Debug, Default)]
struct Outgoing {
    header: Vec<u8>,
    /// Bytes of the packet after its header that are to come.
    left: usize,
    /// Whether the last packet of a message has been written.
    is_whole: bool,
}

impl Outgoing {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_whole {
            if self.left == 0 {
                let count = (HEADER_BYTES - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..count]);
                bytes = &bytes[count..];
                if self.header.len() < HEADER_BYTES {
                    return;
                }
                let length = usize::from(u16::from_be_bytes([self.header[2], self.header[3]]));
                self.left = length.saturating_sub(HEADER_BYTES);
            }
            let count = self.left.min(bytes.len());
            self.left -= count;
            bytes = &bytes[count..];
            if self.left == 0 {
                self.is_whole = self.header[1] & END_OF_MESSAGE != 0;
                self.header.clear();
            }
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_whole_with_its_last_packet() {
        let packet = |status, length: u8| {
            let mut packet = vec![0x10, status, 0, length, 0, 0, 1, 0];
            packet.resize(length.into(), 0xFF);
            packet
        };
        let login = [packet(0, 20), packet(0, 8), packet(1, 11)].concat();
        for size in 1..login.len() {
            let mut outgoing = Outgoing::default();
            let (last, before) = login.split_last().unwrap();
            before.chunks(size).for_each(|part| outgoing.follow(part));
            assert!(!outgoing.is_whole, "{size}");
            outgoing.follow(&[*last]);
            assert!(outgoing.is_whole, "{size}");
        }
    }
}
