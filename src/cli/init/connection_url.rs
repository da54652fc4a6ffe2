//! The URL of a connection, as `--url` takes it.

use std::ffi::OsStr;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// How the URL of a server begins.
const SERVER: &str = "sqlserver://";
/// How the URL of a script begins.
pub(super) const EMBEDDED: &str = "embedded:";

/// Why a value is refused, and what to write.
const NO_URL: &str = "it is no URL of a connection; write sqlserver://LOGIN@HOST[:PORT]/DATABASE, without the password, or \
                      name the server with --host and the database with --database";

/// Takes URLs of connections; what it says of another value does not repeat what may be a password.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionUrl;

impl TypedValueParser for ConnectionUrl {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        let url = StringValueParser::new().parse_ref(command, arg, value)?;
        if is_url(&url) {
            return Ok(url);
        }
        let shown = match url.contains([':', '@', '=']) {
            true => "…",
            false => url.as_str(),
        };
        refused.parse_ref(command, arg, OsStr::new(shown))
    }
}

/// Refuses every value, so that the error is like that of any other argument.
fn refused(_: &str) -> Result<String, &'static str> {
    Err(NO_URL)
}

fn is_url(text: &str) -> bool {
    let begin = text.get(..SERVER.len());
    text.starts_with(EMBEDDED) || begin.is_some_and(|begin| begin.eq_ignore_ascii_case(SERVER))
}
