//! `cdcql run FILE`.

use super::args::RunArguments;
use super::output::print_error;
use super::progress;
use super::session::{Session, parse_file};
use crate::error::Error;
use crate::pipeline::Pipeline;

/// Executes every flow of the file once; the first flow that failed decides the exit code.
pub(super) async fn run(arguments: &RunArguments, quiet: bool) -> Result<(), Error> {
    let statements = parse_file(&arguments.file)?;
    let session = Session::try_new()?;
    let pipeline =
        Pipeline::bind(session.engine.clone(), statements, Some(&arguments.file)).await?;
    if pipeline.flows().is_empty() && !quiet {
        let file = arguments.file.display();
        eprintln!("{file} has no flow: nothing to run; a flow is a MERGE INTO … USING STREAM …");
    }
    let reports = pipeline.run(&progress::reporter(quiet)).await;
    let mut failure = None;
    for report in reports {
        match progress::summary(&report) {
            Some(line) if !quiet => eprintln!("{line}"),
            _ => {}
        }
        if let Err(error) = report.result
            && let Some(earlier) = failure.replace(error)
        {
            print_error(&earlier);
        }
    }
    failure.map_or(Ok(()), Err)
}
