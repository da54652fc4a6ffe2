//! Arrow fields that remember the column's name, type and identity.

use std::collections::HashMap;

use datafusion::arrow::datatypes::Field;

use super::DefaultLength;
use crate::simulator::protocol::SqlType;

const TYPE: &str = "sql.type";
const NAME: &str = "sql.name";
const IDENTITY: &str = "sql.identity";

/// The field of a column. Its own name is in lower case, since names are compared without case; the
/// declared spelling is in the metadata, which plans carry along.
pub(crate) fn field(name: &str, sql_type: SqlType, nullable: bool, identity: bool) -> Field {
    let mut metadata = HashMap::from([
        (TYPE.to_owned(), sql_type.declared()),
        (NAME.to_owned(), name.to_owned()),
    ]);
    if identity {
        metadata.insert(IDENTITY.to_owned(), "true".to_owned());
    }
    Field::new(name.to_lowercase(), sql_type.arrow_form(), nullable).with_metadata(metadata)
}

/// The SQL type of a field: the declared one if it still fits the Arrow type, else a type that does.
pub(crate) fn sql_type_of(field: &Field) -> SqlType {
    field
        .metadata()
        .get(TYPE)
        .and_then(|declared| SqlType::parse(declared, DefaultLength::Cast))
        .filter(|sql_type| sql_type.arrow_form() == *field.data_type())
        .unwrap_or_else(|| SqlType::of_arrow(field.data_type()))
}

/// The name as it was declared, if the field still is that column.
pub(crate) fn field_name(field: &Field) -> Option<&str> {
    field
        .metadata()
        .get(NAME)
        .map(String::as_str)
        .filter(|name| name.to_lowercase() == *field.name())
}

/// Whether the field is an IDENTITY column.
pub(crate) fn is_identity(field: &Field) -> bool {
    field_name(field).is_some() && field.metadata().contains_key(IDENTITY)
}
