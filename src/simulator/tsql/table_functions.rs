//! Functions in FROM: `GENERATE_SERIES`, and the change functions of capture instances.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{Int32Type, Schema};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableSource};

use super::asked::Source;
use super::functions::external;
use super::net_changes::{NetOption, is_command_id, net_changes};
use super::normal::Spelling;
use super::planner::constant;
use super::scope::Scope;
use super::tables::{Scan, Series};
use crate::simulator::capture::{Instance, LSN_TIME_MAPPING, SCHEMA};
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{State, Table, internal};
use crate::simulator::types::{Value, values_of};

/// The name of a function of all changes, up to the instance's.
pub(super) const ALL_CHANGES: &str = "fn_cdc_get_all_changes_";
/// The name of a function of net changes, up to the instance's.
pub(super) const NET_CHANGES: &str = "fn_cdc_get_net_changes_";

/// The source of a function; its name is dotted, in lower case.
pub(super) fn source(
    scope: &Arc<Scope>,
    name: &str,
    arguments: Vec<Expr>,
    spelling: &Spelling,
) -> Result<Arc<dyn TableSource>> {
    let values = arguments
        .into_iter()
        .map(|argument| {
            let array = constant(argument)?.to_array()?;
            let mut values = values_of(&array).map_err(external)?;
            Ok(values.pop().unwrap_or(Value::Null))
        })
        .collect::<Result<Vec<_>>>()?;
    let found = if name == "generate_series" {
        series(&values).map(|series| provider_as_source(Arc::new(series)))
    } else {
        changes(scope, name, &values, spelling).map(|scan| provider_as_source(Arc::new(scan)))
    };
    found.map_err(external)
}

fn series(values: &[Value]) -> std::result::Result<Series, ServerError> {
    let integer = |at: usize| {
        values.get(at).map_or(Ok(None), |value| match value.as_int() {
            Some(int) => Ok(Some(int)),
            None => Err(ServerError::new(
                5373,
                "All the input parameters should be of the same type. Supported types are tinyint, smallint, int, bigint, decimal and numeric.",
            )),
        })
    };
    match (integer(0)?, integer(1)?, integer(2)?) {
        (Some(start), Some(stop), step) if values.len() <= 3 => Series::new(
            start,
            stop,
            step.unwrap_or(if start <= stop { 1 } else { -1 }),
        ),
        _ => Err(ServerError::new(
            174,
            "The generate_series function requires 2 to 3 arguments.",
        )),
    }
}

fn changes(
    scope: &Scope,
    name: &str,
    values: &[Value],
    spelling: &Spelling,
) -> std::result::Result<Scan, ServerError> {
    let parts: Vec<&str> = name.split('.').collect();
    let (database, schema, function) = match parts.as_slice() {
        [schema, function] => (scope.database(), *schema, *function),
        [database, schema, function] => (*database, *schema, *function),
        _ => (scope.database(), "dbo", name),
    };
    let missing = || ServerError::invalid_object(&spelling.of_dotted(name));
    let state = scope.state(database).ok_or_else(missing)?;
    let instance = |prefix: &str| {
        let name = function.strip_prefix(prefix).filter(|_| schema == SCHEMA)?;
        state.capture.as_ref()?.instance(name)
    };
    let (kind, instance) = match (instance(ALL_CHANGES), instance(NET_CHANGES)) {
        (Some(instance), _) => (ALL_CHANGES, instance),
        (None, Some(instance)) if instance.net_changes => (NET_CHANGES, instance),
        _ => return Err(missing()),
    };
    scope.note(Source::Captured);
    if !scope.rights(&state)?.reads_changes(&state, instance) {
        // Net changes look as if they were not there.
        if kind == NET_CHANGES {
            return Err(missing());
        }
        let function = format!("{kind}{}", instance.name);
        return Err(ServerError::permission_denied(
            "SELECT",
            &function,
            &state.name,
            SCHEMA,
        ));
    }
    let out_of_range =
        || ServerError::insufficient_arguments(&format!("cdc.{kind}{}", instance.name));
    let [from, to, option] = values else {
        return Err(out_of_range());
    };
    let (Some(from), Some(to)) = (from.as_bytes(), to.as_bytes()) else {
        return Err(out_of_range());
    };
    // The parameters are binary(10): shorter arguments have zeros behind them.
    let (mut from, mut to) = (from.to_vec(), to.to_vec());
    from.resize(10, 0);
    to.resize(10, 0);
    let (from, to) = (from.as_slice(), to.as_slice());
    if !is_in_range(&state, instance, from, to) {
        return Err(out_of_range());
    }
    let table = state
        .tables
        .get(&instance.change_table)
        .ok_or_else(missing)?;
    let option = option.as_text().unwrap_or_default();
    if kind == NET_CHANGES {
        let option = NetOption::parse(option).ok_or_else(out_of_range)?;
        return net_changes(instance, table, &within(table, from, to, true)?, option);
    }
    match option.to_lowercase().as_str() {
        "all" => all_changes(table, &within(table, from, to, false)?),
        "all update old" => all_changes(table, &within(table, from, to, true)?),
        _ => Err(out_of_range()),
    }
}

/// Whether both ends lie between the instance's low end and the database's newest commit.
fn is_in_range(state: &State, instance: &Instance, from: &[u8], to: &[u8]) -> bool {
    let newest = state.table(SCHEMA, LSN_TIME_MAPPING).and_then(|mapping| {
        let last = mapping.rows.chunks().last()?;
        let lsns = last.column(0).as_binary::<i32>();
        Some(lsns.value(lsns.len().checked_sub(1)?).to_vec())
    });
    match (instance.start_lsn, newest) {
        (Some(least), Some(newest)) => {
            least.as_slice() <= from && from <= to && to <= newest.as_slice()
        }
        _ => false,
    }
}

/// The rows of a range.
fn within(
    table: &Table,
    from: &[u8],
    to: &[u8],
    before: bool,
) -> std::result::Result<Vec<RecordBatch>, ServerError> {
    let chunks = table.rows.chunks().iter().map(|chunk| {
        let lsns = chunk.column(0).as_binary::<i32>();
        let operations = chunk.column(3).as_primitive::<Int32Type>();
        let wanted: BooleanArray = (0..chunk.num_rows())
            .map(|row| {
                let lsn = lsns.value(row);
                Some(from <= lsn && lsn <= to && (before || operations.value(row) != 3))
            })
            .collect();
        filter_record_batch(chunk, &wanted).map_err(internal)
    });
    chunks.collect()
}

/// The columns that the function has: no end LSN, no command id.
fn all_changes(table: &Table, rows: &[RecordBatch]) -> std::result::Result<Scan, ServerError> {
    let kept: Vec<usize> = (0..table.columns.len())
        .filter(|at| *at != 1 && !is_command_id(table, *at))
        .collect();
    let schema: Arc<Schema> = Arc::new(table.arrow_schema().project(&kept).map_err(internal)?);
    let rows = rows
        .iter()
        .map(|rows| rows.project(&kept).map_err(internal))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Scan::of(schema, rows))
}
