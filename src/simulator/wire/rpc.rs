//! Remote procedure calls.

use crate::simulator::protocol::{Parameter, ServerError};
use crate::simulator::session::declaration;

use super::parameter::{self, CallError};
use super::reader::Reader;

/// SQL Server's own limit.
const PARAMETER_LIMIT: usize = 2100;

/// What ends one call of several in a message.
const BATCH_FLAG: u8 = 0xff;
/// The same, without running it.
const NO_EXEC_FLAG: u8 = 0xfe;

/// Stands where the length of a procedure's name would be.
const BY_ID: u16 = 0xffff;

/// The procedures that the wire answers itself, and all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Procedure {
    ExecuteSql,
    Prepare,
    Execute,
    PrepareAndExecute,
    Unprepare,
    Named(String),
}

/// A call, decoded.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) procedure: Procedure,
    pub(super) parameters: Vec<Parameter>,
    /// Positions of the parameters that are to have the procedure's own default.
    pub(super) defaults: Vec<usize>,
}

/// A statement with the parameters that its declaration names.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<Parameter>,
    /// Whether it is the text of a procedure's call, such as `sp_executesql`'s, and no batch.
    pub(super) called: bool,
}

impl Statement {
    /// A batch.
    pub(super) fn batch(sql: String) -> Self {
        Self {
            sql,
            parameters: Vec::new(),
            called: false,
        }
    }
}

/// Reads the next call of a message.
pub(super) fn next_call(message: &mut Reader<'_>) -> Result<Call, CallError> {
    let procedure = procedure(message)?;
    let _options = message.u16()?;
    let mut parameters = Vec::new();
    let mut defaults = Vec::new();
    while !matches!(message.peek(), None | Some(BATCH_FLAG | NO_EXEC_FLAG)) {
        if parameters.len() == PARAMETER_LIMIT {
            return Err(CallError::Refused(too_many_parameters()));
        }
        let (parameter, is_default) = parameter::decode(message, parameters.len() + 1)?;
        if is_default {
            defaults.push(parameters.len());
        }
        parameters.push(parameter);
    }
    if !message.is_empty() && message.u8()? == NO_EXEC_FLAG {
        return Err(CallError::Refused(no_deferred_calls()));
    }
    Ok(Call {
        procedure,
        parameters,
        defaults,
    })
}

fn procedure(message: &mut Reader<'_>) -> Result<Procedure, CallError> {
    let length = message.u16()?;
    if length != BY_ID {
        let name = message.utf16(usize::from(length))?;
        return Ok(by_name(name));
    }
    match message.u16()? {
        10 => Ok(Procedure::ExecuteSql),
        11 => Ok(Procedure::Prepare),
        12 => Ok(Procedure::Execute),
        13 => Ok(Procedure::PrepareAndExecute),
        15 => Ok(Procedure::Unprepare),
        id => Err(CallError::Refused(not_found(&format!("#{id}")))),
    }
}

fn by_name(name: String) -> Procedure {
    let last = name.rsplit('.').next().unwrap_or_default();
    let bare = last.trim_start_matches('[').trim_end_matches(']');
    match bare.to_ascii_lowercase().as_str() {
        "sp_executesql" => Procedure::ExecuteSql,
        "sp_prepare" => Procedure::Prepare,
        "sp_execute" => Procedure::Execute,
        "sp_prepexec" => Procedure::PrepareAndExecute,
        "sp_unprepare" => Procedure::Unprepare,
        _ => Procedure::Named(name),
    }
}

/// The statement of `sp_executesql @statement, @declaration, values …`.
pub(super) fn executed_statement(parameters: Vec<Parameter>) -> Result<Statement, ServerError> {
    let mut parameters = parameters.into_iter();
    let sql = parameters
        .next()
        .and_then(|parameter| parameter_text(&parameter));
    let sql = sql.ok_or_else(|| missing_text("@statement"))?;
    let declared = parameters.next();
    let declared = declared
        .as_ref()
        .and_then(parameter_text)
        .unwrap_or_default();
    bind(sql, &declared, parameters.collect())
}

/// The statement with the values of its declared parameters.
pub(super) fn bind(
    sql: String,
    declaration: &str,
    values: Vec<Parameter>,
) -> Result<Statement, ServerError> {
    let parameters = declaration::bind(&sql, declaration, values)?;
    Ok(Statement {
        sql,
        parameters,
        called: true,
    })
}

/// The call of any other procedure, as the text of an EXEC statement. A parameter that is to have the
/// procedure's default is left out, or is DEFAULT where it has no name.
pub(super) fn exec_statement(
    name: &str,
    mut parameters: Vec<Parameter>,
    defaults: &[usize],
) -> Result<Statement, ServerError> {
    if name.is_empty() || !name.chars().all(is_of_name) {
        return Err(not_found(name));
    }
    let mut arguments = Vec::new();
    for (index, parameter) in parameters.iter_mut().enumerate() {
        let is_default = defaults.contains(&index);
        let output = if parameter.output { " OUTPUT" } else { "" };
        if !parameter.name.is_empty() {
            if !is_default {
                arguments.push(format!("{0} = {0}{output}", parameter.name));
            }
            continue;
        }
        parameter.name = format!("@P{}", index + 1);
        arguments.push(if is_default {
            "DEFAULT".to_owned()
        } else {
            format!("{}{output}", parameter.name)
        });
    }
    let sql = format!("EXEC {name} {}", arguments.join(", "));
    Ok(Statement {
        sql: sql.trim_end().to_owned(),
        parameters,
        called: true,
    })
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || "_.[]@#$ ".contains(character)
}

/// The text of a character parameter.
pub(super) fn parameter_text(parameter: &Parameter) -> Option<String> {
    use datafusion::arrow::array::{Array, AsArray};
    let array = parameter.value.as_string_opt::<i32>()?;
    (array.is_valid(0)).then(|| array.value(0).to_owned())
}

/// The value of an INT parameter.
pub(super) fn parameter_int(parameter: &Parameter) -> Option<i32> {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::Int32Type;
    let array = parameter.value.as_primitive_opt::<Int32Type>()?;
    array.is_valid(0).then(|| array.value(0))
}

fn error(number: u32, message: String) -> ServerError {
    ServerError {
        number,
        severity: 16,
        state: 1,
        line: 1,
        message,
    }
}

/// 2812.
pub(super) fn not_found(name: &str) -> ServerError {
    ServerError {
        state: 62,
        ..error(2812, format!("Could not find stored procedure '{name}'."))
    }
}

/// 214.
pub(super) fn missing_text(name: &str) -> ServerError {
    error(
        214,
        format!("Procedure expects parameter '{name}' of type 'ntext/nchar/nvarchar'."),
    )
}

fn no_deferred_calls() -> ServerError {
    error(
        40510,
        "Calls that are sent without being executed (NoExec) are not supported by the simulator."
            .to_owned(),
    )
}

fn too_many_parameters() -> ServerError {
    error(
        8003,
        format!(
            "The incoming request has too many parameters. The server supports a maximum of \
             {PARAMETER_LIMIT} parameters. Reduce the number of parameters and resend the request."
        ),
    )
}
