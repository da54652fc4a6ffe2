//! CREATE, ALTER, DROP and TRUNCATE.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::cursor::ObjectName;
use super::ddl::{ColumnSpec, Elements, KeySpec};
use super::normal::source;
use super::protection::partition;
use crate::simulator::capture::{Definition, DefinitionKind, mark_dropped};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::store::{AliasType, ColumnDef, Key, State, Table, Write, internal};
use crate::simulator::types::bytes_to_hex;

/// Error 2760, unless the schema exists; its name as created.
fn schema_of(state: &State, name: &ObjectName) -> Result<String, ServerError> {
    let schema = name.schema().unwrap_or("dbo");
    state.schema(schema).map(|schema| schema.name.clone()).ok_or_else(|| {
        ServerError::new(
            2760,
            format!(
                "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
            ),
        )
    })
}

/// The table of a name, which may name no other database.
pub(super) fn find(state: &State, name: &ObjectName) -> Option<Table> {
    let here = |database: &str| database.to_lowercase() == state.name.to_lowercase();
    if !name.database().is_none_or(here) {
        return None;
    }
    state
        .table(name.schema().unwrap_or("dbo"), name.object())
        .map(|table| table.as_ref().clone())
}

/// CREATE TABLE.
pub(crate) fn create_table(
    write: &mut Write,
    name: &ObjectName,
    elements: &Elements,
) -> Result<(), ServerError> {
    let state = write.state_mut();
    let schema = schema_of(state, name)?;
    if state.table(&schema, name.object()).is_some() {
        return Err(ServerError::object_exists(name.object()));
    }
    let object_id = state.new_object_id();
    let table_name = name.object();
    let mut columns = (1..)
        .zip(&elements.columns)
        .map(|(id, spec)| column(id, spec, state))
        .collect::<Result<Vec<_>, _>>()?;
    check_names(&columns, table_name)?;
    if columns.iter().filter(|c| c.identity.is_some()).count() > 1 {
        return Err(ServerError::new(
            2744,
            format!(
                "Multiple identity columns specified for table '{table_name}'. Only one identity column per table is allowed."
            ),
        ));
    }
    let keys = keys(
        &elements.keys,
        &mut columns,
        elements,
        table_name,
        object_id,
    )?;
    let mut table = Table::new(object_id, &schema, table_name, columns, keys, state.clock);
    if let Some((scheme, column)) = &elements.partition {
        table.partitioned = Some(partition(state, &table, scheme, column)?);
    }
    state.put(table);
    Ok(())
}

/// The table that a table variable is.
pub(crate) fn table_variable(
    name: &str,
    elements: &Elements,
    state: &State,
) -> Result<Table, ServerError> {
    if !elements.keys.is_empty() || elements.columns.iter().any(|c| c.identity.is_some()) {
        return Err(ServerError::unsupported(
            "keys and IDENTITY columns of table variables",
        ));
    }
    let columns = (1..)
        .zip(&elements.columns)
        .map(|(id, spec)| column(id, spec, state))
        .collect::<Result<Vec<_>, _>>()?;
    check_names(&columns, name)?;
    Ok(Table::new(0, "", name, columns, Vec::new(), 0))
}

/// A column as declared; error 2715 for a type that there is not.
pub(super) fn column(id: i32, spec: &ColumnSpec, state: &State) -> Result<ColumnDef, ServerError> {
    let alias = match &spec.alias {
        Some(name) => Some(
            state
                .alias_type(name.schema().unwrap_or("dbo"), name.object())
                .ok_or_else(|| ServerError::unknown_type(&name.to_string()))?,
        ),
        None => None,
    };
    if let Some(key) = &spec.encryption_key
        && !state.protections.keys.contains(&key.to_lowercase())
    {
        return Err(ServerError::not_found("column encryption key", key));
    }
    let sql_type = alias.map_or(spec.sql_type, |alias| alias.sql_type);
    // A row's version is never NULL unless the column says so.
    let nullable = alias.map_or(sql_type != SqlType::RowVersion, |alias| alias.nullable);
    Ok(ColumnDef {
        name: spec.name.clone(),
        id,
        sql_type,
        alias_type: alias.map(|alias| alias.id).or(spec.alias_type),
        collation: spec.collation.unwrap_or(state.collation),
        nullable: spec.nullable.unwrap_or(nullable) && spec.identity.is_none(),
        identity: spec.identity,
        default: spec.default.as_deref().map(source),
        computed: spec.computed.clone(),
        guard: spec.guard,
    })
}

/// CREATE TYPE … FROM.
pub(crate) fn create_type(
    write: &mut Write,
    name: &ObjectName,
    sql_type: SqlType,
    nullable: bool,
) -> Result<(), ServerError> {
    let state = write.state_mut();
    let schema = schema_of(state, name)?;
    if state.alias_type(&schema, name.object()).is_some() {
        return Err(ServerError::new(
            219,
            format!(
                "The type '{name}' already exists, or you do not have permission to create it."
            ),
        ));
    }
    // The numbers up to 256 are those of the server's own types.
    let id = state
        .types
        .iter()
        .map(|alias| alias.id)
        .max()
        .unwrap_or(256)
        + 1;
    state.types.push(AliasType {
        schema,
        name: name.object().to_owned(),
        id,
        sql_type,
        nullable,
    });
    Ok(())
}

/// DROP TYPE.
pub(crate) fn drop_type(
    write: &mut Write,
    name: &ObjectName,
    if_exists: bool,
) -> Result<(), ServerError> {
    let state = write.state_mut();
    let schema = name.schema().unwrap_or("dbo");
    let Some(id) = state
        .alias_type(schema, name.object())
        .map(|alias| alias.id)
    else {
        return if if_exists {
            Ok(())
        } else {
            Err(ServerError::new(
                218,
                format!(
                    "Could not find the type '{name}'. Either it does not exist or you do not have the necessary permission."
                ),
            ))
        };
    };
    let user = state.tables.values().find(|table| {
        table
            .columns
            .iter()
            .any(|column| column.alias_type == Some(id))
    });
    if let Some(table) = user {
        return Err(ServerError::new(
            3732,
            format!(
                "Cannot drop type '{name}' because it is being referenced by object '{}'. There may be other objects that reference this type.",
                table.name
            ),
        ));
    }
    state.types.retain(|alias| alias.id != id);
    Ok(())
}

pub(super) fn check_names(columns: &[ColumnDef], table: &str) -> Result<(), ServerError> {
    let mut seen = HashSet::new();
    for column in columns {
        if !seen.insert(column.name.to_lowercase()) {
            return Err(ServerError::new(
                2705,
                format!(
                    "Column names in each table must be unique. Column name '{}' in table '{table}' is specified more than once.",
                    column.name
                ),
            ));
        }
    }
    Ok(())
}

fn keys(
    specs: &[KeySpec],
    columns: &mut [ColumnDef],
    elements: &Elements,
    table: &str,
    object_id: i32,
) -> Result<Vec<Key>, ServerError> {
    if specs.iter().filter(|key| key.primary).count() > 1 {
        return Err(ServerError::new(
            8110,
            format!("Cannot add multiple PRIMARY KEY constraints to table '{table}'."),
        ));
    }
    let asked = specs.iter().position(|key| key.clustered == Some(true));
    let primary = specs
        .iter()
        .position(|key| key.primary && key.clustered.is_none());
    let clustered = asked.or(primary);
    let mut keys = Vec::new();
    let mut next = 2;
    for (number, spec) in specs.iter().enumerate() {
        let positions = positions(&spec.columns, columns)?;
        for at in positions.iter().filter(|_| spec.primary) {
            if elements.columns.get(*at).and_then(|c| c.nullable) == Some(true) {
                return Err(ServerError::new(
                    8111,
                    format!(
                        "Cannot define PRIMARY KEY constraint on nullable column in table '{table}'."
                    ),
                ));
            }
            columns[*at].nullable = false;
        }
        let is_clustered = clustered == Some(number);
        let index_id = if is_clustered { 1 } else { next };
        next += i32::from(!is_clustered);
        keys.push(Key {
            name: spec
                .name
                .clone()
                .unwrap_or_else(|| made_up_name(spec.primary, table, object_id, number)),
            primary: spec.primary,
            constraint: true,
            clustered: is_clustered,
            index_id,
            columns: positions,
        });
    }
    keys.sort_by_key(|key| key.index_id);
    Ok(keys)
}

fn positions(names: &[String], columns: &[ColumnDef]) -> Result<Vec<usize>, ServerError> {
    names
        .iter()
        .map(|name| {
            let lower = name.to_lowercase();
            columns
                .iter()
                .position(|column| column.name.to_lowercase() == lower)
                .ok_or_else(|| {
                    ServerError::new(
                        1911,
                        format!("Column name '{name}' does not exist in the target table or view."),
                    )
                })
        })
        .collect()
}

/// A constraint's name as SQL Server makes them up, such as `PK__customer__CD65CB85A1B2C3D4`.
fn made_up_name(primary: bool, table: &str, object_id: i32, number: usize) -> String {
    let kind = if primary { "PK" } else { "UQ" };
    let short: String = table.chars().take(8).collect();
    let hash: [u8; 32] = Sha256::digest(format!("{table}/{object_id}/{number}")).into();
    format!("{kind}__{short}__{}", bytes_to_hex(&hash[..8]))
}

pub(super) fn add_keys(
    table: &mut Table,
    columns: &mut [ColumnDef],
    specs: &[KeySpec],
) -> Result<(), ServerError> {
    for spec in specs {
        if spec.primary && table.primary_key().is_some() {
            return Err(ServerError::new(
                1779,
                format!(
                    "Table '{}' already has a primary key defined on it.",
                    table.name
                ),
            ));
        }
        let positions = positions(&spec.columns, columns)?;
        if spec.primary && positions.iter().any(|at| columns[*at].nullable) {
            return Err(ServerError::new(
                8111,
                format!(
                    "Cannot define PRIMARY KEY constraint on nullable column in table '{}'.",
                    table.name
                ),
            ));
        }
        let taken = table.keys.iter().any(|key| key.clustered);
        let clustered = !taken && spec.clustered.unwrap_or(spec.primary);
        let next = table
            .keys
            .iter()
            .map(|key| key.index_id)
            .max()
            .unwrap_or(1)
            .max(1)
            + 1;
        let key = Key {
            name: spec.name.clone().unwrap_or_else(|| {
                made_up_name(spec.primary, &table.name, table.object_id, table.keys.len())
            }),
            primary: spec.primary,
            constraint: true,
            clustered,
            index_id: if clustered { 1 } else { next },
            columns: positions,
        };
        push_key(table, key)?;
    }
    Ok(())
}

/// Adds a key whose values are unique in the rows that there are; error 1505 otherwise.
fn push_key(table: &mut Table, key: Key) -> Result<(), ServerError> {
    if !table.is_unique(&key).map_err(internal)? {
        return Err(ServerError::new(
            1505,
            format!(
                "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name '{}' and the index name '{}'.",
                table.qualified(),
                key.name
            ),
        ));
    }
    let mut keys = table.keys.to_vec();
    keys.push(key);
    keys.sort_by_key(|key| key.index_id);
    table.keys = keys.into();
    Ok(())
}

/// CREATE INDEX: a unique one becomes a key, another is only checked.
pub(crate) fn create_index(
    write: &mut Write,
    name: &ObjectName,
    spec: Option<&KeySpec>,
) -> Result<(), ServerError> {
    let Some(mut table) = find(write.state(), name) else {
        return Err(ServerError::new(
            1088,
            format!(
                "Cannot find the object \"{name}\" because it does not exist or you do not have permissions."
            ),
        ));
    };
    let Some(spec) = spec else { return Ok(()) };
    let columns = positions(&spec.columns, &table.columns)?;
    let clustered = spec.clustered == Some(true) && !table.keys.iter().any(|key| key.clustered);
    let next = table
        .keys
        .iter()
        .map(|key| key.index_id)
        .max()
        .unwrap_or(1)
        .max(1)
        + 1;
    let key = Key {
        name: spec.name.clone().unwrap_or_default(),
        primary: false,
        constraint: false,
        clustered,
        index_id: if clustered { 1 } else { next },
        columns,
    };
    push_key(&mut table, key)?;
    write.forget(table.object_id);
    write.state_mut().put(table);
    Ok(())
}

/// DROP TABLE; the table's capture ends with it.
pub(crate) fn drop_table(
    write: &mut Write,
    name: &ObjectName,
    if_exists: bool,
) -> Result<(), ServerError> {
    let Some(table) = find(write.state(), name).filter(|table| !table.shipped) else {
        return if if_exists {
            Ok(())
        } else {
            Err(ServerError::cannot_drop("table", &name.to_string()))
        };
    };
    if let Some(policy) = write.state().protections.policy_on(table.object_id) {
        return Err(ServerError::new(
            3729,
            format!(
                "Cannot DROP TABLE '{name}' because it is being referenced by object '{}'.",
                policy.name
            ),
        ));
    }
    if write.captures(table.object_id) {
        let at = write.state().clock;
        write.log_definition(Definition {
            object_id: table.object_id,
            kind: DefinitionKind::Dropped,
            command: format!("DROP TABLE {name}"),
            at,
        });
        write.define_capture()?;
        mark_dropped(write.state_mut(), table.object_id)?;
    }
    write.forget(table.object_id);
    write.state_mut().remove_table(table.object_id);
    Ok(())
}

/// TRUNCATE TABLE, which captured tables refuse.
pub(crate) fn truncate(write: &mut Write, name: &ObjectName) -> Result<(), ServerError> {
    let Some(mut table) = find(write.state(), name) else {
        return Err(ServerError::new(
            4701,
            format!(
                "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                name.object()
            ),
        ));
    };
    let captured = write
        .state()
        .capture
        .as_ref()
        .is_some_and(|capture| capture.captures(table.object_id));
    if captured || table.shipped {
        return Err(ServerError::new(
            4711,
            format!(
                "Cannot truncate table '{}' because it is published for replication or enabled for Change Data Capture.",
                table.name
            ),
        ));
    }
    table.rows.clear();
    table.next_identity = table
        .columns
        .iter()
        .find_map(|c| c.identity.map(|i| i.seed));
    write.forget(table.object_id);
    write.state_mut().put(table);
    Ok(())
}

/// CREATE SCHEMA.
pub(crate) fn create_schema(write: &mut Write, name: &str) -> Result<(), ServerError> {
    let state = write.state_mut();
    if state.schema(name).is_some() {
        return Err(ServerError::object_exists(name));
    }
    state.add_schema(name);
    Ok(())
}

/// ALTER DATABASE … SET.
pub(crate) fn alter_database(write: &mut Write, option: &str, on: bool) -> Result<(), ServerError> {
    let state = write.state_mut();
    match option {
        "ALLOW_SNAPSHOT_ISOLATION" => state.snapshot_isolation = on,
        "READ_COMMITTED_SNAPSHOT" => state.read_committed_snapshot = on,
        other => {
            return Err(ServerError::unsupported(format!(
                "ALTER DATABASE SET {other}"
            )));
        }
    }
    Ok(())
}
