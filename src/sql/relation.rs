//! Versioned and streaming tables, and the marker names that carry them through the planner.
//!
//! A table factor such as `app_db.dbo.customers CHANGES FROM VERSION 3` becomes the quoted name
//! `app_db.dbo."customers<U+001F>CHANGES FROM VERSION 3 INCLUSIVE"`: the same schema is asked for it, and
//! [`relation_from_marker`] tells that schema what is meant.

use std::fmt;

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::constant::{Const, Literal, constant};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::lexer::{MARK, lex};
use super::source::{Source, SourceText};

/// What of a table is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// The table as it is.
    Live,
    /// `STREAM t CHANGES`: the net changes of this flow's window.
    Stream,
    /// `t CHANGES [FROM … [TO …]]`: every image, in commit order.
    Changes(Bounds),
    /// `t VERSION AS OF n`
    VersionAsOf(Const),
    /// `t TIMESTAMP AS OF t`
    TimestampAsOf(Const),
}

/// The part of a change feed that is meant; nothing stands for its oldest and newest change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Where it begins.
    pub from: Option<Bound>,
    /// Where it ends; there is none without a beginning.
    pub to: Option<Bound>,
}

/// One end of a part of a change feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What `value` counts.
    pub unit: BoundUnit,
    /// The version or point in time.
    pub value: Const,
    /// Whether the changes at that very point belong to the part.
    pub inclusive: bool,
}

/// What a bound counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundUnit {
    /// A commit: an LSN of SQL Server (20 hex digits), a version of Delta.
    Version,
    /// A point in time.
    Timestamp,
}

/// Takes a marker's name apart; the table's name gets its quotes back.
pub(super) fn unmarked(marker: &Ident) -> Option<(Ident, RelationKind)> {
    let (value, kind) = relation_from_marker(&marker.value)?;
    let quoted = marker
        .value
        .get(value.len()..)
        .is_some_and(|clause| clause.starts_with("\u{1f}\u{1f}"));
    Some((
        Ident {
            value,
            quote_style: quoted.then_some('"'),
            span: marker.span,
        },
        kind,
    ))
}

/// Takes a marker apart into the table's name and what of it is meant; any other name gives `None`.
pub fn relation_from_marker(name: &str) -> Option<(String, RelationKind)> {
    let (table, clause) = name.split_once(MARK)?;
    let clause = clause.strip_prefix(MARK).unwrap_or(clause);
    if clause == STREAM {
        return Some((table.to_owned(), RelationKind::Stream));
    }
    let mut source = Source::new(&SourceText {
        name: String::new(),
        text: clause.to_owned(),
    });
    let lexed = lex(&mut source);
    let statement = lexed.statements.first()?;
    let mut cursor = Cursor::new(&source, &statement.lexemes, 0, statement.end);
    let kind = clause_of(&mut cursor).ok()??;
    cursor.is_done().then(|| (table.to_owned(), kind))
}

const STREAM: &str = "STREAM";

/// The marker that stands for `kind` of table `name`; a second mark says that the name was quoted.
pub(super) fn marker(name: &str, quoted: bool, kind: &RelationKind) -> String {
    match (kind, quoted) {
        (RelationKind::Live, _) => name.to_owned(),
        (kind, false) => format!("{name}{MARK}{kind}"),
        (kind, true) => format!("{name}{MARK}{MARK}{kind}"),
    }
}

/// Reads the clause after a table's name, if there is one.
pub(super) fn clause_of(cursor: &mut Cursor<'_>) -> Result<Option<RelationKind>, Diagnostic> {
    if cursor.eat(&["VERSION", "AS", "OF"]) {
        return Ok(Some(RelationKind::VersionAsOf(point(cursor)?)));
    }
    if cursor.eat(&["TIMESTAMP", "AS", "OF"]) {
        return Ok(Some(RelationKind::TimestampAsOf(point(cursor)?)));
    }
    if !cursor.eat(&["CHANGES"]) {
        return Ok(None);
    }
    let bounds = bounds(cursor)?;
    options(cursor)?;
    Ok(Some(RelationKind::Changes(bounds)))
}

fn bounds(cursor: &mut Cursor<'_>) -> Result<Bounds, Diagnostic> {
    if !cursor.at(&["FROM"]) {
        return Ok(Bounds::default());
    }
    cursor.eat(&["FROM"]);
    let unit = if cursor.eat(&["VERSION"]) {
        BoundUnit::Version
    } else if cursor.eat(&["TIMESTAMP"]) {
        BoundUnit::Timestamp
    } else {
        return Err(cursor.expected_one_of(&["VERSION", "TIMESTAMP"]));
    };
    let from = Some(bound(cursor, unit)?);
    let to = if cursor.eat(&["TO"]) {
        Some(bound(cursor, unit)?)
    } else {
        None
    };
    Ok(Bounds { from, to })
}

fn bound(cursor: &mut Cursor<'_>, unit: BoundUnit) -> Result<Bound, Diagnostic> {
    let value = point(cursor)?;
    let inclusive = !cursor.eat(&["EXCLUSIVE"]);
    if inclusive {
        cursor.eat(&["INCLUSIVE"]);
    }
    Ok(Bound {
        unit,
        value,
        inclusive,
    })
}

/// A version or point in time: a number, a string or env('NAME').
fn point(cursor: &mut Cursor<'_>) -> Result<Const, Diagnostic> {
    let refused = cursor.expected("a number, a string or env('NAME')");
    let value = constant(cursor)?;
    match &value {
        Const::Literal {
            value: Literal::Boolean(_),
            ..
        }
        | Const::Secret { .. } => Err(refused),
        Const::Literal {
            value: Literal::Number(n),
            ..
        } if n.starts_with('-') => Err(refused),
        _ => Ok(value),
    }
}

/// `WITH (…)`: no option exists yet, and one that does nothing must not be accepted.
fn options(cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
    let opens =
        cursor.at(&["WITH"]) && cursor.peek_nth(1).is_some_and(|l| l.token == Token::LParen);
    if opens {
        return Err(cursor
            .error("CHANGES takes no options yet")
            .with_help("leave out WITH (…)"));
    }
    Ok(())
}

/// The clause as it was written, with every default.
impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelationKind::Live => Ok(()),
            RelationKind::Stream => f.write_str(STREAM),
            RelationKind::Changes(bounds) => write!(f, "CHANGES{bounds}"),
            RelationKind::VersionAsOf(version) => write!(f, "VERSION AS OF {version}"),
            RelationKind::TimestampAsOf(time) => write!(f, "TIMESTAMP AS OF {time}"),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inclusive = |bound: &Bound| {
            if bound.inclusive {
                "INCLUSIVE"
            } else {
                "EXCLUSIVE"
            }
        };
        if let Some(from) = &self.from {
            let unit = match from.unit {
                BoundUnit::Version => "VERSION",
                BoundUnit::Timestamp => "TIMESTAMP",
            };
            write!(f, " FROM {unit} {} {}", from.value, inclusive(from))?;
        }
        if let Some(to) = &self.to {
            write!(f, " TO {} {}", to.value, inclusive(to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_say_all_there_is_to_say() {
        let clauses = [
            "CHANGES",
            "CHANGES FROM VERSION 3 INCLUSIVE",
            "CHANGES FROM VERSION '0000002A000001F00003' EXCLUSIVE TO env('UPTO', 'x''y') INCLUSIVE",
            "CHANGES FROM TIMESTAMP '2024-01-01T00:00:00Z' INCLUSIVE TO '2024-01-02' EXCLUSIVE",
            "VERSION AS OF 7",
            "TIMESTAMP AS OF '2024-01-01'",
            "STREAM",
        ];
        for clause in clauses {
            let (name, kind) = relation_from_marker(&format!("Größe {MARK}{clause}")).unwrap();
            assert_eq!(name, "Größe ");
            assert_eq!(kind.to_string(), clause);
            assert_eq!(marker(&name, false, &kind), format!("Größe {MARK}{clause}"));
            assert_eq!(
                relation_from_marker(&marker(&name, true, &kind)),
                Some((name, kind))
            );
        }
    }

    #[test]
    fn other_names_are_no_markers() {
        for name in [
            "customers",
            "",
            "\u{1f}",
            "t\u{1f}\u{1f}",
            "t\u{1f}CHANGES FROM",
            "t\u{1f}CHANGES x",
            "t\u{1f}VERSION AS OF TRUE",
        ] {
            assert_eq!(relation_from_marker(name), None, "{name:?}");
        }
    }
}
