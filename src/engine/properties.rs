//! What a CREATE TABLE says of its table and of the flow that writes it.

use crate::change::{OnGap, OnSchemaChange, UnknownPolicy};
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
    let given = property(definition, ON_GAP);
    given.map_or(Ok(OnGap::default()), |property| {
        let policy = property.value.text().parse();
        policy.map_err(|UnknownPolicy| {
            let help = "write 'fail', 'resnapshot' or 'continue'";
            no_value(statement, property, "policy", help)
        })
    })
}

pub(super) fn on_schema_change(
    statement: &Statement,
    definition: &CreateTable,
) -> Result<OnSchemaChange, Error> {
    let given = property(definition, ON_SCHEMA_CHANGE);
    given.map_or(Ok(OnSchemaChange::default()), |property| {
        let policy = property.value.text().parse();
        policy.map_err(|UnknownPolicy| {
            let help = "write 'fail', 'ignore', 'add' or 'evolve'";
            no_value(statement, property, "policy", help)
        })
    })
}

pub(super) fn read_back(statement: &Statement, definition: &CreateTable) -> Result<bool, Error> {
    truth(statement, definition, READ_BACK, false)
}

pub(super) fn backfill_columns(
    statement: &Statement,
    definition: &CreateTable,
) -> Result<bool, Error> {
    truth(statement, definition, BACKFILL_COLUMNS, true)
}

fn truth(
    statement: &Statement,
    definition: &CreateTable,
    name: &str,
    unless_given: bool,
) -> Result<bool, Error> {
    let given = property(definition, name);
    given.map_or(Ok(unless_given), |property| {
        let value = property.value.text().to_lowercase().parse();
        let help = "write 'true' or 'false'";
        value.map_err(|_| no_value(statement, property, "truth value", help))
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
