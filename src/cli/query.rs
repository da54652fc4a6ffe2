//! `cdcql query`.

use std::io::{read_to_string, stdin};
use std::path::{Path, PathBuf};

use super::args::QueryArguments;
use super::rows::{Out, Printer};
use super::run::Manner;
use super::session::Session;
use crate::error::Error;

/// The file's name that stands for standard input.
const DASH: &str = "-";
/// What standard input is called in the place of an error.
const STDIN: &str = "<stdin>";

/// Statements to execute.
struct Text<'a> {
    /// What the places in it are called.
    name: String,
    sql: String,
    /// The file at which relative paths start, and not at the working directory.
    file: Option<&'a Path>,
}

/// Executes the file, then the commands, and prints their results on stdout; stops at the first error.
pub(super) async fn run(arguments: &QueryArguments, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?;
    let texts = texts(arguments).await?;
    let pipeline = arguments.pipeline.as_deref();
    let named = texts.iter().map(|text| (text.name.as_str(), &text.sql));
    session.refuse_unused(pipeline, named)?;
    if let Some(pipeline) = pipeline {
        let _ = session.load(pipeline).await?;
    }
    let out = match &arguments.output {
        Some(path) => Out::file(path)?,
        None => Out::stdout(),
    };
    let mut printer = Printer::try_new(arguments.format, out)?;
    for Text { name, sql, file } in &texts {
        session.execute(name, sql, *file, &mut printer).await?;
    }
    printer.finish()
}

/// The statements of the file, and then those of each command.
async fn texts(arguments: &QueryArguments) -> Result<Vec<Text<'_>>, Error> {
    let of_file = match arguments.file.as_deref() {
        None => None,
        Some(file) if file.as_os_str() == DASH => Some(of_stdin().await?),
        Some(file) => Some(of_file(file)?),
    };
    let of_commands = arguments.command.iter().map(|sql| Text {
        name: "-c".to_string(),
        sql: sql.clone(),
        file: None,
    });
    Ok(of_file.into_iter().chain(of_commands).collect())
}

fn of_file(file: &Path) -> Result<Text<'_>, Error> {
    let sql = std::fs::read_to_string(file).map_err(|source| Error::File {
        path: file.to_path_buf(),
        source,
    })?;
    Ok(Text {
        name: file.display().to_string(),
        sql,
        file: Some(file),
    })
}

async fn of_stdin() -> Result<Text<'static>, Error> {
    // A signal ends the command while this waits.
    let read = tokio::task::spawn_blocking(|| read_to_string(stdin()));
    let read = read.await.map_err(std::io::Error::other);
    let sql = read.and_then(|read| read).map_err(|source| Error::File {
        path: PathBuf::from(STDIN),
        source,
    })?;
    Ok(Text {
        name: STDIN.to_string(),
        sql,
        file: None,
    })
}
