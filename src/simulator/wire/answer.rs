//! Replies of the database into tokens.

use std::sync::Arc;

use crate::simulator::behaviour::Chance;
use crate::simulator::protocol::{
    Column, Language, Parameter, Reply, ServerError, TransactionEvent,
};

use super::rows::Rows;
use super::token::{self, Change, DONE_COUNT, DONE_ERROR, DONE_MORE, Done, DoneToken};

/// From this severity on an error ends the connection.
const FATAL: u8 = 20;
/// Up to this severity a message is no error.
const INFORMS: u8 = 10;

/// `CurCmd` of a SELECT, and of whatever changes rows: drivers tell counts from result sets by it.
const COMMAND_SELECT: u16 = 0xc1;
const COMMAND_CHANGE: u16 = 0xc3;
const COMMAND_EXECUTE: u16 = 0xe0;

/// The answer to one statement text, being written.
///
/// Only the last end of a statement may say that nothing follows, so that each is held back until it is
/// known whether it was the last.
#[derive(Debug)]
pub(super) struct Answer {
    token: DoneToken,
    knows_bitmap: bool,
    /// What chooses the forms of rows.
    chance: Option<Chance>,
    /// The language of its messages.
    language: Language,
    /// Whether messages stand between its tokens.
    is_chatty: bool,
    columns: Arc<[Column]>,
    held: Option<Done>,
    error: Option<u32>,
    is_fatal: bool,
    outputs: Vec<Parameter>,
}

impl Answer {
    /// `token` ends each statement.
    pub(super) fn new(
        token: DoneToken,
        knows_bitmap: bool,
        chance: Option<Chance>,
        language: Language,
    ) -> Self {
        Self {
            token,
            knows_bitmap,
            chance,
            language,
            is_chatty: false,
            columns: Arc::new([]),
            held: None,
            error: None,
            is_fatal: false,
            outputs: Vec::new(),
        }
    }

    /// The same with messages between its tokens, or not.
    pub(super) fn with_messages(self, is_chatty: bool) -> Self {
        Self { is_chatty, ..self }
    }

    /// Whether messages stand between its tokens.
    pub(super) fn is_chatty(&self) -> bool {
        self.is_chatty
    }

    /// The number of the first error.
    pub(super) fn error(&self) -> Option<u32> {
        self.error
    }

    /// What a parameter was given last, by the name that the statement knows it by.
    pub(super) fn output(&self, name: &str) -> Option<&Parameter> {
        let mut outputs = self.outputs.iter().rev();
        outputs.find(|output| output.name.eq_ignore_ascii_case(name))
    }

    /// Whether an error was such that the connection ends.
    pub(super) fn is_fatal(&self) -> bool {
        self.is_fatal
    }

    /// Appends the tokens of one reply; rows are left to the caller, who knows when to stop for a while.
    ///
    /// # Errors
    ///
    /// The database sent what cannot be told; the answer ends with [`Answer::fail`].
    pub(super) fn reply(
        &mut self,
        out: &mut Vec<u8>,
        reply: Reply,
    ) -> Result<Option<Rows>, ServerError> {
        if let Reply::Output(parameter) = reply {
            self.outputs.push(parameter);
            return Ok(None);
        }
        self.release(out);
        match reply {
            Reply::Output(_) => {}
            Reply::Columns(columns) => {
                token::columns(out, &columns)?;
                self.columns = columns;
            }
            Reply::Rows(batch) => {
                let rows = Rows::new(&self.columns, &batch, self.knows_bitmap)?;
                let chance = self
                    .chance
                    .as_mut()
                    .map(|chance| Chance::new(chance.next()));
                return Ok(Some(rows.with_chance(chance)));
            }
            Reply::Done { rows, select } => self.hold(rows, select),
            Reply::Error(error) if error.severity > INFORMS => self.fail(out, &error),
            Reply::Error(message) | Reply::Info(message) => self.message(out, &message),
            Reply::Transaction(event) => token::change(
                out,
                match event {
                    TransactionEvent::Began { transaction } => Change::Began { transaction },
                    TransactionEvent::Committed { transaction } => {
                        Change::Committed { transaction }
                    }
                    TransactionEvent::RolledBack { transaction } => {
                        Change::RolledBack { transaction }
                    }
                },
            ),
            Reply::Language { old, new } => {
                self.language = new;
                let old = Some(old);
                token::change(out, Change::Language { old, new });
            }
            Reply::Database { old, new } => {
                let (old, new) = (&old, &new);
                token::change(out, Change::Database { old, new });
            }
        }
        Ok(None)
    }

    /// Appends an INFO message, and the end of a nested statement where no rows are being sent.
    pub(super) fn interject(&mut self, out: &mut Vec<u8>, within_rows: bool) {
        self.release(out);
        self.message(out, &aside());
        if !within_rows {
            token::done(out, Done::plain(DoneToken::InProcedure, DONE_MORE));
        }
    }

    /// Appends an error, and ends its statement.
    pub(super) fn fail(&mut self, out: &mut Vec<u8>, error: &ServerError) {
        self.release(out);
        self.message(out, error);
        self.error.get_or_insert(error.number);
        self.is_fatal |= error.severity >= FATAL;
        self.held = Some(Done::plain(self.token, DONE_ERROR));
    }

    fn message(&self, out: &mut Vec<u8>, message: &ServerError) {
        token::message(out, &self.language.message(message));
    }

    /// Appends the end of a batch: the last statement's.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        let last = self.held.unwrap_or(Done::plain(self.token, 0));
        token::done(out, last);
    }

    /// Appends the end of a procedure call; `tail` comes between its statements and its end.
    pub(super) fn finish_call(
        &mut self,
        out: &mut Vec<u8>,
        more: bool,
        tail: impl FnOnce(&mut Vec<u8>),
    ) {
        self.release(out);
        let more = if more { DONE_MORE } else { 0 };
        let error = if self.error.is_some() { DONE_ERROR } else { 0 };
        // A failed call returns the number of its error.
        let status = self.error.and_then(|number| i32::try_from(number).ok());
        token::return_status(out, status.unwrap_or(0));
        tail(out);
        token::done(
            out,
            Done {
                command: COMMAND_EXECUTE,
                ..Done::plain(DoneToken::Procedure, more | error)
            },
        );
    }

    fn hold(&mut self, rows: Option<u64>, select: bool) {
        self.held = Some(Done {
            token: self.token,
            status: if rows.is_some() { DONE_COUNT } else { 0 },
            command: if select {
                COMMAND_SELECT
            } else {
                COMMAND_CHANGE
            },
            rows: rows.unwrap_or(0),
        });
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(done) = self.held.take() {
            let status = done.status | DONE_MORE;
            token::done(out, Done { status, ..done });
        }
    }
}

/// A warning that SQL Server sends in the middle of things.
fn aside() -> ServerError {
    let mut warning = ServerError::new(
        8153,
        "Warning: Null value is eliminated by an aggregate or other SET operation.",
    );
    warning.severity = INFORMS;
    warning
}
