//! What can go wrong between this process and a SQL Server.

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::change::Lsn;

use super::columns::Columns;
use super::connect_error::ConnectError;
use super::ident::{TableName, did_you_mean};
use super::key::KeyProblem;
use super::transient;

/// What the person in front of the screen has to do next about a [`SourceError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An option of the connection is wrong: correct it in the file.
    Configuration,
    /// The server cannot be reached, or the connection broke: it may pass by itself.
    Connection,
    /// The server refused the login.
    Login,
    /// The login lacks a permission.
    Permission,
    /// A name in the file stands for nothing, or for several things.
    InvalidName,
    /// The table, or its whole database, is not captured.
    NotCaptured,
    /// Changes that were asked for are no longer on the server.
    ChangesLost,
    /// The server tells another history than the one that was copied.
    HistoryReplaced,
    /// A column or table is of a kind that cannot be read.
    Unsupported,
    /// The server or this process failed while reading.
    Query,
}

/// A failure of the SQL Server source.
///
/// `Display` names the object, the cause and what to do next; it never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The connection cannot be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server was there, and does not take another connection now.
    #[error("{0}, although it did a moment ago")]
    Lost(#[source] ConnectError),
    /// The login lacks a permission.
    #[error(
        "permission denied while {action} (error {number}: {message}); grant the login SELECT on the table and on schema cdc"
    )]
    PermissionDenied {
        /// What was being done.
        action: String,
        /// The server's error number, such as 229.
        number: u32,
        /// The server's text.
        message: String,
    },
    /// The table is captured, but the login may not see its change table.
    #[error(
        "the changes of {table} are hidden from this login; grant it SELECT on the change table, or SELECT on all captured columns of the table and membership of the gating role if there is one"
    )]
    ChangesHidden {
        /// The captured table.
        table: TableName,
    },
    /// Change data capture is off for the whole database.
    #[error(
        "change data capture is not enabled on database {database}; run EXEC sys.sp_cdc_enable_db in it as a member of sysadmin, then sys.sp_cdc_enable_table for {table}"
    )]
    CdcDisabled {
        /// The database, in quotes.
        database: String,
        /// The table that was asked for.
        table: TableName,
    },
    /// There is no such table, or the login may not see it.
    #[error("database {database} has no table {table} that this login can see{}", did_you_mean(.suggestion))]
    NoSuchTable {
        /// The database, in quotes.
        database: String,
        /// The table that was asked for.
        table: TableName,
        /// The nearest table that exists.
        suggestion: Option<String>,
    },
    /// There is no such schema, or the login may see none of its tables.
    #[error("database {database} has no schema {schema} with tables that this login can see{}", did_you_mean(.suggestion))]
    NoSuchSchema {
        /// The database, in quotes.
        database: String,
        /// The schema that was asked for.
        schema: String,
        /// The nearest schema that exists.
        suggestion: Option<String>,
    },
    /// Nothing captures the changes of a schema's tables.
    #[error(
        "no table of schema {schema} in database {database} is captured; run EXEC sys.sp_cdc_enable_db once, then EXEC sys.sp_cdc_enable_table @source_schema = N'{}', @source_name = N'…', @role_name = NULL for each table", schema.replace('\'', "''")
    )]
    NothingCaptured {
        /// The database, in quotes.
        database: String,
        /// The schema.
        schema: String,
    },
    /// Several tables differ from the name only in case.
    #[error("{name} is ambiguous: {candidates}; write one of them exactly as the server spells it")]
    Ambiguous {
        /// The name as asked for.
        name: TableName,
        /// What it may mean.
        candidates: String,
    },
    /// The table exists and nothing captures its changes.
    #[error(
        "{table} in database {database} is not captured; run EXEC sys.sp_cdc_enable_table @source_schema = N'{}', @source_name = N'{}', @role_name = NULL", table.schema.replace('\'', "''"), table.name.replace('\'', "''")
    )]
    NotCaptured {
        /// The database, in quotes.
        database: String,
        /// The table.
        table: TableName,
    },
    /// The capture job has not yet reached the instance's start.
    #[error(
        "capture of {table} (instance '{instance}') has not started yet; wait for the capture job, or check that SQL Server Agent is running"
    )]
    CaptureNotStarted {
        /// The table.
        table: TableName,
        /// The capture instance.
        instance: String,
    },
    /// The capture instance knows no unique key.
    #[error(
        "{table} has no unique key that its capture instance knows, so its changes cannot be netted; give it a primary key, or enable capture with @index_name of a unique index"
    )]
    NoUniqueKey {
        /// The table.
        table: TableName,
    },
    /// A column keeps the unique key from telling rows apart in a target.
    #[error(
        "key column {column} of {table} {problem}; enable capture with @index_name of another unique index"
    )]
    UnusableKey {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// Columns whose types cannot be read.
    #[error("{}: {}", columns.are(table, "which cannot be read", "cannot be read"), columns.remedy())]
    UnsupportedColumns {
        /// The table.
        table: TableName,
        /// The columns with their types.
        columns: Columns,
    },
    /// Large values that an update lacks, for rows that the target does not have.
    #[error(
        "an update lacks large values that it did not change, and the target does not have the row"
    )]
    MissingValues,
    /// Such values of a table whose rows cannot be looked up.
    #[error(
        "an update of {table} lacks large values that it did not change, and they cannot be read back: {why}; leave the large columns out with `* EXCEPT (…)`, or copy the table again to an empty LOCATION"
    )]
    NoReadBack {
        /// The table.
        table: TableName,
        /// Why not.
        why: String,
    },
    /// Masked columns in a stream of net changes.
    #[error(
        "{}, so a first copy would hold masks where changes bring values: GRANT UNMASK to the login, or {}",
        columns.are(table, "whose values are masked for this login", "are masked for this login"),
        columns.remedy()
    )]
    MaskedColumns {
        /// The table.
        table: TableName,
        /// The columns with their types.
        columns: Columns,
    },
    /// A column that the live table has no more, in a stream of net changes.
    #[error(
        "column {column} of {table} was dropped from the table, and its changes hold only NULL since: leave it out with `* EXCEPT ({column})`, or copy the table again to an empty LOCATION"
    )]
    DroppedColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// A column that has the name of one of the change feed's own.
    #[error(
        "column {column} of {table} has a name that its change feed uses itself; capture the table without it (@captured_column_list)"
    )]
    ReservedColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// The server has deleted changes that were asked for.
    #[error(
        "changes of {table} after {after} are no longer on the server: capture instance '{instance}' now begins at {min}; copy the table again, and raise the cleanup job's retention if this recurs"
    )]
    Purged {
        /// The table.
        table: TableName,
        /// The capture instance.
        instance: String,
        /// The exclusive start of the window.
        after: Lsn,
        /// The first LSN the instance still has.
        min: Lsn,
    },
    /// The function that answers with changes was asked for some that the instance does not have, though it had them a
    /// moment before.
    #[error(
        "the server would not give the changes of {table}: capture instance '{instance}' does not have all of them any more, or has been replaced; run again to see what it has"
    )]
    OutOfRange {
        /// The table.
        table: TableName,
        /// The capture instance.
        instance: String,
    },
    /// The capture instance has gone since it was looked up.
    #[error(
        "capture instance '{instance}' of {table} was dropped or replaced; if it was enabled anew, copy the table again"
    )]
    InstanceDropped {
        /// The table.
        table: TableName,
        /// The capture instance.
        instance: String,
    },
    /// A change's commit has no row in the time mapping.
    #[error(
        "commit {lsn} of {table} has no row in cdc.lsn_time_mapping: it was cleaned up while being read; copy the table again"
    )]
    CommitUnknown {
        /// The table.
        table: TableName,
        /// The commit.
        lsn: Lsn,
    },
    /// This replica has not seen the window's end yet.
    #[error(
        "the server that answered has captured up to {visible}, not yet {upto}: a secondary that is behind, or a restored database; try again, or read from the primary"
    )]
    Behind {
        /// The end of the window.
        upto: Lsn,
        /// The newest commit that this connection can see.
        visible: Lsn,
    },
    /// A row of a change table with an operation that is none of 1 to 4.
    #[error("a change of {table} has operation {operation}, which is not known; report this")]
    UnknownOperation {
        /// The table.
        table: TableName,
        /// `__$operation`.
        operation: i32,
    },
    /// A value of another type than the catalogue says.
    #[error(
        "column {column} came as {found} where {expected} was expected; its type was probably changed while it was being read: run again"
    )]
    UnexpectedValue {
        /// The column.
        column: String,
        /// The type that the catalogue says.
        expected: String,
        /// What the server sent.
        found: String,
    },
    /// A value that no batch can hold.
    #[error(
        "a value of column {column} has {bytes} bytes, more than can be read (1 GiB); leave the column out"
    )]
    ValueTooLarge {
        /// The column.
        column: String,
        /// The value's size.
        bytes: usize,
    },
    /// The server answered with an error.
    #[error("the server failed while {action}: error {number}, state {state}: {message}{}", remedy(*.number))]
    Server {
        /// What was being done.
        action: String,
        /// The number in `sys.messages`.
        number: u32,
        /// The error's state.
        state: u8,
        /// The server's text.
        message: String,
    },
    /// The server stopped answering.
    #[error(
        "the server sent nothing for {seconds} s while {action}; check for blocking on the server, or raise command_timeout"
    )]
    Timeout {
        /// What was being done.
        action: String,
        /// The limit that passed.
        seconds: u64,
    },
    /// The connection broke, or the server's answer cannot be read.
    #[error("the connection to the server broke while {action}; run again")]
    Broken {
        /// What was being done.
        action: String,
        /// What the driver said.
        #[source]
        source: Box<tiberius::error::Error>,
    },
    /// The driver cannot decode a value; it does not say of which column.
    #[error(
        "the server sent a value while {action} that cannot be decoded; leave out the column, or read it through a view that casts it to nvarchar"
    )]
    Undecodable {
        /// What was being done.
        action: String,
        /// What the driver said.
        #[source]
        source: Box<tiberius::error::Error>,
    },
    /// The server's clock does not show the time of the zone that the connection names.
    #[error(
        "time_zone {zone} is at {offset} from UTC now, and the server's clock is at {server}: name the zone whose time the server's clock shows, or leave time_zone out"
    )]
    WrongZone {
        /// The option's value, in quotes.
        zone: String,
        /// The zone's present offset, such as `+02:00`.
        offset: String,
        /// The server's.
        server: String,
    },
    /// An answer has fewer rows or other values than every server gives.
    #[error("the server's answer while {action} is not understood: {reason}; report this")]
    UnexpectedAnswer {
        /// What was being done.
        action: String,
        /// What is wrong with it.
        reason: String,
    },
    /// All connections are in use and none came free.
    #[error(
        "all {limit} connections to the server stayed busy for {seconds} s; read fewer of its tables in one query"
    )]
    PoolExhausted {
        /// How many there are.
        limit: usize,
        /// The limit that passed.
        seconds: u64,
    },
    /// The rows cannot be put into a batch.
    #[error("rows from the server cannot be put into a batch; report this")]
    Batch {
        /// What failed.
        #[source]
        source: ArrowError,
    },
    /// The query engine refused a plan over the changes.
    #[error("the changes of {table} cannot be planned")]
    Plan {
        /// The table.
        table: TableName,
        /// What failed.
        #[source]
        source: Box<DataFusionError>,
    },
}

/// What to do about the server's error `number`, where that is known.
fn remedy(number: u32) -> &'static str {
    match number {
        1205 | 1222 => "; look for what holds the lock, and run again",
        number if transient::passes(number) => "; run again",
        _ => "",
    }
}

impl SourceError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) | Self::Lost(error) => error.kind(),
            Self::WrongZone { .. } => ErrorKind::Configuration,
            Self::Behind { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::OutOfRange { .. } => ErrorKind::Connection,
            Self::PermissionDenied { .. } | Self::ChangesHidden { .. } => ErrorKind::Permission,
            Self::NoSuchTable { .. } | Self::NoSuchSchema { .. } | Self::Ambiguous { .. } => {
                ErrorKind::InvalidName
            }
            Self::CdcDisabled { .. } | Self::NotCaptured { .. } | Self::NothingCaptured { .. } => {
                ErrorKind::NotCaptured
            }
            Self::Purged { .. } | Self::InstanceDropped { .. } | Self::CommitUnknown { .. } => {
                ErrorKind::ChangesLost
            }
            Self::NoUniqueKey { .. }
            | Self::UnsupportedColumns { .. }
            | Self::MaskedColumns { .. }
            | Self::UnusableKey { .. }
            | Self::ValueTooLarge { .. }
            | Self::Undecodable { .. }
            | Self::ReservedColumn { .. }
            | Self::DroppedColumn { .. }
            | Self::NoReadBack { .. } => ErrorKind::Unsupported,
            Self::Server { .. }
            | Self::CaptureNotStarted { .. }
            | Self::UnknownOperation { .. }
            | Self::UnexpectedValue { .. }
            | Self::UnexpectedAnswer { .. }
            | Self::MissingValues
            | Self::PoolExhausted { .. }
            | Self::Batch { .. }
            | Self::Plan { .. } => ErrorKind::Query,
        }
    }

    /// True when the same read, made anew a little later, may succeed: the server was busy or silent, restarted or
    /// failed over. What was read before such an error is void.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lost(_)
            | Self::Broken { .. }
            | Self::Behind { .. }
            | Self::Timeout { .. }
            | Self::PoolExhausted { .. }
            | Self::OutOfRange { .. } => true,
            _ => self.number().is_some_and(transient::passes),
        }
    }

    /// The server's error number, where the server sent one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Connect(error) | Self::Lost(error) => error.number(),
            Self::PermissionDenied { number, .. } | Self::Server { number, .. } => Some(*number),
            _ => None,
        }
    }
}

impl From<SourceError> for DataFusionError {
    fn from(error: SourceError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
