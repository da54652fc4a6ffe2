//! `cdcql.toml`: a key is an option, a table is a command.

use std::ops::Range;
use std::path::Path;

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting::{Default, Setting, key_of, other_way};
use crate::nearest::nearest;

/// The defaults that a file sets, or everything that is wrong with it, in its order.
pub(super) fn read<'a>(
    path: &Path,
    text: &str,
    grammar: &Command,
    settings: &'a [Setting],
) -> Result<Vec<Default<'a>>, Vec<String>> {
    let shown = |fault: Fault| {
        let (line, column) = place(text, fault.at);
        format!("{}:{line}:{column}: error: {}", path.display(), fault.why)
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or_default().start;
        vec![shown(Fault::at(at, error.message().to_owned()))]
    })?;
    let mut reading = Reading {
        grammar,
        settings,
        defaults: Vec::new(),
        faults: Vec::new(),
    };
    reading.whole(table.get_ref());
    let Reading {
        defaults,
        mut faults,
        ..
    } = reading;
    faults.sort_by_key(|fault| fault.at);
    match faults.is_empty() {
        true => Ok(defaults),
        false => Err(faults.into_iter().map(shown).collect()),
    }
}

/// The line and the column, in characters, of a byte; both count from 1.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// What is wrong, and at which byte.
struct Fault {
    at: usize,
    why: String,
}

impl Fault {
    fn at(at: usize, why: String) -> Self {
        Self { at, why }
    }
}

struct Reading<'a, 'g> {
    grammar: &'g Command,
    settings: &'a [Setting],
    defaults: Vec<Default<'a>>,
    faults: Vec<Fault>,
}

impl Reading<'_, '_> {
    fn whole(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let DeValue::Table(options) = value.get_ref() else {
                self.option(None, key.get_ref(), key.span(), value);
                continue;
            };
            match self.grammar.find_subcommand(key.get_ref().as_ref()) {
                Some(command) => {
                    for (key, value) in options {
                        self.option(Some(command), key.get_ref(), key.span(), value);
                    }
                }
                None => {
                    let commands = self.grammar.get_subcommands();
                    let near = suggestion(commands.map(Command::get_name), key.get_ref());
                    let why = format!("there is no command '{}'{near}", key.get_ref());
                    self.faults.push(Fault::at(key.span().start, why));
                }
            }
        }
    }

    fn option(
        &mut self,
        command: Option<&Command>,
        key: &str,
        at: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let name = command.map(Command::get_name);
        let settings = self.settings;
        let is_meant =
            |setting: &&Setting| setting.command.as_deref() == name && setting.key() == key;
        let Some(setting) = settings.iter().find(is_meant) else {
            let why = self.unknown(command, key);
            self.faults.push(Fault::at(at.start, why));
            return;
        };
        let place = value.span().start;
        match text_of(value.get_ref()).map(|text| setting.default(text)) {
            Some(Ok(default)) => self.defaults.push(default),
            Some(Err(why)) => self.faults.push(Fault::at(place, format!("{key}: {why}"))),
            None => {
                let why = format!("{key}: a text or a number is expected");
                self.faults.push(Fault::at(place, why));
            }
        }
    }

    /// Why a key sets nothing.
    fn unknown(&self, command: Option<&Command>, key: &str) -> String {
        let name = command.map(Command::get_name);
        let whole = command.unwrap_or(self.grammar);
        let is_meant = |arg: &&Arg| arg.get_long().is_some_and(|long| key_of(long) == key);
        if let Some(arg) = whole.get_opts().find(is_meant) {
            return format!("{key} has no default of one's own: {}", other_way(arg));
        }
        let owners = self.settings.iter().filter(|setting| setting.key() == key);
        let owners: Vec<_> = owners.map(|setting| setting.command.as_deref()).collect();
        match (name, owners.as_slice()) {
            (Some(_), [None]) => {
                return format!(
                    "{key} is an option of all commands: write it above the first table"
                );
            }
            (None, [Some(_), ..]) => {
                let tables = owners.iter().flatten().map(|name| format!("[{name}]"));
                let tables = alternatives(&tables.collect::<Vec<_>>());
                return format!("{key} is no option of all commands: write it below {tables}");
            }
            _ => {}
        }
        let known = self
            .settings
            .iter()
            .filter(|one| one.command.as_deref() == name);
        let known: Vec<String> = known.map(Setting::key).collect();
        let near = suggestion(known.iter().map(String::as_str), key);
        match name {
            Some(name) => format!("{name} has no option '{key}'{near}"),
            None => format!("there is no option '{key}' of all commands{near}"),
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
fn alternatives(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// What may have been meant.
fn suggestion<'n>(known: impl Iterator<Item = &'n str>, word: &str) -> String {
    let known: Vec<&str> = known.collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("; did you mean '{near}'?"),
        None if known.is_empty() => String::new(),
        None => format!("; there is {}", known.join(", ")),
    }
}

/// A value as the command line would have it.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
