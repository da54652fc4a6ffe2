//! A batch as statements. T-SQL needs no semicolons, so a statement ends where the next one begins.

use super::lexer::{Kind, Token};
use crate::simulator::protocol::ServerError;

/// Blocks and IFs within each other at most.
const DEPTH: usize = 32;

/// A statement, or statements under a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    /// One statement's tokens.
    Statement(&'a [Token]),
    /// IF … ELSE.
    If {
        /// The condition's tokens.
        condition: &'a [Token],
        /// What runs if it is true.
        then: Box<Node<'a>>,
        /// What runs if it is not.
        otherwise: Option<Box<Node<'a>>>,
    },
    /// BEGIN … END.
    Block(Vec<Node<'a>>),
}

const STARTERS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "EXEC",
    "EXECUTE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVE",
    "SET",
    "USE",
    "PRINT",
    "IF",
    "WHILE",
    "DECLARE",
    "GRANT",
    "REVOKE",
    "DENY",
    "RETURN",
    "RAISERROR",
    "THROW",
    "WAITFOR",
    "CHECKPOINT",
];

/// The statements of a batch.
pub(crate) fn statements(tokens: &[Token]) -> Result<Vec<Node<'_>>, ServerError> {
    let mut parser = Parser { tokens, at: 0 };
    let mut nodes = Vec::new();
    while let Some(node) = parser.node(0)? {
        nodes.push(node);
    }
    match parser.peek() {
        Some(token) => Err(near(token)),
        None => Ok(nodes),
    }
}

/// Whether a word, in upper case, begins a statement.
pub(crate) fn is_starter(word: &str) -> bool {
    STARTERS.contains(&word)
}

/// Error 102 at a token.
pub(crate) fn near(token: &Token) -> ServerError {
    let text = match &token.kind {
        Kind::Word(text)
        | Kind::Quoted(text)
        | Kind::Variable(text)
        | Kind::Text(text)
        | Kind::National(text)
        | Kind::Number(text) => text.clone(),
        Kind::Hex(digits) => format!("0x{digits}"),
        Kind::Symbol(symbol) => (*symbol).to_owned(),
    };
    ServerError::syntax(&text).at_line(token.line)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn skip_semicolons(&mut self) {
        while self.peek().is_some_and(|token| token.symbol(";")) {
            self.at += 1;
        }
    }

    /// The next statement; `None` at the end of the batch or of a block.
    fn node(&mut self, depth: usize) -> Result<Option<Node<'a>>, ServerError> {
        self.skip_semicolons();
        let Some(token) = self.peek() else {
            return Ok(None);
        };
        if depth > DEPTH {
            return Err(ServerError::unsupported("statements nested so deeply").at_line(token.line));
        }
        if token.is_any(&["END", "ELSE"]) {
            return Ok(None);
        }
        if token.is("IF") {
            return self.conditional(depth).map(Some);
        }
        let transaction = self
            .tokens
            .get(self.at + 1)
            .is_some_and(|next| next.is_any(&["TRAN", "TRANSACTION", "DISTRIBUTED"]));
        if token.is("BEGIN") && !transaction {
            return self.block(depth).map(Some);
        }
        let start = self.at;
        self.at = self.end_of_statement();
        Ok(Some(Node::Statement(&self.tokens[start..self.at])))
    }

    fn block(&mut self, depth: usize) -> Result<Node<'a>, ServerError> {
        let open = self.at;
        self.at += 1;
        if let Some(token) = self.peek().filter(|t| t.is_any(&["TRY", "CATCH"])) {
            return Err(ServerError::unsupported("TRY … CATCH").at_line(token.line));
        }
        let mut nodes = Vec::new();
        while let Some(node) = self.node(depth + 1)? {
            nodes.push(node);
        }
        match self.peek() {
            Some(token) if token.is("END") => {
                self.at += 1;
                Ok(Node::Block(nodes))
            }
            Some(token) => Err(near(token)),
            None => Err(near(&self.tokens[open])),
        }
    }

    fn conditional(&mut self, depth: usize) -> Result<Node<'a>, ServerError> {
        let keyword = &self.tokens[self.at];
        self.at += 1;
        let start = self.at;
        let mut parens = 0_usize;
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Symbol("(") => parens += 1,
                Kind::Symbol(")") => parens = parens.saturating_sub(1),
                _ if parens == 0 && token.is_any(STARTERS) => break,
                _ => {}
            }
            self.at += 1;
        }
        let condition = &self.tokens[start..self.at];
        let Some(then) = self.node(depth + 1)? else {
            return Err(near(keyword));
        };
        let before = self.at;
        self.skip_semicolons();
        let otherwise = if self.peek().is_some_and(|token| token.is("ELSE")) {
            let keyword = &self.tokens[self.at];
            self.at += 1;
            Some(Box::new(
                self.node(depth + 1)?.ok_or_else(|| near(keyword))?,
            ))
        } else {
            self.at = before;
            None
        };
        Ok(Node::If {
            condition,
            then: Box::new(then),
            otherwise,
        })
    }

    fn end_of_statement(&self) -> usize {
        let function = ["CREATE", "FUNCTION"];
        let mut begins = function.iter().zip(&self.tokens[self.at..]);
        if self.tokens.len() > self.at + 1 && begins.all(|(word, token)| token.is(word)) {
            return self.tokens.len();
        }
        let mut progress = Progress::default();
        let (mut parens, mut cases) = (0_usize, 0_usize);
        let mut at = self.at;
        while let Some(token) = self.tokens.get(at) {
            match token.kind {
                Kind::Symbol("(") => parens += 1,
                Kind::Symbol(")") => parens = parens.saturating_sub(1),
                Kind::Symbol(";") if parens == 0 => return at,
                Kind::Word(_) if parens == 0 => {
                    if token.is("CASE") {
                        cases += 1;
                    } else if token.is("END") && cases > 0 {
                        cases -= 1;
                    } else if at > self.at
                        && (token.is_any(&["END", "ELSE"]) && cases == 0
                            || token.is_any(STARTERS)
                                && !progress.continues(&self.tokens[self.at..], at - self.at))
                    {
                        return at;
                    }
                    progress.pass(token);
                }
                _ => {}
            }
            at += 1;
        }
        at
    }
}

/// What a statement has had so far, at its own level.
#[derive(Debug, Default)]
struct Progress {
    verb: bool,
    set: bool,
    source: bool,
}

impl Progress {
    fn pass(&mut self, token: &Token) {
        self.verb |= token.is_any(&["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"]);
        self.set |= token.is("SET");
        self.source |= token.is_any(&["SELECT", "VALUES", "EXEC", "EXECUTE", "DEFAULT"]);
    }

    /// Whether the keyword at `at`, which can begin a statement, belongs to the present one.
    fn continues(&self, statement: &[Token], at: usize) -> bool {
        let (first, token) = (&statement[0], &statement[at]);
        let before = &statement[at - 1];
        let after = |keywords: &[&str]| statement.get(at + 1).is_some_and(|t| t.is_any(keywords));
        let with = first.is("WITH");
        let inserts = statement[..at].iter().any(|token| token.is("INSERT"));
        if first.is_any(&["GRANT", "REVOKE", "DENY"]) {
            // A permission, not a statement.
            return before.is_any(&["GRANT", "REVOKE", "DENY", "FOR"]) || before.symbol(",");
        }
        if first.is("MERGE") && !token.is_any(&["GRANT", "CREATE"]) {
            return token.is_any(&[
                "SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "EXEC", "ALTER", "SET",
            ]);
        }
        if token.is("SELECT") {
            before.is_any(&["UNION", "ALL", "EXCEPT", "INTERSECT", "AS"])
                || inserts && !self.source
                || with && !self.verb
        } else if token.is_any(&["INSERT", "UPDATE", "DELETE", "MERGE"]) {
            let switched = first.is("SET") || statement[1].is("DATABASE");
            !switched && before.is_any(&["ON", "FOR", "THEN", "AFTER"]) || with && !self.verb
        } else if token.is("SET") {
            first.is("ALTER")
                || before.is_any(&["DELETE", "UPDATE"])
                || !self.set && statement[..at].iter().any(|token| token.is("UPDATE"))
        } else if token.is_any(&["EXEC", "EXECUTE"]) {
            inserts && !self.source || before.is("WITH")
        } else if token.is_any(&["DROP", "ALTER"]) {
            first.is("ALTER") && after(&["COLUMN", "CONSTRAINT", "MEMBER"])
        } else if token.is("IF") {
            after(&["EXISTS"]) && first.is_any(&["DROP", "ALTER"])
        } else {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    fn split(text: &str) -> Vec<String> {
        let tokens = tokens(text).unwrap();
        statements(&tokens)
            .unwrap()
            .iter()
            .map(|node| match node {
                Node::Statement(tokens) => {
                    let (first, last) = (tokens.first().unwrap(), tokens.last().unwrap());
                    text[first.start..last.end].to_owned()
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn statements_need_no_semicolons() {
        assert_eq!(
            split("set nocount on set ansi_nulls on\nselect 1 select 2; print 'x'"),
            [
                "set nocount on",
                "set ansi_nulls on",
                "select 1",
                "select 2",
                "print 'x'"
            ]
        );
    }

    #[test]
    fn a_switch_ends_before_a_row_change() {
        assert_eq!(
            split("SET IDENTITY_INSERT t ON INSERT t (id) VALUES (1) SET IDENTITY_INSERT t OFF"),
            [
                "SET IDENTITY_INSERT t ON",
                "INSERT t (id) VALUES (1)",
                "SET IDENTITY_INSERT t OFF"
            ]
        );
        assert_eq!(
            split("SET NOCOUNT ON DELETE t SET XACT_ABORT ON UPDATE t SET a = 1"),
            [
                "SET NOCOUNT ON",
                "DELETE t",
                "SET XACT_ABORT ON",
                "UPDATE t SET a = 1"
            ]
        );
    }

    #[test]
    fn keywords_inside_a_statement_do_not_end_it() {
        for one in [
            "INSERT INTO t (a) SELECT b FROM u UNION ALL SELECT c FROM v",
            "UPDATE t SET a = CASE WHEN b = 1 THEN 2 ELSE 3 END WHERE c = 4",
            "WITH x AS (SELECT 1 AS n) SELECT n FROM x",
            "WITH x AS (SELECT 1 AS n) INSERT INTO t SELECT n FROM x",
            "ALTER DATABASE d SET ALLOW_SNAPSHOT_ISOLATION ON",
            "DROP TABLE IF EXISTS t",
            "CREATE TABLE t (a INT REFERENCES u (a) ON DELETE SET NULL)",
            "SELECT (SELECT MAX(a) FROM t) AS m",
            "BEGIN TRANSACTION",
        ] {
            assert_eq!(split(one), [one]);
        }
    }

    #[test]
    fn a_function_is_the_rest_of_its_batch() {
        let text = "CREATE FUNCTION f() RETURNS TABLE AS RETURN SELECT 1 AS ok; SELECT 2";
        assert_eq!(split(text), [text]);
    }

    #[test]
    fn insert_select_is_followed_by_another_statement() {
        assert_eq!(
            split("INSERT t SELECT 1 SELECT 2 INSERT t VALUES (1) SELECT 3"),
            [
                "INSERT t SELECT 1",
                "SELECT 2",
                "INSERT t VALUES (1)",
                "SELECT 3"
            ]
        );
    }

    #[test]
    fn conditions_and_blocks() {
        let text = "IF @@TRANCOUNT > 0 COMMIT TRAN ELSE BEGIN SELECT 1; SELECT 2 END SELECT 3";
        let tokens = tokens(text).unwrap();
        let nodes = statements(&tokens).unwrap();
        assert_eq!(nodes.len(), 2);
        let Node::If {
            condition,
            otherwise: Some(otherwise),
            ..
        } = &nodes[0]
        else {
            panic!("{nodes:?}");
        };
        assert_eq!(condition.len(), 3);
        assert!(matches!(otherwise.as_ref(), Node::Block(nodes) if nodes.len() == 2));
    }
}
