//! Functions that choose between values, and tests of values.

use super::Function;
use super::text::text;
use crate::simulator::protocol::{Length, SqlType};
use crate::simulator::types::{Mode, Value, convert_array, convert_value};

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
        "isnumeric" => Function::new(name, (1, 1), SqlType::Int, |args| {
            let numeric = text(&args[0]).trim().parse::<f64>().is_ok();
            Ok(Value::Int(numeric.into()))
        }),
        "isdate" => Function::new(name, (1, 1), SqlType::Int, |args| {
            let from = SqlType::NVarChar(Length::Max);
            let date = convert_value(args[0].clone(), from, SqlType::DateTime, 0, Mode::Try)?;
            Ok(Value::Int((!date.is_null()).into()))
        }),
        "sign" => Function::new(name, (1, 1), SqlType::Int, |args| {
            Ok(Value::Int(match &args[0] {
                Value::Int(int) => int.signum(),
                Value::Decimal(digits, _) => i64::try_from(digits.signum()).unwrap_or(0),
                Value::Float(float) if *float == 0.0 => 0,
                Value::Float(float) => float.signum() as i64,
                _ => 0,
            }))
        }),
        _ => return None,
    })
}
