//! The command line's grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::config;
use super::init::InitArguments;
use super::rows::RowFormat;
use super::shell::{CompletionsArguments, ManArguments};
use super::units::{assignment, bytes, cadence, size};
#[cfg(feature = "simulator")]
use super::units::{collation, interval};
use super::verify::VerifyArguments;
use crate::pipeline::RunOptions;
use crate::sink::delta::Maintenance;
use crate::source::sqlserver::WindowLimits;

/// Keep Delta tables true to SQL Server tables, written as SQL.
#[derive(Debug, Parser)]
#[command(name = "cdcql", version, about, long_about = None, propagate_version = true)]
pub(super) struct Arguments {
    /// Put this file's connections and tables in scope of the REPL, or of `query`
    #[arg(long, value_name = "FILE")]
    pub(super) pipeline: Option<PathBuf>,
    /// Say more (-vv: debug)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// How much memory queries and merges may hold, such as 512MiB or 4GiB; what needs more goes to temporary files,
    /// or fails
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "2GiB", global = true)]
    pub(super) memory: usize,
    /// Give a parameter of the file its value: `:NAME` stands for it there; may be given more than once
    ///
    /// Numbers (5, -0.2), true, false and null are what they are in SQL, anything else is a text, and so is what stands in
    /// single quotes ('5'). The value is one constant, never SQL.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment, global = true)]
    pub(super) set: Vec<(String, String)>,
    /// How the log is written on stderr, and with it what `run` does
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    pub(super) log_format: LogFormat,
    /// What to do; without a command, a REPL opens
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line; `run` writes one for each window, first copy, retry, maintenance and stop
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Execute the flows of a pipeline file: copy what is new, and stop, or go on for ever
    Run(RunArguments),
    /// Say what is wrong with a pipeline file, without a connection
    ///
    /// Looks at what the file says: syntax, structure, options, properties, types, and names that no statement declares. All
    /// that is wrong is told at once, in the order of the file, up to a hundred errors. No server is asked, no table is
    /// opened, and no secret looked up, so that it goes where those are not; environment variables without a default that
    /// are not set are told. A file with parameters is checked with their values (--set). What only the source's columns or
    /// the targets tell is `cdcql plan`'s. Exit code 3 says that the file is invalid.
    Check(CheckArguments),
    /// Say what a run would do with the flows of a pipeline file, and write nothing
    ///
    /// For each flow: what it reads and writes, the key and where it comes from, where it stands, and what a run would begin
    /// with: a copy and about how many rows, or the window of changes and how many rows wait in it (counted up to 100,001);
    /// the columns in which source and target differ, with what the flow's policy makes of them, and what was done to the
    /// table at the source; how the MERGE would write, and its text with the stars written out; and each setting, given or by
    /// default. Nothing is written at the source, nor at the target.
    ///
    /// A flow that does not fit its source or its target is told as far as it is known, and the exit code is that of a run.
    Plan(PlanArguments),
    /// Say where the flows of a pipeline file stand, and write nothing
    ///
    /// For each flow: the last commit that its target holds, the newest one that the source's capture has reached, how
    /// far capture is behind the server's clock and the target behind capture, how many rows wait (counted up to
    /// 100,001), and after how many hours of commits the source's clean-up may delete what the flow has not read. A flow that
    /// could not be run is told as by `run`, with its exit code.
    Status(StatusArguments),
    /// Say whether the flows of a pipeline file would run, and the T-SQL that mends what holds them
    ///
    /// Looks at each connection: change data capture, capture job and agent, how long changes are kept, what keeps the
    /// log, SNAPSHOT isolation, the tables that describe capture. At each source table: whether the login may read it,
    /// its changes and their gating role; its key, types, collations and masks, computed and large columns, security
    /// policies, partitions. At each target: whether its location can be written, and its table features are known. And at
    /// each flow, as a run does before it begins.
    ///
    /// A check is failing where a run would fail or get nowhere, a warning where it would work and something has to be
    /// known, unknown where the login may not know. The T-SQL is for an owner of the database, in that database: narrow
    /// grants first, broader ones as comments. What becomes known by a grant is looked at the next time. Nothing is written at the
    /// source; where the target lies in an object store, an object is put below _cdcql and deleted again. Exit code 0
    /// says that a run would work, any other is the one that it would have ended with.
    Doctor(DoctorArguments),
    /// Say whether the targets of a pipeline file have the rows that their sources have, and copy again what differs
    ///
    /// Both sides are read, each where it lies, and compared by counts and checksums of 65,536 ranges of hashed keys;
    /// where those differ, the source's rows in them are read again and compared one by one. They are compared as of the
    /// commit that the target holds: keys that have changed since are left out and counted, if they are not the same by
    /// chance. Of the keys that differ the first hundred of each flow are listed, as the condition that finds them in the
    /// target, with the columns that differ.
    ///
    /// What the target should have is what the flow's INSERT makes of the source's rows. A flow is refused that makes
    /// anything else of them: the MERGE must read the STREAM itself, compare exactly the source's key, begin with WHEN
    /// MATCHED AND change._change_type = 'delete' THEN DELETE, and update and insert all other rows alike, from the
    /// source's columns alone. Nothing is written but by --repair. Exit code 1 if a target differs, or else that of what
    /// kept one from being compared.
    Verify(VerifyArguments),
    /// Execute statements and print what they answer
    Query(QueryArguments),
    /// Keep the Delta tables of a pipeline file fast: rewrite small files and files with deleted rows, shorten the log
    ///
    /// Done to the tables that the file's flows write, or to all it declares if it has no flow, and only as far as
    /// they need it:
    ///
    /// - Data files of which more than 2 % of the rows are deleted are rewritten without them, and so are small files
    ///   (below half of delta.targetFileSize, 100 MiB unless set) where a partition has at least four, into full
    ///   ones; rows are sorted by the columns that the flow's ON compares, or, of an AUTO CDC, that its KEYS name.
    ///
    /// - The log gets a Delta checkpoint where more than ten commits came after the last, and loses the files that
    ///   its own retention (delta.logRetentionDuration) does not keep.
    ///
    /// - With --vacuum, files are deleted that no version needs any more.
    ///
    /// No row changes by it and no checkpoint of a flow moves; flows may run meanwhile. The source is not asked. What was
    /// done is printed as rows.
    Maintain(MaintainArguments),
    /// Run the embedded SQL Server stand-in alone, from a script
    ///
    /// It is for trying and testing cdcql, and nothing is kept when it ends but the script. It speaks TDS 7.4 with
    /// and without TLS and TDS 8.0, and so much T-SQL as tables, their changes, queries, transactions, logins and change
    /// data capture need.
    ///
    /// It has no procedures, functions (but the predicates of security policies), views, triggers and sequences of
    /// one's own; no variables but those of tables and parameters, no WHILE, TRY or cursors; no MERGE, OUTPUT, SELECT
    /// INTO, FOR XML or FOR JSON; no foreign keys and CHECK constraints; no temporary or memory-optimized tables and no
    /// SWITCH of partitions; no masks but default(), and no values encrypted by clients; no shapes but from serialised
    /// bytes; no bulk load, MARS or Windows logins; and one transaction writes to a database at a time. What it
    /// does not know is an error that says so.
    #[cfg(feature = "simulator")]
    Simulate(SimulateArguments),
    /// Tell the tutorial as a story, on the embedded server and in a temporary folder
    #[cfg(feature = "simulator")]
    Demo,
    /// Write a pipeline file for a server of one's own
    ///
    /// Connects, looks which tables are captured, and writes a statement for each to a new file, which it then checks. What
    /// is missing of the connection is asked for on a terminal. The password is in an environment variable, and never in
    /// the file. A table that cannot be copied, such as one without a unique key, is written as a comment that says why.
    /// The folder of the Delta tables is added to the .gitignore beside the file. No file is overwritten.
    Init(InitArguments),
    /// Print the script by which a shell completes cdcql's commands and options
    Completions(CompletionsArguments),
    /// Print the manual page of cdcql, or of one of its commands
    Man(ManArguments),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Go on for ever: bring each flow up to date whenever its source has changes
    ///
    /// All flows of a connection that wait are asked for by one statement, up to four of them are at work at once, and
    /// one that is slow or fails does not hold the others. What passes by itself, and a store that does not answer, is
    /// tried again until the flow has not succeeded for 15 minutes. After every twenty commits a table is maintained, as by `cdcql maintain`,
    /// beside the flows. Ends by Ctrl-C or SIGTERM; what was not committed by then never is.
    #[arg(long)]
    pub(super) follow: bool,
    /// Run this flow alone; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(super) flow: Vec<String>,
    /// Copy the tables again, over what the targets have, and stop
    ///
    /// Each target is the source's table as of one commit afterwards: rows are updated, those that the source no longer has
    /// are deleted, all in one Delta commit.
    #[arg(long, conflicts_with = "follow")]
    pub(super) snapshot: bool,
    /// Copy again only the rows for which this condition over the source's columns holds, such as "region = 'EU'"
    ///
    /// The flow is brought up to date first. Then the source's rows for which it holds go over the target's, and those of
    /// the target's for which it holds, and which the source has not, are deleted; all others stay.
    #[arg(
        long = "where",
        value_name = "CONDITION",
        requires = "snapshot",
        requires = "flow"
    )]
    pub(super) condition: Option<String>,
    /// Take over targets that have rows but no checkpoint of their flow: they are copied anew, and the rows that the
    /// source does not have are deleted
    #[arg(long)]
    pub(super) adopt: bool,
    /// The pause between two looks at a source, such as 500ms or 30s; between 250 ms and 5 s unless given, by how
    /// busy the source is
    #[arg(long, value_name = "INTERVAL", value_parser = cadence, requires = "follow")]
    pub(super) every: Option<Duration>,
    /// How many rows of a change table one window, and so one commit, may hold; a transaction is never split
    #[arg(long, value_name = "ROWS", default_value_t = RunOptions::WINDOW_ROWS,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) window_rows: u32,
    /// How many bytes these rows may have, such as 512MiB; a transaction is never split
    #[arg(long, value_name = "BYTES", default_value = "4GiB", value_parser = bytes)]
    pub(super) window_bytes: usize,
    /// How many transactions one window may hold; any number unless given
    #[arg(long, value_name = "TRANSACTIONS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) window_transactions: Option<u32>,
    /// How many chunks of one table a copy reads at once, each over a connection of its own
    ///
    /// All copies of a database have sixteen connections together, besides those of windows and looks.
    #[arg(long, value_name = "CONNECTIONS", default_value_t = RunOptions::PARALLEL,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) parallel: u8,
    /// How many rows a chunk of a copy has; what is likely to have 128 MiB, at most a million, unless given
    ///
    /// A copy that was ended goes on behind the chunks that it had finished.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) chunk_rows: Option<u32>,
}

impl RunArguments {
    /// How the flows are run.
    pub(super) fn options(&self) -> RunOptions {
        RunOptions {
            limits: WindowLimits {
                rows: self.window_rows,
                bytes: self.window_bytes as u64,
                transactions: self.window_transactions,
            },
            anew: self.snapshot,
            adopts: self.adopt,
            parallel: self.parallel,
            chunk_rows: self.chunk_rows,
            ..RunOptions::default()
        }
    }
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Plan this flow alone; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(super) flow: Vec<String>,
    /// How flows are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: PlanFormat,
}

/// How plans are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    /// A paragraph for each flow
    #[default]
    Text,
    /// One JSON object a line for each flow
    Json,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// How rows are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// How findings are printed: as lines with the T-SQL below, or as rows
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,
}

/// Arguments of `maintain`.
#[derive(Debug, Args)]
pub(super) struct MaintainArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Maintain this flow's table alone; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(super) flow: Vec<String>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Rewrite data files of which more than this percentage of the rows is deleted
    #[arg(long, value_name = "PERCENT", default_value_t = Maintenance::PURGE_PERCENT,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(super) purge: u8,
    /// Delete files that no version of the table needs any more, also those of writes that failed
    #[arg(long)]
    pub(super) vacuum: bool,
    /// Keep files that were part of the table, or written, within these hours; the table's own retention
    /// (delta.deletedFileRetentionDuration, a week unless set) if not given
    #[arg(long, value_name = "HOURS", requires = "vacuum")]
    pub(super) retain: Option<u32>,
    /// Let --retain be less than the table's retention: readers of earlier versions fail then, and flows that are at
    /// work may commit a table that cannot be read
    #[arg(long, requires = "retain")]
    pub(super) force: bool,
    /// How rows are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,
}

/// Arguments of `query`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("text").required(true).multiple(true))]
pub(super) struct QueryArguments {
    /// Statements to execute; they may begin with a comment (-- …)
    #[arg(
        short,
        long,
        value_name = "SQL",
        group = "text",
        allow_hyphen_values = true
    )]
    pub(super) command: Vec<String>,
    /// A file of statements to execute, before those of -c; - is standard input
    #[arg(short, long, value_name = "FILE", group = "text")]
    pub(super) file: Option<PathBuf>,
    /// Put this file's connections and tables in scope
    #[arg(long, value_name = "FILE")]
    pub(super) pipeline: Option<PathBuf>,
    /// How rows are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: RowFormat,
    /// Write rows to this file, which is there when all are written; a file of that name is replaced
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

/// How the rows of a report are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables of text, for people
    #[default]
    Table,
    /// One JSON object a line; bytes are hexadecimal, times ISO 8601
    Json,
    /// Comma-separated values below a line of names; NULL is nothing
    Csv,
}

/// Arguments of `simulate`.
#[cfg(feature = "simulator")]
#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// The T-SQL script that is the database
    #[arg(value_name = "SCRIPT")]
    pub(super) script: PathBuf,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:14330")]
    pub(super) listen: std::net::SocketAddr,
    /// Write the server's certificate to this file, in PEM, for clients that verify it
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: Option<PathBuf>,
    /// The seed of what is left to chance, such as the order of rows without ORDER BY; taken at random
    /// unless given
    #[arg(long, value_name = "SEED")]
    pub(super) seed: Option<u64>,
    /// Password of the login sa; a random one is made and printed unless given
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "CDCQL_SIMULATOR_PASSWORD",
        hide_env_values = true
    )]
    pub(super) password: Option<String>,
    /// How often the capture job scans the log, such as 500ms or 5s; 0 captures with every commit. The
    /// script itself is captured when the server opens
    #[arg(long, value_name = "INTERVAL", default_value = "1s", value_parser = interval)]
    pub(super) capture_interval: Duration,
    /// The collation of the server, such as Latin1_General_CS_AS, and of databases that name none. One that
    /// tells cases apart tells them apart in names too
    #[arg(long, value_name = "COLLATION", value_parser = collation)]
    pub(super) collation: Option<crate::simulator::protocol::Collation>,
    /// Append to the script what clients commit, so that the next start makes the same database
    ///
    /// Each commit is on the disk before it is seen. A replay has the same tables, change tables, LSNs, times and
    /// IDENTITY values; what the capture job did when is not recorded, and rolled back work leaves nothing. The
    /// passwords of CREATE LOGIN are in the script as in the statement. A statement that a replay could not
    /// repeat is refused with the reason: one that changes tables after what capture has written by then (unless
    /// --capture-interval is 0), after other sessions' or the server's state, or under an old snapshot. There are
    /// no gaps between LSNs, and no entries for idle databases.
    #[arg(long, conflicts_with = "replica_lag")]
    pub(super) record: bool,
    /// Let every second connection reach a read-only replica that is so many commits and scans behind, and comes
    /// one nearer with each batch
    #[arg(long, value_name = "COMMITS", default_value_t = 0)]
    pub(super) replica_lag: usize,
    /// What moves the clock after the script: `statements`, one second for each that writes, so that the
    /// same statements have the same times; or `machine`, this machine's clock in UTC
    #[arg(long, value_name = "CLOCK", value_enum, default_value_t)]
    pub(super) clock: ClockArgument,
}

impl Arguments {
    /// The process's arguments; ends the process where they make no sense.
    pub(super) fn of_process() -> Self {
        let mut arguments = config::parsed();
        #[cfg(feature = "simulator")]
        if let Some(Command::Simulate(simulate)) = &arguments.command
            && simulate.record
            && simulate.clock == ClockArgument::Machine
        {
            let message = "--record needs --clock statements: a replay has no other clock";
            conflict(message);
        }
        if let Some(message) = arguments.misplaced_parameter() {
            conflict(&message);
        }
        if let Err(message) = arguments.place_pipeline() {
            conflict(&message);
        }
        config::warn_of_variables(&arguments);
        arguments
    }

    /// Hands a `--pipeline` that stands before a command to that command, or says why it cannot have it.
    fn place_pipeline(&mut self) -> Result<(), String> {
        let Some(command) = &mut self.command else {
            return Ok(());
        };
        let Some(file) = self.pipeline.take() else {
            return Ok(());
        };
        match command {
            Command::Query(query) if query.pipeline.is_none() => {
                query.pipeline = Some(file);
                Ok(())
            }
            Command::Query(_) => Err(
                "--pipeline stands both before the command and behind it: write it once, behind it"
                    .to_owned(),
            ),
            other => Err(match other.name_with_file() {
                Some(name) => format!(
                    "--pipeline is for the REPL and for query; {name} takes its file without it: cdcql {name} FILE"
                ),
                None => {
                    "--pipeline is for the REPL and for query; this command reads no pipeline file"
                        .to_owned()
                }
            }),
        }
    }
}

impl Command {
    /// The name of a command whose argument is a pipeline file.
    fn name_with_file(&self) -> Option<&'static str> {
        match self {
            Self::Run(_) => Some("run"),
            Self::Check(_) => Some("check"),
            Self::Plan(_) => Some("plan"),
            Self::Status(_) => Some("status"),
            Self::Doctor(_) => Some("doctor"),
            Self::Verify(_) => Some("verify"),
            Self::Maintain(_) => Some("maintain"),
            _ => None,
        }
    }
}

/// Ends the process over arguments that do not go together.
fn conflict(message: &str) -> ! {
    Arguments::command()
        .error(clap::error::ErrorKind::ArgumentConflict, message)
        .exit()
}

/// What moves the clock of `simulate`.
#[cfg(feature = "simulator")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum ClockArgument {
    /// One second for each statement that writes
    #[default]
    Statements,
    /// The machine's clock
    Machine,
}
