//! Capture instances.

use super::job::JobSettings;
use crate::simulator::store::Lsn;

/// A column of a capture instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapturedColumn {
    /// Its name when the instance was made.
    pub(crate) name: String,
    /// Its `column_id` in the source table.
    pub(crate) column_id: i32,
    /// Its type's name, as `captured_columns.column_type`.
    pub(crate) type_name: &'static str,
    /// Whether it is computed, so that changes have NULL.
    pub(crate) computed: bool,
}

/// A table's capture, with the shape that it had when it was enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// `capture_instance`.
    pub(crate) name: String,
    /// The source table.
    pub(crate) source: i32,
    /// The change table.
    pub(crate) change_table: i32,
    /// The commit that enabled it; `None` until then.
    pub(crate) enabled: Option<Lsn>,
    /// The low end of its validity: the commit that enabled it, or a later cleanup's mark. `None` until it
    /// is known.
    pub(crate) start_lsn: Option<Lsn>,
    /// Whether the source table is gone, and a scan of the log will end the instance.
    pub(crate) dropped: bool,
    /// When it was enabled.
    pub(crate) created: i64,
    /// `supports_net_changes`.
    pub(crate) net_changes: bool,
    /// `partition_switch`: whether SWITCH is allowed.
    pub(crate) partition_switch: bool,
    /// The gating role.
    pub(crate) role: Option<String>,
    /// The unique index that identifies rows.
    pub(crate) index_name: Option<String>,
    /// The columns, in the order of their ordinals.
    pub(crate) columns: Vec<CapturedColumn>,
    /// The index's columns, as positions in `columns`.
    pub(crate) index_columns: Vec<usize>,
}

impl Instance {
    /// Whether a commit lies within its validity, as far as its beginning goes.
    pub(crate) fn has_begun(&self, commit: Lsn) -> bool {
        self.enabled.is_some_and(|enabled| enabled <= commit)
    }
}

/// A database's change data capture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Capture {
    /// The capture instances, oldest first.
    pub(crate) instances: Vec<Instance>,
    /// The settings of its jobs.
    pub(crate) jobs: JobSettings,
}

impl Capture {
    /// Whether changes of a table are captured.
    pub(crate) fn captures(&self, table: i32) -> bool {
        self.instances
            .iter()
            .any(|instance| instance.source == table && !instance.dropped)
    }

    /// The instance of a name, without case.
    pub(crate) fn instance(&self, name: &str) -> Option<&Instance> {
        let name = name.to_lowercase();
        self.instances
            .iter()
            .find(|instance| instance.name.to_lowercase() == name)
    }
}
