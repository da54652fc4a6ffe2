//! `sys.fn_cdc_*`. The first argument is the database, which the rewriting of names adds.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::TimestampMicrosecondType;

use super::Function;
use super::text::text;
use crate::simulator::capture::{LSN_TIME_MAPPING, SCHEMA};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::{State, Table};
use crate::simulator::tsql::asked::Source;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{Mode, Value, convert_value};

const LSN: SqlType = SqlType::Binary(10);

pub(super) fn function(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let scope = Arc::clone(scope);
    Some(match name {
        "fn_cdc_get_max_lsn" => Function::new(name, (1, 1), LSN, move |args| {
            let state = database(&scope, &args[0])?;
            let (lsns, _) = mapping(mapping_table(&scope, &state)?);
            Ok(lsns.into_iter().max().map_or(Value::Null, Value::Bytes))
        }),
        "fn_cdc_get_min_lsn" => Function::new(name, (2, 2), LSN, move |args| {
            let state = database(&scope, &args[0])?;
            let capture = state.capture.as_ref();
            let rights = scope.rights(&state)?;
            scope.note_rights(&rights);
            let instance = capture
                .and_then(|c| c.instance(args[1].as_text().unwrap_or_default()))
                .filter(|instance| rights.reads_changes(&state, instance));
            let start = instance.and_then(|instance| instance.start_lsn);
            Ok(Value::Bytes(start.unwrap_or_default().to_vec()))
        }),
        "fn_cdc_increment_lsn" => Function::new(name, (2, 2), LSN, |args| Ok(step(&args[1], 1))),
        "fn_cdc_decrement_lsn" => {
            Function::new(name, (2, 2), LSN, |args| Ok(step(&args[1], u128::MAX)))
        }
        "fn_cdc_map_lsn_to_time" => Function::new(name, (2, 2), SqlType::DateTime, move |args| {
            let state = database(&scope, &args[0])?;
            let (lsns, times) = mapping(mapping_table(&scope, &state)?);
            let at = lsn(&args[1]).and_then(|lsn| lsns.iter().position(|l| *l == lsn));
            Ok(at.map_or(Value::Null, |at| Value::Timestamp(times[at])))
        }),
        "fn_cdc_map_time_to_lsn" => Function::new(name, (3, 3), LSN, move |args| {
            let state = database(&scope, &args[0])?;
            time_to_lsn(mapping_table(&scope, &state)?, &text(&args[1]), &args[2])
        }),
        "fn_cdc_is_bit_set" => Function::new(name, (3, 3), SqlType::Bit, |args| {
            let mask = args[2].as_bytes().unwrap_or_default();
            Ok(bit(mask, args[1].as_int().unwrap_or(0)).into())
        }),
        "fn_cdc_has_column_changed" => Function::new(name, (4, 4), SqlType::Bit, move |args| {
            let state = database(&scope, &args[0])?;
            let ordinal = ordinal(&state, &text(&args[1]), &text(&args[2]));
            let mask = args[3].as_bytes().unwrap_or_default();
            Ok(bit(mask, ordinal.unwrap_or(0)).into())
        }),
        "fn_cdc_get_column_ordinal" => Function::new(name, (3, 3), SqlType::Int, move |args| {
            let state = database(&scope, &args[0])?;
            Ok(ordinal(&state, &text(&args[1]), &text(&args[2])).into())
        }),
        _ => return None,
    })
}

fn database(scope: &Scope, name: &Value) -> Result<Arc<State>, ServerError> {
    let name = name.as_text().unwrap_or_default();
    scope
        .state(name)
        .ok_or_else(|| ServerError::unknown_database(name))
}

fn mapping_table<'s>(scope: &Scope, state: &'s State) -> Result<&'s Arc<Table>, ServerError> {
    scope.note(Source::Captured);
    state
        .table(SCHEMA, LSN_TIME_MAPPING)
        .ok_or_else(|| ServerError::invalid_object("cdc.lsn_time_mapping"))
}

/// The LSNs and end times of the commits.
fn mapping(table: &Arc<Table>) -> (Vec<Vec<u8>>, Vec<i64>) {
    let mut lsns = Vec::new();
    let mut times = Vec::new();
    for chunk in table.rows.chunks() {
        let column = chunk.column(0).as_binary::<i32>();
        lsns.extend((0..chunk.num_rows()).map(|row| column.value(row).to_vec()));
        let column = chunk.column(2).as_primitive::<TimestampMicrosecondType>();
        times.extend_from_slice(column.values());
    }
    (lsns, times)
}

fn time_to_lsn(table: &Arc<Table>, operator: &str, time: &Value) -> Result<Value, ServerError> {
    let from = match time {
        Value::Text(_) => SqlType::NVarChar(Length::Max),
        Value::Date(_) => SqlType::Date,
        Value::Timestamp(_) => SqlType::DateTime,
        Value::Offset(..) => SqlType::DateTimeOffset(7),
        _ => SqlType::DateTime2(7),
    };
    let time = convert_value(time.clone(), from, SqlType::DateTime, 0, Mode::Cast)?;
    let Value::Timestamp(time) = time else {
        return Ok(Value::Null);
    };
    let (lsns, times) = mapping(table);
    let matching = |holds: &dyn Fn(i64) -> bool| {
        lsns.iter()
            .zip(&times)
            .filter(|(_, at)| holds(**at))
            .map(|(lsn, _)| lsn.clone())
            .collect::<Vec<_>>()
    };
    let found = match operator.to_lowercase().as_str() {
        "largest less than" => matching(&|at| at < time).into_iter().max(),
        "largest less than or equal" => matching(&|at| at <= time).into_iter().max(),
        "smallest greater than" => matching(&|at| at > time).into_iter().min(),
        "smallest greater than or equal" => matching(&|at| at >= time).into_iter().min(),
        _ => {
            return Err(ServerError::new(
                22862,
                format!("Invalid relational operator '{operator}' for sys.fn_cdc_map_time_to_lsn."),
            ));
        }
    };
    Ok(found.map_or(Value::Null, Value::Bytes))
}

/// An argument as `binary(10)`: shorter ones have zeros behind them.
fn lsn(value: &Value) -> Option<Vec<u8>> {
    let mut bytes = value.as_bytes()?.to_vec();
    bytes.resize(10, 0);
    Some(bytes)
}

/// The LSN some steps on, in 80 bits.
fn step(from: &Value, by: u128) -> Value {
    let Some(bytes) = lsn(from) else {
        return Value::Null;
    };
    let number = bytes
        .iter()
        .fold(0_u128, |n, byte| n << 8 | u128::from(*byte));
    let next = number.wrapping_add(by) & (u128::MAX >> 48);
    Value::Bytes(next.to_be_bytes()[6..].to_vec())
}

/// Whether the bit of an ordinal is set: ordinal 1 is the lowest bit of the last byte.
fn bit(mask: &[u8], ordinal: i64) -> bool {
    let Some(position) = usize::try_from(ordinal).ok().and_then(|n| n.checked_sub(1)) else {
        return false;
    };
    let byte = mask
        .len()
        .checked_sub(1 + position / 8)
        .and_then(|at| mask.get(at));
    byte.is_some_and(|byte| byte & (1 << (position % 8)) != 0)
}

fn ordinal(state: &State, instance: &str, column: &str) -> Option<i64> {
    let column = column.to_lowercase();
    let instance = state.capture.as_ref()?.instance(instance)?;
    let at = instance
        .columns
        .iter()
        .position(|captured| captured.name.to_lowercase() == column)?;
    i64::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsns_step_with_carry() {
        let lsn = Value::Bytes(vec![0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff]);
        let next = step(&lsn, 1);
        let short = step(&Value::Bytes(vec![1]), 1);
        assert_eq!(short, Value::Bytes(vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(next, Value::Bytes(vec![0, 0, 0, 1, 0, 0, 0, 3, 0, 0]));
        assert_eq!(step(&next, u128::MAX), lsn);
    }

    #[test]
    fn bits_count_from_the_last_byte() {
        assert!(bit(&[0b1, 0b10], 9));
        assert!(bit(&[0b1, 0b10], 2));
        assert!(!bit(&[0b1, 0b10], 1));
        assert!(!bit(&[0b1], 9));
        assert!(!bit(&[0b1], 0));
    }
}
