//! Defaults of options: from `cdcql.toml`, and from environment variables.
//!
//! They become clap's own defaults before it parses, so that the command line goes before them, and `--help` shows them.
//! Only options with one value that say how a command works can be set; what it is to do stands on the command line.

mod environment;
mod file;
mod setting;

use std::env::{args_os, var_os};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use clap::error::{Error, ErrorKind};
use clap::{ArgMatches, Command, FromArgMatches};

pub(super) use self::environment::warn_of_variables;
use self::setting::{Default, Setting, settings_of};
use super::args::Arguments;
use super::grammar::{CONFIG, grammar};
use super::output::tell;

/// The file that is read in the working directory, if it is there.
const FILE: &str = "cdcql.toml";
/// The environment variable that names another one.
const VARIABLE: &str = "CDCQL_CONFIG";

/// The process's arguments, with the defaults that the file and the environment set; ends the process where they make no sense.
pub(super) fn parsed() -> Arguments {
    let plain = grammar().try_get_matches();
    let outcome = match (&plain, with_defaults(grammar())) {
        (plain_outcome, _) if needs_no_default(plain_outcome) => plain,
        (_, Ok(command)) => command.try_get_matches(),
        // Help is there for those whose file is wrong.
        (Err(error), Err(_)) if !error.use_stderr() => plain,
        (_, Err(faults)) => {
            tell!("{}", faults.join("\n"));
            std::process::exit(2)
        }
    };
    let arguments = outcome.and_then(|matches| Arguments::from_arg_matches(&matches));
    arguments.unwrap_or_else(|error| error.format(&mut grammar()).exit())
}

/// The arguments that `words` are, with the same defaults; `None` where they make no sense.
pub(super) fn read(words: &[OsString]) -> Option<Arguments> {
    let command = with_defaults(grammar()).ok()?;
    let matches = command.try_get_matches_from(words).ok()?;
    Arguments::from_arg_matches(&matches).ok()
}

/// True for what is made from the grammar alone.
fn needs_no_default(outcome: &Result<ArgMatches, Error>) -> bool {
    match outcome {
        Ok(matches) => matches!(matches.subcommand_name(), Some("completions" | "man")),
        Err(error) => error.kind() == ErrorKind::DisplayVersion,
    }
}

/// The grammar with the defaults that are set, or everything that is wrong with them.
fn with_defaults(command: Command) -> Result<Command, Vec<String>> {
    let settings = settings_of(&command);
    let mut faults = Vec::new();
    let mut defaults = Vec::new();
    match file() {
        Ok(None) => {}
        Ok(Some((path, text))) => match file::read(&path, &text, &command, &settings) {
            Ok(read) => defaults = read,
            Err(wrong) => faults.extend(wrong),
        },
        Err(fault) => faults.push(fault),
    }
    for setting in &settings {
        match of_environment(setting) {
            None => {}
            // The later of two is kept.
            Some(Ok(default)) => defaults.push(default),
            Some(Err(fault)) => faults.push(fault),
        }
    }
    match faults.is_empty() {
        true => Ok(defaults.into_iter().fold(command, put)),
        false => Err(faults),
    }
}

/// The grammar with one default more.
fn put(command: Command, default: Default<'_>) -> Command {
    let Default { setting, value } = default;
    let given = |command: Command| {
        command.mut_args(|arg| match arg.get_long() == Some(&setting.long) {
            true => arg.default_value(value.clone()),
            false => arg,
        })
    };
    match &setting.command {
        None => given(command),
        Some(name) => command.mut_subcommand(name, given),
    }
}

/// The default that the setting's variable sets, unless it is empty.
fn of_environment(setting: &Setting) -> Option<Result<Default<'_>, String>> {
    let name = setting.variable();
    let value = var_os(&name).filter(|value| !value.is_empty())?;
    let default = setting.default(value.to_string_lossy().into_owned());
    Some(default.map_err(|why| format!("error: the environment variable {name}: {why}")))
}

/// The file that sets defaults, and its text; `None` where none is named and there is none.
fn file() -> Result<Option<(PathBuf, String)>, String> {
    let of_variable = || var_os(VARIABLE).filter(|path| !path.is_empty());
    let named = named_in(args_os().skip(1)).or_else(of_variable);
    let is_named = named.is_some();
    let path = named.map_or_else(|| PathBuf::from(FILE), PathBuf::from);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == IoErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!(
        "error: the file of defaults {} cannot be read: {error}",
        path.display()
    )
}

/// The file that `--config` names. It is looked for before anything is parsed; no other argument's value can begin so but
/// statements.
fn named_in(arguments: impl Iterator<Item = OsString>) -> Option<OsString> {
    let flag = format!("--{CONFIG}");
    let with_value = format!("{flag}=");
    let mut named = None;
    let mut arguments = without_statements(arguments).take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == flag.as_str() {
            named = arguments.next();
        } else if let Some(value) = argument.to_str().and_then(|a| a.strip_prefix(&with_value)) {
            named = Some(OsString::from(value));
        }
    }
    named
}

/// The words of a command line but for the statements that `query -c` is given, which can look like any option.
pub(super) fn without_statements(
    words: impl Iterator<Item = OsString>,
) -> impl Iterator<Item = OsString> {
    let mut is_statement = false;
    words.filter(move |word| {
        let is_kept = !is_statement;
        is_statement = is_kept && takes_statements(word);
        is_kept
    })
}

/// True for `--command` and `-c`, also behind other short flags.
fn takes_statements(word: &OsStr) -> bool {
    let Some(word) = word.to_str() else {
        return false;
    };
    let flags = word.strip_prefix('-');
    let short = flags.and_then(|flags| flags.strip_suffix('c'));
    let is_short = short.is_some_and(|flags| flags.chars().all(|flag| matches!(flag, 'q' | 'v')));
    is_short || word == "--command"
}

#[cfg(test)]
mod tests {
    use super::named_in;

    #[test]
    fn the_file_is_found_before_anything_is_parsed() {
        let named = |line: &str| named_in(line.split(' ').map(Into::into));
        assert_eq!(named("run f.sql"), None);
        assert_eq!(named("--config a.toml run f.sql"), Some("a.toml".into()));
        assert_eq!(named("run f.sql --config=b.toml"), Some("b.toml".into()));
        assert_eq!(named("run -- --config a.toml"), None);
        for statement in ["query -c", "query --command", "query -qc"] {
            assert_eq!(named(&format!("{statement} --config a.toml")), None);
            assert_eq!(named(&format!("{statement} --config=a.toml")), None);
            let behind = format!("{statement} -c --config a.toml");
            assert_eq!(named(&behind), Some("a.toml".into()), "{behind}");
            let behind = format!("{statement} -- --config a.toml");
            assert_eq!(named(&behind), Some("a.toml".into()), "{behind}");
        }
    }
}
