//! The union of the layers' errors: what a person sees, and what they do next.

mod class;
mod faults;
mod restored;

pub(crate) use faults::Faults;
use restored::message_of;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use datafusion::error::DataFusionError;

use crate::change::Lsn;
use crate::nearest::nearest;
use crate::sink::delta::SinkError;
use crate::source::sqlserver::SourceError;
use crate::sql::{Diagnostic, Span, Statement};

/// Everything that can end a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is invalid; each diagnostic has its place and its remedy.
    #[error("{}", join(.diagnostics, *.more))]
    Invalid {
        /// What is wrong, in the order of the file.
        diagnostics: Vec<Diagnostic>,
        /// How many errors there are besides.
        more: usize,
    },
    /// A failure that concerns a place in a file.
    #[error("{place}")]
    At {
        /// The place, with the failure as its message.
        place: Box<Diagnostic>,
        /// The failure.
        #[source]
        cause: Box<Error>,
    },
    /// Reading from SQL Server failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Writing to or reading from a Delta table failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Planning or executing a statement failed inside DataFusion.
    #[error("{}", message_of(&.0.strip_backtrace()))]
    DataFusion(Box<DataFusionError>),
    /// A connection's URL could not be resolved.
    #[error("connection '{name}' cannot be opened")]
    Connection {
        /// The connection.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The script of an embedded server does not run.
    #[error(transparent)]
    Script(Box<dyn std::error::Error + Send + Sync>),
    /// No connection of that name.
    #[error("there is no connection '{name}'{}", nearest_or_declare(.name, .known))]
    UnknownConnection {
        /// The name as written.
        name: String,
        /// The connections that exist.
        known: Vec<String>,
    },
    /// An environment variable that the file asks for is not set.
    #[error(
        "the environment variable {name} is not set; set it, or give env('{name}', default) a default"
    )]
    MissingVariable {
        /// The variable.
        name: String,
    },
    /// Checks that say that a run would fail.
    #[error("{failing} of the checks {}: a run would not do its work", if *.failing == 1 { "fails" } else { "fail" })]
    Unfit {
        /// How many.
        failing: usize,
        /// The exit code of such a run.
        exit_code: u8,
    },
    /// Targets that do not have what their sources have.
    #[error("{}", if *.flows == 1 {
        "the target of 1 flow does not have what its source has".to_string()
    } else {
        format!("the targets of {} flows do not have what their sources have", .flows)
    })]
    Unlike {
        /// How many.
        flows: usize,
    },
    /// More rows differ than are copied again one by one.
    #[error(
        "flow '{flow}': {keys} keys differ, more than --repair copies again one by one (up to {most}, and 64 MiB of keys): \
         nothing was changed; copy the whole table again with cdcql run FILE --flow {flow} --snapshot"
    )]
    TooManyToRepair {
        /// The flow.
        flow: String,
        /// How many.
        keys: u64,
        /// How many could be.
        most: usize,
    },
    /// A part of a table is to be copied over a target that has no whole copy.
    #[error(
        "flow '{flow}' has no copy of its table yet, which a part of it could go over; run it without --where first"
    )]
    NoWholeCopy {
        /// The flow.
        flow: String,
    },
    /// Rows whose changes lacked columns that the target has got cannot be found.
    #[error(
        "flow '{flow}': by 'cdcql.backfillColumns' = 'false' the rows of {table} are read again that have changed since {} \
         came, and they cannot be told: {reason}; copy the table again with cdcql run FILE --flow {flow} --snapshot, or \
         leave the property out, which copies it by itself",
        columns_or(.columns)
    )]
    ChangedRowsUnknown {
        /// The flow.
        flow: String,
        /// The source's table.
        table: String,
        /// The columns, as far as they are known.
        columns: Vec<String>,
        /// Why not.
        reason: String,
    },
    /// No flow of that name.
    #[error("there is no flow '{name}'{}", nearest_or_all(.name, .known))]
    UnknownFlow {
        /// The name as given.
        name: String,
        /// The flows of the file.
        known: Vec<String>,
    },
    /// A value for a parameter that nothing uses.
    #[error("no statement uses the parameter ':{name}' that --set gives{}", nearest_parameter(.name, .used))]
    UnusedParameter {
        /// The name as given.
        name: String,
        /// The parameters that are used.
        used: Vec<String>,
    },
    /// A connection, schema or table of that name exists already.
    #[error("'{name}' exists already; choose another name, or write IF NOT EXISTS")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A table in a schema that was not created.
    #[error("there is no schema '{name}'; {}", nearest_or_create(.name, .known))]
    UnknownSchema {
        /// The schema.
        name: String,
        /// The schemas that exist.
        known: Vec<String>,
    },
    /// A Delta table that has no place.
    #[error("table '{table}' has no place; add LOCATION '…', or give its schema one")]
    NoLocation {
        /// The table.
        table: String,
    },
    /// Options of a schema that has no place.
    #[error(
        "schema '{schema}' has OPTIONS, but no LOCATION that they could be for; add LOCATION '…', or leave them out"
    )]
    OptionsOfNoStore {
        /// The schema.
        schema: String,
    },
    /// A LOCATION of nothing, which would be the folder of the file itself.
    #[error("the LOCATION of '{name}' is empty; write a path, or the URL of an object store")]
    EmptyLocation {
        /// The table or schema.
        name: String,
    },
    /// A name that no object of the lake can have.
    #[error("'{name}' cannot name a Delta table or schema; write name, or schema.name")]
    NotInLake {
        /// The name as written.
        name: String,
    },
    /// A file could not be read.
    #[error("cannot read {}; {}", path.display(), remedy_of(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Flows were asked for where no file with flows is in scope.
    #[error(
        "no pipeline file is in scope; put one there with \\i FILE, or begin with cdcql --pipeline FILE"
    )]
    NoPipeline,
    /// Output could not be written.
    #[error("cannot write the output")]
    Output {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A declared Delta table that no flow has written yet.
    #[error(
        "the Delta table '{table}' does not exist yet at {location}; run its pipeline first: cdcql run FILE"
    )]
    TableNotCreated {
        /// The table.
        table: String,
        /// Where it will be.
        location: String,
    },
    /// A first copy into a table that holds rows of unknown origin.
    #[error(
        "flow '{flow}': the table at {location} holds rows but no checkpoint of this flow, so cdcql cannot tell \
         whose they are; point LOCATION at an empty place, move the old table away, or run once with --adopt, which makes \
         them what the source has"
    )]
    TargetNotEmpty {
        /// The flow.
        flow: String,
        /// The target's location.
        location: String,
    },
    /// A flow begins at a commit or an instant that its source has not come to.
    #[error(
        "flow '{flow}' begins past the newest commit of its source ({newest}): wait until the source is there, or write an \
         earlier FROM"
    )]
    StartAhead {
        /// The flow.
        flow: String,
        /// The newest commit.
        newest: Lsn,
    },
    /// A flow that looks up the target of one that has failed.
    #[error(
        "flow '{flow}' looks up the target of '{other}', which has failed: nothing was read for it; mend that one, then \
         run again"
    )]
    LookupFailed {
        /// The flow.
        flow: String,
        /// The one that has failed.
        other: String,
    },
    /// A target whose checkpoint was there a moment ago.
    #[error(
        "flow '{flow}': the table at {location} is gone, or has lost its checkpoint, while the flow was followed; bring \
         it back, or begin again for a new first copy"
    )]
    TargetGone {
        /// The flow.
        flow: String,
        /// The target's location.
        location: String,
    },
    /// The source is not the one that the target was copied from.
    #[error(
        "flow '{flow}': the history of database {database} was replaced: the target at {location} was copied up to \
         {lsn}, but {reason} (a restore, or an edited script); changes may be missing, so the table must be copied \
         again: move {location} away and run once more"
    )]
    HistoryReplaced {
        /// The flow.
        flow: String,
        /// The target's location.
        location: String,
        /// The source database, in quotes.
        database: String,
        /// The checkpoint.
        lsn: Lsn,
        /// What differs.
        reason: &'static str,
    },
    /// A table whose columns are others than when the flow was bound.
    #[error(
        "flow '{flow}': the columns of {table} were altered while it was read: nothing was written, run again"
    )]
    Altered {
        /// The flow.
        flow: String,
        /// The source's table.
        table: String,
    },
    /// The capture job has written nothing that a flow could stop at.
    #[error(
        "flow '{flow}': the capture job of database {database} {missing} within {} s; \
         check that SQL Server Agent runs and that the job cdc.<database>_capture is started{hint}",
        waited.as_secs()
    )]
    CaptureNotRunning {
        /// The flow.
        flow: String,
        /// The source database, in quotes.
        database: String,
        /// What the job has not done.
        missing: String,
        /// What else may help.
        hint: &'static str,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A write ended without a commit although one was due.
    #[error(
        "flow '{flow}': the write to {location} ended without a commit; nothing was changed, run again"
    )]
    NothingCommitted {
        /// The flow.
        flow: String,
        /// The target's location.
        location: String,
    },
    /// The tables that a flow's query looks up have two rows for one of its source.
    #[error(
        "the query makes two rows of the source's row with the key ({key}): a table that it joins has more than one for it; nothing was applied, join one row for each key"
    )]
    TwoRows {
        /// The values of the key.
        key: String,
    },
    /// A row is not as its target expects it.
    #[error(
        "the row with the key ({key}) violates '{expectation}', which fails the update (ON VIOLATION FAIL UPDATE); nothing was committed, mend the row at the source, or have the expectation drop the row or count it"
    )]
    Unexpected {
        /// The expectation.
        expectation: String,
        /// Where it stands in the file.
        span: Span,
        /// The values of the key.
        key: String,
    },
    /// A target has two versions of one row that are valid at a time.
    #[error(
        "the target has two versions of the row with the key ({key}) that are valid at once, which no flow has written so; nothing was applied, delete one of them"
    )]
    TwoVersions {
        /// The values of the key.
        key: String,
    },
    /// A target has a version from past the commit from which a copy is to go on.
    #[error(
        "the target's row with the key ({key}) is valid from {version}, which lies past {after}, the source's newest commit when the copy began; nothing was applied: the rows are of another history, choose an empty LOCATION"
    )]
    LaterVersion {
        /// The values of the key.
        key: String,
        /// Its `__START_AT`.
        version: String,
        /// The commit.
        after: String,
    },
    /// Something that `init` has to know, and cannot ask for.
    #[error("{argument} is missing, and there is no terminal to ask on")]
    Unanswered {
        /// The argument that says it.
        argument: &'static str,
    },
    /// A file that would be overwritten.
    #[error("{} exists already, and is not overwritten; name another file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A password on the command line, on its way to a file.
    #[error(
        "the URL has a password or a token, which the file would keep; leave it out, and put the password into the \
         environment variable that --password-env names"
    )]
    SecretGiven,
    /// A password that is not there.
    #[error(
        "the environment variable {name} is not set; set it to the password, or name another one with --password-env"
    )]
    PasswordUnset {
        /// The variable.
        name: String,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// What cannot be.
    #[error("internal error: {0}; please report it")]
    Internal(&'static str),
}

fn join(diagnostics: &[Diagnostic], more: usize) -> String {
    let mut rendered: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    match more {
        0 => {}
        1 => rendered.push("and 1 more error".to_string()),
        more => rendered.push(format!("and {more} more errors")),
    }
    rendered.join("\n\n")
}

fn columns_or(columns: &[String]) -> String {
    match columns {
        [] => "its new columns".to_string(),
        [column] => format!("column '{column}'"),
        columns => format!("columns '{}'", columns.join("', '")),
    }
}

fn among(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(" (there is {})", names.join(", ")),
    }
}

fn nearest_or_all(name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean '{near}'?"),
        None => among(known),
    }
}

fn nearest_parameter(name: &str, used: &[String]) -> String {
    match (nearest(name, used.iter().map(String::as_str)), used) {
        (Some(near), _) => format!("; did you mean ':{near}'?"),
        (None, []) => "; there are no parameters".to_string(),
        (None, used) => format!("; there is :{}", used.join(", :")),
    }
}

fn nearest_or_declare(name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean '{near}'?"),
        None => format!("{}; declare it with CREATE CONNECTION", among(known)),
    }
}

fn nearest_or_create(name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("write CREATE SCHEMA {name} first"),
    }
}

impl Error {
    /// The failure without its place in a file.
    pub fn cause(&self) -> &Self {
        match self {
            Self::At { cause, .. } => cause.cause(),
            cause => cause,
        }
    }

    /// One invalid place.
    pub fn invalid(diagnostic: Diagnostic) -> Self {
        Self::Invalid {
            diagnostics: vec![diagnostic],
            more: 0,
        }
    }

    /// This error at a place of `statement`, unless it has a place already.
    #[must_use]
    pub fn at(self, statement: &Statement, span: Span) -> Self {
        match self {
            Self::Invalid { .. } | Self::At { .. } | Self::Interrupted => self,
            cause => {
                let excludable = statement.table().is_some() && cause.exit_code() == 3;
                let help = excludable.then(|| LEAVE_OUT.to_string());
                Self::At {
                    place: Box::new(statement.diagnostic(span, cause.to_string(), help)),
                    cause: Box::new(cause),
                }
            }
        }
    }
}

/// What to do about one of the tables that a statement is for.
const LEAVE_OUT: &str = "or leave the table out with EXCEPT TABLES (…), and write a statement of its own for it if it needs another";

/// What to do about a file that cannot be read.
fn remedy_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check its path, which starts at the file that names it",
        io::ErrorKind::InvalidData => "save it as UTF-8",
        io::ErrorKind::PermissionDenied => "check its permissions",
        _ => "see the cause",
    }
}
