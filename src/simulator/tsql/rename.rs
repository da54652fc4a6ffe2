//! `sp_rename`: tables, columns and keys get other names and stay what they are.

use std::sync::Arc;

use super::computed::dependent;
use super::system::parse_name;
use crate::simulator::capture::{Argument, Arguments};
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{State, Table, Write, arrow_schema};

/// The parameters of `sp_rename`.
const PARAMETERS: &[&str] = &["objname", "newname", "objtype"];

/// `sp_rename`.
pub(crate) fn rename(write: &mut Write, arguments: &[Argument]) -> Result<(), ServerError> {
    let arguments = Arguments::bind("sp_rename", PARAMETERS, arguments)?;
    let old = arguments.required("objname")?;
    let new = arguments.required("newname")?;
    let kind = arguments.text("objtype")?.map(|kind| kind.to_uppercase());
    let parts = parse_name(&old).map(|name| name.0).unwrap_or_default();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let database = write.database().to_owned();
    let missing = || no_item(&old, &database, kind.as_deref());
    let (table, part) = match (kind.as_deref(), parts.as_slice()) {
        (None | Some("OBJECT"), [table]) => (find(write.state(), "dbo", table), None),
        (None | Some("OBJECT"), [schema, table]) => (find(write.state(), schema, table), None),
        (Some("COLUMN" | "INDEX"), [table, part]) => {
            (find(write.state(), "dbo", table), Some(*part))
        }
        (Some("COLUMN" | "INDEX"), [schema, table, part]) => {
            (find(write.state(), schema, table), Some(*part))
        }
        (None | Some("OBJECT" | "COLUMN" | "INDEX"), _) => return Err(missing()),
        (Some(other), _) => {
            return Err(ServerError::unsupported(format!("sp_rename of a {other}")));
        }
    };
    let mut table = table.ok_or_else(missing)?.as_ref().clone();
    match (kind.as_deref(), part) {
        (Some("COLUMN"), Some(part)) => {
            let at = table.column(part).ok_or_else(missing)?;
            rename_column(&mut table, at, &new)?;
        }
        (_, Some(part)) => {
            if !rename_key(&mut table, part, &new) {
                return Err(missing());
            }
        }
        (_, None) => {
            if write.state().table(&table.schema, &new).is_some() {
                return Err(taken(&new, "OBJECT"));
            }
            table.name = new;
        }
    }
    write.forget(table.object_id);
    write.state_mut().put(table);
    Ok(())
}

fn find(state: &State, schema: &str, name: &str) -> Option<Arc<Table>> {
    let found = state.table(schema, name).filter(|table| !table.shipped);
    found.cloned()
}

fn rename_column(table: &mut Table, at: usize, new: &str) -> Result<(), ServerError> {
    if table.column(new).is_some_and(|other| other != at) {
        return Err(taken(new, "COLUMN"));
    }
    if dependent(table, &table.columns[at].name).is_some() {
        return Err(ServerError::new(
            15336,
            format!(
                "Object '{}' cannot be renamed because the object participates in enforced dependencies.",
                table.columns[at].name
            ),
        ));
    }
    let mut columns = table.columns.to_vec();
    columns[at].name = new.to_owned();
    table.rows = table.rows.under_schema(arrow_schema(&columns))?;
    table.columns = columns.into();
    Ok(())
}

/// Whether there was a key to rename.
fn rename_key(table: &mut Table, old: &str, new: &str) -> bool {
    let lower = old.to_lowercase();
    let mut keys = table.keys.to_vec();
    let Some(key) = keys.iter_mut().find(|key| key.name.to_lowercase() == lower) else {
        return false;
    };
    key.name = new.to_owned();
    table.keys = keys.into();
    true
}

fn no_item(name: &str, database: &str, kind: Option<&str>) -> ServerError {
    let kind = kind.unwrap_or("(null)");
    ServerError::new(
        15225,
        format!(
            "No item by the name of '{name}' could be found in the current database '{database}', given that @itemtype was input as '{kind}'."
        ),
    )
}

fn taken(name: &str, kind: &str) -> ServerError {
    ServerError::new(
        15335,
        format!(
            "Error: The new name '{name}' is already in use as a {kind} name and would cause a duplicate that is not permitted."
        ),
    )
}
