//! What a procedure call comes to.

use std::sync::Arc;

use datafusion::arrow::array::Int32Array;

use crate::simulator::protocol::{Length, Parameter, ServerError, SqlType};

use super::answer::Answer;
use super::prepared::{Prepared, split_handle};
use super::rpc::{self, Call, Procedure, Statement};
use super::token;

/// A call that can be run.
#[derive(Debug)]
pub(super) struct Plan {
    /// The statement to run; `sp_prepare` and `sp_unprepare` have none.
    pub(super) statement: Option<Statement>,
    outputs: Vec<Output>,
}

/// An OUTPUT parameter.
#[derive(Debug)]
struct Output {
    /// Its place in the call, from 0.
    ordinal: u16,
    /// The name that the statement knows it by.
    known_as: String,
    /// It as the client sent it, with the name that the client gave.
    sent: Parameter,
}

impl Plan {
    /// # Errors
    ///
    /// The call lacks what its procedure needs.
    pub(super) fn of(call: Call, prepared: &mut Prepared) -> Result<Self, ServerError> {
        let parameters = call.parameters;
        let names: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
        // The handle, and how many parameters stand before those of the statement.
        let (statement, handle, before) = match call.procedure {
            Procedure::ExecuteSql => (Some(rpc::executed_statement(parameters)?), None, 2),
            Procedure::Named(name) => {
                let statement = rpc::exec_statement(&name, parameters, &call.defaults)?;
                (Some(statement), None, 0)
            }
            Procedure::Prepare => (None, Some(prepared.prepare(parameters)?.0), 0),
            Procedure::Execute => {
                let (handle, values) = split_handle(parameters)?;
                (Some(prepared.bind(handle, values)?), None, 1)
            }
            Procedure::PrepareAndExecute => {
                let (handle, values) = prepared.prepare(parameters)?;
                let bound = prepared.bind(handle, values);
                if bound.is_err() {
                    prepared.forget(handle)?;
                }
                (Some(bound?), Some(handle), 3)
            }
            Procedure::Unprepare => {
                prepared.forget(split_handle(parameters)?.0)?;
                (None, None, 0)
            }
        };
        let mut outputs: Vec<Output> = handle.map(handle_output).into_iter().collect();
        let bound = statement.iter().flat_map(|statement| &statement.parameters);
        for (index, parameter) in bound.enumerate().filter(|(_, p)| p.output) {
            outputs.push(Output {
                // A call has 2100 parameters at most.
                ordinal: (index + before) as u16,
                known_as: parameter.name.clone(),
                sent: parameter.clone(),
            });
        }
        for output in &mut outputs {
            let name = names.get(usize::from(output.ordinal));
            output.sent.name = name.cloned().unwrap_or_default();
        }
        outputs.sort_by_key(|output| is_large(output.sent.sql_type));
        Ok(Self { statement, outputs })
    }

    /// The tokens of the OUTPUT parameters, after the statement was answered. After an error there is the handle
    /// alone.
    ///
    /// # Errors
    ///
    /// A value is not one of its type.
    pub(super) fn return_values(&self, answer: &Answer) -> Result<Vec<u8>, ServerError> {
        let mut out = Vec::new();
        for output in &self.outputs {
            let is_handle = output.known_as.is_empty();
            if answer.error().is_some() && !is_handle {
                continue;
            }
            let mut parameter = output.sent.clone();
            if let Some(given) = answer.output(&output.known_as) {
                parameter.sql_type = given.sql_type;
                parameter.value = Arc::clone(&given.value);
            }
            token::return_value(&mut out, output.ordinal, &parameter)?;
        }
        Ok(out)
    }
}

/// The handle of a prepared statement, which is the first parameter of its call.
fn handle_output(handle: i32) -> Output {
    Output {
        ordinal: 0,
        known_as: String::new(),
        sent: Parameter {
            name: String::new(),
            sql_type: SqlType::Int,
            value: Arc::new(Int32Array::from(vec![handle])),
            output: true,
        },
    }
}

/// Whether a value stands behind those that are not (max).
fn is_large(sql_type: SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::VarChar(Length::Max)
            | SqlType::NVarChar(Length::Max)
            | SqlType::VarBinary(Length::Max)
    )
}
