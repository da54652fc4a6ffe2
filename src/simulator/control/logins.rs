//! What can strike a login.

use crate::simulator::protocol::ServerError;

/// What happens to logins whose password is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginFault {
    /// They are refused with this error.
    Refuse(ServerError),
    /// The connection is closed without a word, as by a server that is going down.
    Close,
    /// They are sent to another server (ENVCHANGE 20), as a read-only router or Azure's gateway does.
    Redirect {
        /// The other server's name.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Those that say that they only read are sent to another server, as an availability group's listener does; the
    /// others are let in.
    RedirectReaders {
        /// The other server's name.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl LoginFault {
    /// Error 40613, with which Azure SQL turns clients away during a failover.
    pub fn database_unavailable(database: &str) -> Self {
        let mut error = ServerError::new(
            40613,
            format!(
                "Database '{database}' on server 'CDCQL' is not currently available. Please retry the connection later."
            ),
        );
        error.severity = 17;
        Self::Refuse(error)
    }
}
