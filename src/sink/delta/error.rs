//! What can go wrong with a Delta table, and what the operator does next.

use std::error::Error;
use std::time::Duration;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use deltalake::kernel::transaction::TransactionError;
use deltalake::{DeltaTableError, ObjectStoreError};

use crate::change::{Checkpoint, FlowKey};

/// A failure of a Delta table. `Display` says object, cause and next step; the technical cause is the
/// source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The location is no path or URL that this build can open.
    #[error(
        "location '{location}' cannot be used: {reason}; write a path or the URL of a supported object store"
    )]
    InvalidLocation {
        /// The location as written.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The storage did not do what was asked.
    #[error("cannot {action} the Delta table at '{location}': {hint}")]
    Storage {
        /// The table's location.
        location: String,
        /// The verb: read, write, ...
        action: &'static str,
        /// What to check.
        hint: &'static str,
        /// The storage's own error.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// Something lies at the location, but it is no Delta table that can be read.
    #[error(
        "'{location}' is not a Delta table: {reason}; choose an empty location or repair its _delta_log"
    )]
    NotADeltaTable {
        /// The location.
        location: String,
        /// What was found.
        reason: String,
        /// The reader's own error.
        #[source]
        source: Option<Box<DeltaTableError>>,
    },
    /// The table does not exist and nothing says what columns it would have.
    #[error("no Delta table at '{location}': write to it first, or create it with a column list")]
    NoSuchTable {
        /// The location.
        location: String,
    },
    /// The rows of the flow's last commit were replaced by somebody else's.
    #[error(
        "the Delta table at '{location}' was replaced by {operation} in version {version}, after this flow's last commit: its rows are not those of the checkpoint any more; move the table away and run once more, so that the source is copied again"
    )]
    TargetReplaced {
        /// The table's location.
        location: String,
        /// The version that did it.
        version: u64,
        /// Its operation, as the log names it.
        operation: String,
    },
    /// A table is there already.
    #[error(
        "a Delta table already exists at '{location}': use CREATE TABLE IF NOT EXISTS, or another location"
    )]
    TableExists {
        /// The location.
        location: String,
    },
    /// The version is not in the log (any more).
    #[error(
        "the Delta table at '{location}' has no {wanted} that can be read; its newest version is {newest}"
    )]
    NoSuchVersion {
        /// The table's location.
        location: String,
        /// The version or time that was asked for.
        wanted: String,
        /// The newest version.
        newest: u64,
    },
    /// The table's changes were not recorded.
    #[error("the Delta table at '{location}' has no changes recorded for version {version}{}", recorded_since(*since))]
    NoChangeFeed {
        /// The table's location.
        location: String,
        /// The version that was asked for.
        version: u64,
        /// Since when they are.
        since: Option<u64>,
    },
    /// Another writer committed first; nothing of this write was applied.
    #[error(
        "the Delta table at '{location}' was changed by another writer during this write ({change}): nothing was applied, plan again from its new version"
    )]
    Conflict {
        /// The table's location.
        location: String,
        /// What is known of the change.
        change: String,
        /// The commit's own error, where the commit was tried.
        #[source]
        source: Option<Box<DeltaTableError>>,
    },
    /// The log does not hold the checkpoint that the window starts at.
    #[error(
        "the checkpoint of flow '{}' in the Delta table at '{location}' is {}, but this window starts at {}: nothing was applied, begin the cycle again from the log",
        key.flow,
        position(found),
        position(expected)
    )]
    CheckpointMoved {
        /// The table's location.
        location: String,
        /// The flow.
        key: Box<FlowKey>,
        /// Where the window starts.
        expected: Option<Box<Checkpoint>>,
        /// What the log says.
        found: Option<Box<Checkpoint>>,
    },
    /// Some, but not all, of a checkpoint's entries are in the log, or they are no LSN.
    #[error(
        "the checkpoint of flow '{}' in the Delta table at '{location}' is damaged ({reason}): copy the table again",
        key.flow
    )]
    DamagedCheckpoint {
        /// The table's location.
        location: String,
        /// The flow.
        key: Box<FlowKey>,
        /// What is wrong.
        reason: String,
    },
    /// More than one source row would change one target row.
    #[error("two source rows match one row of the Delta table at '{location}'{}: nothing was applied, make the source's rows unique for the ON condition", key.as_ref().map(|key| format!(" ({key})")).unwrap_or_default())]
    DuplicateMatch {
        /// The table's location.
        location: String,
        /// The target row's key, such as `customer_id = 5`, where it could be read.
        key: Option<String>,
    },
    /// A column name that Delta cannot store.
    #[error(
        "column '{column}' cannot be stored in the Delta table at '{location}': {reason}; rename it with AS"
    )]
    InvalidColumnName {
        /// The table's location.
        location: String,
        /// The column.
        column: String,
        /// What is wrong with the name.
        reason: String,
    },
    /// A column type that Delta cannot store.
    #[error(
        "column '{column}' of type {data_type} cannot be stored in the Delta table at '{location}': {hint}"
    )]
    InvalidColumnType {
        /// The table's location.
        location: String,
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
        /// The cast to write.
        hint: &'static str,
    },
    /// A partition column or table property that the new table cannot have.
    #[error("{object} cannot be used for the Delta table at '{location}': {reason}")]
    InvalidTableOption {
        /// The table's location.
        location: String,
        /// The option, as in `partition column 'a'`.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The table's protocol, or the statement, needs something that cannot be done.
    #[error("{what} is not supported for the Delta table at '{location}': {hint}")]
    Unsupported {
        /// The table's location.
        location: String,
        /// What was asked for.
        what: String,
        /// What to write or change instead.
        hint: String,
        /// The cause, where another layer told.
        #[source]
        source: Option<Box<DeltaTableError>>,
    },
    /// A vacuum would delete files that the table promises to keep.
    #[error(
        "the Delta table at '{location}' keeps deleted files for {} hours (delta.deletedFileRetentionDuration), and a vacuum that retains {} hours would delete what readers and writers at work may need: retain at least as long, or force it",
        hours(table),
        hours(asked)
    )]
    RetentionTooShort {
        /// The table's location.
        location: String,
        /// What was asked for.
        asked: Duration,
        /// The table's own retention.
        table: Duration,
    },
    /// A row breaks a constraint of the table, or a value does not fit its column.
    #[error(
        "a row cannot be stored in the Delta table at '{location}': nothing was applied, correct the value or the statement"
    )]
    InvalidRow {
        /// The table's location.
        location: String,
        /// The violation.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// Anything else that the Delta library reported.
    #[error("cannot {action} the Delta table at '{location}': nothing was applied")]
    Failed {
        /// The table's location.
        location: String,
        /// The verb: read, write, ...
        action: &'static str,
        /// The library's own error.
        #[source]
        source: Box<DeltaTableError>,
    },
}

/// What the operator, or the loop, does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SinkErrorKind {
    /// Mend the storage: location, permission, bucket, network.
    Storage,
    /// Plan again from the new version; safe to do at once.
    Conflict,
    /// Read the checkpoint again and begin the cycle anew.
    CheckpointMoved,
    /// Copy the table again.
    DamagedCheckpoint,
    /// Make the source's rows unique.
    DuplicateMatch,
    /// Change the statement: names, types, options.
    InvalidSchema,
    /// Choose another location.
    NotADeltaTable,
    /// Nothing is at the location or version.
    NotFound,
    /// The table's protocol or the statement asks for what cannot be done.
    Unsupported,
    /// Ask for a longer retention.
    Retention,
    /// Correct the data.
    InvalidRow,
    /// Report it.
    Other,
}

impl SinkError {
    /// The class of the failure.
    pub fn kind(&self) -> SinkErrorKind {
        match self {
            Self::InvalidLocation { .. } | Self::Storage { .. } => SinkErrorKind::Storage,
            Self::NotADeltaTable { .. } | Self::TableExists { .. } => SinkErrorKind::NotADeltaTable,
            Self::NoSuchTable { .. } | Self::NoSuchVersion { .. } | Self::NoChangeFeed { .. } => {
                SinkErrorKind::NotFound
            }
            Self::Conflict { .. } => SinkErrorKind::Conflict,
            Self::CheckpointMoved { .. } => SinkErrorKind::CheckpointMoved,
            Self::DamagedCheckpoint { .. } | Self::TargetReplaced { .. } => {
                SinkErrorKind::DamagedCheckpoint
            }
            Self::DuplicateMatch { .. } => SinkErrorKind::DuplicateMatch,
            Self::InvalidColumnName { .. }
            | Self::InvalidColumnType { .. }
            | Self::InvalidTableOption { .. } => SinkErrorKind::InvalidSchema,
            Self::Unsupported { .. } => SinkErrorKind::Unsupported,
            Self::RetentionTooShort { .. } => SinkErrorKind::Retention,
            Self::InvalidRow { .. } => SinkErrorKind::InvalidRow,
            Self::Failed { .. } => SinkErrorKind::Other,
        }
    }

    /// True when the same work, planned anew from the table's current version, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            SinkErrorKind::Conflict | SinkErrorKind::CheckpointMoved
        )
    }

    /// The failure of `action` at `location`, classified.
    pub(super) fn from_delta(location: &str, action: &'static str, error: DeltaTableError) -> Self {
        let location = location.to_string();
        let source = Box::new(error);
        match classify(&source) {
            Class::Conflict => Self::Conflict {
                location,
                change: "its log moved on".to_string(),
                source: Some(source),
            },
            Class::Unsupported => Self::Unsupported {
                location,
                what: format!("to {action} it with the features its protocol asks for"),
                hint: "drop the features named in the cause, or write to a new table".to_string(),
                source: Some(source),
            },
            Class::NotATable => Self::NotADeltaTable {
                location,
                reason: "its log cannot be read".to_string(),
                source: Some(source),
            },
            Class::Storage(hint) => Self::Storage {
                location,
                action,
                hint,
                source,
            },
            Class::Row => Self::InvalidRow { location, source },
            Class::Other => Self::Failed {
                location,
                action,
                source,
            },
        }
    }
}

impl From<SinkError> for DataFusionError {
    fn from(error: SinkError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

fn position(checkpoint: &Option<Box<Checkpoint>>) -> String {
    checkpoint
        .as_ref()
        .map_or_else(|| "absent".to_string(), |at| at.lsn.to_string())
}

/// The hours of a retention, begun ones among them.
fn hours(retention: &Duration) -> u64 {
    retention.as_secs().div_ceil(60 * 60)
}

enum Class {
    Conflict,
    Unsupported,
    NotATable,
    Storage(&'static str),
    Row,
    Other,
}

const CHECK_PATH: &str =
    "check that the path exists or can be created, and that you may write there";
const CHECK_STORE: &str = "check the bucket or container, and the storage options";
const CHECK_PERMISSION: &str =
    "the credentials do not allow it, check them and the storage options";

fn classify(error: &DeltaTableError) -> Class {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => Class::Conflict,
        DeltaTableError::Transaction { source } => match source {
            TransactionError::VersionAlreadyExists(_)
            | TransactionError::CommitConflict(_)
            | TransactionError::MaxCommitAttempts(_) => Class::Conflict,
            TransactionError::DeltaTableAppendOnly
            | TransactionError::UnsupportedTableFeatures(_)
            | TransactionError::TableFeaturesRequired(_) => Class::Unsupported,
            _ => classify_chain(error),
        },
        DeltaTableError::UnsupportedColumnMapping { .. }
        | DeltaTableError::MissingFeature { .. } => Class::Unsupported,
        DeltaTableError::NotATable(_)
        | DeltaTableError::InvalidJsonLog { .. }
        | DeltaTableError::MetadataError(_) => Class::NotATable,
        DeltaTableError::InvalidData { .. }
        | DeltaTableError::Arrow { .. }
        | DeltaTableError::SchemaMismatch { .. } => Class::Row,
        _ => classify_chain(error),
    }
}

/// Looks for a storage's error among the causes.
fn classify_chain(error: &DeltaTableError) -> Class {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ObjectStoreError>() {
            return Class::Storage(storage_hint(error));
        }
        if error.is::<std::io::Error>() {
            return Class::Storage(CHECK_PATH);
        }
        cause = error.source();
    }
    classify_text(error)
}

/// Causes that reach us as text only: the kernel prints the storage's error instead of keeping it, and
/// deltalake does so with DataFusion's.
fn classify_text(error: &DeltaTableError) -> Class {
    match error {
        DeltaTableError::KernelError(kernel) => {
            let text = kernel.to_string();
            if text.starts_with("Error interacting with object store") {
                Class::Storage(CHECK_STORE)
            } else if text.starts_with("Unsupported") {
                Class::Unsupported
            } else {
                Class::NotATable
            }
        }
        DeltaTableError::Generic(text)
            if text.starts_with("Arrow error") || text.contains("Invalid data found") =>
        {
            Class::Row
        }
        _ => Class::Other,
    }
}

fn storage_hint(error: &ObjectStoreError) -> &'static str {
    match error {
        ObjectStoreError::PermissionDenied { .. } | ObjectStoreError::Unauthenticated { .. } => {
            CHECK_PERMISSION
        }
        ObjectStoreError::Generic { store, .. } if *store == "LocalFileSystem" => CHECK_PATH,
        _ => CHECK_STORE,
    }
}

fn recorded_since(since: Option<u64>) -> String {
    match since {
        Some(since) => format!(": they are since version {since}"),
        None => ": its property 'delta.enableChangeDataFeed' is not 'true'; a new table gets it from TBLPROPERTIES"
            .to_string(),
    }
}
