//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Keep Delta tables true to SQL Server tables, written as SQL.
#[derive(Debug, Parser)]
#[command(name = "cdcql", version, about, long_about = None, propagate_version = true)]
pub(super) struct Arguments {
    /// Put this file's connections and tables in scope of the REPL
    #[arg(long, value_name = "FILE")]
    pub(super) pipeline: Option<PathBuf>,
    /// Say more (-vv: debug)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// What to do; without a command, a REPL opens
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Execute the flows of a pipeline file once: copy what is new, and stop
    Run(RunArguments),
    /// Execute statements and print what they answer
    Query(QueryArguments),
    /// Run the embedded SQL Server stand-in alone, from a script
    #[cfg(feature = "simulator")]
    Simulate(SimulateArguments),
    /// Tell the tutorial as a story, on the embedded server and in a temporary folder
    #[cfg(feature = "simulator")]
    Demo,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

/// Arguments of `query`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("text").required(true).multiple(true))]
pub(super) struct QueryArguments {
    /// Statements to execute
    #[arg(short, long, value_name = "SQL", group = "text")]
    pub(super) command: Vec<String>,
    /// A file of statements to execute, before those of -c
    #[arg(short, long, value_name = "FILE", group = "text")]
    pub(super) file: Option<PathBuf>,
    /// Put this file's connections and tables in scope
    #[arg(long, value_name = "FILE")]
    pub(super) pipeline: Option<PathBuf>,
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
    /// Password of the login sa; a random one is made and printed unless given
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "CDCQL_SIMULATOR_PASSWORD",
        hide_env_values = true
    )]
    pub(super) password: Option<String>,
}
