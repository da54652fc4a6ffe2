//! One client's session: its current database, its transaction, its settings.

mod call;
mod compile;
pub(crate) mod declaration;
mod execute;
mod executor;
mod permissions;
mod procedures;
mod record;
mod settings;
mod transaction;
mod wait;

use tokio::sync::{mpsc, oneshot};

use super::execution::{Interrupt, seat};
use super::protocol::{Parameter, Reply, ServerError};
use super::script::Database;
use super::types::Locale;

pub(super) use executor::Executor;
use executor::Extent;

/// Who logs in, and to what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    /// `@@SPID`.
    pub(crate) session_id: u16,
    /// The database; empty for the server's default one.
    pub(crate) database: String,
    /// The login's name.
    pub(crate) user: String,
    /// `APP_NAME()`.
    pub(crate) program: String,
    /// `HOST_NAME()`.
    pub(crate) host: String,
    /// Whether the client said that it only reads.
    pub(crate) reads_only: bool,
}

/// What one connection has of the server. Dropping it rolls back.
///
/// Batches run on threads of their own, so that a heavy one keeps no other connection waiting.
#[derive(Debug)]
pub struct Session {
    database: String,
    locale: Locale,
    place: Place,
}

/// Where the session's state is.
#[derive(Debug)]
enum Place {
    /// Here, between batches.
    Here(Box<Executor>),
    /// With a batch, which may have been cancelled.
    Away(oneshot::Receiver<Box<Executor>>),
    /// Gone with a batch that broke.
    Lost,
}

impl Session {
    /// Opens a session; error 4060 for a database that does not exist.
    pub(crate) fn open(database: &Database, login: Login) -> Result<Self, ServerError> {
        let executor = Executor::open(database, login)?;
        Ok(Self {
            database: executor.database().to_owned(),
            locale: executor.locale(),
            place: Place::Here(Box::new(executor)),
        })
    }

    /// The name of the current database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// What LANGUAGE, DATEFORMAT and DATEFIRST are; what it answers is in English until it is on the wire.
    pub(crate) fn locale(&self) -> Locale {
        self.locale
    }

    /// Runs one SQL batch, sending every reply in order. A statement's error is a [`Reply::Error`].
    /// Dropping the future cancels the batch; the next one begins when it has ended.
    pub async fn run(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) {
        self.start(sql, parameters, replies, Extent::Batch).await;
    }

    /// Runs the text of one `sp_executesql`, as [`Session::run`] does. What it sets for the session, by SET
    /// or USE, holds until its end; error 266 follows if it leaves more or fewer transactions open than
    /// there were.
    pub async fn call(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) {
        self.start(sql, parameters, replies, Extent::Call).await;
    }

    /// Makes the session what it was after the login, but for its transaction.
    pub(crate) async fn reset(&mut self) {
        self.come_back().await;
        if let Place::Here(executor) = &mut self.place {
            executor.reset();
            executor.database().clone_into(&mut self.database);
            self.locale = executor.locale();
        }
    }

    async fn start(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
        extent: Extent,
    ) {
        if let Err(error) = self.run_elsewhere(sql, parameters, replies, extent).await {
            // A client that has gone needs no error.
            let _ = replies.send(Reply::Error(error)).await;
        }
    }

    async fn run_elsewhere(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
        extent: Extent,
    ) -> Result<(), ServerError> {
        self.come_back().await;
        let seat = seat().await.map_err(no_thread)?;
        let Place::Here(mut executor) = std::mem::replace(&mut self.place, Place::Lost) else {
            return Err(broken());
        };
        let interrupt = Interrupt::default();
        let guard = interrupt.on_drop();
        let (sql, parameters, replies) = (sql.to_owned(), parameters.to_vec(), replies.clone());
        self.place = Place::Away(seat.run(move |runtime| {
            let ran =
                interrupt.block_on(runtime, executor.run(&sql, &parameters, &replies, extent));
            executor.leave(ran.is_none());
            executor
        }));
        self.come_back().await;
        drop(guard);
        match &self.place {
            Place::Here(_) => Ok(()),
            Place::Away(_) | Place::Lost => Err(broken()),
        }
    }

    /// Waits for a batch that still has the state.
    async fn come_back(&mut self) {
        if let Place::Away(executor) = &mut self.place {
            self.place = match executor.await {
                Ok(executor) => {
                    executor.database().clone_into(&mut self.database);
                    self.locale = executor.locale();
                    Place::Here(executor)
                }
                Err(_) => Place::Lost,
            };
        }
    }
}

fn no_thread(error: std::io::Error) -> ServerError {
    ServerError::new(
        701,
        format!("There is insufficient system memory to run this batch: {error}."),
    )
}

/// The error after which a connection is closed.
fn broken() -> ServerError {
    let mut error = ServerError::new(
        596,
        "Cannot continue the execution because the session is in the kill state.",
    );
    error.severity = 21;
    error
}
