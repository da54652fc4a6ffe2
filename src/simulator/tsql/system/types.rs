//! `sys.types`.

use super::{Columns, Definition, NAME};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::{AliasType, State};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

pub(super) const VIEWS: &[Definition] = &[Definition {
    schema: "sys",
    name: "types",
    columns: TYPES,
    rows: types,
}];

const TYPES: Columns = &[
    ("name", NAME, false),
    ("system_type_id", SqlType::TinyInt, false),
    ("user_type_id", SqlType::Int, false),
    ("schema_id", SqlType::Int, false),
    ("principal_id", SqlType::Int, true),
    ("max_length", SqlType::SmallInt, false),
    ("precision", SqlType::TinyInt, false),
    ("scale", SqlType::TinyInt, false),
    ("collation_name", NAME, true),
    ("is_nullable", SqlType::Bit, true),
    ("is_user_defined", SqlType::Bit, false),
    ("is_assembly_type", SqlType::Bit, false),
    ("default_object_id", SqlType::Int, false),
    ("rule_object_id", SqlType::Int, false),
    ("is_table_type", SqlType::Bit, false),
];

/// Name, system type, user type, length, precision, scale.
type Row = (&'static str, i64, i64, i64, i64, i64);

const ROWS: &[Row] = &[
    ("image", 34, 34, 16, 0, 0),
    ("text", 35, 35, 16, 0, 0),
    ("uniqueidentifier", 36, 36, 16, 0, 0),
    ("date", 40, 40, 3, 10, 0),
    ("time", 41, 41, 5, 16, 7),
    ("datetime2", 42, 42, 8, 27, 7),
    ("datetimeoffset", 43, 43, 10, 34, 7),
    ("tinyint", 48, 48, 1, 3, 0),
    ("smallint", 52, 52, 2, 5, 0),
    ("int", 56, 56, 4, 10, 0),
    ("smalldatetime", 58, 58, 4, 16, 0),
    ("real", 59, 59, 4, 24, 0),
    ("money", 60, 60, 8, 19, 4),
    ("datetime", 61, 61, 8, 23, 3),
    ("float", 62, 62, 8, 53, 0),
    ("sql_variant", 98, 98, 8016, 0, 0),
    ("ntext", 99, 99, 16, 0, 0),
    ("bit", 104, 104, 1, 1, 0),
    ("decimal", 106, 106, 17, 38, 38),
    ("numeric", 108, 108, 17, 38, 38),
    ("smallmoney", 122, 122, 4, 10, 4),
    ("bigint", 127, 127, 8, 19, 0),
    ("hierarchyid", 240, 128, 892, 0, 0),
    ("geometry", 240, 129, -1, 0, 0),
    ("geography", 240, 130, -1, 0, 0),
    ("varbinary", 165, 165, 8000, 0, 0),
    ("varchar", 167, 167, 8000, 0, 0),
    ("binary", 173, 173, 8000, 0, 0),
    ("char", 175, 175, 8000, 0, 0),
    ("timestamp", 189, 189, 8, 0, 0),
    ("nvarchar", 231, 231, 8000, 0, 0),
    ("nchar", 239, 239, 8000, 0, 0),
    ("xml", 241, 241, -1, 0, 0),
    ("sysname", 231, 256, 256, 0, 0),
];

fn types(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let own = state.types.iter().map(|alias| alias_row(alias, state));
    Ok(ROWS
        .iter()
        .map(|(name, system, user, length, precision, scale)| {
            let text = matches!(*system, 35 | 99 | 167 | 175 | 231 | 239);
            vec![
                (*name).into(),
                Value::Int(*system),
                Value::Int(*user),
                Value::Int(4),
                Value::Null,
                Value::Int(*length),
                Value::Int(*precision),
                Value::Int(*scale),
                text.then(|| state.collation.to_string()).into(),
                (*name != "sysname" && *name != "timestamp").into(),
                false.into(),
                (*system == 240).into(),
                Value::Int(0),
                Value::Int(0),
                false.into(),
            ]
        })
        .chain(own)
        .collect())
}

fn alias_row(alias: &AliasType, state: &State) -> Vec<Value> {
    let sql_type = alias.sql_type;
    let schema = state.schema(&alias.schema).map_or(1, |schema| schema.id);
    vec![
        alias.name.as_str().into(),
        Value::Int(sql_type.system_type_id().into()),
        alias.id.into(),
        schema.into(),
        Value::Null,
        Value::Int(sql_type.max_length().into()),
        Value::Int(sql_type.precision().into()),
        Value::Int(sql_type.scale().into()),
        sql_type
            .is_text()
            .then(|| state.collation.to_string())
            .into(),
        alias.nullable.into(),
        true.into(),
        false.into(),
        Value::Int(0),
        Value::Int(0),
        false.into(),
    ]
}

/// `TYPE_NAME`.
pub(crate) fn type_name(id: Option<i64>) -> Option<String> {
    let id = id?;
    ROWS.iter()
        .find(|row| row.2 == id)
        .map(|row| row.0.to_owned())
}

/// `TYPE_ID`.
pub(crate) fn type_id(name: &str) -> Option<i64> {
    ROWS.iter()
        .find(|row| row.0.eq_ignore_ascii_case(name))
        .map(|row| row.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::types::DefaultLength;

    #[test]
    fn every_type_has_its_row() {
        for name in ["int", "nvarchar", "datetime2", "money", "uniqueidentifier"] {
            let sql_type = SqlType::parse(name, DefaultLength::Cast).unwrap();
            assert_eq!(type_id(name), Some(sql_type.system_type_id().into()));
        }
        assert_eq!(type_name(Some(256)).as_deref(), Some("sysname"));
    }
}
