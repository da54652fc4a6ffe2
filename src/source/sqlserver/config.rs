//! Where the server is and how to log in.

mod draft;
mod mask;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use self::draft::Draft;
use self::mask::Masks;
use super::error::SourceError;

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

/// One option of a connection, as a statement gives it.
#[derive(Clone)]
pub struct ConnectionOption {
    name: String,
    value: SecretString,
    /// What errors call the value, where it is a secret.
    call: Option<String>,
}

impl ConnectionOption {
    /// An option whose value may be shown, unless it is the password.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: SecretString::from(value.into()),
            call: None,
        }
    }

    /// The same option with a value that no error shows; `call` is what was written for it, such as
    /// `secret('env', 'DB_HOST')`, and stands in its place.
    #[must_use]
    pub fn secret(mut self, call: impl fmt::Display) -> Self {
        self.call = Some(format!("the value of {call}"));
        self
    }
}

impl fmt::Debug for ConnectionOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOption")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl FromStr for Encrypt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "required" | "true" | "yes" | "on" | "mandatory" => Ok(Self::Required),
            "off" | "false" | "no" | "optional" => Ok(Self::LoginOnly),
            "disabled" => Ok(Self::Disabled),
            _ => Err("is not one of required, off (login only), disabled".to_string()),
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
///
/// No error shows the password, nor a value that was given as a [secret](ConnectionOption::secret).
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
    masks: Masks,
}

impl fmt::Debug for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionConfig")
            .field("server", &self.server())
            .field("database", &self.shown_database())
            .field("user", &self.shown_user())
            .field("encrypt", &self.encrypt)
            .field("trust_server_certificate", &self.trust_server_certificate)
            .finish_non_exhaustive()
    }
}

impl ConnectionConfig {
    /// Reads `sqlserver://user:password@host:1433/database?option=value`.
    ///
    /// # Errors
    /// An error of kind [`Configuration`](super::ErrorKind::Configuration); it never holds a part of the url
    /// that may be of the password.
    pub fn from_url(url: &str) -> Result<Self, SourceError> {
        Self::from_options(&[ConnectionOption::new("url", url)])
    }

    /// Reads the options of `CREATE CONNECTION`; names match without regard to case.
    ///
    /// # Errors
    /// An error of kind [`Configuration`](super::ErrorKind::Configuration): an option that is unknown
    /// (with the nearest name), missing, given twice, or has an unusable value.
    pub fn from_options(options: &[ConnectionOption]) -> Result<Self, SourceError> {
        let mut draft = Draft::default();
        for option in options {
            draft.read(option)?;
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

    /// Host and port for people.
    pub(super) fn server(&self) -> String {
        self.server_at(&self.host, self.port)
    }

    /// As [`ConnectionConfig::server`], for a server that this one redirects to.
    pub(super) fn server_at(&self, host: &str, port: u16) -> String {
        if host == self.host && port == self.port {
            self.masks.server(host, port)
        } else {
            self.masked(&format!("{host}:{port}"))
        }
    }

    /// The host for people, in quotes.
    pub(super) fn shown_host(&self) -> String {
        self.masks.quoted("host", &self.host)
    }

    /// The login's name for people, in quotes.
    pub(super) fn shown_user(&self) -> String {
        self.masks.quoted("user", &self.user)
    }

    /// The database's name for people, in quotes.
    pub(super) fn shown_database(&self) -> String {
        self.shown_as_database(&self.database)
    }

    /// The database's name as the server spells it for people, in quotes.
    pub(super) fn shown_as_database(&self, name: &str) -> String {
        self.masks.quoted("database", name)
    }

    /// A text of another program, which may repeat what it was sent, for people.
    pub(super) fn masked(&self, text: &str) -> String {
        self.masks.masked(text)
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

#[cfg(test)]
mod tests;
