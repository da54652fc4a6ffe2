//! Schemas, tables and other objects.

use super::change_functions::change_functions;
use super::{Columns, DESCRIPTION, Definition, NAME, definitions, no_rows};
use crate::simulator::capture::SCHEMA;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::security::Permission;
use crate::simulator::store::{Policy, State, Table};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "sys",
        name: "schemas",
        columns: SCHEMAS,
        rows: schemas,
    },
    Definition {
        schema: "sys",
        name: "tables",
        columns: TABLES,
        rows: tables,
    },
    Definition {
        schema: "sys",
        name: "objects",
        columns: OBJECTS,
        rows: objects,
    },
    Definition {
        schema: "sys",
        name: "all_objects",
        columns: OBJECTS,
        rows: all_objects,
    },
    Definition {
        schema: "sys",
        name: "views",
        columns: OBJECTS,
        rows: no_rows,
    },
    Definition {
        schema: "sys",
        name: "procedures",
        columns: OBJECTS,
        rows: no_rows,
    },
    Definition {
        schema: "sys",
        name: "security_policies",
        columns: POLICIES,
        rows: policies,
    },
    Definition {
        schema: "sys",
        name: "security_predicates",
        columns: PREDICATES,
        rows: predicates,
    },
];

const SCHEMAS: Columns = &[
    ("name", NAME, false),
    ("schema_id", SqlType::Int, false),
    ("principal_id", SqlType::Int, true),
];

fn schemas(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    Ok(state
        .schemas
        .iter()
        .map(|schema| vec![schema.name.as_str().into(), schema.id.into(), Value::Int(1)])
        .collect())
}

const OBJECTS: Columns = &[
    ("name", NAME, false),
    ("object_id", SqlType::Int, false),
    ("principal_id", SqlType::Int, true),
    ("schema_id", SqlType::Int, false),
    ("parent_object_id", SqlType::Int, false),
    ("type", SqlType::Char(2), true),
    ("type_desc", DESCRIPTION, true),
    ("create_date", SqlType::DateTime, false),
    ("modify_date", SqlType::DateTime, false),
    ("is_ms_shipped", SqlType::Bit, false),
    ("is_published", SqlType::Bit, false),
    ("is_schema_published", SqlType::Bit, false),
];

fn object(table: &Table, state: &State) -> Vec<Value> {
    vec![
        table.name.as_str().into(),
        table.object_id.into(),
        Value::Null,
        state
            .schema(&table.schema)
            .map_or(1, |schema| schema.id)
            .into(),
        Value::Int(0),
        "U ".into(),
        "USER_TABLE".into(),
        Value::Timestamp(table.created),
        Value::Timestamp(table.modified),
        table.shipped.into(),
        false.into(),
        false.into(),
    ]
}

fn objects(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let tables = state.tables.values();
    let mut rows: Vec<_> = tables.map(|table| object(table, state)).collect();
    let cdc = state.schema(SCHEMA).map_or(1, |schema| schema.id);
    rows.extend(change_functions(scope, state)?.into_iter().map(|function| {
        vec![
            function.name.into(),
            function.object_id.into(),
            Value::Null,
            cdc.into(),
            Value::Int(0),
            "IF".into(),
            "SQL_INLINE_TABLE_VALUED_FUNCTION".into(),
            Value::Timestamp(function.created),
            Value::Timestamp(function.created),
            true.into(),
            false.into(),
            false.into(),
        ]
    }));
    Ok(rows)
}

fn all_objects(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = objects(scope, state)?;
    rows.extend(definitions().map(|(id, definition)| {
        vec![
            definition.name.into(),
            id.into(),
            Value::Null,
            state
                .schema(definition.schema)
                .map_or(4, |schema| schema.id)
                .into(),
            Value::Int(0),
            "V ".into(),
            "VIEW".into(),
            Value::Timestamp(state.created),
            Value::Timestamp(state.created),
            true.into(),
            false.into(),
            false.into(),
        ]
    }));
    Ok(rows)
}

const TABLES: Columns = &[
    ("name", NAME, false),
    ("object_id", SqlType::Int, false),
    ("principal_id", SqlType::Int, true),
    ("schema_id", SqlType::Int, false),
    ("parent_object_id", SqlType::Int, false),
    ("type", SqlType::Char(2), true),
    ("type_desc", DESCRIPTION, true),
    ("create_date", SqlType::DateTime, false),
    ("modify_date", SqlType::DateTime, false),
    ("is_ms_shipped", SqlType::Bit, false),
    ("is_published", SqlType::Bit, false),
    ("is_schema_published", SqlType::Bit, false),
    ("max_column_id_used", SqlType::Int, false),
    ("is_replicated", SqlType::Bit, true),
    ("is_tracked_by_cdc", SqlType::Bit, true),
    ("lock_escalation", SqlType::TinyInt, true),
    ("is_filetable", SqlType::Bit, true),
    ("is_memory_optimized", SqlType::Bit, true),
    ("durability", SqlType::TinyInt, true),
    ("temporal_type", SqlType::TinyInt, true),
    ("temporal_type_desc", DESCRIPTION, true),
    ("history_table_id", SqlType::Int, true),
    ("is_external", SqlType::Bit, false),
    ("is_node", SqlType::Bit, true),
    ("is_edge", SqlType::Bit, true),
    ("ledger_type", SqlType::TinyInt, true),
];

fn tables(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    Ok(state
        .tables
        .values()
        .map(|table| {
            let tracked = state
                .capture
                .as_ref()
                .is_some_and(|capture| capture.captures(table.object_id));
            let mut row = object(table, state);
            row.extend([
                table.last_column_id.into(),
                false.into(),
                tracked.into(),
                Value::Int(0),
                false.into(),
                false.into(),
                Value::Int(0),
                Value::Int(0),
                "NON_TEMPORAL_TABLE".into(),
                Value::Null,
                false.into(),
                false.into(),
                false.into(),
                Value::Int(0),
            ]);
            row
        })
        .collect())
}

const POLICIES: Columns = &[
    ("name", NAME, false),
    ("object_id", SqlType::Int, false),
    ("schema_id", SqlType::Int, false),
    ("is_enabled", SqlType::Bit, false),
];

/// The policies that the session may know of: those of who may see definitions.
fn seen<'a>(scope: &Scope, state: &'a State) -> Result<&'a [Policy], ServerError> {
    let rights = scope.rights(state)?;
    scope.note_rights(&rights);
    if rights.on_database(state, Permission::ViewDefinition) {
        Ok(&state.protections.policies)
    } else {
        Ok(&[])
    }
}

fn policies(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let rows = seen(scope, state)?.iter().map(|policy| {
        let schema = state.schema(&policy.schema);
        vec![
            policy.name.as_str().into(),
            policy.object_id.into(),
            schema.map_or(1, |schema| schema.id).into(),
            policy.enabled.into(),
        ]
    });
    Ok(rows.collect())
}

fn predicates(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for policy in seen(scope, state)? {
        for (number, filter) in (1..).zip(&policy.filters) {
            rows.push(vec![
                policy.object_id.into(),
                Value::Int(number),
                filter.table.into(),
                Value::Int(0),
            ]);
        }
    }
    Ok(rows)
}

const PREDICATES: Columns = &[
    ("object_id", SqlType::Int, false),
    ("security_predicate_id", SqlType::Int, false),
    ("target_object_id", SqlType::Int, false),
    ("predicate_type", SqlType::Int, true),
];
