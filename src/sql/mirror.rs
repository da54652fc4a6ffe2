//! What a MERGE says that keeps its target like its source, row by row and key by key.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, BinaryOperator, Expr, Ident, MergeAction, MergeClauseKind, MergeInsertKind,
    ObjectName, TableFactor, UnaryOperator, Value, visit_expressions,
};

use super::merge::MergeStatement;
use super::source::Span;
use crate::change::CHANGE_TYPE;

impl MergeStatement {
    /// The columns that ON compares, the target's first, if it says nothing else than that they are equal.
    pub fn key_pairs(&self) -> Option<Vec<(String, String)>> {
        let target = self.target_name()?;
        let named = |table: &Ident, name: &Ident| table.value.eq_ignore_ascii_case(&name.value);
        let mut pairs = Vec::new();
        let mut conditions: Vec<&Expr> = vec![&self.ast.on];
        while let Some(condition) = conditions.pop() {
            match condition {
                Expr::Nested(inner) => conditions.push(inner),
                Expr::BinaryOp { left, op, right } if *op == BinaryOperator::And => {
                    conditions.extend([left.as_ref(), right.as_ref()]);
                }
                Expr::BinaryOp { left, op, right } if *op == BinaryOperator::Eq => {
                    let [(one, first), (other, second)] = [qualified(left)?, qualified(right)?];
                    let source = &self.source_alias;
                    let pair = match () {
                        () if named(one, target) && named(other, source) => (first, second),
                        () if named(other, target) && named(one, source) => (second, first),
                        () => return None,
                    };
                    pairs.push((pair.0.value.clone(), pair.1.value.clone()));
                }
                _ => return None,
            }
        }
        Some(pairs)
    }

    /// Whether the source is a STREAM as it is, and no query over one.
    pub fn reads_stream_alone(&self) -> bool {
        self.stream.is_some() && matches!(self.ast.source, TableFactor::Table { .. })
    }

    /// Whether the first thing that is done with a row of the target is to delete it if the source has.
    pub fn deletes_first(&self) -> bool {
        let mut clauses = self.ast.clauses.iter();
        let first = clauses.find(|clause| clause.clause_kind == MergeClauseKind::Matched);
        first.is_some_and(|clause| {
            let condition = clause.predicate.as_ref();
            matches!(clause.action, MergeAction::Delete { .. })
                && condition.is_none_or(|condition| self.is_of_deletes(condition))
        })
    }

    /// Of each clause, whether it takes nothing but rows that the source has deleted.
    pub fn clauses_of_deletes(&self) -> Vec<bool> {
        let clauses = self.ast.clauses.iter();
        let conditions = clauses.map(|clause| clause.predicate.as_ref());
        conditions
            .map(|condition| condition.is_some_and(|condition| self.is_of_deletes(condition)))
            .collect()
    }

    /// Of each clause, whether it takes every row that the source has not deleted, and that no clause before it took.
    pub fn clauses_of_rows(&self) -> Vec<bool> {
        let clauses = self.ast.clauses.iter();
        let conditions = clauses.map(|clause| clause.predicate.as_ref());
        conditions
            .map(|condition| condition.is_none_or(|condition| self.is_of_rows(condition)))
            .collect()
    }

    /// The place of a clause that is not for all rows which the source has: it asks `_change_type` for more than whether
    /// that is 'delete'.
    pub fn tells_changes_apart(&self) -> Option<usize> {
        let asks = |condition: &Expr| {
            let found = visit_expressions(condition, |part: &Expr| match part {
                Expr::Identifier(name) if name.value.eq_ignore_ascii_case(CHANGE_TYPE) => {
                    ControlFlow::Break(())
                }
                part if qualified(part)
                    .is_some_and(|(_, name)| name.value.eq_ignore_ascii_case(CHANGE_TYPE)) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            });
            found.is_break()
        };
        let mut clauses = self.ast.clauses.iter();
        clauses.position(|clause| {
            let condition = clause.predicate.as_ref();
            condition.is_some_and(|condition| {
                asks(condition) && !self.is_of_deletes(condition) && !self.is_of_rows(condition)
            })
        })
    }

    /// The target's column that has the source's column `name` as it is, whatever clause has written the row; stars must be
    /// expanded.
    pub fn column_that_keeps(&self, name: &str) -> Option<String> {
        let is_source = |value: &Expr| {
            qualified(value).is_some_and(|(table, column)| {
                table.value.eq_ignore_ascii_case(&self.source_alias.value)
                    && column.value.eq_ignore_ascii_case(name)
            })
        };
        let clauses = self.ast.clauses.iter();
        let mut writes: Vec<_> = clauses
            .map(|clause| assignments(&clause.action))
            .filter(|pairs| !pairs.is_empty())
            .collect();
        let first = writes.pop()?;
        let (own, _) = first.iter().find(|(_, value)| is_source(value))?;
        let compared = self.key_pairs().unwrap_or_default();
        // What ON has found equal is as good as assigned.
        let is_compared = compared.iter().any(|(target, source)| {
            target.eq_ignore_ascii_case(own) && source.eq_ignore_ascii_case(name)
        });
        let keeps = writes.iter().all(|pairs| {
            let mut pairs = pairs.iter();
            match pairs.find(|(column, _)| column.eq_ignore_ascii_case(own)) {
                Some((_, value)) => is_source(value),
                None => is_compared,
            }
        });
        keeps.then(|| own.to_string())
    }

    /// The target's columns with the source's, if every row that the source has becomes a new row with values as they are.
    /// Stars must be expanded.
    pub fn inserts_as_they_are(&self) -> Option<Vec<(String, String)>> {
        let clauses = self.ast.clauses.iter();
        let mut clauses = clauses.filter(|clause| {
            let condition = clause.predicate.as_ref();
            matches!(
                clause.clause_kind,
                MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget
            ) && !condition.is_some_and(|condition| self.is_of_deletes(condition))
        });
        let clause = clauses.next().filter(|_| self.reads_stream_alone())?;
        let condition = clause.predicate.as_ref();
        let (MergeAction::Insert(_), true) = (
            &clause.action,
            condition.is_none_or(|condition| self.is_of_rows(condition)),
        ) else {
            return None;
        };
        let pairs = assignments(&clause.action).into_iter();
        let pairs = pairs.map(|(own, value)| {
            let (table, column) = qualified(value)?;
            let is_source = table.value.eq_ignore_ascii_case(&self.source_alias.value);
            is_source.then(|| (own.to_string(), column.value.clone()))
        });
        pairs.collect()
    }

    /// Where each clause is written.
    pub fn clause_spans(&self) -> Vec<Span> {
        let clauses = self.ast.clauses.iter();
        let spans = clauses.map(|clause| clause.when_token.0.span);
        spans.map(|span| self.source.locate(span)).collect()
    }

    /// Whether a condition is that `_change_type` of the source is not 'delete', in one of the ways to say so.
    fn is_of_rows(&self, condition: &Expr) -> bool {
        match condition {
            Expr::Nested(inner) => self.is_of_rows(inner),
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: inner,
            }
            | Expr::IsNotTrue(inner) => self.is_of_deletes(inner),
            Expr::BinaryOp { left, op, right } if *op == BinaryOperator::NotEq => {
                self.is_type_and_delete(left, right)
            }
            _ => false,
        }
    }

    /// Whether a condition is `_change_type = 'delete'` of the source.
    fn is_of_deletes(&self, condition: &Expr) -> bool {
        match condition {
            Expr::Nested(inner) => self.is_of_deletes(inner),
            Expr::BinaryOp { left, op, right } if *op == BinaryOperator::Eq => {
                self.is_type_and_delete(left, right)
            }
            _ => false,
        }
    }

    /// Whether one of two sides is `_change_type` of the source, and the other 'delete'.
    fn is_type_and_delete(&self, left: &Expr, right: &Expr) -> bool {
        let is_type = |side: &Expr| {
            qualified(side).is_some_and(|(table, column)| {
                table.value.eq_ignore_ascii_case(&self.source_alias.value)
                    && column.value.eq_ignore_ascii_case(CHANGE_TYPE)
            })
        };
        let is_delete = |side: &Expr| match side {
            Expr::Value(value) => {
                matches!(&value.value, Value::SingleQuotedString(text) if text == "delete")
            }
            _ => false,
        };
        is_type(left) && is_delete(right) || is_type(right) && is_delete(left)
    }
}

/// The columns that a clause writes, with their values.
fn assignments(action: &MergeAction) -> Vec<(&str, &Expr)> {
    match action {
        MergeAction::Update(update) => {
            let pairs = update.assignments.iter();
            let pairs = pairs.filter_map(|assignment| match &assignment.target {
                AssignmentTarget::ColumnName(name) => Some((last_name(name)?, &assignment.value)),
                AssignmentTarget::Tuple(_) => None,
            });
            pairs.collect()
        }
        MergeAction::Insert(insert) => {
            let row = match &insert.kind {
                MergeInsertKind::Values(values) => values.rows.first(),
                MergeInsertKind::Row => None,
            };
            let values = row.into_iter().flat_map(|row| row.iter());
            let pairs = insert.columns.iter().zip(values);
            pairs
                .filter_map(|(name, value)| Some((last_name(name)?, value)))
                .collect()
        }
        MergeAction::Delete { .. } => Vec::new(),
    }
}

fn last_name(name: &ObjectName) -> Option<&str> {
    let last = name.0.last()?.as_ident()?;
    Some(last.value.as_str())
}

/// A table's name and a column's, of a column that is written with both.
fn qualified(expr: &Expr) -> Option<(&Ident, &Ident)> {
    match expr {
        Expr::Nested(inner) => qualified(inner),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] => Some((table, column)),
            _ => None,
        },
        _ => None,
    }
}
