//! `sp_tables`, and what is never there: procedures and privileges.

use super::{NAME, Pattern, Procedure, Rows, matches, relations, sort_by};
use crate::simulator::capture::Arguments;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::State;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::Columns;
use crate::simulator::types::Value;

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        name: "sp_tables",
        parameters: &[
            "table_name",
            "table_owner",
            "table_qualifier",
            "table_type",
            "fUsePattern",
        ],
        columns: TABLES,
        rows: tables,
    },
    Procedure {
        name: "sp_stored_procedures",
        parameters: &["sp_name", "sp_owner", "sp_qualifier", "fUsePattern"],
        columns: STORED_PROCEDURES,
        rows: none,
    },
];

const TABLES: Columns = &[
    ("TABLE_QUALIFIER", NAME, true),
    ("TABLE_OWNER", NAME, true),
    ("TABLE_NAME", NAME, true),
    ("TABLE_TYPE", SqlType::VarChar(Length::Limited(32)), true),
    ("REMARKS", SqlType::VarChar(Length::Limited(254)), true),
];

const STORED_PROCEDURES: Columns = &[
    ("PROCEDURE_QUALIFIER", NAME, true),
    ("PROCEDURE_OWNER", NAME, false),
    (
        "PROCEDURE_NAME",
        SqlType::NVarChar(Length::Limited(134)),
        false,
    ),
    ("NUM_INPUT_PARAMS", SqlType::Int, true),
    ("NUM_OUTPUT_PARAMS", SqlType::Int, true),
    ("NUM_RESULT_SETS", SqlType::Int, true),
    ("REMARKS", SqlType::VarChar(Length::Limited(254)), true),
    ("PROCEDURE_TYPE", SqlType::SmallInt, true),
];

/// A database has no procedures of its own.
fn none(_: &Scope, _: &State, _: &Arguments<'_>) -> Result<Rows, ServerError> {
    Ok(Vec::new())
}

fn tables(scope: &Scope, state: &State, arguments: &Arguments<'_>) -> Result<Rows, ServerError> {
    let kinds = arguments.text("table_type")?;
    if let Some(listed) = listed(scope, state, arguments, kinds.as_deref())? {
        return Ok(listed);
    }
    let wildcards = arguments.int("fUsePattern")? != Some(0);
    let pattern = Pattern::new(arguments, state, wildcards)?;
    let mut rows: Rows = relations(state)
        .into_iter()
        .filter(|(schema, name, _, _)| pattern.holds(schema, name))
        .map(|(schema, name, _, view)| {
            row(
                Some(&state.name),
                Some(&schema),
                Some(&name),
                Some(if view { "VIEW" } else { "TABLE" }),
            )
        })
        .filter(|row| of_kind(row, kinds.as_deref()))
        .collect();
    sort_by(&mut rows, &[3, 0, 1, 2]);
    Ok(rows)
}

/// What `'%'` for one argument and empty texts for the others ask for: all databases, all schemas, all kinds.
fn listed(
    scope: &Scope,
    state: &State,
    arguments: &Arguments<'_>,
    kinds: Option<&str>,
) -> Result<Option<Rows>, ServerError> {
    let text = |name| arguments.text(name);
    let (Some(name), Some(owner), Some(qualifier)) = (
        text("table_name")?,
        text("table_owner")?,
        text("table_qualifier")?,
    ) else {
        return Ok(None);
    };
    let asked = [name.as_str(), &owner, &qualifier, kinds.unwrap_or_default()];
    Ok(Some(match asked {
        ["", "", "%", _] => {
            let databases = scope.server().databases();
            let names = databases.iter().map(|database| database.name().to_owned());
            names
                .map(|name| row(Some(&name), None, None, None))
                .collect()
        }
        ["", "%", "", _] => {
            let schemas = state.schemas.iter();
            schemas
                .map(|schema| row(None, Some(&schema.name), None, None))
                .collect()
        }
        ["", "", "", "%"] => ["SYSTEM TABLE", "TABLE", "VIEW"]
            .into_iter()
            .map(|kind| row(None, None, None, Some(kind)))
            .collect(),
        _ => return Ok(None),
    }))
}

fn row(
    qualifier: Option<&str>,
    owner: Option<&str>,
    name: Option<&str>,
    kind: Option<&str>,
) -> Vec<Value> {
    vec![
        qualifier.into(),
        owner.into(),
        name.into(),
        kind.into(),
        Value::Null,
    ]
}

/// Whether a row's kind is in a list such as `'TABLE','VIEW'`.
fn of_kind(row: &[Value], kinds: Option<&str>) -> bool {
    let kind = row[3].as_text();
    kinds.is_none_or(|kinds| {
        let mut kinds = kinds.split(',').map(|kind| kind.trim().trim_matches('\''));
        kinds.any(|one| one == "%" || kind.is_some_and(|kind| matches(kind, Some(one), false)))
    })
}
