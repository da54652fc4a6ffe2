//! The options of a connection while they are read.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::mask::Masks;
use super::url::parts_of;
use super::{ApplicationIntent, ConnectionConfig, ConnectionOption, Encrypt, Login};
use crate::nearest::nearest;
use crate::source::sqlserver::connect_error::ConnectError;

const OPTIONS: [&str; 19] = ConnectionConfig::OPTIONS;

const DEFAULT_PORT: u16 = 1433;
/// Where the SQL Server Browser answers.
const BROWSER_PORT: u16 = 1434;
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
            return Err(invalid(
                "host",
                "is not a plain host name; a named instance is the option instance, a port the option port",
            ));
        }
        let instance = self.text("instance").filter(|name| !name.is_empty());
        let default_port = instance.as_ref().map_or(DEFAULT_PORT, |_| BROWSER_PORT);
        let config = ConnectionConfig {
            host,
            port: self.parsed("port", default_port, port)?,
            instance,
            database: self.required("database")?,
            login: self.login()?,
            encrypt: self.parsed("encrypt", Encrypt::Required, str::parse)?,
            trust_server_certificate: self.parsed("trust_server_certificate", false, boolean)?,
            ca_file: self.text("ca_file").map(PathBuf::from),
            application_intent: self.parsed(
                "application_intent",
                ApplicationIntent::ReadWrite,
                str::parse,
            )?,
            multi_subnet_failover: self.parsed("multi_subnet_failover", false, boolean)?,
            application_name: self
                .text("application_name")
                .unwrap_or_else(|| DEFAULT_APPLICATION_NAME.to_string()),
            time_zone: self.parsed("time_zone", None, |name| name.parse().map(Some))?,
            connect_timeout: self.parsed("connect_timeout", DEFAULT_CONNECT_TIMEOUT, seconds)?,
            command_timeout: self.parsed("command_timeout", DEFAULT_COMMAND_TIMEOUT, seconds)?,
            retry_time: self.parsed("retry_timeout", ConnectionConfig::RETRY_TIME, retry_time)?,
            masks: self.masks,
        };
        check(&config)?;
        Ok(config)
    }

    /// Who logs in: exactly one of the three ways.
    fn login(&mut self) -> Result<Login, ConnectError> {
        let integrated = self.parsed("integrated_security", false, boolean)?;
        let token = self.take("access_token");
        if !integrated && token.is_none() {
            return Ok(Login::Sql {
                user: self.required("user")?,
                password: self
                    .take("password")
                    .ok_or(ConnectError::MissingOption { name: "password" })?,
            });
        }
        let (way, login) = match token {
            Some(_) if integrated => {
                let reason = "means nothing beside access_token; keep one of them, without user and password";
                return Err(invalid("integrated_security", reason));
            }
            Some(token) => ("access_token", Login::Token(token)),
            None => ("integrated_security", Login::Integrated),
        };
        for name in ["user", "password"] {
            if self.take(name).is_some() {
                return Err(invalid(
                    name,
                    &format!("means nothing beside {way}; leave one of them out"),
                ));
            }
        }
        Ok(login)
    }
}

/// Refuses options that contradict each other, or this build.
fn check(config: &ConnectionConfig) -> Result<(), ConnectError> {
    let trusts = config.trust_server_certificate;
    if trusts && config.ca_file.is_some() {
        let reason = "means nothing beside trust_server_certificate = true; keep one of them";
        return Err(invalid("ca_file", reason));
    }
    if trusts && config.encrypt == Encrypt::Strict {
        let reason = "cannot be true where encrypt is strict, which checks it always; name its authority in ca_file";
        return Err(invalid("trust_server_certificate", reason));
    }
    if matches!(config.login, Login::Token(_)) && config.encrypt == Encrypt::Off {
        let reason =
            "cannot be off beside access_token, which would travel in the clear; leave encrypt out";
        return Err(invalid("encrypt", reason));
    }
    if matches!(config.login, Login::Integrated) && !cfg!(all(unix, feature = "integrated")) {
        let reason =
            "this build cannot log in by Kerberos; build it on Unix with --features integrated";
        return Err(invalid("integrated_security", reason));
    }
    Ok(())
}

fn invalid(name: &str, reason: &str) -> ConnectError {
    ConnectError::InvalidOption {
        name: name.to_string(),
        reason: reason.to_string(),
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

fn retry_time(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(value @ 0..=86_400) => Ok(Duration::from_secs(value)),
        _ => Err("is not a number of seconds from 0 to 86400".to_string()),
    }
}
