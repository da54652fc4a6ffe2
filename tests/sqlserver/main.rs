//! The integration tests against a SQL Server that is not the embedded one, if `CDCQL_TEST_SQLSERVER` has its URL; see
//! the README beside this file.

use std::env;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

/// The URL of a server, as a connection of a pipeline file has it; its login has to be a member of sysadmin.
const SERVER: &str = "CDCQL_TEST_SQLSERVER";

/// Where the integration tests look for a server in the place of the embedded one.
const SERVED_BY: &str = "CDCQL_TEST_SERVED_BY";

/// Which of the integration tests are run, as a part of their names; all unless it is set.
const ONLY: &str = "CDCQL_TEST_ONLY";

fn main() {
    let arguments = Arguments::from_args();
    let server = env::var(SERVER).ok();
    if server.is_none() && !arguments.list {
        println!(
            "skipped: {SERVER} names no SQL Server to test against (tests/sqlserver/README.md)"
        );
    }
    let is_skipped = server.is_none();
    let suite = Trial::test("the_integration_tests_pass_on_a_sql_server", move || {
        run(&server.unwrap_or_default())
    });
    libtest_mimic::run(&arguments, vec![suite.with_ignored_flag(is_skipped)]).exit();
}

/// Runs the integration tests, which are a binary of their own that cargo knows the place of.
fn run(server: &str) -> Result<(), Failed> {
    if server.is_empty() {
        return Err(Failed::from(format!("{SERVER} is not set")));
    }
    let mut tests = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tests.args(["test", "--locked", "--test", "it"]);
    if let Ok(only) = env::var(ONLY) {
        tests.arg(only);
    }
    // With what cargo tells a test of its package, scripts that look at it would build everything once more.
    for (name, _) in env::vars_os() {
        let told = [
            "CARGO_MANIFEST_",
            "CARGO_PKG_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
            "CARGO_PRIMARY_",
        ];
        if name
            .to_str()
            .is_some_and(|name| told.iter().any(|told| name.starts_with(told)))
        {
            tests.env_remove(name);
        }
    }
    let ended = tests.env_remove(SERVER).env(SERVED_BY, server).status()?;
    match ended.success() {
        true => Ok(()),
        false => Err(Failed::from(format!("the integration tests: {ended}"))),
    }
}
