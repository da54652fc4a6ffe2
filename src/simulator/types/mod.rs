//! SQL Server's data types: their names, numbers and Arrow forms, and conversions between them.

mod arrays;
mod calendar;
mod comparable;
mod convert;
mod field;
mod format;
mod hierarchy;
mod locale;
mod names;
pub(crate) mod parse_text;
mod sort_key;
pub(crate) mod spatial;
mod text_and_bytes;
mod typed;
mod value;
mod variant;
mod xml;

pub(crate) use arrays::{array_of, to_form, values_of};
pub(crate) use calendar::{
    TICKS_PER_MINUTE, civil_of_ticks, instant, local_ticks, round_datetime, ticks_of,
};
pub(crate) use comparable::{comparable, has_comparable};
pub(crate) use convert::{Mode, convert_array, convert_value};
pub(crate) use field::{
    Label, NAME, collation_of, field, field_name, is_identity, label_of, sql_type_of, typed_of,
    with_collation, with_label,
};
pub(crate) use format::{bytes_to_hex, decimal_text, guid_text, text_of};
pub(crate) use locale::{DateOrder, Locale};
pub(crate) use names::DefaultLength;
pub(crate) use parse_text::{parse_decimal, parse_hex, parse_offset};
pub(crate) use sort_key::{character_key, equality_key, lower, upper};
pub(crate) use typed::Typed;
pub(crate) use value::Value;
