//! `INFORMATION_SCHEMA`.

use super::{Columns, Definition, NAME};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{ColumnDef, State};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "INFORMATION_SCHEMA",
        name: "TABLES",
        columns: TABLES,
        rows: tables,
    },
    Definition {
        schema: "INFORMATION_SCHEMA",
        name: "COLUMNS",
        columns: COLUMNS,
        rows: columns,
    },
    Definition {
        schema: "INFORMATION_SCHEMA",
        name: "SCHEMATA",
        columns: SCHEMATA,
        rows: schemata,
    },
    Definition {
        schema: "INFORMATION_SCHEMA",
        name: "TABLE_CONSTRAINTS",
        columns: CONSTRAINTS,
        rows: constraints,
    },
    Definition {
        schema: "INFORMATION_SCHEMA",
        name: "KEY_COLUMN_USAGE",
        columns: KEY_COLUMNS,
        rows: key_columns,
    },
];

const SHORT: SqlType = SqlType::VarChar(Length::Limited(11));

const TABLES: Columns = &[
    ("TABLE_CATALOG", NAME, true),
    ("TABLE_SCHEMA", NAME, true),
    ("TABLE_NAME", NAME, false),
    ("TABLE_TYPE", SHORT, true),
];

fn tables(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    Ok(state
        .tables
        .values()
        .map(|table| {
            vec![
                state.name.as_str().into(),
                table.schema.as_str().into(),
                table.name.as_str().into(),
                "BASE TABLE".into(),
            ]
        })
        .collect())
}

const COLUMNS: Columns = &[
    ("TABLE_CATALOG", NAME, true),
    ("TABLE_SCHEMA", NAME, true),
    ("TABLE_NAME", NAME, false),
    ("COLUMN_NAME", NAME, true),
    ("ORDINAL_POSITION", SqlType::Int, true),
    (
        "COLUMN_DEFAULT",
        SqlType::NVarChar(Length::Limited(4000)),
        true,
    ),
    ("IS_NULLABLE", SqlType::VarChar(Length::Limited(3)), true),
    ("DATA_TYPE", NAME, true),
    ("CHARACTER_MAXIMUM_LENGTH", SqlType::Int, true),
    ("CHARACTER_OCTET_LENGTH", SqlType::Int, true),
    ("NUMERIC_PRECISION", SqlType::TinyInt, true),
    ("NUMERIC_PRECISION_RADIX", SqlType::SmallInt, true),
    ("NUMERIC_SCALE", SqlType::Int, true),
    ("DATETIME_PRECISION", SqlType::SmallInt, true),
    ("CHARACTER_SET_NAME", NAME, true),
    ("COLLATION_NAME", NAME, true),
];

fn columns(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for table in state.tables.values() {
        for (position, column) in (1..).zip(table.columns.iter()) {
            let mut row = vec![
                state.name.as_str().into(),
                table.schema.as_str().into(),
                table.name.as_str().into(),
            ];
            row.extend(column_row(position, column));
            rows.push(row);
        }
    }
    Ok(rows)
}

fn column_row(position: i64, column: &ColumnDef) -> Vec<Value> {
    let sql_type = column.sql_type;
    let sized = (sql_type.is_text() || sql_type.is_binary()) && sql_type != SqlType::RowVersion;
    let bytes = i64::from(sql_type.max_length());
    let wide = sql_type.is_text() && sql_type.is_wide();
    let (characters, bytes) = match sql_type {
        SqlType::Text | SqlType::Image => (i32::MAX.into(), i32::MAX.into()),
        SqlType::NText => (i64::from(i32::MAX / 2), i64::from(i32::MAX - 1)),
        _ if wide && bytes > 0 => (bytes / 2, bytes),
        _ => (bytes, bytes),
    };
    let (number, instant) = match sql_type {
        SqlType::Date
        | SqlType::Time(_)
        | SqlType::SmallDateTime
        | SqlType::DateTime
        | SqlType::DateTime2(_)
        | SqlType::DateTimeOffset(_) => (false, true),
        SqlType::Bit
        | SqlType::UniqueIdentifier
        | SqlType::RowVersion
        | SqlType::Xml
        | SqlType::SqlVariant
        | SqlType::Udt(_) => (false, false),
        _ => (!sized, false),
    };
    let float = matches!(sql_type, SqlType::Real | SqlType::Float);
    let scale = Value::Int(sql_type.scale().into());
    let when = |holds: bool, value: Value| if holds { value } else { Value::Null };
    vec![
        column.name.as_str().into(),
        Value::Int(position),
        column.default.clone().into(),
        if column.nullable { "YES" } else { "NO" }.into(),
        sql_type.base_name().into(),
        when(sized, Value::Int(characters)),
        when(sized, Value::Int(bytes)),
        when(number, Value::Int(sql_type.precision().into())),
        when(number, Value::Int(if float { 2 } else { 10 })),
        when(number && !float, scale.clone()),
        when(instant, scale),
        when(
            sql_type.is_text(),
            if wide { "UNICODE" } else { "iso_1" }.into(),
        ),
        when(sql_type.is_text(), column.collation.to_string().into()),
    ]
}

const SCHEMATA: Columns = &[
    ("CATALOG_NAME", NAME, true),
    ("SCHEMA_NAME", NAME, true),
    ("SCHEMA_OWNER", NAME, true),
];

fn schemata(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let schemas = state.schemas.iter();
    Ok(schemas
        .map(|schema| {
            vec![
                state.name.as_str().into(),
                schema.name.as_str().into(),
                "dbo".into(),
            ]
        })
        .collect())
}

const CONSTRAINTS: Columns = &[
    ("CONSTRAINT_CATALOG", NAME, true),
    ("CONSTRAINT_SCHEMA", NAME, true),
    ("CONSTRAINT_NAME", NAME, false),
    ("TABLE_CATALOG", NAME, true),
    ("TABLE_SCHEMA", NAME, true),
    ("TABLE_NAME", NAME, true),
    ("CONSTRAINT_TYPE", SHORT, true),
];

fn constraints(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for table in state.tables.values() {
        for key in table.keys.iter().filter(|key| key.constraint) {
            let database = Value::from(state.name.as_str());
            let schema = Value::from(table.schema.as_str());
            rows.push(vec![
                database.clone(),
                schema.clone(),
                key.name.as_str().into(),
                database,
                schema,
                table.name.as_str().into(),
                if key.primary { "PRIMARY KEY" } else { "UNIQUE" }.into(),
            ]);
        }
    }
    Ok(rows)
}

const KEY_COLUMNS: Columns = &[
    ("CONSTRAINT_CATALOG", NAME, true),
    ("CONSTRAINT_SCHEMA", NAME, true),
    ("CONSTRAINT_NAME", NAME, false),
    ("TABLE_CATALOG", NAME, true),
    ("TABLE_SCHEMA", NAME, true),
    ("TABLE_NAME", NAME, true),
    ("COLUMN_NAME", NAME, true),
    ("ORDINAL_POSITION", SqlType::Int, false),
];

fn key_columns(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    let keys = constraints(scope, state)?;
    let all = state
        .tables
        .values()
        .flat_map(|table| table.keys.iter().map(move |key| (table, key)))
        .filter(|(_, key)| key.constraint);
    for ((table, key), constraint) in all.zip(keys) {
        for (ordinal, at) in (1..).zip(&key.columns) {
            let mut row = constraint[..6].to_vec();
            row.push(table.columns[*at].name.as_str().into());
            row.push(Value::Int(ordinal));
            rows.push(row);
        }
    }
    Ok(rows)
}
