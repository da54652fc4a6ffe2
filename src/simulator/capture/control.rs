//! Capture in the hands of a test.

use std::sync::Arc;

use super::cleanup::{self, Cleanup};
use super::job::{self, ScanReport, scan_once};
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{DatabaseCell, HeldScan, Kept, Lsn};

/// A hand on one database's capture: holds it, lets it scan once, stops it, and takes the database back to
/// what it was.
#[derive(Debug, Clone)]
pub struct CaptureControl {
    cell: Arc<DatabaseCell>,
}

impl CaptureControl {
    /// A hand on a database's capture.
    pub(crate) fn new(cell: Arc<DatabaseCell>) -> Self {
        Self { cell }
    }

    /// From now on the log is scanned only when [`CaptureControl::step`] says so.
    pub fn hold(&self) {
        self.cell.hold(true);
    }

    /// From now on the log is scanned again as the server's options say. Where that is with every commit,
    /// what waits in the log is captured now.
    pub fn release(&self) {
        self.cell.hold(false);
        job::after_commit(&self.cell);
    }

    /// Scans the log once: at most `maxtrans` transactions. Waits while a transaction that is not committed
    /// changes capture itself.
    pub async fn step(&self) -> ScanReport {
        self.fix_log_end().write().await
    }

    /// The first half of a scan: fixes the end of the log. What commits from now on is for a later scan. Where
    /// [writers block readers](crate::simulator::Behaviour::writers_block_readers), a scan that will write has
    /// them wait until it has, or is dropped.
    pub fn fix_log_end(&self) -> FixedScan {
        let end = self.cell.log_end();
        FixedScan {
            end,
            _held: self.cell.is_behind().then(|| self.cell.locks().hold_scan()),
            cell: Arc::clone(&self.cell),
        }
    }

    /// Waits until a reader waits for a scan or for another transaction's definitions.
    pub async fn reader_waits(&self) {
        self.cell.locks().reader_waits().await;
    }

    /// Ends the wait of every reader that waits now with error 1222, as if LOCK_TIMEOUT had passed.
    pub fn time_out_readers(&self) {
        self.cell.locks().time_out();
    }

    /// Whether committed transactions wait in the log.
    pub fn is_behind(&self) -> bool {
        self.cell.is_behind()
    }

    /// Waits until capture, which somebody else drives, has come to the end of the log.
    ///
    /// # Errors
    ///
    /// The error of a scan that failed meanwhile.
    pub async fn caught_up(&self) -> Result<(), ServerError> {
        let failed = |job: &mut job::Job| job.total.errors;
        let before = self.cell.job(failed);
        loop {
            let changed = self.cell.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.cell.is_behind() {
                return Ok(());
            }
            if self.cell.job(failed) > before
                && let Some(error) = job::newest_error(&self.cell)
            {
                return Err(error);
            }
            changed.await;
        }
    }

    /// As `sys.sp_cdc_stop_job`.
    pub fn stop(&self) {
        self.cell.stop_job(true);
    }

    /// As `sys.sp_cdc_start_job`.
    pub fn start(&self) {
        self.cell.stop_job(false);
        job::after_commit(&self.cell);
    }

    /// Adds the entry of an idle period now: `tran_id` is 0x00. False if transactions wait, which come first.
    pub fn idle_entry(&self) -> bool {
        job::idle_entry(&self.cell)
    }

    /// Runs the cleanup job: whatever is older than its retention, counted from the newest commit.
    ///
    /// # Errors
    ///
    /// Capture is being changed by a transaction (1222), or is not enabled (22901).
    pub fn clean_up(&self) -> Result<(), ServerError> {
        cleanup::by_retention(&self.cell)
    }

    /// The first half of a cleanup: the low end of an instance moves up to `mark`, the LSN of an entry of
    /// the mapping, while the rows below it are still there.
    ///
    /// # Errors
    ///
    /// As `sys.sp_cdc_cleanup_change_table`: 22964, 22957, 22965.
    pub fn begin_cleanup(&self, instance: &str, mark: Lsn) -> Result<BegunCleanup, ServerError> {
        let cleanup = cleanup::move_low_end(&self.cell, instance, mark)?;
        Ok(BegunCleanup {
            cell: Arc::clone(&self.cell),
            cleanup,
        })
    }

    /// The database as it is now, with what waits in its log.
    pub fn keep(&self) -> KeptDatabase {
        KeptDatabase(self.cell.keep())
    }

    /// Takes the database back to what it was, as RESTORE does: LSNs are given out again from there, to
    /// transactions with other ids. Waits until no transaction has written without having ended.
    pub async fn restore(&self, kept: &KeptDatabase) {
        self.cell.restore(&kept.0).await;
    }
}

/// A scan that has fixed the end of the log and has written nothing.
#[derive(Debug)]
#[must_use = "a scan that is not written captures nothing"]
pub struct FixedScan {
    cell: Arc<DatabaseCell>,
    end: Option<Lsn>,
    /// Has readers wait.
    _held: Option<HeldScan>,
}

impl FixedScan {
    /// The second half: captures what committed up to the fixed end.
    pub async fn write(self) -> ScanReport {
        loop {
            let changed = self.cell.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(report) = scan_once(&self.cell, self.end, None) {
                return report;
            }
            changed.await;
        }
    }
}

/// A cleanup that has moved the low end and has deleted nothing.
#[derive(Debug)]
#[must_use = "the rows below the low end are still there"]
pub struct BegunCleanup {
    cell: Arc<DatabaseCell>,
    cleanup: Cleanup,
}

impl BegunCleanup {
    /// The second half: deletes the rows.
    ///
    /// # Errors
    ///
    /// Capture is being changed by a transaction (1222).
    pub fn delete_rows(self) -> Result<(), ServerError> {
        cleanup::delete_rows(&self.cell, &self.cleanup)
    }
}

/// A database as it was, to go back to.
#[derive(Debug, Clone)]
pub struct KeptDatabase(Kept);
