//! What the rows of changes are selected from: a change table, or the function that answers with all changes.
//!
//! The function is for logins that the gating role lets in, and that may not read the change table. It has no
//! `__$command_id`, and refuses bounds outside of what the instance has with error 313 where the table would have
//! nothing. Where it refuses the caller it may answer with one row of NULLs, which is never "no change"
//! ([documentation](https://learn.microsoft.com/sql/relational-databases/system-functions/cdc-fn-cdc-get-all-changes-capture-instance-transact-sql)).

use super::captured::CapturedTable;
use super::error::SourceError;
use super::ident::quote;

/// The name of the function of an instance, up to the instance's.
pub(super) const ALL_CHANGES: &str = "fn_cdc_get_all_changes_";

/// Where the rows of an instance's changes are read from; both lie in schema `cdc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChangeRelation {
    /// The change table.
    Table { name: String },
    /// The function, with its object_id.
    Function { name: String, object_id: i32 },
}

/// The start of a window as every statement has it, exclusive.
pub(super) const AFTER: &str = "CAST(@P1 AS binary(10))";
/// The end of a window as every statement but those of many tables has it, inclusive.
pub(super) const UPTO: &str = "CAST(@P2 AS binary(10))";

impl ChangeRelation {
    /// `FROM … AS c WHERE …` of the rows past `after` up to `upto`, which are SQL of binary(10).
    ///
    /// Of the function's columns all that is certain is the name: a row of NULLs passes this.
    pub(super) fn rows(&self, after: &str, upto: &str) -> String {
        match self {
            Self::Table { name } => format!(
                "FROM cdc.{} AS c WHERE c.[__$start_lsn] > {after} AND c.[__$start_lsn] <= {upto}",
                quote(name)
            ),
            Self::Function { name, .. } => format!(
                "FROM cdc.{}(sys.fn_cdc_increment_lsn({after}), {upto}, N'all update old') AS c WHERE 1 = 1",
                quote(name)
            ),
        }
    }

    pub(super) fn is_function(&self) -> bool {
        matches!(self, Self::Function { .. })
    }
}

/// The server's error about reading changes as what it means: the instance is gone, or the function's bounds are.
pub(super) fn explained(table: &CapturedTable, error: SourceError) -> SourceError {
    match error.number() {
        // No such object, about one that was there.
        Some(208) => SourceError::InstanceDropped {
            table: table.name.clone(),
            instance: table.instance.clone(),
        },
        Some(313) if table.relation.is_function() => SourceError::OutOfRange {
            table: table.name.clone(),
            instance: table.instance.clone(),
        },
        _ => error,
    }
}
