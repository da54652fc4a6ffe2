//! Dates and times: the calendar, and the steps in which each type counts.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};

use crate::simulator::protocol::SqlType;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_MINUTE: i64 = 60_000_000;

/// The date and time at some microseconds since 1970-01-01; the epoch if that is beyond the calendar.
pub(crate) fn civil(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .naive_utc()
}

/// Microseconds since 1970-01-01 of a date and time.
pub(crate) fn micros_of(at: NaiveDateTime) -> i64 {
    at.and_utc().timestamp_micros()
}

/// Days since 1970-01-01.
pub(crate) fn days_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - 719_163
}

/// The date some days after 1970-01-01.
pub(crate) fn date_of(days: i32) -> NaiveDate {
    NaiveDate::from_num_days_from_ce_opt(days.saturating_add(719_163)).unwrap_or_default()
}

/// Days and microseconds of the day.
pub(crate) fn split_day(micros: i64) -> (i32, i64) {
    let days = micros.div_euclid(MICROS_PER_DAY);
    (
        i32::try_from(days).unwrap_or(0),
        micros.rem_euclid(MICROS_PER_DAY),
    )
}

/// The inverse of [`split_day`].
pub(crate) fn join_day(days: i32, micros: i64) -> i64 {
    i64::from(days) * MICROS_PER_DAY + micros
}

/// Nanoseconds since midnight.
pub(crate) fn nanos_of_day(at: NaiveDateTime) -> i64 {
    i64::from(at.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(at.nanosecond())
}

/// An instant in the steps of a type: minutes, 1/300 seconds or a number of digits. `None` if the
/// type's range does not hold it.
pub(crate) fn round_instant(micros: i64, sql_type: SqlType) -> Option<i64> {
    let rounded = match sql_type {
        SqlType::SmallDateTime => round_to(micros, MICROS_PER_MINUTE),
        SqlType::DateTime => {
            let (days, of_day) = split_day(micros);
            let ticks = (of_day * 3 + 5_000).div_euclid(10_000);
            // The ticks of 3.33 ms show as 0, 3 and 7 ms.
            join_day(days, (ticks * 10 + 1).div_euclid(3) * 1_000)
        }
        SqlType::DateTime2(scale) | SqlType::DateTimeOffset(scale) if scale < 6 => {
            round_to(micros, 10_i64.pow(6 - u32::from(scale)))
        }
        _ => micros,
    };
    let (first, last) = match sql_type {
        SqlType::SmallDateTime => (ymd(1900, 1, 1), ymd(2079, 6, 7)),
        SqlType::DateTime => (ymd(1753, 1, 1), ymd(10_000, 1, 1)),
        _ => (ymd(1, 1, 1), ymd(10_000, 1, 1)),
    };
    (first..last).contains(&rounded).then_some(rounded)
}

/// An instant in the steps of `datetime`; one that no `datetime` holds stays as it is.
pub(crate) fn round_datetime(micros: i64) -> i64 {
    round_instant(micros, SqlType::DateTime).unwrap_or(micros)
}

/// A time of day in the steps of `time(scale)`, short of midnight.
pub(crate) fn round_time(nanos: i64, scale: u8) -> i64 {
    let step = 10_i64.pow(9 - u32::from(scale.min(7)));
    round_to(nanos, step).min(86_400_000_000_000 - step)
}

fn round_to(n: i64, step: i64) -> i64 {
    (n + step / 2).div_euclid(step) * step
}

fn ymd(year: i32, month: u32, day: u32) -> i64 {
    NaiveDate::from_ymd_opt(year, month, day).map_or(0, |date| join_day(days_of(date), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetime_counts_in_thirds_of_ten_milliseconds() {
        let steps = |micros| round_instant(micros, SqlType::DateTime).unwrap();
        assert_eq!(steps(1_000), 0);
        assert_eq!(steps(2_000), 3_000);
        assert_eq!(steps(5_000), 7_000);
        assert_eq!(steps(8_000), 7_000);
        assert_eq!(steps(9_000), 10_000);
        assert_eq!(steps(998_000), 997_000);
        assert_eq!(steps(999_000), 1_000_000);
    }

    #[test]
    fn smalldatetime_rounds_to_minutes_and_has_a_range() {
        assert_eq!(
            round_instant(30_000_000, SqlType::SmallDateTime),
            Some(60_000_000)
        );
        assert_eq!(
            round_instant(ymd(1899, 12, 31), SqlType::SmallDateTime),
            None
        );
        assert_eq!(round_instant(ymd(1752, 12, 31), SqlType::DateTime), None);
    }

    #[test]
    fn the_last_time_of_day_stays_before_midnight() {
        assert_eq!(round_time(86_399_999_999_900, 0), 86_399_000_000_000);
        assert_eq!(round_time(1_500_000_000, 0), 2_000_000_000);
    }
}
