//! IDENTITY values and row versions of work that was undone.

use super::state::State;
use crate::simulator::record::{self, Recorded};

/// What was given and is not given again, though it was undone.
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// Tables by object id, and the next value of each one's IDENTITY column.
    identities: Vec<(i32, i64)>,
    /// The last row version.
    row_version: Option<u64>,
}

impl Spent {
    /// Whether it is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.row_version.is_none()
    }

    /// The statements that spend it again in a state, each with what it concerns.
    pub(super) fn recorded(&self, state: &State) -> Vec<(String, Recorded)> {
        let tables = self.identities.iter().filter_map(|(object_id, next)| {
            let table = state.tables.get(object_id)?;
            let name = format!(
                "{}.{}",
                record::quoted(&table.schema),
                record::quoted(&table.name)
            );
            let text = record::spent(Some(&name), next);
            Some((name, Recorded::new(&state.name, text)))
        });
        let version = self.row_version.map(|version| {
            let text = record::spent(None, version);
            (String::new(), Recorded::new(&state.name, text))
        });
        tables.chain(version).collect()
    }
}

/// Moves a state's IDENTITY columns and row versions on to where an undone state had them, since a value
/// that was given is not given again; says which.
pub(super) fn keep_spent(undone: &State, state: &mut State) -> Spent {
    let identities: Vec<(i32, i64)> = undone
        .tables
        .values()
        .filter_map(|table| {
            let next = table.next_identity?;
            let column = &table.columns[table.identity()?];
            let increment = column.identity?.increment;
            let known = state.tables.get(&table.object_id)?;
            if known.columns[known.identity()?].id != column.id {
                return None;
            }
            let before = known.next_identity?;
            let is_ahead = if increment > 0 {
                next > before
            } else {
                next < before
            };
            is_ahead.then_some((table.object_id, next))
        })
        .collect();
    for (object_id, next) in &identities {
        if let Some(table) = state.table_mut(*object_id) {
            table.next_identity = Some(*next);
        }
    }
    let row_version = Some(undone.row_version).filter(|version| *version > state.row_version);
    state.row_version = row_version.unwrap_or(state.row_version);
    Spent {
        identities,
        row_version,
    }
}
