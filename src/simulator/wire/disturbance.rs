//! Faults on demand, as they meet the replies of a statement.

use crate::simulator::control::{Fault, Strike};
use crate::simulator::protocol::{Reply, ServerError};

/// What disturbs an answer, and how many rows it still lets pass.
#[derive(Debug)]
pub(super) struct Disturbance {
    kind: Kind,
    rows_left: u64,
}

#[derive(Debug)]
enum Kind {
    None,
    Error(ServerError),
    Cut,
    Interjections,
}

/// What is to happen at the end of the rows.
#[derive(Debug)]
pub(super) enum Last {
    Nothing,
    Error(ServerError),
    Cut,
}

impl Disturbance {
    /// That of a strike; without one, an answer may be `chatty` all the same.
    pub(super) fn of(strike: Option<&Strike>, chatty: bool) -> Self {
        let (kind, rows_left) = match strike.map(|strike| &strike.fault) {
            Some(Fault::ErrorAfterRows { rows, error }) => (Kind::Error(error.clone()), *rows),
            Some(Fault::CutInRow { after }) => (Kind::Cut, *after),
            Some(Fault::Interjections) => (Kind::Interjections, 0),
            _ if chatty => (Kind::Interjections, 0),
            _ => (Kind::None, 0),
        };
        Self { kind, rows_left }
    }

    /// How many of the next rows are sent before it strikes; `None` when all are.
    pub(super) fn rows(&mut self, rows: usize) -> Option<usize> {
        if !matches!(self.kind, Kind::Error(_) | Kind::Cut) {
            return None;
        }
        match self.rows_left.checked_sub(rows as u64) {
            Some(left) => {
                self.rows_left = left;
                None
            }
            // Less than `rows`.
            None => Some(self.rows_left as usize),
        }
    }

    /// Whether it strikes in the middle of a row.
    pub(super) fn cuts(&self) -> bool {
        matches!(self.kind, Kind::Cut)
    }

    /// Whether something stands before this reply.
    pub(super) fn interjects(&self, reply: &Reply) -> bool {
        self.is_chatty() && matches!(reply, Reply::Columns(_) | Reply::Done { .. })
    }

    /// Whether something stands between rows.
    pub(super) fn is_chatty(&self) -> bool {
        matches!(self.kind, Kind::Interjections)
    }

    pub(super) fn last(&self) -> Last {
        match &self.kind {
            Kind::Error(error) => Last::Error(error.clone()),
            Kind::Cut => Last::Cut,
            Kind::None | Kind::Interjections => Last::Nothing,
        }
    }
}
