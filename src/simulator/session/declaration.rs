//! The declaration of a parameterised statement, such as `@P1 int, @P2 decimal(10, 2)`.

use crate::simulator::protocol::{Parameter, ServerError, SqlType};
use crate::simulator::types::{DefaultLength, Mode, convert_array};

/// A parameter as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Declared<'a> {
    /// Its name with the `@`.
    name: &'a str,
    /// Its type; `None` for one that is no type of the server.
    sql_type: Option<SqlType>,
}

/// The parameters declared, in order.
fn parameters(declaration: &str) -> Vec<Declared<'_>> {
    let mut declared = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (index, character) in declaration.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                declared.extend(parameter(&declaration[start..index]));
                start = index + 1;
            }
            _ => {}
        }
    }
    declared.extend(parameter(&declaration[start..]));
    declared
}

fn parameter(text: &str) -> Option<Declared<'_>> {
    let text = text.trim();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    let rest = rest
        .split_once(char::is_whitespace)
        .filter(|(word, _)| word.eq_ignore_ascii_case("AS"))
        .map_or(rest, |(_, rest)| rest);
    let sql_type = SqlType::parse(without_direction(rest), DefaultLength::Declaration);
    Some(Declared { name, sql_type }).filter(|declared| declared.name.starts_with('@'))
}

/// A type without the OUTPUT behind it.
fn without_direction(text: &str) -> &str {
    let end = text
        .rfind(|character: char| !character.is_ascii_alphabetic())
        .map_or(0, |at| at + 1);
    match text.get(end..) {
        Some(word)
            if ["OUTPUT", "OUT"]
                .iter()
                .any(|out| word.eq_ignore_ascii_case(out)) =>
        {
            &text[..end]
        }
        _ => text,
    }
}

/// Names the values sent without a name, converts each to its declared type, and checks that each declared
/// parameter has a value.
pub(crate) fn bind(
    sql: &str,
    declaration: &str,
    mut values: Vec<Parameter>,
) -> Result<Vec<Parameter>, ServerError> {
    let declared = parameters(declaration);
    let named = |value: &Parameter, name: &str| value.name.eq_ignore_ascii_case(name);
    for (index, value) in values.iter_mut().enumerate() {
        if value.name.is_empty() {
            let parameter = declared.get(index).ok_or_else(too_many_arguments)?;
            value.name = parameter.name.to_owned();
        } else if !declared.iter().any(|one| named(value, one.name)) {
            return Err(too_many_arguments());
        }
    }
    if values.len() > declared.len() {
        return Err(too_many_arguments());
    }
    for parameter in declared {
        let value = values
            .iter_mut()
            .find(|value| named(value, parameter.name))
            .ok_or_else(|| not_supplied(declaration, sql, parameter.name))?;
        let sql_type = parameter.sql_type.ok_or_else(|| no_type(parameter.name))?;
        convert(value, sql_type)?;
    }
    Ok(values)
}

/// Makes a value one of its declared type. Text and bytes that are longer are cut without a word.
fn convert(value: &mut Parameter, to: SqlType) -> Result<(), ServerError> {
    let from = value.sql_type;
    if from != to {
        value.value = convert_array(&value.value, from, to, 0, Mode::Cast)
            .map_err(|_| not_convertible(from, to))?;
        value.sql_type = to;
    }
    Ok(())
}

/// 2715.
fn no_type(name: &str) -> ServerError {
    ServerError::new(
        2715,
        format!(
            "Parameter or variable '{name}' has an invalid data type, or one that the simulator does not support."
        ),
    )
}

fn not_convertible(from: SqlType, to: SqlType) -> ServerError {
    let (from, to) = (from.base_name(), to.base_name());
    ServerError::new(8114, format!("Error converting data type {from} to {to}."))
}

fn too_many_arguments() -> ServerError {
    ServerError::new(
        8144,
        "Procedure or function sp_executesql has too many arguments specified.".to_owned(),
    )
}

fn not_supplied(declaration: &str, sql: &str, name: &str) -> ServerError {
    let query: String = format!("({declaration}){sql}").chars().take(256).collect();
    ServerError::new(
        8178,
        format!(
            "The parameterized query '{query}' expects the parameter '{name}', which was not supplied."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::Length;

    #[test]
    fn commas_within_a_type_do_not_count() {
        let declared = "@P1 nvarchar(4000),@P2 decimal(10, 2) ,\n @id INT OUTPUT, @v AS varchar";
        let decimal = SqlType::Decimal {
            precision: 10,
            scale: 2,
        };
        let expected = [
            ("@P1", SqlType::NVarChar(Length::Limited(4000))),
            ("@P2", decimal),
            ("@id", SqlType::Int),
            ("@v", SqlType::VarChar(Length::Limited(1))),
        ];
        let found = parameters(declared);
        assert_eq!(found.len(), expected.len());
        for (found, (name, sql_type)) in found.iter().zip(expected) {
            assert_eq!((found.name, found.sql_type), (name, Some(sql_type)));
        }
    }

    #[test]
    fn what_is_no_declaration_declares_no_type() {
        assert!(parameters("").is_empty());
        assert!(parameters(",").is_empty());
        for text in [
            "@a",
            "@a nonsense",
            "@a OUTPUT",
            "@a é OUT",
            "@a int)",
            "),(,,@",
        ] {
            assert!(
                parameters(text).iter().all(|one| one.sql_type.is_none()),
                "{text}"
            );
        }
    }
}
