//! The lines that a person types, or that come through a pipe.

use std::io::{BufRead, IsTerminal, stdin};
use std::path::PathBuf;
use std::sync::Arc;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::complete::Assistant;
use super::names::Names;
use crate::error::Error;
use crate::sql::is_complete;

/// Entries of the history that are kept.
const HISTORY_SIZE: usize = 10_000;
/// Words that mark a statement which may hold a secret; such a statement is not kept in the history.
const SECRET_WORDS: [&str; 8] = [
    "password", "passwd", "pwd", "secret", "token", "_key", "key=", "://",
];

/// What was read.
pub(super) enum Line {
    /// A command, or a text of whole statements.
    Text(String),
    /// Nothing: what was typed was dropped.
    Dropped,
    /// There is no more.
    End,
}

/// Where lines come from.
pub(super) enum Input {
    /// A terminal, with an editor.
    Terminal(Box<Editor<Assistant, FileHistory>>),
    /// A pipe or a file.
    Pipe,
}

impl Input {
    pub(super) fn open(names: Arc<Names>) -> Result<Self, Error> {
        if !stdin().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = Config::builder()
            .max_history_size(HISTORY_SIZE)
            .map_err(failed)?
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistant::new(names)));
        if let Some(path) = history_path().filter(|path| path.exists())
            && let Err(error) = editor.load_history(&path)
        {
            tracing::warn!(path = %path.display(), %error, "the history was not read");
        }
        Ok(Self::Terminal(Box::new(editor)))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// The next command, or the next complete statements.
    ///
    /// # Errors
    /// `Interrupted` by Ctrl-C where they come through a pipe.
    pub(super) async fn next(&mut self) -> Result<Line, Error> {
        let Self::Terminal(editor) = self else {
            let read = tokio::task::spawn_blocking(from_pipe);
            return tokio::select! {
                read = read => read.unwrap_or(Ok(Line::End)),
                _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            };
        };
        match editor.readline("cdcql> ") {
            Ok(line) if line.trim().is_empty() => Ok(Line::Dropped),
            Ok(line) => {
                remember(editor, &line);
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Whether a text is to be executed as it is.
pub(super) fn is_whole(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.is_empty() || trimmed.starts_with('\\') || is_complete(text)
}

fn from_pipe() -> Result<Line, Error> {
    let mut text = String::new();
    loop {
        let read = stdin().lock().read_line(&mut text);
        let read = read.map_err(|source| Error::File {
            path: PathBuf::from("<stdin>"),
            source,
        })?;
        match read {
            0 if text.trim().is_empty() => return Ok(Line::End),
            0 => return Ok(Line::Text(text)),
            _ if text.trim().is_empty() => text.clear(),
            _ if is_whole(&text) => return Ok(Line::Text(text)),
            _ => {}
        }
    }
}

fn remember(editor: &mut Editor<Assistant, FileHistory>, text: &str) {
    let lower = text.to_lowercase();
    // A parameter's value may be anything.
    if lower.starts_with("\\set") || SECRET_WORDS.iter().any(|word| lower.contains(word)) {
        return;
    }
    let kept = editor.add_history_entry(text.trim_end());
    let kept = kept.and_then(|_| match history_path() {
        Some(path) => editor.append_history(&path),
        None => Ok(()),
    });
    if let Err(error) = kept {
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

fn failed(error: ReadlineError) -> Error {
    Error::Output {
        source: std::io::Error::other(error),
    }
}
