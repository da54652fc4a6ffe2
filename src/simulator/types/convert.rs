//! Conversions between types, as CAST, CONVERT and assignment to a column make them.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;

use super::calendar::{
    EPOCH_1900, TICKS_PER_MINUTE, days_of_ticks, instant, join_day, local_ticks, round_time,
};
use super::format::{decimal_text, round_decimal};
use super::parse_text::{
    Reading, parse_date_days, parse_decimal, parse_float, parse_instant, parse_int,
    parse_time_nanos,
};
use super::text_and_bytes::{fit_bytes, fit_text, to_bytes, to_guid, to_text};
use super::{DateOrder, Typed, Value, array_of, hierarchy, values_of, xml};
use crate::simulator::errors::overflow;
use crate::simulator::protocol::forms::TICKS_PER_DAY;
use crate::simulator::protocol::{Length, ServerError, SqlType, Udt};

/// What happens to a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// CAST: texts and bytes are cut, other misfits are errors.
    Cast,
    /// TRY_CAST: misfits become NULL.
    Try,
    /// Assignment: a cut text or cut bytes are an error too.
    Assign,
}

/// Converts an array; the error of [`Mode::Assign`]'s cut is 2628 without table and column.
pub(crate) fn convert_array(
    array: &ArrayRef,
    from: impl Into<Typed>,
    to: impl Into<Typed>,
    style: i64,
    mode: Mode,
) -> Result<ArrayRef, ServerError> {
    let (from, to) = (from.into(), to.into());
    if *array.data_type() == DataType::Null {
        return array_of(to.sql_type, (0..array.len()).map(|_| Value::Null));
    }
    let array = super::to_form(array, from.sql_type)?;
    if keeps_values(from, to) {
        return Ok(Arc::clone(&array));
    }
    if widens(from.sql_type, to.sql_type) {
        return cast(&array, &to.sql_type.arrow_form()).map_err(|_| overflow(to.sql_type));
    }
    let values = values_of(&array)?;
    let converted = values
        .into_iter()
        .map(|value| convert_value(value, from, to, style, mode))
        .collect::<Result<Vec<_>, _>>()?;
    array_of(to.sql_type, converted)
}

pub(super) fn length(sql_type: SqlType) -> Option<usize> {
    match sql_type {
        SqlType::VarChar(Length::Limited(n))
        | SqlType::NVarChar(Length::Limited(n))
        | SqlType::VarBinary(Length::Limited(n))
        | SqlType::Char(n)
        | SqlType::NChar(n)
        | SqlType::Binary(n) => Some(n.into()),
        _ => None,
    }
}

/// Whether every value of one type is one of the other just so.
fn keeps_values(from: Typed, to: Typed) -> bool {
    let longer = match (length(from.sql_type), length(to.sql_type)) {
        (_, None) => true,
        (Some(from), Some(to)) => from <= to,
        (None, Some(_)) => false,
    };
    let same_page = from.collation.code_page() == to.collation.code_page();
    match (from.sql_type, to.sql_type) {
        (from, to) if from == to => same_page || !is_code_page(from),
        (from, SqlType::NVarChar(_)) => from.is_text() && from != SqlType::Text && longer,
        (from, SqlType::VarChar(_)) => is_code_page(from) && same_page && longer,
        (SqlType::Binary(_) | SqlType::VarBinary(_), SqlType::VarBinary(_)) => longer,
        _ => false,
    }
}

/// Whether values are text of a code page.
fn is_code_page(sql_type: SqlType) -> bool {
    matches!(sql_type, SqlType::Char(_) | SqlType::VarChar(_))
}

fn widens(from: SqlType, to: SqlType) -> bool {
    let rank = |sql_type| match sql_type {
        SqlType::TinyInt => Some(1),
        SqlType::SmallInt => Some(2),
        SqlType::Int => Some(3),
        SqlType::BigInt => Some(4),
        SqlType::Float => Some(5),
        _ => None,
    };
    matches!((rank(from), rank(to)), (Some(from), Some(to)) if from < to)
}

/// Converts one value.
pub(crate) fn convert_value(
    value: Value,
    from: impl Into<Typed>,
    to: impl Into<Typed>,
    style: i64,
    mode: Mode,
) -> Result<Value, ServerError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let converted = convert_known(value, from.into(), to.into(), style, mode);
    match converted {
        Err(_) if mode == Mode::Try => Ok(Value::Null),
        other => other,
    }
}

/// Converts a value that is not NULL.
fn convert_known(
    value: Value,
    source: Typed,
    target: Typed,
    style: i64,
    mode: Mode,
) -> Result<Value, ServerError> {
    let (from, to) = (source.sql_type, target.sql_type);
    if let Value::Variant(inner) = value {
        return match to {
            SqlType::SqlVariant => Ok(Value::Variant(inner)),
            _ => convert_known(inner.1, inner.0, target, style, mode),
        };
    }
    if !is_allowed(from, to) {
        return Err(forbidden(from, to));
    }
    match to {
        SqlType::Bit => to_bit(&value, from),
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
            to_int(&value, from, to)
        }
        SqlType::Real | SqlType::Float => to_float(&value, from, to),
        SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney => {
            to_decimal(&value, from, to)
        }
        SqlType::Date => to_date(&value, from, style),
        SqlType::Time(scale) => to_time(&value, from, scale, style),
        SqlType::SmallDateTime
        | SqlType::DateTime
        | SqlType::DateTime2(_)
        | SqlType::DateTimeOffset(_) => to_instant(&value, from, to, style),
        SqlType::Char(_) | SqlType::VarChar(_) | SqlType::NChar(_) | SqlType::NVarChar(_) => {
            to_text(&value, from, target, style).and_then(|text| fit_text(text, target, mode))
        }
        SqlType::Binary(_) | SqlType::VarBinary(_) => {
            to_bytes(&value, source, to, style).and_then(|bytes| fit_bytes(bytes, to, mode))
        }
        SqlType::UniqueIdentifier => to_guid(&value, from),
        SqlType::RowVersion => to_bytes(&value, source, SqlType::Binary(8), style)
            .and_then(|bytes| fit_bytes(bytes, SqlType::Binary(8), mode)),
        SqlType::Image => to_bytes(&value, source, to, style).map(Value::Bytes),
        SqlType::Text | SqlType::NText => {
            to_text(&value, from, target, style).and_then(|text| fit_text(text, target, mode))
        }
        SqlType::Xml => match &value {
            Value::Text(text) if from == SqlType::Xml => Ok(Value::Text(text.clone())),
            Value::Text(text) => xml::normal(text, from.is_wide(), style).map(Value::Text),
            _ => Err(unsupported(from, to)),
        },
        SqlType::SqlVariant => to_variant(value, source),
        SqlType::Udt(udt) => to_udt(value, from, udt),
    }
}

/// Whether SQL Server converts between the types at all, where one of them is a rarer one.
fn is_allowed(from: SqlType, to: SqlType) -> bool {
    let text = |t: SqlType| t.is_text() && !matches!(t, SqlType::Text | SqlType::NText);
    let bytes = |t: SqlType| matches!(t, SqlType::Binary(_) | SqlType::VarBinary(_));
    let pair = |one: SqlType, other: SqlType| match one {
        _ if one == other => true,
        SqlType::Text | SqlType::NText => {
            text(other) || matches!(other, SqlType::Text | SqlType::NText | SqlType::Xml)
        }
        SqlType::Image => bytes(other) || other == SqlType::RowVersion,
        SqlType::Xml => {
            text(other) || bytes(other) || matches!(other, SqlType::Text | SqlType::NText)
        }
        SqlType::Udt(_) => text(other) || bytes(other),
        _ => true,
    };
    let rare = |t: SqlType| {
        matches!(
            t,
            SqlType::Text | SqlType::NText | SqlType::Image | SqlType::Xml | SqlType::Udt(_)
        )
    };
    (!rare(from) || pair(from, to)) && (!rare(to) || pair(to, from))
}

/// A value as a `sql_variant`, unless it is of a type that those do not hold.
fn to_variant(value: Value, from: Typed) -> Result<Value, ServerError> {
    if from.sql_type.is_large()
        || from.sql_type == SqlType::RowVersion
        || matches!(from.sql_type, SqlType::Udt(_))
    {
        return Err(ServerError::new(
            206,
            format!(
                "Operand type clash: {} is incompatible with sql_variant",
                from.sql_type.declared()
            ),
        ));
    }
    Ok(Value::Variant(Box::new((from, value))))
}

fn to_udt(value: Value, from: SqlType, udt: Udt) -> Result<Value, ServerError> {
    let to = SqlType::Udt(udt);
    match value {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes)),
        Value::Text(text) if udt == Udt::HierarchyId => {
            hierarchy::bytes(&text).map(Value::Bytes).ok_or_else(|| {
                ServerError::new(
                    6522,
                    format!(
                        "A .NET Framework error occurred during execution of user-defined routine or aggregate \"hierarchyid\": Microsoft.SqlServer.Types.HierarchyIdException: 24001: SqlHierarchyId.Parse failed because the input string '{text}' is not a valid string representation of a SqlHierarchyId node."
                    ),
                )
            })
        }
        _ => Err(unsupported(from, to)),
    }
}

fn from_name(from: SqlType) -> &'static str {
    match from {
        SqlType::Decimal { .. } => "numeric",
        other => other.base_name(),
    }
}

pub(super) fn forbidden(from: SqlType, to: SqlType) -> ServerError {
    ServerError::new(
        529,
        format!(
            "Explicit conversion from data type {} to {} is not allowed.",
            from_name(from),
            from_name(to)
        ),
    )
}

/// The error of a conversion that SQL Server makes and that is not made here.
pub(super) fn unsupported(from: SqlType, to: SqlType) -> ServerError {
    ServerError::unsupported(format!(
        "the conversion of {} to {}",
        from_name(from),
        from_name(to)
    ))
}

fn failed(text: &str, from: SqlType, to: SqlType) -> ServerError {
    ServerError::new(
        245,
        format!(
            "Conversion failed when converting the {} value '{text}' to data type {}.",
            from.base_name(),
            to.base_name()
        ),
    )
}

pub(super) fn failed_type(from: SqlType, to: SqlType) -> ServerError {
    ServerError::new(
        8114,
        format!(
            "Error converting data type {} to {}.",
            from_name(from),
            from_name(to)
        ),
    )
}

fn failed_date() -> ServerError {
    ServerError::new(
        241,
        "Conversion failed when converting date and/or time from character string.",
    )
}

fn to_bit(value: &Value, from: SqlType) -> Result<Value, ServerError> {
    let bit = match value {
        Value::Bool(bit) => *bit,
        Value::Int(int) => *int != 0,
        Value::Float(float) => *float != 0.0,
        Value::Decimal(digits, _) => *digits != 0,
        Value::Bytes(bytes) => bytes.iter().any(|byte| *byte != 0),
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            other => parse_int(other).ok_or_else(|| failed(text, from, SqlType::Bit))? != 0,
        },
        _ => return Err(forbidden(from, SqlType::Bit)),
    };
    Ok(Value::Bool(bit))
}

fn to_int(value: &Value, from: SqlType, to: SqlType) -> Result<Value, ServerError> {
    let int: i128 = match value {
        Value::Bool(bit) => i128::from(*bit),
        Value::Int(int) => i128::from(*int),
        Value::Float(float) => float.trunc() as i128,
        Value::Decimal(digits, scale) => digits / 10_i128.pow(u32::from(*scale)),
        Value::Bytes(bytes) => return Ok(Value::Int(int_of_bytes(bytes, to))),
        Value::Text(text) => parse_int(text).ok_or_else(|| match to {
            SqlType::BigInt => failed_type(from, to),
            _ => failed(text, from, to),
        })?,
        // Days since 1900, from noon on the next one.
        Value::Timestamp(_) => {
            i128::from((legacy_ticks(value, from) + TICKS_PER_DAY / 2).div_euclid(TICKS_PER_DAY))
        }
        _ => return Err(forbidden(from, to)),
    };
    let (least, most) = match to {
        SqlType::TinyInt => (0, 255),
        SqlType::SmallInt => (i16::MIN.into(), i16::MAX.into()),
        SqlType::Int => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    if !(least..=most).contains(&int) {
        return Err(match value {
            Value::Float(float) if to != SqlType::BigInt => float_overflow(*float, to),
            _ => int_overflow(int, from, to),
        });
    }
    Ok(Value::Int(int as i64))
}

fn int_overflow(int: i128, from: SqlType, to: SqlType) -> ServerError {
    let name = to.base_name();
    if from.is_text() {
        ServerError::new(
            if to == SqlType::Int { 248 } else { 244 },
            format!(
                "The conversion of the {} value '{int}' overflowed an {name} column.",
                from.base_name()
            ),
        )
    } else if matches!(to, SqlType::TinyInt | SqlType::SmallInt) {
        ServerError::new(
            220,
            format!("Arithmetic overflow error for data type {name}, value = {int}."),
        )
    } else {
        overflow(to)
    }
}

/// Error 232.
fn float_overflow(float: f64, to: SqlType) -> ServerError {
    let name = to.base_name();
    ServerError::new(
        232,
        format!("Arithmetic overflow error for type {name}, value = {float:.6}."),
    )
}

fn int_of_bytes(bytes: &[u8], to: SqlType) -> i64 {
    let width = usize::try_from(to.max_length()).unwrap_or(8);
    let tail = &bytes[bytes.len().saturating_sub(width)..];
    let unsigned = tail.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    match to {
        SqlType::SmallInt => i64::from(unsigned as u16 as i16),
        SqlType::Int => i64::from(unsigned as u32 as i32),
        _ => unsigned as i64,
    }
}

fn to_float(value: &Value, from: SqlType, to: SqlType) -> Result<Value, ServerError> {
    let float = match value {
        Value::Bool(bit) => f64::from(u8::from(*bit)),
        Value::Int(int) => *int as f64,
        Value::Float(float) => *float,
        Value::Decimal(digits, scale) => decimal_text(*digits, *scale).parse().unwrap_or(0.0),
        Value::Text(text) => parse_float(text).ok_or_else(|| failed_type(from, to))?,
        Value::Timestamp(_) => legacy_ticks(value, from) as f64 / TICKS_PER_DAY as f64,
        _ => return Err(forbidden(from, to)),
    };
    if to == SqlType::Real && float.abs() > f64::from(f32::MAX) {
        return Err(overflow(to));
    }
    Ok(Value::Float(float))
}

fn to_decimal(value: &Value, from: SqlType, to: SqlType) -> Result<Value, ServerError> {
    let (precision, scale) = match to {
        SqlType::Decimal { precision, scale } => (precision, scale),
        SqlType::SmallMoney => (10, 4),
        _ => (19, 4),
    };
    let value = match value {
        Value::Bool(bit) => Value::Decimal((*bit).into(), 0),
        Value::Int(int) => Value::Decimal((*int).into(), 0),
        Value::Decimal(digits, scale) => Value::Decimal(*digits, *scale),
        Value::Float(float) => {
            parse_decimal(&format!("{float:.*}", usize::from(scale))).ok_or_else(|| overflow(to))?
        }
        Value::Text(text) => {
            let text = text.trim();
            let text = match to {
                SqlType::Money | SqlType::SmallMoney => text.trim_start_matches('$'),
                _ => text,
            };
            parse_decimal(&text.replace(',', "")).ok_or_else(|| failed_type(from, to))?
        }
        Value::Bytes(bytes) if to == SqlType::Money => {
            Value::Decimal(int_of_bytes(bytes, SqlType::BigInt).into(), 4)
        }
        Value::Bytes(_) => return Err(unsupported(from, to)),
        _ => return Err(forbidden(from, to)),
    };
    let Value::Decimal(digits, from_scale) = value else {
        return Err(forbidden(from, to));
    };
    let digits = round_decimal(digits, from_scale, scale);
    let largest = match to {
        SqlType::Money => i128::from(i64::MAX),
        SqlType::SmallMoney => i128::from(i32::MAX),
        _ => 10_i128.pow(precision.into()) - 1,
    };
    // Money is an integer of ten-thousandths, with one more value below zero than above.
    let least = match to {
        SqlType::Money | SqlType::SmallMoney => -largest - 1,
        _ => -largest,
    };
    if !(least..=largest).contains(&digits) {
        return Err(overflow(to));
    }
    Ok(Value::Decimal(digits, scale))
}

/// Steps of 100 ns since 1900-01-01 of a `datetime` or `smalldatetime`.
fn legacy_ticks(value: &Value, from: SqlType) -> i64 {
    local_ticks(value, from).map_or(0, |(ticks, _)| ticks - join_day(EPOCH_1900, 0))
}

fn to_date(value: &Value, from: SqlType, style: i64) -> Result<Value, ServerError> {
    match value {
        Value::Text(text) => parse_date_days(text, reading(SqlType::Date, style))
            .map(Value::Date)
            .ok_or_else(failed_date),
        Value::Time(_) => Err(forbidden(from, SqlType::Date)),
        Value::Bytes(_) => Err(unsupported(from, SqlType::Date)),
        other => local_ticks(other, from)
            .map(|(ticks, _)| Value::Date(days_of_ticks(ticks)))
            .ok_or_else(|| forbidden(from, SqlType::Date)),
    }
}

fn to_time(value: &Value, from: SqlType, scale: u8, style: i64) -> Result<Value, ServerError> {
    let nanos = match value {
        Value::Text(text) => {
            parse_time_nanos(text, reading(SqlType::Time(scale), style)).ok_or_else(failed_date)?
        }
        Value::Date(_) => return Err(forbidden(from, SqlType::Time(scale))),
        Value::Bytes(_) => return Err(unsupported(from, SqlType::Time(scale))),
        other => {
            let (ticks, _) =
                local_ticks(other, from).ok_or_else(|| forbidden(from, SqlType::Time(scale)))?;
            ticks.rem_euclid(TICKS_PER_DAY) * 100
        }
    };
    Ok(Value::Time(round_time(nanos, scale)))
}

/// How a text is read as one of a type.
fn reading(to: SqlType, style: i64) -> Reading {
    Reading {
        order: DateOrder::of_style(style),
        legacy: matches!(to, SqlType::DateTime | SqlType::SmallDateTime),
    }
}

fn to_instant(value: &Value, from: SqlType, to: SqlType, style: i64) -> Result<Value, ServerError> {
    let legacy = matches!(to, SqlType::DateTime | SqlType::SmallDateTime);
    let days = |days: i64| {
        let days = i32::try_from(days).map_err(|_| overflow(to))?;
        Ok(join_day(EPOCH_1900.saturating_add(days), 0))
    };
    let (ticks, offset) = match value {
        Value::Text(text) => {
            let (utc, offset) = parse_instant(text, reading(to, style)).ok_or_else(failed_date)?;
            (utc + i64::from(offset) * TICKS_PER_MINUTE, offset)
        }
        Value::Int(int) if legacy => (days(*int)?, 0),
        Value::Bool(bit) if legacy => (days((*bit).into())?, 0),
        Value::Float(float) if legacy => (days_of_float(*float, to)?, 0),
        Value::Decimal(digits, scale) if legacy => {
            let float = decimal_text(*digits, *scale).parse().unwrap_or(0.0);
            (days_of_float(float, to)?, 0)
        }
        Value::Bytes(_) => return Err(unsupported(from, to)),
        other => local_ticks(other, from).ok_or_else(|| forbidden(from, to))?,
    };
    instant(ticks, offset, to).ok_or_else(|| {
        ServerError::new(
            242,
            format!(
                "The conversion of a {} data type to a {} data type resulted in an out-of-range value.",
                from.base_name(),
                to.base_name()
            ),
        )
    })
}

/// Days since 1900 with a fraction.
fn days_of_float(days: f64, to: SqlType) -> Result<i64, ServerError> {
    if !(-60_000.0..3_000_000.0).contains(&days) {
        return Err(overflow(to));
    }
    Ok(join_day(EPOCH_1900, 0) + (days * TICKS_PER_DAY as f64).round() as i64)
}
