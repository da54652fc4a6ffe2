//! The collations of what functions take and give.

use datafusion::arrow::datatypes::FieldRef;
use datafusion::logical_expr::ReturnFieldArgs;

use super::literal_text;
use crate::simulator::protocol::{Collation, ServerError};
use crate::simulator::types::{Label, collation_of, label_of, sql_type_of};

/// The collation in which a function compares its texts: the firmest one's; error 468 where two are as firm
/// and differ.
pub(super) fn meeting_collation(
    function: &str,
    fields: &[FieldRef],
) -> Result<Option<Collation>, ServerError> {
    let texts = || fields.iter().filter(|field| sql_type_of(field).is_text());
    let Some(firmest) = texts().map(|field| label_of(field)).max() else {
        return Ok(None);
    };
    let mut collations = texts()
        .filter(|field| label_of(field) == firmest)
        .map(|field| collation_of(field));
    let first = collations.next();
    if let Some(first) = first
        && firmest > Label::Coercible
        && let Some(other) = collations.find(|other| *other != first)
    {
        let operation = function.trim_start_matches('_');
        return Err(ServerError::collation_conflict(first, other, operation));
    }
    Ok(first)
}

/// The collation of a function's text: that of COLLATE, or of its first argument that has one of its own,
/// or else the database's, which a conversion states behind the type.
pub(super) fn result_collation(
    args: &ReturnFieldArgs<'_>,
) -> Result<(Collation, Label), ServerError> {
    let stated = args
        .scalar_arguments
        .iter()
        .enumerate()
        .filter_map(|(at, _)| literal_text(args.scalar_arguments, at))
        .find_map(|text| {
            text.split_once(COLLATE)
                .map(|(front, name)| (front.is_empty(), name.to_owned()))
        });
    if let Some((true, name)) = &stated {
        let collation =
            Collation::named(name).ok_or_else(|| ServerError::unknown_collation(name))?;
        return Ok((collation, Label::Explicit));
    }
    let firm = args
        .arg_fields
        .iter()
        .filter(|field| sql_type_of(field).is_text())
        .map(|field| (collation_of(field), label_of(field)))
        .find(|(_, label)| *label > Label::Coercible);
    let weak = stated.and_then(|(_, name)| Collation::named(&name));
    Ok(firm.unwrap_or((weak.unwrap_or_default(), Label::Coercible)))
}

/// What stands between a type and the collation of a text that has none of its own.
pub(in crate::simulator::tsql) const COLLATE: &str = " collate ";
