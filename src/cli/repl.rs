//! The REPL: one session over SQL Server and Delta, statement by statement.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::output::print_error;
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::sql::is_complete;

/// Entries of the history that are kept.
const HISTORY_SIZE: usize = 10_000;
/// Words that mark a statement which may hold a secret; such a statement is not kept in the history.
const SECRET_WORDS: [&str; 5] = ["password", "secret", "token", "_key", "://"];

type Line = Editor<(), FileHistory>;

/// Reads statements until end of file, and prints what each answers; an error does not end it.
pub(super) async fn run(pipeline: Option<&Path>, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?;
    if let Some(pipeline) = pipeline {
        session.load(pipeline).await?;
    }
    if stdin().is_terminal() {
        eprintln!(
            "cdcql {}; statements end with ';', Ctrl-D leaves",
            env!("CARGO_PKG_VERSION")
        );
    }
    let mut editor = open_editor()?;
    while let Some(text) = read_statement(&mut editor)? {
        remember(&mut editor, &text);
        let outcome = tokio::select! {
            outcome = session.execute("input", &text, None) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
        };
        if let Err(error) = outcome {
            print_error(&error);
        }
    }
    if let Some(path) = history_path()
        && let Err(error) = editor.save_history(&path)
    {
        tracing::warn!(path = %path.display(), %error, "the history was not saved");
    }
    Ok(())
}

fn open_editor() -> Result<Line, Error> {
    let config = Config::builder()
        .max_history_size(HISTORY_SIZE)
        .map(rustyline::config::Builder::build)
        .map_err(terminal_error)?;
    let mut editor = Line::with_config(config).map_err(terminal_error)?;
    if let Some(path) = history_path().filter(|path| path.exists())
        && let Err(error) = editor.load_history(&path)
    {
        tracing::warn!(path = %path.display(), %error, "the history was not read");
    }
    Ok(editor)
}

/// The next complete statement or statements; `None` at end of file. Ctrl-C drops what was typed.
fn read_statement(editor: &mut Line) -> Result<Option<String>, Error> {
    let mut text = String::new();
    loop {
        let prompt = if text.is_empty() {
            "cdcql> "
        } else {
            "    -> "
        };
        match editor.readline(prompt) {
            Ok(line) => {
                if text.is_empty() && line.trim().is_empty() {
                    continue;
                }
                text.push_str(&line);
                text.push('\n');
                if is_complete(&text) {
                    return Ok(Some(text));
                }
            }
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) if text.trim().is_empty() => return Ok(None),
            Err(ReadlineError::Eof) => return Ok(Some(text)),
            Err(error) => return Err(terminal_error(error)),
        }
    }
}

fn remember(editor: &mut Line, text: &str) {
    let lower = text.to_lowercase();
    if SECRET_WORDS.iter().any(|word| lower.contains(word)) {
        return;
    }
    if let Err(error) = editor.add_history_entry(text.trim_end()) {
        tracing::debug!(%error, "the statement was not added to the history");
    }
}

/// The history file in the user's state directory, whose folder is made when it is missing.
fn history_path() -> Option<PathBuf> {
    let folder = dirs::state_dir()
        .or_else(dirs::data_local_dir)?
        .join("cdcql");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

fn terminal_error(error: ReadlineError) -> Error {
    Error::Output {
        source: std::io::Error::other(error),
    }
}
