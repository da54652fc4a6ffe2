//! SQL Server's data types: their names, numbers and Arrow forms, and conversions between them.

mod arrays;
mod calendar;
mod convert;
mod field;
mod format;
mod names;
mod parse_text;
mod text_and_bytes;
mod value;

pub(crate) use arrays::{array_of, to_form, values_of};
pub(crate) use calendar::{civil, round_datetime};
pub(crate) use convert::{Mode, convert_array, convert_value};
pub(crate) use field::{field, field_name, is_identity, sql_type_of};
pub(crate) use format::{bytes_to_hex, text_of};
pub(crate) use names::DefaultLength;
pub(crate) use parse_text::parse_hex;
pub(crate) use value::Value;
