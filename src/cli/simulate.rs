//! `cdcql simulate SCRIPT`.

use std::path::Path;

use super::args::{ClockArgument, SimulateArguments};
use super::embedded::{database_from, database_name};
use super::output::tell;
use crate::error::Error;
use crate::simulator::protocol::Collation;
use crate::simulator::{
    Behaviour, CaptureJob, Clock, Database, Record, Simulator, SimulatorOptions,
};

/// Serves the script's database until the process is interrupted.
pub(super) async fn run(arguments: &SimulateArguments) -> Result<(), Error> {
    let made = Behaviour {
        server_collation: arguments.collation.unwrap_or_default(),
        replica_lag: arguments.replica_lag,
        ..Behaviour::orderly()
    };
    let database = if arguments.record {
        recorded_to(&arguments.script, made.server_collation).await?
    } else {
        database_from(&arguments.script, &made).await?
    };
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
    tell!(
        "SQL Server stand-in on {}, database {}, login {}{}",
        simulator.address(),
        simulator.database(),
        simulator.user(),
        if arguments.record { ", recorded" } else { "" }
    );
    if arguments.password.is_none() {
        tell!("password {} (made for this run)", simulator.password());
        tell!("APP_DB_URL='{}'", simulator.url());
    }
    simulator.closed().await;
    Ok(())
}

/// Replays a script that what clients commit is then appended to.
async fn recorded_to(script: &Path, collation: Collation) -> Result<Database, Error> {
    let path = script.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || Record::open(&path));
    let opened = opened.await.map_err(std::io::Error::other);
    let record = opened
        .and_then(|opened| opened)
        .map_err(|source| Error::File {
            path: script.to_path_buf(),
            source,
        })?;
    Database::from_record(
        &database_name(script),
        &script.display().to_string(),
        record,
        collation,
    )
    .await
    .map_err(|error| Error::Script(error.into()))
}

/// Commits are captured in the background, unless the interval is zero.
fn behaviour(arguments: &SimulateArguments) -> Behaviour {
    let interval = arguments.capture_interval;
    Behaviour {
        seed: arguments.seed,
        server_collation: arguments.collation.unwrap_or_default(),
        replica_lag: arguments.replica_lag,
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
