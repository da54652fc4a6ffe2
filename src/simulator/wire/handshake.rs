//! From an accepted socket to a session: PRELOGIN, TLS, LOGIN7.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::simulator::control::{Encryption, LoginFault};
use crate::simulator::protocol::{Language, ServerError};
use crate::simulator::server::Tls;

use super::backend::Backend;
use super::connection::Terms;
use super::error::WireError;
use super::login::{DEFAULT_PACKET_SIZE, LoginRequest};
use super::outgoing::Outgoing;
use super::packet::{Incoming, LOGIN_LIMIT, Message, PacketType};
use super::prelogin::PreLogin;
use super::stream::Stream;
use super::tls::Identity;
use super::token::{self, Change, DONE_ERROR, Done, DoneToken};

/// How long a client may take to log in.
const LIMIT: Duration = Duration::from_secs(15);
/// The oldest version spoken, 7.3: the first with DATE and its kin.
const TDS_7_3: u32 = 0x730a_0003;
/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Introduced {
    pub(super) stream: Stream,
    pub(super) incoming: Incoming,
    pub(super) login: LoginRequest,
    pub(super) encryption: Encryption,
}

/// Hears the client out, up to its login.
pub(super) async fn introduce(
    socket: TcpStream,
    tls: Tls,
    identity: &Identity,
    session: u16,
) -> Result<Introduced, WireError> {
    let steps = Box::pin(steps(socket, tls, identity, session));
    timeout(LIMIT, steps)
        .await
        .map_err(|_| WireError::TimedOut { limit: LIMIT })?
}

async fn steps(
    socket: TcpStream,
    tls: Tls,
    identity: &Identity,
    session: u16,
) -> Result<Introduced, WireError> {
    socket.set_nodelay(true)?;
    let mut incoming = Incoming::new(LOGIN_LIMIT);
    let (mut stream, encryption) = if begins_with_tls(&socket, tls).await? {
        let mut stream = Stream::Tls(Box::new(identity.accept_strictly(socket).await?));
        greet(&mut incoming, &mut stream, Tls::Strict, session).await?;
        (stream, Encryption::Strict)
    } else {
        let mut socket = socket;
        let encryption = greet(&mut incoming, &mut socket, tls, session).await?;
        let stream = match encryption {
            Encryption::Nothing => Stream::Plain(socket),
            _ => Stream::Tls(Box::new(identity.accept(socket).await?)),
        };
        (stream, encryption)
    };
    let login = expect(&mut incoming, &mut stream, PacketType::Login7).await?;
    if encryption == Encryption::LoginOnly {
        stream = stream.into_plain();
    }
    Ok(Introduced {
        stream,
        incoming,
        login: LoginRequest::decode(&login.body, session)?,
        encryption,
    })
}

/// Whether the client speaks TDS 8.0, where TLS comes first; an error if only one of both may.
async fn begins_with_tls(socket: &TcpStream, tls: Tls) -> Result<bool, WireError> {
    let mut first = [0];
    socket.peek(&mut first).await?;
    match (tls, first == [TLS_HANDSHAKE]) {
        (Tls::Off, true) => Err(WireError::malformed("handshake", "it begins with TLS")),
        (Tls::Strict, false) => Err(WireError::NoEncryption),
        (_, is_tls) => Ok(is_tls),
    }
}

/// Answers PRELOGIN, and says what is to be encrypted.
async fn greet<S>(
    incoming: &mut Incoming,
    stream: &mut S,
    tls: Tls,
    session: u16,
) -> Result<Encryption, WireError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let prelogin = expect(incoming, stream, PacketType::PreLogin).await?;
    let (answer, agreed) = PreLogin::decode(&prelogin.body)?.negotiate(tls);
    let mut outgoing = Outgoing::new(DEFAULT_PACKET_SIZE, session);
    outgoing.tokens().extend_from_slice(&answer);
    outgoing.end(stream).await?;
    agreed.ok_or(WireError::NoEncryption)
}

/// The next message, which must be of this type and must not be followed before it is answered: what was
/// sent in plain text is not to be taken for what comes under TLS.
async fn expect<R: tokio::io::AsyncRead + Unpin>(
    incoming: &mut Incoming,
    input: &mut R,
    kind: PacketType,
) -> Result<Message, WireError> {
    let message = incoming.next(input).await?;
    let message = message.ok_or(WireError::malformed("handshake", "it ends too early"))?;
    if message.kind != kind {
        return Err(WireError::malformed("handshake", "its order is wrong"));
    }
    if !incoming.is_drained() {
        return Err(WireError::malformed("handshake", "it runs ahead"));
    }
    Ok(message)
}

/// Opens the session, or says why not.
pub(super) fn admit<S: Backend>(
    terms: &Terms<S>,
    login: &LoginRequest,
) -> Result<S, Vec<ServerError>> {
    if login.tds_version < TDS_7_3 {
        return Err(vec![too_old(login.tds_version)]);
    }
    if login.integrated {
        return Err(vec![untrusted()]);
    }
    if !login.is_by(&terms.user, &terms.password) && !login.is_of(&terms.accounts) {
        return Err(vec![failed(login.user())]);
    }
    let opened = (terms.sessions)(login);
    opened.map_err(|cause| vec![cause, failed(login.user())])
}

/// The tokens that welcome a client, in SQL Server's order.
pub(super) fn welcome(out: &mut Vec<u8>, login: &LoginRequest, database: &str, language: Language) {
    welcome_and(out, login, (database, language), None);
}

/// The same, with a change that stands behind LOGINACK.
fn welcome_and(
    out: &mut Vec<u8>,
    login: &LoginRequest,
    (database, language): (&str, Language),
    further: Option<Change<'_>>,
) {
    let (old, new) = ("master", database);
    token::change(out, Change::Database { old, new });
    let context = format!("Changed database context to '{database}'.");
    token::message(out, &language.message(&info(5701, 2, context)));
    token::change(out, Change::Collation);
    let (old, new) = (None, language);
    let greeting = Change::Language { old, new };
    token::change(out, greeting);
    let setting = format!("Changed language setting to {}.", language.name());
    token::message(out, &language.message(&info(5703, 1, setting)));
    token::login_ack(out, login);
    let size = login.packet_size;
    token::change(out, Change::PacketSize { size });
    if let Some(change) = further {
        token::change(out, change);
    }
    if let Some(features) = &login.features {
        token::feature_ext_ack(out, features);
    }
    token::done(out, Done::plain(DoneToken::Batch, 0));
}

/// Does to a login, whose password is right, what a fault on demand has for it.
pub(super) async fn fail_login(
    introduced: Introduced,
    session: u16,
    fault: LoginFault,
    (database, language): (&str, Language),
) -> Result<(), WireError> {
    match fault {
        LoginFault::Refuse(error) => turn_away(introduced.stream, session, &[error]).await,
        LoginFault::Close => Err(WireError::Cut),
        LoginFault::Redirect { host, port } | LoginFault::RedirectReaders { host, port } => {
            let mut outgoing = Outgoing::new(DEFAULT_PACKET_SIZE, session);
            let host = &host;
            let routing = Change::Routing { host, port };
            welcome_and(
                outgoing.tokens(),
                &introduced.login,
                (database, language),
                Some(routing),
            );
            say_goodbye(introduced.stream, outgoing).await
        }
    }
}

/// Sends errors, and closes the connection once the client has had them.
pub(super) async fn turn_away(
    stream: Stream,
    session: u16,
    errors: &[ServerError],
) -> Result<(), WireError> {
    let mut outgoing = Outgoing::new(DEFAULT_PACKET_SIZE, session);
    for error in errors {
        token::message(outgoing.tokens(), error);
    }
    token::done(outgoing.tokens(), Done::plain(DoneToken::Batch, DONE_ERROR));
    say_goodbye(stream, outgoing).await
}

async fn say_goodbye(mut stream: Stream, mut outgoing: Outgoing) -> Result<(), WireError> {
    let goodbye = async {
        outgoing.end(&mut stream).await?;
        stream.shutdown().await?;
        // Closing a socket with unread bytes in it would take the errors back.
        let mut rest = [0; 512];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
        Ok::<_, WireError>(())
    };
    timeout(LIMIT, goodbye)
        .await
        .map_err(|_| WireError::TimedOut { limit: LIMIT })?
}

/// 18456. The state is always 1: the true cause is not for the client.
fn failed(user: &str) -> ServerError {
    error(18456, 14, format!("Login failed for user '{user}'."))
}

fn untrusted() -> ServerError {
    let cause = "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.";
    error(18452, 14, cause.to_owned())
}

fn too_old(version: u32) -> ServerError {
    let cause = format!("TDS version {version:#010x} is older than 7.3, the oldest spoken here.");
    error(17832, 20, cause)
}

fn error(number: u32, severity: u8, message: String) -> ServerError {
    ServerError {
        number,
        severity,
        state: 1,
        line: 1,
        message,
    }
}

fn info(number: u32, state: u8, message: String) -> ServerError {
    ServerError {
        number,
        severity: 0,
        state,
        line: 1,
        message,
    }
}
