//! The transaction log: its positions, and the transactions that capture has not scanned yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::SECOND;
use super::database::Settings;
use super::write::Change;
use crate::simulator::behaviour::Chance;
use crate::simulator::capture::{CaptureBehaviour, CaptureJob, CommitTimes, Definition, Job};
use crate::simulator::types::round_datetime;

/// A log sequence number, in the order of its bytes.
pub(crate) type Lsn = [u8; 10];

/// The virtual log file in which every database begins.
const FIRST_FILE: u32 = 0x2a;
/// Slots of a block that are used before the next block begins.
const SLOTS: u16 = 0xff;
/// Blocks are counted in sectors of 512 bytes.
const BLOCK: u32 = 8;
/// Sectors of a virtual log file.
const SECTORS: u32 = 0x0010_0000;

/// Where the next log record goes. Every position is given out once, in increasing order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    file: u32,
    block: u32,
    slot: u16,
}

impl LogPosition {
    /// The first position of a new database's log.
    pub(crate) fn first() -> Self {
        Self {
            file: FIRST_FILE,
            block: BLOCK * 2,
            slot: 1,
        }
    }

    /// The LSN of the next record.
    pub(crate) fn record(&mut self) -> Lsn {
        let lsn = self.lsn();
        if self.slot == SLOTS {
            self.next_block();
        } else {
            self.slot += 1;
        }
        lsn
    }

    /// The LSN of a commit record; the log is flushed with it, so that the next record begins a block.
    pub(crate) fn commit(&mut self) -> Lsn {
        let lsn = self.lsn();
        self.next_block();
        lsn
    }

    fn next_block(&mut self) {
        self.slot = 1;
        self.block += BLOCK;
        if self.block >= SECTORS {
            self.block = BLOCK * 2;
            self.file += 1;
        }
    }

    fn lsn(self) -> Lsn {
        let mut lsn = [0; 10];
        lsn[..4].copy_from_slice(&self.file.to_be_bytes());
        lsn[4..8].copy_from_slice(&self.block.to_be_bytes());
        lsn[8..].copy_from_slice(&self.slot.to_be_bytes());
        lsn
    }
}

/// What a transaction has left in the log for capture.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Changed rows.
    Rows(Change),
    /// A changed definition of a captured table.
    Definition(Definition),
}

impl Entry {
    fn records(&self) -> usize {
        match self {
            Self::Rows(change) => change.images.records(),
            Self::Definition(_) => 1,
        }
    }

    /// The memory that it holds in the log, the positions of its records included.
    pub(super) fn bytes(&self) -> usize {
        let images = match self {
            Self::Rows(change) => change.images.bytes(),
            Self::Definition(definition) => definition.command.len(),
        };
        images + self.records() * size_of::<Lsn>()
    }
}

/// A committed transaction in the log.
#[derive(Debug)]
pub(crate) struct Logged {
    /// Its first record.
    pub(crate) begin_lsn: Lsn,
    /// Its commit record.
    pub(crate) commit_lsn: Lsn,
    /// When it began, as the mapping will say.
    pub(crate) began: i64,
    /// When it committed, as the mapping will say.
    pub(crate) ended: i64,
    /// `tran_id`.
    pub(crate) id: [u8; TRANSACTION_ID],
    /// What it changed, each with the positions of its records.
    pub(crate) entries: Vec<(Entry, Vec<Lsn>)>,
    bytes: usize,
}

/// Length of a `tran_id`.
pub(crate) const TRANSACTION_ID: usize = 10;

/// A database's log. It is shared by all transactions and is no part of a [`State`](super::State): what is
/// logged stays logged, whatever a reader still sees.
#[derive(Debug)]
pub(super) struct Log {
    position: LogPosition,
    /// The position of the last commit.
    pub(super) end: Option<Lsn>,
    /// Transactions that capture has not scanned yet, oldest first.
    pub(super) pending: VecDeque<Arc<Logged>>,
    /// Bytes of the images in `pending`.
    bytes: usize,
    /// Positions that were left free, for records of a later transaction.
    spare: VecDeque<Lsn>,
    commits: u64,
    seed: u64,
    /// How capture behaves.
    pub(super) behaviour: CaptureBehaviour,
    /// When the log is scanned.
    pub(super) schedule: CaptureJob,
    /// When it is scanned unless somebody holds it.
    configured: CaptureJob,
    /// What the capture job has done.
    pub(super) job: Job,
    /// Whether a transaction that is not committed yet changes capture itself, which no scan may pass.
    pub(super) definition: bool,
}

impl Log {
    /// A new database's log.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            position: LogPosition::first(),
            end: None,
            pending: VecDeque::new(),
            bytes: 0,
            spare: VecDeque::new(),
            commits: 0,
            seed: settings.seed,
            behaviour: settings.behaviour.clone(),
            schedule: settings.schedule,
            configured: settings.schedule,
            job: Job::default(),
            definition: false,
        }
    }

    /// Takes other settings over.
    pub(super) fn configure(&mut self, settings: &Settings) {
        self.seed = settings.seed;
        self.behaviour = settings.behaviour.clone();
        self.schedule = settings.schedule;
        self.configured = settings.schedule;
    }

    /// Scans on no schedule from now on, or on the configured one again.
    pub(super) fn hold(&mut self, held: bool) {
        self.schedule = if held {
            CaptureJob::Held
        } else {
            self.configured
        };
    }

    /// Whether the log has room for some entries.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.behaviour.log_limit
    }

    /// Gives a transaction its place. It is kept for capture if `kept` says so.
    pub(super) fn append(
        &mut self,
        entries: Vec<Entry>,
        (began, ended): (i64, i64),
        id: [u8; TRANSACTION_ID],
        kept: bool,
    ) -> Lsn {
        self.skip();
        let begin_lsn = self.record();
        let bytes = entries.iter().map(Entry::bytes).sum();
        let entries = entries
            .into_iter()
            .map(|entry| {
                let places = (0..entry.records()).map(|_| self.record()).collect();
                (entry, places)
            })
            .collect();
        self.leave_spare();
        let commit_lsn = self.position.commit();
        self.end = Some(commit_lsn);
        self.commits += 1;
        if kept {
            let (began, ended) = self.times(began, ended);
            self.bytes += bytes;
            self.pending.push_back(Arc::new(Logged {
                begin_lsn,
                commit_lsn,
                began,
                ended,
                id,
                entries,
                bytes,
            }));
        }
        commit_lsn
    }

    /// The position of an entry that stands for no transaction.
    pub(super) fn idle(&mut self) -> Lsn {
        let lsn = self.position.commit();
        self.end = Some(lsn);
        lsn
    }

    /// Forgets transactions that capture has scanned.
    pub(super) fn scanned(&mut self, transactions: usize) {
        for logged in self.pending.drain(..transactions.min(self.pending.len())) {
            self.bytes = self.bytes.saturating_sub(logged.bytes);
        }
    }

    /// Forgets every transaction that capture has not scanned.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
        self.bytes = 0;
    }

    /// A copy of the log's place and of what waits in it.
    pub(super) fn keep(&self) -> KeptLog {
        KeptLog {
            position: self.position,
            end: self.end,
            pending: self.pending.clone(),
            bytes: self.bytes,
        }
    }

    /// Goes back to a kept place.
    pub(super) fn restore(&mut self, kept: &KeptLog) {
        self.position = kept.position;
        self.end = kept.end;
        self.pending = kept.pending.clone();
        self.bytes = kept.bytes;
        self.spare.clear();
    }

    fn record(&mut self) -> Lsn {
        match self.spare.pop_front() {
            Some(lsn) => lsn,
            None => self.position.record(),
        }
    }

    /// Leaves a gap, as other databases' and system transactions do.
    fn skip(&mut self) {
        if self.behaviour.lsn_gaps {
            // One number for each commit, whatever came between.
            let gap = Chance::new(self.seed.wrapping_add(self.commits)).below(7);
            for _ in 0..gap {
                self.position.record();
            }
        }
    }

    /// Leaves positions below this transaction's commit to the next one, as if both had run at once.
    fn leave_spare(&mut self) {
        if self.behaviour.interleaved {
            // What nobody took stays a gap.
            self.spare.clear();
            for _ in 0..3 {
                let lsn = self.position.record();
                self.spare.push_back(lsn);
            }
        }
    }

    /// A transaction's times as the mapping has them.
    fn times(&self, began: i64, ended: i64) -> (i64, i64) {
        let ended = match self.behaviour.commit_times {
            CommitTimes::Clock => ended,
            CommitTimes::Equal { commits } => {
                let group = i64::from(commits.max(1)) * SECOND;
                ended - ended.rem_euclid(group)
            }
            CommitTimes::Back { commits, by } => {
                let back = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                let turns = self.commits / u64::from(commits.max(1)) % 2;
                if turns == 1 {
                    ended.saturating_sub(back)
                } else {
                    ended
                }
            }
        };
        (round_datetime(began.min(ended)), round_datetime(ended))
    }
}

/// A log's place, to go back to.
#[derive(Debug, Clone)]
pub(super) struct KeptLog {
    position: LogPosition,
    end: Option<Lsn>,
    pending: VecDeque<Arc<Logged>>,
    bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_only_rise() {
        let mut log = LogPosition::first();
        let mut last = [0; 10];
        for n in 0..100_000 {
            let lsn = if n % 7 == 0 {
                log.commit()
            } else {
                log.record()
            };
            assert!(lsn > last);
            last = lsn;
        }
    }
}
