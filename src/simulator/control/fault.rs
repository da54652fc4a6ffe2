//! What can strike a statement.

use crate::simulator::protocol::ServerError;

/// What happens to a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not run, and fails with this error; from severity 20 on the connection ends with it.
    Error(ServerError),
    /// It is not run; the transaction is rolled back, and it fails with error 1205.
    DeadlockVictim,
    /// It runs until this many rows have been sent, and fails with the error then. One with fewer rows fails
    /// at its end.
    ErrorAfterRows {
        /// Rows that the client gets.
        rows: u64,
        /// The error.
        error: ServerError,
    },
    /// It runs until this many rows have been sent; half of the next row follows, and the connection is cut.
    /// One with fewer rows is cut before its end.
    CutInRow {
        /// Whole rows that the client gets.
        after: u64,
    },
    /// It runs when it is released, as if it had waited for a lock. It can be cancelled until then.
    Stall,
    /// It runs when it is released, and the client's attention is acknowledged no earlier than that.
    LateAttention,
    /// It runs, and INFO messages and the ends of nested statements (DONEINPROC) stand between its tokens: before
    /// each result set, between rows, and before each end.
    Interjections,
}

impl Fault {
    /// Error 1222, as for a statement that waited longer than LOCK_TIMEOUT.
    pub fn lock_timeout() -> Self {
        let mut error = ServerError::new(1222, "Lock request time out period exceeded.");
        error.state = 51;
        Self::Error(error)
    }
}

/// 1205, to a session of this id.
pub(in crate::simulator) fn deadlock(session: u16) -> ServerError {
    let mut error = ServerError::new(
        1205,
        format!(
            "Transaction (Process ID {session}) was deadlocked on lock resources with another process and has \
             been chosen as the deadlock victim. Rerun the transaction."
        ),
    );
    error.severity = 13;
    error.state = 51;
    error
}
