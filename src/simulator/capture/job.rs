//! The capture job: its settings, what it has done, and its scans.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::behaviour::CaptureJob;
use super::scan;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{DatabaseCell, Entry, Lsn};

/// Scan sessions, and errors, that are remembered.
const REMEMBERED: usize = 32;

/// The settings of a database's two jobs, as `msdb.dbo.cdc_jobs` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobSettings {
    /// The capture job, unless it was dropped.
    pub(crate) capture: Option<CaptureSettings>,
    /// The cleanup job, unless it was dropped.
    pub(crate) cleanup: Option<CleanupSettings>,
}

/// Settings of the capture job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaptureSettings {
    /// Transactions of a scan.
    pub(crate) maxtrans: u32,
    /// Scans until it pauses.
    pub(crate) maxscans: u32,
    /// Whether it goes on after that.
    pub(crate) continuous: bool,
    /// Seconds of a pause. Here the schedule says how long it is.
    pub(crate) pollinginterval: i64,
}

/// Settings of the cleanup job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanupSettings {
    /// Minutes that changes are kept.
    pub(crate) retention: i64,
    /// Rows that one statement deletes.
    pub(crate) threshold: i64,
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            maxtrans: 500,
            maxscans: 10,
            continuous: true,
            pollinginterval: 5,
        }
    }
}

impl Default for CleanupSettings {
    fn default() -> Self {
        Self {
            retention: 4320,
            threshold: 5000,
        }
    }
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            capture: Some(CaptureSettings::default()),
            cleanup: Some(CleanupSettings::default()),
        }
    }
}

/// One row of `sys.dm_cdc_log_scan_sessions`. Scans without a transaction that follow each other share one.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScanSession {
    /// From 1.
    pub(crate) id: i32,
    /// When it began.
    pub(crate) started: i64,
    /// When it ended.
    pub(crate) ended: i64,
    /// The last commit before it.
    pub(crate) start_lsn: Option<Lsn>,
    /// The log's end as it fixed it.
    pub(crate) end_lsn: Option<Lsn>,
    /// The last commit that it captured.
    pub(crate) last_commit: Option<(Lsn, i64)>,
    /// Captured transactions.
    pub(crate) transactions: u64,
    /// Records that it read.
    pub(crate) records: u64,
    /// Changed definitions among them.
    pub(crate) definitions: u64,
    /// Rows that change tables got.
    pub(crate) commands: u64,
    /// The beginning of the first transaction that it captured.
    pub(crate) first_begin: Option<Lsn>,
    /// Scans in a row that found nothing.
    pub(crate) empty_scans: i32,
    /// Errors.
    pub(crate) errors: i32,
    /// Scans in a row that have failed.
    pub(crate) failed: i32,
}

/// One row of `sys.dm_cdc_errors`.
#[derive(Debug, Clone)]
pub(crate) struct ScanError {
    /// The scan session.
    pub(crate) session: i32,
    /// When.
    pub(crate) at: i64,
    /// What.
    pub(crate) error: ServerError,
}

/// What a database's capture job has done since the server began.
#[derive(Debug, Default)]
pub(crate) struct Job {
    /// Whether `sp_cdc_stop_job` has stopped it.
    pub(crate) stopped: bool,
    /// The newest sessions, oldest first.
    pub(crate) sessions: VecDeque<ScanSession>,
    /// All sessions together.
    pub(crate) total: ScanSession,
    /// The newest errors, oldest first.
    pub(crate) errors: VecDeque<ScanError>,
    /// When the mapping got its last entry, by the database's clock.
    last_entry: Option<i64>,
    last_session: i32,
}

impl Job {
    fn record(&mut self, mut session: ScanSession, error: Option<ServerError>) {
        self.total.transactions += session.transactions;
        self.total.records += session.records;
        self.total.definitions += session.definitions;
        self.total.commands += session.commands;
        self.total.first_begin = self.total.first_begin.or(session.first_begin);
        self.total.errors += session.errors;
        self.total.last_commit = session.last_commit.or(self.total.last_commit);
        if self.last_session == 0 {
            self.total.started = session.started;
        }
        self.total.ended = session.ended;
        self.total.failed += session.failed;
        self.last_entry.get_or_insert(session.started);
        let last = self.sessions.back_mut();
        let again = |last: &ScanSession| {
            last.transactions == 0
                && session.transactions == 0
                && (last.errors > 0) == (session.errors > 0)
        };
        if let Some(last) = last.filter(|last| again(last)) {
            last.ended = session.ended;
            last.end_lsn = session.end_lsn;
            last.empty_scans += session.empty_scans;
            last.errors += session.errors;
            last.failed += session.failed;
            self.total.empty_scans += session.empty_scans;
        } else {
            self.total.empty_scans = session.empty_scans;
            self.last_session += 1;
            session.id = self.last_session;
            self.sessions.push_back(session);
            if self.sessions.len() > REMEMBERED {
                self.sessions.pop_front();
            }
        }
        if let Some(error) = error {
            let at = self.total.ended;
            let session = self.last_session;
            self.errors.push_back(ScanError { session, at, error });
            if self.errors.len() > REMEMBERED {
                self.errors.pop_front();
            }
        }
    }
}

/// What one scan of the log has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanReport {
    /// Transactions that it captured.
    pub transactions: usize,
    /// Rows that change tables got.
    pub rows: u64,
    /// The error that stopped it, if one did; then it has captured nothing. `sys.dm_cdc_errors` has it too.
    pub error: Option<String>,
    /// Whether transactions still wait in the log.
    pub behind: bool,
}

/// One scan of the log up to `end`, of at most `limit` transactions or the job's `maxtrans`; `None` while a
/// transaction changes capture itself.
pub(crate) fn scan_once(
    cell: &DatabaseCell,
    end: Option<Lsn>,
    limit: Option<usize>,
) -> Option<ScanReport> {
    scan_if(cell, end, limit, |_, _| true)
}

/// As [`scan_once`], also `None` where `may` says no to the schedule and the job when the scan would begin.
fn scan_if(
    cell: &DatabaseCell,
    end: Option<Lsn>,
    limit: Option<usize>,
    may: impl FnOnce(CaptureJob, &Job) -> bool,
) -> Option<ScanReport> {
    let committed = cell.committed();
    let Some(capture) = &committed.capture else {
        return Some(ScanReport::default());
    };
    let settings = capture.jobs.capture.unwrap_or_default();
    let limit = limit.unwrap_or(usize::try_from(settings.maxtrans).unwrap_or(usize::MAX));
    let behaviour = cell.capture_behaviour();
    let mut session = ScanSession {
        started: cell.now(),
        end_lsn: end,
        ..ScanSession::default()
    };
    let written = cell.scan_if(end, limit, may, |state, batch| {
        session.start_lsn = batch.first().map(|logged| logged.begin_lsn).or(end);
        let mut next = state.clone();
        match scan::capture(&mut next, batch, &behaviour) {
            Ok(rows) => {
                *state = next;
                let records = batch.iter().flat_map(|logged| &logged.entries);
                session.records = records.map(|(_, places)| places.len() as u64).sum();
                let entries = batch.iter().flat_map(|logged| &logged.entries);
                let definitions =
                    entries.filter(|(entry, _)| matches!(entry, Entry::Definition(_)));
                session.definitions = definitions.count() as u64;
                session.first_begin = batch.first().map(|first| first.begin_lsn);
                session.last_commit = batch.last().map(|last| (last.commit_lsn, last.ended));
                (batch.len(), Ok((batch.len(), rows)))
            }
            Err(error) => (0, Err(error)),
        }
    })?;
    session.ended = cell.now();
    let behind = cell.is_behind();
    let report = match written {
        Ok((transactions, rows)) => {
            session.transactions = transactions as u64;
            session.commands = rows;
            session.empty_scans = i32::from(transactions == 0);
            let at = session.ended;
            cell.job(|job| {
                job.record(session, None);
                if transactions > 0 {
                    job.last_entry = Some(at);
                }
            });
            ScanReport {
                transactions,
                rows,
                error: None,
                behind,
            }
        }
        Err(error) => {
            session.errors = 1;
            session.failed = 1;
            let text = error.message.clone();
            cell.job(|job| job.record(session, Some(error)));
            ScanReport {
                error: Some(text),
                behind,
                ..ScanReport::default()
            }
        }
    };
    Some(report)
}

/// The settings of the capture job, if the database has one that is not stopped.
pub(crate) fn running(cell: &DatabaseCell) -> Option<CaptureSettings> {
    let settings = cell.committed().capture.as_ref()?.jobs.capture?;
    (!cell.job(|job| job.stopped)).then_some(settings)
}

/// The newest error of a scan.
pub(crate) fn newest_error(cell: &DatabaseCell) -> Option<ServerError> {
    cell.job(|job| job.errors.back().map(|failed| failed.error.clone()))
}

/// The error that keeps a job that captures every commit behind the log.
pub(crate) fn stuck(cell: &DatabaseCell) -> Option<ServerError> {
    let captures = cell.schedule() == CaptureJob::EveryCommit && running(cell).is_some();
    if captures && cell.is_behind() {
        newest_error(cell)
    } else {
        None
    }
}

/// What a commit does where every commit is captured.
pub(crate) fn after_commit(cell: &DatabaseCell) {
    if cell.schedule() != CaptureJob::EveryCommit || running(cell).is_none() {
        return;
    }
    while cell.is_behind() {
        let report = scan_once(cell, cell.log_end(), None);
        if report.is_none_or(|report| report.transactions == 0) {
            return;
        }
    }
}

/// One scan of the log, if the job runs.
pub(crate) fn look(cell: &DatabaseCell) {
    if running(cell).is_some() {
        scan_once(cell, cell.log_end(), None);
    }
}

/// One turn of the capture job: at most `maxscans` scans, each where `may` says so, and an entry for an idle
/// database.
pub(crate) fn turn(cell: &DatabaseCell, may: impl Fn(CaptureJob, &Job) -> bool) {
    let Some(settings) = running(cell) else {
        return;
    };
    for _ in 0..settings.maxscans {
        let limit = usize::try_from(settings.maxtrans).unwrap_or(usize::MAX);
        match scan_if(cell, cell.log_end(), None, &may) {
            Some(report) if report.transactions >= limit => {}
            Some(_) => break,
            None => return,
        }
    }
    let period = cell.capture_behaviour().idle_period;
    let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX);
    let now = cell.now();
    let idle = cell.job(|job| job.last_entry.is_none_or(|last| now - last >= period));
    if idle {
        idle_entry(cell);
    }
}

/// Adds an entry that stands for no transaction, unless transactions wait or capture is being changed;
/// whether it did.
pub(crate) fn idle_entry(cell: &DatabaseCell) -> bool {
    if cell.committed().capture.is_none() {
        return false;
    }
    let now = cell.now();
    let (local, _) = cell.clock().local(now);
    let added = cell.scan(None, 0, |state, _| {
        let Some(lsn) = cell.idle_position() else {
            return (0, false);
        };
        (0, scan::map_idle(state, lsn, local).is_ok())
    });
    let added = added.unwrap_or(false);
    if added {
        cell.job(|job| job.last_entry = Some(now));
    }
    added
}

/// Whether the job may scan in the background, as it is when the scan begins.
fn scheduled(schedule: CaptureJob, job: &Job) -> bool {
    matches!(schedule, CaptureJob::Every(_)) && !job.stopped
}

/// Runs the capture jobs of databases for ever, where the schedule has them run in the background.
pub(crate) async fn run(server: Arc<crate::simulator::store::Server>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for cell in server.databases() {
            if matches!(cell.schedule(), CaptureJob::Every(_)) {
                // A scan of a large transaction takes long.
                let turned = tokio::task::spawn_blocking(move || turn(&cell, scheduled)).await;
                if let Err(error) = turned {
                    tracing::error!(%error, "the capture job broke");
                }
            }
        }
    }
}
