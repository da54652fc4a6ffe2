//! Kinds of change, and the three columns that a change feed adds.

use std::fmt;

/// Name of the change feed's column that holds a [`ChangeType`].
pub const CHANGE_TYPE: &str = "_change_type";
/// Name of the change feed's column that holds the commit LSN as 20 hex digits.
pub const COMMIT_VERSION: &str = "_commit_version";
/// Name of the change feed's column that holds the commit's time, in UTC.
pub const COMMIT_TIMESTAMP: &str = "_commit_timestamp";

/// Name of the column in which a flow's query says whether a row is one of the target's.
pub const MEMBER: &str = "__cdcql_member";

/// Name of the column that says whether a row is as it is expected, or kept all the same.
pub const KEPT: &str = "__cdcql_kept";

/// Name of the column in which the rows of a flow that keeps history say whether they are the target's after their commit.
pub const PRESENT: &str = "__cdcql_present";

/// Name of the column with the commit from which a version of a row was valid, as [`COMMIT_VERSION`] has it.
pub const START_AT: &str = "__START_AT";
/// Name of the column with the commit to which it was; NULL for one that is.
pub const END_AT: &str = "__END_AT";

/// True for the names of the three columns that a change feed appends to a table's own, and of the one in which a flow's
/// query says what the target's rows are: none of them is the target's.
pub fn is_change_column(name: &str) -> bool {
    [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP, MEMBER].contains(&name)
}

/// What a row of a change feed says, in the words of Delta's change data feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeType {
    /// The row was inserted.
    Insert,
    /// The row as it was before an update.
    UpdatePreimage,
    /// The row as it is after an update.
    UpdatePostimage,
    /// The row was deleted.
    Delete,
}

impl ChangeType {
    /// The kind that SQL Server's `__$operation` 1 to 4 stands for
    /// ([documentation](https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql)).
    pub fn from_operation(operation: i32) -> Option<Self> {
        match operation {
            1 => Some(Self::Delete),
            2 => Some(Self::Insert),
            3 => Some(Self::UpdatePreimage),
            4 => Some(Self::UpdatePostimage),
            _ => None,
        }
    }

    /// The word as it stands in `_change_type`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdatePreimage => "update_preimage",
            Self::UpdatePostimage => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for ChangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
