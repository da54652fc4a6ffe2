//! What becomes of a failure: the exit code, and whether to try again.

use std::io;

use datafusion::error::DataFusionError;

use super::Error;
use super::restored::is_users;
use crate::sink::delta::{SinkError, SinkErrorKind};
use crate::source::sqlserver::{ErrorKind as SourceErrorKind, SourceError};

impl Error {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid { .. }
            | Self::MissingVariable { .. }
            | Self::UnknownConnection { .. }
            | Self::NameTaken { .. }
            | Self::UnknownSchema { .. }
            | Self::NoLocation { .. }
            | Self::OptionsOfNoStore { .. }
            | Self::EmptyLocation { .. }
            | Self::NotInLake { .. } => 3,
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => 3,
            Self::At { cause, .. } => cause.exit_code(),
            Self::Source(error) => exit_code_of_source(error.kind()),
            Self::Sink(error) => exit_code_of_sink(error.kind()),
            Self::HistoryReplaced { .. } | Self::ChangedRowsUnknown { .. } => 5,
            Self::Unexpected { .. } => 4,
            Self::UnknownFlow { .. }
            | Self::UnusedParameter { .. }
            | Self::NoPipeline
            | Self::Unanswered { .. }
            | Self::Exists { .. }
            | Self::SecretGiven
            | Self::PasswordUnset { .. } => 2,
            Self::Unfit { exit_code, .. } => *exit_code,
            Self::Interrupted => 130,
            Self::DataFusion(error) => match (self.source_error(), self.sink_error()) {
                (Some(error), _) => exit_code_of_source(error.kind()),
                (_, Some(error)) => exit_code_of_sink(error.kind()),
                _ if is_users(error) => 3,
                _ => 1,
            },
            Self::Connection { .. }
            | Self::Script(_)
            | Self::File { .. }
            | Self::Output { .. }
            | Self::NotWritten { .. }
            | Self::TableNotCreated { .. }
            | Self::TargetNotEmpty { .. }
            | Self::StartAhead { .. }
            | Self::NoWholeCopy { .. }
            | Self::TargetGone { .. }
            | Self::LookupFailed { .. }
            | Self::Altered { .. }
            | Self::CaptureNotRunning { .. }
            | Self::NothingCommitted { .. }
            | Self::TwoRows { .. }
            | Self::TwoVersions { .. }
            | Self::LaterVersion { .. }
            | Self::Unlike { .. }
            | Self::TooManyToRepair { .. }
            | Self::Internal(_) => 1,
        }
    }

    /// True when another writer committed first: read the checkpoint again, then plan again.
    pub fn is_conflict(&self) -> bool {
        match self.cause() {
            Self::Sink(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// True when the same work, begun anew a little later, may succeed.
    pub fn is_transient(&self) -> bool {
        let error = self.source_error();
        matches!(self.cause(), Self::Altered { .. }) || error.is_some_and(SourceError::is_transient)
    }

    /// True when what is executed did not fit in the memory that it may have.
    pub fn is_out_of_memory(&self) -> bool {
        match self.cause() {
            Self::DataFusion(error) => {
                matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
            }
            _ => false,
        }
    }

    /// True when changes that the flow needs are lost, or the history that it left was replaced.
    pub fn is_loss(&self) -> bool {
        let lost = |error: &SourceError| {
            let kind = error.kind();
            matches!(
                kind,
                SourceErrorKind::ChangesLost | SourceErrorKind::HistoryReplaced
            )
        };
        match self.cause() {
            Self::HistoryReplaced { .. } | Self::Sink(SinkError::TargetReplaced { .. }) => true,
            cause => cause.source_error().is_some_and(lost),
        }
    }

    /// True when a target's store has failed: location, permission, network. Each request was tried again already.
    pub fn is_of_storage(&self) -> bool {
        let error = self.sink_error();
        error.is_some_and(|error| error.kind() == SinkErrorKind::Storage)
    }

    /// The error of the source that it is, or is about.
    pub(crate) fn source_error(&self) -> Option<&SourceError> {
        match self.cause() {
            Self::Source(error) => Some(error),
            cause => cause.external(),
        }
    }

    fn sink_error(&self) -> Option<&SinkError> {
        match self.cause() {
            Self::Sink(error) => Some(error),
            cause => cause.external(),
        }
    }

    /// An error that several readers share cannot be taken out of DataFusion's again: it is looked at where it is.
    fn external<T: std::error::Error + 'static>(&self) -> Option<&T> {
        match self {
            Self::DataFusion(error) => match error.find_root() {
                DataFusionError::External(inner) => inner.downcast_ref(),
                _ => None,
            },
            _ => None,
        }
    }
}

fn exit_code_of_source(kind: SourceErrorKind) -> u8 {
    match kind {
        SourceErrorKind::Configuration
        | SourceErrorKind::InvalidName
        | SourceErrorKind::NotCaptured
        | SourceErrorKind::Unsupported => 3,
        SourceErrorKind::ChangesLost | SourceErrorKind::HistoryReplaced => 5,
        SourceErrorKind::Connection
        | SourceErrorKind::Login
        | SourceErrorKind::Permission
        | SourceErrorKind::Query => 1,
    }
}

fn exit_code_of_sink(kind: SinkErrorKind) -> u8 {
    match kind {
        SinkErrorKind::InvalidSchema | SinkErrorKind::Unsupported => 3,
        SinkErrorKind::Retention => 2,
        SinkErrorKind::DamagedCheckpoint => 5,
        SinkErrorKind::Storage
        | SinkErrorKind::Conflict
        | SinkErrorKind::CheckpointMoved
        | SinkErrorKind::DuplicateMatch
        | SinkErrorKind::NotADeltaTable
        | SinkErrorKind::NotFound
        | SinkErrorKind::InvalidRow
        | SinkErrorKind::Other => 1,
    }
}
