//! A database: its committed state, its writer's seat, and its log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Notify;

use super::clock::ServerClock;
use super::locks::Locks;
use super::log::{Entry, KeptLog, Log, Lsn, TRANSACTION_ID};
use super::state::State;
use super::write::Writer;
use crate::simulator::capture::{self, CaptureBehaviour, CaptureJob, Job};
use crate::simulator::protocol::ServerError;
use crate::simulator::record::{Record, Recorded};

/// A database that sessions share.
#[derive(Debug)]
pub(crate) struct DatabaseCell {
    name: String,
    committed: RwLock<Arc<State>>,
    /// One transaction writes at a time; the seat holds what only writers use.
    pub(super) writer: Arc<tokio::sync::Mutex<Writer>>,
    log: Mutex<Log>,
    /// Held by whoever writes what capture owns.
    scanning: Mutex<()>,
    /// Wakes whoever waits for a scan that may not run now.
    changed: Notify,
    clock: RwLock<ServerClock>,
    instant: Instant,
    /// Where commits are recorded.
    record: RwLock<Option<Arc<Record>>>,
    replica: Mutex<Replica>,
    locks: Arc<Locks>,
    visits: Visit,
}

/// A session's stay in a database, which cannot be dropped meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visit(Arc<()>);

/// What the replica that is behind has still to go through.
#[derive(Debug, Default)]
struct Replica {
    lag: usize,
    states: VecDeque<Arc<State>>,
}

/// Shared by whoever lets others see a change of one of a server's databases, and held alone by whoever looks
/// at all of them at one instant.
pub(super) type Instant = Arc<RwLock<()>>;

/// A database as it was, to go back to.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    state: Arc<State>,
    log: KeptLog,
}

/// A transaction as it is put into the log.
pub(super) struct Committing {
    /// What others see from now on.
    pub(super) state: State,
    /// What capture will scan.
    pub(super) entries: Vec<Entry>,
    /// When the transaction began.
    pub(super) began: i64,
    /// Whether the transaction has changed capture itself.
    pub(super) defines: bool,
    /// What is recorded of it.
    pub(super) recording: Recording,
}

/// What is recorded of a transaction.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) statements: Vec<Recorded>,
    /// The memory that they hold.
    pub(super) bytes: usize,
    /// Whether a COMMIT ends it.
    pub(super) committed: bool,
    /// Other databases that it has read, and how many commits it saw of each.
    pub(super) reads: Vec<(Arc<DatabaseCell>, u64)>,
}

impl DatabaseCell {
    pub(super) fn new(state: State, settings: &Settings, instant: &Instant) -> Self {
        let locks = Locks::default();
        locks.enable(settings.blocks);
        Self {
            name: state.name.clone(),
            committed: RwLock::new(Arc::new(state)),
            writer: Arc::default(),
            log: Mutex::new(Log::new(settings)),
            scanning: Mutex::default(),
            changed: Notify::new(),
            clock: RwLock::new(settings.clock),
            instant: Arc::clone(instant),
            record: RwLock::new(settings.record.clone()),
            replica: Mutex::new(Replica {
                lag: settings.lag,
                states: VecDeque::new(),
            }),
            locks: Arc::new(locks),
            visits: Visit::default(),
        }
    }

    /// Begins a session's stay.
    pub(crate) fn visit(&self) -> Visit {
        self.visits.clone()
    }

    /// Whether a session is in it, or writes it from another one.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.visits.0) > 1 || self.writer.try_lock().is_err()
    }

    /// Its name, as created.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is committed now.
    pub(crate) fn committed(&self) -> Arc<State> {
        Arc::clone(
            &self
                .committed
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Its clock.
    pub(crate) fn clock(&self) -> ServerClock {
        *self.clock.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time it is.
    pub(crate) fn now(&self) -> i64 {
        self.clock().now(self.committed().clock)
    }

    pub(super) fn configure(&self, settings: &Settings) {
        *self.clock.write().unwrap_or_else(PoisonError::into_inner) = settings.clock;
        self.record
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&settings.record);
        self.log().configure(settings);
        self.replica().lag = settings.lag;
        self.locks.enable(settings.blocks);
        self.changed.notify_waiters();
    }

    /// What readers wait for.
    pub(crate) fn locks(&self) -> &Arc<Locks> {
        &self.locks
    }

    /// How capture behaves.
    pub(crate) fn capture_behaviour(&self) -> CaptureBehaviour {
        self.log().behaviour.clone()
    }

    /// When the log is scanned.
    pub(crate) fn schedule(&self) -> CaptureJob {
        self.log().schedule
    }

    /// Scans the log on no schedule from now on, or on the configured one again. A scan that is running has
    /// ended by then.
    pub(crate) fn hold(&self, held: bool) {
        let _scanning = self.scanning();
        self.log().hold(held);
    }

    /// Where commits are recorded; `None` where they are not.
    pub(crate) fn record(&self) -> Option<Arc<Record>> {
        let record = self.record.read();
        record.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the log has room for so many bytes of one transaction.
    pub(super) fn has_room(&self, bytes: usize) -> Result<(), ServerError> {
        if self.log().has_room(bytes) {
            return Ok(());
        }
        Err(log_full(&self.name))
    }

    /// Whether the log holds what capture has not scanned.
    pub(crate) fn is_behind(&self) -> bool {
        !self.log().pending.is_empty()
    }

    /// Stops the capture job, or starts it again. A scan that is running has ended by then.
    pub(crate) fn stop_job(&self, stopped: bool) {
        let _scanning = self.scanning();
        self.log().job.stopped = stopped;
    }

    /// Reads or changes what is known of the capture job.
    pub(crate) fn job<T>(&self, work: impl FnOnce(&mut Job) -> T) -> T {
        work(&mut self.log().job)
    }

    /// Waits until something happens after which a scan may go on.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a transaction into the log, and lets everyone see what it did.
    pub(super) fn commit(&self, transaction: Committing) -> Result<(), ServerError> {
        let Committing {
            state,
            entries,
            began,
            defines,
            recording,
        } = transaction;
        self.has_room(entries.iter().map(Entry::bytes).sum())?;
        let record = self.record();
        let mut turn = record.as_ref().map(|record| record.turn());
        if let Some(turn) = &mut turn {
            recording.check()?;
            turn.append(&recording.statements, recording.committed)?;
        }
        let put = self.put(state, entries, began, defines);
        if let (Some(turn), Err(_)) = (&mut turn, &put) {
            turn.take_back();
        }
        put
    }

    fn put(
        &self,
        mut state: State,
        entries: Vec<Entry>,
        began: i64,
        defines: bool,
    ) -> Result<(), ServerError> {
        // Only a scan can have changed the log since it was asked for room, and makes more.
        let mut log = self.log();
        let begins = defines && capture::begins(&state);
        let kept = state.capture.is_some() && (begins || !entries.is_empty());
        let mut id = [0; TRANSACTION_ID];
        id.copy_from_slice(&state.history[..TRANSACTION_ID]);
        state.version += 1;
        let clock = self.clock();
        let local = |count| clock.local(count).0;
        let lsn = log.append(entries, (local(began), local(state.clock)), id, kept);
        if begins {
            capture::begin(&mut state, lsn, log.behaviour.start_lsn_by_scan)?;
        }
        if state.capture.is_none() {
            log.forget();
        }
        self.publish(|committed| {
            if !defines {
                state.take_capture_of(committed);
            }
            state
        });
        Ok(())
    }

    /// Changes what no log has: nothing of it is a commit.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut State)) {
        self.publish(|committed| {
            let mut state = committed.clone();
            change(&mut state);
            state
        });
    }

    pub(super) fn publish(&self, next: impl FnOnce(&State) -> State) {
        let _shared = self.instant.read().unwrap_or_else(PoisonError::into_inner);
        let mut committed = self
            .committed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let new = Arc::new(next(&committed));
        let old = std::mem::replace(&mut *committed, new);
        let mut replica = self.replica();
        replica.states.push_back(old);
        while replica.states.len() > replica.lag {
            replica.states.pop_front();
        }
    }

    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the replica that is behind has; it is one state nearer afterwards.
    pub(crate) fn seen_by_replica(&self) -> Arc<State> {
        let behind = self.replica().states.pop_front();
        behind.unwrap_or_else(|| self.committed())
    }

    /// Begins a change of capture itself: no scan runs until [`DatabaseCell::end_definition`]. Error 1222
    /// if another transaction has begun one.
    pub(super) fn begin_definition(&self) -> Result<(), ServerError> {
        let _scanning = self.scanning();
        let mut log = self.log();
        if std::mem::replace(&mut log.definition, true) {
            return Err(ServerError::lock_timeout());
        }
        Ok(())
    }

    pub(super) fn end_definition(&self) {
        self.log().definition = false;
        self.changed.notify_waiters();
    }

    fn scanning(&self) -> MutexGuard<'_, ()> {
        self.scanning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position of the last commit in the log.
    pub(crate) fn log_end(&self) -> Option<Lsn> {
        self.log().end
    }

    /// Changes what capture owns, unless a transaction is changing it that is not committed yet; `None`
    /// then. `work` gets the transactions that wait in the log up to `end`, at most `limit`, and says how
    /// many of them it has done with.
    pub(crate) fn scan<T>(
        &self,
        end: Option<Lsn>,
        limit: usize,
        work: impl FnOnce(&mut State, &[Arc<super::Logged>]) -> (usize, T),
    ) -> Option<T> {
        self.scan_if(end, limit, |_, _| true, work)
    }

    /// As [`DatabaseCell::scan`], also `None` where `may` says no to the schedule and the job.
    pub(crate) fn scan_if<T>(
        &self,
        end: Option<Lsn>,
        limit: usize,
        may: impl FnOnce(CaptureJob, &Job) -> bool,
        work: impl FnOnce(&mut State, &[Arc<super::Logged>]) -> (usize, T),
    ) -> Option<T> {
        let _scanning = self.scanning();
        let log = self.log();
        if log.definition || !may(log.schedule, &log.job) {
            return None;
        }
        let batch: Vec<_> = log
            .pending
            .iter()
            .take_while(|logged| Some(logged.commit_lsn) <= end)
            .take(limit)
            .cloned()
            .collect();
        drop(log);
        let mut state = self.committed().as_ref().clone();
        let (done, result) = work(&mut state, &batch);
        // An empty scan leaves everything as it is.
        if limit == 0 || done > 0 {
            self.publish(|committed| {
                let mut next = committed.clone();
                next.take_capture_of(&state);
                next
            });
        }
        self.log().scanned(done);
        self.changed.notify_waiters();
        Some(result)
    }

    /// The position of an entry of the mapping that stands for no transaction; `None` if transactions wait.
    pub(crate) fn idle_position(&self) -> Option<Lsn> {
        let mut log = self.log();
        log.pending.is_empty().then(|| log.idle())
    }

    /// The database as it is now, with its log.
    pub(crate) fn keep(&self) -> Kept {
        let log = self.log();
        Kept {
            state: self.committed(),
            log: log.keep(),
        }
    }

    /// Makes the database what it was, as RESTORE does: transactions that begin later are others than those
    /// that are lost. A capture job that was stopped stays so. Waits for the transaction that is open.
    pub(crate) async fn restore(&self, kept: &Kept) {
        let mut seat = self.writer.lock().await;
        seat.clear();
        let _scanning = self.scanning();
        let mut log = self.log();
        log.restore(&kept.log);
        let stopped = log.job.stopped;
        log.job = Job::default();
        log.job.stopped = stopped;
        self.publish(|lost| {
            let mut state = kept.state.as_ref().clone();
            state.fork(lost);
            state.version = lost.version + 1;
            state
        });
        drop(log);
        self.changed.notify_waiters();
    }
}

impl Recording {
    /// The error, if another transaction has changed what this one has read of other databases: the record has
    /// that one before this.
    fn check(&self) -> Result<(), ServerError> {
        let changed =
            |(cell, version): &&(Arc<DatabaseCell>, u64)| cell.committed().version != *version;
        match self.reads.iter().find(changed) {
            Some((cell, _)) => Err(ServerError::unrecordable(format!(
                "it has read the database {}, which another transaction has changed meanwhile",
                cell.name()
            ))),
            None => Ok(()),
        }
    }
}

/// What a server's databases have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) behaviour: CaptureBehaviour,
    pub(super) schedule: CaptureJob,
    pub(super) clock: ServerClock,
    pub(super) seed: u64,
    pub(super) record: Option<Arc<Record>>,
    /// States that the replica is behind at most.
    pub(super) lag: usize,
    /// Whether writers block readers.
    pub(super) blocks: bool,
}

fn log_full(database: &str) -> ServerError {
    let mut error = ServerError::new(
        9002,
        format!("The transaction log for database '{database}' is full due to 'REPLICATION'."),
    );
    error.severity = 17;
    error.state = 4;
    error
}
