//! The stored procedures of change data capture.

use super::cleanup;
use super::enable::{
    Request, disable_database, disable_table, enable_database, enable_table, enabled,
};
use super::jobs;
use super::reports::{self, Report};
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{DatabaseCell, State, Write};
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
            if values.iter().any(|(given, _)| given == parameter) {
                return Err(ServerError::new(
                    8143,
                    format!("Parameter '@{parameter}' was supplied multiple times."),
                ));
            }
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

    /// A text, or `None` if it is NULL or left out; 8114 for what is no text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ServerError> {
        match self.value(name) {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            Value::Int(int) => Ok(Some(int.to_string())),
            _ => Err(unconverted("nvarchar")),
        }
    }

    /// An integer, or `None` if it is NULL or left out; 8114 for what is none.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, ServerError> {
        let value = self.value(name);
        match &value {
            Value::Null => Ok(None),
            Value::Text(text) => match text.trim().parse() {
                Ok(int) => Ok(Some(int)),
                Err(_) => Err(unconverted("int")),
            },
            other => match other.as_int() {
                Some(int) => Ok(Some(int)),
                None => Err(unconverted("int")),
            },
        }
    }

    /// Error 201, if a parameter without default was left out.
    pub(crate) fn given(&self, name: &str) -> Result<(), ServerError> {
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
    pub(crate) fn required(&self, name: &str) -> Result<String, ServerError> {
        self.given(name)?;
        self.text(name)?
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

/// 8114.
pub(super) fn unconverted(to: &str) -> ServerError {
    ServerError::new(8114, format!("Error converting data type to {to}."))
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

/// What a procedure does, and to what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Procedure {
    /// Changes what the database defines, within the caller's transaction.
    Change(fn(&mut Write, &[Argument]) -> Result<(), ServerError>),
    /// Changes capture, within the caller's transaction.
    Define(fn(&mut Write, &[Argument]) -> Result<(), ServerError>),
    /// Drives a job, outside of any transaction.
    Act(fn(&DatabaseCell, &[Argument]) -> Result<(), ServerError>),
    /// Answers with rows.
    Report(fn(&State, &[Argument]) -> Result<Report, ServerError>),
}

/// The procedure of a name without schema, if change data capture has it.
pub(crate) fn procedure(name: &str) -> Option<Procedure> {
    Some(match name.to_lowercase().as_str() {
        "sp_cdc_enable_db" => Procedure::Define(|write, arguments| {
            Arguments::bind("sp_cdc_enable_db", &[], arguments)?;
            enable_database(write.state_mut())
        }),
        "sp_cdc_disable_db" => Procedure::Define(|write, arguments| {
            Arguments::bind("sp_cdc_disable_db", &[], arguments)?;
            disable_database(write.state_mut());
            Ok(())
        }),
        "sp_cdc_enable_table" => Procedure::Define(call_enable_table),
        "sp_cdc_disable_table" => {
            Procedure::Define(|write, arguments| call_disable_table(write.state_mut(), arguments))
        }
        "sp_cdc_cleanup_change_table" => {
            Procedure::Define(|write, arguments| clean_up(write.state_mut(), arguments))
        }
        "sp_cdc_add_job" => {
            Procedure::Define(|write, arguments| jobs::add(write.state_mut(), arguments))
        }
        "sp_cdc_change_job" => {
            Procedure::Define(|write, arguments| jobs::change(write.state_mut(), arguments))
        }
        "sp_cdc_drop_job" => {
            Procedure::Define(|write, arguments| jobs::drop_job(write.state_mut(), arguments))
        }
        "sp_cdc_start_job" => Procedure::Act(jobs::start),
        "sp_cdc_stop_job" => Procedure::Act(jobs::stop),
        "sp_cdc_scan" => Procedure::Act(jobs::scan),
        "sp_cdc_help_jobs" => Procedure::Report(reports::jobs),
        "sp_cdc_help_change_data_capture" => Procedure::Report(reports::instances),
        "sp_cdc_get_captured_columns" => Procedure::Report(reports::captured_columns),
        "sp_cdc_get_ddl_history" => Procedure::Report(reports::ddl_history),
        _ => return None,
    })
}

fn call_enable_table(write: &mut Write, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(write.state())?;
    let arguments = Arguments::bind("sp_cdc_enable_table", ENABLE_TABLE, arguments)?;
    arguments.given("role_name")?;
    let request = Request {
        schema: arguments.required("source_schema")?,
        table: arguments.required("source_name")?,
        instance: arguments.text("capture_instance")?,
        role: arguments.text("role_name")?,
        net_changes: arguments.int("supports_net_changes")?.map(|flag| flag != 0),
        index: arguments.text("index_name")?,
        columns: arguments.text("captured_column_list")?,
        partition_switch: arguments
            .int("allow_partition_switch")?
            .map(|flag| flag != 0),
    };
    let command_id = write.capture_behaviour().command_id;
    enable_table(write.state_mut(), &request, command_id)
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

/// `sys.sp_cdc_cleanup_change_table`: moves the instance's low end up to a mark, which is an entry of the
/// mapping or NULL for the present low end, and removes the rows below it.
fn clean_up(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(state)?;
    let parameters = &["capture_instance", "low_water_mark", "threshold"];
    let arguments = Arguments::bind("sp_cdc_cleanup_change_table", parameters, arguments)?;
    let name = arguments.required("capture_instance")?;
    let mark = match arguments.value("low_water_mark") {
        Value::Null => None,
        Value::Bytes(bytes) => Some(bytes.try_into().map_err(|_| cleanup::no_such_mark())?),
        _ => return Err(cleanup::no_such_mark()),
    };
    match cleanup::begin(state, &name, mark)? {
        Some(begun) => cleanup::finish(state, &begun),
        None => Ok(()),
    }
}
