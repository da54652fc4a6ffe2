//! `sqlserver://user:password@host:1433/database?option=value`, taken apart.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::source::sqlserver::connect_error::ConnectError;

const SCHEME: &str = "sqlserver";

/// The options that a url stands for, decoded.
pub(super) struct UrlParts {
    /// Those before its `?`, by the names that options have.
    pub(super) parts: Vec<(String, String)>,
    /// Those behind it, as they are named there, in lower case.
    pub(super) options: Vec<(String, String)>,
}

/// Takes a url apart. No error repeats a part of it that may be of the password.
pub(super) fn parts_of(text: &str) -> Result<UrlParts, ConnectError> {
    check_shape(text)?;
    // The parser's errors say which part is wrong and never repeat it.
    let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(invalid("it names no host"));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut parts = vec![("host".to_string(), decoded("host", host)?)];
    let mut push = |name: &str, value: String| {
        if !value.is_empty() {
            parts.push((name.to_string(), value));
        }
    };
    if let Some(port) = url.port() {
        push("port", port.to_string());
    }
    push("user", decoded("user", url.username())?);
    if let Some(password) = url.password() {
        push("password", decoded("password", password)?);
    }
    push(
        "database",
        decoded("database", url.path().trim_start_matches('/'))?,
    );
    let options = url
        .query_pairs()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
        .collect();
    Ok(UrlParts { parts, options })
}

/// Refuses what would be read as something else than it was meant as: a password with a bare `/`, `?` or `#`
/// ends the part of the url that it stands in, and the rest of it would become a path or an option.
fn check_shape(text: &str) -> Result<(), ConnectError> {
    let begins = text
        .get(..SCHEME.len())
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let rest = text.get(SCHEME.len()..).unwrap_or_default();
    let Some(rest) = rest.strip_prefix("://").filter(|_| begins) else {
        return Err(invalid("it does not begin with sqlserver://"));
    };
    if rest.contains(char::is_control) {
        return Err(invalid("it contains a line break or a tab"));
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if tail.contains('@') {
        return Err(invalid(
            "it contains an '@' behind the first '/', '?' or '#': write %2F, %3F or %23 for those of the password, \
             and %40 for an '@' elsewhere",
        ));
    }
    if tail.contains('#') {
        return Err(invalid("it contains a bare '#'; write %23 for it"));
    }
    let path = tail.split('?').next().unwrap_or_default();
    if path
        .split_once('&')
        .is_some_and(|(_, rest)| rest.contains('='))
    {
        return Err(invalid(
            "it contains an option behind a '&' that no '?' comes before: the options begin with a '?', and %3D stands \
             for a '=' of the database's name",
        ));
    }
    let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let user = user.split(':').next().unwrap_or_default();
    if [user, server, tail].iter().any(|part| part.contains(';')) {
        return Err(invalid(
            "it contains a bare ';'; options follow a '?' and are separated by '&', and %3B stands for a ';'",
        ));
    }
    Ok(())
}

fn invalid(reason: &str) -> ConnectError {
    ConnectError::InvalidUrl {
        reason: reason.to_string(),
    }
}

/// A part of the url with its percent-encoding undone.
fn decoded(part: &str, value: &str) -> Result<String, ConnectError> {
    match percent_decode_str(value).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid(&format!(
            "its {part} is not UTF-8 after percent-decoding"
        ))),
    }
}
