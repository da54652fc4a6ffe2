//! Names that stand for no table, and what was meant.

use datafusion::common::ResolvedTableReference;
use datafusion::execution::SessionState;

use crate::nearest::nearest;

/// What an error says of a table that there is not: the message, and the help if there is any.
pub(super) fn unknown_table(
    state: &SessionState,
    full: &ResolvedTableReference,
    written: &str,
) -> (String, Option<String>) {
    let catalogs = state.catalog_list();
    let Some(catalog) = catalogs.catalog(&full.catalog) else {
        let names = catalogs.catalog_names();
        let message = format!("'{written}': there is no connection '{}'", full.catalog);
        return (message, choice(&full.catalog, names));
    };
    let Some(schema) = catalog.schema(&full.schema) else {
        let message = format!(
            "'{written}': '{}' has no schema '{}'",
            full.catalog, full.schema
        );
        return (message, choice(&full.schema, catalog.schema_names()));
    };
    (
        format!("there is no table '{written}'"),
        choice(&full.table, schema.table_names()),
    )
}

/// The nearest name, or all of a few.
fn choice(wanted: &str, mut names: Vec<String>) -> Option<String> {
    /// No more names than this are listed.
    const LISTED: usize = 12;
    if let Some(near) = nearest(wanted, names.iter().map(String::as_str)) {
        return Some(format!("did you mean '{near}'?"));
    }
    names.retain(|name| name != "information_schema");
    names.sort_unstable();
    (1..=LISTED)
        .contains(&names.len())
        .then(|| format!("there is: {}", names.join(", ")))
}
