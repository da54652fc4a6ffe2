//! CAST, TRY_CAST and CONVERT.

use super::{Function, literal_type};
use crate::simulator::types::{Mode, Value, convert_array, values_of};

/// `__cast(value, 'type' [, style])`.
pub(crate) const CAST: &str = "__cast";
/// The same, with NULL in place of an error.
pub(crate) const TRY_CAST: &str = "__try_cast";

pub(super) fn function(name: &str) -> Option<Function> {
    match name {
        CAST => Some(cast(CAST, Mode::Cast)),
        TRY_CAST => Some(cast(TRY_CAST, Mode::Try)),
        _ => None,
    }
}

fn cast(name: &str, mode: Mode) -> Function {
    Function::typed(
        name,
        (2, 3),
        |_, literals| literal_type(literals, 1),
        move |arrays, types, to| {
            let style = match arrays.get(2) {
                Some(style) => values_of(style)?
                    .first()
                    .and_then(Value::as_int)
                    .unwrap_or(0),
                None => 0,
            };
            convert_array(&arrays[0], types[0], to, style, mode)
        },
    )
}
