//! What a statement asks for beside the rows that it changes, so that it can be told whether a replay of it
//! would be answered in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Something that a script does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The session: its login, program, host, last error and so on.
    Session,
    /// What capture has written.
    Captured,
    /// The server's logins, databases or work.
    Server,
    /// A table variable.
    TableVariable,
}

impl Source {
    /// What it is, after "it asks for".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Session => "what only its session knows",
            Self::Captured => "what capture has written by now",
            Self::Server => "the server's logins, databases or work",
            Self::TableVariable => "the rows of a table variable",
        }
    }
}

/// What one statement has asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<Answers>);

/// The same, once it has ended.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// What a script does not hold.
    pub(crate) sources: BTreeSet<Source>,
    /// The databases in lower case, and of each the number of its commits that were seen.
    pub(crate) databases: BTreeMap<String, u64>,
}

impl Asked {
    /// Notes that the statement asks for something.
    pub(crate) fn note(&self, source: Source) {
        self.lock().sources.insert(source);
    }

    /// Notes that it reads a database as it was after so many commits.
    pub(crate) fn note_database(&self, name: &str, version: u64) {
        self.lock()
            .databases
            .entry(name.to_owned())
            .or_insert(version);
    }

    /// Everything that was noted since it was last taken.
    pub(crate) fn take(&self) -> Answers {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
