//! Checks of a MERGE's WHEN clauses.

use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr,
    MergeInsertKind, MergeUpdateExpr, ObjectName, Spanned,
};
use datafusion::sql::sqlparser::tokenizer::Span as TokenSpan;

use super::diagnostic::Diagnostic;
use super::source::Source;
use super::stars::{Found, find_column};

/// Everything in the clauses that contradicts itself or that the planner would not read.
pub(super) fn check(source: &Source, ast: &Merge) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    if ast.output.is_some() {
        let message = "OUTPUT and RETURNING are not supported in a MERGE";
        errors.push(refused(source, ast.on.span(), message, "leave them out"));
    }
    if ast.clauses.is_empty() {
        let message = "a MERGE has at least one WHEN clause";
        errors.push(refused(
            source,
            ast.on.span(),
            message,
            "add WHEN MATCHED THEN UPDATE SET *",
        ));
    }
    errors.extend(unreachable(source, &ast.clauses));
    errors.extend(
        ast.clauses
            .iter()
            .filter_map(|clause| check_action(source, &clause.action)),
    );
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

fn refused(source: &Source, at: TokenSpan, message: &str, help: &str) -> Diagnostic {
    Diagnostic::new(source, source.locate(at), message).with_help(help)
}

/// Clauses after one of their kind that has no condition.
fn unreachable(source: &Source, clauses: &[MergeClause]) -> Vec<Diagnostic> {
    let mut closed: Vec<MergeClauseKind> = Vec::new();
    let mut errors = Vec::new();
    for clause in clauses {
        let kind = kind_of(clause);
        if closed.contains(&kind) {
            let message =
                format!("this clause never applies: a {kind} clause before it has no condition");
            let help = "put the clause without AND last, or give it a condition";
            errors.push(refused(source, clause.when_token.0.span, &message, help));
        }
        if clause.predicate.is_none() {
            closed.push(kind);
        }
    }
    errors
}

/// NOT MATCHED and NOT MATCHED BY TARGET are one kind.
pub(super) fn kind_of(clause: &MergeClause) -> MergeClauseKind {
    match clause.clause_kind {
        MergeClauseKind::NotMatchedByTarget => MergeClauseKind::NotMatched,
        kind => kind,
    }
}

fn check_action(source: &Source, action: &MergeAction) -> Option<Diagnostic> {
    match action {
        MergeAction::Update(update) => check_update(source, update),
        MergeAction::Insert(insert) => check_insert(source, insert),
        MergeAction::Delete { .. } => None,
    }
}

const WHERE: &str = "WHERE is not supported in a WHEN clause";
const WHERE_HELP: &str = "write WHEN … AND condition THEN";

fn check_update(source: &Source, update: &MergeUpdateExpr) -> Option<Diagnostic> {
    if let Some(condition) = update
        .update_predicate
        .as_ref()
        .or(update.delete_predicate.as_ref())
    {
        return Some(refused(source, condition.span(), WHERE, WHERE_HELP));
    }
    let mut names = Vec::new();
    for assignment in &update.assignments {
        match &assignment.target {
            AssignmentTarget::ColumnName(name) => names.push(name),
            AssignmentTarget::Tuple(_) => {
                let message = "one column is set at a time";
                return Some(refused(
                    source,
                    assignment.value.span(),
                    message,
                    "write SET a = …, b = …",
                ));
            }
        }
    }
    duplicate(source, &names)
}

fn check_insert(source: &Source, insert: &MergeInsertExpr) -> Option<Diagnostic> {
    if let Some(condition) = &insert.insert_predicate {
        return Some(refused(source, condition.span(), WHERE, WHERE_HELP));
    }
    let values_at = insert.kind_token.0.span;
    let MergeInsertKind::Values(values) = &insert.kind else {
        return Some(refused(
            source,
            values_at,
            "INSERT ROW is not supported",
            "write INSERT *",
        ));
    };
    if insert.columns.is_empty() {
        let message = "INSERT does not say which columns";
        let help = "write INSERT (a, b) VALUES (…), or INSERT *";
        return Some(refused(source, insert.insert_token.0.span, message, help));
    }
    let [row] = values.rows.as_slice() else {
        return Some(refused(
            source,
            values_at,
            "a WHEN clause inserts one row",
            "write one list of values",
        ));
    };
    let (columns, values) = (insert.columns.len(), row.content.len());
    if columns != values {
        let message = format!("{columns} columns but {values} values");
        return Some(refused(
            source,
            values_at,
            &message,
            "give every column one value",
        ));
    }
    duplicate(source, &insert.columns.iter().collect::<Vec<_>>())
}

/// A column that is set twice.
fn duplicate(source: &Source, names: &[&ObjectName]) -> Option<Diagnostic> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let Some(column) = name.0.last().and_then(|part| part.as_ident()) else {
            continue;
        };
        if find_column(column, &seen) != Found::Nothing {
            let message = format!("column `{}` is set twice", column.value);
            return Some(Diagnostic::new(source, source.locate(column.span), message));
        }
        seen.push(column.value.clone());
    }
    None
}
