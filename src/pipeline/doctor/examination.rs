//! What an examination has found, and what a run would end with.

use std::error::Error as _;

use crate::change::{Check, CheckState, Finding};
use crate::error::Error;
use crate::source::sqlserver::SourceError;

/// A finding, and the connection that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The connection.
    pub connection: String,
    /// What was found.
    pub finding: Finding,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Examination {
    findings: Vec<Examined>,
    /// The exit code of a run, where an error has told it.
    exit_code: Option<u8>,
}

impl Examination {
    /// The findings, the worst first.
    pub fn findings(&self) -> Vec<&Examined> {
        let mut findings: Vec<_> = self.findings.iter().collect();
        findings.sort_by_key(|examined| examined.finding.state);
        findings
    }

    /// Nothing, or that checks fail, with the exit code that a run would have had.
    ///
    /// # Errors
    /// One check fails at least.
    pub fn outcome(&self) -> Result<(), Error> {
        let is_failing = |examined: &&Examined| examined.finding.state == CheckState::Failing;
        match self.findings.iter().filter(is_failing).count() {
            0 => Ok(()),
            failing => Err(Error::Unfit {
                failing,
                exit_code: self.exit_code.unwrap_or(1),
            }),
        }
    }

    pub(super) fn add(&mut self, connection: &str, finding: Finding) {
        self.findings.push(Examined {
            connection: connection.to_string(),
            finding,
        });
    }

    pub(super) fn add_all(&mut self, connection: &str, findings: Vec<Finding>) {
        for finding in findings {
            self.add(connection, finding);
        }
    }

    /// Records an error that a run would end with: in the finding that tells its cause already, or as one of its own.
    pub(super) fn fail(
        &mut self,
        connection: &str,
        table: Option<String>,
        check: Check,
        error: &Error,
    ) {
        self.exit_code.get_or_insert(error.exit_code());
        // What is refused is the table's changes where the tables that describe them can be read.
        let check = if check == Check::Metadata && self.is_ok(connection, check) {
            Check::ChangeTable
        } else {
            check
        };
        let concerns = |examined: &&mut Examined| {
            let of = examined.finding.table.as_deref();
            let is_of = |table: &String| of.is_none_or(|of| of.eq_ignore_ascii_case(table));
            examined.connection == connection
                && examined.finding.check == check
                && table.as_ref().is_none_or(is_of)
        };
        let told = self.findings.iter_mut().find(concerns);
        let told = told.map(|examined| &mut examined.finding);
        // Another flow's failure of the same kind is one of its own.
        let told = told.filter(|finding| {
            let is_other = finding.state == CheckState::Failing && finding.seen != text_of(error);
            !(is_other && is_of_flows(check))
        });
        match told {
            Some(finding) => match finding.state {
                CheckState::Failing => {}
                CheckState::Warning => finding.state = CheckState::Failing,
                CheckState::Unknown | CheckState::Ok => {
                    finding.state = CheckState::Failing;
                    finding.seen = text_of(error);
                }
            },
            None => {
                let mut finding = Finding::new(check, CheckState::Failing, text_of(error));
                finding.table = table;
                finding.remedy = remedy_of(error);
                self.add(connection, finding);
            }
        }
    }

    fn is_ok(&self, connection: &str, check: Check) -> bool {
        self.findings.iter().any(|examined| {
            examined.connection == connection
                && examined.finding.check == check
                && examined.finding.state == CheckState::Ok
        })
    }

    /// A flow of the connection has to be copied: it waits for capture, so one that stands is no mere warning.
    pub(super) fn needs_capture(&mut self, connection: &str) {
        for Examined {
            connection: of,
            finding,
        } in &mut self.findings
        {
            let stands = finding.check == Check::CaptureJob && finding.state == CheckState::Warning;
            if of == connection && stands {
                finding.state = CheckState::Failing;
                finding
                    .seen
                    .push_str("; a first copy would wait for it in vain");
            }
        }
    }
}

/// The check that tells the cause of an error.
pub(super) fn check_of(error: &Error) -> Check {
    let error = match error.cause() {
        Error::Source(error) => error,
        error if error.is_loss() => return Check::History,
        _ => return Check::Flow,
    };
    match error {
        SourceError::CdcDisabled { .. } => Check::Capture,
        SourceError::NoSuchTable { .. } | SourceError::Ambiguous { .. } => Check::Table,
        SourceError::NotCaptured { .. } | SourceError::CaptureNotStarted { .. } => Check::Instance,
        SourceError::ChangesHidden { .. } => Check::ChangeTable,
        SourceError::NoUniqueKey { .. } | SourceError::UnusableKey { .. } => Check::Key,
        SourceError::UnsupportedColumns { .. } => Check::Columns,
        SourceError::MaskedColumns { .. } => Check::Masking,
        SourceError::PermissionDenied { .. } => Check::Metadata,
        SourceError::Purged { .. }
        | SourceError::InstanceDropped { .. }
        | SourceError::CommitUnknown { .. } => Check::History,
        _ => Check::Flow,
    }
}

/// Whether two flows of one table may fail by it for reasons of their own.
fn is_of_flows(check: Check) -> bool {
    matches!(
        check,
        Check::Location | Check::Features | Check::History | Check::Flow
    )
}

/// An error and its causes in one line.
pub(in super::super) fn text_of(error: &Error) -> String {
    let error = error.cause();
    let mut text = match error {
        Error::Invalid { diagnostics, .. } => {
            let told = diagnostics.iter().map(|diagnostic| {
                let help = diagnostic.help().map(|help| format!("; {help}"));
                let (file, line) = (diagnostic.file(), diagnostic.span().line);
                let message = diagnostic.message();
                format!("{file}:{line}: {message}{}", help.unwrap_or_default())
            });
            return told.collect::<Vec<_>>().join("; ");
        }
        error => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// The T-SQL that mends an error, where the error alone tells it.
fn remedy_of(error: &Error) -> Option<String> {
    match error.cause() {
        Error::Source(SourceError::Connect(error)) => error.remedy(),
        _ => None,
    }
}
