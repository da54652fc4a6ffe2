//! Opening one connection, and what the driver's errors mean.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::ExposeSecret;
use socket2::{SockRef, TcpKeepalive};
use tiberius::error::Error as DriverError;
use tiberius::{AuthMethod, EncryptionLevel, SqlBrowser};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncWriteCompatExt;

use super::config::{ApplicationIntent, ConnectionConfig, Encrypt, Login};
use super::connect_error::ConnectError;
use super::error::SourceError;
use super::socket::{Client, Connection};
use super::transport::{Encryption, Socket, Trust};

/// Azure's gateway redirects once; a second hop is followed, a third is a circle.
const MAX_REDIRECTS: usize = 2;

/// Larger than the default 4096: fewer packets for the same rows.
const PACKET_SIZE: u32 = 32_767;

/// How long a connection is silent before the operating system asks whether the other end is still there, and
/// how often it then asks: as SQL Server's own drivers do, so that a firewall does not forget it either.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

const NOT_A_SQL_SERVER: &str = "check that a SQL Server listens on that port";
const NOT_STRICT: &str = "encrypt = strict needs TDS 8.0 (SQL Server 2022 or later, with a certificate): \
    check that a SQL Server of that kind listens on that port, or write encrypt = required";

/// Connects and logs in, following redirections.
pub(super) async fn open(config: &ConnectionConfig) -> Result<Connection, ConnectError> {
    let (mut host, mut port) = (config.host().to_string(), config.port());
    // A redirection names a port, not an instance.
    let mut instance = config.instance();
    for _ in 0..=MAX_REDIRECTS {
        let mut driver = driver_config(config, &host, port);
        let by_name = instance.take();
        if let Some(name) = by_name {
            driver.instance_name(name);
        }
        let socket = connect_tcp(config, &driver, (&host, port), by_name.is_some()).await?;
        if by_name.is_some() {
            // What was asked so far was the Browser's port; the instance's own is part of its service's name.
            driver.port(socket.peer_addr().map_or(port, |address| address.port()));
        }
        let log_in =
            async |socket: Socket| Box::pin(Client::connect(driver, socket.compat_write())).await;
        let encryption = encryption(config, &host).await?;
        let answers_in_clear = Arc::clone(&encryption.answers_in_clear);
        match Connection::of(socket, encryption, log_in).await {
            Ok(connection) => return Ok(connection),
            // Whoever can write to the connection may have said where the password is to go, and have a certificate for it.
            Err(DriverError::Routing { .. })
                if answers_in_clear.load(Ordering::Relaxed)
                    && !config.trust_server_certificate() =>
            {
                return Err(ConnectError::UnsafeRedirect {
                    server: config.server_at(&host, port),
                });
            }
            Err(DriverError::Routing {
                host: next_host,
                port: next_port,
            }) => (host, port) = (next_host, next_port),
            Err(error) => return Err(handshake_error(config, &host, port, error)),
        }
    }
    Err(ConnectError::TooManyRedirects {
        server: config.server(),
        limit: MAX_REDIRECTS,
    })
}
/// A connection to the first address that accepts one; to the first of all at once, and to the port that the SQL
/// Server Browser tells, the driver connects.
async fn connect_tcp(
    config: &ConnectionConfig,
    driver: &tiberius::Config,
    (host, port): (&str, u16),
    by_name: bool,
) -> Result<TcpStream, ConnectError> {
    let limit = config.connect_timeout();
    let unreachable = |source| ConnectError::Unreachable {
        server: config.server_at(host, port),
        source,
    };
    let attempt = async {
        let addresses = tokio::net::lookup_host((host, port))
            .await
            .map_err(|source| ConnectError::UnknownHost {
                host: config.shown_host(),
                source,
            })?
            .collect::<Vec<_>>();
        let socket = if by_name || config.multi_subnet_failover() {
            let connected = TcpStream::connect_named(driver).await;
            connected.map_err(|error| match error {
                DriverError::Io { kind, message } => unreachable(io::Error::new(kind, message)),
                _ => ConnectError::UnknownInstance {
                    instance: config.shown_instance(),
                    server: config.server_at(host, port),
                },
            })?
        } else {
            connect_first(&addresses).await.map_err(unreachable)?
        };
        keep_alive(&socket).map_err(unreachable)?;
        Ok(socket)
    };
    let too_slow = |_| {
        let text = format!("no answer within {} s", limit.as_secs());
        unreachable(io::Error::new(io::ErrorKind::TimedOut, text))
    };
    timeout(limit, attempt).await.map_err(too_slow)?
}

async fn connect_first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

fn driver_config(config: &ConnectionConfig, host: &str, port: u16) -> tiberius::Config {
    let mut driver = tiberius::Config::new();
    driver.host(host);
    driver.port(port);
    driver.database(config.database());
    driver.application_name(config.application_name());
    driver.authentication(match config.login() {
        Login::Sql { user, password } => AuthMethod::sql_server(user, password.expose_secret()),
        Login::Token(token) => AuthMethod::aad_token(token.expose_secret()),
        #[cfg(all(unix, feature = "integrated"))]
        Login::Integrated => AuthMethod::Integrated,
        // The options of such a connection were refused already.
        #[cfg(not(all(unix, feature = "integrated")))]
        Login::Integrated => AuthMethod::None,
    });
    // The socket below encrypts.
    driver.encryption(EncryptionLevel::NotSupported);
    driver.readonly(config.application_intent() == ApplicationIntent::ReadOnly);
    driver.multi_subnet_failover(config.multi_subnet_failover());
    driver.packet_size(PACKET_SIZE);
    driver.handshake_timeout(Some(config.connect_timeout()));
    driver.command_timeout(Some(config.command_timeout()));
    // One lone surrogate in an nvarchar would otherwise end every read of its table for good.
    driver.lossy_utf16_decoding(true);
    driver
}

async fn encryption(config: &ConnectionConfig, host: &str) -> Result<Encryption, ConnectError> {
    let trust = match (config.trust_server_certificate(), config.ca_file()) {
        (true, _) => Trust::All,
        (false, None) => Trust::Authorities(None),
        (false, Some(path)) => {
            let bytes = tokio::fs::read(path).await;
            Trust::Authorities(Some(bytes.map_err(|source| ConnectError::CaFile {
                path: PathBuf::from(config.masked(&path.display().to_string())),
                source,
            })?))
        }
    };
    Ok(Encryption {
        wanted: config.encrypt(),
        trust,
        host: host.to_string(),
        answers_in_clear: Arc::default(),
    })
}

fn handshake_error(
    config: &ConnectionConfig,
    host: &str,
    port: u16,
    error: DriverError,
) -> ConnectError {
    let server = config.server_at(host, port);
    let handshake = |reason: String, remedy| ConnectError::Handshake {
        server: server.clone(),
        reason: config.masked(&reason),
        remedy,
    };
    match error {
        DriverError::Server(token) => login_error(config, &token),
        // The TLS layer reports most of its failures as invalid data.
        DriverError::Tls(reason)
        | DriverError::Io {
            kind: io::ErrorKind::InvalidData,
            message: reason,
        } => ConnectError::Tls {
            reason: config.masked(&reason),
            server,
        },
        DriverError::Io {
            kind: io::ErrorKind::TimedOut,
            ..
        } => ConnectError::ConnectTimeout {
            server,
            seconds: config.connect_timeout().as_secs(),
        },
        DriverError::Io {
            kind: io::ErrorKind::Unsupported,
            message,
        } => handshake(
            message,
            "install a certificate there, or set encrypt = off on a network you trust",
        ),
        DriverError::Io { message, .. } if config.encrypt() == Encrypt::Strict => {
            handshake(message, NOT_STRICT)
        }
        DriverError::Io { message, .. } => handshake(message, NOT_A_SQL_SERVER),
        other => handshake(other.to_string(), NOT_A_SQL_SERVER),
    }
}

fn login_error(config: &ConnectionConfig, token: &tiberius::error::TokenError) -> ConnectError {
    let (number, message) = (token.code(), config.masked(token.message()));
    let (host, user) = (config.shown_host(), config.shown_user());
    match number {
        911 | 916 | 4060 | 4064 | 40_532 => ConnectError::DatabaseUnavailable {
            database: config.shown_database(),
            host,
            user,
            number,
            message,
        },
        18_400..=18_499 => ConnectError::LoginFailed {
            host,
            user,
            number,
            message,
            remedy: match config.login() {
                Login::Sql { .. } => "check user and password of the connection",
                Login::Token(_) => "renew the access token of the connection",
                Login::Integrated => "check this process's Kerberos ticket (klist)",
            },
        },
        _ => ConnectError::Refused {
            host,
            number,
            message,
        },
    }
}

/// What a failed request means; `action` completes "while …".
pub(super) fn request_error(
    action: &str,
    config: &ConnectionConfig,
    error: DriverError,
) -> SourceError {
    let action = action.to_string();
    match error {
        DriverError::Server(token) => {
            let (number, message) = (token.code(), config.masked(token.message()));
            match number {
                229 | 230 | 262 | 297 | 300 | 916 => SourceError::PermissionDenied {
                    action,
                    number,
                    message,
                },
                _ => SourceError::Server {
                    action,
                    number,
                    state: token.state(),
                    message,
                },
            }
        }
        DriverError::Io {
            kind: io::ErrorKind::TimedOut,
            ..
        } => SourceError::Timeout {
            action,
            seconds: config.command_timeout().as_secs(),
        },
        error @ (DriverError::Encoding(_)
        | DriverError::Conversion(_)
        | DriverError::Utf8
        | DriverError::Utf16) => SourceError::Undecodable {
            action,
            source: Box::new(error),
        },
        other => SourceError::Broken {
            action,
            source: Box::new(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::ErrorKind;

    fn config(port: u16) -> ConnectionConfig {
        ConnectionConfig::from_url(&format!(
            "sqlserver://u:hidden@127.0.0.1:{port}/d?connect_timeout=1"
        ))
        .unwrap()
    }

    #[tokio::test]
    async fn a_silent_connection_is_kept_alive() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(listener.local_addr().unwrap().port());
        let place = (config.host(), config.port());
        let driver = driver_config(&config, place.0, place.1);
        let socket = connect_tcp(&config, &driver, place, false).await.unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
    }

    #[tokio::test]
    async fn what_the_driver_has_to_do_is_passed_on() {
        let config = ConnectionConfig::from_url(
            "sqlserver://h/d?access_token=eyJ0.hush&application_intent=read_only&multi_subnet_failover=yes",
        );
        let driver = driver_config(&config.unwrap(), "h", 1433);
        let shown = format!("{driver:?}");
        assert!(driver.get_multi_subnet_failover());
        assert!(
            shown.contains("AADToken") && shown.contains("readonly: true"),
            "{shown}"
        );
        assert!(!shown.contains("hush"));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = open(&config(port)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Connection);
    }

    #[tokio::test]
    async fn a_silent_server_times_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = tokio::spawn(async move {
            let accepted = listener.accept().await;
            std::future::pending::<()>().await;
            drop(accepted);
        });
        let error = open(&config(port)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::ConnectTimeout { .. }),
            "{error}"
        );
        silent.abort();
    }

    #[tokio::test]
    async fn another_protocol_is_a_handshake_error() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let http = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
        });
        let error = open(&config(port)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(!error.to_string().contains("hidden"));
        http.await.unwrap();
    }

    #[test]
    fn a_value_that_cannot_be_decoded_is_no_broken_connection() {
        for error in [
            DriverError::Encoding("invalid sequence".into()),
            DriverError::Utf16,
        ] {
            let error = request_error("reading dbo.t", &config(1), error);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("while reading dbo.t"), "{error}");
        }
    }
}
