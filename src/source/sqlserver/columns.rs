//! Columns that are refused together.

use super::ident::quote;

/// One or more columns of a table with their types, for an error that names them all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    columns: Vec<(String, String)>,
}

impl Columns {
    /// Names and types; `None` if there are none.
    pub(super) fn of(columns: impl Iterator<Item = (String, String)>) -> Option<Self> {
        let columns = columns.collect::<Vec<_>>();
        (!columns.is_empty()).then_some(Self { columns })
    }

    /// The names, with commas between.
    pub(super) fn names(&self) -> String {
        self.joined(|(name, _)| name.clone())
    }

    /// `column a of t has type int, which` or `columns a (int), b (int) of t`, and what `one` or `more` say of them.
    pub(super) fn are(&self, table: &impl std::fmt::Display, one: &str, more: &str) -> String {
        match self.columns.as_slice() {
            [(name, type_name)] => format!("column {name} of {table} has type {type_name}, {one}"),
            _ => format!(
                "columns {} of {table} {more}",
                self.joined(|(name, type_name)| format!("{name} ({type_name})"))
            ),
        }
    }

    /// What a select list or an action would have to say to do without them.
    pub(super) fn remedy(&self) -> String {
        let names = self.joined(|(name, _)| identifier(name));
        format!("leave {} out with `* EXCEPT ({names})`", self.them())
    }

    /// `it` or `them`.
    pub(super) fn them(&self) -> &'static str {
        if self.columns.len() == 1 {
            "it"
        } else {
            "them"
        }
    }

    fn joined(&self, part: impl Fn(&(String, String)) -> String) -> String {
        self.columns.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

/// A name as a pipeline file can spell it.
fn identifier(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let bare = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if bare && !name.is_empty() {
        name.to_string()
    } else {
        quote(name)
    }
}
