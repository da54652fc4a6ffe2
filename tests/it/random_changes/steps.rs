//! What a case does, step by step.

use cdcql::simulator::control::Fault;
use proptest::prelude::*;

/// A case has fewer steps: more of them are better than longer ones.
const STEPS: usize = 10;

/// A change of one row, of the table's keys by number; what it is depends on whether the row is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// Inserts the row, without a note, or updates its number.
    Put { key: u8, n: i32 },
    /// Updates the note of the row, if it is there.
    Note { key: u8, note: Option<u8> },
    /// Deletes the row, if it is there.
    Delete { key: u8 },
    /// Gives the row another key that is free.
    Move { key: u8, to: u8 },
    /// Updates every row.
    All,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Transaction(Transaction),
    /// One scan of the log.
    Capture,
    /// The targets go, so that the next run copies.
    Forget,
    /// Changes of a table, by its place, go up to a commit that the history has at this of 256 parts.
    CleanUp {
        table: usize,
        part: u8,
    },
    /// The columns of `a` change, if they have not done so.
    Alter(Alteration),
    Run(Run),
}

/// What happens to the columns of `a`, each once at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alteration {
    /// A column comes, of which its capture instance tells nothing.
    Add,
    /// Another capture instance begins.
    Recapture,
    /// A captured column goes.
    Drop,
}

/// One transaction over both tables: true for `a`.
pub(super) type Transaction = Vec<(bool, Change)>;

/// How the pipeline is run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Whether it copies what is there again.
    pub(super) snapshots: bool,
    /// What is committed while it reads a table, or waits for capture, each after the next scan has fixed its end of the log.
    pub(super) meanwhile: Vec<Transaction>,
    pub(super) rows: u32,
    pub(super) transactions: Option<u32>,
    pub(super) fault: Option<Disturbance>,
    /// By a process of its own; else by the one that ran before, if nothing has ended that.
    pub(super) is_anew: bool,
    /// It is dropped when it has been polled so often.
    pub(super) polls: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    Deadlock,
    LockTimeout,
    Cut { after: u64 },
    Messages,
}

impl Run {
    /// One that nothing disturbs.
    pub(super) fn whole() -> Self {
        Self {
            snapshots: false,
            meanwhile: Vec::new(),
            rows: 1000,
            transactions: None,
            fault: None,
            is_anew: false,
            polls: None,
        }
    }
}

impl Disturbance {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Deadlock => Fault::DeadlockVictim,
            Self::LockTimeout => Fault::lock_timeout(),
            Self::Cut { after } => Fault::CutInRow { after },
            Self::Messages => Fault::Interjections,
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let key = 0_u8..6;
    prop_oneof![
        4 => (key.clone(), any::<i8>()).prop_map(|(key, n)| Change::Put { key, n: n.into() }),
        3 => (key.clone(), any::<Option<u8>>()).prop_map(|(key, note)| Change::Note { key, note }),
        2 => key.clone().prop_map(|key| Change::Delete { key }),
        2 => (key.clone(), key).prop_map(|(key, to)| Change::Move { key, to }),
        1 => Just(Change::All),
    ]
}

fn transactions() -> impl Strategy<Value = Transaction> {
    prop::collection::vec((any::<bool>(), changes()), 1..6)
}

fn runs() -> impl Strategy<Value = Run> {
    let faults = prop_oneof![
        Just(Disturbance::Deadlock),
        Just(Disturbance::LockTimeout),
        (0_u64..4).prop_map(|after| Disturbance::Cut { after }),
        Just(Disturbance::Messages),
    ];
    let rows = prop_oneof![Just(1_u32), Just(3), Just(1000)];
    let transactions = prop::option::of(1_u32..4);
    let faults = prop::option::weighted(0.3, faults);
    let polls = prop::option::weighted(0.3, 1_u16..200);
    let meanwhile = prop::collection::vec(self::transactions(), 0..3);
    let anew = prop::bool::weighted(0.2);
    let snapshots = prop::bool::weighted(0.15);
    let all = (
        rows,
        transactions,
        faults,
        polls,
        meanwhile,
        anew,
        snapshots,
    );
    all.prop_map(
        |(rows, transactions, fault, polls, meanwhile, is_anew, snapshots)| Run {
            snapshots,
            meanwhile,
            rows,
            transactions,
            fault,
            polls,
            is_anew,
        },
    )
}

/// Half of them up to the newest commit, of which a target is behind most often.
fn clean_ups() -> impl Strategy<Value = Step> {
    let part = prop_oneof![Just(u8::MAX), any::<u8>()];
    (0_usize..2, part).prop_map(|(table, part)| Step::CleanUp { table, part })
}

fn alterations() -> impl Strategy<Value = Step> {
    let one = prop_oneof![
        1 => Just(Alteration::Add),
        2 => Just(Alteration::Recapture),
        1 => Just(Alteration::Drop),
    ];
    one.prop_map(Step::Alter)
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => transactions().prop_map(Step::Transaction),
        4 => Just(Step::Capture),
        1 => Just(Step::Forget),
        4 => clean_ups(),
        2 => alterations(),
        4 => runs().prop_map(Step::Run),
    ];
    prop::collection::vec(step, 1..STEPS)
}
