//! Partition functions and schemes, security policies with their predicates, and keys of Always Encrypted: as far
//! as the catalogue shows them, queries follow them, and clients must mind them.

use std::sync::Arc;

use super::cursor::{Cursor, ObjectName, at_commas, list};
use super::ddl::data_type;
use super::lexer::{Kind, Token};
use super::normal::source;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{
    Filter, PartitionFunction, Policy, Predicate, Protections, State, Table, Write,
};
use crate::simulator::types::{Mode, Value, convert_value};

/// A statement about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Protection {
    /// CREATE PARTITION FUNCTION.
    PartitionFunction(PartitionFunction),
    /// CREATE PARTITION SCHEME, and its function.
    PartitionScheme(String, String),
    /// CREATE COLUMN MASTER KEY, of which nothing is kept.
    MasterKey,
    /// CREATE COLUMN ENCRYPTION KEY.
    EncryptionKey(String),
    /// CREATE FUNCTION: a predicate.
    Predicate(ObjectName, Vec<String>, String),
    /// CREATE SECURITY POLICY.
    Policy {
        /// Its name.
        name: ObjectName,
        /// Its filters: predicate, columns, table.
        filters: Vec<(ObjectName, Vec<String>, ObjectName)>,
        /// STATE = ON.
        enabled: bool,
    },
    /// ALTER SECURITY POLICY … WITH (STATE = …).
    Enable(ObjectName, bool),
    /// DROP SECURITY POLICY, and whether IF EXISTS.
    DropPolicy(ObjectName, bool),
}

/// What follows CREATE, ALTER or DROP; `None` for anything else.
pub(crate) fn protection(
    verb: &str,
    cursor: &mut Cursor<'_>,
    first_of_batch: bool,
) -> Result<Option<Protection>, ServerError> {
    let found = match verb {
        "CREATE" if cursor.eat_all(&["PARTITION", "FUNCTION"]) => partition_function(cursor)?,
        "CREATE" if cursor.eat_all(&["PARTITION", "SCHEME"]) => partition_scheme(cursor)?,
        "CREATE" if cursor.eat_all(&["COLUMN", "MASTER", "KEY"]) => {
            key(cursor)?;
            Protection::MasterKey
        }
        "CREATE" if cursor.eat_all(&["COLUMN", "ENCRYPTION", "KEY"]) => {
            Protection::EncryptionKey(key(cursor)?)
        }
        "CREATE" if cursor.eat("FUNCTION") => {
            if !first_of_batch {
                let message = "'CREATE FUNCTION' must be the first statement in a query batch.";
                return Err(ServerError::new(111, message));
            }
            predicate(cursor)?
        }
        "CREATE" if cursor.eat_all(&["SECURITY", "POLICY"]) => policy(cursor)?,
        "ALTER" if cursor.eat_all(&["SECURITY", "POLICY"]) => {
            let name = cursor.object_name()?;
            match state_option(cursor)? {
                Some(on) => Protection::Enable(name, on),
                None => {
                    return Err(ServerError::unsupported(
                        "ALTER SECURITY POLICY but of STATE",
                    ));
                }
            }
        }
        "DROP" if cursor.eat_all(&["SECURITY", "POLICY"]) => {
            let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
            Protection::DropPolicy(cursor.object_name()?, if_exists)
        }
        _ => return Ok(None),
    };
    cursor.end()?;
    Ok(Some(found))
}

/// `name (type) AS RANGE LEFT|RIGHT FOR VALUES (…)`.
fn partition_function(cursor: &mut Cursor<'_>) -> Result<Protection, ServerError> {
    let name = cursor.name()?;
    let sql_type = data_type(&mut Cursor::new(cursor.parenthesised()?))?.sql_type;
    cursor.expect("AS")?;
    cursor.expect("RANGE")?;
    let right = cursor.eat("RIGHT");
    let _ = !right && cursor.eat("LEFT");
    cursor.expect("FOR")?;
    cursor.expect("VALUES")?;
    let values = at_commas(cursor.parenthesised()?);
    let mut boundaries = values
        .into_iter()
        .map(|value| boundary(&mut Cursor::new(value), sql_type))
        .collect::<Result<Vec<_>, _>>()?;
    boundaries.sort_unstable();
    if boundaries.windows(2).any(|pair| pair[0] == pair[1]) {
        let message =
            "Duplicate values are not allowed in partition function boundary values list.";
        return Err(ServerError::new(7705, message));
    }
    Ok(Protection::PartitionFunction(PartitionFunction {
        name,
        sql_type,
        boundaries,
        right,
    }))
}

fn boundary(cursor: &mut Cursor<'_>, sql_type: SqlType) -> Result<i64, ServerError> {
    let value = match (cursor.peek().map(|token| &token.kind), sql_type) {
        (Some(Kind::Text(text) | Kind::National(text)), SqlType::Date) => {
            let text = Value::from(text.as_str());
            cursor.next();
            let from = SqlType::VarChar(Length::Max);
            convert_value(text, from, sql_type, 0, Mode::Cast)?
        }
        (_, SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt) => {
            Value::Int(cursor.integer()?)
        }
        _ => {
            let what = "partition functions but of whole numbers and dates";
            return Err(ServerError::unsupported(what));
        }
    };
    cursor.end()?;
    match value {
        Value::Int(int) => Ok(int),
        Value::Date(days) => Ok(days.into()),
        _ => Err(cursor.error()),
    }
}

/// `name AS PARTITION function [ALL] TO (filegroups)`.
fn partition_scheme(cursor: &mut Cursor<'_>) -> Result<Protection, ServerError> {
    let name = cursor.name()?;
    cursor.expect("AS")?;
    cursor.expect("PARTITION")?;
    let function = cursor.name()?;
    let _ = cursor.eat("ALL");
    cursor.expect("TO")?;
    cursor.parenthesised()?;
    Ok(Protection::PartitionScheme(name, function))
}

/// `name WITH [VALUES] (…)`: how a client finds and opens the key is the client's affair.
fn key(cursor: &mut Cursor<'_>) -> Result<String, ServerError> {
    let name = cursor.name()?;
    cursor.expect("WITH")?;
    let _ = cursor.eat("VALUES");
    cursor.parenthesised()?;
    Ok(name.to_lowercase())
}

/// `name (@a type, …) RETURNS TABLE [WITH SCHEMABINDING] AS RETURN SELECT 1 AS x WHERE condition`.
fn predicate(cursor: &mut Cursor<'_>) -> Result<Protection, ServerError> {
    let only =
        || ServerError::unsupported("functions but those of SELECT 1 AS name WHERE condition");
    let name = cursor.object_name()?;
    let parameters = at_commas(cursor.parenthesised()?);
    let parameters = parameters
        .into_iter()
        .map(|parameter| parameter_name(&mut Cursor::new(parameter)))
        .collect::<Result<Vec<_>, _>>()?;
    if !cursor.eat_all(&["RETURNS", "TABLE"]) {
        return Err(only());
    }
    let _ = cursor.eat_all(&["WITH", "SCHEMABINDING"]);
    let _ = cursor.eat("AS");
    cursor.expect("RETURN")?;
    let mut body = match cursor.peek().is_some_and(|token| token.symbol("(")) {
        true => Cursor::new(cursor.parenthesised()?),
        false => {
            let rest = Cursor::new(cursor.rest());
            while cursor.next().is_some() {}
            rest
        }
    };
    let _ = cursor.eat_symbol(";");
    if !body.eat("SELECT") || body.integer().is_err() {
        return Err(only());
    }
    let _ = body.eat("AS");
    body.name()?;
    if !body.eat("WHERE") {
        return Err(only());
    }
    let mut condition = body.rest();
    while let [before @ .., last] = condition
        && last.symbol(";")
    {
        condition = before;
    }
    Ok(Protection::Predicate(name, parameters, source(condition)))
}

fn parameter_name(cursor: &mut Cursor<'_>) -> Result<String, ServerError> {
    let Some(Kind::Variable(name)) = cursor.next().map(|token| &token.kind) else {
        return Err(cursor.error());
    };
    let _ = cursor.eat("AS");
    data_type(cursor)?;
    cursor.end()?;
    Ok(name.to_lowercase())
}

/// `name ADD FILTER PREDICATE function(columns) ON table, … [WITH (STATE = ON)]`.
fn policy(cursor: &mut Cursor<'_>) -> Result<Protection, ServerError> {
    let name = cursor.object_name()?;
    let mut filters = Vec::new();
    while filters.is_empty() || cursor.eat_symbol(",") {
        cursor.expect("ADD")?;
        if cursor.eat("BLOCK") {
            return Err(ServerError::unsupported("BLOCK predicates"));
        }
        let _ = cursor.eat("FILTER");
        cursor.expect("PREDICATE")?;
        let function = cursor.object_name()?;
        let columns = match cursor.parenthesised()? {
            [] => Vec::new(),
            arguments => list(arguments, Cursor::name)?,
        };
        cursor.expect("ON")?;
        filters.push((function, columns, cursor.object_name()?));
    }
    let enabled = state_option(cursor)?.unwrap_or(true);
    let _ = cursor.eat_all(&["NOT", "FOR", "REPLICATION"]);
    Ok(Protection::Policy {
        name,
        filters,
        enabled,
    })
}

/// `WITH (STATE = ON, …)`.
fn state_option(cursor: &mut Cursor<'_>) -> Result<Option<bool>, ServerError> {
    if !cursor.eat("WITH") {
        return Ok(None);
    }
    let mut state = None;
    for option in at_commas(cursor.parenthesised()?) {
        let mut option = Cursor::new(option);
        let name = option.name()?;
        let _ = option.eat_symbol("=");
        let on = option.eat("ON");
        if !on {
            option.expect("OFF")?;
        }
        option.end()?;
        match name.to_ascii_uppercase().as_str() {
            "STATE" => state = Some(on),
            "SCHEMABINDING" => {}
            _ => return Err(ServerError::syntax(&name)),
        }
    }
    Ok(state)
}

/// The partition scheme's name and the column's `column_id`, for a table that is to lie on it.
pub(super) fn partition(
    state: &State,
    table: &Table,
    scheme: &str,
    column: &str,
) -> Result<(String, i32), ServerError> {
    let function = state.protections.function_of(scheme).ok_or_else(|| {
        ServerError::new(
            1921,
            format!("Invalid partition scheme '{scheme}' specified."),
        )
    })?;
    let at = table.column(column).ok_or_else(|| {
        ServerError::new(
            1911,
            format!("Column name '{column}' does not exist in the target table or view."),
        )
    })?;
    if table.columns[at].sql_type != function.sql_type {
        return Err(ServerError::new(
            7726,
            format!(
                "Partition column '{column}' has data type {} which is different from the partition function '{}' parameter data type {}.",
                table.columns[at].sql_type.declared(),
                function.name,
                function.sql_type.declared()
            ),
        ));
    }
    if let Some(key) = table.keys.iter().find(|key| !key.columns.contains(&at)) {
        return Err(ServerError::new(
            1908,
            format!(
                "Column '{column}' is partitioning column of the index '{}'. Partition columns for a unique index must be a subset of the index key.",
                key.name
            ),
        ));
    }
    Ok((scheme.to_owned(), table.columns[at].id))
}

/// Runs a statement.
pub(crate) fn protect(write: &mut Write, protection: &Protection) -> Result<(), ServerError> {
    let state = write.state_mut();
    match protection {
        Protection::PartitionFunction(function) => {
            let known = &mut all(state).functions;
            unique(known.iter().map(|known| &known.name), &function.name)?;
            known.push(function.clone());
        }
        Protection::PartitionScheme(name, function) => {
            let known = all(state);
            unique(known.schemes.iter().map(|(name, _)| name), name)?;
            let mut functions = known.functions.iter();
            if !functions.any(|known| known.name.eq_ignore_ascii_case(function)) {
                return Err(ServerError::not_found("partition function", function));
            }
            known.schemes.push((name.clone(), function.clone()));
        }
        Protection::MasterKey => {}
        Protection::EncryptionKey(name) => {
            unique(all(state).keys.iter(), name)?;
            all(state).keys.push(name.clone());
        }
        Protection::Predicate(name, parameters, condition) => {
            let (schema, name) = parts(state, name)?;
            if state.protections.predicate(&schema, &name).is_some() {
                return Err(ServerError::object_exists(&name));
            }
            all(state).predicates.push(Predicate {
                schema,
                name,
                parameters: parameters.clone(),
                condition: condition.clone(),
            });
        }
        Protection::Policy {
            name,
            filters,
            enabled,
        } => create_policy(state, name, filters, *enabled)?,
        Protection::Enable(name, on) => {
            let at = policy_at(state, name)?;
            all(state).policies[at].enabled = *on;
        }
        Protection::DropPolicy(name, if_exists) => match policy_at(state, name) {
            Ok(at) => {
                all(state).policies.remove(at);
            }
            Err(_) if *if_exists => {}
            Err(error) => return Err(error),
        },
    }
    Ok(())
}

fn all(state: &mut State) -> &mut Protections {
    Arc::make_mut(&mut state.protections)
}

fn unique<'a>(mut known: impl Iterator<Item = &'a String>, name: &str) -> Result<(), ServerError> {
    if known.any(|known| known.eq_ignore_ascii_case(name)) {
        return Err(ServerError::object_exists(name));
    }
    Ok(())
}

/// A name's schema, as it was created, and its last part.
fn parts(state: &State, name: &ObjectName) -> Result<(String, String), ServerError> {
    let schema = name.schema().unwrap_or("dbo");
    let schema = state
        .schema(schema)
        .ok_or_else(|| ServerError::not_found("schema", schema))?;
    Ok((schema.name.clone(), name.object().to_owned()))
}

fn create_policy(
    state: &mut State,
    name: &ObjectName,
    filters: &[(ObjectName, Vec<String>, ObjectName)],
    enabled: bool,
) -> Result<(), ServerError> {
    let (schema, policy) = parts(state, name)?;
    unique(
        state.protections.policies.iter().map(|policy| &policy.name),
        &policy,
    )?;
    let mut found = Vec::new();
    for (function, columns, table) in filters {
        let (owner, predicate) = parts(state, function)?;
        let known = state
            .protections
            .predicate(&owner, &predicate)
            .ok_or_else(|| ServerError::invalid_object(&function.to_string()))?;
        if known.parameters.len() != columns.len() {
            let message = format!(
                "An insufficient number of arguments were supplied for the procedure or function {function}."
            );
            return Err(ServerError::new(313, message));
        }
        let target = state
            .table(table.schema().unwrap_or("dbo"), table.object())
            .filter(|table| !table.shipped)
            .ok_or_else(|| ServerError::invalid_object(&table.to_string()))?;
        if let Some(column) = columns.iter().find(|name| target.column(name).is_none()) {
            return Err(ServerError::invalid_column(column));
        }
        found.push(Filter {
            table: target.object_id,
            predicate: (owner, predicate),
            columns: columns.clone(),
        });
    }
    let object_id = state.new_object_id();
    all(state).policies.push(Policy {
        schema,
        name: policy,
        object_id,
        enabled,
        filters: found,
    });
    Ok(())
}

fn policy_at(state: &State, name: &ObjectName) -> Result<usize, ServerError> {
    let schema = name.schema().unwrap_or("dbo");
    let mut policies = state.protections.policies.iter();
    policies
        .position(|policy| {
            policy.schema.eq_ignore_ascii_case(schema)
                && policy.name.eq_ignore_ascii_case(name.object())
        })
        .ok_or_else(|| ServerError::not_found("security policy", &name.to_string()))
}

/// The condition of a filter over its table's columns, in T-SQL.
pub(super) fn condition(
    predicate: &Predicate,
    columns: &[String],
    tokens: impl Fn(&str) -> Result<Vec<Token>, ServerError>,
) -> Result<String, ServerError> {
    let mut condition = tokens(&predicate.condition)?;
    for token in &mut condition {
        let Kind::Variable(name) = &token.kind else {
            continue;
        };
        let name = name.to_lowercase();
        let mut arguments = predicate.parameters.iter().zip(columns);
        if let Some((_, column)) = arguments.find(|(parameter, _)| **parameter == name) {
            token.kind = Kind::Quoted(column.clone());
        }
    }
    Ok(source(&condition))
}
