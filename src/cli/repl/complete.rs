//! What an editor of statements offers: completion, colours, and whether a text is whole.

use std::borrow::Cow;
use std::sync::Arc;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::super::rows::RowFormat;
use super::command;
use super::input::is_whole;
use super::names::Names;
use crate::sql::{KEYWORDS, TextClass, is_complete, text_classes};

/// Candidates that are offered; of more, a longer beginning is to be typed.
const MOST: usize = 200;

/// The editor's helper.
pub(super) struct Assistant {
    names: Arc<Names>,
    files: FilenameCompleter,
}

impl Assistant {
    pub(super) fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            files: FilenameCompleter::new(),
        }
    }

    /// What a backslash command may go on with.
    fn of_command(
        &self,
        line: &str,
        pos: usize,
        ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..pos).unwrap_or_default();
        let Some((name, rest)) = before.split_once(char::is_whitespace) else {
            let commands = command::NAMES.iter().map(ToString::to_string);
            return Ok((0, beginning_with(before, commands)));
        };
        let start = pos - rest.trim_start().len();
        let typed = rest.trim_start();
        let found = match name {
            "\\i" | "\\o" => return self.files.complete(line, pos, ctx),
            "\\d" => self.dotted(typed),
            "\\run" | "\\plan" => self.names.known_flows(),
            "\\x" | "\\timing" => vec!["on".to_string(), "off".to_string()],
            "\\format" => RowFormat::names(),
            "\\df" => self.names.functions(),
            _ => Vec::new(),
        };
        Ok((start, beginning_with(typed, found.into_iter())))
    }

    /// What a word of a statement may be.
    fn of_statement(&self, line: &str, word: &str) -> Vec<Pair> {
        let mut found = self.columns_for(line, word);
        found.extend(self.dotted(word));
        if !word.contains('.') && !word.is_empty() {
            found.extend(self.names.functions());
            let upper = word.chars().any(char::is_uppercase);
            found.extend(KEYWORDS.iter().map(|keyword| match upper {
                true => (*keyword).to_string(),
                false => keyword.to_lowercase(),
            }));
        }
        beginning_with(word, found.into_iter())
    }

    /// The tables' names up to the next dot.
    fn dotted(&self, word: &str) -> Vec<String> {
        let dots = word.matches('.').count();
        let tables = self.names.tables().into_iter();
        let mut found: Vec<_> = tables
            .map(|parts| match parts.len() > dots + 1 {
                true => parts.get(..=dots).unwrap_or_default().join(".") + ".",
                false => parts.join("."),
            })
            .collect();
        found.dedup();
        found
    }

    /// The columns of the tables that the text names, behind the alias that is typed, if one is.
    fn columns_for(&self, line: &str, word: &str) -> Vec<String> {
        let alias = word.rsplit_once('.').map(|(alias, _)| alias);
        if alias.is_some_and(|alias| alias.contains('.')) {
            return Vec::new();
        }
        let written = words(line);
        let tables = self.names.tables().into_iter().map(|parts| parts.join("."));
        let mut columns = Vec::new();
        for table in tables {
            if written.iter().any(|word| word.eq_ignore_ascii_case(&table)) {
                columns.extend(self.names.columns(&table));
            }
        }
        columns.sort();
        columns.dedup();
        match alias {
            Some(alias) => columns
                .iter()
                .map(|column| format!("{alias}.{column}"))
                .collect(),
            None => columns,
        }
    }
}

/// The dotted words of a text.
fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"')
}

/// Those of `candidates` that begin with `typed`, whatever the case, in order.
fn beginning_with(typed: &str, candidates: impl Iterator<Item = String>) -> Vec<Pair> {
    // Quotes are put around a name where it needs them, whether they were typed or not.
    let bare = |text: &str| text.replace('"', "").to_lowercase();
    let begun = bare(typed);
    let mut found: Vec<String> = candidates
        .filter(|candidate| bare(candidate).starts_with(&begun) && *candidate != typed)
        .collect();
    found.sort();
    found.dedup();
    found.truncate(MOST);
    let pairs = found.into_iter().map(|candidate| Pair {
        display: candidate.clone(),
        replacement: candidate,
    });
    pairs.collect()
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.starts_with('\\') {
            return self.of_command(line, pos, ctx);
        }
        let before = line.get(..pos).unwrap_or_default();
        // An open quote or comment is closed by nothing that follows.
        let is_open = !is_complete(&format!("{before};"));
        let in_text = text_classes(before).last().is_some_and(|(range, class)| {
            matches!(class, TextClass::Text | TextClass::Comment) && range.end == pos
        });
        if in_text || is_open {
            return Ok((pos, Vec::new()));
        }
        let start = before.rfind(|c: char| !is_word(c));
        let start = start.map_or(0, |at| {
            at + before[at..].chars().next().map_or(1, char::len_utf8)
        });
        let word = before.get(start..).unwrap_or_default();
        Ok((start, self.of_statement(line, word)))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Validator for Assistant {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(ctx.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        let mut shown = String::with_capacity(line.len() * 2);
        let mut done = 0;
        for (range, class) in text_classes(line) {
            let colour = match class {
                TextClass::Keyword => "\x1b[1;34m",
                TextClass::Text => "\x1b[32m",
                TextClass::Number => "\x1b[36m",
                TextClass::Comment => "\x1b[90m",
                TextClass::Name => continue,
            };
            shown.push_str(line.get(done..range.start).unwrap_or_default());
            shown.push_str(colour);
            shown.push_str(line.get(range.clone()).unwrap_or_default());
            shown.push_str("\x1b[0m");
            done = range.end;
        }
        shown.push_str(line.get(done..).unwrap_or_default());
        Cow::Owned(shown)
    }

    fn highlight_char(&self, _line: &str, _pos: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Helper for Assistant {}
