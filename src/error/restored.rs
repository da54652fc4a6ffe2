//! Errors that come back from DataFusion: our own, which travelled through it, and its own, with their place in the file.

use std::sync::Arc;

use datafusion::error::DataFusionError;

use super::Error;
use crate::sink::delta::SinkError;
use crate::source::sqlserver::SourceError;
use crate::sql::{Span, Statement};

impl Error {
    /// DataFusion's error, with our own errors taken out of it again and its place in `statement`.
    pub fn from_datafusion(error: DataFusionError, statement: Option<&Statement>) -> Self {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        let restored = Self::from(error);
        match (restored, statement) {
            (Self::DataFusion(error), Some(statement)) if is_users(&error) => {
                let place = span.map(|span| statement.planner_span(span));
                let text = error.strip_backtrace();
                let span = place
                    .filter(|span| span.line > 0)
                    .or_else(|| named_place(statement, &error))
                    .unwrap_or(statement.span);
                Self::invalid(statement.diagnostic(span, message_of(&text), None))
            }
            (
                Self::Unexpected {
                    span,
                    expectation,
                    key,
                },
                Some(statement),
            ) => {
                let unexpected = Self::Unexpected {
                    span,
                    expectation,
                    key,
                };
                unexpected.at(statement, span)
            }
            (restored, Some(statement)) => restored.at(statement, statement.span),
            (restored, None) => restored,
        }
    }

    /// This error with our own errors taken out of DataFusion's, and a place in `statement`.
    #[must_use]
    pub fn restored(self, statement: &Statement) -> Self {
        match self {
            Self::DataFusion(error) => Self::from_datafusion(*error, Some(statement)),
            other => other,
        }
    }
}

/// Our own errors travel through DataFusion as `External`; here they come back.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => Self::from_external(inner),
            DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
                Ok(inner) => Self::from(inner),
                Err(shared) => Self::DataFusion(Box::new(DataFusionError::Shared(shared))),
            },
            DataFusionError::Context(context, inner) => match Self::from(*inner) {
                Self::DataFusion(inner) => {
                    Self::DataFusion(Box::new(DataFusionError::Context(context, inner)))
                }
                restored => restored,
            },
            DataFusionError::Diagnostic(diagnostic, inner) => match Self::from(*inner) {
                Self::DataFusion(inner) => {
                    Self::DataFusion(Box::new(DataFusionError::Diagnostic(diagnostic, inner)))
                }
                restored => restored,
            },
            other => Self::DataFusion(Box::new(other)),
        }
    }
}

impl Error {
    fn from_external(inner: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let inner = match inner.downcast::<Error>() {
            Ok(error) => return *error,
            Err(inner) => inner,
        };
        let inner = match inner.downcast::<SourceError>() {
            Ok(error) => return Self::Source(*error),
            Err(inner) => inner,
        };
        let inner = match inner.downcast::<SinkError>() {
            Ok(error) => return Self::Sink(*error),
            Err(inner) => inner,
        };
        match inner.downcast::<DataFusionError>() {
            Ok(error) => Self::from(*error),
            Err(inner) => Self::DataFusion(Box::new(DataFusionError::External(inner))),
        }
    }
}

/// True for errors that the statement's writer can mend.
pub(super) fn is_users(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::SQL(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Diagnostic(..)
    )
}

/// The place of the column that a schema error names, where the planner gave no span.
fn named_place(statement: &Statement, error: &DataFusionError) -> Option<Span> {
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            datafusion::common::SchemaError::FieldNotFound { field, .. } => statement
                .find(&field.flat_name())
                .or_else(|| statement.find(field.name())),
            _ => None,
        },
        _ => None,
    }
}

/// DataFusion's text without its own prefixes, beginning in lower case where it is a sentence.
pub(super) fn message_of(text: &str) -> String {
    const PREFIXES: [&str; 8] = [
        "External error: ",
        "Arrow error: ",
        "Compute error: ",
        "Execution error: ",
        "Error during planning: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "SQL error: ",
    ];
    // The optimizer's own words tell which of its rules met the error first.
    let mut rest = match text.split_once("' failed\ncaused by\n") {
        Some((rule, cause)) if rule.starts_with("Optimizer rule '") => cause,
        _ => text,
    };
    while let Some(shorter) = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    rest.trim_end_matches('.').to_string()
}
