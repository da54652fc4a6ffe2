//! When commits ended: the server's local times of `cdc.lsn_time_mapping` as instants.

use tiberius::Row;

use crate::change::Lsn;

use super::caution::Caution;
use super::cell::{Cells, Parameter};
use super::encode;
use super::error::SourceError;
use super::pool::{Lease, Pool};
use super::zone::{Clocks, Fold, Instant, Known, Zone, shown_offset};

/// The clocks of the server: the mapping has its local time.
const CLOCKS: &str =
    "SELECT GETDATE() AS server_local, SYSUTCDATETIME() AS server_utc OPTION (MAXDOP 1)";

/// The name of the server's zone: SQL Server 2022 and later, Azure SQL.
/// <https://learn.microsoft.com/sql/t-sql/functions/current-timezone-id-transact-sql>
const ZONE_ID: &str = "SELECT CURRENT_TIMEZONE_ID() AS zone_id OPTION (MAXDOP 1)";

/// The number of "is not a recognized built-in function name".
const NO_FUNCTION: u32 = 195;

/// In the order of LSNs, the first commit from `@P1` up to `@P2` that is dated before another by more than a minute: the
/// clocks were set back before it. An idle database has an entry every five minutes, so that there is one.
const TURN: &str = "\
SELECT MIN(w.start_lsn) AS start_lsn FROM (SELECT m.start_lsn, m.tran_end_time, \
MAX(m.tran_end_time) OVER (ORDER BY m.start_lsn ROWS UNBOUNDED PRECEDING) AS highest \
FROM cdc.lsn_time_mapping AS m WHERE m.tran_end_time >= CAST(@P1 AS datetime) \
AND m.tran_end_time < CAST(@P2 AS datetime)) AS w \
WHERE w.tran_end_time < DATEADD(minute, -1, w.highest) OPTION (MAXDOP 1)";

/// How a database's commits are dated.
///
/// Their local times become instants by the rules of the server's zone. In the hour that comes twice a commit is of
/// the first time round, unless its LSN is that of the first commit that is dated more than a minute before another of
/// that hour, or greater.
#[derive(Debug, Clone)]
pub struct Dates {
    pool: Pool,
    zone: Zone,
}

impl Dates {
    /// As the server's clock and zone are now, and what its clock shows.
    pub(super) async fn now(pool: &Pool) -> Result<(Self, Clocks), SourceError> {
        let known = known(pool).await?;
        let action = "reading the server's clock";
        let rows = pool.rows(action, CLOCKS, &[]).await?;
        let clocks = clocks(&Cells::new(only(&rows, action)?, action), 0)?;
        Ok((Self::at(pool, known, clocks)?, clocks))
    }

    /// As the server's clock and zone were when `clocks` was read.
    pub(super) fn at(pool: &Pool, known: &Known, clocks: Clocks) -> Result<Self, SourceError> {
        let offset = clocks.offset_ms();
        let why = match known {
            Known::Configured(zone) if !zone.agrees(clocks) => {
                return Err(SourceError::WrongZone {
                    zone: pool.config().shown_time_zone(),
                    offset: shown_offset(zone.offset_at(clocks.utc_ms)),
                    server: shown_offset(offset),
                });
            }
            Known::Told(zone) if !zone.agrees(clocks) => format!(
                "the server says that its zone is {zone}, which is at {} now",
                shown_offset(zone.offset_at(clocks.utc_ms))
            ),
            Known::Configured(zone) | Known::Told(zone) => {
                return Ok(Self::by(pool, Zone::Rules(*zone)));
            }
            Known::Unknown(why) => why.clone(),
        };
        if offset != 0 {
            let offset = shown_offset(offset);
            pool.cautions().say(&Caution::PresentOffset { why, offset });
        }
        Ok(Self::by(pool, Zone::Offset(offset)))
    }

    fn by(pool: &Pool, zone: Zone) -> Self {
        let pool = pool.clone();
        Self { pool, zone }
    }

    /// When the commit at `lsn` ended, which the server dates `local_ms`, both in milliseconds since 1970.
    ///
    /// # Errors
    /// `Permission` without SELECT on `cdc.lsn_time_mapping`.
    pub async fn utc_ms(&self, lsn: Lsn, local_ms: i64) -> Result<i64, SourceError> {
        match self.zone.instant(local_ms) {
            Instant::Once(utc_ms) => Ok(utc_ms),
            Instant::Twice {
                fold,
                earlier,
                later,
            } => {
                let turn = self.turn(fold).await?;
                Ok(choice(lsn, turn, (earlier, later)))
            }
        }
    }

    /// As [`Dates::utc_ms`] of many commits, over a connection that is lent already.
    pub(super) async fn all_utc_ms(
        &self,
        lease: &mut Lease,
        commits: &mut [(Lsn, i64)],
    ) -> Result<(), SourceError> {
        let mut known: Option<(Fold, Option<Lsn>)> = None;
        for (lsn, time) in commits {
            *time = match self.zone.instant(*time) {
                Instant::Once(utc_ms) => utc_ms,
                Instant::Twice {
                    fold,
                    earlier,
                    later,
                } => {
                    let turn = match known.filter(|(of, _)| *of == fold) {
                        Some((_, turn)) => turn,
                        None => self.turn_on(lease, fold).await?,
                    };
                    known = Some((fold, turn));
                    choice(*lsn, turn, (earlier, later))
                }
            };
        }
        Ok(())
    }

    /// What makes instants of local times.
    pub(super) fn zone(&self) -> Zone {
        self.zone
    }

    /// The first commit after the clocks were set back; `None` where none can be told.
    pub(super) async fn turn(&self, fold: Fold) -> Result<Option<Lsn>, SourceError> {
        let mut lease = self.pool.lend().await?;
        let turn = self.turn_on(&mut lease, fold).await?;
        lease.give_back();
        Ok(turn)
    }

    async fn turn_on(&self, lease: &mut Lease, fold: Fold) -> Result<Option<Lsn>, SourceError> {
        let memory = self.pool.zone();
        if let Some(turn) = memory.turn(fold) {
            return Ok(Some(turn));
        }
        let action = "looking up when the clocks were set back";
        let bound = |ms: i64| encode::datetime(ms * 1_000).map(Parameter::Value);
        let (Some(begin), Some(end)) = (bound(fold.begin_ms), bound(fold.end_ms)) else {
            return Ok(None);
        };
        let results = lease.results(action, TURN, &[&begin, &end]).await?;
        let rows = results.into_iter().next().unwrap_or_default();
        let turn = Cells::new(only(&rows, action)?, action).lsn(0)?;
        if let Some(turn) = turn {
            memory.keep(fold, turn);
        }
        Ok(turn)
    }
}

fn choice(lsn: Lsn, turn: Option<Lsn>, (earlier, later): (i64, i64)) -> i64 {
    if turn.is_some_and(|turn| lsn >= turn) {
        later
    } else {
        earlier
    }
}

/// What is known of the server's zone; it is asked once.
pub(super) async fn known(pool: &Pool) -> Result<&Known, SourceError> {
    if let Some(zone) = pool.config().time_zone() {
        let known = pool
            .zone()
            .known
            .get_or_init(async || Known::Configured(zone));
        return Ok(known.await);
    }
    pool.zone().known.get_or_try_init(|| told(pool)).await
}

async fn told(pool: &Pool) -> Result<Known, SourceError> {
    let action = "reading the server's time zone";
    let rows = match pool.rows(action, ZONE_ID, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.number() == Some(NO_FUNCTION) => {
            let why = "the server does not tell its zone, as those before SQL Server 2022";
            return Ok(Known::Unknown(why.to_string()));
        }
        Err(error) => return Err(error),
    };
    let cells = Cells::new(only(&rows, action)?, action);
    let id = cells.text(0)?.unwrap_or_default();
    Ok(match id.parse() {
        Ok(zone) => Known::Told(zone),
        Err(_) => Known::Unknown(format!(
            "the zone '{id}' that the server says it is in is not known here"
        )),
    })
}

/// The clocks in two cells from `first` on.
pub(super) fn clocks(cells: &Cells<'_>, first: usize) -> Result<Clocks, SourceError> {
    Ok(Clocks {
        local_ms: cells.required_millis(first)?,
        utc_ms: cells.required_millis(first + 1)?,
    })
}

fn only<'a>(rows: &'a [Row], action: &str) -> Result<&'a Row, SourceError> {
    rows.first().ok_or_else(|| SourceError::UnexpectedAnswer {
        action: action.to_string(),
        reason: "no row".to_string(),
    })
}
