//! What the source is, was, and what its rows are called.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::{Alteration, Change, Transaction};

/// A row without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    n: i32,
    /// The number in a large value.
    note: Option<u8>,
    /// The number again, in a column that comes later.
    extra: Option<i32>,
}

/// The rows of both tables by the numbers of their keys.
pub(super) type Rows = [BTreeMap<u8, Row>; 2];

/// What the source is, was when it was last captured, and every state since the targets were last known.
pub(super) struct Model {
    rows: Rows,
    pub(super) captured: usize,
    pub(super) states: Vec<Rows>,
    /// Whether a target may be absent.
    pub(super) is_forgotten: bool,
    /// What has happened to the columns of `a`.
    altered: BTreeSet<Alteration>,
    /// Whether a capture instance has what has come to `a`.
    pub(super) told: bool,
}

impl Model {
    pub(super) fn new() -> Self {
        let row = |n: u8| Row {
            n: n.into(),
            note: Some(n),
            extra: None,
        };
        let two = BTreeMap::from([(0, row(0)), (1, row(1))]);
        let rows = [two.clone(), two];
        Self {
            states: vec![rows.clone()],
            captured: 0,
            is_forgotten: false,
            altered: BTreeSet::new(),
            told: false,
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

    /// The batch that alters `a`; `None` where that was done already.
    pub(super) fn alter(&mut self, alteration: Alteration) -> Option<&'static str> {
        let is_new = self.altered.insert(alteration);
        let has_extra = self.altered.contains(&Alteration::Add);
        self.told |= is_new && alteration == Alteration::Recapture && has_extra;
        is_new.then_some(match alteration {
            Alteration::Add => "ALTER TABLE dbo.a ADD extra INT NULL;",
            Alteration::Recapture => {
                "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
                 @capture_instance = N'second';"
            }
            Alteration::Drop => "ALTER TABLE dbo.a DROP COLUMN gone;",
        })
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
        let has_extra = is_a && self.altered.contains(&Alteration::Add);
        let has_gone = is_a && !self.altered.contains(&Alteration::Drop);
        Some(match change {
            Change::Put { key, n } => match rows.get_mut(&key) {
                Some(row) => {
                    row.n = n;
                    row.extra = has_extra.then_some(n);
                    let extra = if has_extra {
                        format!(", extra = {n}")
                    } else {
                        String::new()
                    };
                    format!(
                        "UPDATE {name} SET n = {n}{extra} WHERE {}",
                        condition(table, key)
                    )
                }
                None => {
                    let extra = has_extra.then_some(n);
                    rows.insert(
                        key,
                        Row {
                            n,
                            note: None,
                            extra,
                        },
                    );
                    let more = [(has_gone, ", gone"), (has_extra, ", extra")];
                    let more = more.into_iter().filter(|(is_there, _)| *is_there);
                    let more: Vec<_> = more.map(|(_, column)| column).collect();
                    format!(
                        "INSERT INTO {name} ({}, n, note{}) VALUES ({}, {n}, NULL{})",
                        ["id", "k, s"][table],
                        more.concat(),
                        values(table, key),
                        format!(", {n}").repeat(more.len())
                    )
                }
            },
            Change::Note { key, note } => {
                rows.get_mut(&key)?.note = note;
                let note = note.map_or("NULL".to_owned(), |note| format!("N'{note}'"));
                format!(
                    "UPDATE {name} SET note = {note} WHERE {}",
                    condition(table, key)
                )
            }
            Change::Delete { key } => {
                rows.remove(&key)?;
                format!("DELETE FROM {name} WHERE {}", condition(table, key))
            }
            Change::Move { key, to } => {
                if rows.contains_key(&to) {
                    return None;
                }
                let row = rows.remove(&key)?;
                rows.insert(to, row);
                let set = match table {
                    0 => format!("id = {to}"),
                    _ => format!("k = '{}', s = {to}", letter(to)),
                };
                format!("UPDATE {name} SET {set} WHERE {}", condition(table, key))
            }
            Change::All => {
                rows.values_mut().for_each(|row| row.n += 1);
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

/// The rows as the queries of [`World::rows`](super::world::World::rows) print them, with what came later if that is `told`.
pub(super) fn printed(rows: &Rows, table: usize, told: bool) -> Vec<String> {
    let lines = rows[table].iter().map(|(key, Row { n, note, extra })| {
        let note = note.map_or(String::new(), |note| note.to_string());
        let extra = extra.map_or(String::new(), |extra| extra.to_string());
        match table {
            0 if told => format!("{key}|{n}|{note}|{extra}"),
            0 => format!("{key}|{n}|{note}"),
            _ => format!("{}|{key}|{n}|{note}", letter(*key)),
        }
    });
    lines.collect()
}
