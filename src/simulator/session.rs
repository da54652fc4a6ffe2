//! One client's session: its current database, its transaction, its settings.

use tokio::sync::mpsc;

use super::protocol::{Parameter, Reply};

/// What one connection has of the server.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// The name of the current database.
    pub fn database(&self) -> &str {
        ""
    }

    /// Runs one SQL batch, or the text of one `sp_executesql` with its parameters, sending every reply
    /// in order. A statement's error is a [`Reply::Error`]; dropping the future cancels the batch.
    pub async fn run(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) {
        let _ = (sql, parameters, replies);
    }
}
