//! `cdcql simulate SCRIPT`.

use super::args::{ClockArgument, SimulateArguments};
use super::embedded::{database_from, database_name};
use crate::error::Error;
use crate::simulator::{Behaviour, CaptureJob, Clock, Simulator, SimulatorOptions};

/// Serves the script's database until the process is interrupted.
pub(super) async fn run(arguments: &SimulateArguments) -> Result<(), Error> {
    let collation = arguments.collation.unwrap_or_default();
    let made = Behaviour {
        server_collation: collation,
        ..Behaviour::orderly()
    };
    let database = database_from(&arguments.script, &made).await?;
    let options = SimulatorOptions {
        listen: arguments.listen,
        password: arguments.password.clone(),
        behaviour: behaviour(arguments),
        ..SimulatorOptions::default()
    };
    let mut simulator =
        Simulator::start(database, options)
            .await
            .map_err(|error| Error::Connection {
                name: database_name(&arguments.script),
                source: error.into(),
            })?;
    if let Some(path) = &arguments.certificate {
        tokio::fs::write(path, simulator.certificate_pem())
            .await
            .map_err(|source| Error::Output { source })?;
    }
    eprintln!(
        "SQL Server stand-in on {}, database {}, login {}",
        simulator.address(),
        simulator.database(),
        simulator.user()
    );
    if arguments.password.is_none() {
        eprintln!("password {} (made for this run)", simulator.password());
        eprintln!("APP_DB_URL='{}'", simulator.url());
    }
    simulator.closed().await;
    Ok(())
}

/// Commits are captured in the background, unless the interval is zero.
fn behaviour(arguments: &SimulateArguments) -> Behaviour {
    let interval = arguments.capture_interval;
    Behaviour {
        seed: arguments.seed,
        server_collation: arguments.collation.unwrap_or_default(),
        capture_job: if interval.is_zero() {
            CaptureJob::EveryCommit
        } else {
            CaptureJob::Every(interval)
        },
        clock: match arguments.clock {
            ClockArgument::Statements => Clock::Statements,
            ClockArgument::Machine => Clock::Machine,
        },
        ..Behaviour::default()
    }
}
