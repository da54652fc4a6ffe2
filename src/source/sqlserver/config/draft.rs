//! The options of a connection while they are read.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::mask::Masks;
use super::url::parts_of;
use super::{ConnectionConfig, ConnectionOption, Encrypt};
use crate::nearest::nearest;
use crate::source::sqlserver::connect_error::ConnectError;

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

/// The options as text, each at most once.
#[derive(Default)]
pub(super) struct Draft {
    values: Vec<(String, SecretString)>,
    masks: Masks,
}

impl Draft {
    /// Adds an option, or the parts of a url.
    pub(super) fn read(&mut self, option: &ConnectionOption) -> Result<(), ConnectError> {
        let name = option.name.to_ascii_lowercase();
        let value = option.value.expose_secret();
        if name != "url" {
            return self.set(&name, value, option.call.as_deref());
        }
        let url = parts_of(value)?;
        let unknown = url.options.iter().position(|(name, _)| !is_option(name));
        if let Some(at) = unknown {
            // Without an '@' it may be the end of a password whose host was forgotten, and beside a password the
            // rest of one with a bare '&'.
            let open = option.call.is_none()
                && value.contains('@')
                && !url.options.iter().any(|(name, _)| name == "password");
            let near = nearest(&url.options[at].0, OPTIONS[1..].iter().copied());
            return Err(unknown_in_url(at + 1, near.filter(|_| open)));
        }
        for (name, value) in url.parts.into_iter().chain(url.options) {
            self.set(&name, &value, option.call.as_deref())?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str, call: Option<&str>) -> Result<(), ConnectError> {
        if !is_option(name) {
            return Err(match nearest(name, OPTIONS) {
                Some(near) => ConnectError::UnknownOption {
                    name: name.to_string(),
                    suggestion: Some(near.to_owned()),
                },
                None => ConnectError::InvalidOption {
                    name: name.to_string(),
                    reason: format!(
                        "there is none of that name; there is {}",
                        OPTIONS.join(", ")
                    ),
                },
            });
        }
        if self.values.iter().any(|(known, _)| known == name) {
            return Err(ConnectError::InvalidOption {
                name: name.to_string(),
                reason: "is given twice; keep one of them (the url counts too)".to_string(),
            });
        }
        self.masks.add(name, value, call);
        self.values
            .push((name.to_string(), SecretString::from(value.to_string())));
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<SecretString> {
        let index = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.swap_remove(index).1)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name)
            .map(|value| value.expose_secret().to_string())
    }

    fn required(&mut self, name: &'static str) -> Result<String, ConnectError> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .ok_or(ConnectError::MissingOption { name })
    }

    /// The option's value as `parse` reads it; its error completes "the value …".
    fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConnectError> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        parse(text.trim()).map_err(|problem| ConnectError::InvalidOption {
            name: name.to_string(),
            reason: format!("{} {problem}", self.masks.quoted(name, &text)),
        })
    }

    pub(super) fn finish(mut self) -> Result<ConnectionConfig, ConnectError> {
        let host = self.required("host")?;
        if host.contains(['\\', ',', '/', ';', '@']) || host.contains(char::is_whitespace) {
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
            masks: self.masks,
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

/// The error for the option at `place`, counted from 1, behind a url's `?`; its text may be of a password.
fn unknown_in_url(place: usize, near: Option<&str>) -> ConnectError {
    let near = near.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
    ConnectError::InvalidUrl {
        reason: format!(
            "option {place} behind its '?' is none that a connection has{near}; the options are {}",
            OPTIONS[1..].join(", ")
        ),
    }
}

fn is_option(name: &str) -> bool {
    name != "url" && OPTIONS.contains(&name)
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("is not a port from 1 to 65535".to_string()),
        Ok(port) => Ok(port),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("is neither true nor false".to_string()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(value @ 1..=86_400) => Ok(Duration::from_secs(value)),
        _ => Err("is not a number of seconds from 1 to 86400".to_string()),
    }
}
