//! The text of a pipeline file.

use super::connection::Connection;
use super::tables::{Chosen, Table};
use crate::engine::MAIN;
use crate::sql::{identifier, literal};

/// The whole file.
pub(super) fn pipeline(
    connection: &Connection,
    database: &str,
    chosen: &Chosen,
    lake: &str,
) -> String {
    let mut text = comment(&format!(
        "Keeps Delta tables true to the captured tables of database {database}. Made by cdcql init: it is yours to edit."
    ));
    text.push_str(COMMANDS);
    if let Some(variable) = connection.password() {
        let from = format!(
            "The password is what the environment variable {variable} has then; it is not kept here."
        );
        text.push_str(&comment(&from));
    }
    text.push_str(&connection.statement());
    text.push_str("\n-- The Delta tables lie below these locations: folders beside this file, or URLs of an object store.\n");
    for name in chosen.schemas() {
        text.push_str(&schema(name, lake));
    }
    for table in chosen.tables() {
        text.push('\n');
        text.push_str(&flow(connection.name(), table));
    }
    text
}

const COMMANDS: &str = "\
--
--   cdcql doctor FILE        is the server ready, and what mends it
--   cdcql plan FILE          what a run would do
--   cdcql run FILE           copy what is new, and stop
--   cdcql run FILE --follow  go on for ever
--   cdcql status FILE        where each table stands

";

fn schema(name: &str, lake: &str) -> String {
    let location = format!("{}/{}", lake.trim_end_matches('/'), folder(name));
    let target = identifier(&target_schema(name));
    format!("CREATE SCHEMA {target} LOCATION {};\n", literal(&location))
}

/// The folder of a schema's tables in the lake.
pub(super) fn folder(schema: &str) -> String {
    schema.replace(['/', '\\'], "_")
}

/// The statement of a table; as a comment with the reason, if it cannot be copied.
fn flow(connection: &str, table: &Table) -> String {
    let (schema, name) = (identifier(&table.schema), identifier(&table.name));
    let target = identifier(&target_schema(&table.schema));
    let source = identifier(connection);
    let statement = format!(
        "CREATE STREAMING TABLE {target}.{name}\nFLOW AUTO CDC FROM STREAM {source}.{schema}.{name} CHANGES;\n"
    );
    match &table.key {
        Ok(columns) => {
            let key = comment(&format!("Rows are told apart by {}.", columns.join(", ")));
            key + &statement
        }
        Err(why) => {
            let why = format!("{}.{} is left out: {why}", table.schema, table.name);
            comment(&why) + &comment(&statement)
        }
    }
}

/// The schema of the lake for a source's; one of them is there already.
fn target_schema(name: &str) -> String {
    match name.eq_ignore_ascii_case(MAIN) {
        true => format!("{name}_copy"),
        false => name.to_owned(),
    }
}

/// Lines of a comment; nothing in it ends one.
fn comment(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        format!("-- {line}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn nothing_gets_out_of_a_comment() {
        assert_eq!(comment("a\nb\rc"), "-- a\n-- b c\n");
    }
}
