//! `sp_columns`.

use super::odbc_types::of_column;
use super::{NAME, Pattern, Procedure, Rows, matches, relations, sort_by};
use crate::simulator::capture::Arguments;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{ColumnDef, State};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::Columns;
use crate::simulator::types::Value;

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        name: "sp_columns",
        parameters: &[
            "table_name",
            "table_owner",
            "table_qualifier",
            "column_name",
            "ODBCVer",
        ],
        columns: COLUMNS,
        rows: |_, state, arguments| columns(state, arguments, false),
    },
    Procedure {
        name: "sp_columns_100",
        parameters: &[
            "table_name",
            "table_owner",
            "table_qualifier",
            "column_name",
            "NameScope",
            "ODBCVer",
            "fUsePattern",
        ],
        columns: COLUMNS_100,
        rows: columns_100,
    },
];

const REMARKS: SqlType = SqlType::VarChar(Length::Limited(254));

const COLUMNS: Columns = &[
    ("TABLE_QUALIFIER", NAME, true),
    ("TABLE_OWNER", NAME, true),
    ("TABLE_NAME", NAME, false),
    ("COLUMN_NAME", NAME, true),
    ("DATA_TYPE", SqlType::SmallInt, false),
    ("TYPE_NAME", NAME, false),
    ("PRECISION", SqlType::Int, true),
    ("LENGTH", SqlType::Int, true),
    ("SCALE", SqlType::SmallInt, true),
    ("RADIX", SqlType::SmallInt, true),
    ("NULLABLE", SqlType::SmallInt, false),
    ("REMARKS", REMARKS, true),
    ("COLUMN_DEF", SqlType::NVarChar(Length::Limited(4000)), true),
    ("SQL_DATA_TYPE", SqlType::SmallInt, false),
    ("SQL_DATETIME_SUB", SqlType::SmallInt, true),
    ("CHAR_OCTET_LENGTH", SqlType::Int, true),
    ("ORDINAL_POSITION", SqlType::Int, true),
    ("IS_NULLABLE", REMARKS, true),
    ("SS_DATA_TYPE", SqlType::TinyInt, false),
];

const COLUMNS_100: Columns = &[
    ("TABLE_QUALIFIER", NAME, true),
    ("TABLE_OWNER", NAME, true),
    ("TABLE_NAME", NAME, false),
    ("COLUMN_NAME", NAME, true),
    ("DATA_TYPE", SqlType::SmallInt, false),
    ("TYPE_NAME", NAME, false),
    ("PRECISION", SqlType::Int, true),
    ("LENGTH", SqlType::Int, true),
    ("SCALE", SqlType::SmallInt, true),
    ("RADIX", SqlType::SmallInt, true),
    ("NULLABLE", SqlType::SmallInt, false),
    ("REMARKS", REMARKS, true),
    ("COLUMN_DEF", SqlType::NVarChar(Length::Limited(4000)), true),
    ("SQL_DATA_TYPE", SqlType::SmallInt, false),
    ("SQL_DATETIME_SUB", SqlType::SmallInt, true),
    ("CHAR_OCTET_LENGTH", SqlType::Int, true),
    ("ORDINAL_POSITION", SqlType::Int, true),
    ("IS_NULLABLE", REMARKS, true),
    ("SS_IS_SPARSE", SqlType::SmallInt, true),
    ("SS_IS_COLUMN_SET", SqlType::SmallInt, true),
    ("SS_IS_COMPUTED", SqlType::SmallInt, true),
    ("SS_IS_IDENTITY", SqlType::SmallInt, true),
    ("SS_UDT_CATALOG_NAME", NAME, true),
    ("SS_UDT_SCHEMA_NAME", NAME, true),
    (
        "SS_UDT_ASSEMBLY_TYPE_NAME",
        SqlType::NVarChar(Length::Max),
        true,
    ),
    ("SS_XML_SCHEMACOLLECTION_CATALOG_NAME", NAME, true),
    ("SS_XML_SCHEMACOLLECTION_SCHEMA_NAME", NAME, true),
    ("SS_XML_SCHEMACOLLECTION_NAME", NAME, true),
    ("SS_DATA_TYPE", SqlType::TinyInt, false),
];

/// Columns before those that only `sp_columns_100` has.
const SHARED: usize = 18;

fn columns_100(_: &Scope, state: &State, arguments: &Arguments<'_>) -> Result<Rows, ServerError> {
    let mut rows = columns(state, arguments, true)?;
    for row in &mut rows {
        let identity = row[5]
            .as_text()
            .is_some_and(|name| name.ends_with(" identity"));
        let own = [
            Value::Int(0),
            Value::Int(0),
            i32::from(is_computed(state, &row[1..4])).into(),
            identity.into(),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ];
        row.splice(SHARED..SHARED, own);
    }
    Ok(rows)
}

/// Whether the column of a schema, table and name is computed.
fn is_computed(state: &State, names: &[Value]) -> bool {
    let mut names = names.iter().filter_map(Value::as_text);
    let (Some(schema), Some(table), Some(column)) = (names.next(), names.next(), names.next())
    else {
        return false;
    };
    let column = state
        .table(schema, table)
        .and_then(|table| table.columns.iter().find(|known| known.name == column));
    column.is_some_and(|column| column.computed.is_some())
}

fn columns(state: &State, arguments: &Arguments<'_>, wide: bool) -> Result<Rows, ServerError> {
    let wildcards = arguments.int("fUsePattern")? != Some(0);
    let odbc3 = arguments.int("ODBCVer")? == Some(3);
    let pattern = Pattern::new(arguments, state, wildcards)?;
    let column_name = arguments.text("column_name")?;
    let mut rows = Vec::new();
    for (schema, table, columns, _) in relations(state) {
        if !pattern.holds(&schema, &table) {
            continue;
        }
        for (ordinal, column) in (1..).zip(&columns) {
            if !matches(&column.name, column_name.as_deref(), wildcards) {
                continue;
            }
            let mut row = vec![
                state.name.as_str().into(),
                schema.as_str().into(),
                table.as_str().into(),
            ];
            row.extend(described(column, ordinal, odbc3, wide));
            rows.push(row);
        }
    }
    sort_by(&mut rows, &[0, 1, 2, 16]);
    Ok(rows)
}

/// A column's values, from its name on.
fn described(column: &ColumnDef, ordinal: i64, odbc3: bool, wide: bool) -> Vec<Value> {
    let odbc = of_column(column, odbc3, wide);
    vec![
        column.name.as_str().into(),
        Value::Int(odbc.data_type),
        odbc.type_name.into(),
        Value::Int(odbc.precision),
        Value::Int(odbc.length),
        odbc.scale.into(),
        odbc.radix.into(),
        Value::Int(column.nullable.into()),
        Value::Null,
        column.default.as_deref().map(parenthesised).into(),
        Value::Int(odbc.sql_data_type),
        odbc.datetime_sub.into(),
        odbc.octets.then_some(odbc.length).into(),
        Value::Int(ordinal),
        if column.nullable { "YES" } else { "NO" }.into(),
        Value::Int(if column.nullable {
            odbc.nullable_code
        } else {
            odbc.code
        }),
    ]
}

/// A DEFAULT as the catalogue shows it: `(N'x')`, and a number in two pairs of parentheses.
fn parenthesised(expression: &str) -> String {
    let mut bare = expression.trim();
    while let Some(inner) = bare
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .filter(|inner| !inner.contains(['(', ')']))
    {
        bare = inner.trim();
    }
    if bare.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        format!("(({bare}))")
    } else {
        format!("({bare})")
    }
}
