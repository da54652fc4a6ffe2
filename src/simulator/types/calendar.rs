//! Dates and times: the calendar, and the steps in which each type counts.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::Value;
use crate::simulator::protocol::SqlType;
use crate::simulator::protocol::forms::{TICKS_END, TICKS_PER_DAY, TICKS_TO_1970};

const TICKS_PER_SECOND: i64 = 10_000_000;
/// Steps of 100 ns in a minute.
pub(crate) const TICKS_PER_MINUTE: i64 = 60 * TICKS_PER_SECOND;
/// Days from 0001-01-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_162;

/// The date and time at some microseconds since 1970-01-01; the epoch if that is beyond the calendar.
pub(crate) fn civil(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .naive_utc()
}

/// Steps of 100 ns since 0001-01-01 of microseconds since 1970-01-01.
pub(crate) fn ticks_of_micros(micros: i64) -> i64 {
    micros.saturating_mul(10).saturating_add(TICKS_TO_1970)
}

/// The inverse of [`ticks_of_micros`], cut to microseconds.
pub(crate) fn micros_of_ticks(ticks: i64) -> i64 {
    (ticks - TICKS_TO_1970).div_euclid(10)
}

/// The date and time at some steps of 100 ns since 0001-01-01.
pub(crate) fn civil_of_ticks(ticks: i64) -> NaiveDateTime {
    let of_day = ticks.rem_euclid(TICKS_PER_DAY);
    let seconds = u32::try_from(of_day / TICKS_PER_SECOND).unwrap_or(0);
    let nanos = u32::try_from(of_day % TICKS_PER_SECOND * 100).unwrap_or(0);
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).unwrap_or_default();
    NaiveDateTime::new(date_of(days_of_ticks(ticks)), time)
}

/// Steps of 100 ns since 0001-01-01 of a date and time.
pub(crate) fn ticks_of(at: NaiveDateTime) -> i64 {
    join_day(days_of(at.date()), nanos_of_day(at))
}

/// Days since 1970-01-01.
pub(crate) fn days_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - 719_163
}

/// The date some days after 1970-01-01.
pub(crate) fn date_of(days: i32) -> NaiveDate {
    NaiveDate::from_num_days_from_ce_opt(days.saturating_add(719_163)).unwrap_or_default()
}

/// Days since 1970-01-01 of steps of 100 ns since 0001-01-01.
pub(crate) fn days_of_ticks(ticks: i64) -> i32 {
    i32::try_from(ticks.div_euclid(TICKS_PER_DAY) - DAYS_TO_1970).unwrap_or(0)
}

/// Steps of 100 ns since 0001-01-01 of days since 1970-01-01 and nanoseconds of the day.
pub(crate) fn join_day(days: i32, nanos: i64) -> i64 {
    (i64::from(days) + DAYS_TO_1970) * TICKS_PER_DAY + nanos / 100
}

/// Nanoseconds since midnight.
pub(crate) fn nanos_of_day(at: NaiveDateTime) -> i64 {
    i64::from(at.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(at.nanosecond())
}

/// The local time and the offset in minutes of a date or time of type `from`; a time alone is on
/// 1900-01-01. `None` for other values.
pub(crate) fn local_ticks(value: &Value, from: SqlType) -> Option<(i64, i16)> {
    Some(match value {
        Value::Date(days) => (join_day(*days, 0), 0),
        Value::Time(nanos) => (join_day(EPOCH_1900, *nanos), 0),
        // The thirds of 10 ms that datetime counts, as exact as 100 ns can say them.
        Value::Timestamp(micros) if from == SqlType::DateTime => {
            let ticks = ticks_of_micros(*micros);
            let of_day = ticks.rem_euclid(TICKS_PER_DAY);
            let thirds = (of_day * 3 + 50_000).div_euclid(100_000);
            (ticks - of_day + (thirds * 100_000 + 1).div_euclid(3), 0)
        }
        Value::Timestamp(micros) => (ticks_of_micros(*micros), 0),
        Value::Instant(ticks) => (*ticks, 0),
        Value::Offset(ticks, offset) => (ticks + i64::from(*offset) * TICKS_PER_MINUTE, *offset),
        _ => return None,
    })
}

/// 1900-01-01, where SQL Server's `datetime` counts from, in days since 1970-01-01.
pub(crate) const EPOCH_1900: i32 = -25_567;

/// A local time and its offset as a value of a type, in the type's steps: minutes, 1/300 seconds or a
/// number of digits. `None` if the type's range does not hold it.
pub(crate) fn instant(ticks: i64, offset: i16, to: SqlType) -> Option<Value> {
    let digits = |scale: u8| 10_i64.pow(7 - u32::from(scale.min(7)));
    let value = match to {
        SqlType::SmallDateTime => {
            let rounded = round_to(ticks, TICKS_PER_MINUTE);
            within(rounded, ymd(1900, 1, 1), ymd(2079, 6, 7))?;
            Value::Timestamp(micros_of_ticks(rounded))
        }
        SqlType::DateTime => {
            let of_day = ticks.rem_euclid(TICKS_PER_DAY);
            let thirds = (of_day * 3 + 50_000).div_euclid(100_000);
            // The ticks of 3.33 ms show as 0, 3 and 7 ms.
            let rounded = ticks - of_day + (thirds * 10 + 1).div_euclid(3) * 10_000;
            within(rounded, ymd(1753, 1, 1), TICKS_END)?;
            Value::Timestamp(micros_of_ticks(rounded))
        }
        SqlType::DateTimeOffset(scale) => {
            let rounded = round_to(ticks, digits(scale));
            within(rounded, 0, TICKS_END)?;
            let utc = rounded - i64::from(offset) * TICKS_PER_MINUTE;
            within(utc, 0, TICKS_END)?;
            Value::Offset(utc, offset)
        }
        SqlType::DateTime2(scale) => {
            let rounded = round_to(ticks, digits(scale));
            within(rounded, 0, TICKS_END)?;
            Value::Instant(rounded)
        }
        _ => return None,
    };
    Some(value)
}

fn within(ticks: i64, first: i64, end: i64) -> Option<()> {
    (first..end).contains(&ticks).then_some(())
}

/// An instant in the steps of `datetime`; one that no `datetime` holds stays as it is.
pub(crate) fn round_datetime(micros: i64) -> i64 {
    match instant(ticks_of_micros(micros), 0, SqlType::DateTime) {
        Some(Value::Timestamp(rounded)) => rounded,
        _ => micros,
    }
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

    fn steps(micros: i64, to: SqlType) -> Option<Value> {
        instant(ticks_of_micros(micros), 0, to)
    }

    #[test]
    fn datetime_counts_in_thirds_of_ten_milliseconds() {
        for (micros, rounded) in [
            (1_000, 0),
            (2_000, 3_000),
            (5_000, 7_000),
            (8_000, 7_000),
            (9_000, 10_000),
            (998_000, 997_000),
            (999_000, 1_000_000),
        ] {
            let found = steps(micros, SqlType::DateTime);
            assert_eq!(found, Some(Value::Timestamp(rounded)), "{micros}");
        }
    }

    #[test]
    fn a_datetime_is_exact_among_finer_types() {
        let third = |micros| {
            let value = Value::Timestamp(micros);
            local_ticks(&value, SqlType::DateTime).unwrap().0 - TICKS_TO_1970
        };
        assert_eq!(third(3_000), 33_333);
        assert_eq!(third(7_000), 66_667);
        assert_eq!(third(10_000), 100_000);
    }

    #[test]
    fn types_have_ranges() {
        let minute = Some(Value::Timestamp(60_000_000));
        assert_eq!(steps(30_000_000, SqlType::SmallDateTime), minute);
        let before = |ticks: i64, to| instant(ticks - 1, 0, to);
        assert_eq!(before(ymd(1899, 12, 31), SqlType::SmallDateTime), None);
        assert_eq!(before(ymd(1752, 12, 31), SqlType::DateTime), None);
        let last = TICKS_END - 1;
        assert_eq!(
            instant(last, 0, SqlType::DateTime2(7)),
            Some(Value::Instant(last))
        );
        assert_eq!(instant(last, 0, SqlType::DateTime2(3)), None);
        assert_eq!(instant(0, 60, SqlType::DateTimeOffset(7)), None);
    }

    #[test]
    fn the_last_time_of_day_stays_before_midnight() {
        assert_eq!(round_time(86_399_999_999_900, 0), 86_399_000_000_000);
        assert_eq!(round_time(1_500_000_000, 0), 2_000_000_000);
    }
}
