//! Which options can have a default of one's own.

use std::error::Error as _;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

use crate::cli::grammar::CONFIG;

/// Options with one value that say what a command is to do, and not how, or that are secret.
const OF_THE_COMMAND_LINE: [&str; 8] = [
    CONFIG,
    "pipeline",
    "where",
    "file",
    "output",
    "certificate",
    "password",
    // It contradicts --record, which could not be seen of a default.
    "replica-lag",
];

/// Commands that are given once.
const GIVEN_ONCE: [&str; 1] = ["init"];

/// An option that can have a default of one's own.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The command whose option it is; `None` for one of all commands.
    pub(super) command: Option<String>,
    /// Its long name.
    pub(super) long: String,
    parser: ValueParser,
    /// The words that it can be; none if it can be others.
    words: Vec<String>,
}

/// A default that is set.
#[derive(Debug)]
pub(super) struct Default<'a> {
    pub(super) setting: &'a Setting,
    pub(super) value: String,
}

/// All that can be set.
pub(super) fn settings_of(grammar: &Command) -> Vec<Setting> {
    let of_all = settable(grammar).map(|arg| Setting::new(None, arg));
    let commands = grammar.get_subcommands();
    let of_commands = commands.flat_map(|command| {
        settable(command).map(|arg| Setting::new(Some(command.get_name()), arg))
    });
    of_all.chain(of_commands).flatten().collect()
}

fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_given_once = GIVEN_ONCE.contains(&command.get_name());
    let options = command.get_opts().filter(move |_| !is_given_once);
    options.filter(|arg| {
        let long = arg.get_long().unwrap_or_default();
        matches!(arg.get_action(), ArgAction::Set) && !OF_THE_COMMAND_LINE.contains(&long)
    })
}

/// What an option is called in a file.
pub(super) fn key_of(long: &str) -> String {
    long.replace('-', "_")
}

/// What an option, of one command or of all, is called in the environment.
pub(super) fn variable_of(command: Option<&str>, long: &str) -> String {
    let words = ["CDCQL"].into_iter().chain(command);
    let words: Vec<&str> = words.chain([long]).collect();
    words.join("_").replace('-', "_").to_uppercase()
}

/// How an option is given that cannot have a default of one's own.
pub(super) fn other_way(arg: &Arg) -> String {
    let on_the_line = format!(
        "write --{} on the command line",
        arg.get_long().unwrap_or_default()
    );
    match arg.get_env() {
        Some(variable) => format!(
            "{on_the_line}, or set the environment variable {}",
            variable.to_string_lossy()
        ),
        None => on_the_line,
    }
}

impl Setting {
    fn new(command: Option<&str>, arg: &Arg) -> Option<Self> {
        let words = arg.get_possible_values();
        Some(Self {
            command: command.map(str::to_owned),
            long: arg.get_long()?.to_owned(),
            parser: arg.get_value_parser().clone(),
            words: words
                .iter()
                .map(|word| word.get_name().to_owned())
                .collect(),
        })
    }

    /// What it is called in a file.
    pub(super) fn key(&self) -> String {
        key_of(&self.long)
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        variable_of(self.command.as_deref(), &self.long)
    }

    /// Itself with a value, as the command line would take it, or why it cannot be.
    pub(super) fn default(&self, value: String) -> Result<Default<'_>, String> {
        let alone = Arg::new("value")
            .long("value")
            .value_parser(self.parser.clone());
        let alone = Command::new("cdcql").no_binary_name(true).arg(alone);
        match alone.try_get_matches_from([format!("--value={value}")]) {
            Ok(_) => Ok(Default {
                setting: self,
                value,
            }),
            Err(_) if !self.words.is_empty() => {
                Err(format!("'{value}' is not one of {}", self.words.join(", ")))
            }
            Err(error) => {
                let why = error.source().map(ToString::to_string);
                Err(format!(
                    "'{value}' is no value of --{}: {}",
                    self.long,
                    why.unwrap_or_else(|| "a value is missing".to_owned())
                ))
            }
        }
    }
}
