//! The zone whose time a server's clock shows: its local times as instants, and the hour that comes twice.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};
use icu_time::zone::iana::IanaParserExtended;
use icu_time::zone::windows::WindowsParser;
use tokio::sync::OnceCell;

use crate::change::Lsn;
use crate::nearest::nearest;

const MINUTE_MS: i64 = 60_000;
/// A quarter of an hour divides every change of the clocks.
const QUARTER_MS: i64 = 15 * MINUTE_MS;
/// The longest time that clocks were ever set on by, and more: Samoa left out a day.
const LONGEST_GAP_MS: i64 = 25 * 60 * MINUTE_MS;

/// A zone with its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeZone(Tz);

impl FromStr for TimeZone {
    type Err = String;

    /// By the name that IANA gives it, without regard to case, or Windows, whose `sys.time_zone_info` and
    /// `CURRENT_TIMEZONE_ID()` SQL Server shows (<https://cldr.unicode.org/>, supplemental/windowsZones).
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = || TZ_VARIANTS.iter();
        let named = known().find(|zone| zone.name().eq_ignore_ascii_case(name));
        if let Some(zone) = named.copied().or_else(|| of_windows(name)) {
            return Ok(Self(zone));
        }
        let near = nearest(name, known().map(|zone| zone.name()));
        let near = near.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
        Err(format!(
            "is not a zone that is known{near}: write IANA's name, such as 'Europe/Berlin', or Windows', such as \
             'W. Europe Standard Time'"
        ))
    }
}

fn of_windows(name: &str) -> Option<Tz> {
    let zone = WindowsParser::new().parse(name, None)?;
    let mut names = IanaParserExtended::new().iter();
    let found = names.find(|known| known.time_zone == zone)?;
    found.canonical.parse().ok()
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// What the server's clock shows, and UTC, read at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) local_ms: i64,
    pub(super) utc_ms: i64,
}

impl Clocks {
    /// What to subtract from local time to get UTC: whole minutes.
    pub(super) fn offset_ms(self) -> i64 {
        let apart = self.local_ms - self.utc_ms;
        (apart + MINUTE_MS / 2).div_euclid(MINUTE_MS) * MINUTE_MS
    }
}

/// What makes instants of local times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// The rules of a zone.
    Rules(TimeZone),
    /// One offset for all times, in milliseconds.
    Offset(i64),
}

/// An hour, as a rule, that comes twice since clocks are set back at its end: its local times from `begin` up to, not
/// including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fold {
    pub(super) begin_ms: i64,
    pub(super) end_ms: i64,
}

/// Which instant a local time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instant {
    Once(i64),
    /// One of two.
    Twice {
        fold: Fold,
        earlier: i64,
        later: i64,
    },
}

/// A local time that an instant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) ms: i64,
    /// The hour that comes twice, if it is in one, and whether the clocks have been set back by then.
    pub(super) fold: Option<(Fold, bool)>,
}

impl Zone {
    /// The instant, in milliseconds of UTC, of a local time. One that the zone leaves out, since clocks are set on, is
    /// read as if they had not been yet.
    pub(super) fn instant(self, local_ms: i64) -> Instant {
        let zone = match self {
            Self::Offset(offset) => return Instant::Once(local_ms.saturating_sub(offset)),
            Self::Rules(TimeZone(zone)) => zone,
        };
        match offsets(zone, local_ms) {
            MappedLocalTime::Single(offset) => Instant::Once(local_ms.saturating_sub(offset)),
            MappedLocalTime::Ambiguous(first, second) => Instant::Twice {
                fold: fold(zone, local_ms, (first, second)),
                earlier: local_ms - first,
                later: local_ms - second,
            },
            MappedLocalTime::None => Instant::Once(local_ms - offset_before_gap(zone, local_ms)),
        }
    }

    /// The local time of an instant in milliseconds of UTC.
    pub(super) fn local(self, utc_ms: i64) -> Local {
        let offset = match self {
            Self::Offset(offset) => offset,
            Self::Rules(zone) => zone.offset_at(utc_ms),
        };
        let ms = utc_ms.saturating_add(offset);
        let fold = match self.instant(ms) {
            Instant::Once(_) => None,
            Instant::Twice { fold, later, .. } => Some((fold, utc_ms == later)),
        };
        Local { ms, fold }
    }
}

impl TimeZone {
    /// What to add to UTC at an instant, in milliseconds.
    pub(super) fn offset_at(self, utc_ms: i64) -> i64 {
        offset_ms(self.0.offset_from_utc_datetime(&civil(utc_ms)).fix())
    }

    /// Whether a server's clock shows this zone's time, to a minute; the zone may change while it is read.
    pub(super) fn agrees(self, clocks: Clocks) -> bool {
        [-MINUTE_MS, 0, MINUTE_MS].into_iter().any(|around| {
            let offset = self.offset_at(clocks.utc_ms + around);
            (clocks.local_ms - clocks.utc_ms - offset).abs() <= MINUTE_MS
        })
    }
}

fn civil(ms: i64) -> NaiveDateTime {
    DateTime::from_timestamp_millis(ms)
        .unwrap_or_default()
        .naive_utc()
}

fn offset_ms(offset: chrono::FixedOffset) -> i64 {
    i64::from(offset.local_minus_utc()) * 1_000
}

fn offsets(zone: Tz, local_ms: i64) -> MappedLocalTime<i64> {
    zone.offset_from_local_datetime(&civil(local_ms))
        .map(|offset| offset_ms(offset.fix()))
}

fn offset_before_gap(zone: Tz, local_ms: i64) -> i64 {
    let back = (1..=LONGEST_GAP_MS / QUARTER_MS).map(|quarters| local_ms - quarters * QUARTER_MS);
    let mut known = back.filter_map(|before| offsets(zone, before).latest());
    known.next().unwrap_or_default()
}

/// The hour around a local time that has these two offsets.
fn fold(zone: Tz, local_ms: i64, (first, second): (i64, i64)) -> Fold {
    let (mut before, mut after) = (local_ms - first, local_ms - second);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if TimeZone(zone).offset_at(middle) == first {
            before = middle;
        } else {
            after = middle;
        }
    }
    Fold {
        begin_ms: after + second,
        end_ms: after + first,
    }
}

/// An offset from UTC as people write it.
pub(super) fn shown_offset(offset_ms: i64) -> String {
    let minutes = offset_ms / MINUTE_MS;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// What is known of a server's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The connection's option names it.
    Configured(TimeZone),
    /// The server does.
    Told(TimeZone),
    /// Nobody does, for this reason.
    Unknown(String),
}

/// What a pool remembers of its server's zone.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) known: OnceCell<Known>,
    /// The first commit after the clocks were set back, by the beginning of the hour that comes twice.
    turns: Mutex<BTreeMap<i64, Lsn>>,
}

impl Memory {
    pub(super) fn turn(&self, fold: Fold) -> Option<Lsn> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(&fold.begin_ms).copied()
    }

    pub(super) fn keep(&self, fold: Fold, turn: Lsn) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.insert(fold.begin_ms, turn);
    }
}

#[cfg(test)]
mod tests;
