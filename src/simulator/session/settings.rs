//! What SET changes.

use std::time::Duration;

use crate::simulator::protocol::ServerError;
use crate::simulator::tsql::cursor::{Cursor, ObjectName};
use crate::simulator::tsql::lexer::{Kind, Token};

/// How long a writer waits for another when the session sets nothing: SQL Server waits for ever, which
/// nothing here shall do.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A session's settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// NOCOUNT.
    pub(super) no_count: bool,
    /// XACT_ABORT.
    pub(super) abort_transaction: bool,
    /// IMPLICIT_TRANSACTIONS.
    pub(super) implicit: bool,
    /// LOCK_TIMEOUT.
    pub(super) lock_timeout: Duration,
    /// TRANSACTION ISOLATION LEVEL SNAPSHOT.
    pub(super) snapshot: bool,
    /// The table for which IDENTITY_INSERT is on.
    pub(super) identity_insert: Option<ObjectName>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            no_count: false,
            abort_transaction: false,
            implicit: false,
            lock_timeout: LOCK_TIMEOUT,
            snapshot: false,
            identity_insert: None,
        }
    }
}

/// Options that change nothing here.
const HARMLESS: &[&str] = &[
    "ANSI_DEFAULTS",
    "ANSI_NULLS",
    "ANSI_NULL_DFLT_OFF",
    "ANSI_NULL_DFLT_ON",
    "ANSI_PADDING",
    "ANSI_WARNINGS",
    "ARITHABORT",
    "ARITHIGNORE",
    "CONCAT_NULL_YIELDS_NULL",
    "CONTEXT_INFO",
    "CURSOR_CLOSE_ON_COMMIT",
    "DATEFIRST",
    "DATEFORMAT",
    "DEADLOCK_PRIORITY",
    "FMTONLY",
    "FORCEPLAN",
    "LANGUAGE",
    "NOEXEC",
    "NUMERIC_ROUNDABORT",
    "PARSEONLY",
    "QUERY_GOVERNOR_COST_LIMIT",
    "QUOTED_IDENTIFIER",
    "REMOTE_PROC_TRANSACTIONS",
    "ROWCOUNT",
    "SHOWPLAN_ALL",
    "SHOWPLAN_TEXT",
    "STATISTICS",
    "TEXTSIZE",
];

impl Settings {
    /// SET, after the word.
    pub(super) fn set(&mut self, tokens: &[Token]) -> Result<(), ServerError> {
        let mut cursor = Cursor::new(tokens);
        if let Some(Kind::Variable(name)) = cursor.peek().map(|token| &token.kind) {
            return Err(ServerError::undeclared_variable(name));
        }
        if cursor.eat_all(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            self.snapshot = cursor.eat("SNAPSHOT");
            let known = ["READ", "REPEATABLE", "SERIALIZABLE"];
            let found = cursor.peek().is_some_and(|token| token.is_any(&known));
            return if self.snapshot || found {
                Ok(())
            } else {
                Err(cursor.error())
            };
        }
        if cursor.eat("IDENTITY_INSERT") {
            let table = cursor.object_name()?;
            let on = on(&mut cursor)?;
            self.identity_insert = on.then_some(table);
            return Ok(());
        }
        if cursor.eat("LOCK_TIMEOUT") {
            let millis = u64::try_from(cursor.integer()?).ok();
            self.lock_timeout = millis.map_or(LOCK_TIMEOUT, Duration::from_millis);
            return Ok(());
        }
        self.switches(&mut cursor)
    }

    /// `SET a, b ON`.
    fn switches(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
        let mut names = vec![cursor.name()?.to_ascii_uppercase()];
        while cursor.eat_symbol(",") {
            names.push(cursor.name()?.to_ascii_uppercase());
        }
        for name in names {
            match name.as_str() {
                "NOCOUNT" => self.no_count = on(&mut cursor.clone())?,
                "XACT_ABORT" => self.abort_transaction = on(&mut cursor.clone())?,
                "IMPLICIT_TRANSACTIONS" => self.implicit = on(&mut cursor.clone())?,
                harmless if HARMLESS.contains(&harmless) => {}
                other => {
                    return Err(ServerError::new(
                        195,
                        format!("'{other}' is not a recognized SET option."),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn on(cursor: &mut Cursor<'_>) -> Result<bool, ServerError> {
    if cursor.eat("ON") {
        return Ok(true);
    }
    cursor.expect("OFF").map(|()| false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    #[test]
    fn set_knows_its_options() {
        let mut settings = Settings::default();
        let mut set = |text: &str| settings.set(&tokens(text).unwrap()).map_err(|e| e.number);
        assert_eq!(set("NOCOUNT ON"), Ok(()));
        assert_eq!(set("ANSI_NULLS, XACT_ABORT ON"), Ok(()));
        assert_eq!(set("TRANSACTION ISOLATION LEVEL SNAPSHOT"), Ok(()));
        assert_eq!(set("LOCK_TIMEOUT 15000"), Ok(()));
        assert_eq!(set("TEXTSIZE 2147483647"), Ok(()));
        assert_eq!(set("IDENTITY_INSERT dbo.t ON"), Ok(()));
        assert_eq!(set("NONSENSE ON"), Err(195));
        assert_eq!(set("NOCOUNT maybe"), Err(102));
        assert_eq!(set("@x = 1"), Err(137));
        assert!(settings.no_count && settings.abort_transaction && settings.snapshot);
        assert_eq!(settings.lock_timeout, Duration::from_secs(15));
    }
}
