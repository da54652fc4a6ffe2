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
use super::zone::TimeZone;

/// What of the conversation with the server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypt {
    /// Everything, from the first byte on (TDS 8.0), and the certificate is always checked.
    Strict,
    /// Everything but the greeting; a server that cannot is refused. The default.
    Required,
    /// The login only: rows travel in the clear.
    Login,
    /// Nothing (`off`), unless the server insists: the password travels nearly in the clear.
    Off,
}

/// What the connection is for, by which an availability group's listener chooses the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationIntent {
    /// The primary. The default.
    ReadWrite,
    /// A secondary that may be read.
    ReadOnly,
}

/// Who logs in.
#[derive(Clone)]
pub(super) enum Login {
    /// A login of the server's own.
    Sql {
        user: String,
        password: SecretString,
    },
    /// Whoever the access token of Microsoft Entra ID stands for.
    Token(SecretString),
    /// The account of this process, by Kerberos.
    Integrated,
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
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

    /// Beside the words of [`Encrypt`], those that Microsoft's drivers know; all their weak ones encrypt the login.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "strict" => Ok(Self::Strict),
            "required" | "true" | "yes" | "on" | "mandatory" => Ok(Self::Required),
            "login" | "false" | "no" | "optional" => Ok(Self::Login),
            "off" => Ok(Self::Off),
            _ => Err("is not one of strict, required, login (login only), off".to_string()),
        }
    }
}

impl FromStr for ApplicationIntent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "read_write" | "readwrite" => Ok(Self::ReadWrite),
            "read_only" | "readonly" => Ok(Self::ReadOnly),
            _ => Err("is neither read_only nor read_write".to_string()),
        }
    }
}

/// How to reach a database of a SQL Server.
///
/// Options: `url`, or `host`, `port` (1433), `database`, `user`, `password`; instead of the last two `access_token`, or
/// `integrated_security`; `instance`, whose port the SQL Server Browser is asked for (at `port`, 1434); `encrypt`
/// (`strict`, `required`, `login`, `off`), `trust_server_certificate` (`false`), `ca_file` (a PEM or DER file),
/// `application_intent` (`read_write`), `multi_subnet_failover` (`false`), `application_name`, `time_zone` (IANA's or
/// Windows' name of the zone whose time the server's clock shows, as it tells since SQL Server 2022), `connect_timeout`
/// (15 s), `command_timeout` (300 s without a byte from the server) and `retry_timeout` (60 s). The url is
/// `sqlserver://user:password@host:1433/database?option=value`; `url` may be completed by other options, such as a
/// password that is kept elsewhere.
///
/// No error shows the password or the token, nor a value that was given as a [secret](ConnectionOption::secret).
#[derive(Clone)]
pub struct ConnectionConfig {
    host: String,
    port: u16,
    instance: Option<String>,
    database: String,
    login: Login,
    encrypt: Encrypt,
    trust_server_certificate: bool,
    ca_file: Option<PathBuf>,
    application_intent: ApplicationIntent,
    multi_subnet_failover: bool,
    application_name: String,
    time_zone: Option<TimeZone>,
    connect_timeout: Duration,
    command_timeout: Duration,
    retry_time: Duration,
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
    /// The options of a connection, in the order in which they are documented.
    pub const OPTIONS: [&str; 19] = [
        "url",
        "host",
        "port",
        "instance",
        "database",
        "user",
        "password",
        "access_token",
        "integrated_security",
        "encrypt",
        "trust_server_certificate",
        "ca_file",
        "application_intent",
        "multi_subnet_failover",
        "application_name",
        "time_zone",
        "connect_timeout",
        "command_timeout",
        "retry_timeout",
    ];

    /// The default of [`ConnectionConfig::retry_time`].
    pub const RETRY_TIME: Duration = Duration::from_secs(60);

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

    /// What is encrypted.
    pub fn encrypt(&self) -> Encrypt {
        self.encrypt
    }

    /// What the connection is for.
    pub fn application_intent(&self) -> ApplicationIntent {
        self.application_intent
    }

    /// For how long what fails and may pass by itself is tried again.
    pub fn retry_time(&self) -> Duration {
        self.retry_time
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

    /// Who logs in, for people.
    pub(super) fn shown_user(&self) -> String {
        match &self.login {
            Login::Sql { user, .. } => self.masks.quoted("user", user),
            Login::Token(_) => "(access token)".to_string(),
            Login::Integrated => "(this process's account)".to_string(),
        }
    }

    /// The named instance for people, in quotes.
    pub(super) fn shown_instance(&self) -> String {
        let name = self.instance.as_deref().unwrap_or_default();
        self.masks.quoted("instance", name)
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

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    pub(super) fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    pub(super) fn multi_subnet_failover(&self) -> bool {
        self.multi_subnet_failover
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

    /// The zone whose time the server's clock shows, where an option says.
    pub(super) fn time_zone(&self) -> Option<TimeZone> {
        self.time_zone
    }

    /// That zone for people, in quotes.
    pub(super) fn shown_time_zone(&self) -> String {
        let name = self.time_zone.map(|zone| zone.to_string());
        self.masks.quoted("time_zone", &name.unwrap_or_default())
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
