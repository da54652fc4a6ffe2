//! Procedures that answer with rows, and table variables, which can take those rows.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;

use super::executor::{Batch, Executor, Stop};
use crate::simulator::capture::{Argument, Procedure, procedure};
use crate::simulator::protocol::{Reply, ServerError};
use crate::simulator::security::Rights;
use crate::simulator::store::{State, internal};
use crate::simulator::tsql::command::{ExecArgument, InsertExecute};
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::ddl::Elements;
use crate::simulator::tsql::definitions::table_variable;
use crate::simulator::tsql::system::{self, Answered};
use crate::simulator::types::{Mode, convert_array};

use super::execute::argument_values;

impl Executor {
    /// What a procedure answers that only reads; `None` for one that does not.
    pub(super) fn answered(
        &mut self,
        name: &ObjectName,
        arguments: &[Argument],
        batch: &Batch<'_>,
    ) -> Result<Option<Answered>, ServerError> {
        let scope = self.scope(batch);
        let database = name.database().unwrap_or(&self.database);
        if let Some(found) = system::procedure(name) {
            return found.call(&scope, database, arguments).map(Some);
        }
        let Some(Procedure::Report(report)) = procedure(name.object()) else {
            return Ok(None);
        };
        let rights = self.rights(database)?;
        if name.object().eq_ignore_ascii_case("sp_cdc_help_jobs") {
            self.permit_procedure(name.object(), database)?;
        }
        let state = scope
            .state(database)
            .ok_or_else(|| ServerError::unknown_database(database))?;
        let report = report(&readable(state, &rights), arguments)?;
        Ok(Some(Answered {
            columns: report.columns,
            rows: report.rows,
        }))
    }

    /// Sends a procedure's rows.
    pub(super) async fn send_answer(
        &mut self,
        answered: Answered,
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        let count = answered.rows.num_rows();
        batch.send(Reply::Columns(answered.columns)).await?;
        if count > 0 {
            batch.send(Reply::Rows(answered.rows)).await?;
        }
        self.facts.row_count = i64::try_from(count).unwrap_or(i64::MAX);
        let reply = Reply::Done {
            rows: (!self.settings.no_count).then_some(count as u64),
            select: true,
        };
        batch.send(reply).await
    }

    /// DECLARE @t TABLE (…).
    pub(super) fn declare_table(
        &mut self,
        name: &str,
        elements: &Elements,
    ) -> Result<(), ServerError> {
        if self.table_variables.iter().any(|t| same(&t.name, name)) {
            return Err(ServerError::new(
                134,
                format!(
                    "The variable name '{name}' has already been declared. Variable names must be unique within a query batch or stored procedure."
                ),
            ));
        }
        let database = self
            .server
            .database(&self.database)
            .ok_or_else(|| ServerError::unknown_database(&self.database))?;
        let table = table_variable(name, elements, &database.committed())?;
        self.table_variables.push(Arc::new(table));
        Ok(())
    }

    /// INSERT @t EXEC procedure …
    pub(super) async fn insert_execute(
        &mut self,
        insert: &InsertExecute,
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        let rows = self.inserted(insert, batch)?;
        let count = rows.num_rows() as u64;
        let found = self.table_variables.iter_mut();
        let table = found
            .into_iter()
            .find(|table| same(&table.name, &insert.variable))
            .ok_or_else(|| undeclared(&insert.variable))?;
        let table = Arc::make_mut(table);
        table.rows.append(&rows).map_err(internal)?;
        self.done(Some(count), batch).await
    }

    fn inserted(
        &mut self,
        insert: &InsertExecute,
        batch: &Batch<'_>,
    ) -> Result<RecordBatch, ServerError> {
        let arguments = self.arguments(&insert.arguments, batch)?;
        let answered = self.answered(&insert.procedure, &arguments, batch)?;
        let answered = answered.ok_or_else(|| {
            ServerError::unsupported(format!("INSERT … EXEC {}", insert.procedure))
        })?;
        let table = self
            .table_variables
            .iter()
            .find(|table| same(&table.name, &insert.variable))
            .ok_or_else(|| undeclared(&insert.variable))?;
        if answered.columns.len() != table.columns.len() {
            return Err(ServerError::new(
                213,
                "Column name or number of supplied values does not match table definition.",
            ));
        }
        let mut arrays = Vec::with_capacity(table.columns.len());
        for ((from, array), to) in answered
            .columns
            .iter()
            .zip(answered.rows.columns())
            .zip(table.columns.iter())
        {
            if !to.nullable && array.null_count() > 0 {
                return Err(ServerError::null_in_column(&to.name, &table.name, "INSERT"));
            }
            arrays.push(convert_array(
                array,
                from.sql_type,
                to.sql_type,
                0,
                Mode::Assign,
            )?);
        }
        RecordBatch::try_new(table.arrow_schema(), arrays).map_err(internal)
    }

    /// The values of EXEC's arguments.
    pub(super) fn arguments(
        &mut self,
        arguments: &[ExecArgument],
        batch: &Batch<'_>,
    ) -> Result<Vec<Argument>, ServerError> {
        argument_values(arguments, &self.scope(batch))
    }
}

/// A database without the capture instances that the caller may not read.
fn readable(state: Arc<State>, rights: &Rights) -> Arc<State> {
    let Some(capture) = state.capture.as_ref().filter(|_| !rights.is_owner()) else {
        return state;
    };
    let mut capture = capture.as_ref().clone();
    let all = std::mem::take(&mut capture.instances);
    let readable = all
        .into_iter()
        .filter(|one| rights.reads_changes(&state, one));
    capture.instances = readable.collect();
    let mut told = state.as_ref().clone();
    told.capture = Some(Arc::new(capture));
    Arc::new(told)
}

fn same(left: &str, right: &str) -> bool {
    left.to_lowercase() == right.to_lowercase()
}

fn undeclared(name: &str) -> ServerError {
    ServerError::new(1087, format!("Must declare the table variable \"{name}\"."))
}
