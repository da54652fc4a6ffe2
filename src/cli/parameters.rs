//! `--set name=value`.

use super::args::{Arguments, Command};
use super::config::without_statements;
use crate::sql::Parameters;

impl Arguments {
    /// What is wrong with the parameters as they are given, whatever the file is.
    pub(super) fn misplaced_parameter(&self) -> Option<String> {
        if self.set.is_empty() {
            return None;
        }
        let reads_none = match &self.command {
            Some(Command::Init(_) | Command::Completions(_) | Command::Man(_)) => true,
            #[cfg(feature = "simulator")]
            Some(Command::Simulate(_) | Command::Demo) => true,
            _ => false,
        };
        if reads_none {
            return Some("--set is for commands that read a pipeline file".to_string());
        }
        // Clap keeps those on one side of the command alone. No other argument's value can begin so but statements.
        let written = without_statements(std::env::args_os()).filter(|argument| {
            argument
                .to_str()
                .is_some_and(|text| text == "--set" || text.starts_with("--set="))
        });
        if written.count() > self.set.len() {
            return Some(
                "--set stands both before the command and behind it: write all behind it"
                    .to_string(),
            );
        }
        let mut seen = Parameters::default();
        let mut twice = self.set.iter().filter(|(name, _)| !seen.set(name, ""));
        let (name, _) = twice.next()?;
        Some(format!("--set gives '{name}' more than one value"))
    }

    /// The values of the file's parameters.
    pub(super) fn parameters(&self) -> Parameters {
        let mut parameters = Parameters::default();
        for (name, value) in &self.set {
            // Names that are given twice have been refused.
            let _ = parameters.set(name, value);
        }
        parameters
    }
}
