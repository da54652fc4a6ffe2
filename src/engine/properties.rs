//! What a CREATE TABLE says of its table and of the flow that writes it.

use std::str::FromStr;

use crate::change::{OnGap, OnSchemaChange};
use crate::error::Error;
use crate::sink::delta::TableOptions;
use crate::sql::{CreateTable, Property, Statement};

/// What a new table gets.
pub(super) fn options_of(definition: &CreateTable) -> TableOptions {
    let mut properties = Vec::new();
    for property in &definition.properties {
        let value = property.value.text();
        match property.name.to_lowercase().as_str() {
            ON_GAP | READ_BACK | ON_SCHEMA_CHANGE | BACKFILL_COLUMNS => {}
            _ => properties.push((property.name.clone(), value.to_string())),
        }
    }
    TableOptions {
        partition_columns: definition
            .partitioned_by
            .iter()
            .map(|column| column.value.clone())
            .collect(),
        comment: definition.comment.clone(),
        properties,
    }
}

/// The property that says what a flow does where changes are lost, in lower case.
const ON_GAP: &str = "cdcql.ongap";

/// The property that says what a flow does where its source has other columns, in lower case.
const ON_SCHEMA_CHANGE: &str = "cdcql.onschemachange";

/// The property that says whether rows get the values of columns that came to the target after them, in lower case.
const BACKFILL_COLUMNS: &str = "cdcql.backfillcolumns";

/// The property that has large values read back which changes lack, in lower case.
const READ_BACK: &str = "cdcql.readback";

pub(super) fn on_gap(statement: &Statement, definition: &CreateTable) -> Result<OnGap, Error> {
    let words = ("policy", "write 'fail', 'resnapshot' or 'continue'");
    value_of(statement, definition, ON_GAP, OnGap::default(), words)
}

pub(super) fn on_schema_change(
    statement: &Statement,
    definition: &CreateTable,
) -> Result<OnSchemaChange, Error> {
    let words = ("policy", "write 'fail', 'ignore', 'add' or 'evolve'");
    let unless_given = OnSchemaChange::default();
    value_of(statement, definition, ON_SCHEMA_CHANGE, unless_given, words)
}

const TRUTH: (&str, &str) = ("truth value", "write 'true' or 'false'");

pub(super) fn read_back(statement: &Statement, definition: &CreateTable) -> Result<bool, Error> {
    value_of(statement, definition, READ_BACK, false, TRUTH)
}

pub(super) fn backfill_columns(
    statement: &Statement,
    definition: &CreateTable,
) -> Result<bool, Error> {
    value_of(statement, definition, BACKFILL_COLUMNS, true, TRUTH)
}

/// The value of a property, in whatever case it is written; `kind` and `help` are for one that cannot be read.
fn value_of<T: FromStr>(
    statement: &Statement,
    definition: &CreateTable,
    name: &str,
    unless_given: T,
    (kind, help): (&str, &str),
) -> Result<T, Error> {
    let given = property(definition, name);
    given.map_or(Ok(unless_given), |property| {
        let value = property.value.text().to_lowercase().parse();
        value.map_err(|_| no_value(statement, property, kind, help))
    })
}

/// The property with this name in lower case.
fn property<'a>(definition: &'a CreateTable, name: &str) -> Option<&'a Property> {
    let mut properties = definition.properties.iter();
    properties.find(|property| property.name.to_lowercase() == name)
}

fn no_value(statement: &Statement, property: &Property, kind: &str, help: &str) -> Error {
    let (name, value) = (&property.name, property.value.text());
    Error::invalid(statement.diagnostic(
        property.span,
        format!("{name} = '{value}' is no {kind}"),
        Some(help.to_string()),
    ))
}
