//! Commits of the database: the rows of `cdc.lsn_time_mapping`, and windows over them.

use chrono::DateTime;

use crate::change::{Commit, Lsn, LsnRange};

use super::captured::CapturedTable;
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::pool::Pool;

/// The newest row. The table, not `sys.fn_cdc_get_max_lsn()`: the same value without its locks.
const NEWEST: &str = "\
SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
ORDER BY m.start_lsn DESC OPTION (MAXDOP 1)";

/// The clocks of the server: the mapping has its local time.
pub(super) const CLOCKS: &str =
    "SELECT GETDATE() AS server_local, SYSUTCDATETIME() AS server_utc OPTION (MAXDOP 1)";

/// The first LSN of a change table (`@P1`: its object_id).
const MINIMUM: &str = "\
SELECT ct.start_lsn FROM cdc.change_tables AS ct WHERE ct.object_id = @P1 OPTION (MAXDOP 1)";

/// 1753-01-01T00:00:00, the first `datetime`.
const FIRST_DATETIME_MS: i64 = -6_847_804_800_000;
/// 9999-12-31T23:59:59.997, the last one.
const LAST_DATETIME_MS: i64 = 253_402_300_799_997;

/// One end of a change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedBound {
    /// A commit LSN.
    Version {
        /// The LSN; it need not be a commit's.
        lsn: Lsn,
        /// Whether its own changes belong to the feed.
        inclusive: bool,
    },
    /// An instant, compared with each commit's end as exactly as `datetime` has it (3 ms).
    Timestamp {
        /// Microseconds since 1970-01-01T00:00:00 UTC.
        micros: i64,
        /// Whether commits of exactly that instant belong to the feed.
        inclusive: bool,
    },
}

/// Both ends of a change feed. Absent, they are the instance's first LSN and the newest commit; an end
/// beyond the newest commit means the newest commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedBounds {
    /// Where it begins.
    pub from: Option<FeedBound>,
    /// Where it ends.
    pub to: Option<FeedBound>,
}

pub(super) async fn newest(pool: &Pool) -> Result<Option<Commit>, SourceError> {
    let action = "reading the newest commit";
    let rows = pool.rows(action, NEWEST, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let cells = Cells::new(row, action);
    let Some(lsn) = cells.lsn(0)? else {
        return Ok(None);
    };
    Ok(Some(Commit {
        lsn,
        end_time_ms: cells.required_millis(1)?,
        tran_id: cells.bytes(2)?.unwrap_or_default().to_vec(),
    }))
}

/// What to subtract from the server's local time to get UTC, in milliseconds.
pub(super) async fn utc_offset_ms(pool: &Pool) -> Result<i64, SourceError> {
    let action = "reading the server's clock";
    let rows = pool.rows(action, CLOCKS, &[]).await?;
    let row = rows.first().ok_or_else(|| SourceError::UnexpectedAnswer {
        action: action.to_string(),
        reason: "no row".to_string(),
    })?;
    let cells = Cells::new(row, action);
    Ok(offset_ms(
        cells.required_millis(0)?,
        cells.required_millis(1)?,
    ))
}

/// The zone's offset from two readings of one clock that are milliseconds apart: whole minutes.
pub(super) fn offset_ms(local_ms: i64, utc_ms: i64) -> i64 {
    const MINUTE: i64 = 60_000;
    (local_ms - utc_ms + MINUTE / 2).div_euclid(MINUTE) * MINUTE
}

/// The first LSN that a captured table has now.
pub(super) async fn minimum(pool: &Pool, table: &CapturedTable) -> Result<Lsn, SourceError> {
    let action = format!("reading the first LSN of {}", table.name);
    let change_id = Parameter::Int(table.change_object_id);
    let rows = pool.rows(&action, MINIMUM, &[&change_id]).await?;
    let Some(row) = rows.first() else {
        return Err(SourceError::InstanceDropped {
            table: table.name.clone(),
            instance: table.instance.clone(),
        });
    };
    Cells::new(row, &action)
        .lsn(0)?
        .ok_or_else(|| SourceError::ChangesHidden {
            table: table.name.clone(),
        })
}

/// The window that `bounds` mean now; `None` if it ends before it begins.
pub(super) async fn window(
    pool: &Pool,
    table: &CapturedTable,
    bounds: FeedBounds,
) -> Result<Option<LsnRange>, SourceError> {
    let minimum = minimum(pool, table).await?;
    let floor = minimum.decrement().unwrap_or(Lsn::ZERO);
    let ceiling = newest(pool).await?.map_or(floor, |commit| commit.lsn);
    let after = match bounds.from {
        None => floor,
        Some(FeedBound::Version { lsn, inclusive }) => before(lsn, inclusive),
        Some(FeedBound::Timestamp { micros, inclusive }) => {
            let operator = if inclusive { ">=" } else { ">" };
            match mapped(pool, operator, micros).await? {
                None => ceiling,
                Some(lsn) => before(lsn, true),
            }
        }
    };
    let upto = match bounds.to {
        None => ceiling,
        Some(FeedBound::Version { lsn, inclusive }) => before(lsn, !inclusive),
        Some(FeedBound::Timestamp { micros, inclusive }) => {
            let operator = if inclusive { "<=" } else { "<" };
            mapped(pool, operator, micros).await?.unwrap_or(after)
        }
    };
    Ok(LsnRange::new(after, upto.min(ceiling)))
}

/// The LSN before `lsn`, if `lsn` itself belongs to what follows.
fn before(lsn: Lsn, belongs: bool) -> Lsn {
    if belongs {
        lsn.decrement().unwrap_or(Lsn::ZERO)
    } else {
        lsn
    }
}

/// The commit nearest to an instant on the side that `operator` (`>=`, `>`, `<=`, `<`) names.
async fn mapped(pool: &Pool, operator: &str, micros: i64) -> Result<Option<Lsn>, SourceError> {
    let action = "looking up a commit by time";
    let local_ms = micros
        .div_euclid(1000)
        .saturating_add(utc_offset_ms(pool).await?);
    let local_ms = local_ms.clamp(FIRST_DATETIME_MS, LAST_DATETIME_MS);
    let local = DateTime::from_timestamp_millis(local_ms).unwrap_or_default();
    let text = Parameter::Text(local.format("%Y-%m-%dT%H:%M:%S%.3f").to_string());
    let rows = pool
        .rows(action, &mapping_query(operator), &[&text])
        .await?;
    match rows.first() {
        None => Ok(None),
        Some(row) => Cells::new(row, action).lsn(0),
    }
}

/// As `sys.fn_cdc_map_time_to_lsn`. The instant (`@P1`) is cast to `datetime`, the mapping's own type, so
/// that a time that was read from it finds its row again.
fn mapping_query(operator: &str) -> String {
    let direction = if operator.starts_with('>') {
        "ASC"
    } else {
        "DESC"
    };
    format!(
        "SELECT TOP (1) m.start_lsn FROM cdc.lsn_time_mapping AS m \
         WHERE m.tran_end_time {operator} CAST(@P1 AS datetime) \
         ORDER BY m.tran_end_time {direction}, m.start_lsn {direction} OPTION (MAXDOP 1)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_whole_minutes() {
        assert_eq!(offset_ms(1_000, 1_003), 0);
        assert_eq!(offset_ms(7_200_000 + 3, 0), 7_200_000);
        assert_eq!(offset_ms(-12_600_000 - 2, 0), -12_600_000);
    }

    #[test]
    fn inclusive_ends_step_back() {
        let lsn: Lsn = "0:1:1".parse().unwrap();
        assert_eq!(before(lsn, true), "0:1:0".parse().unwrap());
        assert_eq!(before(lsn, false), lsn);
        assert_eq!(before(Lsn::ZERO, true), Lsn::ZERO);
    }

    #[test]
    fn the_nearest_commit_is_looked_for_on_the_right_side() {
        assert!(
            mapping_query(">=")
                .contains("tran_end_time >= CAST(@P1 AS datetime) ORDER BY m.tran_end_time ASC")
        );
        assert!(
            mapping_query("<")
                .contains("tran_end_time < CAST(@P1 AS datetime) ORDER BY m.tran_end_time DESC")
        );
    }
}
