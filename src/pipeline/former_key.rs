//! The key that a flow's target was written by, where its capture instance has another one now.
//!
//! Changes are netted by the key of the capture instance: at most one row for each, and a `delete` for one that has moved. A
//! MERGE whose ON compares that key finds for each of them the one row that it is of. By another key there may be two rows
//! of the stream for one of the target, or the row that has moved is not found and stays. So a flow that comes to an
//! instance with another key stops, unless its ON compares that one: what the target has then are the source's rows as of
//! its checkpoint, which that key tells apart too.

use super::bind::Sides;
use crate::change::FlowKey;
use crate::error::Error;
use crate::sink::delta::{DeltaTarget, SinkError};
use crate::source::sqlserver::{CapturedTable, Database};
use crate::sql::MergeStatement;

/// The columns of a key that a target was written by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormerKey {
    columns: Vec<String>,
    /// Whether the target's log says so; else an older capture instance has it.
    is_recorded: bool,
}

impl FormerKey {
    /// What is known of it; `None` for a target that the flow has not written, and where nothing tells it.
    pub(super) async fn of(
        database: &Database,
        table: &CapturedTable,
        target: &DeltaTarget,
        key: &FlowKey,
    ) -> Result<Option<Self>, Error> {
        let position = match target.position(key).await {
            Ok(Some(position)) => position,
            // The flow ends with it when it runs.
            Ok(None) | Err(SinkError::DamagedCheckpoint { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Some(columns) = target.source_key(key, position.lsn).await? {
            return Ok(Some(Self {
                columns,
                is_recorded: true,
            }));
        }
        let older = database.older_instance(table).await?;
        Ok(older.map(|older| Self {
            columns: older.key_names().into_iter().map(str::to_string).collect(),
            is_recorded: false,
        }))
    }
}

/// Whether ON compares the columns of `key`, the source's, and nothing else.
pub(super) fn compares(merge: &MergeStatement, key: &[&str]) -> bool {
    let pairs = merge.key_pairs().unwrap_or_default();
    let compared: Vec<&str> = pairs.iter().map(|(_, source)| source.as_str()).collect();
    !compared.is_empty() && same_columns(&compared, key)
}

/// Whether two keys have the same columns, in whatever order.
pub(super) fn same_columns(one: &[&str], other: &[&str]) -> bool {
    let sorted = |key: &[&str]| {
        let mut key: Vec<String> = key.iter().map(|name| name.to_lowercase()).collect();
        key.sort_unstable();
        key.dedup();
        key
    };
    sorted(one) == sorted(other)
}

impl Sides {
    /// Refuses a capture instance whose key is not the one that the target was written by, unless ON compares it.
    ///
    /// # Errors
    /// `Invalid` at the stream.
    pub(super) fn check_key(&self) -> Result<(), Error> {
        let (table, key) = (&self.table, self.table.key_names());
        let Some(former) = &self.former_key else {
            return Ok(());
        };
        let columns: Vec<&str> = former.columns.iter().map(String::as_str).collect();
        // Of an older instance it is not known that the flow has read it.
        let is_former = former.is_recorded || compares(&self.merge, &columns);
        // A table without a key is refused as such.
        let is_same = key.is_empty() || columns.is_empty() || same_columns(&columns, &key);
        if is_same || !is_former || compares(&self.merge, &key) {
            return Ok(());
        }
        let (now, then) = (key.join(", "), columns.join(", "));
        let instance = table.capture_instance();
        let (schema, name) = (table.schema_name(), table.table_name());
        let alias = self.merge.target_alias.as_ref();
        let target = alias.map_or(&self.declaration.name, |alias| &alias.value);
        let source = &self.merge.source_alias.value;
        let on = key
            .iter()
            .map(|column| format!("{target}.{column} = {source}.{column}"));
        let on = on.collect::<Vec<_>>().join(" AND ");
        let diagnostic = self.statement.diagnostic(
            self.stream.span,
            format!(
                "capture instance '{instance}' of {schema}.{name} has the key ({now}), and the target was written by the key \
                 ({then})"
            ),
            Some(format!(
                "to go on by the new key, write ON {on} and nothing else; to keep the old one, disable '{instance}' and enable \
                 an instance with the @index_name of a unique index of ({then})"
            )),
        );
        let cause = format!(
            "changes are netted by the key of the capture instance; a row whose ({then}) has changed would stay in the target, \
             or two changes would be of one of its rows"
        );
        Err(Error::invalid(diagnostic.with_cause(cause)))
    }
}
