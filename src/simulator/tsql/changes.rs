//! INSERT, UPDATE and DELETE: DataFusion computes which rows and what values, then the writer applies
//! them all at once.

mod insert;
mod target;
mod update;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use datafusion::sql::sqlparser::ast::Statement;

use super::ddl::ColumnSpec;
use super::lexer::tokens;
use super::query::query;
use super::scope::Scope;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{Guard, Table, Write, internal};
use crate::simulator::types::{Mode, Typed, convert_array};

pub(crate) use target::Change;

/// What a statement does to a table, computed and not yet done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Rows to add.
    Insert {
        /// The table.
        object_id: i32,
        /// The rows, or why there are none; IDENTITY values are gone in either case.
        rows: Result<Vec<RecordBatch>, ServerError>,
        /// The table's next IDENTITY value, and the last one given.
        identity: Option<(i64, i64)>,
    },
    /// Rows to replace.
    Update {
        /// The table.
        object_id: i32,
        /// The rows that differ.
        ids: Vec<u64>,
        /// What they were.
        before: RecordBatch,
        /// What they become.
        after: RecordBatch,
        /// The rows that the statement found, whether they differ or not.
        found: u64,
    },
    /// Rows to remove.
    Delete {
        /// The table.
        object_id: i32,
        /// The rows.
        ids: Vec<u64>,
    },
}

impl Effect {
    /// The table that changes.
    pub(crate) fn object_id(&self) -> i32 {
        match self {
            Self::Insert { object_id, .. }
            | Self::Update { object_id, .. }
            | Self::Delete { object_id, .. } => *object_id,
        }
    }
}

/// What a statement has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// The rows that it reports.
    pub(crate) rows: u64,
    /// The last IDENTITY value that it gave.
    pub(crate) identity: Option<i64>,
}

/// Computes what a statement does. `explicit_identity` is the table for which IDENTITY_INSERT is on.
pub(crate) async fn effect(
    change: Change,
    scope: &Arc<Scope>,
    explicit_identity: Option<i32>,
) -> Result<Effect, ServerError> {
    let name = change.name().clone();
    let spelling = change.spelling;
    match change.statement {
        Statement::Insert(insert) => {
            insert::effect(insert, &name, spelling, scope, explicit_identity).await
        }
        Statement::Update(update) => update::update(update, &name, spelling, scope).await,
        Statement::Delete(delete) => update::delete(delete, &name, spelling, scope).await,
        _ => Err(ServerError::unsupported("this statement")),
    }
}

/// A value of each new column for the rows that there are, as an array of one.
pub(crate) async fn defaults(
    columns: &[ColumnSpec],
    scope: &Arc<Scope>,
) -> Result<Vec<ArrayRef>, ServerError> {
    let mut values = Vec::new();
    for column in columns {
        let form = column.sql_type.arrow_form();
        let value = match &column.default {
            None => new_null_array(&form, 1),
            Some(expression) => {
                let mut all = tokens("SELECT")?;
                all.extend_from_slice(expression);
                let mut rows = query(&all, scope).await?;
                let from = rows.columns()[0].typed();
                match rows.next().await? {
                    Some(row) => {
                        convert_array(row.column(0), from, column.sql_type, 0, Mode::Assign)?
                    }
                    None => new_null_array(&form, 1),
                }
            }
        };
        values.push(value);
    }
    Ok(values)
}

/// Does it.
pub(crate) fn apply(effect: Effect, write: &mut Write) -> Result<Done, ServerError> {
    match effect {
        Effect::Insert {
            object_id,
            rows,
            identity,
        } => {
            if let Some(table) = write.state_mut().table_mut(object_id)
                && let Some((next, _)) = identity
            {
                table.next_identity = Some(next);
            }
            let mut count = 0;
            for batch in &rows? {
                write.insert(object_id, batch)?;
                count += batch.num_rows() as u64;
            }
            Ok(Done {
                rows: count,
                identity: identity.map(|(_, last)| last),
            })
        }
        Effect::Update {
            object_id,
            ids,
            before,
            after,
            found,
        } => {
            write.update(object_id, &ids, before, after)?;
            Ok(Done {
                rows: found,
                identity: None,
            })
        }
        Effect::Delete { object_id, ids } => {
            write.delete(object_id, &ids)?;
            Ok(Done {
                rows: ids.len() as u64,
                identity: None,
            })
        }
    }
}

/// Values in the form of a column; error 2628 names it.
fn assigned(
    array: &ArrayRef,
    from: Typed,
    table: &Table,
    column: usize,
    database: &str,
) -> Result<ArrayRef, ServerError> {
    let column = &table.columns[column];
    if matches!(column.guard, Guard::Encrypted(_)) && array.null_count() < array.len() {
        return Err(ServerError::new(
            206,
            format!(
                "Operand type clash: {} is incompatible with {} encrypted with a column encryption key: this server takes no values that a client has encrypted.",
                from.sql_type.declared(),
                column.sql_type.declared()
            ),
        ));
    }
    convert_array(array, from, column.typed(), 0, Mode::Assign).map_err(|mut error| {
        if error.number == 2628 {
            let place = format!(
                "in table '{database}.{}', column '{}'.",
                table.qualified(),
                column.name
            );
            error.message = error.message.replace("in table '', column ''.", &place);
        }
        error
    })
}

/// Error 515 where a column that is NOT NULL has a NULL.
fn check_nulls(
    table: &Table,
    columns: &[ArrayRef],
    database: &str,
    verb: &str,
) -> Result<(), ServerError> {
    for (column, array) in table.columns.iter().zip(columns) {
        if !column.nullable && column.computed.is_none() && array.null_count() > 0 {
            let table = format!("{database}.{}", table.qualified());
            return Err(ServerError::null_in_column(&column.name, &table, verb));
        }
    }
    Ok(())
}

fn batch(table: &Table, columns: Vec<ArrayRef>) -> Result<RecordBatch, ServerError> {
    RecordBatch::try_new(table.arrow_schema(), columns).map_err(internal)
}
