//! What was found when a run was prepared for: checks, their states, their remedies.

use std::fmt;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// The server lets the login into the database.
    Connection,
    /// The database is captured.
    Capture,
    /// The login may read the tables that describe capture.
    Metadata,
    /// The login may see scans of the log.
    DatabaseState,
    /// Something reads the log: a job, and it does.
    CaptureJob,
    /// SQL Server Agent runs the job.
    Agent,
    /// Changes are kept longer than readers are behind.
    Retention,
    /// The log can be truncated.
    Log,
    /// SNAPSHOT isolation is allowed.
    Snapshot,
    /// The table is there, and the login may read it.
    Table,
    /// The table is captured.
    Instance,
    /// The login may read the table's changes.
    ChangeTable,
    /// The login is in the role that the instance names.
    GatingRole,
    /// The table has a key that tells its rows apart.
    Key,
    /// Its columns have types that can be read.
    Columns,
    /// Columns that changes never hold.
    Computed,
    /// Text whose collation is not the database's.
    Collation,
    /// Columns that are shown as masks.
    Masking,
    /// Policies that hide rows.
    RowFilter,
    /// Partitions that can be switched.
    PartitionSwitch,
    /// What kind of table it is.
    Storage,
    /// Large values that capture lets the application write.
    LargeValues,
    /// The target's place can be written.
    Location,
    /// The target's table features can be written.
    Features,
    /// The source still has the changes that the target lacks.
    History,
    /// The flow's SQL fits its source and its target.
    Flow,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "connection",
            Self::Capture => "change data capture",
            Self::Metadata => "capture metadata",
            Self::DatabaseState => "database state",
            Self::CaptureJob => "capture job",
            Self::Agent => "agent",
            Self::Retention => "retention",
            Self::Log => "log reuse",
            Self::Snapshot => "snapshot isolation",
            Self::Table => "table",
            Self::Instance => "capture instance",
            Self::ChangeTable => "change table",
            Self::GatingRole => "gating role",
            Self::Key => "key",
            Self::Columns => "column types",
            Self::Computed => "computed columns",
            Self::Collation => "collations",
            Self::Masking => "masking",
            Self::RowFilter => "row-level security",
            Self::PartitionSwitch => "partition switch",
            Self::Storage => "kind of table",
            Self::LargeValues => "max text repl size",
            Self::Location => "location",
            Self::Features => "table features",
            Self::History => "history",
            Self::Flow => "flow",
        })
    }
}

/// How a check ended, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// A run would fail, or get nowhere.
    Failing,
    /// A run would work, and something has to be known.
    Warning,
    /// The login may not know.
    Unknown,
    /// As it should be.
    Ok,
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failing => "failing",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Ok => "ok",
        })
    }
}

/// One check of a database, of one of its tables, or of that table's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The source table as `schema.table`; `None` for what concerns the database.
    pub table: Option<String>,
    /// What was looked at.
    pub check: Check,
    /// How it ended.
    pub state: CheckState,
    /// What was seen, for people.
    pub seen: String,
    /// The T-SQL that mends it at the source, a statement a line, where T-SQL can; the narrowest way is the one that is no
    /// comment.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy that concerns the database.
    pub fn new(check: Check, state: CheckState, seen: impl Into<String>) -> Self {
        Self {
            table: None,
            check,
            state,
            seen: seen.into(),
            remedy: None,
        }
    }

    /// The finding with the T-SQL that mends it; none if that is empty.
    #[must_use]
    pub fn mended_by(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        self
    }

    /// The finding as one of a table.
    #[must_use]
    pub fn of(mut self, table: &impl fmt::Display) -> Self {
        self.table = Some(table.to_string());
        self
    }
}
