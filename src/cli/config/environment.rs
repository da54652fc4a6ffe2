//! Environment variables that were probably meant to set a default, and set none.
//!
//! Others may begin as cdcql's own do, such as those that a pipeline file reads by `env('CDCQL_…')`. So a name is told only
//! where it is that of an option which cannot be set so, or a slip of the pen away from one that can.

use std::collections::BTreeMap;
use std::env::vars_os;

use clap::{Arg, Command};
use serde_json::json;

use super::VARIABLE;
use super::setting::{Setting, other_way, settings_of, variable_of};
use crate::cli::args::{self, Arguments, LogFormat};
use crate::cli::grammar::grammar;
use crate::cli::output::tell;
use crate::nearest::nearest;

/// What the names of all variables begin with that set something.
const PREFIX: &str = "CDCQL_";
/// How many edits a name may be away from the one that was meant.
const MOST_EDITS: usize = 2;

/// Warns of variables that set nothing, on stderr and in the format of the log, which has not begun.
pub(in crate::cli) fn warn_of_variables(arguments: &Arguments) {
    let needs_no_default = matches!(
        arguments.command,
        Some(args::Command::Completions(_) | args::Command::Man(_))
    );
    if arguments.quiet || needs_no_default {
        return;
    }
    for warning in warnings(&set_variables(), &grammar()) {
        match arguments.log_format {
            LogFormat::Text => tell!("warning: {warning}"),
            LogFormat::Json => tell!("{}", line_of_log(&warning)),
        }
    }
}

/// A warning as the log would have it.
fn line_of_log(warning: &str) -> serde_json::Value {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    json!({ "timestamp": now, "level": "WARN", "message": warning })
}

/// The names of cdcql's kind that have a value, in their order; values may be secret.
fn set_variables() -> Vec<String> {
    let set = vars_os().filter(|(_, value)| !value.is_empty());
    let names = set.filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    names.sort();
    names
}

/// A sentence for each name that sets nothing and was probably meant to.
fn warnings(names: &[String], grammar: &Command) -> Vec<String> {
    let effective = effective(grammar);
    let remedies = remedies(grammar, &effective);
    let others = names.iter().filter(|name| !effective.contains(name));
    let told = others.filter_map(|name| {
        let remedy = match remedies.get(name) {
            Some(remedy) => format!(": {remedy}"),
            None => format!("; did you mean {PREFIX}{}?", meant(name, &effective)?),
        };
        Some(format!(
            "the environment variable {name} has no effect{remedy}"
        ))
    });
    told.collect()
}

/// The names of all variables that have an effect.
fn effective(grammar: &Command) -> Vec<String> {
    let settings = settings_of(grammar);
    let of_settings = settings.iter().map(Setting::variable);
    let named = options(grammar).filter_map(|(_, arg)| arg.get_env());
    let of_options = named.map(|name| name.to_string_lossy().into_owned());
    let mut names = vec![VARIABLE.to_owned()];
    names.extend(of_settings.chain(of_options));
    names
}

/// What is to be done instead of setting a variable that is named as an option and has no effect.
fn remedies(grammar: &Command, effective: &[String]) -> BTreeMap<String, String> {
    let remedies = options(grammar).filter_map(|(command, arg)| {
        let long = arg.get_long()?;
        let of_all = variable_of(None, long);
        let remedy = match arg.is_global_set() && effective.contains(&of_all) {
            true => format!("--{long} is an option of all commands: set {of_all}"),
            false => other_way(arg),
        };
        Some((variable_of(command, long), remedy))
    });
    remedies
        .filter(|(name, _)| !effective.contains(name))
        .collect()
}

/// The options of no command, and those of each, which has those of all commands too.
fn options(grammar: &Command) -> impl Iterator<Item = (Option<&str>, &Arg)> {
    let of_all = grammar.get_arguments().filter(|arg| arg.is_global_set());
    let of_all: Vec<&Arg> = of_all.collect();
    let of_commands = grammar.get_subcommands().flat_map(move |command| {
        let own = command.get_arguments().chain(of_all.clone());
        own.map(move |arg| (Some(command.get_name()), arg))
    });
    let of_none = grammar.get_arguments().map(|arg| (None, arg));
    of_none.chain(of_commands)
}

/// The variable that was meant by a name, without what all begin with.
fn meant<'a>(name: &str, effective: &'a [String]) -> Option<&'a str> {
    let name = name.strip_prefix(PREFIX)?;
    let known = effective.iter().filter_map(|one| one.strip_prefix(PREFIX));
    let near = nearest(name, known)?;
    let edits = strsim::osa_distance(&name.to_uppercase(), near);
    (edits <= MOST_EDITS).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::{grammar, warnings};

    fn told(name: &str) -> Option<String> {
        warnings(&[name.to_owned()], &grammar()).pop()
    }

    #[test]
    fn a_name_is_told_that_is_almost_a_variables() {
        let meant = "the environment variable CDCQL_RUN_PARALEL has no effect; did you mean CDCQL_RUN_PARALLEL?";
        assert_eq!(told("CDCQL_RUN_PARALEL").as_deref(), Some(meant));
        for name in ["CDCQL_memory", "CDCQL_CONFGI", "CDCQL_QUERY_FORMT"] {
            assert!(told(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_of_others_are_not_told() {
        for name in [
            "CDCQL_",
            "CDCQL_CONFIG",
            "CDCQL_MEMORY",
            "CDCQL_PASSWORD",
            "CDCQL_PASSWORD_2",
            "CDCQL_DB_URL",
            "CDCQL_BENCH_PARALLEL",
            "CDCQL_BENCH_RUN",
            "CDCQL_TEST_ROWS",
            "CDCQL_TEST_PYTHON",
        ] {
            assert_eq!(told(name), None, "{name}");
        }
    }
}
