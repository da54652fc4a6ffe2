//! Columns by name: matching without regard to case, and what `*` in a MERGE stands for.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Ident, MergeAction, MergeInsertKind, ObjectName, Parens,
    Value, Values,
};

use super::actions::star;
use super::diagnostic::Diagnostic;
use super::merge::MergeStatement;
use super::source::Source;
use crate::nearest::nearest;

/// What a name means among columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One column, as it is spelled.
    One(String),
    /// Columns that differ in case alone, none of them exactly the name.
    Many(Vec<String>),
    /// No column.
    Nothing,
}

/// Finds a column: a quoted name exactly; an unquoted one exactly, or else without regard to case.
pub(super) fn find_column(name: &Ident, columns: &[String]) -> Found {
    if columns.contains(&name.value) {
        return Found::One(name.value.clone());
    }
    if name.quote_style.is_some() {
        return Found::Nothing;
    }
    find_any_case(&name.value, columns)
}

fn find_any_case(name: &str, columns: &[String]) -> Found {
    if columns.iter().any(|column| column == name) {
        return Found::One(name.to_owned());
    }
    let lower = name.to_lowercase();
    let mut like: Vec<&String> = columns
        .iter()
        .filter(|column| column.to_lowercase() == lower)
        .collect();
    like.sort();
    like.dedup();
    match like.as_slice() {
        [] => Found::Nothing,
        [one] => Found::One((*one).clone()),
        many => Found::Many(many.iter().map(|column| (*column).clone()).collect()),
    }
}

/// What a star makes of a target's column that the source does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// An error.
    Refused,
    /// NULL.
    Null,
}

/// Replaces `UPDATE SET *` and `INSERT *` by the target's columns, each with the source's column of that name. Answers
/// with those that became NULL, since the source does not have them.
///
/// `target_columns` are the columns to write; leave out those that a flow never writes. Names match without
/// regard to case.
///
/// # Errors
/// A column that the source lacks, unless `absent` allows it, or has twice; an EXCEPT of a column that the target lacks,
/// or of all.
pub fn expand_stars(
    merge: &mut MergeStatement,
    target_columns: &[String],
    source_columns: &[String],
    absent: Absent,
) -> Result<BTreeSet<String>, Diagnostic> {
    let mut absents = BTreeSet::new();
    let source = &merge.source;
    let value = |column: Option<String>| match column {
        Some(column) => Expr::CompoundIdentifier(vec![merge.source_alias.clone(), quoted(column)]),
        None => Expr::value(Value::Null),
    };
    for clause in &mut merge.ast.clauses {
        let Some((at, except)) = star(&clause.action) else {
            continue;
        };
        let columns = (target_columns, source_columns, absent);
        // COLUMNS * EXCEPT is of the source's columns, which the target need not have.
        let except = match merge.auto {
            Some(_) => in_either(source, &except, columns)?,
            None => except,
        };
        let columns = starred(source, &at, &except, columns)?;
        let without = columns.iter().filter(|(_, column)| column.is_none());
        absents.extend(without.map(|(target, _)| target.clone()));
        let columns = columns.into_iter();
        let written = columns.map(|(target, column)| (quoted(target), value(column)));
        write(&mut clause.action, written.collect());
    }
    Ok(absents)
}

/// Has an action write these values into these columns of the target.
pub(super) fn write(action: &mut MergeAction, columns: Vec<(Ident, Expr)>) {
    match action {
        MergeAction::Update(update) => {
            let assign = |(target, value)| Assignment {
                target: AssignmentTarget::ColumnName(ObjectName::from(vec![target])),
                value,
            };
            update.assignments = columns.into_iter().map(assign).collect();
        }
        MergeAction::Insert(insert) => {
            let (targets, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
            let names = targets
                .into_iter()
                .map(|target| ObjectName::from(vec![target]));
            insert.columns = names.collect();
            insert.kind = MergeInsertKind::Values(Values {
                explicit_row: false,
                value_keyword: false,
                rows: vec![Parens::with_empty_span(values)],
            });
        }
        MergeAction::Delete { .. } => {}
    }
}

impl MergeStatement {
    /// Has every star stand for `columns`.
    pub(super) fn list_columns(&mut self, columns: &[Ident]) {
        let source = self.source_alias.clone();
        let value = |column: &Ident| Expr::CompoundIdentifier(vec![source.clone(), column.clone()]);
        let starred = self.ast.clauses.iter_mut();
        for clause in starred.filter(|clause| star(&clause.action).is_some()) {
            let written = columns.iter().map(|column| (column.clone(), value(column)));
            write(&mut clause.action, written.collect());
        }
    }

    /// The statement whose updates keep what a target has in the columns `absents`, which [`expand_stars`] has made NULL.
    pub fn keeping(&self, absents: &BTreeSet<String>) -> Self {
        let is_absent = |assignment: &Assignment| {
            let AssignmentTarget::ColumnName(name) = &assignment.target else {
                return false;
            };
            let name = name.0.last().and_then(|part| part.as_ident());
            name.is_some_and(|name| absents.contains(&name.value))
                && assignment.value == Expr::value(Value::Null)
        };
        let mut keeping = self.clone();
        for clause in &mut keeping.ast.clauses {
            if let MergeAction::Update(update) = &mut clause.action {
                update
                    .assignments
                    .retain(|assignment| !is_absent(assignment));
            }
        }
        keeping
    }
}

pub(super) fn quoted(name: String) -> Ident {
    Ident::with_quote('"', name)
}

/// Those of the columns left out that the target has.
///
/// # Errors
/// One that the source has not either.
fn in_either(
    source: &Source,
    except: &[Ident],
    (target_columns, source_columns, _): (&[String], &[String], Absent),
) -> Result<Vec<Ident>, Diagnostic> {
    let mut left_out = Vec::new();
    for name in except {
        match (
            find_column(name, target_columns),
            find_column(name, source_columns),
        ) {
            (Found::Nothing, Found::Nothing) => {
                let message = format!("the source has no column `{}`", name.value);
                let error = Diagnostic::new(source, source.locate(name.span), message);
                return Err(near(error, &name.value, source_columns));
            }
            (Found::Nothing, _) => {}
            _ => left_out.push(name.clone()),
        }
    }
    Ok(left_out)
}

/// The target's columns that a star means, each with the source's column if it has one.
fn starred(
    source: &Source,
    star: &Ident,
    except: &[Ident],
    (target_columns, source_columns, absent): (&[String], &[String], Absent),
) -> Result<Vec<(String, Option<String>)>, Diagnostic> {
    let refuse =
        |at: &Ident, message: String| Diagnostic::new(source, source.locate(at.span), message);
    let mut left_out = Vec::new();
    for name in except {
        match find_column(name, target_columns) {
            Found::One(column) => left_out.push(column),
            Found::Many(columns) => return Err(refuse(name, ambiguous(&name.value, &columns))),
            Found::Nothing => {
                let error = refuse(name, format!("the target has no column `{}`", name.value));
                return Err(near(error, &name.value, target_columns));
            }
        }
    }
    let mut columns = Vec::new();
    for target in target_columns
        .iter()
        .filter(|column| !left_out.contains(column))
    {
        match find_any_case(target, source_columns) {
            Found::One(column) => columns.push((target.clone(), Some(column))),
            Found::Many(columns) => return Err(refuse(star, ambiguous(target, &columns))),
            Found::Nothing if absent == Absent::Null => columns.push((target.clone(), None)),
            Found::Nothing => {
                return Err(refuse(star, format!("the source has no column `{target}`, which `*` sets in the target"))
                    .with_help(format!("leave it out with `* EXCEPT ({target})`, give the source a column of that name, or, where the source has lost it, say TBLPROPERTIES ('cdcql.onSchemaChange' = 'add') to have it NULL from now on")));
            }
        }
    }
    if columns.is_empty() {
        return Err(refuse(star, "`*` stands for no column here".to_owned()));
    }
    Ok(columns)
}

/// Why an unquoted name cannot be one of several columns.
pub(super) fn ambiguous(name: &str, columns: &[String]) -> String {
    format!(
        "`{name}` could be any of the columns {}: quote the one that is meant",
        columns.join(", ")
    )
}

/// Offers the column nearest to a name.
pub(super) fn near(error: Diagnostic, name: &str, columns: &[String]) -> Diagnostic {
    match nearest(name, columns.iter().map(String::as_str)) {
        Some(column) => error.with_help(format!("did you mean `{column}`?")),
        None => error,
    }
}
