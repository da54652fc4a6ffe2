//! The script is the database: a text of T-SQL, replayed.

use std::sync::Arc;

use super::behaviour::Behaviour;
use super::capture::{CaptureControl, CaptureJob, stuck};
use super::errors::SimulatorError;
use super::execution::{Interrupt, seat};
use super::protocol::{Collation, Reply, ServerError};
use super::record::Record;
use super::security::SYSTEM_ADMINISTRATOR;
use super::server::Accounts;
use super::session::{Executor, Login, Session};
use super::store::{Clock, Server};
use super::tsql::lexer::{Token, tokens};

/// Replies that may wait while a script runs.
const REPLIES: usize = 64;

/// A server's databases, of which one is the client's default.
///
/// A database made from a script is a function of the script's text. Every statement that writes, and every
/// COMMIT, moves the database's clock on by one second from 2024-01-01T00:00:00 (`GETDATE()` and the commit
/// times are that clock), and each transaction's `tran_id` is the beginning of a hash over all such statements
/// so far. Blanks and comments do not count. So a longer script repeats what a shorter one did and adds to
/// it, while an edit changes the `tran_id` of every later transaction. Changes are captured as they are
/// committed, so that a replay ends with everything captured, unless the script itself stops the capture
/// job. Statements over the wire go on from there in the same way, where the server's options leave capture
/// and clock as they are, and are added to the script where it is a [`Record`].
#[derive(Debug, Clone)]
pub struct Database {
    pub(super) server: Arc<Server>,
    pub(super) name: String,
    pub(super) behaviour: Behaviour,
}

impl Database {
    /// An empty database.
    pub fn empty(name: &str) -> Self {
        Self::empty_in(name, Collation::SERVER)
    }

    /// An empty database on a server of this collation.
    fn empty_in(name: &str, collation: Collation) -> Self {
        let server = Server::new(collation);
        // A system database's name means that database.
        let _ = server.create(name, None, || Ok(()));
        Self {
            server: Arc::new(server),
            name: name.to_owned(),
            behaviour: Behaviour::orderly(),
        }
    }

    /// The same database, which behaves so from now on.
    pub(super) fn behaving(self, behaviour: Behaviour) -> Self {
        self.server
            .behave(&behaviour, behaviour.capture_job, behaviour.clock);
        Self { behaviour, ..self }
    }

    /// The database that a script makes: T-SQL in batches between lines with GO alone.
    ///
    /// # Errors
    ///
    /// The first statement that fails, with the line in `file` where it begins; or there is no thread to
    /// run it.
    pub async fn from_script(name: &str, file: &str, text: &str) -> Result<Self, SimulatorError> {
        Self::empty(name).replayed(file, text, false).await
    }

    /// The database after a script, which runs on a thread of its own.
    async fn replayed(self, file: &str, text: &str, goes_on: bool) -> Result<Self, SimulatorError> {
        let interrupt = Interrupt::default();
        let _guard = interrupt.on_drop();
        let (database, file, text) = (self.clone(), file.to_owned(), text.to_owned());
        let ended = seat()
            .await
            .map_err(|source| SimulatorError::Thread { source })?
            .run(move |runtime| {
                interrupt.block_on(runtime, database.replay(&file, &text, goes_on))
            });
        match ended.await {
            Ok(Some(replayed)) => replayed.map(|()| self),
            _ => Err(SimulatorError::Thread {
                source: std::io::Error::other("the thread that ran the script has broken"),
            }),
        }
    }

    /// As [`Database::from_script`], on a server of this collation whose capture behaves so while the script is
    /// replayed. A server that is then [started](super::Simulator::start) behaves as its own options say, but for
    /// the collation.
    ///
    /// # Errors
    ///
    /// As [`Database::from_script`].
    pub async fn from_script_with(
        name: &str,
        file: &str,
        text: &str,
        behaviour: &Behaviour,
    ) -> Result<Self, SimulatorError> {
        let database = Self::empty_in(name, behaviour.server_collation);
        database
            .server
            .behave(behaviour, CaptureJob::EveryCommit, Clock::Statements);
        database.replayed(file, text, false).await
    }

    /// The database that a script makes on a server of this collation. A server that is [started](super::Simulator::start) with it appends to
    /// the script what clients commit, so that a replay of the longer script has the same tables, change
    /// tables, LSNs, times and IDENTITY values, once the server has captured everything. What the capture job
    /// did when is not recorded: a replay captures with every commit.
    ///
    /// # Errors
    ///
    /// As [`Database::from_script`]; or the script ends with something set that recorded statements would feel.
    pub async fn from_record(
        name: &str,
        file: &str,
        (record, text): (Record, String),
        collation: Collation,
    ) -> Result<Self, SimulatorError> {
        let database = Self::empty_in(name, collation);
        let database = database.replayed(file, &text, true).await?;
        database.server.record_to(Arc::new(record));
        Ok(database)
    }

    /// The logins that `CREATE LOGIN` has made, also while the server runs.
    pub(super) fn accounts(&self) -> Accounts {
        let server = Arc::clone(&self.server);
        Accounts(Arc::new(move |user, password| {
            server.logins(|logins| logins.admits(user, password))
        }))
    }

    /// A hand on the capture of one of the server's databases; `None` if there is no such database.
    pub fn capture_of(&self, database: &str) -> Option<CaptureControl> {
        self.server.database(database).map(CaptureControl::new)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens a session, as a client that has logged in.
    pub(crate) fn session(&self, login: Login) -> Result<Session, ServerError> {
        Session::open(self, login)
    }

    /// Runs a script; one that goes on must leave nothing set.
    async fn replay(&self, file: &str, text: &str, goes_on: bool) -> Result<(), SimulatorError> {
        let failed = |error: ServerError| stopped(file, text, error);
        let tokens = tokens(text).map_err(failed)?;
        let login = Login {
            user: SYSTEM_ADMINISTRATOR.to_owned(),
            ..Login::default()
        };
        let mut session = Executor::open(self, login).map_err(failed)?;
        session.keep_main_database(&self.name);
        let batches = batches(&tokens).map_err(failed)?;
        let runs = batches
            .iter()
            .flat_map(|(batch, times)| std::iter::repeat_n(*batch, *times));
        for batch in runs {
            let (sender, mut replies) = tokio::sync::mpsc::channel(REPLIES);
            let drain = async {
                let mut error = None;
                while let Some(reply) = replies.recv().await {
                    if let Reply::Error(found) = reply {
                        error.get_or_insert(found);
                    }
                }
                error
            };
            let run = async {
                session.run_tokens(text, batch, &sender).await;
                drop(sender);
            };
            let ((), error) = futures::future::join(run, drain).await;
            if let Some(error) = error {
                return Err(failed(error));
            }
        }
        if session.in_transaction() {
            let line = tokens.last().map_or(1, |token| token.line);
            let error = ServerError::new(
                266,
                "The script ends within a transaction: a COMMIT or ROLLBACK is missing.",
            );
            return Err(failed(error.at_line(line)));
        }
        if goes_on && let Some(set) = session.leaves_set() {
            let line = tokens.last().map_or(1, |token| token.line);
            let what = format!("the script ends under {set}, which must be taken back");
            return Err(failed(ServerError::unrecordable(what).at_line(line)));
        }
        let databases = self.server.databases();
        match databases.iter().find_map(|cell| stuck(cell)) {
            Some(error) => Err(failed(error)),
            None => Ok(()),
        }
    }
}

/// Times that GO repeats a batch at most.
const REPEATS: usize = 1_000_000;

/// The batches of a script: tokens between lines with GO alone, and how often each runs, which GO may say.
fn batches(tokens: &[Token]) -> Result<Vec<(&[Token], usize)>, ServerError> {
    let mut batches = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(token) = tokens.get(at) {
        let first = at == 0 || tokens[at - 1].line < token.line;
        let count = tokens.get(at + 1).filter(|next| next.line == token.line);
        let repeat = match count.map(|next| &next.kind) {
            None => Some(1),
            Some(super::tsql::lexer::Kind::Number(digits)) => digits.parse::<usize>().ok(),
            Some(_) => None,
        };
        let after = at + 1 + usize::from(count.is_some());
        let alone = tokens.get(after).is_none_or(|next| next.line > token.line);
        match repeat {
            Some(repeat) if token.is("GO") && first && alone => {
                if repeat > REPEATS {
                    let what = format!("GO with a count above {REPEATS}");
                    return Err(ServerError::unsupported(what).at_line(token.line));
                }
                batches.push((&tokens[start..at], repeat));
                start = after;
                at = after;
            }
            _ => at += 1,
        }
    }
    batches.push((&tokens[start..], 1));
    batches.retain(|(batch, _)| !batch.is_empty());
    Ok(batches)
}

/// Where and why a script stops.
fn stopped(file: &str, text: &str, error: ServerError) -> SimulatorError {
    let file = file.to_owned();
    match torn(text) {
        Some(line) if error.line >= line && [102, 105, 113].contains(&error.number) => {
            SimulatorError::Torn {
                file,
                line,
                source: error,
            }
        }
        _ => SimulatorError::Script {
            file,
            line: error.line,
            statement: line_of(text, error.line),
            source: error,
        },
    }
}

/// The line at which a batch begins that was recorded last and has no end.
fn torn(text: &str) -> Option<u32> {
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().rposition(|line| *line == "BEGIN")?;
    let ends = lines[begin..].contains(&"END");
    if ends {
        return None;
    }
    u32::try_from(begin + 1).ok()
}

fn line_of(text: &str, line: u32) -> String {
    let at = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    text.lines().nth(at).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<usize> {
        let tokens = tokens(text).unwrap();
        let batches = batches(&tokens).unwrap();
        let runs = batches
            .iter()
            .flat_map(|(batch, times)| std::iter::repeat_n(batch.len(), *times));
        runs.collect()
    }

    #[test]
    fn a_torn_batch_is_told_from_a_whole_one() {
        assert_eq!(torn("PRINT 1\nGO\nBEGIN\nUSE [d];\nDELETE t"), Some(3));
        assert_eq!(torn("BEGIN\nDELETE t;\nEND\nGO\nBEGIN"), Some(5));
        assert_eq!(torn("BEGIN\nDELETE t;\nEND\n"), None);
        assert_eq!(torn("BEGIN TRANSACTION\nDELETE t"), None);
    }

    #[test]
    fn go_separates_only_when_alone_on_its_line() {
        assert_eq!(split("SELECT 1\nGO\nSELECT 2, 3\ngo -- done\n"), [2, 4]);
        assert_eq!(split("SELECT 'x\nGO\n'"), [2]);
        assert_eq!(split("SELECT 1 AS\ngo FROM t"), [6]);
        assert_eq!(split("SELECT 1\nGO 3"), [2, 2, 2]);
        let tokens = tokens("SELECT 1\nGO 1000001").unwrap();
        assert_eq!(batches(&tokens).unwrap_err().number, 40510);
    }
}
