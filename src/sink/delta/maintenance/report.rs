//! What maintenance did, or would do.

use std::fmt;

/// Something that maintenance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaintenanceAction {
    /// Small files and files with deleted rows were written anew.
    Rewrite,
    /// The log got a Delta checkpoint, so that readers need not read the commits before it.
    Checkpoint,
    /// Files of the log were deleted that the log's retention does not keep.
    CleanLog,
    /// Files were deleted that no version of the table needs.
    Vacuum,
}

impl fmt::Display for MaintenanceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rewrite => "rewrite",
            Self::Checkpoint => "checkpoint",
            Self::CleanLog => "clean_log",
            Self::Vacuum => "vacuum",
        })
    }
}

/// Files, and what is in them as far as the log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, without the deleted ones; zero for files that are no data files.
    pub rows: u64,
    /// The rows of them that deletion vectors take out.
    pub deleted_rows: u64,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.rows += other.rows;
        self.deleted_rows += other.deleted_rows;
    }
}

/// One step that was done, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintenanceStep {
    /// What.
    pub action: MaintenanceAction,
    /// To which files: those written anew, the commits that a checkpoint stands for, those deleted.
    pub before: Figures,
    /// The new data files; `None` in a dry run, and of steps that make none.
    pub after: Option<Figures>,
    /// The version of the table that the step made, or made a checkpoint of.
    pub version: Option<u64>,
}

/// All that was done to one table, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct MaintenanceReport {
    /// The steps, in their order.
    pub steps: Vec<MaintenanceStep>,
    /// Why no data file is written anew, where that cannot be done for this table.
    pub obstacle: Option<String>,
}

impl MaintenanceReport {
    /// The step of a kind, if there was one.
    pub fn step(&self, action: MaintenanceAction) -> Option<&MaintenanceStep> {
        self.steps.iter().find(|step| step.action == action)
    }
}

/// What takes long while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceEvent {
    /// Files are about to be written anew, in one commit.
    Rewriting(Figures),
    /// Another writer committed first; the files are chosen again.
    Conflict {
        /// How often that happened to these files, from 1.
        attempt: usize,
    },
}
