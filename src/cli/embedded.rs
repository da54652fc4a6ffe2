//! `embedded:SCRIPT` connections: the server stand-in inside this process, over the same wire.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::engine::{ConnectionResolver, ResolveError};
use crate::error::Error;
use crate::simulator::{Behaviour, Database, Simulator, SimulatorOptions};

/// The scheme of a connection URL that names a script instead of a server.
const SCHEME: &str = "embedded:";

/// A resolver that starts one server for each script that an `embedded:` URL names, and keeps it as long
/// as the resolver lives. Its login may read and nothing else, as on a server that somebody else runs.
pub(super) fn resolver() -> ConnectionResolver {
    let servers: Arc<Mutex<HashMap<PathBuf, (Simulator, String)>>> = Arc::default();
    ConnectionResolver::new(move |url, directory| {
        let servers = Arc::clone(&servers);
        Box::pin(async move {
            let Some(script) = url.strip_prefix(SCHEME) else {
                return Ok(url);
            };
            let path = directory.join(script);
            let mut servers = servers.lock().await;
            if let Some(running) = servers.get(&path) {
                return Ok(running.1.clone());
            }
            let database = database_from(&path, &Behaviour::orderly())
                .await
                .map_err(ResolveError::from)?;
            let simulator = Simulator::start(database, SimulatorOptions::default()).await?;
            let url = simulator.reader_url()?;
            servers.insert(path, (simulator, url.clone()));
            Ok(url)
        })
    })
}

/// Replays a script into a database that is named after the file.
pub(super) async fn database_from(script: &Path, behaviour: &Behaviour) -> Result<Database, Error> {
    let text = tokio::fs::read_to_string(script)
        .await
        .map_err(|source| Error::File {
            path: script.to_path_buf(),
            source,
        })?;
    let (name, file) = (database_name(script), script.display().to_string());
    Database::from_script_with(&name, &file, &text, behaviour)
        .await
        .map_err(|error| Error::Script(error.into()))
}

/// The name of a script's database: the file's name without its extension.
pub(super) fn database_name(script: &Path) -> String {
    script.file_stem().map_or_else(
        || "app_db".to_string(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
