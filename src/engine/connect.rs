//! Connections: what `CREATE CONNECTION` says, made real.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;

use super::retry::{log_retry, retried};
use crate::error::Error;
use crate::source::sqlserver::{ConnectionConfig, ConnectionOption, Database};
use crate::sql::{Const, CreateConnection, SecretStore};

/// Why a URL could not be turned into a server's.
pub type ResolveError = Box<dyn std::error::Error + Send + Sync>;

type Resolve =
    dyn Fn(String, PathBuf) -> BoxFuture<'static, Result<String, ResolveError>> + Send + Sync;

/// Turns the URL of a connection, and the folder of the file that names it, into a `sqlserver://` URL.
///
/// The command line passes one that starts the embedded server for `embedded:` URLs.
#[derive(Clone)]
pub struct ConnectionResolver(Arc<Resolve>);

impl ConnectionResolver {
    /// A resolver that asks `resolve`.
    pub fn new(
        resolve: impl Fn(String, PathBuf) -> BoxFuture<'static, Result<String, ResolveError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(resolve))
    }

    async fn resolve(&self, url: String, directory: PathBuf) -> Result<String, ResolveError> {
        (self.0)(url, directory).await
    }
}

impl fmt::Debug for ConnectionResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionResolver")
    }
}

/// The connections of a session by name, in lower case.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_name: RwLock<BTreeMap<String, Database>>,
}

impl Connections {
    pub(super) fn insert(&self, name: &str, database: Database) {
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_lowercase(), database);
    }

    pub(super) fn find(&self, name: &str) -> Option<Database> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&name.to_lowercase())
            .cloned()
    }

    /// The longest time that one of them is tried again.
    pub(super) fn retry_time(&self) -> Duration {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(Database::retry_time)
            .max()
            .unwrap_or(ConnectionConfig::RETRY_TIME)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }
}

/// What constants are: their values, or, in an engine that connects nowhere, stand-ins for what is not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// What was not there; `None` where that is an error.
    absent: Option<Arc<Mutex<BTreeSet<String>>>>,
}

impl Values {
    /// Values of which none is needed: secrets are not looked up, and variables may be unset.
    pub(super) fn lenient() -> Self {
        Self {
            absent: Some(Arc::default()),
        }
    }

    pub(super) fn are_lenient(&self) -> bool {
        self.absent.is_some()
    }

    /// The environment variables that were not set.
    pub(super) fn absent(&self) -> Vec<String> {
        let absent = self.absent.iter();
        let absent = absent.flat_map(|absent| {
            let absent = absent.lock().unwrap_or_else(PoisonError::into_inner);
            absent.iter().cloned().collect::<Vec<_>>()
        });
        absent.collect()
    }

    /// The value of a constant; `None` for one that is not known, and need not be.
    pub(super) fn of(&self, constant: &Const, directory: &Path) -> Result<Option<String>, Error> {
        let Some(absent) = &self.absent else {
            return value_of(constant, directory).map(Some);
        };
        if let Const::Secret { .. } = constant {
            return Ok(None);
        }
        match value_of(constant, directory) {
            Err(Error::MissingVariable { name }) => {
                let mut absent = absent.lock().unwrap_or_else(PoisonError::into_inner);
                absent.insert(name);
                Ok(None)
            }
            value => value.map(Some),
        }
    }
}

/// Options that a value can be wrong for whatever the others are.
const INDEPENDENT: [&str; 10] = [
    "port",
    "instance",
    "encrypt",
    "application_intent",
    "multi_subnet_failover",
    "application_name",
    "time_zone",
    "connect_timeout",
    "command_timeout",
    "retry_timeout",
];

/// Checks the options of a connection as far as their values are known, and opens nothing.
pub(super) fn check_options(
    statement: &CreateConnection,
    directory: &Path,
    values: &Values,
) -> Result<(), Error> {
    let mut known = Vec::with_capacity(statement.options.len());
    for option in &statement.options {
        let value = values.of(&option.value, directory)?;
        // What an embedded server is reached by is known when it runs.
        let value = value.filter(|value| option.name != "url" || !value.starts_with("embedded:"));
        known.extend(value.map(|value| ConnectionOption::new(&option.name, value)));
    }
    if known.len() == statement.options.len() {
        ConnectionConfig::from_options(&known)?;
        return Ok(());
    }
    let stand_ins = [
        ("host", "h"),
        ("database", "d"),
        ("user", "u"),
        ("password", "p"),
    ];
    for option in known {
        if INDEPENDENT.contains(&option.name()) {
            let mut options = stand_ins
                .map(|(name, value)| ConnectionOption::new(name, value))
                .to_vec();
            options.push(option);
            ConnectionConfig::from_options(&options)?;
        }
    }
    Ok(())
}

/// Connects as `statement` says; `directory` is the folder that relative paths in it start from.
pub(super) async fn connect(
    statement: &CreateConnection,
    directory: &Path,
    resolver: &ConnectionResolver,
) -> Result<Database, Error> {
    let mut options = Vec::with_capacity(statement.options.len());
    for option in &statement.options {
        let mut value = value_of(&option.value, directory)?;
        match option.name.as_str() {
            "url" => {
                value = resolver
                    .resolve(value, directory.to_path_buf())
                    .await
                    .map_err(|source| Error::Connection {
                        name: statement.name.value.clone(),
                        source,
                    })?;
            }
            "ca_file" => value = directory.join(value).to_string_lossy().into_owned(),
            _ => {}
        }
        let option_value = ConnectionOption::new(&option.name, value);
        options.push(match &option.value {
            secret @ Const::Secret { .. } => option_value.secret(secret),
            Const::Literal { .. } | Const::Env { .. } => option_value,
        });
    }
    let config = ConnectionConfig::from_options(&options)?;
    retried(config.retry_time(), log_retry, async || {
        Ok(Database::connect(config.clone()).await?)
    })
    .await
}

/// The value of a constant: environment variables and secret files are read here, and nowhere else.
fn value_of(constant: &Const, directory: &Path) -> Result<String, Error> {
    let environment = |name: &str| {
        std::env::var(name).map_err(|_| Error::MissingVariable {
            name: name.to_string(),
        })
    };
    match constant {
        Const::Literal { value, .. } => Ok(value.text().to_string()),
        Const::Env { name, default, .. } => match default {
            Some(default) => Ok(environment(name).unwrap_or_else(|_| default.text().to_string())),
            None => environment(name),
        },
        Const::Secret {
            store: SecretStore::Env,
            name,
            ..
        } => environment(name),
        Const::Secret {
            store: SecretStore::File,
            name,
            ..
        } => {
            let path = directory.join(name);
            std::fs::read_to_string(&path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_string())
                .map_err(|source| Error::File { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::CONNECTION_OPTIONS;

    #[test]
    fn the_language_and_the_source_know_the_same_options() {
        assert_eq!(CONNECTION_OPTIONS, ConnectionConfig::OPTIONS);
    }
}
