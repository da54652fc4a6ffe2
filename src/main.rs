//! The `cdcql` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    cdcql::cli::main()
}
