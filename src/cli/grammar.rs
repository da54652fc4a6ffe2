//! The grammar as a whole: what the arguments of each command say, and what goes for all of them.

use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory, value_parser};
use datafusion::DATAFUSION_VERSION;

use super::args::Arguments;
use crate::sink::delta::library_version;

/// The option that names a file of defaults.
pub(super) const CONFIG: &str = "config";

/// The grammar without anyone's defaults.
pub(super) fn grammar() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("Take defaults of options from this file, and not from ./cdcql.toml")
        .long_help(CONFIG_HELP);
    Arguments::command()
        .long_version(long_version())
        .arg(config)
}

const CONFIG_HELP: &str = "\
Take defaults of options from this file, and not from ./cdcql.toml

The file is TOML: a key is an option's long name with _ for -, and a table has the options of a command, such as \
memory = \"4GiB\" above [run] and parallel = 8 below it. CDCQL_CONFIG names a file too. The command line goes before \
environment variables (CDCQL_MEMORY, CDCQL_RUN_PARALLEL), these before the file, and the file before what is built in; \
--help shows the default that holds.";

/// The versions of cdcql and of what plans and stores for it, a line each.
fn long_version() -> String {
    format!(
        "{}\nDataFusion {DATAFUSION_VERSION}\ndeltalake {}",
        env!("CARGO_PKG_VERSION"),
        library_version()
    )
}
