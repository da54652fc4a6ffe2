//! How the simulator uses the freedom that a real server has.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use super::capture::{CaptureBehaviour, CaptureJob};
use super::protocol::Collation;
use super::store::{Clock, ServerZone};

/// What a server may do and need not, so that a client must not rely on it.
///
/// The default is no kinder than the real thing, as far as that costs nothing. Whatever is left to chance
/// follows from the seed: the same seed and the same requests give the same answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The beginning of everything that is left to chance; without one it is taken at random. A
    /// [`Simulator`](super::Simulator) that is dropped by a failing test prints its seed.
    pub seed: Option<u64>,
    /// The rows of a table come in no particular order unless a query has ORDER BY. What a statement
    /// writes does not depend on it: `INSERT … SELECT` reads rows in the order of their insertion, so that
    /// a script always makes the same database.
    pub shuffle_rows: bool,
    /// The collation of the server, and of databases that name none. One that tells cases apart tells them apart
    /// in the names of databases, schemas, tables, columns and variables too; two names that differ in case alone
    /// are refused within one statement. It is that of [`Database::from_script_with`](super::Database): a
    /// database that is there keeps the collation that it was made in.
    pub server_collation: Collation,
    /// How many commits and scans a secondary replica is behind at first; it comes one nearer with each batch that it
    /// answers. With 0 there is none. It can only be read (error 3906), and it knows nothing of the scans of the log,
    /// which run on the primary.
    pub replica_lag: usize,
    /// Which connections the replica gets.
    pub replica_clients: ReplicaClients,
    /// Writers keep readers waiting, for LOCK_TIMEOUT at most, as they do under SQL Server's locks; else the last
    /// committed rows are read. Two of them do. A scan that a [`CaptureControl`](super::CaptureControl) holds
    /// between its two halves blocks what reads the tables of schema `cdc`, directly or by a function, unless
    /// it reads versions of rows (SNAPSHOT, READ_COMMITTED_SNAPSHOT) or uncommitted ones. A transaction that has
    /// changed definitions blocks what reads a table that it has created, changed, renamed or dropped, or given
    /// a capture instance or taken one from, at any isolation level. Catalogue views, procedures that report,
    /// replicas, and rows that an open transaction has changed keep nobody waiting.
    pub writers_block_readers: bool,
    /// When the log is scanned for changes, once the script has been replayed.
    pub capture_job: CaptureJob,
    /// What capture does as it may.
    pub capture: CaptureBehaviour,
    /// What moves the clock, once the script has been replayed.
    pub clock: Clock,
    /// The server's zone. Everything is dated in its local time, as in `cdc.lsn_time_mapping`, from
    /// 2024-01-01T00:00:00 on.
    pub zone: ServerZone,
    /// TCP segments end at random bytes, and the packet size is somewhat smaller than the client asked for, so
    /// that any value may be torn apart.
    pub split_packets: bool,
    /// Packets before the last of a message may be shorter than the packet size. The protocol forbids that to
    /// clients alone; SQL Server fills its packets, and python-tds cannot read others.
    pub short_packets: bool,
    /// Rows come with a bitmap of their NULLs or without (NBCROW or ROW), and values of (max) types with a length
    /// and one chunk or without a length and several, as chance has it.
    pub vary_rows: bool,
    /// INFO messages and the ends of nested statements (DONEINPROC) stand between the tokens of every answer, as
    /// [`Fault::Interjections`](super::control::Fault) has them in one.
    pub interjections: bool,
}

/// Which connections reach the replica that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaClients {
    /// Every second one, whatever it wants.
    #[default]
    EverySecond,
    /// Those that say that they only read (`ApplicationIntent=ReadOnly`), as a listener routes them.
    Readers,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            seed: None,
            shuffle_rows: true,
            server_collation: Collation::SERVER,
            replica_lag: 0,
            replica_clients: ReplicaClients::default(),
            writers_block_readers: false,
            capture_job: CaptureJob::default(),
            capture: CaptureBehaviour {
                lsn_gaps: true,
                ..CaptureBehaviour::default()
            },
            clock: Clock::default(),
            zone: ServerZone::default(),
            split_packets: true,
            short_packets: false,
            vary_rows: true,
            interjections: false,
        }
    }
}

impl Behaviour {
    /// Nothing is left to chance: rows come in the order of their insertion, and packets are full.
    pub fn orderly() -> Self {
        Self {
            seed: Some(0),
            shuffle_rows: false,
            server_collation: Collation::SERVER,
            replica_lag: 0,
            replica_clients: ReplicaClients::default(),
            writers_block_readers: false,
            capture_job: CaptureJob::default(),
            capture: CaptureBehaviour::default(),
            clock: Clock::default(),
            zone: ServerZone::default(),
            split_packets: false,
            short_packets: false,
            vary_rows: false,
            interjections: false,
        }
    }

    /// The same, but for what a replay of recorded statements would not have: gaps between LSNs, which follow
    /// from the seed, positions in the log of entries for idle databases, and connections that read what is
    /// behind. `None` under the machine's clock.
    pub(super) fn recorded(mut self) -> Option<Self> {
        self.replica_lag = 0;
        self.capture = CaptureBehaviour {
            log_limit: self.capture.log_limit,
            idle_period: Duration::MAX,
            ..CaptureBehaviour::default()
        };
        (self.clock == Clock::Statements).then_some(self)
    }

    /// The seed, or a random one.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub(super) fn seed(&self) -> io::Result<u64> {
        if let Some(seed) = self.seed {
            return Ok(seed);
        }
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What orders the rows that a session reads.
    pub(super) fn chance(&self, session: u16) -> Option<Chance> {
        self.shuffle_rows.then(|| self.own_chance(session))
    }

    /// Whether a session is one of the replica that is behind. A script, which has no session id, never is.
    pub(super) fn lags(&self, session: u16, reads_only: bool) -> bool {
        let is_replicas = match self.replica_clients {
            ReplicaClients::EverySecond => session.is_multiple_of(2),
            ReplicaClients::Readers => reads_only,
        };
        self.replica_lag > 0 && session > 0 && is_replicas
    }

    /// The packet size of a session whose client asked for this one.
    pub(super) fn packet_size(&self, session: u16, asked: usize) -> usize {
        const LEAST: usize = 512;
        if !self.split_packets {
            return asked;
        }
        let less = self.own_chance(session).below(asked / 4);
        (asked - less).max(LEAST)
    }

    /// What ends the segments that a session gets.
    pub(super) fn segment_chance(&self, session: u16) -> Option<Chance> {
        self.split_packets.then(|| self.own_chance(session))
    }

    /// What ends the packets that a session gets.
    pub(super) fn packet_chance(&self, session: u16) -> Option<Chance> {
        self.short_packets.then(|| self.own_chance(session))
    }

    /// What chooses the forms of the rows that a session gets.
    pub(super) fn row_chance(&self, session: u16) -> Option<Chance> {
        self.vary_rows.then(|| self.own_chance(session))
    }

    fn own_chance(&self, session: u16) -> Chance {
        let seed = self.seed.unwrap_or_default();
        let own = Chance::new(seed ^ u64::from(session)).next();
        Chance::new(own)
    }
}

/// Numbers that follow from a seed and look random; not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number: SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True once in `times` times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Puts items into another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order() {
        let order = |seed| {
            let mut items: Vec<usize> = (0..100).collect();
            Chance::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        let mut sorted = order(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_given_seed_is_kept() {
        let behaviour = Behaviour {
            seed: Some(5),
            ..Behaviour::default()
        };
        assert_eq!(behaviour.seed().unwrap(), 5);
    }
}
