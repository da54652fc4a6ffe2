//! Dates and times between Arrow (from 1970) and the wire (from 0001, or 1900 for the old types).
//!
//! Every function gives `None` for what SQL Server's type cannot hold.

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
pub(super) fn time_length(scale: u8) -> usize {
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
pub(super) fn put_date(out: &mut Vec<u8>, days: i64) -> Option<()> {
    let days = days.checked_add(YEAR_ONE_DAYS)?;
    if !(0..=LAST_DAY).contains(&days) {
        return None;
    }
    out.extend_from_slice(&days.to_le_bytes()[..3]);
    Some(())
}

/// A TIME: nanoseconds since midnight; digits beyond the scale are cut off.
pub(super) fn put_time(out: &mut Vec<u8>, nanos: i64, scale: u8) -> Option<()> {
    if !(0..DAY_NANOS).contains(&nanos) {
        return None;
    }
    let units = nanos / unit_nanos(scale);
    out.extend_from_slice(&units.to_le_bytes()[..time_length(scale)]);
    Some(())
}

/// A DATETIME2: microseconds since 1970.
pub(super) fn put_datetime2(out: &mut Vec<u8>, micros: i64, scale: u8) -> Option<()> {
    put_time(out, micros.rem_euclid(DAY_MICROS) * 1000, scale)?;
    put_date(out, micros.div_euclid(DAY_MICROS))
}

/// A DATETIMEOFFSET in UTC: microseconds since 1970.
pub(super) fn put_datetimeoffset(out: &mut Vec<u8>, micros: i64, scale: u8) -> Option<()> {
    put_datetime2(out, micros, scale)?;
    out.extend_from_slice(&[0, 0]);
    Some(())
}

/// A DATETIME: microseconds since 1970, rounded to 1/300 s.
pub(super) fn put_datetime(out: &mut Vec<u8>, micros: i64) -> Option<()> {
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
pub(super) fn put_smalldatetime(out: &mut Vec<u8>, micros: i64) -> Option<()> {
    let minutes = micros.checked_add(30_000_000)?.div_euclid(60_000_000);
    let days = u16::try_from(minutes.div_euclid(1440) + YEAR_1900_DAYS).ok()?;
    out.extend_from_slice(&days.to_le_bytes());
    out.extend_from_slice(&minutes.rem_euclid(1440).to_le_bytes()[..2]);
    Some(())
}

/// A DATE as days since 1970.
pub(super) fn date(bytes: &[u8]) -> Option<i32> {
    let &[low, middle, high] = bytes else {
        return None;
    };
    let days = i64::from(u32::from_le_bytes([low, middle, high, 0]));
    (days <= LAST_DAY).then_some((days - YEAR_ONE_DAYS) as i32)
}

/// A TIME as nanoseconds since midnight.
pub(super) fn time(bytes: &[u8], scale: u8) -> Option<i64> {
    if bytes.len() != time_length(scale) {
        return None;
    }
    let mut units = [0; 8];
    units[..bytes.len()].copy_from_slice(bytes);
    let nanos = i64::from_le_bytes(units).checked_mul(unit_nanos(scale))?;
    (0..DAY_NANOS).contains(&nanos).then_some(nanos)
}

/// A DATETIME2 as microseconds since 1970; a seventh digit is cut off.
pub(super) fn datetime2(bytes: &[u8], scale: u8) -> Option<i64> {
    let (clock, day) = bytes.split_at_checked(time_length(scale))?;
    Some(i64::from(date(day)?) * DAY_MICROS + time(clock, scale)? / 1000)
}

/// A DATETIMEOFFSET as microseconds since 1970. The wire has it in UTC with the offset behind.
pub(super) fn datetimeoffset(bytes: &[u8], scale: u8) -> Option<i64> {
    let (instant, offset) = bytes.split_last_chunk::<2>()?;
    OFFSETS
        .contains(&i16::from_le_bytes(*offset))
        .then(|| datetime2(instant, scale))?
}

/// A DATETIME as microseconds since 1970, rounded to the millisecond as SQL Server shows it.
pub(super) fn datetime(bytes: &[u8]) -> Option<i64> {
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
pub(super) fn smalldatetime(bytes: &[u8]) -> Option<i64> {
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
        for micros in [0, -1, 1_704_067_200_123_456, -62_135_596_800_000_000] {
            let bytes = put(|out| put_datetime2(out, micros, 7)).unwrap();
            assert_eq!(datetime2(&bytes, 7), Some(micros));
            let bytes = put(|out| put_datetimeoffset(out, micros, 6)).unwrap();
            assert_eq!(datetimeoffset(&bytes, 6), Some(micros));
        }
        assert_eq!(datetimeoffset(&[0, 0, 0, 0, 0, 0, 0xff, 0x7f], 0), None);
    }
}
