//! `cdcql run FILE`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::args::{LogFormat, RunArguments};
use super::events;
use super::output::{print_error, tell};
use super::progress::{self, Lines};
use super::session::Session;
use super::signals;
use crate::error::Error;
use crate::pipeline::{FlowReport, FollowOptions, Pipeline, Reporter};
use crate::sql::Parameters;

/// How a command goes about its work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) quiet: bool,
    pub(super) log_format: LogFormat,
    /// Bytes that queries and merges may hold.
    pub(super) memory: usize,
    /// The values of the files' parameters.
    pub(super) parameters: &'a Parameters,
}

impl Manner<'_> {
    pub(super) fn is_for_people(self) -> bool {
        !self.quiet && self.log_format == LogFormat::Text
    }

    pub(super) fn reporter(self, lines: Lines) -> Reporter {
        match self.log_format {
            LogFormat::Text => progress::reporter(self.quiet, lines),
            LogFormat::Json => events::reporter(),
        }
    }
}

/// Executes every flow of the file once; the first flow that failed decides the exit code.
pub(super) async fn run(arguments: &RunArguments, manner: Manner<'_>) -> Result<(), Error> {
    once(Session::try_new(manner)?, arguments, manner).await
}

/// The same in a session of its own.
pub(super) async fn once(
    session: Session,
    arguments: &RunArguments,
    manner: Manner<'_>,
) -> Result<(), Error> {
    let pipeline = bind(session, arguments, manner).await?;
    let reporter = manner.reporter(Lines::OfParts);
    let reports = pipeline.run(arguments.options(), &reporter).await;
    if manner.is_for_people() {
        for line in reports.iter().filter_map(progress::summary) {
            tell!("{line}");
        }
    }
    first_failure(reports, manner)
}

/// Keeps every flow of the file up to date until a signal, or until all have failed.
pub(super) async fn follow(arguments: &RunArguments, manner: Manner<'_>) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let work = async {
        let session = Session::try_new(manner)?;
        let pipeline = Arc::new(bind(session, arguments, manner).await?);
        let options = FollowOptions {
            run: arguments.options(),
            every: arguments.every,
        };
        let reporter = manner.reporter(Lines::OfAll);
        first_failure(pipeline.follow(options, &reporter, &stop).await, manner)
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        () = signals::ending() => {}
        ended = &mut work => return ended,
    }
    stop.cancel();
    // What fails for good decides the exit code; else it is the signal's.
    match tokio::time::timeout(signals::GRACE, work).await {
        Ok(Err(error)) => Err(error),
        _ => Err(Error::Interrupted),
    }
}

async fn bind(
    session: Session,
    arguments: &RunArguments,
    manner: Manner<'_>,
) -> Result<Pipeline, Error> {
    let statements = session.read(&arguments.file).await?;
    let pipeline = Pipeline::bind_chosen(
        session.engine,
        statements,
        Some(&arguments.file),
        &arguments.flow,
    )
    .await?;
    let pipeline = match &arguments.condition {
        Some(condition) => pipeline.only(condition).await?,
        None => pipeline,
    };
    if pipeline.flows().is_empty() && manner.is_for_people() {
        let file = arguments.file.display();
        tell!("{file} has no flow: nothing to run; a flow is a MERGE INTO … USING STREAM …");
    }
    Ok(pipeline)
}

/// The failure that decides the exit code: the first one, but for those of flows that others have held; the rest are printed.
fn first_failure(reports: Vec<FlowReport>, manner: Manner) -> Result<(), Error> {
    let failures = reports.into_iter().filter_map(|report| report.result.err());
    let mut failures: Vec<Error> = failures.collect();
    let is_own = |error: &Error| !matches!(error.cause(), Error::LookupFailed { .. });
    let decides = failures.iter().position(is_own).unwrap_or_default();
    if failures.is_empty() {
        return Ok(());
    }
    let failure = failures.remove(decides);
    for other in &failures {
        match manner.log_format {
            LogFormat::Text => print_error(other),
            LogFormat::Json => events::print_error(other),
        }
    }
    Err(failure)
}
