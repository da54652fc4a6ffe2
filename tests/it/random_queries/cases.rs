//! What a case is made of.

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::{option, prop_oneof, sample};

/// One row more, less or other.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// It is there with these values afterwards, whether it was before or not.
    Put {
        id: u8,
        n: Option<i8>,
        s: u8,
        r: u8,
    },
    Delete {
        id: u8,
    },
    /// It has another key afterwards, unless that is taken.
    Move {
        id: u8,
        to: u8,
    },
}

impl Change {
    /// Writes the change of a table that has the rows `ids`.
    fn write(&self, ids: &mut BTreeSet<u8>, batch: &mut String) {
        let text = |s: u8| ["N'a'", "N'bc'", "NULL", "N'Dé'"][usize::from(s) % 4];
        let number = |n: Option<i8>| n.map_or("NULL".to_string(), |n| n.to_string());
        let written = match self {
            Self::Put { id, n, s, r } => {
                let (n, s) = (number(*n), text(*s));
                match ids.insert(*id) {
                    true => write!(batch, "INSERT INTO dbo.a VALUES ({id}, {n}, {s}, {r}); "),
                    false => write!(
                        batch,
                        "UPDATE dbo.a SET n = {n}, s = {s}, r = {r} WHERE id = {id}; "
                    ),
                }
            }
            Self::Delete { id } => {
                ids.remove(id);
                write!(batch, "DELETE FROM dbo.a WHERE id = {id}; ")
            }
            Self::Move { id, to } if ids.contains(id) && ids.insert(*to) => {
                ids.remove(id);
                write!(batch, "UPDATE dbo.a SET id = {to} WHERE id = {id}; ")
            }
            Self::Move { .. } => Ok(()),
        };
        written.unwrap();
    }
}

/// Changes that come at once.
pub(super) type Transaction = Vec<Change>;

/// The batch of a transaction, which leaves a mark by which its commit is found.
pub(super) fn batch(transaction: &Transaction, mark: usize, ids: &mut BTreeSet<u8>) -> String {
    let mut batch = format!("BEGIN TRAN; INSERT INTO dbo.marks VALUES ({mark}); ");
    for change in transaction {
        change.write(ids, &mut batch);
    }
    batch + "COMMIT;"
}

/// What is asked of the source.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// What it computes, besides the key.
    pub(super) items: Vec<&'static str>,
    /// How the fixed table is joined.
    pub(super) join: Option<&'static str>,
    pub(super) conditions: Vec<&'static str>,
}

impl Query {
    /// The query over `source`, which it calls `c`.
    pub(super) fn over(&self, source: &str) -> String {
        let mut query = "SELECT c.id".to_string();
        for (n, item) in self.items.iter().enumerate() {
            write!(query, ", {item} AS v{n}").unwrap();
        }
        write!(query, " FROM {source} AS c").unwrap();
        if let Some(join) = self.join {
            write!(query, " {join} tiers AS x ON x.r = c.r").unwrap();
        }
        let conditions = self.conditions.join(" AND ");
        if !conditions.is_empty() {
            write!(query, " WHERE {conditions}").unwrap();
        }
        query
    }

    /// The columns that it gives, but for the first of what it computes.
    pub(super) fn columns(&self, without: usize) -> String {
        let values = (without..self.items.len()).map(|n| format!(", v{n}"));
        "id".to_string() + &values.collect::<String>()
    }
}

/// A query, and what happens to its source.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) query: Query,
    /// Which columns make versions, if not all commits do.
    pub(super) tracks: bool,
    /// What comes between the newest commit that is captured and the first copy.
    pub(super) meanwhile: Vec<Transaction>,
    /// How many transactions a window may hold, and those that come before it.
    pub(super) rounds: Vec<(Option<u32>, Vec<Transaction>)>,
    /// What comes before a last copy.
    pub(super) afterwards: Vec<Transaction>,
}

const ITEMS: [&str; 8] = [
    "c.n",
    "c.s",
    "c.n + 1",
    "upper(c.s)",
    "coalesce(c.n, -1)",
    "CASE WHEN c.n > 2 THEN 'big' ELSE c.s END",
    "c.r",
    "concat(c.s, '-', c.r)",
];
const LOOKED_UP: [&str; 3] = ["x.tier", "c.n * x.w", "coalesce(x.tier, 'none')"];
const CONDITIONS: [&str; 6] = [
    "c.n > 0",
    "c.s IS NOT NULL",
    "c.r IN (0, 1)",
    "(c.n IS NULL OR c.n < 5)",
    "c.s LIKE '%c'",
    "c.id <> 2",
];
/// What cannot be computed of every row, and the condition by which it can be of those that it is computed of.
const GUARDED: [(&str, &str); 2] = [("100 / c.n", "c.n <> 0"), ("CAST(c.s AS INT)", "c.s = '7'")];

fn queries() -> impl Strategy<Value = Query> {
    let items = vec(sample::select(&ITEMS[..]), 1..4);
    let conditions = vec(sample::select(&CONDITIONS[..]), 0..3);
    let join = option::of(sample::select(vec!["JOIN", "LEFT JOIN"]));
    let looked_up = vec(sample::select(&LOOKED_UP[..]), 1..3);
    let guarded = option::weighted(0.2, sample::select(&GUARDED[..]));
    (items, conditions, join, looked_up, guarded).prop_map(
        |(mut items, mut conditions, join, looked_up, guarded)| {
            if join.is_some() {
                items.extend(looked_up);
            }
            if let Some((item, condition)) = guarded {
                items.push(item);
                conditions.push(condition);
            }
            Query {
                items,
                join,
                conditions,
            }
        },
    )
}

fn changes() -> impl Strategy<Value = Change> {
    let id = || 0_u8..5;
    prop_oneof![
        5 => (id(), option::of(-2_i8..8), any::<u8>(), 0_u8..4).prop_map(|(id, n, s, r)| Change::Put { id, n, s, r }),
        2 => id().prop_map(|id| Change::Delete { id }),
        1 => (id(), id()).prop_map(|(id, to)| Change::Move { id, to }),
    ]
}

fn transactions(most: usize) -> impl Strategy<Value = Vec<Transaction>> {
    vec(vec(changes(), 1..4), 0..=most)
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let windows = prop_oneof![Just(None), Just(Some(1)), Just(Some(2))];
    let rounds = vec((windows, transactions(4)), 1..4);
    let all = (
        queries(),
        any::<bool>(),
        transactions(3),
        rounds,
        transactions(3),
    );
    all.prop_map(|(query, tracks, meanwhile, rounds, afterwards)| Case {
        query,
        tracks,
        meanwhile,
        rounds,
        afterwards,
    })
}
