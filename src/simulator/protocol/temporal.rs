//! Dates and times between Arrow (from 1970, or 0001 for the newer types) and the wire (from 0001, or 1900
//! for the old types).
//!
//! Every function gives `None` for what SQL Server's type cannot hold.

use super::forms::{TICKS_END, TICKS_PER_DAY};

const DAY_MICROS: i64 = 86_400_000_000;
const DAY_NANOS: i64 = 86_400_000_000_000;
/// 0001-01-01 to 1970-01-01.
const YEAR_ONE_DAYS: i64 = 719_162;
/// 0001-01-01 to 9999-12-31.
const LAST_DAY: i64 = 3_652_058;
/// 1900-01-01 to 1970-01-01.
const YEAR_1900_DAYS: i64 = 25_567;
/// The first and last days of DATETIME, 1753-01-01 and 9999-12-31, from 1900.
const DATETIME_DAYS: std::ops::RangeInclusive<i64> = -53_690..=2_958_463;
/// DATETIME counts 1/300 s.
const DAY_TICKS: i64 = 86_400 * 300;
/// The offsets of DATETIMEOFFSET, in minutes.
const OFFSETS: std::ops::RangeInclusive<i16> = -840..=840;

/// Bytes of a time with this many digits of a second.
pub(crate) fn time_length(scale: u8) -> usize {
    match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    }
}

/// Nanoseconds in the last digit of a time with this many digits of a second.
fn unit_nanos(scale: u8) -> i64 {
    10_i64.pow(u32::from(9 - scale.min(7)))
}

/// A DATE: days since 1970.
pub(crate) fn put_date(out: &mut Vec<u8>, days: i64) -> Option<()> {
    let days = days.checked_add(YEAR_ONE_DAYS)?;
    if !(0..=LAST_DAY).contains(&days) {
        return None;
    }
    out.extend_from_slice(&days.to_le_bytes()[..3]);
    Some(())
}

/// A TIME: nanoseconds since midnight; digits beyond the scale are cut off.
pub(crate) fn put_time(out: &mut Vec<u8>, nanos: i64, scale: u8) -> Option<()> {
    if !(0..DAY_NANOS).contains(&nanos) {
        return None;
    }
    let units = nanos / unit_nanos(scale);
    out.extend_from_slice(&units.to_le_bytes()[..time_length(scale)]);
    Some(())
}

/// A DATETIME2: steps of 100 ns since 0001; digits beyond the scale are cut off.
pub(crate) fn put_datetime2(out: &mut Vec<u8>, ticks: i64, scale: u8) -> Option<()> {
    if !(0..TICKS_END).contains(&ticks) {
        return None;
    }
    let units = ticks % TICKS_PER_DAY * 100 / unit_nanos(scale);
    out.extend_from_slice(&units.to_le_bytes()[..time_length(scale)]);
    out.extend_from_slice(&(ticks / TICKS_PER_DAY).to_le_bytes()[..3]);
    Some(())
}

/// A DATETIMEOFFSET: steps of 100 ns since 0001 in UTC, and minutes of offset.
pub(crate) fn put_datetimeoffset(
    out: &mut Vec<u8>,
    (ticks, minutes): (i64, i16),
    scale: u8,
) -> Option<()> {
    put_datetime2(out, ticks, scale)?;
    out.extend_from_slice(&minutes.to_le_bytes());
    OFFSETS.contains(&minutes).then_some(())
}

/// A DATETIME: microseconds since 1970, rounded to 1/300 s.
pub(crate) fn put_datetime(out: &mut Vec<u8>, micros: i64) -> Option<()> {
    let ticks = (micros.rem_euclid(DAY_MICROS) * 300 + 500_000) / 1_000_000;
    let days = micros.div_euclid(DAY_MICROS) + YEAR_1900_DAYS + ticks / DAY_TICKS;
    if !DATETIME_DAYS.contains(&days) {
        return None;
    }
    out.extend_from_slice(&days.to_le_bytes()[..4]);
    out.extend_from_slice(&(ticks % DAY_TICKS).to_le_bytes()[..4]);
    Some(())
}

/// A SMALLDATETIME: microseconds since 1970, rounded to the minute.
pub(crate) fn put_smalldatetime(out: &mut Vec<u8>, micros: i64) -> Option<()> {
    let minutes = micros.checked_add(30_000_000)?.div_euclid(60_000_000);
    let days = u16::try_from(minutes.div_euclid(1440) + YEAR_1900_DAYS).ok()?;
    out.extend_from_slice(&days.to_le_bytes());
    out.extend_from_slice(&minutes.rem_euclid(1440).to_le_bytes()[..2]);
    Some(())
}

/// A DATE as days since 1970.
pub(crate) fn date(bytes: &[u8]) -> Option<i32> {
    let &[low, middle, high] = bytes else {
        return None;
    };
    let days = i64::from(u32::from_le_bytes([low, middle, high, 0]));
    (days <= LAST_DAY).then_some((days - YEAR_ONE_DAYS) as i32)
}

/// A TIME as nanoseconds since midnight.
pub(crate) fn time(bytes: &[u8], scale: u8) -> Option<i64> {
    if bytes.len() != time_length(scale) {
        return None;
    }
    let mut units = [0; 8];
    units[..bytes.len()].copy_from_slice(bytes);
    let nanos = i64::from_le_bytes(units).checked_mul(unit_nanos(scale))?;
    (0..DAY_NANOS).contains(&nanos).then_some(nanos)
}

/// A DATETIME2 as steps of 100 ns since 0001.
pub(crate) fn datetime2(bytes: &[u8], scale: u8) -> Option<i64> {
    let (clock, day) = bytes.split_at_checked(time_length(scale))?;
    let days = i64::from(date(day)?) + YEAR_ONE_DAYS;
    Some(days * TICKS_PER_DAY + time(clock, scale)? / 100)
}

/// A DATETIMEOFFSET as steps of 100 ns since 0001 and minutes of offset. The wire has it in UTC with the
/// offset behind.
pub(crate) fn datetimeoffset(bytes: &[u8], scale: u8) -> Option<(i64, i16)> {
    let (instant, offset) = bytes.split_last_chunk::<2>()?;
    let minutes = i16::from_le_bytes(*offset);
    OFFSETS
        .contains(&minutes)
        .then(|| Some((datetime2(instant, scale)?, minutes)))?
}

/// A DATETIME as microseconds since 1970, rounded to the millisecond as SQL Server shows it.
pub(crate) fn datetime(bytes: &[u8]) -> Option<i64> {
    let (days, ticks) = bytes.split_first_chunk::<4>()?;
    let days = i64::from(i32::from_le_bytes(*days));
    let ticks = i64::from(u32::from_le_bytes(*ticks.first_chunk()?));
    if bytes.len() != 8 || !DATETIME_DAYS.contains(&days) || ticks >= DAY_TICKS {
        return None;
    }
    let millis = (ticks * 10 + 1) / 3;
    Some((days - YEAR_1900_DAYS) * DAY_MICROS + millis * 1000)
}

/// A SMALLDATETIME as microseconds since 1970.
pub(crate) fn smalldatetime(bytes: &[u8]) -> Option<i64> {
    let &[day_low, day_high, low, high] = bytes else {
        return None;
    };
    let days = i64::from(u16::from_le_bytes([day_low, day_high]));
    let minutes = i64::from(u16::from_le_bytes([low, high]));
    (minutes < 1440).then_some((days - YEAR_1900_DAYS) * DAY_MICROS + minutes * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(put: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        put(&mut out).map(|()| out)
    }

    #[test]
    fn dates_count_from_the_year_one() {
        assert_eq!(put(|out| put_date(out, -719_162)), Some(vec![0, 0, 0]));
        assert_eq!(put(|out| put_date(out, 0)), Some(vec![0x3a, 0xf9, 0x0a]));
        assert_eq!(
            put(|out| put_date(out, 2_932_896)),
            Some(vec![0xda, 0xb9, 0x37])
        );
        assert_eq!(put(|out| put_date(out, 2_932_897)), None);
        assert_eq!(put(|out| put_date(out, -719_163)), None);
        assert_eq!(date(&[0x3a, 0xf9, 0x0a]), Some(0));
        assert_eq!(date(&[0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn times_have_the_length_of_their_scale() {
        let noon = 43_200_000_000_000;
        assert_eq!(
            put(|out| put_time(out, noon, 0)),
            Some(vec![0xc0, 0xa8, 0x00])
        );
        let exact = put(|out| put_time(out, noon + 123_456_700, 7));
        assert_eq!(exact, Some(432_001_234_567_u64.to_le_bytes()[..5].to_vec()));
        assert_eq!(put(|out| put_time(out, DAY_NANOS, 7)), None);
        for scale in 0..=7 {
            let bytes = put(|out| put_time(out, noon, scale)).unwrap();
            assert_eq!(time(&bytes, scale), Some(noon), "{scale}");
        }
        assert_eq!(time(&[0xff; 5], 7), None);
    }

    #[test]
    fn datetime_is_rounded_to_three_hundredths() {
        let ticks = |micros| {
            let bytes = put(|out| put_datetime(out, micros)).unwrap();
            (bytes[..4].to_vec(), bytes[4], datetime(&bytes))
        };
        let day = 25_567_i32.to_le_bytes().to_vec();
        assert_eq!(ticks(3_000), (day.clone(), 1, Some(3_000)));
        assert_eq!(ticks(7_000), (day.clone(), 2, Some(7_000)));
        assert_eq!(ticks(10_000), (day, 3, Some(10_000)));
        let next = 25_568_i32.to_le_bytes().to_vec();
        assert_eq!(ticks(86_399_999_000), (next, 0, Some(86_400_000_000)));
        assert_eq!(put(|out| put_datetime(out, i64::MAX)), None);
        assert_eq!(datetime(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn smalldatetime_holds_minutes_from_1900() {
        let bytes = put(|out| put_smalldatetime(out, 90_000_000)).unwrap();
        assert_eq!(bytes, [0xdf, 0x63, 2, 0]);
        assert_eq!(smalldatetime(&bytes), Some(120_000_000));
        assert_eq!(
            put(|out| put_smalldatetime(out, -25_568 * DAY_MICROS)),
            None
        );
        assert_eq!(smalldatetime(&[0, 0, 0xff, 0xff]), None);
    }

    #[test]
    fn datetime2_and_datetimeoffset_return_what_was_put() {
        for ticks in [0, 1, 638_396_640_001_234_567, TICKS_END - 1] {
            let bytes = put(|out| put_datetime2(out, ticks, 7)).unwrap();
            assert_eq!(datetime2(&bytes, 7), Some(ticks));
            let bytes = put(|out| put_datetimeoffset(out, (ticks, -330), 7)).unwrap();
            assert_eq!(datetimeoffset(&bytes, 7), Some((ticks, -330)));
        }
        assert_eq!(put(|out| put_datetime2(out, TICKS_END, 7)), None);
        assert_eq!(put(|out| put_datetime2(out, -1, 7)), None);
        assert_eq!(put(|out| put_datetimeoffset(out, (0, 841), 7)), None);
        assert_eq!(datetimeoffset(&[0, 0, 0, 0, 0, 0, 0xff, 0x7f], 0), None);
    }

    #[test]
    fn the_offset_stands_behind_the_time_in_utc() {
        // 2024-01-01T02:00:00.0000001+02:00
        let ticks = 738_885 * TICKS_PER_DAY + 1;
        let bytes = put(|out| put_datetimeoffset(out, (ticks, 120), 7)).unwrap();
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0x45, 0x46, 0x0b, 120, 0]);
    }
}
