//! Statements as they are recorded.

use super::literal::constant;
use crate::simulator::protocol::{Language, ServerError};
use crate::simulator::tsql::batch::is_starter;
use crate::simulator::tsql::lexer::{Kind, Token};
use crate::simulator::tsql::scope::Variable;
use crate::simulator::types::Locale;

/// Bytes of one transaction's statements at most.
pub(crate) const LIMIT: usize = 1 << 28;

/// The procedure by which a script spends values without a statement that is counted: it moves neither the clock
/// nor the history. Only scripts have it.
pub(crate) const SPENT: &str = "sp_simulator_spent";

/// A statement of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The current database that it runs in.
    pub(super) database: String,
    text: String,
}

impl Recorded {
    /// A statement that runs in a database.
    pub(crate) fn new(database: &str, text: String) -> Self {
        Self {
            database: database.to_owned(),
            text,
        }
    }

    /// The memory that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.database.len()
    }
}

/// A batch of statements.
pub(crate) fn batch(statements: &[Recorded], transaction: bool) -> String {
    let mut text = "BEGIN\n".to_owned();
    let mut database = None;
    for (at, statement) in statements.iter().enumerate() {
        if database != Some(&statement.database) {
            text.push_str(&format!("USE {};\n", quoted(&statement.database)));
            database = Some(&statement.database);
        }
        if transaction && at == 0 {
            text.push_str("BEGIN TRANSACTION;\n");
        }
        text.push_str(&statement.text);
        text.push_str(";\n");
    }
    if transaction {
        text.push_str("COMMIT;\n");
    }
    text.push_str("END\n");
    text
}

/// The text that executes a statement again: as it was written, or by `sp_executesql` where it has parameters,
/// or would mean something else within a batch.
///
/// # Errors
///
/// A parameter's value has no literal.
pub(crate) fn statement(
    written: &str,
    tokens: &[Token],
    variables: &[Variable],
) -> Result<String, ServerError> {
    let used: Vec<&Variable> = variables
        .iter()
        .filter(|variable| {
            tokens.iter().any(|token| {
                matches!(&token.kind, Kind::Variable(name) if name.to_lowercase() == variable.name)
            })
        })
        .collect();
    if used.is_empty() && stands_alone(tokens) {
        return Ok(written.to_owned());
    }
    let mut text = format!("EXEC sp_executesql {}", national(written));
    if used.is_empty() {
        return Ok(text);
    }
    let declared: Vec<String> = used
        .iter()
        .map(|variable| format!("{} {}", variable.declared, variable.sql_type.declared()))
        .collect();
    text.push_str(&format!(", {}", national(&declared.join(", "))));
    for variable in used {
        let value = constant(&variable.value, variable.sql_type).ok_or_else(|| {
            ServerError::unrecordable(format!(
                "no constant of T-SQL is the value of {} of type {}",
                variable.declared,
                variable.sql_type.declared()
            ))
        })?;
        text.push_str(&format!(", {} = {value}", variable.declared));
    }
    Ok(text)
}

/// Whether a statement means the same among others: it begins with a verb, and no line of it is a GO.
fn stands_alone(tokens: &[Token]) -> bool {
    let begins = match tokens.first().map(|token| &token.kind) {
        Some(Kind::Word(word)) => {
            let word = word.to_ascii_uppercase();
            is_starter(&word) || word == "WITH"
        }
        _ => false,
    };
    let separates = |pair: &[Token]| pair[1].is("GO") && pair[0].line < pair[1].line;
    begins && !tokens.windows(2).any(separates)
}

/// A statement between the switches that let it insert IDENTITY values into a table.
pub(crate) fn explicit_identity(text: &str, table: &str) -> String {
    format!("SET IDENTITY_INSERT {table} ON;\n{text};\nSET IDENTITY_INSERT {table} OFF")
}

/// A statement between the settings of a session that reads and writes dates otherwise than a script.
pub(crate) fn in_locale(text: &str, locale: Locale) -> String {
    let (own, script) = (locale.language.name(), Language::default().name());
    let (order, first) = (locale.date_order.name(), locale.first_day);
    format!(
        "SET LANGUAGE {own};\nSET DATEFORMAT {order};\nSET DATEFIRST {first};\n{text};\nSET LANGUAGE {script}"
    )
}

/// That a table's next IDENTITY value, or without a table the database's last row version, has moved on.
pub(crate) fn spent(table: Option<&str>, value: impl std::fmt::Display) -> String {
    match table {
        Some(table) => format!(
            "EXEC sys.{SPENT} @table = {}, @next_identity = {value}",
            national(table)
        ),
        None => format!("EXEC sys.{SPENT} @row_version = {value}"),
    }
}

/// A name in brackets.
pub(crate) fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A text as a literal.
pub(super) fn national(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::{Length, SqlType};
    use crate::simulator::tsql::lexer::tokens;
    use crate::simulator::types::Value;

    fn recorded(text: &str, variables: &[Variable]) -> String {
        statement(text, &tokens(text).unwrap(), variables).unwrap()
    }

    fn variable(name: &str, sql_type: SqlType, value: impl Into<Value>) -> Variable {
        Variable {
            name: name.to_lowercase(),
            declared: name.to_owned(),
            sql_type,
            value: value.into(),
        }
    }

    #[test]
    fn a_statement_is_recorded_as_it_was_written() {
        let text = "INSERT t -- a note\nVALUES (N'it''s\nGO\n')";
        assert_eq!(recorded(text, &[]), text);
    }

    #[test]
    fn what_would_mean_something_else_is_executed_from_a_text() {
        assert_eq!(
            recorded("INSERT t SELECT 'x' AS\nGO", &[]),
            "EXEC sp_executesql N'INSERT t SELECT ''x'' AS\nGO'"
        );
        assert_eq!(
            recorded("sp_rename 'a', 'b'", &[]),
            "EXEC sp_executesql N'sp_rename ''a'', ''b'''"
        );
    }

    #[test]
    fn parameters_that_are_used_are_declared() {
        let variables = [
            variable("@A", SqlType::Int, -5),
            variable("@unused", SqlType::Int, 7),
            variable("@b", SqlType::NVarChar(Length::Limited(10)), "it's"),
        ];
        assert_eq!(
            recorded("INSERT t VALUES (@A, @b)", &variables),
            "EXEC sp_executesql N'INSERT t VALUES (@A, @b)', N'@A int, @b nvarchar(10)', @A = -5, @b = N'it''s'"
        );
    }

    #[test]
    fn a_batch_changes_databases_where_its_statements_do() {
        let statements = [
            Recorded::new("a]b", "DELETE t".to_owned()),
            Recorded::new("a]b", "DELETE u".to_owned()),
            Recorded::new("c", "DELETE v".to_owned()),
        ];
        assert_eq!(
            batch(&statements, true),
            "BEGIN\nUSE [a]]b];\nBEGIN TRANSACTION;\nDELETE t;\nDELETE u;\nUSE [c];\nDELETE v;\nCOMMIT;\nEND\n"
        );
    }
}
