//! The declaration of a parameterised statement, such as `@P1 int, @P2 decimal(10, 2)`.

use crate::simulator::protocol::SqlType;
use crate::simulator::types::DefaultLength;

/// A parameter as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declared<'a> {
    /// Its name with the `@`.
    pub(super) name: &'a str,
    /// Its type; `None` for one that is no type of the server.
    pub(super) sql_type: Option<SqlType>,
}

/// The parameters declared, in order.
pub(super) fn parameters(declaration: &str) -> Vec<Declared<'_>> {
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
