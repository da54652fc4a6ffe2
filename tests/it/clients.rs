//! The stand-in, judged by clients that are not ours.
//!
//! Each script of `tests/clients` drives one client against `cdcql simulate`, once over TLS and once in plain
//! text, and compares what it reads with the types and values of `tests/clients/cases.json`. What it has done is
//! recorded, and must be there again after a replay. `.ci/run` installs every client by its package name;
//! elsewhere a client that is missing is skipped, loudly, unless `CDCQL_TEST_CLIENTS` is `required`.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::simulate::Server;
use crate::support::{Ended, Project, root};

/// A Python with the clients of Python in it.
const PYTHON: &str = "CDCQL_TEST_PYTHON";
/// The folder `node_modules` with the clients of node in it.
const NODE_PATH: &str = "CDCQL_TEST_NODE_PATH";
/// `required` makes a missing client a failure.
const CLIENTS: &str = "CDCQL_TEST_CLIENTS";

const PASSWORD: &str = "Gotham-1939";
/// What a script ends with when its client is not installed.
const NOT_INSTALLED: i32 = 3;

/// What runs a script.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runtime {
    Python,
    Node,
}

impl Runtime {
    pub(crate) fn command(self) -> Command {
        let program = match self {
            Self::Python => std::env::var_os(PYTHON).unwrap_or_else(|| OsString::from("python3")),
            Self::Node => OsString::from("node"),
        };
        let mut command = Command::new(program);
        if let Some(path) = std::env::var_os(NODE_PATH) {
            command.env("NODE_PATH", path);
        }
        command
    }
}

fn run_script(runtime: Runtime, script: &str, encryption: &str, seed: u64) -> Option<Ended> {
    let project = Project::new();
    project.write("judged.sql", "CREATE DATABASE judged;\n");
    let certificate = project.path().join("certificate.pem");
    let server = Server::start_script(
        &project,
        "judged.sql",
        PASSWORD,
        &[
            "--certificate",
            &certificate.to_string_lossy(),
            "--seed",
            &seed.to_string(),
            "--record",
        ],
    );
    let (host, port) = server.address.split_once(':').unwrap();
    let output = runtime
        .command()
        .arg(Path::new("tests/clients").join(script))
        .current_dir(root())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SERVER_HOST", host)
        .env("SERVER_PORT", port)
        .env("SERVER_DATABASE", "judged")
        .env("SERVER_USER", "sa")
        .env("SERVER_PASSWORD", PASSWORD)
        .env("SERVER_CERTIFICATE", &certificate)
        .env("SERVER_ENCRYPTION", encryption)
        .output();
    let tables = |server: &Server| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(server.tables("judged", PASSWORD))
    };
    let before = tables(&server);
    drop(server);
    let replayed = Server::start_script(&project, "judged.sql", PASSWORD, &[]);
    let after = tables(&replayed);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after, before, "{script} is recorded otherwise");
    }
    assert_eq!(after.len(), before.len(), "{script} is recorded otherwise");
    match output {
        Ok(output) => Some(Ended::from(output)).filter(|ended| ended.code != Some(NOT_INSTALLED)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{script} cannot be run: {error}"),
    }
}

/// Whether `what` must be installed, which it is not; says so where it need not be.
pub(crate) fn is_required(what: &str) -> bool {
    if std::env::var_os(CLIENTS).is_some_and(|value| value == "required") {
        return true;
    }
    // Not eprintln!, which the test harness keeps to itself where a test passes.
    let line = format!("SKIPPED, not installed: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

/// Runs a script over TLS and in plain text; `remedy` installs its client.
fn judge(runtime: Runtime, script: &str, remedy: &str) {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = u64::from(started.subsec_nanos());
    for encryption in ["tls", "plain"] {
        let Some(ended) = run_script(runtime, script, encryption, seed) else {
            let client = format!("the client of {script}: {remedy}");
            assert!(!is_required(&client), "not installed: {client}");
            return;
        };
        assert_eq!(
            ended.code,
            Some(0),
            "{script}, {encryption}, seed {seed}:\n{}{}",
            ended.stdout,
            ended.stderr
        );
    }
}

#[test]
fn tsql_of_freetds_agrees() {
    judge(
        Runtime::Python,
        "with_tsql.py",
        "apt-get install freetds-bin",
    );
}

#[test]
fn pymssql_agrees() {
    judge(
        Runtime::Python,
        "with_pymssql.py",
        "set CDCQL_TEST_PYTHON to a Python with the package pymssql",
    );
}

#[test]
fn python_tds_agrees() {
    judge(
        Runtime::Python,
        "with_pytds.py",
        "set CDCQL_TEST_PYTHON to a Python with the packages python-tds and pyOpenSSL",
    );
}

#[test]
fn the_odbc_driver_of_microsoft_agrees() {
    judge(
        Runtime::Python,
        "with_mssql_python.py",
        "set CDCQL_TEST_PYTHON to a Python with the package mssql-python",
    );
}

#[test]
fn tedious_agrees() {
    judge(
        Runtime::Node,
        "with_tedious.js",
        "npm install tedious, and set CDCQL_TEST_NODE_PATH to its node_modules",
    );
}
