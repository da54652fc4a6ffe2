//! `sp_pkeys`, `sp_fkeys`, `sp_statistics`, `sp_special_columns`.

use super::odbc_types::of_column;
use super::{NAME, Pattern, Procedure, Rows, matches, sort_by};
use crate::simulator::capture::Arguments;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{Key, State, Table};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::Columns;
use crate::simulator::types::Value;

const STATISTICS_PARAMETERS: &[&str] = &[
    "table_name",
    "table_owner",
    "table_qualifier",
    "index_name",
    "is_unique",
    "accuracy",
];

const SPECIAL_PARAMETERS: &[&str] = &[
    "table_name",
    "table_owner",
    "qualifier",
    "col_type",
    "scope",
    "nullable",
    "ODBCVer",
];

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        name: "sp_pkeys",
        parameters: &["table_name", "table_owner", "table_qualifier"],
        columns: PRIMARY_KEYS,
        rows: primary_keys,
    },
    Procedure {
        name: "sp_fkeys",
        parameters: &[
            "pktable_name",
            "pktable_owner",
            "pktable_qualifier",
            "fktable_name",
            "fktable_owner",
            "fktable_qualifier",
        ],
        columns: FOREIGN_KEYS,
        rows: foreign_keys,
    },
    Procedure {
        name: "sp_statistics",
        parameters: STATISTICS_PARAMETERS,
        columns: STATISTICS,
        rows: statistics,
    },
    Procedure {
        name: "sp_statistics_100",
        parameters: STATISTICS_PARAMETERS,
        columns: STATISTICS,
        rows: statistics,
    },
    Procedure {
        name: "sp_special_columns",
        parameters: SPECIAL_PARAMETERS,
        columns: SPECIAL_COLUMNS,
        rows: special_columns,
    },
    Procedure {
        name: "sp_special_columns_100",
        parameters: SPECIAL_PARAMETERS,
        columns: SPECIAL_COLUMNS,
        rows: special_columns,
    },
];

const PRIMARY_KEYS: Columns = &[
    ("TABLE_QUALIFIER", NAME, true),
    ("TABLE_OWNER", NAME, true),
    ("TABLE_NAME", NAME, false),
    ("COLUMN_NAME", NAME, true),
    ("KEY_SEQ", SqlType::SmallInt, true),
    ("PK_NAME", NAME, true),
];

fn primary_keys(_: &Scope, state: &State, arguments: &Arguments<'_>) -> Result<Rows, ServerError> {
    let pattern = Pattern::new(arguments, state, false)?;
    let mut rows = Vec::new();
    for table in pattern.tables(state) {
        let Some(key) = table.primary_key() else {
            continue;
        };
        for (ordinal, at) in (1..).zip(&key.columns) {
            rows.push(vec![
                state.name.as_str().into(),
                table.schema.as_str().into(),
                table.name.as_str().into(),
                table.columns[*at].name.as_str().into(),
                Value::Int(ordinal),
                key.name.as_str().into(),
            ]);
        }
    }
    sort_by(&mut rows, &[0, 1, 2, 4]);
    Ok(rows)
}

const FOREIGN_KEYS: Columns = &[
    ("PKTABLE_QUALIFIER", NAME, true),
    ("PKTABLE_OWNER", NAME, true),
    ("PKTABLE_NAME", NAME, false),
    ("PKCOLUMN_NAME", NAME, true),
    ("FKTABLE_QUALIFIER", NAME, true),
    ("FKTABLE_OWNER", NAME, true),
    ("FKTABLE_NAME", NAME, false),
    ("FKCOLUMN_NAME", NAME, true),
    ("KEY_SEQ", SqlType::SmallInt, true),
    ("UPDATE_RULE", SqlType::SmallInt, true),
    ("DELETE_RULE", SqlType::SmallInt, true),
    ("FK_NAME", NAME, true),
    ("PK_NAME", NAME, true),
    ("DEFERRABILITY", SqlType::SmallInt, true),
];

/// Foreign keys are refused, so that no table has any.
fn foreign_keys(_: &Scope, _: &State, _: &Arguments<'_>) -> Result<Rows, ServerError> {
    Ok(Vec::new())
}

const STATISTICS: Columns = &[
    ("TABLE_QUALIFIER", NAME, true),
    ("TABLE_OWNER", NAME, true),
    ("TABLE_NAME", NAME, false),
    ("NON_UNIQUE", SqlType::SmallInt, true),
    ("INDEX_QUALIFIER", NAME, true),
    ("INDEX_NAME", NAME, true),
    ("TYPE", SqlType::SmallInt, false),
    ("SEQ_IN_INDEX", SqlType::SmallInt, true),
    ("COLUMN_NAME", NAME, true),
    ("COLLATION", SqlType::Char(1), true),
    ("CARDINALITY", SqlType::Int, true),
    ("PAGES", SqlType::Int, true),
    (
        "FILTER_CONDITION",
        SqlType::VarChar(Length::Limited(128)),
        true,
    ),
];

/// `TYPE` of the table's own row, of a clustered index, and of another.
const TABLE_STATISTICS: i64 = 0;
const CLUSTERED: i64 = 1;
const OTHER: i64 = 3;

fn statistics(_: &Scope, state: &State, arguments: &Arguments<'_>) -> Result<Rows, ServerError> {
    let pattern = Pattern::new(arguments, state, false)?;
    let index = arguments.text("index_name")?;
    let mut rows = Vec::new();
    for table in pattern.tables(state) {
        rows.push(statistics_row(state, table, None));
        for key in table.keys.iter() {
            if matches(&key.name, index.as_deref(), true) {
                for at in 0..key.columns.len() {
                    rows.push(statistics_row(state, table, Some((key, at))));
                }
            }
        }
    }
    sort_by(&mut rows, &[3, 6, 5, 7]);
    Ok(rows)
}

fn statistics_row(state: &State, table: &Table, entry: Option<(&Key, usize)>) -> Vec<Value> {
    let kind = match entry {
        None => TABLE_STATISTICS,
        Some((key, _)) if key.clustered => CLUSTERED,
        Some(_) => OTHER,
    };
    let column = entry.map(|(key, at)| table.columns[key.columns[at]].name.clone());
    vec![
        state.name.as_str().into(),
        table.schema.as_str().into(),
        table.name.as_str().into(),
        // Every index here is unique.
        entry.map(|_| 0).into(),
        entry.map(|_| table.name.clone()).into(),
        entry.map(|(key, _)| key.name.clone()).into(),
        Value::Int(kind),
        entry.and_then(|(_, at)| i64::try_from(at + 1).ok()).into(),
        column.into(),
        entry.map(|_| "A").into(),
        i64::try_from(table.rows.count()).ok().into(),
        Value::Int(1),
        Value::Null,
    ]
}

const SPECIAL_COLUMNS: Columns = &[
    ("SCOPE", SqlType::SmallInt, true),
    ("COLUMN_NAME", NAME, true),
    ("DATA_TYPE", SqlType::SmallInt, true),
    ("TYPE_NAME", NAME, false),
    ("PRECISION", SqlType::Int, true),
    ("LENGTH", SqlType::Int, true),
    ("SCALE", SqlType::SmallInt, true),
    ("PSEUDO_COLUMN", SqlType::SmallInt, true),
];

/// The columns that identify a row best: those of the primary key, else of another unique key.
fn special_columns(
    _: &Scope,
    state: &State,
    arguments: &Arguments<'_>,
) -> Result<Rows, ServerError> {
    let owner = arguments.text("table_owner")?.unwrap_or("dbo".to_owned());
    let name = arguments.text("table_name")?.unwrap_or_default();
    let kind = arguments.text("col_type")?.unwrap_or("R".to_owned());
    if kind.eq_ignore_ascii_case("V") {
        return Err(ServerError::unsupported(
            "sp_special_columns with @col_type 'V'",
        ));
    }
    let odbc3 = arguments.int("ODBCVer")? == Some(3);
    let Some(table) = state.table(&owner, &name) else {
        return Ok(Vec::new());
    };
    let key = table.primary_key().or_else(|| table.keys.first());
    let columns = key.into_iter().flat_map(|key| &key.columns);
    Ok(columns
        .map(|at| {
            let column = &table.columns[*at];
            let odbc = of_column(column, odbc3, true);
            vec![
                Value::Int(0),
                column.name.as_str().into(),
                Value::Int(odbc.data_type),
                odbc.type_name.into(),
                Value::Int(odbc.precision),
                Value::Int(odbc.length),
                odbc.scale.into(),
                Value::Int(1),
            ]
        })
        .collect())
}
