//! Programs of Python that do the same.
#![allow(dead_code)] // Each bench uses a part of this.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Usage;

/// Names a Python that has the packages.
const PYTHON: &str = "CDCQL_TEST_PYTHON";

/// A Python with the packages that a peer needs.
pub(crate) struct Peer {
    python: String,
}

impl Peer {
    /// One with `packages`, as an import names them, if there is one; says so if not.
    pub(crate) fn find(packages: &str) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let Ok(python) = std::env::var(PYTHON) else {
            println!("{packages} of Python are skipped: {PYTHON} names no Python");
            return Ok(None);
        };
        let output = Command::new(&python)
            .args(["-c", &format!("import {packages}")])
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            let why = why.lines().last().unwrap_or_default();
            println!("{packages} of Python are skipped: {why}");
            return Ok(None);
        }
        Ok(Some(Self { python }))
    }

    /// Runs `script` on the Delta table `target` with one more argument; it finds the server in `SERVER`, as ODBC has it,
    /// and in `SERVER_URL`.
    pub(crate) fn run(
        &self,
        script: &str,
        url: &str,
        target: &Path,
        argument: &str,
    ) -> Result<Usage, Box<dyn std::error::Error>> {
        let parsed = url::Url::parse(url)?;
        let (host, port) = (
            parsed.host_str().unwrap_or_default(),
            parsed.port().unwrap_or(1433),
        );
        let database = parsed.path().trim_start_matches('/');
        let (user, password) = (parsed.username(), parsed.password().unwrap_or_default());
        let odbc = format!(
            "Server={host},{port};Database={database};UID={user};PWD={password};Encrypt=yes;TrustServerCertificate=yes"
        );
        let url = format!(
            "mssql://{user}:{password}@{host}:{port}/{database}?encrypt=true&trust_server_certificate=true"
        );
        let output = Command::new(&self.python)
            .args(["-c", script])
            .arg(target)
            .arg(argument)
            .env("SERVER", odbc)
            .env("SERVER_URL", url)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err("the peer failed".into());
        }
        let text = String::from_utf8(output.stdout)?;
        Ok(Usage::read(&text).ok_or("the peer did not say what it took")?)
    }
}
