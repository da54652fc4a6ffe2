//! The TCP connection below a client, through which a request that nobody waits for any more is cancelled.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::compat::Compat;

/// A logged-in client; one request at a time.
pub(super) type Client = tiberius::Client<Compat<Socket>>;

/// How long the server may take to close a connection that was given up.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that are thrown away at once meanwhile.
const DISCARDED: usize = 16 * 1024;

/// A TCP stream that can be told that what is written next is its last.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    last: Arc<AtomicBool>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Arc::new(stream),
            last: Arc::default(),
        }
    }

    fn is_parting(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    fn poll_try(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_parting() {
            return Poll::Pending;
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Never ends once the last words are written, so that nobody reads an answer to them.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_parting() {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}

/// A client and the socket below it.
///
/// Dropping it closes the connection; if a request may be under way, that is cancelled before.
pub(super) struct Connection {
    client: Box<Client>,
    stream: Arc<TcpStream>,
    last: Arc<AtomicBool>,
    /// Whether a request may be under way.
    is_busy: bool,
    /// The place that it takes among the connections of its pool while it is lent.
    permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_busy", &self.is_busy)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The connection of the client that `log_in` makes over `socket`.
    pub(super) async fn of<E>(
        socket: Socket,
        log_in: impl AsyncFnOnce(Socket) -> Result<Client, E>,
    ) -> Result<Self, E> {
        let (stream, last) = (Arc::clone(&socket.stream), Arc::clone(&socket.last));
        Ok(Self {
            client: Box::new(log_in(socket).await?),
            stream,
            last,
            is_busy: false,
            permit: None,
        })
    }

    /// The client, for a request.
    pub(super) fn client(&mut self) -> &mut Client {
        self.is_busy = true;
        &mut self.client
    }

    /// The connection when its last answer has been read to the end, in nobody's hands.
    pub(super) fn rested(mut self) -> Self {
        self.is_busy = false;
        self.permit = None;
        self
    }

    /// The connection while it takes a place.
    pub(super) fn lent(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Cancels the request that is under way.
    ///
    /// The attention is handed to the operating system before this returns, also where no runtime is left. It is the
    /// driver's, which knows whether a request is whole on the wire; where one is not, or has timed out, or the socket
    /// takes nothing more, there is none, and a server ends the request because the connection is closed.
    fn cancel(&mut self) {
        self.last.store(true, Ordering::Relaxed);
        // Pending as soon as the attention is written: the driver must not read on from the middle of an answer.
        let _ = Box::pin(self.client.cancel_query())
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let _ = SockRef::from(&*self.stream).shutdown(Shutdown::Write);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_busy {
            return;
        }
        self.cancel();
        // A socket that is closed with unread bytes in it may take the attention back.
        if let Ok(runtime) = Handle::try_current() {
            let (stream, permit) = (Arc::clone(&self.stream), self.permit.take());
            runtime.spawn(async move {
                let _ = timeout(FAREWELL, discard(&stream)).await;
                drop(permit);
            });
        }
    }
}

/// Reads up to the end of the stream, and keeps nothing.
async fn discard(stream: &TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; DISCARDED];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
