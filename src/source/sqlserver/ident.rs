//! Names of the server: quoting and matching.

use std::fmt;

/// A table's schema and name, as the server spells them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl TableName {
    pub(super) fn new(schema: &str, name: &str) -> Self {
        Self {
            schema: schema.to_string(),
            name: name.to_string(),
        }
    }

    /// `[schema].[table]`, safe to splice into SQL text.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    fn folded(&self) -> (String, String) {
        (self.schema.to_lowercase(), self.name.to_lowercase())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A delimited identifier: in brackets, with `]` doubled
/// ([documentation](https://learn.microsoft.com/sql/t-sql/functions/quotename-transact-sql)).
pub(super) fn quote(identifier: &str) -> String {
    format!("[{}]", identifier.replace(']', "]]"))
}

/// What a name matches among several.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match<'a, T> {
    /// Exactly one, or the one that is spelled alike.
    One(&'a T),
    /// Nothing.
    None,
    /// Several that differ from it only in case.
    Many(Vec<&'a T>),
}

/// Finds `wanted` without regard to case; an exact spelling wins over others.
pub(super) fn find_table<'a, T>(
    wanted: &TableName,
    tables: &'a [T],
    name_of: impl Fn(&T) -> &TableName,
) -> Match<'a, T> {
    let folded = wanted.folded();
    let is_exact = |table: &T| name_of(table) == wanted;
    matching(tables, is_exact, |table| name_of(table).folded() == folded)
}

/// Finds a schema as [`find_table`] finds a table.
pub(super) fn find_schema<'a>(wanted: &str, schemas: &'a [String]) -> Match<'a, String> {
    let folded = wanted.to_lowercase();
    let is_exact = |schema: &String| schema == wanted;
    matching(schemas, is_exact, |schema| schema.to_lowercase() == folded)
}

fn matching<'a, T>(
    items: &'a [T],
    is_exact: impl Fn(&T) -> bool,
    is_like: impl Fn(&T) -> bool,
) -> Match<'a, T> {
    if let Some(exact) = items.iter().find(|item| is_exact(item)) {
        return Match::One(exact);
    }
    let mut found = items
        .iter()
        .filter(|item| is_like(item))
        .collect::<Vec<_>>();
    match found.len() {
        0 => Match::None,
        1 => Match::One(found.remove(0)),
        _ => Match::Many(found),
    }
}

/// The end of an error message that offers the nearest name.
pub(super) fn did_you_mean(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean '{name}'?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_brackets_are_doubled() {
        assert_eq!(quote("a"), "[a]");
        assert_eq!(quote("a]b"), "[a]]b]");
        assert_eq!(quote("x]; DROP TABLE t --"), "[x]]; DROP TABLE t --]");
        assert_eq!(TableName::new("d]o", "t.[x]").quoted(), "[d]]o].[t.[x]]]");
    }

    #[test]
    fn a_schema_is_found_whatever_its_case_unless_that_tells_two_apart() {
        let schemas = ["dbo", "Sales", "sales"].map(str::to_string);
        assert_eq!(find_schema("DBO", &schemas), Match::One(&schemas[0]));
        assert_eq!(find_schema("sales", &schemas), Match::One(&schemas[2]));
        let both = Match::Many(vec![&schemas[1], &schemas[2]]);
        assert_eq!(find_schema("SALES", &schemas), both);
        assert_eq!(find_schema("sale", &schemas), Match::None);
    }

    #[test]
    fn names_match_without_case_and_exact_spelling_wins() {
        let tables = [
            TableName::new("dbo", "Orders"),
            TableName::new("dbo", "ORDERS"),
            TableName::new("dbo", "Items"),
        ];
        let find = |name: &str| find_table(&TableName::new("DBO", name), &tables, |t| t);
        assert_eq!(find("items"), Match::One(&tables[2]));
        assert_eq!(find("orders"), Match::Many(vec![&tables[0], &tables[1]]));
        assert_eq!(find("none"), Match::None);
        let exact = find_table(&TableName::new("dbo", "ORDERS"), &tables, |t| t);
        assert_eq!(exact, Match::One(&tables[1]));
    }
}
