//! Arrow fields that remember the column's name, type and identity.

use std::collections::HashMap;

use datafusion::arrow::datatypes::Field;

use super::{DefaultLength, Typed};
use crate::simulator::protocol::{Collation, SqlType};

const TYPE: &str = "sql.type";
/// In the metadata of a column's field: the name as declared.
pub(crate) const NAME: &str = "sql.name";
const IDENTITY: &str = "sql.identity";
const COLLATION: &str = "sql.collation";
const LABEL: &str = "sql.label";

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

/// A field with the collation of its text; the server's goes without saying.
pub(crate) fn with_collation(field: Field, collation: Collation) -> Field {
    if collation == Collation::SERVER {
        return field;
    }
    let mut metadata = field.metadata().clone();
    metadata.insert(COLLATION.to_owned(), collation.to_string());
    field.with_metadata(metadata)
}

/// The collation of a field's text.
pub(crate) fn collation_of(field: &Field) -> Collation {
    let name = field.metadata().get(COLLATION);
    name.and_then(|name| Collation::named(name))
        .unwrap_or_default()
}

/// How firmly a value has its collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    /// A string's or a variable's, which gives way.
    Coercible,
    /// A column's.
    Implicit,
    /// That of COLLATE.
    Explicit,
}

/// A field with a collation that is as firm as `label` says.
pub(crate) fn with_label(field: Field, collation: Collation, label: Label) -> Field {
    let mark = match label {
        Label::Implicit => return with_collation(field, collation),
        Label::Coercible => "coercible",
        Label::Explicit => "explicit",
    };
    let mut metadata = field.metadata().clone();
    metadata.insert(COLLATION.to_owned(), collation.to_string());
    metadata.insert(LABEL.to_owned(), mark.to_owned());
    field.with_metadata(metadata)
}

/// How firmly a field has its collation: nothing known of it gives way.
pub(crate) fn label_of(field: &Field) -> Label {
    match field.metadata().get(LABEL).map(String::as_str) {
        Some("explicit") => Label::Explicit,
        Some(_) => Label::Coercible,
        None if field.metadata().contains_key(TYPE) => Label::Implicit,
        None => Label::Coercible,
    }
}

/// The SQL type of a field with its collation.
pub(crate) fn typed_of(field: &Field) -> Typed {
    Typed::new(sql_type_of(field), collation_of(field))
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
