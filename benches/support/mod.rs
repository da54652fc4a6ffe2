//! A server in a process of its own, and what this process has used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PASSWORD: &str = "benchmark";

/// A running `cdcql simulate`, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, with the login.
    pub(crate) url: String,
}

impl Server {
    /// Replays `script` and serves it on a free port.
    pub(crate) fn start(folder: &Path, script: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let path = folder.join("bench_db.sql");
        fs::write(&path, script)?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_cdcql"))
            .arg("simulate")
            .arg(&path)
            .args(["--listen", "127.0.0.1:0"])
            // What is committed can be read at once.
            .args(["--capture-interval", "0"])
            .env("CDCQL_SIMULATOR_PASSWORD", PASSWORD)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stderr.take().ok_or("no stderr")?).read_line(&mut line)?;
        let address = line
            .split_whitespace()
            .map(|word| word.trim_end_matches(','))
            .find(|word| word.starts_with("127.0.0.1:"))
            .ok_or_else(|| format!("the server did not start: {line}"))?
            .to_string();
        let url =
            format!("sqlserver://sa:{PASSWORD}@{address}/bench_db?trust_server_certificate=true");
        Ok(Self { child, url })
    }

    /// Its process, as `/proc` names it.
    pub(crate) fn process(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of rows in the environment variable `CDCQL_BENCH_ROWS`, or `default`.
pub(crate) fn rows_from_environment(default: u64) -> u64 {
    std::env::var("CDCQL_BENCH_ROWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The most memory that a process has had resident, in MiB; 0 where the system does not tell. `self` is
/// this one.
pub(crate) fn peak_memory(process: &str) -> u64 {
    fs::read_to_string(format!("/proc/{process}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kibibytes| kibibytes / 1024)
}
