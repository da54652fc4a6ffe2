//! Columns, of tables and of the catalogue's own views.

use super::change_functions::change_functions;
use super::{Columns, DESCRIPTION, Definition, NAME, definitions, stored};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{ColumnDef, Guard, State};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "sys",
        name: "columns",
        columns: COLUMNS,
        rows: columns,
    },
    Definition {
        schema: "sys",
        name: "all_columns",
        columns: COLUMNS,
        rows: all_columns,
    },
    Definition {
        schema: "sys",
        name: "identity_columns",
        columns: IDENTITIES,
        rows: identities,
    },
    Definition {
        schema: "sys",
        name: "computed_columns",
        columns: COMPUTED,
        rows: computed,
    },
];

const COLUMNS: Columns = &[
    ("object_id", SqlType::Int, false),
    ("name", NAME, true),
    ("column_id", SqlType::Int, false),
    ("system_type_id", SqlType::TinyInt, false),
    ("user_type_id", SqlType::Int, false),
    ("max_length", SqlType::SmallInt, false),
    ("precision", SqlType::TinyInt, false),
    ("scale", SqlType::TinyInt, false),
    ("collation_name", NAME, true),
    ("is_nullable", SqlType::Bit, true),
    ("is_ansi_padded", SqlType::Bit, false),
    ("is_rowguidcol", SqlType::Bit, false),
    ("is_identity", SqlType::Bit, false),
    ("is_computed", SqlType::Bit, false),
    ("is_filestream", SqlType::Bit, false),
    ("is_replicated", SqlType::Bit, true),
    ("default_object_id", SqlType::Int, false),
    ("is_sparse", SqlType::Bit, true),
    ("is_column_set", SqlType::Bit, true),
    ("generated_always_type", SqlType::TinyInt, true),
    ("generated_always_type_desc", DESCRIPTION, true),
    ("encryption_type", SqlType::Int, true),
    ("encryption_type_desc", DESCRIPTION, true),
    ("is_hidden", SqlType::Bit, true),
    ("is_masked", SqlType::Bit, false),
];

fn column(object_id: i32, column: &ColumnDef) -> Vec<Value> {
    let sql_type = column.sql_type;
    let collation = sql_type.is_text().then(|| column.collation.to_string());
    let encryption = match column.guard {
        Guard::Encrypted(1) => Some((1, "DETERMINISTIC")),
        Guard::Encrypted(_) => Some((2, "RANDOMIZED")),
        Guard::None | Guard::Masked => None,
    };
    let system_type = i64::from(sql_type.system_type_id());
    vec![
        object_id.into(),
        column.name.as_str().into(),
        column.id.into(),
        Value::Int(system_type),
        column.alias_type.unwrap_or(sql_type.user_type_id()).into(),
        Value::Int(sql_type.max_length().into()),
        Value::Int(sql_type.precision().into()),
        Value::Int(sql_type.scale().into()),
        collation.into(),
        column.nullable.into(),
        (sql_type.is_text() || sql_type.is_binary()).into(),
        false.into(),
        column.identity.is_some().into(),
        column.computed.is_some().into(),
        false.into(),
        false.into(),
        Value::Int(0),
        false.into(),
        false.into(),
        Value::Int(0),
        "NOT_APPLICABLE".into(),
        encryption.map(|(kind, _)| kind).into(),
        encryption.map(|(_, name)| name.to_owned()).into(),
        false.into(),
        (column.guard == Guard::Masked).into(),
    ]
}

fn columns(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let of_tables = state
        .tables
        .values()
        .flat_map(|table| table.columns.iter().map(|c| column(table.object_id, c)));
    let mut rows: Vec<_> = of_tables.collect();
    for function in change_functions(scope, state)? {
        let numbered = (1..).zip(function.columns);
        rows.extend(numbered.map(|(id, one)| column(function.object_id, &ColumnDef { id, ..one })));
    }
    Ok(rows)
}

fn all_columns(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = columns(scope, state)?;
    for (object_id, definition) in definitions() {
        let stored = stored(definition.columns);
        rows.extend(stored.iter().map(|one| column(object_id, one)));
    }
    Ok(rows)
}

const COMPUTED: Columns = &[
    ("object_id", SqlType::Int, false),
    ("name", NAME, true),
    ("column_id", SqlType::Int, false),
    ("definition", SqlType::NVarChar(Length::Max), true),
    ("is_persisted", SqlType::Bit, false),
];

fn computed(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for table in state.tables.values() {
        for column in table.columns.iter() {
            if let Some(computed) = &column.computed {
                rows.push(vec![
                    table.object_id.into(),
                    column.name.as_str().into(),
                    column.id.into(),
                    format!("({})", computed.expression).into(),
                    computed.persisted.into(),
                ]);
            }
        }
    }
    Ok(rows)
}

const IDENTITIES: Columns = &[
    ("object_id", SqlType::Int, false),
    ("name", NAME, true),
    ("column_id", SqlType::Int, false),
    ("seed_value", SqlType::NVarChar(Length::Limited(4000)), true),
    (
        "increment_value",
        SqlType::NVarChar(Length::Limited(4000)),
        true,
    ),
    ("last_value", SqlType::NVarChar(Length::Limited(4000)), true),
];

fn identities(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for table in state.tables.values() {
        for column in table.columns.iter() {
            let Some(identity) = column.identity else {
                continue;
            };
            let last = table
                .next_identity
                .filter(|next| *next != identity.seed)
                .map(|next| (next - identity.increment).to_string());
            rows.push(vec![
                table.object_id.into(),
                column.name.as_str().into(),
                column.id.into(),
                identity.seed.to_string().into(),
                identity.increment.to_string().into(),
                last.into(),
            ]);
        }
    }
    Ok(rows)
}
