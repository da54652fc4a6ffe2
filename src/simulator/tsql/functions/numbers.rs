//! ISNULL, and tests of values.

use super::Function;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::tsql::arithmetic::is_number;
use crate::simulator::types::{Mode, Value, array_of, convert_array, convert_value, values_of};

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        // The first argument's type is the result's.
        "isnull" => Function::arrays(
            name,
            (2, 2),
            |types, _| Ok(types[0]),
            |arrays, types, to| {
                let first = crate::simulator::types::to_form(&arrays[0], to)?;
                let second = convert_array(&arrays[1], types[1], to, 0, Mode::Cast)?;
                let missing = datafusion::arrow::compute::is_null(&first)
                    .map_err(crate::simulator::store::internal)?;
                datafusion::arrow::compute::kernels::zip::zip(&missing, &second, &first)
                    .map_err(crate::simulator::store::internal)
            },
        ),
        "isnumeric" => Function::typed(
            name,
            (1, 1),
            |_, _| Ok(SqlType::Int),
            |arrays, types, to| {
                let numeric = is_number(types[0].sql_type);
                let values = values_of(&arrays[0])?.into_iter().map(|value| match value {
                    Value::Null => Ok(Value::Int(0)),
                    Value::Text(text) => is_numeric(&text).map(Value::from),
                    Value::Variant(_) => Err(ServerError::unsupported("ISNUMERIC of sql_variant")),
                    _ => Ok(Value::Int(numeric.into())),
                });
                array_of(to.sql_type, values.collect::<Result<Vec<_>, _>>()?)
            },
        ),
        "isdate" => Function::new(name, (1, 1), SqlType::Int, |args| {
            let from = SqlType::NVarChar(Length::Max);
            let date = convert_value(args[0].clone(), from, SqlType::DateTime, 0, Mode::Try)?;
            Ok(Value::Int((!date.is_null()).into()))
        }),
        _ => return None,
    })
}

/// Signs that are numbers by themselves, though nothing converts them.
const SIGNS: &[char] = &[
    '+', '-', '.', ',', '$', '\\', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{a0}', '¢', '£', '¤',
    '¥', '€',
];

/// ISNUMERIC of a text: 1 or 0; an error where it would take rules that are not documented to tell.
fn is_numeric(text: &str) -> Result<i32, ServerError> {
    let trimmed = text.trim_matches(' ');
    let value = || Value::Text(trimmed.to_owned());
    let wide = SqlType::NVarChar(Length::Max);
    let mut single = trimmed.chars();
    let alone = single.next().filter(|_| single.next().is_none());
    if trimmed.is_empty() {
        return Ok(0);
    }
    if alone.is_some_and(|c| SIGNS.contains(&c)) {
        return Ok(1);
    }
    let decimal = SqlType::Decimal {
        precision: 38,
        scale: 0,
    };
    for to in [SqlType::Float, decimal, SqlType::Money] {
        if !convert_value(value(), wide, to, 0, Mode::Try)?.is_null() {
            return Ok(1);
        }
    }
    let of_a_number = |c: char| c.is_ascii_digit() || "eEdD".contains(c) || SIGNS.contains(&c);
    if trimmed.chars().all(of_a_number) && !trimmed.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(ServerError::unsupported(format!(
            "ISNUMERIC of '{trimmed}'"
        )));
    }
    Ok(0)
}
