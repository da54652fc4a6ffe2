//! The actions that DataFusion's parser cannot read: `UPDATE SET *`, `INSERT *` and `DO NOTHING`.
//!
//! On tokens they become actions on a column that no person can name; `EXCEPT (…)` becomes further columns of
//! that action. DO NOTHING is compiled away as soon as the statement is read, the stars when the columns are
//! known.

use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, BinaryOperator, Expr, Ident, Merge, MergeAction, MergeClauseKind, ObjectName,
};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::clauses::kind_of;
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::lexer::Lexeme;
use super::source::{Source, Span};

/// Stands for every column of the target.
const STAR: &str = "\u{1f}*";
/// Stands for DO NOTHING.
const NOTHING: &str = "\u{1f}nothing";

/// Puts stand-ins into the tokens of a MERGE.
pub(super) fn stand_in(
    source: &Source,
    lexemes: &[Lexeme],
    end: Span,
) -> Result<Vec<Lexeme>, Diagnostic> {
    let mut cursor = Cursor::new(source, lexemes, 0, end);
    let mut out = Vec::with_capacity(lexemes.len());
    let mut kind = MergeClauseKind::Matched;
    while let Some(lexeme) = cursor.advance() {
        out.push(lexeme.clone());
        if lexeme.is("WHEN") {
            kind = clause_kind(&cursor).unwrap_or(kind);
        } else if lexeme.is("THEN") {
            action(&mut cursor, kind, &mut out)?;
        }
    }
    Ok(out)
}

fn clause_kind(cursor: &Cursor<'_>) -> Option<MergeClauseKind> {
    if cursor.at(&["NOT", "MATCHED", "BY", "SOURCE"]) {
        Some(MergeClauseKind::NotMatchedBySource)
    } else if cursor.at(&["NOT", "MATCHED"]) {
        Some(MergeClauseKind::NotMatched)
    } else {
        cursor.at(&["MATCHED"]).then_some(MergeClauseKind::Matched)
    }
}

/// Reads one of our actions, if it is one, and writes its stand-in.
fn action(
    cursor: &mut Cursor<'_>,
    kind: MergeClauseKind,
    out: &mut Vec<Lexeme>,
) -> Result<(), Diagnostic> {
    let star_at =
        |cursor: &Cursor<'_>, n| cursor.peek_nth(n).is_some_and(|l| l.token == Token::Mul);
    let Some(first) = cursor.peek() else {
        return Ok(());
    };
    if cursor.at(&["UPDATE", "SET"]) && star_at(cursor, 2) {
        out.extend(cursor.advance().cloned());
        out.extend(cursor.advance().cloned());
        let columns = starred(cursor)?;
        write_update(first, columns, out);
    } else if cursor.at(&["INSERT"]) && star_at(cursor, 1) {
        out.extend(cursor.advance().cloned());
        let columns = starred(cursor)?;
        write_insert(first, columns, out);
    } else if cursor.at(&["DO", "NOTHING"]) {
        if kind == MergeClauseKind::NotMatchedBySource {
            return Err(cursor
                .error("DO NOTHING is not supported under NOT MATCHED BY SOURCE")
                .with_help(
                    "leave the clause out, and add its condition to the others with AND NOT (…)",
                ));
        }
        cursor.eat(&["DO", "NOTHING"]);
        let nothing = vec![first.quoted(NOTHING.to_owned())];
        if kind == MergeClauseKind::Matched {
            out.extend([first.word("UPDATE"), first.word("SET")]);
            write_update(first, nothing, out);
        } else {
            out.push(first.word("INSERT"));
            write_insert(first, nothing, out);
        }
    }
    Ok(())
}

/// Reads `* [EXCEPT (cols)]`: the stand-in and the columns left out.
fn starred(cursor: &mut Cursor<'_>) -> Result<Vec<Lexeme>, Diagnostic> {
    let Some(star) = cursor.advance() else {
        return Err(cursor.expected("`*`"));
    };
    let mut columns = vec![star.quoted(STAR.to_owned())];
    if cursor.eat(&["EXCEPT"]) {
        let excepted = cursor.parenthesised(|cursor| {
            let lexeme = cursor.peek().cloned();
            cursor.ident("a column")?;
            lexeme.ok_or_else(|| cursor.expected("a column"))
        })?;
        columns.extend(excepted);
    }
    if cursor.is_done() || cursor.at(&["WHEN"]) {
        return Ok(columns);
    }
    Err(cursor
        .expected("EXCEPT (…), WHEN or the end of the statement")
        .with_help("a star stands alone: leave columns out with EXCEPT, or write every column"))
}

fn write_update(at: &Lexeme, columns: Vec<Lexeme>, out: &mut Vec<Lexeme>) {
    for (n, column) in columns.into_iter().enumerate() {
        if n > 0 {
            out.push(at.replaced(Token::Comma));
        }
        out.extend([column, at.replaced(Token::Eq), at.word("NULL")]);
    }
}

fn write_insert(at: &Lexeme, columns: Vec<Lexeme>, out: &mut Vec<Lexeme>) {
    let list = |items: Vec<Lexeme>, out: &mut Vec<Lexeme>| {
        out.push(at.replaced(Token::LParen));
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                out.push(at.replaced(Token::Comma));
            }
            out.push(item);
        }
        out.push(at.replaced(Token::RParen));
    };
    let nulls = vec![at.word("NULL"); columns.len()];
    list(columns, out);
    out.push(at.word("VALUES"));
    list(nulls, out);
}

/// The columns that an action names, in order.
pub(super) fn columns_of(action: &MergeAction) -> Vec<&ObjectName> {
    match action {
        MergeAction::Update(update) => update
            .assignments
            .iter()
            .filter_map(|assignment| match &assignment.target {
                AssignmentTarget::ColumnName(name) => Some(name),
                AssignmentTarget::Tuple(_) => None,
            })
            .collect(),
        MergeAction::Insert(insert) => insert.columns.iter().collect(),
        MergeAction::Delete { .. } => Vec::new(),
    }
}

/// An `UPDATE SET *` or `INSERT *`: the star itself, and the columns left out.
pub(super) fn star(action: &MergeAction) -> Option<(Ident, Vec<Ident>)> {
    let mut columns = columns_of(action)
        .into_iter()
        .filter_map(|name| name.0.last()?.as_ident().cloned());
    let first = columns.next()?;
    (first.value == STAR).then(|| (first, columns.collect()))
}

/// Whether a column is one of the stand-ins.
pub(super) fn is_stand_in(column: &Ident) -> bool {
    column.value == STAR || column.value == NOTHING
}

fn is_nothing(action: &MergeAction) -> bool {
    let column = columns_of(action)
        .first()
        .and_then(|name| name.0.last()?.as_ident());
    column.is_some_and(|column| column.value == NOTHING)
}

/// Takes every DO NOTHING out: the later clauses of its kind hold only where its condition does not.
pub(super) fn compile_nothing(source: &Source, ast: &mut Merge) -> Result<(), Vec<Diagnostic>> {
    let mut conditions: Vec<(MergeClauseKind, Expr)> = Vec::new();
    let mut clauses = Vec::with_capacity(ast.clauses.len());
    let first = ast.clauses.first().map(|clause| clause.when_token.0.span);
    for mut clause in std::mem::take(&mut ast.clauses) {
        let kind = kind_of(&clause);
        if is_nothing(&clause.action) {
            // Without a condition it is the last of its kind, and takes nothing from anyone.
            conditions.extend(clause.predicate.map(|condition| (kind, condition)));
            continue;
        }
        for (_, condition) in conditions.iter().filter(|(of, _)| *of == kind) {
            clause.predicate = Some(and_not(clause.predicate.take(), condition.clone()));
        }
        clauses.push(clause);
    }
    ast.clauses = clauses;
    match first {
        Some(at) if ast.clauses.is_empty() => Err(vec![
            Diagnostic::new(
                source,
                source.locate(at),
                "every clause of this MERGE does nothing",
            )
            .with_help("add WHEN MATCHED THEN UPDATE SET *, or leave the statement out"),
        ]),
        _ => Ok(()),
    }
}

/// `predicate AND (condition) IS NOT TRUE`; where the condition is null, DO NOTHING does not apply.
fn and_not(predicate: Option<Expr>, condition: Expr) -> Expr {
    let not = Expr::IsNotTrue(Box::new(Expr::Nested(Box::new(condition))));
    match predicate {
        None => not,
        Some(predicate) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(predicate))),
            op: BinaryOperator::And,
            right: Box::new(not),
        },
    }
}
