//! Prepared statements: `sp_prepare`, `sp_execute`, `sp_prepexec`, `sp_unprepare`.

use std::collections::HashMap;

use crate::simulator::protocol::{Parameter, ServerError};

use super::rpc::{self, Statement};

/// Statements that one connection may have prepared at a time.
const LIMIT: usize = 1000;
/// Bytes of their texts together.
const BYTES: usize = 64 * 1024 * 1024;

/// A connection's prepared statements, by handle.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    statements: HashMap<i32, Template>,
    bytes: usize,
    last: i32,
}

#[derive(Debug, Clone)]
struct Template {
    declaration: String,
    sql: String,
}

impl Template {
    fn bytes(&self) -> usize {
        self.declaration.len() + self.sql.len()
    }
}

impl Prepared {
    /// Keeps the statement of `handle OUTPUT, @declaration, @statement, …`; gives its handle and the
    /// parameters that follow.
    pub(super) fn prepare(
        &mut self,
        parameters: Vec<Parameter>,
    ) -> Result<(i32, Vec<Parameter>), ServerError> {
        let mut parameters = parameters.into_iter();
        let replaced = parameters.next().as_ref().and_then(rpc::parameter_int);
        let declaration = parameters.next().as_ref().and_then(rpc::parameter_text);
        let sql = parameters.next().as_ref().and_then(rpc::parameter_text);
        let template = Template {
            declaration: declaration.unwrap_or_default(),
            sql: sql.ok_or_else(|| rpc::missing_text("@statement"))?,
        };
        if let Some(handle) = replaced {
            self.remove(handle);
        }
        let bytes = self.bytes + template.bytes();
        if self.statements.len() == LIMIT || bytes > BYTES {
            return Err(too_many());
        }
        self.bytes = bytes;
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.statements.insert(self.last, template);
        Ok((self.last, parameters.collect()))
    }

    /// The statement of a handle, with values.
    pub(super) fn bind(
        &self,
        handle: i32,
        values: Vec<Parameter>,
    ) -> Result<Statement, ServerError> {
        let template = self
            .statements
            .get(&handle)
            .ok_or_else(|| not_found(handle))?;
        rpc::bind(template.sql.clone(), &template.declaration, values)
    }

    /// Forgets a handle.
    pub(super) fn forget(&mut self, handle: i32) -> Result<(), ServerError> {
        if self.remove(handle) {
            Ok(())
        } else {
            Err(not_found(handle))
        }
    }

    fn remove(&mut self, handle: i32) -> bool {
        let removed = self.statements.remove(&handle);
        if let Some(template) = &removed {
            self.bytes -= template.bytes();
        }
        removed.is_some()
    }
}

/// Splits the handle off the parameters of `sp_execute` and `sp_unprepare`.
pub(super) fn split_handle(
    parameters: Vec<Parameter>,
) -> Result<(i32, Vec<Parameter>), ServerError> {
    let mut parameters = parameters.into_iter();
    let handle = parameters.next().as_ref().and_then(rpc::parameter_int);
    Ok((handle.ok_or_else(|| not_found(0))?, parameters.collect()))
}

fn not_found(handle: i32) -> ServerError {
    error(
        8179,
        format!("Could not find prepared statement with handle {handle}."),
    )
}

fn too_many() -> ServerError {
    error(
        701,
        format!(
            "There is not enough room for more than {LIMIT} prepared statements, or more than {BYTES} bytes of \
             them; unprepare some."
        ),
    )
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
