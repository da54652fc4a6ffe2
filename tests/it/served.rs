//! A served database and a pipeline that copies it, as most tests need them.

use std::process::{Command, Stdio};

use cdcql::simulator::control::PendingFault;
use cdcql::simulator::{Behaviour, CaptureControl, Simulator, SimulatorOptions};
use tokio::runtime::Runtime;

use crate::source::Source;
use crate::support::{Ended, Project};

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, code INT NOT NULL UNIQUE, n INT NULL, on_sale BIT NOT NULL);
GO
INSERT INTO dbo.a VALUES (1, 10, 1, 0), (2, 20, 2, 1), (3, 30, 3, 0);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
INSERT INTO dbo.a VALUES (4, 40, 4, 1);
";

const PIPELINE: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));
CREATE TABLE IF NOT EXISTS a USING DELTA LOCATION 'lake/a';
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
";

/// A served database, and a pipeline that copies its table.
pub(crate) struct Served {
    pub(crate) runtime: Runtime,
    pub(crate) source: Source,
    pub(crate) project: Project,
}

impl Served {
    /// A database that any SQL Server can serve.
    pub(crate) fn new() -> Self {
        Self::anywhere(SCRIPT, Source::orderly())
    }

    /// The same of another script, whose table is `dbo.a`.
    pub(crate) fn of(script: &str) -> Self {
        Self::anywhere(script, Behaviour::default())
    }

    fn anywhere(script: &str, behaviour: Behaviour) -> Self {
        let runtime = Runtime::new().unwrap();
        let source = runtime.block_on(Source::anywhere(script, behaviour));
        Self::from(runtime, source)
    }

    /// A database of the embedded server, which the test has a hand on.
    pub(crate) fn in_hand() -> Self {
        Self::behaving(Source::orderly())
    }

    /// The same, which behaves so.
    pub(crate) fn behaving(behaviour: Behaviour) -> Self {
        Self::with(SimulatorOptions {
            behaviour,
            ..SimulatorOptions::default()
        })
    }

    /// The same, of a server with these options.
    pub(crate) fn with(options: SimulatorOptions) -> Self {
        Self::of_server(SCRIPT, options)
    }

    /// The same, of another script, whose table is `dbo.a`.
    pub(crate) fn in_hand_of(script: &str) -> Self {
        Self::of_server(script, SimulatorOptions::default())
    }

    /// The same, of a server with these options.
    pub(crate) fn of_server(script: &str, options: SimulatorOptions) -> Self {
        let runtime = Runtime::new().unwrap();
        let source = runtime.block_on(Source::in_hand(script, options));
        Self::from(runtime, source)
    }

    fn from(runtime: Runtime, source: Source) -> Self {
        let project = Project::new();
        project.write("pipelines/p.sql", PIPELINE);
        Self {
            runtime,
            source,
            project,
        }
    }

    /// The embedded server.
    pub(crate) fn simulator(&self) -> &Simulator {
        self.source.simulator()
    }

    /// The embedded server's capture.
    pub(crate) fn capture(&self) -> CaptureControl {
        self.source.capture()
    }

    /// Whether the server is asked something with `text` in it; `None` where nobody can tell.
    pub(crate) fn asked(&self, text: &str) -> Option<PendingFault> {
        self.source.asked(text)
    }

    /// Executes one batch, whose changes are captured when it is over unless the test holds capture.
    pub(crate) fn execute(&self, statements: &str) {
        self.runtime.block_on(self.source.execute(statements));
    }

    /// Lets capture come to a later commit, though no table of the test has changed.
    pub(crate) fn goes_on(&self) {
        self.runtime.block_on(self.source.goes_on());
    }

    /// The server's URL with these options alone.
    pub(crate) fn url(&self, options: &str) -> String {
        let url = self.source.url();
        let (url, _) = url.split_once('?').unwrap();
        format!("{url}?{options}")
    }

    /// Writes the certificate that clients have to trust to a file of the project.
    pub(crate) fn trust(&self, file: &str) {
        self.project
            .write(file, &self.simulator().certificate_pem());
    }

    /// How many commits the target's log has.
    pub(crate) fn commits(&self) -> usize {
        let log = self.project.path().join("pipelines/lake/a/_delta_log");
        let entries = std::fs::read_dir(log).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .count()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command();
        command.args(arguments).env("DB_URL", self.source.url());
        command
    }

    pub(crate) fn cdcql(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).output().unwrap())
    }

    /// Puts `text` in the place of `from` in the pipeline, which has it.
    pub(crate) fn edit(&self, from: &str, text: &str) {
        let pipeline = self.project.read("pipelines/p.sql");
        assert!(pipeline.contains(from), "no {from:?} in:\n{pipeline}");
        self.project
            .write("pipelines/p.sql", &pipeline.replace(from, text));
    }

    /// Lets clean-up take changes that no flow has read, all of `dbo.a`.
    pub(crate) fn lose_changes(&self) {
        self.grows_old("dbo.a", "n");
        self.clean_up();
    }

    /// Lets so much time pass, by changes of a number in row 1, that clean-up takes what was there before.
    pub(crate) fn grows_old(&self, table: &str, column: &str) {
        self.execute("EXEC sys.sp_cdc_change_job N'cleanup', @retention = 1;");
        let updates =
            (200..270).map(|n| format!("UPDATE {table} SET {column} = {n} WHERE id = 1;\n"));
        self.execute(&updates.collect::<String>());
    }

    /// Lets clean-up take what is old.
    pub(crate) fn clean_up(&self) {
        self.runtime.block_on(self.source.clean_up());
    }

    /// Kills the program with these arguments when the server comes to the statement that `held` holds.
    pub(crate) fn killed_at(&self, held: &mut PendingFault, arguments: &[&str]) {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.runtime.block_on(async {
            let mut run = tokio::process::Command::from(command).spawn().unwrap();
            tokio::select! {
                struck = held.struck() => struck.unwrap(),
                ended = run.wait() => panic!("{arguments:?} ended before: {ended:?}"),
            }
            run.kill().await.unwrap();
        });
    }

    /// What a query answers, as comma-separated values below a line of names.
    pub(crate) fn csv(&self, sql: &str) -> String {
        let arguments = [
            "query",
            "--pipeline",
            "pipelines/p.sql",
            "--format",
            "csv",
            "-c",
            sql,
        ];
        self.cdcql(&arguments).succeeded().stdout
    }

    pub(crate) fn run(&self) -> Ended {
        self.cdcql(&["run", "pipelines/p.sql"])
    }

    pub(crate) fn rows(&self, table: &str) -> String {
        let sql = format!("SELECT * FROM {table} ORDER BY id");
        let arguments = ["query", "--pipeline", "pipelines/p.sql", "-c", &sql];
        self.cdcql(&arguments).succeeded().stdout
    }

    pub(crate) fn assert_true(&self) {
        assert_eq!(self.rows("a"), self.rows("db.dbo.a"));
    }
}
