//! Commits of the database: the rows of `cdc.lsn_time_mapping`, and windows over them.

use tiberius::{ColumnData, Row, ToSql};

use crate::change::{Commit, Lsn, LsnRange};

use super::captured::CapturedTable;
use super::cell::{Cells, Parameter};
use super::dates::Dates;
use super::encode::{self, FIRST_DATETIME, LAST_DATETIME};
use super::error::SourceError;
use super::pool::Pool;
use super::zone::Local;

/// The newest row. The table, not `sys.fn_cdc_get_max_lsn()`: the same value without its locks.
pub(super) const NEWEST: &str = "\
SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
ORDER BY m.start_lsn DESC OPTION (MAXDOP 1)";

/// The last row up to an LSN (`@P1`).
const LAST_UPTO: &str = "\
SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
WHERE m.start_lsn <= @P1 ORDER BY m.start_lsn DESC OPTION (MAXDOP 1)";

/// The row of a window (after `@P1`, up to `@P2`) with the earliest time; times need not follow the order of commits.
const EARLIEST_WITHIN: &str = "\
SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
WHERE m.start_lsn > @P1 AND m.start_lsn <= @P2 ORDER BY m.tran_end_time OPTION (MAXDOP 1)";

/// The first LSN of a change table (`@P1`: its object_id).
const MINIMUM: &str = "\
SELECT ct.start_lsn FROM cdc.change_tables AS ct WHERE ct.object_id = @P1 OPTION (MAXDOP 1)";

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
    /// An instant, compared with each commit's end as the server dates it, to 3 ms, and as [`Dates`](super::Dates) makes
    /// an instant of that. Where the clock itself was set back, times do not follow the order of commits: then the feed
    /// goes from the first commit past the one end to the last before the other, whatever the times between.
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
    first_commit(&rows, action)
}

/// The last commit up to `lsn` that is mapped, if any is.
pub(super) async fn last_upto(pool: &Pool, lsn: Lsn) -> Result<Option<Commit>, SourceError> {
    let action = "looking up the time of a commit";
    let lsn = Parameter::Lsn(lsn);
    let rows = pool.rows(action, LAST_UPTO, &[&lsn]).await?;
    first_commit(&rows, action)
}

/// The commit of a window with the earliest time, if the window has one.
pub(super) async fn earliest_within(
    pool: &Pool,
    window: LsnRange,
) -> Result<Option<Commit>, SourceError> {
    let action = "looking up the earliest time of a window";
    let [after, upto] = [window.after(), window.upto()].map(Parameter::Lsn);
    let rows = pool.rows(action, EARLIEST_WITHIN, &[&after, &upto]).await?;
    first_commit(&rows, action)
}

/// The commit in the first of some rows of `start_lsn`, `tran_end_time`, `tran_id`.
pub(super) fn first_commit(rows: &[Row], action: &str) -> Result<Option<Commit>, SourceError> {
    match rows.first() {
        Some(row) => commit(&Cells::new(row, action), 0),
        None => Ok(None),
    }
}

/// The commit in three cells from `first` on; `None` without an LSN.
pub(super) fn commit(cells: &Cells<'_>, first: usize) -> Result<Option<Commit>, SourceError> {
    let Some(lsn) = cells.lsn(first)? else {
        return Ok(None);
    };
    Ok(Some(Commit {
        lsn,
        end_time_ms: cells.required_millis(first + 1)?,
        tran_id: cells.bytes(first + 2)?.unwrap_or_default().to_vec(),
    }))
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
        Some(bound) => start(pool, bound).await?.unwrap_or(ceiling),
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

/// The exclusive start of what `bound` begins; `None` if there is no commit at or past its instant.
pub(super) async fn start(pool: &Pool, bound: FeedBound) -> Result<Option<Lsn>, SourceError> {
    match bound {
        FeedBound::Version { lsn, inclusive } => Ok(Some(before(lsn, inclusive))),
        FeedBound::Timestamp { micros, inclusive } => {
            let operator = if inclusive { ">=" } else { ">" };
            let first = mapped(pool, operator, micros).await?;
            Ok(first.map(|lsn| before(lsn, true)))
        }
    }
}

/// The LSN before `lsn`, if `lsn` itself belongs to what follows.
fn before(lsn: Lsn, belongs: bool) -> Lsn {
    if belongs {
        lsn.decrement().unwrap_or(Lsn::ZERO)
    } else {
        lsn
    }
}

/// The first commit past an instant, or the last before it, on the side that `operator` (`>=`, `>`, `<=`, `<`)
/// names.
async fn mapped(pool: &Pool, operator: &str, micros: i64) -> Result<Option<Lsn>, SourceError> {
    let action = "looking up a commit by time";
    let (dates, _) = Dates::now(pool).await?;
    let Local { ms, fold } = dates.zone().local(micros.div_euclid(1_000));
    let mut local = ms
        .saturating_mul(1_000)
        .saturating_add(micros.rem_euclid(1_000));
    let mut turn = None;
    if let Some((fold, is_set_back)) = fold {
        turn = dates.turn(fold).await?.map(|turn| (turn, is_set_back));
        if turn.is_none() && is_set_back {
            // Every commit of the hour is taken as of the first time round.
            local = fold.end_ms * 1_000;
        }
    }
    let Some(at) = neighbour(operator, local) else {
        return Ok(None);
    };
    let at = Parameter::Value(at);
    let sql = mapping_query(operator, turn.map(|(_, is_set_back)| is_set_back));
    let turn = turn.map(|(turn, _)| Parameter::Lsn(turn));
    let mut parameters: Vec<&dyn ToSql> = vec![&at];
    parameters.extend(turn.iter().map(|turn| turn as &dyn ToSql));
    let rows = pool.rows(action, &sql, &parameters).await?;
    match rows.first() {
        None => Ok(None),
        Some(row) => Cells::new(row, action).lsn(0),
    }
}

/// The `datetime` that is on the same side of the same ones as an instant in local time.
fn neighbour(operator: &str, micros: i64) -> Option<ColumnData<'static>> {
    let micros = micros.clamp(FIRST_DATETIME, LAST_DATETIME);
    let (before, after) = encode::datetimes_around(micros)?;
    let moves_up = before < micros && matches!(operator, ">=" | "<");
    encode::datetime(if moves_up { after } else { before })
}

/// As `sys.fn_cdc_map_time_to_lsn` for a `datetime` (`@P1`), the mapping's own type; by the order of LSNs, so that no
/// commit of a clock that was set back is left out.
///
/// In an hour that comes twice, `is_set_back` says whether the instant is of the second time round, whose first commit is
/// `@P2`.
fn mapping_query(operator: &str, is_set_back: Option<bool>) -> String {
    let (end, side) = if operator.starts_with('>') {
        ("MIN", ">=")
    } else {
        ("MAX", "<")
    };
    let turn = format!("m.start_lsn {side} CAST(@P2 AS binary(10))");
    // Past an instant of the first time round are all commits of the second, and before one of the second all of
    // the first.
    let turn = match is_set_back {
        None => String::new(),
        Some(is_set_back) if is_set_back == (side == "<") => format!(" OR {turn}"),
        Some(_) => format!(" AND {turn}"),
    };
    format!(
        "SELECT {end}(m.start_lsn) AS start_lsn FROM cdc.lsn_time_mapping AS m \
         WHERE m.tran_end_time {operator} CAST(@P1 AS datetime){turn} OPTION (MAXDOP 1)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::decode::datetime_micros;

    #[test]
    fn inclusive_ends_step_back() {
        let lsn: Lsn = "0:1:1".parse().unwrap();
        assert_eq!(before(lsn, true), "0:1:0".parse().unwrap());
        assert_eq!(before(lsn, false), lsn);
        assert_eq!(before(Lsn::ZERO, true), Lsn::ZERO);
    }

    #[test]
    fn the_nearest_commit_is_looked_for_on_the_right_side() {
        let first = mapping_query(">=", None);
        assert!(first.contains("MIN(m.start_lsn)") && first.contains("tran_end_time >= CAST("));
        let last = mapping_query("<", None);
        assert!(last.contains("MAX(m.start_lsn)") && last.contains("tran_end_time < CAST("));
    }

    #[test]
    fn an_instant_between_two_datetimes_moves_to_the_one_that_bounds_the_same_commits() {
        let at =
            |operator, micros| neighbour(operator, micros).and_then(|at| datetime_micros(&at)?);
        for (operator, expected) in [(">=", 3_000), ("<", 3_000), (">", 0), ("<=", 0)] {
            assert_eq!(at(operator, 1), Some(expected), "{operator}");
            assert_eq!(at(operator, 2_999), Some(expected), "{operator}");
            assert_eq!(at(operator, 3_000), Some(3_000), "{operator}");
            assert_eq!(at(operator, i64::MIN), Some(FIRST_DATETIME), "{operator}");
            assert_eq!(at(operator, i64::MAX), Some(LAST_DATETIME), "{operator}");
        }
    }
}
