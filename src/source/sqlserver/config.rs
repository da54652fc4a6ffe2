//! Where the server is and how to log in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::connect_error::ConnectError;
use super::error::SourceError;
use crate::nearest::nearest;

/// The options of a connection, in the order in which they are documented.
const OPTIONS: [&str; 12] = [
    "url",
    "host",
    "port",
    "database",
    "user",
    "password",
    "encrypt",
    "trust_server_certificate",
    "ca_file",
    "application_name",
    "connect_timeout",
    "command_timeout",
];

const DEFAULT_PORT: u16 = 1433;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
const DEFAULT_APPLICATION_NAME: &str = concat!("cdcql/", env!("CARGO_PKG_VERSION"));

/// What of the conversation with the server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypt {
    /// Everything; a server that cannot is refused. The default.
    Required,
    /// The login only (`off`): rows travel in the clear.
    LoginOnly,
    /// Nothing (`disabled`), unless the server insists: the password travels nearly in the clear.
    Disabled,
}

impl FromStr for Encrypt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "required" | "true" | "yes" | "on" | "mandatory" => Ok(Self::Required),
            "off" | "false" | "no" | "optional" => Ok(Self::LoginOnly),
            "disabled" => Ok(Self::Disabled),
            _ => Err(format!(
                "'{text}' is not one of required, off (login only), disabled"
            )),
        }
    }
}

/// How to reach a database of a SQL Server.
///
/// Options: `url`, or `host`, `port` (1433), `database`, `user`, `password`, `encrypt` (`required`; `off`
/// encrypts the login only; `disabled`), `trust_server_certificate` (`false`), `ca_file` (a PEM or DER
/// file), `application_name`, `connect_timeout` (15 s) and `command_timeout` (300 s without a byte from
/// the server). The url is `sqlserver://user:password@host:1433/database?option=value`; `url` may be
/// completed by other options, such as a password that is kept elsewhere.
#[derive(Clone)]
pub struct ConnectionConfig {
    host: String,
    port: u16,
    database: String,
    user: String,
    password: SecretString,
    encrypt: Encrypt,
    trust_server_certificate: bool,
    ca_file: Option<PathBuf>,
    application_name: String,
    connect_timeout: Duration,
    command_timeout: Duration,
}

impl fmt::Debug for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("encrypt", &self.encrypt)
            .field("trust_server_certificate", &self.trust_server_certificate)
            .finish_non_exhaustive()
    }
}

impl ConnectionConfig {
    /// Reads `sqlserver://user:password@host:1433/database?option=value`.
    ///
    /// # Errors
    /// An error of kind [`Configuration`](super::ErrorKind::Configuration); it never holds the password.
    pub fn from_url(url: &str) -> Result<Self, SourceError> {
        let mut draft = Draft::default();
        draft.read_url(url)?;
        Ok(draft.finish()?)
    }

    /// Reads the options of `CREATE CONNECTION`; names match without regard to case.
    ///
    /// # Errors
    /// An error of kind [`Configuration`](super::ErrorKind::Configuration): an option that is unknown
    /// (with the nearest name), missing, given twice, or has an unusable value.
    pub fn from_options(options: &[(String, String)]) -> Result<Self, SourceError> {
        let mut draft = Draft::default();
        for (name, value) in options {
            match name.to_ascii_lowercase().as_str() {
                "url" => draft.read_url(value)?,
                name => draft.set(name, value)?,
            }
        }
        Ok(draft.finish()?)
    }

    /// The host name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database, as written by the user.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The login's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What is encrypted.
    pub fn encrypt(&self) -> Encrypt {
        self.encrypt
    }

    pub(super) fn password(&self) -> &SecretString {
        &self.password
    }

    pub(super) fn trust_server_certificate(&self) -> bool {
        self.trust_server_certificate
    }

    pub(super) fn ca_file(&self) -> Option<&PathBuf> {
        self.ca_file.as_ref()
    }

    pub(super) fn application_name(&self) -> &str {
        &self.application_name
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(super) fn command_timeout(&self) -> Duration {
        self.command_timeout
    }
}

/// The options as text, each at most once.
#[derive(Default)]
struct Draft {
    values: Vec<(String, SecretString)>,
}

impl Draft {
    fn set(&mut self, name: &str, value: &str) -> Result<(), ConnectError> {
        if name == "url" || !OPTIONS.contains(&name) {
            return Err(ConnectError::UnknownOption {
                name: name.to_string(),
                suggestion: nearest(name, OPTIONS).map(str::to_owned),
            });
        }
        if self.values.iter().any(|(known, _)| known == name) {
            return Err(ConnectError::InvalidOption {
                name: name.to_string(),
                reason: "is given twice; keep one of them (the url counts too)".to_string(),
            });
        }
        self.values
            .push((name.to_string(), SecretString::from(value.to_string())));
        Ok(())
    }

    fn read_url(&mut self, text: &str) -> Result<(), ConnectError> {
        let url = Url::parse(text).map_err(|error| invalid_url(&error.to_string()))?;
        if url.scheme() != "sqlserver" {
            return Err(invalid_url("it does not begin with sqlserver://"));
        }
        if url.fragment().is_some() {
            return Err(invalid_url("it contains a bare '#'; write %23 for it"));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err(invalid_url("it names no host"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.set("host", &decoded("host", host)?)?;
        if let Some(port) = url.port() {
            self.set("port", &port.to_string())?;
        }
        if !url.username().is_empty() {
            self.set("user", &decoded("user", url.username())?)?;
        }
        if let Some(password) = url.password() {
            self.set("password", &decoded("password", password)?)?;
        }
        let database = decoded("database", url.path().trim_start_matches('/'))?;
        if !database.is_empty() {
            self.set("database", &database)?;
        }
        for (name, value) in url.query_pairs() {
            self.set(&name.to_ascii_lowercase(), &value)?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<SecretString> {
        let index = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.swap_remove(index).1)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        use secrecy::ExposeSecret;
        self.take(name)
            .map(|value| value.expose_secret().to_string())
    }

    fn required(&mut self, name: &'static str) -> Result<String, ConnectError> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .ok_or(ConnectError::MissingOption { name })
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConnectError> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => parse(text.trim()).map_err(|reason| ConnectError::InvalidOption {
                name: name.to_string(),
                reason,
            }),
        }
    }

    fn finish(mut self) -> Result<ConnectionConfig, ConnectError> {
        let host = self.required("host")?;
        if host.contains(['\\', ',', '/']) {
            return Err(ConnectError::InvalidOption {
                name: "host".to_string(),
                reason:
                    "is not a plain host name; write a named instance as its host and its TCP port"
                        .to_string(),
            });
        }
        let config = ConnectionConfig {
            host,
            port: self.parsed("port", DEFAULT_PORT, port)?,
            database: self.required("database")?,
            user: self.required("user")?,
            password: self
                .take("password")
                .ok_or(ConnectError::MissingOption { name: "password" })?,
            encrypt: self.parsed("encrypt", Encrypt::Required, str::parse)?,
            trust_server_certificate: self.parsed("trust_server_certificate", false, boolean)?,
            ca_file: self.text("ca_file").map(PathBuf::from),
            application_name: self
                .text("application_name")
                .unwrap_or_else(|| DEFAULT_APPLICATION_NAME.to_string()),
            connect_timeout: self.parsed("connect_timeout", DEFAULT_CONNECT_TIMEOUT, seconds)?,
            command_timeout: self.parsed("command_timeout", DEFAULT_COMMAND_TIMEOUT, seconds)?,
        };
        if config.trust_server_certificate && config.ca_file.is_some() {
            return Err(ConnectError::InvalidOption {
                name: "ca_file".to_string(),
                reason: "means nothing beside trust_server_certificate = true; keep one of them"
                    .to_string(),
            });
        }
        Ok(config)
    }
}

fn invalid_url(reason: &str) -> ConnectError {
    ConnectError::InvalidUrl {
        reason: reason.to_string(),
    }
}

/// A part of the url with its percent-encoding undone.
fn decoded(part: &str, value: &str) -> Result<String, ConnectError> {
    match percent_decode_str(value).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid_url(&format!(
            "its {part} is not UTF-8 after percent-decoding"
        ))),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("'{text}' is not a port from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(value @ 1..=86_400) => Ok(Duration::from_secs(value)),
        _ => Err(format!(
            "'{text}' is not a number of seconds from 1 to 86400"
        )),
    }
}

#[cfg(test)]
mod tests;
