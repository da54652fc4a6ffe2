//! Where the database is, and who logs in: given, or asked for.

use std::io::{IsTerminal as _, stdin, stdout};
use std::path::Path;

use percent_encoding::percent_decode_str;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::InitArguments;
use super::connection_url::EMBEDDED;
use crate::engine::{Engine, LAKE};
use crate::error::Error;
use crate::source::sqlserver::Database;
use crate::sql::{Parameters, SourceText, identifier, literal, parse_all};

/// The database, where a URL says all else.
const DATABASE_OF_URL: &str =
    "the database at the URL's end (sqlserver://LOGIN@HOST[:PORT]/DATABASE)";

/// A connection as the file declares it.
#[derive(Debug)]
pub(super) struct Connection {
    name: String,
    /// Its options but the password, in their order.
    options: Vec<(&'static str, String)>,
    password: Option<String>,
}

impl Connection {
    /// What the arguments say; what they leave out is asked for on a terminal.
    ///
    /// # Errors
    /// `Unanswered` without a terminal, `SecretGiven` for a URL with a password, `PasswordUnset` if the variable is not
    /// set that has it, before anything is asked.
    pub(super) fn asked_for(arguments: &InitArguments) -> Result<Self, Error> {
        let mut connection = Self {
            name: "source".to_owned(),
            options: Vec::new(),
            password: Some(arguments.password_env.clone()),
        };
        let mut questions = Questions::default();
        let host = match &arguments.url {
            Some(url) => url.clone(),
            None => {
                let question = "server (a name, or a URL)";
                connection.given("--host", &arguments.host, question, &mut questions)?
            }
        };
        let is_url = host.contains("://") || host.starts_with(EMBEDDED);
        match is_url {
            true => connection.at_url(host, arguments, &mut questions)?,
            false => connection.at_host(host, arguments, &mut questions)?,
        }
        if connection.name.eq_ignore_ascii_case(LAKE) {
            connection.name.push_str("_source");
        }
        connection.check_password()?;
        Ok(connection)
    }

    fn at_url(
        &mut self,
        url: String,
        arguments: &InitArguments,
        questions: &mut Questions,
    ) -> Result<(), Error> {
        if let Some(script) = url.strip_prefix(EMBEDDED) {
            let stem = Path::new(script).file_stem();
            self.name_after(stem.map(|stem| stem.to_string_lossy().into_owned()));
            self.options.push(("url", url));
            self.password = None;
            return Ok(());
        }
        let place = Place::of(&url);
        if place.has_secret() {
            return Err(Error::SecretGiven);
        }
        let is_integrated = place.has_option("integrated_security", "true");
        if is_integrated {
            self.password = None;
        }
        let database = match place.names_database() {
            true => arguments.database.clone(),
            false => {
                Some(self.given(DATABASE_OF_URL, &arguments.database, "database", questions)?)
            }
        };
        let path = percent_decode_str(place.path).decode_utf8_lossy();
        self.name_after(Some(path.into_owned()));
        self.name_after(database.clone());
        let user = match place.user.is_empty() && !is_integrated {
            true => Some(self.given("--user", &arguments.user, "user", questions)?),
            false => arguments.user.clone(),
        };
        self.options.push(("url", url));
        let database = database.map(|database| ("database", database));
        self.options.extend(database);
        self.options.extend(user.map(|user| ("user", user)));
        Ok(())
    }

    fn at_host(
        &mut self,
        host: String,
        arguments: &InitArguments,
        questions: &mut Questions,
    ) -> Result<(), Error> {
        self.options.push(("host", host));
        let port = arguments.port.map(|port| ("port", port.to_string()));
        self.options.extend(port);
        let database = self.given("--database", &arguments.database, "database", questions)?;
        self.name_after(Some(database.clone()));
        self.options.push(("database", database));
        let user = self.given("--user", &arguments.user, "user", questions)?;
        self.options.push(("user", user));
        Ok(())
    }

    /// A value that was given, or is asked for. Nothing is asked while the password is missing, which would end it after the last
    /// answer.
    fn given(
        &self,
        argument: &'static str,
        value: &Option<String>,
        question: &str,
        questions: &mut Questions,
    ) -> Result<String, Error> {
        if let Some(value) = value {
            return Ok(value.clone());
        }
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(Error::Unanswered { argument });
        }
        self.check_password()?;
        questions.ask(question)
    }

    /// Refuses a password that is needed and not there.
    fn check_password(&self) -> Result<(), Error> {
        match &self.password {
            Some(name) if std::env::var_os(name).is_none() => {
                Err(Error::PasswordUnset { name: name.clone() })
            }
            _ => Ok(()),
        }
    }

    fn name_after(&mut self, database: Option<String>) {
        if let Some(name) = database.filter(|name| !name.is_empty()) {
            self.name = name;
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The environment variable that has the password, if one is needed.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Its statement; the password is not in it.
    pub(super) fn statement(&self) -> String {
        let options = self.options.iter();
        let options = options.map(|(name, value)| format!("{name} {}", literal(value)));
        let password = self.password.iter();
        let password = password.map(|name| format!("password secret('env', {})", literal(name)));
        let options: Vec<String> = options.chain(password).collect();
        let name = identifier(&self.name);
        let options = options.join(",\n  ");
        format!("CREATE CONNECTION {name} TYPE sqlserver OPTIONS (\n  {options});\n")
    }

    /// Connects, as the statement will do in `file`.
    ///
    /// # Errors
    /// Whatever keeps the database from being opened, without a place: the file is not written yet.
    pub(super) async fn open(&self, engine: &Engine, file: &Path) -> Result<Database, Error> {
        let text = SourceText {
            name: file.display().to_string(),
            text: self.statement(),
        };
        let parsed = parse_all(&text, &Parameters::default());
        if !parsed.errors.is_empty() {
            return Err(Error::Invalid {
                diagnostics: parsed.errors,
                more: parsed.more,
            });
        }
        for statement in &parsed.statements {
            let defined = engine.define(statement, Some(file)).await;
            let _ = defined.map_err(without_place)?;
        }
        engine.database(&self.name)
    }
}

/// The failure that an error with a place is about.
fn without_place(error: Error) -> Error {
    match error {
        Error::At { cause, .. } => *cause,
        error => error,
    }
}

/// The parts of a URL, however wrong it is: what may be a secret is looked for before anything else reads it.
struct Place<'a> {
    user: &'a str,
    path: &'a str,
    query: String,
}

impl<'a> Place<'a> {
    fn of(url: &'a str) -> Self {
        let (_, rest) = url.split_once("://").unwrap_or(("", url));
        // Of several @ the last one ends the password, which may not be encoded as it should be.
        let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (server, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (_, path) = server.split_once('/').unwrap_or((server, ""));
        Self {
            user,
            path: path.trim_start_matches('/'),
            query: query.to_lowercase(),
        }
    }

    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.query.split('&');
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn has_secret(&self) -> bool {
        let is_secret = |name: &str| {
            ["password", "pwd", "token"]
                .iter()
                .any(|s| name.contains(s))
        };
        self.user.contains(':') || self.options().any(|(name, _)| is_secret(name))
    }

    fn names_database(&self) -> bool {
        !self.path.is_empty() || self.options().any(|(name, _)| name == "database")
    }

    fn has_option(&self, name: &str, value: &str) -> bool {
        self.options().any(|option| option == (name, value))
    }
}

/// Asks for what was not given, on one terminal.
#[derive(Debug, Default)]
struct Questions(Option<DefaultEditor>);

impl Questions {
    /// An answer that is not empty.
    fn ask(&mut self, question: &str) -> Result<String, Error> {
        let editor = match &mut self.0 {
            Some(editor) => editor,
            none => none.insert(DefaultEditor::new().map_err(unasked)?),
        };
        loop {
            let answer = editor.readline(&format!("{question}: ")).map_err(unasked)?;
            if !answer.trim().is_empty() {
                return Ok(answer.trim().to_owned());
            }
        }
    }
}

/// Why there is no answer.
fn unasked(error: ReadlineError) -> Error {
    match error {
        ReadlineError::Interrupted | ReadlineError::Eof => Error::Interrupted,
        error => Error::Output {
            source: std::io::Error::other(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_secret_is_seen_however_the_url_is_written() {
        for url in [
            "sqlserver://reader:hush@db/app",
            "sqlserver://reader:hu/sh@db/app",
            "sqlserver://reader:hu?s@h@db/app",
            "sqlserver://db/app?Password=hush",
            "sqlserver://db/app?access_token=hush",
        ] {
            assert!(Place::of(url).has_secret(), "{url}");
        }
        for url in [
            "sqlserver://reader@db:1433/app?encrypt=strict",
            "sqlserver://db:1433/app",
        ] {
            assert!(!Place::of(url).has_secret(), "{url}");
        }
    }
}
