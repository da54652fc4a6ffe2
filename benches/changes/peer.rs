//! The same changes by the packages of Python.

use std::path::Path;
use std::process::{Command, Stdio};

use cdcql::change::Lsn;

use crate::BenchResult;
use crate::support::Usage;

/// Names a Python that has the packages.
const PYTHON: &str = "CDCQL_TEST_PYTHON";
const SCRIPT: &str = include_str!("merge_newest.py");

/// What the peer is called.
pub(crate) const NAME: &str = "mssql-python, pyarrow and deltalake of Python";

/// A Python with the packages.
pub(crate) struct Peer {
    python: String,
}

impl Peer {
    /// The peer, if there is one; says so if not.
    pub(crate) fn find() -> BenchResult<Option<Self>> {
        let Ok(python) = std::env::var(PYTHON) else {
            println!("the peer is skipped: {PYTHON} names no Python");
            return Ok(None);
        };
        let output = Command::new(&python)
            .args(["-c", "import mssql_python, pyarrow, deltalake"])
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            let why = why.lines().last().unwrap_or_default();
            println!("the peer is skipped: {why}");
            return Ok(None);
        }
        Ok(Some(Self { python }))
    }

    /// Merges the changes after `after` into the Delta table `target`.
    pub(crate) fn merge(&self, url: &str, target: &Path, after: Lsn) -> BenchResult<Usage> {
        let url = url::Url::parse(url)?;
        let server = format!(
            "Server={},{};Database={};UID={};PWD={};Encrypt=yes;TrustServerCertificate=yes",
            url.host_str().unwrap_or_default(),
            url.port().unwrap_or(1433),
            url.path().trim_start_matches('/'),
            url.username(),
            url.password().unwrap_or_default()
        );
        let output = Command::new(&self.python)
            .args(["-c", SCRIPT])
            .arg(target)
            .arg(after.to_hex())
            .env("SERVER", server)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err("the peer failed".into());
        }
        let text = String::from_utf8(output.stdout)?;
        Ok(Usage::read(&text).ok_or("the peer did not say what it took")?)
    }
}
