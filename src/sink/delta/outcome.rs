//! What a write did.

/// Rows that a commit inserted, updated and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// Rows that the target did not have before.
    pub inserted: u64,
    /// Rows that were replaced by their new image.
    pub updated: u64,
    /// Rows that were taken out.
    pub deleted: u64,
}

impl RowCounts {
    /// The counts as a commit's `operationMetrics` have them, by the names of the other writers of Delta tables.
    pub(super) fn to_metrics(self) -> serde_json::Value {
        serde_json::json!({
            "numTargetRowsInserted": self.inserted.to_string(),
            "numTargetRowsUpdated": self.updated.to_string(),
            "numTargetRowsDeleted": self.deleted.to_string(),
        })
    }

    /// These and `others`.
    pub(crate) fn plus(self, others: Self) -> Self {
        Self {
            inserted: self.inserted + others.inserted,
            updated: self.updated + others.updated,
            deleted: self.deleted + others.deleted,
        }
    }

    /// All rows that the commit changed.
    pub fn total(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }
}

/// The outcome of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// A new version of the table.
    Committed {
        /// The version.
        version: u64,
        /// True when this commit created the table.
        created: bool,
        /// What changed; all zero for a commit that only moved the checkpoint.
        rows: RowCounts,
    },
    /// Nothing changed and no checkpoint had to move: no commit was made.
    Nothing,
}

impl CommitOutcome {
    /// The version that was committed, if one was.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Committed { version, .. } => Some(*version),
            Self::Nothing => None,
        }
    }

    /// The rows that changed.
    pub fn rows(&self) -> RowCounts {
        match self {
            Self::Committed { rows, .. } => *rows,
            Self::Nothing => RowCounts::default(),
        }
    }

    /// True when the commit created the table.
    pub fn created(&self) -> bool {
        matches!(self, Self::Committed { created: true, .. })
    }
}
