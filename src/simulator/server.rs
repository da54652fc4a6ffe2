//! The listener: it accepts connections and owns their tasks.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::wire::{self, Backend, Identity, LoginRequest, Terms};

use super::behaviour::Behaviour;
use super::control::Control;
use super::protocol::ServerError;

/// Connections served at one time; one more is closed as soon as it is accepted.
const CONNECTION_LIMIT: usize = 256;

/// The first session id of a user, as in SQL Server.
const FIRST_SESSION: u16 = 51;

/// What the server says to a client that does or does not ask for encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// Everything is encrypted from the first byte on; a client that does not begin with TLS, as TDS 8.0 does, is
    /// turned away.
    Strict,
    /// Everything is encrypted; a client that cannot is turned away.
    Required,
    /// The client chooses: everything, from the first byte or the login on, the login alone, or nothing.
    #[default]
    Optional,
    /// Nothing is encrypted, as a server without a certificate.
    Off,
}

/// Who vouches for the server. The certificate itself is always for `localhost` and 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate {
    /// It signs its certificate itself.
    #[default]
    SelfSigned,
    /// An authority that is made with it has signed its certificate.
    ByAuthority,
}

/// Where to listen, and whom to let in.
#[derive(Debug)]
pub(crate) struct ServerOptions {
    /// The address; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// The server's own login.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: SecretString,
    /// The encryption offered.
    pub(crate) tls: Tls,
    /// Who vouches for the server.
    pub(crate) certificate: Certificate,
    /// What is left to chance; its seed is given.
    pub(crate) behaviour: Behaviour,
    /// What makes it fail.
    pub(crate) control: Control,
}

/// Opens a session for a login whose password has been checked. An error, such as 4060 for an unknown
/// database, is sent to the client before 18456 ends the connection.
pub(crate) type SessionFactory<S> =
    Arc<dyn Fn(&LoginRequest) -> Result<S, ServerError> + Send + Sync>;

/// A listening server. Dropping it closes the listener and every connection.
pub(crate) struct Server {
    address: SocketAddr,
    certificate: Vec<u8>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Listens, and serves until dropped.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the certificate cannot be made.
    #[cfg(test)]
    pub(crate) async fn bind<S: Backend>(
        options: ServerOptions,
        sessions: SessionFactory<S>,
    ) -> io::Result<Self> {
        let nobody = Accounts(Arc::new(|_, _| false));
        Self::bind_with(options, nobody, sessions).await
    }

    /// Listens, and serves until dropped; `accounts` are logins beside the server's own.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the certificate cannot be made.
    pub(crate) async fn bind_with<S: Backend>(
        options: ServerOptions,
        accounts: Accounts,
        sessions: SessionFactory<S>,
    ) -> io::Result<Self> {
        let identity = Identity::generate(options.certificate)?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let certificate = identity.trusted_der().to_vec();
        let terms = Terms {
            user: options.user,
            password: options.password,
            accounts,
            tls: options.tls,
            behaviour: options.behaviour,
            control: options.control,
            identity,
            sessions,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(terms)));
        Ok(Self {
            address,
            certificate,
            tasks,
        })
    }

    /// The address it listens on, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that clients have to trust, in DER.
    pub(crate) fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// Waits until the listener has ended, which it does only when accepting fails.
    pub(crate) async fn closed(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Whether a login of this name has this password.
#[derive(Clone)]
pub(crate) struct Accounts(pub(crate) Arc<PasswordCheck>);

/// A check of a name and a password.
type PasswordCheck = dyn Fn(&str, &str) -> bool + Send + Sync;

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn accept<S: Backend>(listener: TcpListener, terms: Arc<Terms<S>>) {
    let mut connections = JoinSet::new();
    let mut session = FIRST_SESSION;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection to the simulator broke");
                }
                continue;
            }
        };
        match accepted {
            Ok((socket, _)) if connections.len() < CONNECTION_LIMIT => {
                connections.spawn(serve(socket, Arc::clone(&terms), session));
                session = session.checked_add(1).unwrap_or(FIRST_SESSION);
            }
            Ok((_, peer)) => {
                tracing::warn!(%peer, "closed a connection: {CONNECTION_LIMIT} are open already");
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "the simulator cannot accept connections");
                return;
            }
        }
    }
}

async fn serve<S: Backend>(socket: TcpStream, terms: Arc<Terms<S>>, session: u16) {
    if let Err(error) = wire::serve(socket, &terms, session).await {
        tracing::debug!(session, %error, "a connection to the simulator ended");
    }
}

/// Whether only the connection being accepted failed, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
