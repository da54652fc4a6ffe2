//! `cdcql query`.

use super::args::QueryArguments;
use super::session::Session;
use crate::error::Error;

/// Executes the file, then the commands, and prints their results on stdout; stops at the first error.
pub(super) async fn run(arguments: &QueryArguments, memory: usize) -> Result<(), Error> {
    let session = Session::try_new(memory)?.printing(arguments.format);
    if let Some(pipeline) = &arguments.pipeline {
        session.load(pipeline).await?;
    }
    if let Some(file) = &arguments.file {
        let text = std::fs::read_to_string(file).map_err(|source| Error::File {
            path: file.clone(),
            source,
        })?;
        session
            .execute(&file.display().to_string(), &text, Some(file))
            .await?;
    }
    for command in &arguments.command {
        session.execute("-c", command, None).await?;
    }
    Ok(())
}
