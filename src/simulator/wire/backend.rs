//! What a connection needs of the database behind it.

use std::future::Future;

use tokio::sync::mpsc;

use crate::simulator::protocol::{Parameter, Reply};
use crate::simulator::session::Session;
use crate::simulator::types::Locale;

/// One client's session. Dropping it rolls back what it has not committed.
pub(crate) trait Backend: Send + 'static {
    /// The name of the current database.
    fn database(&self) -> &str;

    /// The language of its messages, and how it reads dates.
    fn locale(&self) -> Locale {
        Locale::default()
    }

    /// Runs one batch and sends its replies in order; the channel is bounded, and full until the client
    /// has read. Dropping the future cancels the batch and leaves the session usable.
    fn run(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) -> impl Future<Output = ()> + Send;

    /// Makes the session what it was after the login, but for its transaction.
    fn reset(&mut self) -> impl Future<Output = ()> + Send;

    /// Runs the text of a procedure's call, such as `sp_executesql`'s, as [`Backend::run`] does; what it
    /// sets for the session holds until its end.
    fn call(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) -> impl Future<Output = ()> + Send {
        self.run(sql, parameters, replies)
    }
}

impl Backend for Session {
    fn database(&self) -> &str {
        Self::database(self)
    }

    fn locale(&self) -> Locale {
        Self::locale(self)
    }

    fn run(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) -> impl Future<Output = ()> + Send {
        Self::run(self, sql, parameters, replies)
    }

    fn reset(&mut self) -> impl Future<Output = ()> + Send {
        Self::reset(self)
    }

    fn call(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) -> impl Future<Output = ()> + Send {
        Self::call(self, sql, parameters, replies)
    }
}
