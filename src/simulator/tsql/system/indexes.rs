//! Indexes, keys and partitions.

use super::{Columns, DESCRIPTION, Definition, NAME, no_rows};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::{Key, State, Table};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{Value, values_of};

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "sys",
        name: "indexes",
        columns: INDEXES,
        rows: indexes,
    },
    Definition {
        schema: "sys",
        name: "index_columns",
        columns: INDEX_COLUMNS,
        rows: index_columns,
    },
    Definition {
        schema: "sys",
        name: "key_constraints",
        columns: CONSTRAINTS,
        rows: constraints,
    },
    Definition {
        schema: "sys",
        name: "foreign_keys",
        columns: FOREIGN_KEYS,
        rows: no_rows,
    },
    Definition {
        schema: "sys",
        name: "foreign_key_columns",
        columns: FOREIGN_KEY_COLUMNS,
        rows: no_rows,
    },
    Definition {
        schema: "sys",
        name: "partitions",
        columns: PARTITIONS,
        rows: partitions,
    },
    Definition {
        schema: "sys",
        name: "dm_db_partition_stats",
        columns: STATISTICS,
        rows: statistics,
    },
];

/// Whether a table has a clustered index; it is a heap otherwise.
fn clustered(table: &Table) -> bool {
    table.keys.iter().any(|key| key.clustered)
}

fn each_key(state: &State) -> impl Iterator<Item = (&Table, &Key)> {
    state
        .tables
        .values()
        .flat_map(|table| table.keys.iter().map(move |key| (table.as_ref(), key)))
}

const INDEXES: Columns = &[
    ("object_id", SqlType::Int, false),
    ("name", NAME, true),
    ("index_id", SqlType::Int, false),
    ("type", SqlType::TinyInt, false),
    ("type_desc", DESCRIPTION, true),
    ("is_unique", SqlType::Bit, true),
    ("data_space_id", SqlType::Int, true),
    ("ignore_dup_key", SqlType::Bit, true),
    ("is_primary_key", SqlType::Bit, true),
    ("is_unique_constraint", SqlType::Bit, true),
    ("fill_factor", SqlType::TinyInt, false),
    ("is_padded", SqlType::Bit, true),
    ("is_disabled", SqlType::Bit, true),
    ("is_hypothetical", SqlType::Bit, true),
    ("has_filter", SqlType::Bit, true),
];

fn index_row(table: &Table, key: Option<&Key>) -> Vec<Value> {
    let (kind, description) = match key {
        None => (0, "HEAP"),
        Some(key) if key.clustered => (1, "CLUSTERED"),
        Some(_) => (2, "NONCLUSTERED"),
    };
    vec![
        table.object_id.into(),
        key.map(|key| key.name.clone()).into(),
        key.map_or(0, |key| key.index_id).into(),
        Value::Int(kind),
        description.into(),
        key.is_some().into(),
        Value::Int(1),
        false.into(),
        key.is_some_and(|key| key.primary).into(),
        key.is_some_and(|key| key.constraint && !key.primary).into(),
        Value::Int(0),
        false.into(),
        false.into(),
        false.into(),
        false.into(),
    ]
}

fn indexes(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for table in state.tables.values() {
        if !clustered(table) {
            rows.push(index_row(table, None));
        }
        rows.extend(table.keys.iter().map(|key| index_row(table, Some(key))));
    }
    Ok(rows)
}

const INDEX_COLUMNS: Columns = &[
    ("object_id", SqlType::Int, false),
    ("index_id", SqlType::Int, false),
    ("index_column_id", SqlType::Int, false),
    ("column_id", SqlType::Int, false),
    ("key_ordinal", SqlType::TinyInt, false),
    ("partition_ordinal", SqlType::TinyInt, false),
    ("is_descending_key", SqlType::Bit, true),
    ("is_included_column", SqlType::Bit, true),
];

fn index_columns(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let mut rows = Vec::new();
    for (table, key) in each_key(state) {
        for (ordinal, at) in (1..).zip(&key.columns) {
            rows.push(vec![
                table.object_id.into(),
                key.index_id.into(),
                Value::Int(ordinal),
                table.columns[*at].id.into(),
                Value::Int(ordinal),
                Value::Int(0),
                false.into(),
                false.into(),
            ]);
        }
    }
    Ok(rows)
}

const CONSTRAINTS: Columns = &[
    ("name", NAME, false),
    ("object_id", SqlType::Int, false),
    ("schema_id", SqlType::Int, false),
    ("parent_object_id", SqlType::Int, false),
    ("type", SqlType::Char(2), true),
    ("type_desc", DESCRIPTION, true),
    ("unique_index_id", SqlType::Int, true),
];

fn constraints(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    Ok(each_key(state)
        .filter(|(_, key)| key.constraint)
        .map(|(table, key)| {
            let (kind, description) = if key.primary {
                ("PK", "PRIMARY_KEY_CONSTRAINT")
            } else {
                ("UQ", "UNIQUE_CONSTRAINT")
            };
            vec![
                key.name.as_str().into(),
                Value::Int(i64::from(table.object_id) + i64::from(key.index_id)),
                state
                    .schema(&table.schema)
                    .map_or(1, |schema| schema.id)
                    .into(),
                table.object_id.into(),
                kind.into(),
                description.into(),
                key.index_id.into(),
            ]
        })
        .collect())
}

/// Foreign keys are refused, so that there are none.
const FOREIGN_KEYS: Columns = &[
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
    ("referenced_object_id", SqlType::Int, true),
    ("key_index_id", SqlType::Int, true),
    ("is_disabled", SqlType::Bit, false),
    ("is_not_for_replication", SqlType::Bit, false),
    ("is_not_trusted", SqlType::Bit, false),
    ("delete_referential_action", SqlType::TinyInt, true),
    ("delete_referential_action_desc", DESCRIPTION, true),
    ("update_referential_action", SqlType::TinyInt, true),
    ("update_referential_action_desc", DESCRIPTION, true),
    ("is_system_named", SqlType::Bit, false),
];

const FOREIGN_KEY_COLUMNS: Columns = &[
    ("constraint_object_id", SqlType::Int, false),
    ("constraint_column_id", SqlType::Int, false),
    ("parent_object_id", SqlType::Int, false),
    ("parent_column_id", SqlType::Int, false),
    ("referenced_object_id", SqlType::Int, false),
    ("referenced_column_id", SqlType::Int, false),
];

const PARTITIONS: Columns = &[
    ("partition_id", SqlType::BigInt, false),
    ("object_id", SqlType::Int, false),
    ("index_id", SqlType::Int, false),
    ("partition_number", SqlType::Int, false),
    ("hobt_id", SqlType::BigInt, false),
    ("rows", SqlType::BigInt, true),
];

/// The numbers of a table's indexes, 0 for a heap.
fn index_ids(table: &Table) -> Vec<i32> {
    let heap = (!clustered(table)).then_some(0);
    heap.into_iter()
        .chain(table.keys.iter().map(|key| key.index_id))
        .collect()
}

/// A partition of an index: its id, table, index, number from 1, and rows.
struct Partition<'a> {
    id: i64,
    table: &'a Table,
    index: i32,
    number: i64,
    rows: i64,
}

fn each_partition(state: &State) -> Result<Vec<Partition<'_>>, ServerError> {
    let mut found = Vec::new();
    for table in state.tables.values() {
        let counts = row_counts(state, table)?;
        for index in index_ids(table) {
            for (number, rows) in (1..).zip(&counts) {
                let first = (i64::from(table.object_id) << 32) + (i64::from(index) << 16);
                found.push(Partition {
                    id: first + number,
                    table,
                    index,
                    number,
                    rows: *rows,
                });
            }
        }
    }
    Ok(found)
}

/// The rows of each partition of a table.
fn row_counts(state: &State, table: &Table) -> Result<Vec<i64>, ServerError> {
    let function = table.partitioned.as_ref().and_then(|(scheme, column)| {
        let at = table.columns.iter().position(|known| known.id == *column)?;
        Some((state.protections.function_of(scheme)?, at))
    });
    let Some((function, at)) = function else {
        let all = i64::try_from(table.rows.count()).unwrap_or(i64::MAX);
        return Ok(vec![all]);
    };
    let mut counts = vec![0; function.partitions()];
    for chunk in table.rows.chunks() {
        for value in values_of(chunk.column(at))? {
            counts[function.partition(&value)] += 1;
        }
    }
    Ok(counts)
}

fn partitions(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let rows = each_partition(state)?.into_iter().map(|partition| {
        vec![
            Value::Int(partition.id),
            partition.table.object_id.into(),
            partition.index.into(),
            Value::Int(partition.number),
            Value::Int(partition.id),
            Value::Int(partition.rows),
        ]
    });
    Ok(rows.collect())
}

const STATISTICS: Columns = &[
    ("partition_id", SqlType::BigInt, true),
    ("object_id", SqlType::Int, false),
    ("index_id", SqlType::Int, false),
    ("partition_number", SqlType::Int, false),
    ("row_count", SqlType::BigInt, true),
];

fn statistics(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let rows = each_partition(state)?.into_iter().map(|partition| {
        vec![
            Value::Int(partition.id),
            partition.table.object_id.into(),
            partition.index.into(),
            Value::Int(partition.number),
            Value::Int(partition.rows),
        ]
    });
    Ok(rows.collect())
}
