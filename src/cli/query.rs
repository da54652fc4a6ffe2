//! `cdcql query`.

use super::args::QueryArguments;
use super::rows::{Out, Printer};
use super::run::Manner;
use super::session::Session;
use crate::error::Error;

/// Executes the file, then the commands, and prints their results on stdout; stops at the first error.
pub(super) async fn run(arguments: &QueryArguments, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?;
    let file = arguments.file.as_deref();
    let mut texts = Vec::new();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|source| Error::File {
            path: file.to_path_buf(),
            source,
        })?;
        texts.push((file.display().to_string(), text, Some(file)));
    }
    let commands = arguments.command.iter();
    texts.extend(commands.map(|command| ("-c".to_string(), command.clone(), None)));
    let pipeline = arguments.pipeline.as_deref();
    let named = texts.iter().map(|(name, text, _)| (name.as_str(), text));
    session.refuse_unused(pipeline, named)?;
    if let Some(pipeline) = pipeline {
        let _ = session.load(pipeline).await?;
    }
    let out = match &arguments.output {
        Some(path) => Out::file(path)?,
        None => Out::stdout(),
    };
    let mut printer = Printer::try_new(arguments.format, out)?;
    for (name, text, file) in &texts {
        session.execute(name, text, *file, &mut printer).await?;
    }
    printer.finish()
}
