//! The SQL parser's turn.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token as SqlToken;

use super::dialect::TransactSql;
use super::lexer::Token;
use super::normal::{Spelling, normal};
use super::size;
use crate::simulator::protocol::ServerError;

/// Expressions and queries within each other at most.
const NESTING: usize = 300;

/// Error 102 unless one query or row change can be read.
pub(crate) fn check(tokens: &[Token]) -> Result<(), ServerError> {
    parse(tokens).map(|_| ())
}

/// Parses one query or row change.
pub(super) fn parse(tokens: &[Token]) -> Result<(Statement, Spelling), ServerError> {
    size::check(tokens)?;
    table_names(tokens)?;
    let (text, spelling) = normal(tokens);
    let first = tokens.first().map_or(1, |token| token.line);
    let dialect = TransactSql::for_tokens(tokens.len());
    let parsed = Parser::new(&dialect)
        .with_recursion_limit(NESTING)
        .try_with_sql(&text)
        .and_then(|mut parser| {
            let statement = parser.parse_statement()?;
            match parser.peek_token().token {
                SqlToken::EOF | SqlToken::SemiColon => Ok(statement),
                _ => parser.expected("end of statement", parser.peek_token()),
            }
        });
    match parsed {
        Ok(statement) => Ok((statement, spelling)),
        Err(error) => Err(syntax(&error, &spelling, first, tokens)),
    }
}

/// Reserved words that clauses begin with: none of them can name a table, though the parser would take it.
const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "ON",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "OUTER",
    "SET",
    "VALUES",
    "INTO",
    "AS",
    "AND",
    "OR",
    "NOT",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "WITH",
    "OPTION",
];

/// Error 102 where a clause stands in place of a table.
fn table_names(tokens: &[Token]) -> Result<(), ServerError> {
    let wrong = tokens.windows(2).find(|pair| {
        pair[0].is_any(&["FROM", "JOIN", "INTO", "UPDATE"]) && pair[1].is_any(CLAUSES)
    });
    wrong.map_or(Ok(()), |pair| Err(super::batch::near(&pair[1])))
}

/// Error 102 out of the parser's message, which ends in `found: X at Line: n, Column: m`.
fn syntax(error: &ParserError, spelling: &Spelling, first: u32, tokens: &[Token]) -> ServerError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            message.as_str()
        }
        ParserError::RecursionLimitExceeded => {
            return ServerError::nested_too_deeply().at_line(first);
        }
    };
    let (head, place) = message.split_once(" at Line: ").unwrap_or((message, ""));
    let line = place
        .split(',')
        .next()
        .and_then(|line| line.trim().parse::<u32>().ok())
        .map_or(first, |line| first + line.saturating_sub(1));
    let near = match head.rsplit_once("found: ") {
        Some((_, "EOF")) | None => tokens.last().map_or(String::new(), |token| {
            match super::batch::near(token).message.split('\'').nth(1) {
                Some(text) => text.to_owned(),
                None => String::new(),
            }
        }),
        Some((_, found)) => spelling.of(found.trim_matches(['"', '\''])),
    };
    ServerError::syntax(&near).at_line(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    #[test]
    fn t_sql_constructs_parse() {
        for text in [
            "SELECT TOP (@n) a FROM db..t AS x WITH (NOLOCK) ORDER BY a OPTION (MAXDOP 1)",
            "SELECT a FROM t ORDER BY a OFFSET (@P3 - 1) ROWS FETCH NEXT 1 ROWS ONLY",
            "SELECT CAST(@P1 COLLATE Latin1_General_CI_AS AS varchar(20)), CONVERT(nvarchar(max), x, 121)",
            "SELECT TRY_CAST(a AS decimal(19, 4)), CAST(b AS datetimeoffset(3)), CAST(c AS varbinary(max))",
            "SELECT x = 1, [a b] = 2",
            "INSERT t (a, b) VALUES (1, DEFAULT), (2, 3)",
            "INSERT INTO t DEFAULT VALUES",
            "UPDATE t SET a = a + 1 FROM t JOIN u ON u.id = t.id WHERE u.b = 2",
            "DELETE FROM t WHERE a IN (1, 2)",
            "DELETE t WHERE a = 1",
            "DELETE t",
            "DELETE dbo.t WITH (ROWLOCK) WHERE a = 1",
            "DELETE x FROM t AS x JOIN u ON u.id = x.id",
            "WITH x AS (SELECT 1 AS n) DELETE t WHERE a IN (SELECT n FROM x)",
            "SELECT * FROM cdc.[fn_cdc_get_all_changes_x](CAST(@P1 AS binary(10)), 0x01, N'all') AS f",
            "SELECT sys.fn_cdc_get_max_lsn(), db.sys.fn_cdc_get_min_lsn('x')",
            "SELECT value FROM GENERATE_SERIES(1, 10)",
            "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b DESC) AS n FROM t",
            "SELECT CASE WHEN typ.is_assembly_type = 1 THEN 1 ELSE 0 END FROM sys.types AS typ",
        ] {
            let tokens = tokens(text).unwrap();
            assert!(parse(&tokens).is_ok(), "{text}: {:?}", parse(&tokens).err());
        }
    }

    #[test]
    fn syntax_errors_name_the_place() {
        for (text, near, line) in [
            ("SELECT 1 FROM WHERE x", "WHERE", 1),
            ("SELECT *\nFROM t\nWHERE a = = 1", "=", 3),
            ("SELECT * FORM t", "FORM", 1),
            ("INSERT INTO VALUES (1)", "VALUES", 1),
            ("SELECT (1", "1", 1),
        ] {
            let tokens = tokens(text).unwrap();
            let error = parse(&tokens).unwrap_err();
            let message = format!("Incorrect syntax near '{near}'.");
            assert_eq!(
                (error.number, error.line, error.message),
                (102, line, message),
                "{text}"
            );
        }
    }
}
