//! What the source is, was, and what its rows are called.

use std::collections::BTreeMap;

use super::steps::{Change, Transaction};

/// The rows of both tables by the numbers of their keys.
pub(super) type Rows = [BTreeMap<u8, i32>; 2];

/// What the source is, was when it was last captured, and every state since the targets were last known.
pub(super) struct Model {
    rows: Rows,
    pub(super) captured: usize,
    pub(super) states: Vec<Rows>,
    /// Whether a target may be absent.
    pub(super) is_forgotten: bool,
}

impl Model {
    pub(super) fn new() -> Self {
        let two = BTreeMap::from([(0, 0), (1, 1)]);
        let rows = [two.clone(), two];
        Self {
            states: vec![rows.clone()],
            captured: 0,
            is_forgotten: false,
            rows,
        }
    }

    /// The batch of a transaction, which is made to the model too.
    pub(super) fn transaction(&mut self, changes: &Transaction) -> String {
        let statements: Vec<String> = changes
            .iter()
            .filter_map(|(is_a, change)| self.change(*is_a, *change))
            .collect();
        self.states.push(self.rows.clone());
        format!("BEGIN TRAN; {}; COMMIT;", statements.join("; "))
    }

    /// The newest state.
    pub(super) fn newest(&self) -> usize {
        self.states.len() - 1
    }

    /// The statement of a change, which is made to the model too; `None` where there is nothing to change.
    fn change(&mut self, is_a: bool, change: Change) -> Option<String> {
        let table = usize::from(!is_a);
        let rows = &mut self.rows[table];
        let name = ["dbo.a", "dbo.b"][table];
        Some(match change {
            Change::Put { key, n } if rows.contains_key(&key) => {
                rows.insert(key, n);
                format!("UPDATE {name} SET n = {n} WHERE {}", condition(table, key))
            }
            Change::Put { key, n } => {
                rows.insert(key, n);
                format!("INSERT INTO {name} VALUES ({}, {n})", values(table, key))
            }
            Change::Delete { key } => {
                rows.remove(&key)?;
                format!("DELETE FROM {name} WHERE {}", condition(table, key))
            }
            Change::Move { key, to } => {
                if rows.contains_key(&to) {
                    return None;
                }
                let n = rows.remove(&key)?;
                rows.insert(to, n);
                let set = match table {
                    0 => format!("id = {to}"),
                    _ => format!("k = '{}', s = {to}", letter(to)),
                };
                format!("UPDATE {name} SET {set} WHERE {}", condition(table, key))
            }
            Change::All => {
                rows.values_mut().for_each(|n| *n += 1);
                format!("UPDATE {name} SET n = n + 1")
            }
        })
    }
}

/// Letters of which pairs differ in case alone, which the table's collation does not tell apart.
fn letter(key: u8) -> &'static str {
    ["x", "Y", "X", "y", "z", "Z"][usize::from(key)]
}

fn values(table: usize, key: u8) -> String {
    match table {
        0 => key.to_string(),
        _ => format!("'{}', {key}", letter(key)),
    }
}

fn condition(table: usize, key: u8) -> String {
    match table {
        0 => format!("id = {key}"),
        _ => format!("k = '{}' AND s = {key}", letter(key)),
    }
}

/// The rows as the queries of [`World::rows`](super::world::World::rows) print them.
pub(super) fn printed(rows: &Rows, table: usize) -> Vec<String> {
    let lines = rows[table].iter().map(|(key, n)| match table {
        0 => format!("{key}|{n}"),
        _ => format!("{}|{key}|{n}", letter(*key)),
    });
    lines.collect()
}
