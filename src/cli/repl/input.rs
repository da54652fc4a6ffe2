//! The lines that a person types, or that come through a pipe.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, stdin};
use std::path::PathBuf;
use std::sync::Arc;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::command::{is_known, is_word_command};
use super::complete::Assistant;
use super::lines::Lines;
use super::names::Names;
use crate::error::Error;
use crate::sql::{is_complete, may_hold_secret};

/// What is shown where a statement or a command may begin.
pub(super) const PROMPT: &str = "cdcql> ";
/// Values of `TERM` of terminals that no editor can use.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "cons25", "emacs"];
/// Entries of the history that are kept.
const HISTORY_SIZE: usize = 10_000;

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
    Terminal {
        editor: Box<Editor<Assistant, FileHistory>>,
        /// What was pasted behind the command or the statements that came last.
        pasted: VecDeque<String>,
    },
    /// A pipe or a file, or a terminal without what an editor needs.
    Lines(Lines),
}

impl Input {
    pub(super) fn open(names: Arc<Names>) -> Result<Self, Error> {
        let is_plain = std::env::var("TERM").is_ok_and(|term| PLAIN_TERMINALS.contains(&&*term));
        if is_plain || !stdin().is_terminal() {
            return Ok(Self::Lines(Lines::open()));
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
        Ok(Self::Terminal {
            editor: Box::new(editor),
            pasted: VecDeque::new(),
        })
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Terminal { .. } => true,
            Self::Lines(lines) => lines.is_terminal(),
        }
    }

    /// Drops what was pasted and has not come yet.
    pub(super) fn forget_pasted(&mut self) {
        if let Self::Terminal { pasted, .. } = self {
            pasted.clear();
        }
    }

    /// The next command, or the next complete statements.
    ///
    /// # Errors
    /// `Interrupted` by Ctrl-C where they come through a pipe.
    pub(super) async fn next(&mut self) -> Result<Line, Error> {
        let (editor, pasted) = match self {
            Self::Terminal { editor, pasted } => (editor, pasted),
            Self::Lines(lines) => return lines.next().await,
        };
        if let Some(next) = pasted.pop_front() {
            return Ok(Line::Text(next));
        }
        match editor.readline(PROMPT) {
            Ok(text) => {
                let (whole, rest) = split(&text);
                pasted.extend(whole);
                pasted.extend(rest);
                remember(editor, &text);
                Ok(pasted.pop_front().map_or(Line::Dropped, Line::Text))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Whether a text is to be executed as it is.
pub(super) fn is_whole(text: &str) -> bool {
    split(text).1.is_none()
}

/// The commands of a text, each a line, and its whole statements between them; and what is no whole statement at its end.
fn split(text: &str) -> (Vec<String>, Option<String>) {
    let mut whole = Vec::new();
    let mut rest = String::new();
    for line in text.split_inclusive('\n') {
        rest.push_str(line);
        if rest.trim().is_empty() {
            rest.clear();
        } else if is_whole_at(&rest, line) {
            whole.push(std::mem::take(&mut rest));
        }
    }
    (whole, (!rest.is_empty()).then_some(rest))
}

/// Whether a text is a command, or whole statements, by `line`, the last of it. Lines that can end nothing are not looked
/// at closely: a long statement would be read once for each of them.
pub(super) fn is_whole_at(text: &str, line: &str) -> bool {
    let may_end = line.contains(';') || line.contains("*/");
    text.trim_start().starts_with('\\') || is_word_command(text) || may_end && is_complete(text)
}

/// Whether a text may be kept: a parameter's value may be anything, and so may what follows a command that there is not.
fn is_harmless(text: &str) -> bool {
    let mut commands = text
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('\\'));
    commands.all(|line| is_known(line) && !line.starts_with("\\set")) && !may_hold_secret(text)
}

fn remember(editor: &mut Editor<Assistant, FileHistory>, text: &str) {
    if text.trim().is_empty() || !is_harmless(text) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_is_split_into_commands_and_statements() {
        let (whole, rest) = split(
            "\\format csv\nselect 1 as a;\n\n  \\x\nselect\n'\\q\n'; select 2;\nexit\nselect",
        );
        assert_eq!(
            whole,
            [
                "\\format csv\n",
                "select 1 as a;\n",
                "  \\x\n",
                "select\n'\\q\n'; select 2;\n",
                "exit\n"
            ]
        );
        assert_eq!(rest.as_deref(), Some("select"));
        let (whole, rest) = split("select 1; /* one\ntwo */\nselect ';\n*/'\n; -- three\n");
        assert_eq!(
            whole,
            ["select 1; /* one\ntwo */\n", "select ';\n*/'\n; -- three\n"]
        );
        assert_eq!(rest, None);
        assert!(is_whole("") && is_whole(" \n") && is_whole("quit") && !is_whole("quits"));
    }

    #[test]
    fn secrets_are_not_kept() {
        for text in [
            " \\set pw hush",
            "select 1;\n\\set pw hush",
            "\\st pw hush",
            "\\setpw hush",
            "create connection c type sqlserver options (host 'h', pasword 'hush');",
            "create connection c type sqlserver options (host 'h', pass 'hush');",
            "create connection c type sqlserver option (host 'h', pass 'hush');",
            "create table t using delta location 's3://b/t' options (sas 'hush', account_kez 'hush');",
            "create connection c type sqlserver options (url 'sqlserver://sa:hush@h/d');",
            "select 'Server=h;Password=hush';",
        ] {
            assert!(!is_harmless(text), "{text}");
        }
        for text in [
            "select 1 as customer_key;",
            "select 'tokens per day' as city_secretary;",
            "create table t using delta location 's3://b/t';",
            "create connection c type sqlserver options (url 'sqlserver://sa@h/d');",
            "\\i pipelines/customers.sql",
            "\\d customers",
        ] {
            assert!(is_harmless(text), "{text}");
        }
    }
}
