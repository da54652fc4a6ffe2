//! The commands that begin with a backslash.

use rustyline::completion::unescape;

use crate::nearest::nearest;

/// What `\?` tells.
pub(super) const HELP: &str = "\
\\d [NAME]        the tables in scope, or the columns of one and where it lies; NAME may have CHANGES or VERSION AS OF behind it
\\dc              the connections
\\dn              the schemas
\\df [TEXT]       the functions, or those whose name has TEXT in it
\\lag             where the flows of the files in scope stand
\\plan [FLOW]     what a run would do with them
\\run [FLOW]      execute them once
\\i FILE          put a file's definitions and flows in scope, and execute its queries; again, where it was edited
\\o [FILE]        write results to FILE; without one, to the terminal again
\\format [FORMAT] table, csv, tsv, json, ndjson, markdown, parquet, arrow
\\x [on|off]      a line for each column of a row
\\timing [on|off] how long each statement took
\\set [NAME VALUE] give the parameter :NAME a value; without a name, list them
\\?               this text
\\q               leave
";

/// The commands, for completion and for what was meant.
pub(super) const NAMES: &[&str] = &[
    "\\d", "\\dc", "\\dn", "\\df", "\\lag", "\\plan", "\\run", "\\i", "\\o", "\\format", "\\x",
    "\\timing", "\\set", "\\?", "\\q",
];

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Help,
    Describe(Option<String>),
    Connections,
    Schemas,
    Functions(Option<String>),
    Lag,
    Plan(Option<String>),
    Run(Option<String>),
    Include(String),
    Output(Option<String>),
    Format(Option<String>),
    Expanded(Option<bool>),
    Timing(Option<bool>),
    Set(Option<(String, String)>),
}

/// Words that other shells end with, or help at, and what they are here.
const WORDS: [(&str, Command); 3] = [
    ("exit", Command::Quit),
    ("quit", Command::Quit),
    ("help", Command::Help),
];

/// Whether a text is such a word alone.
pub(super) fn is_word_command(text: &str) -> bool {
    word_command(text).is_some()
}

fn word_command(text: &str) -> Option<&'static Command> {
    let word = text.trim().trim_end_matches(';').trim_end();
    let mut words = WORDS.iter();
    words
        .find(|(known, _)| word.eq_ignore_ascii_case(known))
        .map(|(_, command)| command)
}

/// Whether a line begins with a command that there is.
pub(super) fn is_known(line: &str) -> bool {
    let name = line.split(char::is_whitespace).next().unwrap_or_default();
    NAMES.contains(&name.trim_end_matches(';'))
}

impl Command {
    /// Reads a line that begins with a backslash, or is a word of other shells; `None` for anything else.
    pub(super) fn of(text: &str) -> Option<Result<Self, String>> {
        match word_command(text) {
            Some(command) => Some(Ok(command.clone())),
            None => text
                .trim_start()
                .starts_with('\\')
                .then(|| Self::read(text)),
        }
    }

    /// Reads a line that begins with a backslash.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    fn read(line: &str) -> Result<Self, String> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (name, rest) = match line.split_once(char::is_whitespace) {
            Some((name, rest)) => (name, rest.trim()),
            None => (line, ""),
        };
        let given = (!rest.is_empty()).then(|| rest.to_string());
        let alone = |command| match &given {
            None => Ok(command),
            Some(given) => Err(format!("{name} takes nothing behind it, and not '{given}'")),
        };
        match name {
            "\\q" => alone(Self::Quit),
            "\\?" => alone(Self::Help),
            "\\d" => Ok(Self::Describe(given)),
            "\\dc" => alone(Self::Connections),
            "\\dn" => alone(Self::Schemas),
            "\\df" => Ok(Self::Functions(given)),
            "\\lag" => alone(Self::Lag),
            "\\plan" => Ok(Self::Plan(given)),
            "\\run" => Ok(Self::Run(given)),
            "\\i" => match given {
                Some(file) => Ok(Self::Include(unquoted(file))),
                None => Err("\\i takes a file: \\i pipelines/customers.sql".to_string()),
            },
            "\\o" => Ok(Self::Output(given.map(unquoted))),
            "\\format" => Ok(Self::Format(given)),
            "\\x" => switch(name, given).map(Self::Expanded),
            "\\timing" => switch(name, given).map(Self::Timing),
            "\\set" => match given {
                None => Ok(Self::Set(None)),
                Some(given) => match given.split_once(char::is_whitespace) {
                    Some((name, value)) => {
                        let name = name.trim_start_matches(':');
                        if !is_parameter(name) {
                            return Err(format!(
                                "'{name}' is no parameter's name: those are letters, digits and _, a letter or _ first"
                            ));
                        }
                        Ok(Self::Set(Some((
                            name.to_string(),
                            value.trim().to_string(),
                        ))))
                    }
                    None => Err(format!("\\set takes a value too: \\set {given} VALUE")),
                },
            },
            _ => Err(unknown(name)),
        }
    }
}

fn is_parameter(name: &str) -> bool {
    let is_letter = |c: char| c.is_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_numeric())
}

fn unknown(name: &str) -> String {
    match nearest(name, NAMES.iter().copied()) {
        Some(near) => format!("there is no command {name}; did you mean {near}?"),
        None => format!("there is no command {name}; \\? tells all"),
    }
}

fn switch(name: &str, given: Option<String>) -> Result<Option<bool>, String> {
    match given.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(other) => Err(format!("{name} takes on or off, and not '{other}'")),
    }
}

/// A path without the quotes around it, or without the backslashes that completion puts before its blanks; `~/` without
/// quotes is the user's folder.
fn unquoted(path: String) -> String {
    let inside = |quote| {
        let path = path.strip_prefix(quote)?;
        path.strip_suffix(quote)
    };
    match inside('\'').or_else(|| inside('"')) {
        Some(inner) => inner.to_string(),
        None if cfg!(windows) => path,
        None => {
            let path = unescape(&path, Some('\\'));
            let at_home = path.strip_prefix("~/").zip(dirs::home_dir());
            match at_home.map(|(rest, home)| home.join(rest)) {
                Some(path) => path.to_string_lossy().into_owned(),
                None => path.into_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_what_they_take() {
        let describe = |name: &str| Command::Describe(Some(name.to_string()));
        assert_eq!(Command::read("\\d"), Ok(Command::Describe(None)));
        assert_eq!(Command::read(" \\d  a.b;"), Ok(describe("a.b")));
        for path in ["'a b.sql'", "\"a b.sql\"", "a b.sql"] {
            let include = Command::Include("a b.sql".to_string());
            assert_eq!(Command::read(&format!("\\i {path}")), Ok(include));
        }
        #[cfg(unix)]
        assert_eq!(
            Command::read("\\o it\\'s\\ b.csv"),
            Ok(Command::Output(Some("it's b.csv".to_string())))
        );
        assert_eq!(Command::read("\\x OFF"), Ok(Command::Expanded(Some(false))));
        for (text, command) in [
            ("exit", Command::Quit),
            ("QUIT;", Command::Quit),
            (" help\n", Command::Help),
        ] {
            assert_eq!(Command::of(text), Some(Ok(command)));
        }
        assert_eq!(Command::of("exit now"), None);
        let set = Some(("n".to_string(), "'a  b'".to_string()));
        assert_eq!(Command::read("\\set :n  'a  b'"), Ok(Command::Set(set)));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        for (line, part) in [
            ("\\timin", "did you mean \\timing?"),
            ("\\nothing", "\\? tells all"),
            ("\\x maybe", "on or off"),
            ("\\q now", "takes nothing"),
            ("\\i", "takes a file"),
            ("\\set n", "takes a value"),
            ("\\set a-b 1", "no parameter's name"),
            ("\\set 1 1", "no parameter's name"),
        ] {
            let error = Command::read(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn the_help_tells_every_command() {
        for name in NAMES {
            assert!(
                HELP.lines()
                    .any(|line| line.split(' ').next() == Some(name)),
                "{name}"
            );
        }
    }
}
