//! The fence of a first copy: a commit up to which capture has every change that a read can have seen.

use tiberius::{Row, ToSql};

use crate::change::{Commit, Lsn};

use super::cell::{Cells, Parameter};
use super::commits::{NEWEST, first_commit};
use super::encode;
use super::error::SourceError;
use super::health::{is_hidden, maxtrans};
use super::news::READ_ONLY;
use super::pool::Pool;

/// Who answers, and what time it is there: commits have the server's local time.
const SERVER: &str = "\
SELECT CAST(SERVERPROPERTY('ServerName') AS nvarchar(128)) AS server_name, \
CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability, \
GETDATE() AS server_local OPTION (MAXDOP 1)";

/// The newest scans of the log by the capture job. Those that find nothing share a row while they follow each other.
const SCANS: &str = "\
SELECT TOP (3) x.session_id, x.empty_scan_count, x.tran_count, x.error_count, x.end_time \
FROM sys.dm_cdc_log_scan_sessions AS x WHERE x.session_id <> 0 \
ORDER BY x.session_id DESC OPTION (MAXDOP 1)";

/// The first entry past `@P1` that is dated later than `@P2`, and no later than now: what is dated in the future was
/// written before the clock was set back, or by the clock of another zone.
const DATED: &str = "\
SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
WHERE m.start_lsn > CAST(@P1 AS binary(10)) AND m.tran_end_time > CAST(@P2 AS datetime) \
AND m.tran_end_time <= GETDATE() ORDER BY m.start_lsn OPTION (MAXDOP 1)";

/// How many scans must have gone on: one may have fixed its end of the log before the read ended.
const SCANS_PAST: i64 = 2;

/// How much later than the read an entry must be dated, in milliseconds: an entry of an idle database may be dated a
/// little after its place in the log was fixed.
const MARGIN_MS: i64 = 10_000;
/// The same on a replica, whose clock is not the one that dates commits.
const REPLICA_MARGIN_MS: i64 = 60_000;

/// Finds a commit that lies past everything a read has seen, which capture need not have reached when the read ends.
///
/// The read must have ended before the first look. There are two proofs:
/// - By scans, where the login may see `sys.dm_cdc_log_scan_sessions` (VIEW DATABASE STATE) and the capture job has
///   rows there: two scans have gone on since the first look, and the last one has come to its end of the log (it had
///   fewer transactions than the job's `maxtrans`, or none where the login may not know that) without an error. The
///   fence is the newest commit that the same server shows after that.
/// - By the clock elsewhere: an entry of `cdc.lsn_time_mapping` is dated 10 s later than the first look. A database
///   that changes has one as soon as capture comes to it; one that does not, after five minutes.
///
/// On a read-only replica the proof is by the clock, whatever its view shows: scans run on the primary, and say nothing
/// of what the replica has redone since. Its tables are as they were on the primary at some time before the look, and
/// its mapping comes by the same log, so an entry that the primary has dated later lies past the read. The
/// replica's own clock tells the time of the look: it must show the time of the same zone, and be less than a minute
/// behind the primary's. A replica in another zone gives no fence at all; neither does a clock that is set back by more
/// than the caller waits.
#[derive(Debug)]
pub struct Fence {
    pool: Pool,
    floor: Lsn,
    /// What is waited for; `None` before the first look, and after one that failed.
    proof: Option<(String, Proof)>,
}

#[derive(Debug, Clone, Copy)]
enum Proof {
    Scans {
        /// The newest scan at the first look.
        first: Scan,
        /// How many have gone on since then.
        gone: i64,
        maxtrans: Option<i64>,
    },
    /// The local time past which an entry must be dated, in milliseconds.
    Clock {
        past_ms: i64,
        /// The newest entry at the first look: those before it are dated by a clock that may have been set back since.
        after: Lsn,
        /// Whether the login may not see scans.
        is_hidden: bool,
    },
}

/// What one look has found.
#[derive(Debug)]
struct Answer {
    server: String,
    is_replica: bool,
    now_ms: i64,
    /// Newest first.
    scans: Vec<Scan>,
    commit: Option<Commit>,
}

/// A row of `sys.dm_cdc_log_scan_sessions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scan {
    session: i64,
    empty: i64,
    transactions: i64,
    errors: i64,
    has_ended: bool,
}

impl Fence {
    pub(super) fn new(pool: Pool, floor: Lsn) -> Self {
        Self {
            pool,
            floor,
            proof: None,
        }
    }

    /// The fence, if capture has come past the read.
    ///
    /// After an error, and where another server answers, the next look counts as the first.
    ///
    /// # Errors
    /// `Permission` without SELECT on `cdc.lsn_time_mapping`.
    pub async fn look(&mut self) -> Result<Option<Commit>, SourceError> {
        let (server, mut proof) = match self.proof.take() {
            Some(begun) => begun,
            None => self.begin().await?,
        };
        // A job that never rests has gone on by the next question.
        loop {
            let answer = self.ask(proof).await?;
            let Some((next, found)) = proof.judge(&answer).filter(|_| answer.server == server)
            else {
                return Ok(None);
            };
            let has_gone_on = next.scans_gone() > proof.scans_gone();
            proof = next;
            let found = found.filter(|commit| commit.lsn >= self.floor);
            if found.is_some() || !has_gone_on || proof.scans_gone() >= SCANS_PAST {
                self.proof = Some((server, proof));
                return Ok(found);
            }
        }
    }

    /// What the capture job has not done, and what would show more of it, for people.
    pub fn missing(&self) -> (&'static str, &'static str) {
        match self.proof {
            None | Some((_, Proof::Scans { .. })) => (
                "ended no scan of the log that began after the table was read",
                "; sys.dm_cdc_errors has its errors",
            ),
            Some((_, Proof::Clock { is_hidden, .. })) => (
                "dated no commit later than the read of the table",
                match is_hidden {
                    true => {
                        "; where it runs, GRANT VIEW DATABASE STATE lets this login see its scans"
                    }
                    false => "",
                },
            ),
        }
    }

    async fn begin(&self) -> Result<(String, Proof), SourceError> {
        let (answer, is_hidden) = match self.ask_for_scans().await {
            Ok(answer) => (answer, false),
            Err(error) if is_hidden(&error) => {
                let sql = format!("{SERVER};\n{NEWEST};");
                (self.request(&sql, &[], false).await?, true)
            }
            Err(error) => return Err(error),
        };
        let proof = match answer.scans.first() {
            Some(first) if !answer.is_replica => Proof::Scans {
                first: *first,
                gone: 0,
                maxtrans: maxtrans(&self.pool).await?,
            },
            _ => Proof::Clock {
                past_ms: answer.now_ms + margin_ms(answer.is_replica),
                after: answer
                    .commit
                    .map_or(self.floor, |commit| commit.lsn.max(self.floor)),
                is_hidden,
            },
        };
        Ok((answer.server, proof))
    }

    async fn ask(&self, proof: Proof) -> Result<Answer, SourceError> {
        let (past_ms, after) = match proof {
            Proof::Scans { .. } => return self.ask_for_scans().await,
            Proof::Clock { past_ms, after, .. } => (past_ms, after),
        };
        let past = encode::datetimes_around(past_ms.saturating_mul(1000));
        let past = past.and_then(|(_, after)| encode::datetime(after));
        let past = past.ok_or_else(|| SourceError::UnexpectedAnswer {
            action: ACTION.to_string(),
            reason: "its clock is out of range".to_string(),
        })?;
        let bounds = [Parameter::Lsn(after), Parameter::Value(past)];
        let sql = format!("{SERVER};\n{DATED};");
        self.request(&sql, &[&bounds[0], &bounds[1]], false).await
    }

    /// One batch, so that one server answers all of it, and in this order.
    async fn ask_for_scans(&self) -> Result<Answer, SourceError> {
        let sql = format!("{SERVER};\n{SCANS};\n{NEWEST};");
        self.request(&sql, &[], true).await
    }

    async fn request(
        &self,
        sql: &str,
        parameters: &[&dyn ToSql],
        has_scans: bool,
    ) -> Result<Answer, SourceError> {
        let mut lease = self.pool.lend().await?;
        let mut results = lease.results(ACTION, sql, parameters).await?.into_iter();
        lease.give_back();
        let mut next = || results.next().unwrap_or_default();
        let server = next();
        let server = server
            .first()
            .ok_or_else(|| SourceError::UnexpectedAnswer {
                action: ACTION.to_string(),
                reason: "no row".to_string(),
            })?;
        let server = Cells::new(server, ACTION);
        let scans = if has_scans { next() } else { Vec::new() };
        Ok(Answer {
            server: server.text(0)?.unwrap_or_default().to_string(),
            is_replica: server.text(1)? == Some(READ_ONLY),
            now_ms: server.required_millis(2)?,
            scans: scans.iter().map(Scan::read).collect::<Result<_, _>>()?,
            commit: first_commit(&next(), ACTION)?,
        })
    }
}

/// Completes "while …".
const ACTION: &str = "looking how far capture is";

fn margin_ms(is_replica: bool) -> i64 {
    if is_replica {
        REPLICA_MARGIN_MS
    } else {
        MARGIN_MS
    }
}

impl Proof {
    fn scans_gone(self) -> i64 {
        match self {
            Self::Scans { gone, .. } => gone,
            Self::Clock { .. } => 0,
        }
    }

    /// What is known after an answer, and the commit that it proves; `None` if the proof has to begin again.
    fn judge(self, answer: &Answer) -> Option<(Self, Option<Commit>)> {
        let Self::Scans {
            first, maxtrans, ..
        } = self
        else {
            return Some((self, answer.commit.clone()));
        };
        if answer.is_replica {
            return None;
        }
        let gone = gone_since(first, &answer.scans)?;
        let next = Self::Scans {
            first,
            gone,
            maxtrans,
        };
        let last = answer.scans.first()?;
        let is_past = gone >= SCANS_PAST && last.has_reached_its_end(maxtrans);
        Some((next, answer.commit.clone().filter(|_| is_past)))
    }
}

/// How many scans have gone on since `first` was the newest; `None` if the server has begun to count anew.
fn gone_since(first: Scan, scans: &[Scan]) -> Option<i64> {
    if scans.first()?.session < first.session {
        return None;
    }
    let mut gone = 0;
    for scan in scans {
        gone += match scan.session - first.session {
            0 if scan.empty < first.empty => return None,
            0 => scan.empty - first.empty,
            1.. => scan.empty.max(1),
            _ => 0,
        };
    }
    Some(gone)
}

impl Scan {
    fn read(row: &Row) -> Result<Self, SourceError> {
        let cells = Cells::new(row, ACTION);
        Ok(Self {
            session: cells.required_int(0)?.into(),
            empty: cells.integer(1)?.unwrap_or_default(),
            transactions: cells.integer(2)?.unwrap_or_default(),
            errors: cells.integer(3)?.unwrap_or_default(),
            has_ended: cells.millis(4)?.is_some(),
        })
    }

    fn has_reached_its_end(self, maxtrans: Option<i64>) -> bool {
        let fewer = match maxtrans {
            Some(most) => self.transactions < most,
            None => self.transactions == 0,
        };
        self.has_ended && self.errors == 0 && fewer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(session: i64, empty: i64, transactions: i64) -> Scan {
        Scan {
            session,
            empty,
            transactions,
            errors: 0,
            has_ended: true,
        }
    }

    fn judged(scans: Vec<Scan>, maxtrans: Option<i64>) -> Option<bool> {
        let proof = Proof::Scans {
            first: scan(5, 10, 0),
            gone: 0,
            maxtrans,
        };
        let answer = Answer {
            server: String::new(),
            is_replica: false,
            now_ms: 0,
            scans,
            commit: Some(Commit {
                lsn: Lsn::ZERO,
                end_time_ms: 0,
                tran_id: Vec::new(),
            }),
        };
        proof.judge(&answer).map(|(_, found)| found.is_some())
    }

    #[test]
    fn one_scan_may_have_fixed_its_end_before_the_read() {
        let most = Some(500);
        assert_eq!(judged(vec![scan(5, 10, 0)], most), Some(false));
        assert_eq!(judged(vec![scan(5, 11, 0)], most), Some(false));
        assert_eq!(
            judged(vec![scan(6, 0, 7), scan(5, 10, 0)], most),
            Some(false)
        );
        assert_eq!(
            judged(vec![scan(6, 1, 0), scan(5, 10, 0)], most),
            Some(false)
        );
    }

    #[test]
    fn two_scans_of_which_the_last_has_come_to_its_end_are_enough() {
        let most = Some(500);
        assert_eq!(judged(vec![scan(5, 12, 0)], most), Some(true));
        assert_eq!(
            judged(vec![scan(6, 0, 7), scan(5, 11, 0)], most),
            Some(true)
        );
        assert_eq!(
            judged(vec![scan(7, 1, 0), scan(6, 0, 500)], most),
            Some(true)
        );
        // Numbers may be left out.
        assert_eq!(
            judged(vec![scan(9, 0, 7), scan(5, 10, 0)], most),
            Some(false)
        );
    }

    #[test]
    fn a_last_scan_that_is_full_runs_or_failed_is_not_enough() {
        let most = Some(500);
        let before = scan(6, 0, 7);
        assert_eq!(judged(vec![scan(7, 0, 500), before], most), Some(false));
        assert_eq!(judged(vec![scan(7, 0, 7), before], None), Some(false));
        assert_eq!(judged(vec![scan(7, 1, 0), before], None), Some(true));
        let running = Scan {
            has_ended: false,
            ..scan(7, 0, 0)
        };
        assert_eq!(judged(vec![running, before], most), Some(false));
        let failed = Scan {
            errors: 1,
            ..scan(7, 0, 0)
        };
        assert_eq!(judged(vec![failed, before], most), Some(false));
    }

    #[test]
    fn a_count_that_begins_anew_proves_nothing() {
        let most = Some(500);
        assert_eq!(judged(vec![scan(4, 30, 0)], most), None);
        assert_eq!(judged(vec![scan(5, 3, 0)], most), None);
        assert_eq!(judged(Vec::new(), most), None);
    }
}
