//! A temporary copy of the tutorial, and the built program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The built program.
pub(crate) const CDCQL: &str = env!("CARGO_BIN_EXE_cdcql");

/// A pipeline that mirrors `dbo.t` of the server at `APP_DB_URL` by its key `id`.
pub(crate) const MIRROR: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('APP_DB_URL'));
CREATE TABLE IF NOT EXISTS t USING DELTA LOCATION 'lake/t';
MERGE INTO t AS target USING STREAM db.dbo.t CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that holds the tutorial's files under `pipelines/`, and is removed at the end.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// A copy of the repository's pipelines.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let pipelines = folder.path().join("pipelines");
        fs::create_dir(&pipelines).unwrap();
        for entry in fs::read_dir(root().join("pipelines")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                fs::copy(&path, pipelines.join(path.file_name().unwrap())).unwrap();
            }
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Reads a file of the project.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Appends to the tutorial's database script.
    pub(crate) fn append_to_database(&self, statements: &str) {
        let name = "pipelines/app_db.sql";
        self.write(name, &format!("{}\n{statements}\n", self.read(name)));
    }

    /// The program in this folder, without the caller's own settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(CDCQL);
        command
            .current_dir(self.path())
            .env_remove("APP_DB_URL")
            .env_remove("RUST_LOG")
            .env("HOME", self.path())
            .env("XDG_STATE_HOME", self.path().join("state"));
        command
    }

    /// Runs the program with `arguments` and waits for its end.
    pub(crate) fn cdcql(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command().args(arguments).output().unwrap())
    }

    /// Runs the tutorial's pipeline, which must succeed.
    pub(crate) fn run(&self) -> Ended {
        self.cdcql(&["run", "pipelines/customers.sql"]).succeeded()
    }

    /// The target's rows as a text table, read by cdcql.
    pub(crate) fn customers(&self) -> String {
        self.query("SELECT * FROM customers ORDER BY customer_id")
    }

    /// What a query prints, with the tutorial's pipeline in scope.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.cdcql(&["query", "--pipeline", "pipelines/customers.sql", "-c", sql])
            .succeeded()
            .stdout
    }

    /// How many commits the target's log has.
    pub(crate) fn commits(&self) -> usize {
        let log = self.path().join("pipelines/lake/customers/_delta_log");
        fs::read_dir(log)
            .map(|entries| {
                entries
                    .filter(|entry| {
                        let path = entry.as_ref().unwrap().path();
                        path.extension()
                            .is_some_and(|extension| extension == "json")
                    })
                    .count()
            })
            .unwrap_or(0)
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Itself, if the program succeeded.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Itself, if the program failed with `code` and said all of `words` on stderr, nothing on stdout.
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "stdout carries data only");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in:\n{}",
                self.stderr
            );
        }
        self
    }
}
