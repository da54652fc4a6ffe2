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
use super::options::options;
use super::source::{Source, SourceText};

/// What of a table is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// The table as it is.
    Live,
    /// `STREAM t CHANGES …`: the net changes of this flow's window.
    Stream(StreamStart),
    /// `t CHANGES [FROM … [TO …]]`: every image, in commit order.
    Changes(Bounds),
    /// `t VERSION AS OF n`
    VersionAsOf(Const),
    /// `t TIMESTAMP AS OF t`
    TimestampAsOf(Const),
}

/// Where a flow begins that has no checkpoint yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// With a copy of the table.
    #[default]
    Copy,
    /// `WITH (snapshot = false)`: with the first change after its first run.
    Now,
    /// `FROM …`: with the changes from there on.
    From(Bound),
}

/// The part of a change feed that is meant; nothing stands for its oldest and newest change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Where it begins.
    pub from: Option<Bound>,
    /// Where it ends; there is none without a beginning.
    pub to: Option<Bound>,
    /// The option `snapshot`, which is for a STREAM alone.
    pub(super) snapshot: Option<bool>,
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
    let start = clause.strip_prefix(STREAM);
    let text = match start {
        Some(start) => format!("CHANGES{start}"),
        None => clause.to_owned(),
    };
    let mut source = Source::new(&SourceText {
        name: String::new(),
        text,
    });
    let lexed = lex(&mut source);
    let statement = lexed.statements.first()?;
    let mut cursor = Cursor::new(&source, &statement.lexemes, 0, statement.end);
    let kind = match (start, clause_of(&mut cursor).ok()??) {
        (Some(_), RelationKind::Changes(bounds)) => RelationKind::Stream(bounds.start()?),
        (_, kind) => kind,
    };
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
    let snapshot = snapshot_option(cursor)?;
    Ok(Some(RelationKind::Changes(Bounds { snapshot, ..bounds })))
}

impl Bounds {
    fn beginning(from: Bound) -> Self {
        Self {
            from: Some(from),
            ..Self::default()
        }
    }

    /// Where a STREAM with this clause begins; `None` for one that says two things, or has an end.
    pub(super) fn start(self) -> Option<StreamStart> {
        match (self.from, self.to, self.snapshot) {
            (None, None, None | Some(true)) => Some(StreamStart::Copy),
            (None, None, Some(false)) => Some(StreamStart::Now),
            (Some(from), None, None | Some(false)) => Some(StreamStart::From(from)),
            _ => None,
        }
    }
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
    Ok(Bounds {
        from,
        to,
        snapshot: None,
    })
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

/// `WITH (snapshot = true|false)`.
fn snapshot_option(cursor: &mut Cursor<'_>) -> Result<Option<bool>, Diagnostic> {
    let opens =
        cursor.at(&["WITH"]) && cursor.peek_nth(1).is_some_and(|l| l.token == Token::LParen);
    if !opens {
        return Ok(None);
    }
    cursor.eat(&["WITH"]);
    let at = cursor.span();
    let given = options(cursor, "CHANGES", Some(&[SNAPSHOT]))?;
    let value = given.first().map(|option| &option.value);
    let text = match value {
        Some(Const::Literal { value, .. }) => value.to_string().to_lowercase(),
        _ => String::new(),
    };
    match text.trim_matches('\'') {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => {
            let message = "the option `snapshot` of CHANGES is true or false";
            let help = "write `WITH (snapshot = false)` to begin without a copy of the table";
            Err(Diagnostic::new(cursor.source, at, message).with_help(help))
        }
    }
}

const SNAPSHOT: &str = "snapshot";

/// The clause as it was written, with every default.
impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelationKind::Live => Ok(()),
            RelationKind::Stream(StreamStart::Copy) => f.write_str(STREAM),
            RelationKind::Stream(StreamStart::Now) => {
                write!(f, "{STREAM} WITH ({SNAPSHOT} = false)")
            }
            RelationKind::Stream(StreamStart::From(from)) => {
                write!(f, "{STREAM}{}", Bounds::beginning(from.clone()))
            }
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
            "STREAM WITH (snapshot = false)",
            "STREAM FROM VERSION 'x' EXCLUSIVE",
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
