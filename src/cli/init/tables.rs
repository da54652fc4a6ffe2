//! Which tables the file copies, and which not.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::sink::delta::is_folder_name;
use crate::source::sqlserver::{Database, ErrorKind, SourceError};

/// A captured table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// Its key, or why it cannot be copied.
    pub(super) key: Result<Vec<String>, String>,
}

/// The captured tables that were asked for, by schema and name.
#[derive(Debug)]
pub(super) struct Chosen(Vec<Table>);

impl Chosen {
    pub(super) fn tables(&self) -> &[Table] {
        &self.0
    }

    /// Their schemas, each once, whatever the case of its letters.
    pub(super) fn schemas(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let schemas = self.0.iter().map(|table| table.schema.as_str());
        schemas
            .filter(|schema| seen.insert(schema.to_lowercase()))
            .collect()
    }

    /// How many are copied.
    pub(super) fn taken(&self) -> usize {
        self.0.iter().filter(|table| table.key.is_ok()).count()
    }

    /// How many are not.
    pub(super) fn left_out(&self) -> usize {
        self.0.len() - self.taken()
    }
}

/// The captured tables of these schemas and with these names, or all of the database without both.
///
/// # Errors
/// For a schema or table that is not there or not captured, or if no table is captured at all.
pub(super) async fn chosen(
    database: &Database,
    schemas: &[String],
    tables: &[String],
) -> Result<Chosen, Error> {
    let mut found = Vec::new();
    for name in tables {
        let (schema, table) = name.split_once('.').unwrap_or(("dbo", name));
        found.push(table_of(database, schema, table, true).await?);
    }
    let is_all = schemas.is_empty() && tables.is_empty();
    let wanted = match is_all {
        true => schemas_of(database),
        false => schemas.to_vec(),
    };
    let mut nothing = None;
    for schema in &wanted {
        match database.captured_tables(schema).await {
            Ok(tables) => {
                for table in &tables {
                    found.push(table_of(database, &table.schema, &table.name, false).await?);
                }
            }
            Err(error @ SourceError::NothingCaptured { .. }) if is_all => {
                nothing = nothing.or(Some(error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match nothing {
        Some(error) if found.is_empty() => Err(error.into()),
        _ => Ok(Chosen(in_order(found))),
    }
}

/// The schemas that may have captured tables; schema dbo, of which an error can tell, if there is none.
fn schemas_of(database: &Database) -> Vec<String> {
    let mut schemas = database.schema_names();
    schemas.retain(|schema| !schema.eq_ignore_ascii_case("cdc"));
    if schemas.is_empty() {
        schemas.push("dbo".to_owned());
    }
    schemas
}

/// By schema and name, each once; the second of two whose names differ only in case cannot have a target of its own.
fn in_order(mut tables: Vec<Table>) -> Vec<Table> {
    tables.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    tables.dedup_by(|one, other| one.schema == other.schema && one.name == other.name);
    let folded = |table: &Table| (table.schema.to_lowercase(), table.name.to_lowercase());
    let mut seen = BTreeMap::new();
    for table in &mut tables {
        let name = format!("{}.{}", table.schema, table.name);
        if let Some(other) = seen.insert(folded(table), name) {
            table.key = Err(format!(
                "its name differs from that of {other} only in case: give it a target with another name"
            ));
        }
    }
    tables
}

/// One captured table; one that was asked for by its name has to be there.
async fn table_of(
    database: &Database,
    schema: &str,
    name: &str,
    is_asked_for: bool,
) -> Result<Table, Error> {
    let table = |schema: &str, name: &str, key| Table {
        schema: schema.to_owned(),
        name: name.to_owned(),
        key,
    };
    match database.captured_table(schema, name).await {
        Ok(captured) => {
            let (schema, name) = (captured.schema_name(), captured.table_name());
            let key = match (captured.key_problem(), is_folder_name(name)) {
                (Some(problem), _) => Err(problem.to_string()),
                (None, false) => Err(
                    "its name cannot be that of a folder: give its target a LOCATION".to_owned(),
                ),
                (None, true) => Ok(captured
                    .key_names()
                    .iter()
                    .map(ToString::to_string)
                    .collect()),
            };
            Ok(table(schema, name, key))
        }
        Err(error) if !is_asked_for && error.kind() != ErrorKind::Connection => {
            Ok(table(schema, name, Err(error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}
