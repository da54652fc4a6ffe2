//! The databases' clock, which only their own events move.

/// 2024-01-01T00:00:00, when every database begins, in microseconds since 1970-01-01.
pub(crate) const EPOCH_MICROS: i64 = 1_704_067_200_000_000;

/// How far a statement that writes moves the clock.
pub(crate) const SECOND: i64 = 1_000_000;
