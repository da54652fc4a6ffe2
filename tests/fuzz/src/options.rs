//! Options, properties and URLs out of the lines of a text, and what no error of them may show.

use std::error::Error;

use cdcql::source::sqlserver::{ConnectionConfig, ConnectionOption};
use cdcql::sql::{StatementKind, parse_all};

use super::{parameters, text};

/// Parts of a secret: nothing that people are shown holds them.
const LEFT: &str = "Tr0ub4";
const RIGHT: &str = "dor9Zq";

/// Reads `input` as what its first letter says; each line behind the first is `key=value`.
pub fn read(input: &str) {
    let (kind, rest) = input.split_once('\n').unwrap_or((input, ""));
    let lower = rest.to_lowercase();
    if [LEFT, RIGHT]
        .iter()
        .any(|part| lower.contains(&part.to_lowercase()))
    {
        return;
    }
    let pairs: Vec<(&str, &str)> = rest
        .split('\n')
        .filter_map(|line| line.split_once('='))
        .collect();
    match kind.chars().next() {
        Some('u') => url(rest),
        Some('h') => hosts(rest),
        Some('o') => options(&pairs),
        Some('p') => properties(&pairs),
        Some('w') => with(&pairs),
        Some('s') => schema(&pairs),
        Some('l') => lake(&pairs),
        Some('r') => super::read(rest),
        _ => connection(&pairs),
    }
}

/// A password with `odd` in its middle.
fn url(odd: &str) {
    for url in [
        format!("sqlserver://u:{LEFT}{odd}{RIGHT}@no-such-host:1433/d"),
        format!("sqlserver://u:{LEFT}{odd}{RIGHT}@no-such-host:1433/d?encrypt=off&host=h"),
        format!("sqlserver://u@h/d?encrypt=off&password={LEFT}%26{RIGHT}{odd}"),
    ] {
        shows_no_secret(&[ConnectionOption::new("url", url)]);
    }
}

/// A URL with anything behind its password.
fn hosts(rest: &str) {
    let url = format!("sqlserver://u:{LEFT}@{rest}");
    shows_no_secret(&[ConnectionOption::new("url", url.as_str())]);
    statement(&format!(
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (url {})",
        quoted(&url)
    ));
}

/// Options without a text, the values plain or secret.
fn options(pairs: &[(&str, &str)]) {
    let plain = pairs
        .iter()
        .map(|(name, value)| ConnectionOption::new(*name, *value));
    let password = ConnectionOption::new("password", LEFT);
    shows_no_secret(&plain.clone().chain([password]).collect::<Vec<_>>());
    shows_no_secret(&plain.collect::<Vec<_>>());
    let secret = pairs.iter().map(|(name, value)| {
        ConnectionOption::new(*name, format!("{value}{RIGHT}")).secret("secret('env', 'X')")
    });
    shows_no_secret(&secret.collect::<Vec<_>>());
}

fn shows_no_secret(options: &[ConnectionOption]) {
    let shown = match ConnectionConfig::from_options(options) {
        Ok(config) => format!("{config:?}"),
        Err(error) => {
            let mut shown = format!("{error}\n{error:?}");
            let mut cause = error.source();
            while let Some(error) = cause {
                shown += &format!("\n{error}");
                cause = error.source();
            }
            shown
        }
    };
    hidden(&shown);
    hidden(&format!("{options:?}"));
}

fn hidden(shown: &str) {
    let lower = shown.to_lowercase();
    for part in [LEFT, RIGHT] {
        assert!(!lower.contains(&part.to_lowercase()), "{part} in {shown}");
    }
}

fn connection(pairs: &[(&str, &str)]) {
    let given = list(pairs);
    let separator = if given.is_empty() { "" } else { ", " };
    statement(&format!(
        "CREATE CONNECTION c TYPE sqlserver OPTIONS ({given}{separator}password '{LEFT}')"
    ));
    statement(&format!(
        "CREATE CONNECTION c TYPE sqlserver OPTIONS (password = '{LEFT}'{separator}{given})"
    ));
}

fn properties(pairs: &[(&str, &str)]) {
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("{} = {}", quoted(key), constant(value)));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    statement(&format!(
        "CREATE TABLE t USING DELTA TBLPROPERTIES ({pairs})"
    ));
    statement(&format!(
        "CREATE STREAMING TABLE t TBLPROPERTIES ({pairs}) FLOW AUTO CDC FROM STREAM c.dbo.t CHANGES"
    ));
}

fn with(pairs: &[(&str, &str)]) {
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("{} = {}", name(key), constant(value)));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    statement(&format!("SELECT * FROM c.dbo.t CHANGES WITH ({pairs})"));
    statement(&format!(
        "CREATE STREAMING TABLE t FLOW AUTO CDC FROM STREAM c.dbo.t CHANGES WITH ({pairs})"
    ));
}

fn schema(pairs: &[(&str, &str)]) {
    let place = pairs.first().map_or("lake", |(_, value)| value);
    let given = list(pairs);
    statement(&format!("CREATE SCHEMA s LOCATION {}", constant(place)));
    statement(&format!(
        "CREATE SCHEMA s LOCATION {} OPTIONS ({given}, secret_access_key '{LEFT}')",
        constant(place)
    ));
}

fn lake(pairs: &[(&str, &str)]) {
    let given = list(pairs);
    statement(&format!(
        "CREATE TABLE t USING DELTA LOCATION 's3://b/t' OPTIONS (azure_storage_token = '{LEFT}', {given})"
    ));
}

/// Reads a statement and the same with a mistake behind it, on its line.
fn statement(sql: &str) {
    for sql in [sql.to_owned(), format!("{sql} mistaken;")] {
        super::read(&sql);
        let parsed = parse_all(&text(&sql), &parameters());
        for error in &parsed.errors {
            hidden(&error.to_string());
            hidden(error.message());
        }
        for statement in &parsed.statements {
            if let StatementKind::CreateConnection(connection) = &statement.kind {
                hidden(&format!("{connection:?}"));
            }
        }
    }
}

fn list(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("{} {}", name(key), constant(value)));
    pairs.collect::<Vec<_>>().join(", ")
}

/// A key as a bare name where it is one.
fn name(key: &str) -> String {
    let bare = key.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    if bare && !key.is_empty() {
        key.to_owned()
    } else {
        quoted(key)
    }
}

/// A value as a constant: its first letter says of which kind.
fn constant(value: &str) -> String {
    let kind = value.chars().next();
    let rest = &value[kind.map_or(0, char::len_utf8)..];
    match kind {
        Some('$') => format!("env({})", quoted(rest)),
        Some('%') => format!("env('X', {})", quoted(rest)),
        Some('!') => format!("secret('file', {})", quoted(rest)),
        Some('&') => format!("N{}", quoted(rest)),
        Some('0'..='9') if value.chars().all(|c| c.is_ascii_digit()) => value.to_owned(),
        _ if ["true", "false", ":n", ":nothing", ":region", ":lost"].contains(&value) => {
            value.to_owned()
        }
        _ => quoted(value),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
