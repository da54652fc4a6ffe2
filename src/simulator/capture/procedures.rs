//! The stored procedures of change data capture.

use std::sync::Arc;

use super::enable::{
    Request, disable_database, disable_table, enable_database, enable_table, enabled,
};
use super::metadata;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{State, internal};
use crate::simulator::types::Value;

/// An argument of a procedure call.
#[derive(Debug, Clone)]
pub(crate) struct Argument {
    /// The parameter's name with its `@`, if it was given.
    pub(crate) name: Option<String>,
    /// The value.
    pub(crate) value: Value,
}

/// The arguments of a call, by the parameters' names.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    procedure: &'a str,
    values: Vec<(&'static str, Value)>,
}

impl<'a> Arguments<'a> {
    /// Binds arguments to parameters, which are named without `@` and in the order of their positions.
    pub(crate) fn bind(
        procedure: &'a str,
        parameters: &[&'static str],
        arguments: &[Argument],
    ) -> Result<Self, ServerError> {
        let mut values = Vec::new();
        for (position, argument) in arguments.iter().enumerate() {
            let parameter = match &argument.name {
                None => parameters.get(position).ok_or_else(|| {
                    ServerError::new(
                        8144,
                        format!(
                            "Procedure or function {procedure} has too many arguments specified."
                        ),
                    )
                })?,
                Some(name) => parameters
                    .iter()
                    .find(|parameter| name.trim_start_matches('@').eq_ignore_ascii_case(parameter))
                    .ok_or_else(|| {
                        ServerError::new(
                            8145,
                            format!("{name} is not a parameter for procedure {procedure}."),
                        )
                    })?,
            };
            values.push((*parameter, argument.value.clone()));
        }
        Ok(Self { procedure, values })
    }

    /// The value of a parameter that may be left out.
    pub(crate) fn value(&self, name: &str) -> Value {
        self.values
            .iter()
            .find(|(parameter, _)| *parameter == name)
            .map_or(Value::Null, |(_, value)| value.clone())
    }

    /// A text, or `None` if it is NULL or left out.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_text().map(str::to_owned)
    }

    /// Error 201, if a parameter without default was left out.
    fn given(&self, name: &str) -> Result<(), ServerError> {
        if self.values.iter().any(|(parameter, _)| *parameter == name) {
            return Ok(());
        }
        Err(ServerError::new(
            201,
            format!(
                "Procedure or function '{}' expects parameter '@{name}', which was not supplied.",
                self.procedure
            ),
        ))
    }

    /// A text that must be given and not NULL.
    fn required(&self, name: &str) -> Result<String, ServerError> {
        self.given(name)?;
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                ServerError::new(
                    22903,
                    format!(
                        "The parameter @{name} of {} cannot be null or empty.",
                        self.procedure
                    ),
                )
            })
    }
}

const ENABLE_TABLE: &[&str] = &[
    "source_schema",
    "source_name",
    "role_name",
    "capture_instance",
    "supports_net_changes",
    "index_name",
    "captured_column_list",
    "filegroup_name",
    "allow_partition_switch",
];

type Procedure = fn(&mut State, &[Argument]) -> Result<(), ServerError>;

/// The procedure of a name without schema, if change data capture has it.
pub(crate) fn procedure(name: &str) -> Option<Procedure> {
    match name.to_lowercase().as_str() {
        "sp_cdc_enable_db" => Some(|state, arguments| {
            Arguments::bind("sp_cdc_enable_db", &[], arguments)?;
            enable_database(state)
        }),
        "sp_cdc_disable_db" => Some(|state, arguments| {
            Arguments::bind("sp_cdc_disable_db", &[], arguments)?;
            disable_database(state);
            Ok(())
        }),
        "sp_cdc_enable_table" => Some(call_enable_table),
        "sp_cdc_disable_table" => Some(call_disable_table),
        "sp_cdc_cleanup_change_table" => Some(cleanup),
        _ => None,
    }
}

fn call_enable_table(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(state)?;
    let arguments = Arguments::bind("sp_cdc_enable_table", ENABLE_TABLE, arguments)?;
    arguments.given("role_name")?;
    let request = Request {
        schema: arguments.required("source_schema")?,
        table: arguments.required("source_name")?,
        instance: arguments.text("capture_instance"),
        role: arguments.text("role_name"),
        net_changes: arguments
            .value("supports_net_changes")
            .as_int()
            .map(|flag| flag != 0),
        index: arguments.text("index_name"),
        columns: arguments.text("captured_column_list"),
    };
    enable_table(state, &request)
}

fn call_disable_table(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(state)?;
    let parameters = &["source_schema", "source_name", "capture_instance"];
    let arguments = Arguments::bind("sp_cdc_disable_table", parameters, arguments)?;
    disable_table(
        state,
        &arguments.required("source_schema")?,
        &arguments.required("source_name")?,
        &arguments.required("capture_instance")?,
    )
}

/// `sys.sp_cdc_cleanup_change_table`: moves the instance's low end up to a mark, which is a commit in the
/// mapping or NULL for the present low end, and removes the rows below it.
fn cleanup(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    let mut capture = enabled(state)?.as_ref().clone();
    let parameters = &["capture_instance", "low_water_mark", "threshold"];
    let arguments = Arguments::bind("sp_cdc_cleanup_change_table", parameters, arguments)?;
    let name = arguments.required("capture_instance")?;
    let lower = name.to_lowercase();
    let instance = capture
        .instances
        .iter_mut()
        .find(|instance| instance.name.to_lowercase() == lower)
        .ok_or_else(|| {
            ServerError::new(
                22965,
                format!("Capture instance '{name}' does not exist in the current database."),
            )
        })?;
    let mark = match arguments.value("low_water_mark") {
        Value::Null => instance.start_lsn,
        value => Some(water_mark(state, &value)?),
    };
    let Some(mark) = mark else { return Ok(()) };
    if instance.start_lsn.is_some_and(|start| mark < start) {
        return Err(ServerError::new(
            22957,
            "LSN low water mark is less than or equal to the current low water mark of the capture instance.",
        ));
    }
    instance.start_lsn = Some(mark);
    let table = instance.change_table;
    remove_below(state, table, &mark)?;
    if let Some(oldest) = capture.instances.iter().filter_map(|i| i.start_lsn).min() {
        let mapping = state.table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING);
        if let Some(mapping) = mapping.map(|table| table.object_id) {
            remove_below(state, mapping, &oldest)?;
        }
    }
    state.capture = Some(Arc::new(capture));
    metadata::refresh(state)
}

fn water_mark(state: &State, value: &Value) -> Result<[u8; 10], ServerError> {
    let mark: Option<[u8; 10]> = value.as_bytes().and_then(|bytes| bytes.try_into().ok());
    mark.filter(|mark| {
        state
            .table(metadata::SCHEMA, metadata::LSN_TIME_MAPPING)
            .is_some_and(|mapping| rows_where(mapping, |lsn| lsn == mark).next().is_some())
    })
    .ok_or_else(|| {
        ServerError::new(
            22964,
            "LSN specified as the low water mark for cleanup does not exist in cdc.lsn_time_mapping.",
        )
    })
}

/// Ids of the rows whose first column, an LSN, meets a condition.
fn rows_where<'a>(
    table: &'a crate::simulator::store::Table,
    holds: impl Fn(&[u8]) -> bool + 'a,
) -> impl Iterator<Item = u64> + 'a {
    use datafusion::arrow::array::AsArray;
    let chunks = table.rows.chunks().iter().enumerate();
    chunks.flat_map(move |(number, chunk)| {
        let lsns = chunk.column(0).as_binary::<i32>();
        (0..chunk.num_rows())
            .filter(|row| holds(lsns.value(*row)))
            .map(|row| crate::simulator::store::row_id(number, row))
            .collect::<Vec<_>>()
    })
}

fn remove_below(state: &mut State, object_id: i32, mark: &[u8; 10]) -> Result<(), ServerError> {
    if let Some(table) = state.table_mut(object_id) {
        let old: Vec<u64> = rows_where(table, |lsn| lsn < mark.as_slice()).collect();
        table.rows.remove(&old).map_err(internal)?;
    }
    Ok(())
}
