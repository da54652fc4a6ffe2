//! Lines as they come: through a pipe, or from a terminal that no editor can use.

use std::io::{self, IsTerminal as _, Write as _, stdin};
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::input::{Line, PROMPT, is_whole_at};
use crate::error::Error;

/// What is shown where a statement goes on, as wide as [`PROMPT`].
const GOES_ON: &str = "   ...> ";

/// Lines of stdin.
pub(super) struct Lines {
    /// The lines with their ends; an empty one is the end of the input.
    lines: mpsc::Receiver<io::Result<String>>,
    /// What has come of a statement.
    begun: String,
    is_terminal: bool,
}

impl Lines {
    /// Reads stdin on a thread of its own, a line ahead.
    pub(super) fn open() -> Self {
        let (sender, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            loop {
                let mut line = String::new();
                let read = stdin().read_line(&mut line);
                let is_end = !matches!(read, Ok(1..));
                if sender.blocking_send(read.map(|_| line)).is_err() || is_end {
                    break;
                }
            }
        });
        Self {
            lines,
            begun: String::new(),
            is_terminal: stdin().is_terminal(),
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next command, or the next whole statements. Ctrl-C drops what was typed.
    ///
    /// # Errors
    /// `Interrupted` by Ctrl-C where they come through a pipe.
    pub(super) async fn next(&mut self) -> Result<Line, Error> {
        loop {
            self.prompt();
            let line = tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return self.interrupted(),
                line = self.lines.recv() => line,
            };
            let line = line.transpose().map_err(|source| Error::File {
                path: PathBuf::from("<stdin>"),
                source,
            })?;
            let line = line.unwrap_or_default();
            self.begun.push_str(&line);
            match (line.is_empty(), self.begun.trim().is_empty()) {
                (true, true) => return Ok(Line::End),
                (false, true) => self.begun.clear(),
                (true, false) => return Ok(Line::Text(std::mem::take(&mut self.begun))),
                (false, false) if is_whole_at(&self.begun, &line) => {
                    return Ok(Line::Text(std::mem::take(&mut self.begun)));
                }
                (false, false) => {}
            }
        }
    }

    fn interrupted(&mut self) -> Result<Line, Error> {
        if !self.is_terminal {
            return Err(Error::Interrupted);
        }
        self.begun.clear();
        let _ = writeln!(io::stdout());
        Ok(Line::Dropped)
    }

    fn prompt(&self) {
        if self.is_terminal {
            let prompt = if self.begun.is_empty() {
                PROMPT
            } else {
                GOES_ON
            };
            let mut out = io::stdout().lock();
            // Without a prompt a person can still type.
            let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
        }
    }
}
