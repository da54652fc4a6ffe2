//! `cdcql completions SHELL` and `cdcql man [COMMAND]`: what the grammar alone tells.

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::{self, Arguments};
use super::grammar::grammar;
use super::output::write_out;
use crate::error::Error;
use crate::nearest::nearest;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell that shall know them
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// The command whose page is printed; cdcql's own without one
    #[arg(value_name = "COMMAND", value_parser = command_name)]
    command: Option<String>,
}

/// Prints what the arguments ask for, if the grammar alone tells it.
pub(super) fn answer(arguments: &Arguments) -> Option<Result<(), Error>> {
    match &arguments.command {
        Some(args::Command::Completions(completions)) => Some(complete(completions)),
        Some(args::Command::Man(man)) => Some(print_page(man)),
        _ => None,
    }
}

fn complete(arguments: &CompletionsArguments) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut grammar(), "cdcql", &mut script);
    write_out(&String::from_utf8_lossy(&script))
}

fn print_page(arguments: &ManArguments) -> Result<(), Error> {
    let mut whole = grammar();
    whole.build();
    let named = arguments.command.as_deref();
    let command = named.and_then(|name| whole.find_subcommand(name).cloned());
    let mut page = Vec::new();
    Man::new(command.unwrap_or(whole))
        .render(&mut page)
        .map_err(|source| Error::Output { source })?;
    write_out(&String::from_utf8_lossy(&page))
}

/// The name of one of the commands.
fn command_name(text: &str) -> Result<String, String> {
    let whole = grammar();
    let names: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
    if names.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(match nearest(text, names.iter().copied()) {
        Some(near) => format!("there is no such command; did you mean '{near}'?"),
        None => format!("there is no such command but {}", names.join(", ")),
    })
}
