//! The databases' clock.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
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

/// Where local time is to UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalTime {
    /// Always so many minutes ahead.
    Ahead(i16),
    /// By the rules of a zone. The dates of objects and of scans alone go on as the clock began.
    Rules(Tz),
}

/// The zone whose time a server's clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerZone {
    /// Where its local time is to UTC.
    pub local: LocalTime,
    /// What `CURRENT_TIMEZONE_ID()` answers. Without it there is no such function, as before SQL Server 2022: error 195.
    pub id: Option<&'static str>,
}

impl Default for ServerZone {
    fn default() -> Self {
        Self {
            local: LocalTime::Ahead(0),
            id: Some("UTC"),
        }
    }
}

/// A server's clock: what moves it, and the zone that it shows the time of.
///
/// It counts as if no clock were ever changed: microseconds that local time would have if its offset were always the one
/// that it had at [`EPOCH_MICROS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ServerClock {
    pub(crate) moved_by: Clock,
    pub(crate) zone: ServerZone,
    /// How far it has been moved besides.
    pub(crate) ahead: i64,
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
        machine() + self.first_offset()
    }

    /// The instant of a count, in microseconds of UTC.
    pub(crate) fn utc(self, count: i64) -> i64 {
        count + self.ahead - self.first_offset()
    }

    /// What local time it is at a count, in microseconds, and how many minutes that is ahead of UTC.
    pub(crate) fn local(self, count: i64) -> (i64, i16) {
        let utc = self.utc(count);
        let minutes = match self.zone.local {
            LocalTime::Ahead(minutes) => minutes,
            LocalTime::Rules(rules) => minutes(rules.offset_from_utc_datetime(&civil(utc)).fix()),
        };
        (utc + micros(minutes), minutes)
    }

    fn first_offset(self) -> i64 {
        micros(match self.zone.local {
            LocalTime::Ahead(minutes) => minutes,
            LocalTime::Rules(rules) => {
                let offset = rules.offset_from_local_datetime(&civil(EPOCH_MICROS));
                offset.earliest().map_or(0, |offset| minutes(offset.fix()))
            }
        })
    }
}

fn civil(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .naive_utc()
}

fn minutes(offset: chrono::FixedOffset) -> i16 {
    i16::try_from(offset.local_minus_utc() / 60).unwrap_or_default()
}

fn micros(minutes: i16) -> i64 {
    i64::from(minutes) * 60 * SECOND
}

fn machine() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(EPOCH_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_follows_the_zone() {
        const HOUR: i64 = 3600 * SECOND;
        let clock = ServerClock {
            zone: ServerZone {
                local: LocalTime::Rules(chrono_tz::Europe::Berlin),
                ..ServerZone::default()
            },
            ..ServerClock::default()
        };
        // 2024-03-31T01:00:00 UTC, when clocks are set on.
        let change = 1_711_846_800 * SECOND;
        assert_eq!(clock.local(EPOCH_MICROS), (EPOCH_MICROS, 60));
        assert_eq!(clock.local(change + HOUR - 1), (change + HOUR - 1, 60));
        assert_eq!(clock.local(change + HOUR), (change + 2 * HOUR, 120));
        assert_eq!(clock.utc(change + HOUR), change);
    }
}
