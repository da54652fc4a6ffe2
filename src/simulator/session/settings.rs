//! What SET changes.

use std::time::Duration;

use crate::simulator::protocol::{Language, ServerError};
use crate::simulator::tsql::cursor::{Cursor, ObjectName};
use crate::simulator::tsql::lexer::{Kind, Token};
use crate::simulator::types::{DateOrder, Locale};

/// How long a writer waits for another when the session sets nothing: SQL Server waits for ever, which
/// nothing here shall do.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// What a transaction sees of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// READ UNCOMMITTED: what is committed when it is read, whoever is writing.
    Uncommitted,
    /// READ COMMITTED: what is committed when it is read.
    Committed,
    /// REPEATABLE READ and SERIALIZABLE: what was committed when the transaction first looked. Where locks
    /// would keep others from changing it, a change of it by this transaction later is a deadlock.
    Repeatable,
    /// SNAPSHOT: what was committed when the transaction first looked.
    Snapshot,
}

impl Isolation {
    /// Whether the transaction goes on seeing what it first saw.
    pub(super) fn is_repeatable(self) -> bool {
        matches!(self, Self::Repeatable | Self::Snapshot)
    }
}

/// A session's settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// NOCOUNT.
    pub(super) no_count: bool,
    /// XACT_ABORT.
    pub(super) abort_transaction: bool,
    /// IMPLICIT_TRANSACTIONS.
    pub(super) implicit: bool,
    /// How long to wait for another transaction.
    pub(super) lock_timeout: Duration,
    /// LOCK_TIMEOUT as it was set, in milliseconds; -1 waits as long as the server lets anyone wait.
    pub(super) lock_timeout_set: i64,
    /// TRANSACTION ISOLATION LEVEL.
    pub(super) isolation: Isolation,
    /// LANGUAGE, DATEFORMAT and DATEFIRST.
    pub(super) locale: Locale,
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
            lock_timeout_set: -1,
            isolation: Isolation::Committed,
            locale: Locale::of(Language::English),
            identity_insert: None,
        }
    }
}

/// What an option may be set to without a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harmless {
    /// ON or OFF.
    Switch,
    /// ON; OFF would change what statements do.
    On,
    /// OFF; ON would change what statements do.
    Off,
    /// Any one value.
    Value,
    /// Bytes of a large value that are sent: so many that no test has more, or -1 for all.
    Bytes,
    /// Only these values, under which texts are read as they are here.
    Only(&'static [&'static str]),
}

/// The least SET TEXTSIZE that some client sends on its own.
const LEAST_BYTES: u32 = 64_512;

/// Options that change nothing here, and what they may be set to.
const HARMLESS: &[(&str, Harmless)] = &[
    ("ANSI_NULLS", Harmless::On),
    ("ANSI_NULL_DFLT_OFF", Harmless::Off),
    ("ANSI_NULL_DFLT_ON", Harmless::On),
    ("ANSI_PADDING", Harmless::On),
    ("ANSI_WARNINGS", Harmless::On),
    ("ARITHABORT", Harmless::Switch),
    ("ARITHIGNORE", Harmless::Switch),
    ("CONCAT_NULL_YIELDS_NULL", Harmless::On),
    ("CURSOR_CLOSE_ON_COMMIT", Harmless::Switch),
    ("FORCEPLAN", Harmless::Switch),
    ("NUMERIC_ROUNDABORT", Harmless::Off),
    ("QUOTED_IDENTIFIER", Harmless::On),
    ("REMOTE_PROC_TRANSACTIONS", Harmless::Switch),
    ("FMTONLY", Harmless::Off),
    ("NOEXEC", Harmless::Off),
    ("PARSEONLY", Harmless::Off),
    ("SHOWPLAN_ALL", Harmless::Off),
    ("SHOWPLAN_TEXT", Harmless::Off),
    ("SHOWPLAN_XML", Harmless::Off),
    ("CONTEXT_INFO", Harmless::Value),
    ("DEADLOCK_PRIORITY", Harmless::Value),
    ("QUERY_GOVERNOR_COST_LIMIT", Harmless::Value),
    ("TEXTSIZE", Harmless::Bytes),
    ("ROWCOUNT", Harmless::Only(&["0"])),
];

impl Settings {
    /// Those of a session that has set nothing, in a language.
    pub(super) fn of(language: Language) -> Self {
        Self {
            locale: Locale::of(language),
            ..Self::default()
        }
    }

    /// What has been set that makes statements do something else; `None` if nothing was.
    pub(super) fn felt(&self) -> Option<&'static str> {
        if self.identity_insert.is_some() {
            Some("SET IDENTITY_INSERT … ON")
        } else if self.implicit {
            Some("SET IMPLICIT_TRANSACTIONS ON")
        } else if self.isolation != Isolation::Committed {
            Some("SET TRANSACTION ISOLATION LEVEL")
        } else if self.locale != Locale::of(Language::English) {
            Some("SET LANGUAGE, DATEFORMAT or DATEFIRST")
        } else {
            None
        }
    }

    /// SET, after the word.
    pub(super) fn set(&mut self, tokens: &[Token]) -> Result<(), ServerError> {
        let mut cursor = Cursor::new(tokens);
        if let Some(Kind::Variable(name)) = cursor.peek().map(|token| &token.kind) {
            return Err(ServerError::unsupported(format!("SET {name} = …")));
        }
        if cursor.eat_all(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            self.isolation(&mut cursor)?;
        } else if cursor.eat("IDENTITY_INSERT") {
            let table = cursor.object_name()?;
            let on = on(&mut cursor)?;
            self.identity_insert = on.then_some(table);
        } else if cursor.eat("LOCK_TIMEOUT") {
            let set = cursor.integer()?;
            let millis = u64::try_from(set).ok();
            let wait = millis.map_or(LOCK_TIMEOUT, Duration::from_millis);
            self.lock_timeout = wait.min(LOCK_TIMEOUT);
            self.lock_timeout_set = set.max(-1);
        } else if cursor.eat("STATISTICS") {
            cursor.name()?;
            while cursor.eat_symbol(",") {
                cursor.name()?;
            }
            on(&mut cursor)?;
        } else {
            self.switches(&mut cursor)?;
        }
        cursor.end()
    }

    fn isolation(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
        self.isolation = if cursor.eat("SNAPSHOT") {
            Isolation::Snapshot
        } else if cursor.eat_all(&["REPEATABLE", "READ"]) || cursor.eat("SERIALIZABLE") {
            Isolation::Repeatable
        } else if cursor.eat_all(&["READ", "UNCOMMITTED"]) {
            Isolation::Uncommitted
        } else if cursor.eat_all(&["READ", "COMMITTED"]) {
            Isolation::Committed
        } else {
            return Err(cursor.error());
        };
        Ok(())
    }

    /// `SET a, b ON`, or `SET a value`.
    fn switches(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
        let mut names = vec![cursor.name()?.to_ascii_uppercase()];
        while cursor.eat_symbol(",") {
            names.push(cursor.name()?.to_ascii_uppercase());
        }
        let value = cursor.clone();
        for name in names {
            *cursor = value.clone();
            match name.as_str() {
                "NOCOUNT" => self.no_count = on(cursor)?,
                "XACT_ABORT" => self.abort_transaction = on(cursor)?,
                "IMPLICIT_TRANSACTIONS" => self.implicit = on(cursor)?,
                "LANGUAGE" => self.locale = Locale::of(language(cursor)?),
                "DATEFORMAT" => self.locale.date_order = date_order(cursor)?,
                "DATEFIRST" => self.locale.first_day = first_day(cursor)?,
                other => harmless(other, cursor)?,
            }
        }
        Ok(())
    }
}

/// Takes the value of an option that changes nothing; 195 for an option that there is not.
fn harmless(name: &str, cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
    let Some((_, kind)) = HARMLESS.iter().find(|(known, _)| *known == name) else {
        return Err(ServerError::new(
            195,
            format!("'{name}' is not a recognized SET option."),
        ));
    };
    match kind {
        Harmless::Switch => on(cursor).map(|_| ()),
        Harmless::On if on(cursor)? => Ok(()),
        Harmless::On => Err(ServerError::unsupported(format!("SET {name} OFF"))),
        Harmless::Off if !on(cursor)? => Ok(()),
        Harmless::Off => Err(ServerError::unsupported(format!("SET {name} ON"))),
        Harmless::Bytes => bytes(cursor),
        Harmless::Value | Harmless::Only(_) => {
            cursor.eat_symbol("-");
            let Some(value) = cursor.next() else {
                return Err(cursor.error());
            };
            let text = match &value.kind {
                Kind::Word(text)
                | Kind::Quoted(text)
                | Kind::Text(text)
                | Kind::National(text)
                | Kind::Number(text) => text,
                _ if *kind == Harmless::Value => return Ok(()),
                _ => return Err(cursor.error()),
            };
            match kind {
                Harmless::Only(known)
                    if !known.iter().any(|one| one.eq_ignore_ascii_case(text)) =>
                {
                    let known = known.join(" or ");
                    Err(ServerError::unsupported(format!(
                        "SET {name} other than {known}"
                    )))
                }
                _ => Ok(()),
            }
        }
    }
}

/// The value of SET TEXTSIZE.
fn bytes(cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
    let all = cursor.eat_symbol("-");
    let Some(Kind::Number(text)) = cursor.next().map(|token| &token.kind) else {
        return Err(cursor.error());
    };
    match text.parse::<u32>() {
        Ok(1) if all => Ok(()),
        Ok(bytes) if !all && bytes >= LEAST_BYTES => Ok(()),
        _ => Err(ServerError::unsupported(format!("SET TEXTSIZE {text}"))),
    }
}

/// The language of SET LANGUAGE.
fn language(cursor: &mut Cursor<'_>) -> Result<Language, ServerError> {
    let name = word(cursor)?;
    Language::named(&name).ok_or_else(|| ServerError::unsupported(format!("SET LANGUAGE {name}")))
}

fn date_order(cursor: &mut Cursor<'_>) -> Result<DateOrder, ServerError> {
    let name = word(cursor)?;
    DateOrder::named(&name)
        .ok_or_else(|| ServerError::unsupported(format!("SET DATEFORMAT {name}")))
}

fn first_day(cursor: &mut Cursor<'_>) -> Result<u8, ServerError> {
    let day = cursor.integer()?;
    u8::try_from(day)
        .ok()
        .filter(|day| (1..=7).contains(day))
        .ok_or_else(|| {
            let message = format!("SET option 'DATEFIRST' cannot be set to {day}.");
            ServerError::new(2744, message)
        })
}

/// A name, or a text.
fn word(cursor: &mut Cursor<'_>) -> Result<String, ServerError> {
    match cursor.peek().map(|token| &token.kind) {
        Some(Kind::Text(text) | Kind::National(text)) => {
            cursor.next();
            Ok(text.clone())
        }
        _ => cursor.name(),
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
        assert_eq!(set("TRANSACTION ISOLATION LEVEL READ COMMITTED"), Ok(()));
        assert_eq!(set("TRANSACTION ISOLATION LEVEL SNAPSHOT"), Ok(()));
        assert_eq!(set("STATISTICS IO, TIME ON"), Ok(()));
        assert_eq!(set("ROWCOUNT 0"), Ok(()));
        assert_eq!(set("ROWCOUNT 10"), Err(40510));
        assert_eq!(set("FMTONLY OFF"), Ok(()));
        assert_eq!(set("FMTONLY ON"), Err(40510));
        assert_eq!(set("LANGUAGE Deutsch"), Ok(()));
        assert_eq!(set("LANGUAGE N'us_english'"), Ok(()));
        assert_eq!(set("LANGUAGE Klingon"), Err(40510));
        assert_eq!(set("DATEFORMAT dmy"), Ok(()));
        assert_eq!(set("DATEFORMAT ydm"), Err(40510));
        assert_eq!(set("DATEFIRST 3"), Ok(()));
        assert_eq!(set("DATEFIRST 8"), Err(2744));
        assert_eq!(set("NOCOUNT ON ON"), Err(102));
        assert_eq!(set("ANSI_NULLS"), Err(102));
        assert_eq!(set("NONSENSE ON"), Err(195));
        assert_eq!(set("NOCOUNT maybe"), Err(102));
        assert_eq!(set("@x = 1"), Err(40510));
        assert!(settings.no_count && settings.abort_transaction);
        assert_eq!(settings.isolation, Isolation::Snapshot);
        let locale = Locale {
            language: Language::English,
            date_order: DateOrder::Dmy,
            first_day: 3,
        };
        assert_eq!(settings.locale, locale);
        assert_eq!(settings.lock_timeout, Duration::from_secs(15));
    }
}
