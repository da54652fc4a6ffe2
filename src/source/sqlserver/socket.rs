//! A client and the connection below it, through which a request that nobody waits for any more is cancelled.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::compat::Compat;

use super::bulk::{Passage, Rows};
use super::transport::{Encryption, Socket, Tcp, Wanted};

/// A logged-in client; one request at a time.
pub(super) type Client = tiberius::Client<Compat<Socket>>;

/// How long the server may take to close a connection that was given up.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that are thrown away at once meanwhile.
const DISCARDED: usize = 16 * 1024;

/// A client and the socket below it.
///
/// Dropping it closes the connection; if a request may be under way, that is cancelled before.
pub(super) struct Connection {
    client: Box<Client>,
    stream: Arc<TcpStream>,
    last: Arc<AtomicBool>,
    wanted: Wanted,
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
    /// The connection of the client that `log_in` makes over `stream`.
    pub(super) async fn of<E>(
        stream: TcpStream,
        encryption: Encryption,
        log_in: impl AsyncFnOnce(Socket) -> Result<Client, E>,
    ) -> Result<Self, E> {
        let tcp = Tcp::new(stream);
        let (stream, last) = tcp.parts();
        let socket = Socket::new(tcp, encryption);
        let wanted = socket.wanted();
        Ok(Self {
            client: Box::new(log_in(socket).await?),
            stream,
            last,
            wanted,
            is_busy: false,
            permit: None,
        })
    }

    /// The client, for a request.
    pub(super) fn client(&mut self) -> &mut Client {
        self.wanted.set(None);
        self.is_busy = true;
        &mut self.client
    }

    /// The client, for a request with many rows in its `result`-th result set, counted from zero, and what takes these.
    pub(super) fn client_for_many(&mut self, result: usize) -> (&mut Client, Rows) {
        let passage = Passage::default();
        self.wanted.set(Some((result, passage.clone())));
        self.is_busy = true;
        (&mut self.client, Rows::new(passage))
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
