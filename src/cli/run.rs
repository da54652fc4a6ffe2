//! `cdcql run FILE`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::args::RunArguments;
use super::output::print_error;
use super::progress::{self, Lines};
use super::session::{Session, parse_file};
use super::signals;
use crate::error::Error;
use crate::pipeline::{FlowReport, FollowOptions, Pipeline};

/// Executes every flow of the file once; the first flow that failed decides the exit code.
pub(super) async fn run(arguments: &RunArguments, quiet: bool) -> Result<(), Error> {
    let pipeline = bind(arguments, quiet).await?;
    let reporter = progress::reporter(quiet, Lines::OfParts);
    let reports = pipeline.run(arguments.options(), &reporter).await;
    for line in reports.iter().filter_map(progress::summary) {
        if !quiet {
            eprintln!("{line}");
        }
    }
    first_failure(reports)
}

/// Keeps every flow of the file up to date until a signal, or until all have failed.
pub(super) async fn follow(arguments: &RunArguments, quiet: bool) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let work = async {
        let pipeline = Arc::new(bind(arguments, quiet).await?);
        let options = FollowOptions {
            run: arguments.options(),
            every: arguments.every,
        };
        let reporter = progress::reporter(quiet, Lines::OfAll);
        first_failure(pipeline.follow(options, &reporter, &stop).await)
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

async fn bind(arguments: &RunArguments, quiet: bool) -> Result<Pipeline, Error> {
    let statements = parse_file(&arguments.file)?;
    let session = Session::try_new()?;
    let pipeline = Pipeline::bind(session.engine, statements, Some(&arguments.file)).await?;
    if pipeline.flows().is_empty() && !quiet {
        let file = arguments.file.display();
        eprintln!("{file} has no flow: nothing to run; a flow is a MERGE INTO … USING STREAM …");
    }
    Ok(pipeline)
}

/// The first failure; those after it are printed.
fn first_failure(reports: Vec<FlowReport>) -> Result<(), Error> {
    let mut failure = None;
    for report in reports {
        if let Err(error) = report.result
            && let Some(earlier) = failure.replace(error)
        {
            print_error(&earlier);
        }
    }
    failure.map_or(Ok(()), Err)
}
