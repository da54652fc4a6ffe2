//! How a person drives it: arguments, output, exit codes.

// They panic where stderr cannot be written to.
#![warn(clippy::print_stderr)]

mod args;
mod check;
mod config;
#[cfg(feature = "simulator")]
mod demo;
mod doctor;
#[cfg(feature = "simulator")]
mod embedded;
mod events;
mod grammar;
mod init;
mod maintain;
mod output;
mod pager;
mod parameters;
mod plan;
mod progress;
mod query;
mod query_progress;
mod repl;
mod rows;
mod run;
mod session;
mod shell;
mod signals;
#[cfg(feature = "simulator")]
mod simulate;
mod status;
mod units;
mod verify;

use std::process::ExitCode;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::error::Error;
use crate::sql::Parameters;
use args::{Arguments, Command, LogFormat};
use output::tell;
use run::Manner;

/// Runs the command that the process's arguments name, and answers with its exit code.
///
/// Data goes to stdout, everything for people to stderr.
pub fn main() -> ExitCode {
    let arguments = Arguments::of_process();
    if let Some(answered) = shell::answer(&arguments) {
        return ended(answered, LogFormat::Text);
    }
    start_log(&arguments);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tell!("error: the asynchronous runtime cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let log_format = arguments.log_format;
    let result = runtime.block_on(Box::pin(interruptible(&arguments)));
    // What still reads from a server says so there as it is dropped.
    runtime.shutdown_timeout(signals::FAREWELL);
    ended(result, log_format)
}

/// The exit code, after what has failed is said.
fn ended(result: Result<(), Error>, log_format: LogFormat) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match log_format {
                LogFormat::Text => output::print_error(&error),
                LogFormat::Json => events::print_error(&error),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command, ended early by Ctrl-C or SIGTERM; what was not committed by then never is.
async fn interruptible(arguments: &Arguments) -> Result<(), Error> {
    let parameters = arguments.parameters();
    let manner = manner(arguments, &parameters);
    match &arguments.command {
        None => return repl::run(arguments.pipeline.as_deref(), manner).await,
        Some(Command::Run(run)) if run.follow => return run::follow(run, manner).await,
        Some(_) => {}
    }
    tokio::select! {
        // The first look at it begins to listen, before the command does anything.
        biased;
        () = signals::ending() => Err(Error::Interrupted),
        result = dispatch(arguments, manner) => result,
    }
}

fn manner<'a>(arguments: &Arguments, parameters: &'a Parameters) -> Manner<'a> {
    Manner {
        quiet: arguments.quiet,
        log_format: arguments.log_format,
        memory: arguments.memory,
        parameters,
    }
}

async fn dispatch(arguments: &Arguments, manner: Manner<'_>) -> Result<(), Error> {
    match &arguments.command {
        Some(Command::Run(run)) => run::run(run, manner).await,
        Some(Command::Check(check)) => check::run(check, manner).await,
        Some(Command::Plan(plan)) => plan::run(plan, manner).await,
        Some(Command::Query(query)) => query::run(query, manner).await,
        Some(Command::Status(status)) => status::run(status, manner).await,
        Some(Command::Verify(verify)) => verify::run(verify, manner).await,
        Some(Command::Doctor(doctor)) => doctor::run(doctor, manner).await,
        Some(Command::Maintain(maintain)) => maintain::run(maintain, manner).await,
        Some(Command::Init(init)) => init::run(init, manner).await,
        #[cfg(feature = "simulator")]
        Some(Command::Simulate(simulate)) => simulate::run(simulate).await,
        #[cfg(feature = "simulator")]
        Some(Command::Demo) => demo::run().await,
        // Answered before there was a log or a runtime.
        Some(Command::Completions(_) | Command::Man(_)) => Ok(()),
        None => repl::run(arguments.pipeline.as_deref(), manner).await,
    }
}

/// Logs go to stderr: warnings by default, more with `-v`, errors only with `-q`, and what `RUST_LOG` says where it
/// is set; the driver's own log never.
fn start_log(arguments: &Arguments) {
    let default = match (arguments.quiet, arguments.verbose) {
        (true, _) => "error",
        (false, 0) => "error,cdcql=warn",
        (false, 1) => "warn,cdcql=info",
        (false, 2) => "info,cdcql=debug",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(output::stderr_has_colours())
        .log_internal_errors(false)
        .with_target(false);
    let lines = match arguments.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .with(filter_fn(|event| !is_drivers(event.target())));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tell!("warning: another log subscriber is already in place");
    }
}

/// True for the driver's log: it repeats the server's messages, and with them what was given as a secret.
fn is_drivers(target: &str) -> bool {
    target
        .strip_prefix("tiberius")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
