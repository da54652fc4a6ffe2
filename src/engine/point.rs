//! Versions and instants as they are written: `FROM VERSION '…'`, `TIMESTAMP AS OF '…'`.

use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use datafusion::error::{DataFusionError, Result};

use crate::change::Lsn;
use crate::sink::delta::{FeedEnd, FeedPoint};
use crate::source::sqlserver::{FeedBound, FeedBounds};
use crate::sql::{Bound, BoundUnit, Bounds, Const};

/// The part of a SQL Server change feed that `bounds` mean.
pub(super) fn feed_bounds(bounds: &Bounds) -> Result<FeedBounds> {
    let end = |bound: &Option<Bound>| bound.as_ref().map(feed_bound).transpose();
    Ok(FeedBounds {
        from: end(&bounds.from)?,
        to: end(&bounds.to)?,
    })
}

/// The end of a SQL Server change feed that `bound` means.
///
/// # Errors
/// `Plan` for what is no LSN and no instant.
pub fn feed_bound(bound: &Bound) -> Result<FeedBound> {
    let inclusive = bound.inclusive;
    match bound.unit {
        BoundUnit::Version => Ok(FeedBound::Version {
            lsn: lsn_of(&bound.value)?,
            inclusive,
        }),
        BoundUnit::Timestamp => Ok(FeedBound::Timestamp {
            micros: micros_of(&bound.value)?,
            inclusive,
        }),
    }
}

/// The end of a Delta table's change data feed that `bound` means.
pub(super) fn feed_end(bound: &Bound) -> Result<FeedEnd> {
    let at = match bound.unit {
        BoundUnit::Version => FeedPoint::Version(version_of(&bound.value)?),
        BoundUnit::Timestamp => FeedPoint::Instant(micros_of(&bound.value)?),
    };
    Ok(FeedEnd {
        at,
        inclusive: bound.inclusive,
    })
}

fn lsn_of(value: &Const) -> Result<Lsn> {
    text_of(value)?
        .parse()
        .map_err(|error: crate::change::ParseLsnError| DataFusionError::Plan(error.to_string()))
}

/// A version of a Delta table.
pub(super) fn version_of(value: &Const) -> Result<u64> {
    let text = text_of(value)?;
    text.parse().map_err(|_| {
        DataFusionError::Plan(format!(
            "'{text}' is not a version of a Delta table: write a whole number from 0"
        ))
    })
}

/// An instant in microseconds since 1970 in UTC; a text without an offset is UTC.
pub(super) fn micros_of(value: &Const) -> Result<i64> {
    let text = text_of(value)?;
    let nanos = string_to_timestamp_nanos(text).map_err(|_| {
        DataFusionError::Plan(format!(
            "'{text}' is not an instant: write '2024-05-06 07:08:09', with an offset such as +02:00 unless it is UTC"
        ))
    })?;
    Ok(nanos.div_euclid(1_000))
}

fn text_of(value: &Const) -> Result<&str> {
    match value {
        Const::Literal { value, .. } => Ok(value.text()),
        Const::Env { .. } | Const::Secret { .. } => Err(DataFusionError::Plan(
            "a version or an instant is a literal; env() and secret() stand in OPTIONS and LOCATION".to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Literal, Span};

    fn literal(text: &str) -> Const {
        Const::Literal {
            value: Literal::String(text.to_string()),
            span: Span::default(),
        }
    }

    #[test]
    fn instants_without_an_offset_are_utc() {
        assert_eq!(
            micros_of(&literal("1970-01-01 00:00:01")).unwrap(),
            1_000_000
        );
        assert_eq!(micros_of(&literal("1970-01-01T02:00:00+02:00")).unwrap(), 0);
        assert_eq!(
            micros_of(&literal("1969-12-31 23:59:59.9999995")).unwrap(),
            -1
        );
        assert!(micros_of(&literal("yesterday")).is_err());
    }

    #[test]
    fn versions_are_whole_numbers() {
        assert_eq!(version_of(&literal("3")).unwrap(), 3);
        assert!(version_of(&literal("-1")).is_err());
        assert!(lsn_of(&literal("3")).is_err());
    }
}
