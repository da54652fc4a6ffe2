//! Values for the driver's parameters: the way back from what [`decode`](super::decode) makes of cells.
//!
//! Each is exact: what the server's type cannot hold has no value.

use std::borrow::Cow;

use tiberius::ColumnData;
use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, Time};

use super::decode::{DAYS_1900_TO_1970, DAYS_YEAR_1_TO_1970, MICROS_PER_DAY, legacy_micros};

/// Days from 0001-01-01 to 9999-12-31.
const LAST_DAY: i64 = 3_652_058;
/// Days from 1900-01-01 to 1753-01-01, the first `datetime`, and to 9999-12-31.
const DATETIME_DAYS: std::ops::RangeInclusive<i64> = -53_690..=2_958_463;
/// How the first `datetime` reads, in microseconds since 1970: 1753-01-01T00:00:00.
pub(super) const FIRST_DATETIME: i64 = -6_847_804_800_000_000;
/// How the last one reads: 9999-12-31T23:59:59.997.
pub(super) const LAST_DATETIME: i64 = 253_402_300_799_997_000;
/// Days from 1900-01-01 to 2079-06-06, the last `smalldatetime`.
const SMALL_DAYS: std::ops::RangeInclusive<i64> = 0..=65_535;

pub(super) fn text(text: &str) -> ColumnData<'static> {
    ColumnData::String(Some(Cow::Owned(text.to_owned())))
}

pub(super) fn bytes(bytes: &[u8]) -> ColumnData<'static> {
    ColumnData::Binary(Some(Cow::Owned(bytes.to_vec())))
}

/// A `date`, from days since 1970.
pub(super) fn date(days: i64) -> Option<ColumnData<'static>> {
    Some(ColumnData::Date(Some(wire_date(days)?)))
}

/// A `datetime` that reads as these microseconds since 1970, if there is one: they come in 1/300 s.
pub(super) fn datetime(micros: i64) -> Option<ColumnData<'static>> {
    let days = micros.div_euclid(MICROS_PER_DAY) + DAYS_1900_TO_1970;
    if !DATETIME_DAYS.contains(&days) {
        return None;
    }
    let steps = (micros.rem_euclid(MICROS_PER_DAY) * 3 + 5_000) / 10_000;
    let value = DateTime::new(i32::try_from(days).ok()?, u32::try_from(steps).ok()?);
    (legacy_micros(value) == micros).then_some(ColumnData::DateTime(Some(value)))
}

/// How the `datetime`s next to some microseconds since 1970 read: the last that is not above, and the first that
/// is. They read as milliseconds that end in 0, 3 or 7.
pub(super) fn datetimes_around(micros: i64) -> Option<(i64, i64)> {
    let millis = micros.div_euclid(1_000);
    let (before, step) = match millis.rem_euclid(10) {
        0..3 => (0, 3),
        3..7 => (3, 4),
        _ => (7, 3),
    };
    let before = millis.div_euclid(10) * 10 + before;
    Some((
        before.checked_mul(1_000)?,
        (before + step).checked_mul(1_000)?,
    ))
}

/// A `datetime` that a `smalldatetime` can hold: a whole minute of its years.
pub(super) fn small_datetime(micros: i64) -> Option<ColumnData<'static>> {
    let days = micros.div_euclid(MICROS_PER_DAY) + DAYS_1900_TO_1970;
    let whole = micros.rem_euclid(60_000_000) == 0;
    if whole && SMALL_DAYS.contains(&days) {
        datetime(micros)
    } else {
        None
    }
}

/// A `datetime2(7)`, from microseconds since 1970.
pub(super) fn datetime2(micros: i64) -> Option<ColumnData<'static>> {
    Some(ColumnData::DateTime2(Some(wire_datetime2(micros)?)))
}

/// A `datetimeoffset(7)` at offset zero, from microseconds since 1970 in UTC.
pub(super) fn datetimeoffset(micros: i64) -> Option<ColumnData<'static>> {
    let value = DateTimeOffset::new(wire_datetime2(micros)?, 0);
    Some(ColumnData::DateTimeOffset(Some(value)))
}

fn wire_date(days: i64) -> Option<Date> {
    let days = days.checked_add(DAYS_YEAR_1_TO_1970)?;
    if !(0..=LAST_DAY).contains(&days) {
        return None;
    }
    Some(Date::new(u32::try_from(days).ok()?))
}

fn wire_datetime2(micros: i64) -> Option<DateTime2> {
    let date = wire_date(micros.div_euclid(MICROS_PER_DAY))?;
    let ticks = u64::try_from(micros.rem_euclid(MICROS_PER_DAY)).ok()? * 10;
    Some(DateTime2::new(date, Time::new(ticks, 7)))
}

#[cfg(test)]
mod tests {
    use super::super::decode::datetime_micros;
    use super::*;

    const DAY: i64 = MICROS_PER_DAY;

    #[test]
    fn a_datetime_is_there_for_what_it_reads_as_and_for_nothing_else() {
        for millis in 0..2_000 {
            let micros = millis * 1_000;
            let read = datetime(micros).map(|value| datetime_micros(&value));
            let whole = matches!(millis % 10, 0 | 3 | 7);
            assert_eq!(read, whole.then_some(Some(Some(micros))), "{millis}");
        }
        assert_eq!(datetime(3_001), None);
        assert!(datetime(LAST_DATETIME).is_some() && datetime(LAST_DATETIME + 3_000).is_none());
        assert!(datetime(FIRST_DATETIME).is_some() && datetime(FIRST_DATETIME - DAY).is_none());
    }

    #[test]
    fn the_datetimes_around_an_instant_are_next_to_each_other() {
        let steps = |micros: i64| match datetime(micros).unwrap() {
            ColumnData::DateTime(Some(value)) => {
                i64::from(value.days()) * 25_920_000 + i64::from(value.seconds_fragments())
            }
            _ => unreachable!(),
        };
        for micros in (-20_000..20_000).chain(DAY - 8_000..DAY + 8_000) {
            let (before, after) = datetimes_around(micros).unwrap();
            assert!(before <= micros && micros < after, "{micros}");
            assert_eq!(steps(before) + 1, steps(after), "{micros}");
        }
        assert_eq!(datetimes_around(i64::MIN), None);
    }

    #[test]
    fn a_smalldatetime_is_a_whole_minute_of_its_years() {
        assert!(small_datetime(60_000_000).is_some());
        assert_eq!(small_datetime(30_000_000), None);
        assert!(small_datetime(39_968 * DAY).is_some());
        assert_eq!(small_datetime(39_969 * DAY), None);
        assert_eq!(small_datetime(-25_568 * DAY), None);
    }

    #[test]
    fn dates_are_of_the_years_1_to_9999() {
        assert!(date(-719_162).is_some() && date(-719_163).is_none());
        assert!(date(2_932_896).is_some() && date(2_932_897).is_none());
        assert!(datetime2(2_932_897 * DAY - 1).is_some());
        assert_eq!(datetime2(2_932_897 * DAY), None);
        assert_eq!(datetime2(i64::MAX), None);
        let before = datetime2(-1).unwrap();
        assert_eq!(datetime_micros(&before), Some(Some(-1)));
    }
}
