//! The databases' clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// 2024-01-01T00:00:00, when every database begins, in microseconds since 1970-01-01.
pub(crate) const EPOCH_MICROS: i64 = 1_704_067_200_000_000;

/// How far a statement that writes moves the clock.
pub(crate) const SECOND: i64 = 1_000_000;

/// What moves a server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// Statements that write, and nothing else: each moves its database's clock on by one second, so that
    /// the same statements always have the same times. A clock that stands still never reaches the end of
    /// an idle period.
    #[default]
    Statements,
    /// The machine's clock from now on. It never goes back behind what a database has already
    /// dated.
    Machine,
}

/// A server's clock: what moves it, and the zone that it shows the time of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ServerClock {
    pub(crate) moved_by: Clock,
    /// How many minutes local time, which everything is dated in, is ahead of UTC.
    pub(crate) utc_offset: i16,
}

impl ServerClock {
    /// What time it is for a database whose last event was at `last`.
    pub(crate) fn now(self, last: i64) -> i64 {
        match self.moved_by {
            Clock::Statements => last,
            Clock::Machine => self.machine().max(last),
        }
    }

    /// When a statement happens that follows an event at `last`.
    pub(crate) fn event(self, last: i64) -> i64 {
        match self.moved_by {
            Clock::Statements => last + SECOND,
            Clock::Machine => self.machine().max(last),
        }
    }

    fn machine(self) -> i64 {
        machine() + i64::from(self.utc_offset) * 60 * SECOND
    }
}

fn machine() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(EPOCH_MICROS)
}
