//! What ends a connection.

use std::io;
use std::time::Duration;

/// The reason why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The socket failed.
    #[error("the connection failed: {source}")]
    Io {
        /// The cause.
        #[from]
        source: io::Error,
    },
    /// The client sent something that is not TDS, or closed the connection in the middle of it.
    #[error("the client sent a malformed {what}: {problem}")]
    Malformed {
        /// The part of the protocol.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The client sent a message longer than the server takes.
    #[error("the client sent a message of more than {limit} bytes")]
    TooLong {
        /// The most that is taken.
        limit: usize,
    },
    /// The client stopped in the middle of the handshake.
    #[error("the client did not log in within {limit:?}")]
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// A fault on demand has cut the connection.
    #[error("the connection was cut on demand")]
    Cut,
    /// The client and the server do not agree on encryption.
    #[error("the client cannot encrypt and the server must")]
    NoEncryption,
}

impl WireError {
    pub(super) fn malformed(what: &'static str, problem: &'static str) -> Self {
        Self::Malformed { what, problem }
    }
}
