//! What can go wrong before a connection stands: its options, the network, the login.

use std::io;
use std::path::PathBuf;

use super::error::ErrorKind;
use super::ident::{did_you_mean, quote};

/// Why a connection cannot be made.
///
/// `Display` names the object, the cause and what to do next; it never holds a password, and of what was given
/// as a secret it says where that is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The `url` option cannot be read.
    #[error(
        "the connection's url cannot be read: {reason}; write sqlserver://user:password@host:1433/database, with special characters of the password percent-encoded"
    )]
    InvalidUrl {
        /// What is wrong with it; never the URL itself.
        reason: String,
    },
    /// An option that no connection has.
    #[error("a sqlserver connection has no option '{name}'{}", did_you_mean(.suggestion))]
    UnknownOption {
        /// The option as written.
        name: String,
        /// The nearest option that exists.
        suggestion: Option<String>,
    },
    /// An option that a connection needs.
    #[error("the sqlserver connection lacks the option '{name}'; add it to OPTIONS or to the url")]
    MissingOption {
        /// The option's name.
        name: &'static str,
    },
    /// An option whose value cannot be used.
    #[error("option '{name}' of the sqlserver connection: {reason}")]
    InvalidOption {
        /// The option's name.
        name: String,
        /// What is wrong and what to write; never a secret.
        reason: String,
    },
    /// The file named by `ca_file` cannot be read.
    #[error("ca_file '{}' cannot be read; name a PEM or DER file with the certificate authority's certificate", path.display())]
    CaFile {
        /// The path as given.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// The host name has no address.
    #[error("host {host} cannot be resolved; check the host name of the connection")]
    UnknownHost {
        /// The host as given, in quotes.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address of the host accepts a TCP connection.
    #[error(
        "no SQL Server answers at {server}; check host, port and firewall, and that the server listens on TCP"
    )]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Nobody knows the port of a named instance.
    #[error(
        "no SQL Server Browser at {server} tells the port of instance {instance}; check the instance's name and that the Browser runs (UDP), or name the instance's own port instead"
    )]
    UnknownInstance {
        /// The instance, in quotes.
        instance: String,
        /// The Browser's host and port.
        server: String,
    },
    /// The server did not finish the handshake in time.
    #[error(
        "{server} did not complete a SQL Server handshake within {seconds} s; check that a SQL Server listens on that port, or raise connect_timeout"
    )]
    ConnectTimeout {
        /// Host and port.
        server: String,
        /// The limit that passed.
        seconds: u64,
    },
    /// Encryption could not be established.
    #[error(
        "no encrypted connection to {server}: {reason}; name the server's authority in ca_file, or set trust_server_certificate = true on a network you trust"
    )]
    Tls {
        /// Host and port.
        server: String,
        /// What the TLS layer said.
        reason: String,
    },
    /// The server and this client disagree about the protocol.
    #[error("the handshake with {server} failed: {reason}; {remedy}")]
    Handshake {
        /// Host and port.
        server: String,
        /// What happened.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The server keeps sending the client elsewhere.
    #[error(
        "{server} redirects in circles ({limit} redirections followed); connect to the final address instead"
    )]
    TooManyRedirects {
        /// Host and port that were asked first.
        server: String,
        /// How many were followed.
        limit: usize,
    },
    /// A server sends the client elsewhere, in words that anybody may have written.
    #[error(
        "{server} redirects to another server, which encrypt = login does not protect from being forged; set encrypt = required, or connect to the other server itself"
    )]
    UnsafeRedirect {
        /// Host and port.
        server: String,
    },
    /// User or password are wrong, or the login may not connect.
    #[error("{host} refused the login {user} (error {number}: {message}); {remedy}")]
    LoginFailed {
        /// The host, in quotes.
        host: String,
        /// The user, in quotes.
        user: String,
        /// The server's error number, such as 18456.
        number: u32,
        /// The server's text.
        message: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The server does not let this client in, for a reason of its own.
    #[error(
        "{host} refused the connection (error {number}: {message}); see the error's number in SQL Server's documentation"
    )]
    Refused {
        /// The host, in quotes.
        host: String,
        /// The server's error number.
        number: u32,
        /// The server's text.
        message: String,
    },
    /// The database does not exist, or the login may not open it.
    #[error(
        "database {database} on {host} cannot be opened by {user} (error {number}: {message}); check the database's name, and that the login has a user in it"
    )]
    DatabaseUnavailable {
        /// The database, in quotes.
        database: String,
        /// The host, in quotes.
        host: String,
        /// The user, in quotes.
        user: String,
        /// The server's error number, such as 4060.
        number: u32,
        /// The server's text.
        message: String,
    },
}

impl ConnectError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidUrl { .. }
            | Self::UnknownOption { .. }
            | Self::MissingOption { .. }
            | Self::InvalidOption { .. }
            | Self::CaFile { .. } => ErrorKind::Configuration,
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::UnknownInstance { .. }
            | Self::ConnectTimeout { .. }
            | Self::Tls { .. }
            | Self::Handshake { .. }
            | Self::TooManyRedirects { .. }
            | Self::UnsafeRedirect { .. }
            | Self::Refused { .. }
            | Self::DatabaseUnavailable { .. } => ErrorKind::Connection,
            Self::LoginFailed { .. } => ErrorKind::Login,
        }
    }

    /// The T-SQL that lets the login into the database, where it may be that alone which lacks.
    pub fn remedy(&self) -> Option<String> {
        let Self::DatabaseUnavailable {
            database,
            user,
            number: 916 | 4060,
            ..
        } = self
        else {
            return None;
        };
        // What was given as a secret has no quotes.
        let name = |shown: &str| Some(quote(shown.strip_prefix('\'')?.strip_suffix('\'')?));
        let (database, user) = (name(database)?, name(user)?);
        Some(format!(
            "USE {database};\nCREATE USER {user} FOR LOGIN {user};"
        ))
    }

    /// The server's error number, where the server sent one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::LoginFailed { number, .. }
            | Self::Refused { number, .. }
            | Self::DatabaseUnavailable { number, .. } => Some(*number),
            _ => None,
        }
    }
}
