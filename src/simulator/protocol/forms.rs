//! The Arrow forms that hold several parts in the bytes of one `FixedSizeBinary`, so that the order of the
//! bytes is the order of the values.

/// Steps of 100 ns in a day.
pub(crate) const TICKS_PER_DAY: i64 = 864_000_000_000;
/// 1970-01-01 in steps of 100 ns since 0001-01-01.
pub(crate) const TICKS_TO_1970: i64 = 719_162 * TICKS_PER_DAY;
/// The day after 9999-12-31 in steps of 100 ns since 0001-01-01.
pub(crate) const TICKS_END: i64 = 3_652_059 * TICKS_PER_DAY;

/// Bytes of the form of `datetime2`.
pub(crate) const INSTANT_BYTES: i32 = 8;
/// Bytes of the form of `datetimeoffset`.
pub(crate) const OFFSET_BYTES: i32 = 10;
/// Bytes of the form of `uniqueidentifier`.
pub(crate) const GUID_BYTES: i32 = 16;

/// The largest offset from UTC, in minutes.
pub(crate) const LARGEST_OFFSET: i16 = 840;

/// `datetime2`: steps of 100 ns since 0001-01-01, big endian.
pub(crate) fn instant_form(ticks: i64) -> [u8; 8] {
    ticks.to_be_bytes()
}

/// The inverse of [`instant_form`]; 0 for bytes that are no such form.
pub(crate) fn instant_of(form: &[u8]) -> i64 {
    form.first_chunk()
        .map_or(0, |ticks| i64::from_be_bytes(*ticks))
}

/// `datetimeoffset`: the instant in UTC as `datetime2` has it, then the minutes of the offset, moved so
/// that none is negative.
pub(crate) fn offset_form(ticks: i64, minutes: i16) -> [u8; 10] {
    let mut form = [0; 10];
    form[..8].copy_from_slice(&ticks.to_be_bytes());
    form[8..].copy_from_slice(&minutes.saturating_add(LARGEST_OFFSET).to_be_bytes());
    form
}

/// The inverse of [`offset_form`].
pub(crate) fn offset_of(form: &[u8]) -> (i64, i16) {
    let minutes = form
        .last_chunk()
        .map_or(0, |minutes| i16::from_be_bytes(*minutes) - LARGEST_OFFSET);
    (instant_of(form), minutes)
}

/// The order in which SQL Server compares the bytes of a `uniqueidentifier`.
const GUID_ORDER: [usize; 16] = [10, 11, 12, 13, 14, 15, 8, 9, 6, 7, 4, 5, 0, 1, 2, 3];

/// `uniqueidentifier`: its 16 bytes as on the wire, put into the order in which they are compared.
pub(crate) fn guid_form(bytes: [u8; 16]) -> [u8; 16] {
    GUID_ORDER.map(|at| bytes[at])
}

/// The inverse of [`guid_form`]; zeros for bytes that are no such form.
pub(crate) fn guid_of(form: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (at, byte) in GUID_ORDER.iter().zip(form) {
        bytes[*at] = *byte;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_compared_before_offsets() {
        let early = offset_form(5, 840);
        let late = offset_form(6, -840);
        assert!(early < late);
        assert_eq!(offset_of(&late), (6, -840));
        assert_eq!(instant_of(&instant_form(TICKS_END - 1)), TICKS_END - 1);
    }

    #[test]
    fn the_last_group_of_a_guid_counts_most() {
        let bytes = std::array::from_fn(|at| at as u8);
        let form = guid_form(bytes);
        assert_eq!(form[..6], [10, 11, 12, 13, 14, 15]);
        assert_eq!(guid_of(&form), bytes);
    }
}
