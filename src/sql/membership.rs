//! The query of an AUTO CDC: which rows of the source are rows of the target, and as what.
//!
//! Its WHERE is not a filter of changes: a row that does not satisfy it any more has to leave the target. So the
//! condition becomes a column, by which the MERGE decides; no filter is left that could hide a change. An INNER JOIN is a
//! LEFT JOIN whose row has to be there. What the query computes is computed of rows that are in the target alone:
//! a delete has its key, and nothing else is asked of it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, JoinConstraint, JoinOperator, MergeAction, MergeClause,
    MergeClauseKind, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
    TableFactor, Value, helpers::attached_token::AttachedToken, visit_expressions,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::diagnostic::Diagnostic;
use super::merge::MergeStatement;
use super::source::{SharedSource, Source};
use super::stars::quoted;
use super::stream::is_stream;
use crate::change::{CHANGE_TYPE, MEMBER, is_change_column};

/// What a query makes of the source's columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Membership {
    /// Columns of the source that it gives as they are, each with the name that it gives it, if it does; none where there is
    /// no query.
    given: Option<Vec<(String, Option<String>)>>,
    /// Whether it gives every column under its own name.
    gives_all: bool,
    /// The STREAM of a query that joins: the one that must not come out with more rows.
    checked: Option<Ident>,
    /// The columns that it computes of change columns.
    pub(super) of_changes: Vec<String>,
    /// Whether a row that the source has deleted leaves the target whatever the query says.
    pub(super) deletes_leave: bool,
}

/// The function that a query which joins passes its rows through: `(value, rows of the key, key …)` gives `value`, and fails
/// where there are two rows.
pub const SINGLE_ROW: &str = "__cdcql_single_row";

impl Membership {
    /// The name in the target of a column of the source, if the query gives it as it is.
    pub(super) fn output_of(&self, column: &str) -> Option<String> {
        let Some(given) = &self.given else {
            return Some(column.to_owned());
        };
        let mut given = given.iter();
        let named = given.find(|(own, _)| own.eq_ignore_ascii_case(column));
        match named {
            // Without a name of its own it has the source's, as that spells it.
            Some((_, output)) => Some(output.clone().unwrap_or_else(|| column.to_owned())),
            None => self.gives_all.then(|| column.to_owned()),
        }
    }

    /// Has the query not fail where it makes two rows of one.
    pub(super) fn pass_all(&mut self) {
        self.checked = None;
    }
}

/// Makes membership of the query's WHERE and joins. With `deletes_leave`, a row that the source has deleted is a delete
/// whatever the query says.
pub(super) fn compile(
    source: &SharedSource,
    merge: &mut MergeStatement,
    deletes_leave: bool,
) -> Result<Membership, Vec<Diagnostic>> {
    let TableFactor::Derived { subquery, .. } = &mut merge.ast.source else {
        return Ok(Membership {
            deletes_leave,
            ..Membership::default()
        });
    };
    let one = |error| vec![error];
    let is_plain = subquery.with.is_none() && subquery.order_by.is_none();
    let span = source.locate(subquery.span());
    let select = match subquery.body.as_mut() {
        SetExpr::Select(select) if is_plain => select,
        _ => {
            let message = "the query of an AUTO CDC is one SELECT over its STREAM";
            let help =
                "write FROM (SELECT … FROM STREAM … CHANGES AS change [LEFT JOIN …] [WHERE …])";
            return Err(one(Diagnostic::new(source, span, message).with_help(help)));
        }
    };
    let stream = stream_alias(source, select).map_err(one)?;
    let mut conditions = joined(source, select).map_err(one)?;
    if let Some(condition) = select.selection.take() {
        if asks_tables(&condition) {
            let message = "WHERE of an AUTO CDC asks other tables by a query of its own";
            let error = Diagnostic::new(source, source.locate(condition.span()), message);
            return Err(one(error.with_help(
                "join them: … JOIN looked_up ON looked_up.key = change.key",
            )));
        }
        conditions.push(condition);
    }
    let joins = select.from.iter().any(|from| !from.joins.is_empty());
    let condition = conditions
        .into_iter()
        .map(nested)
        .reduce(|left, right| binary(left, BinaryOperator::And, right));
    let is_deleted = || change_type(&stream, BinaryOperator::Eq);
    let lives = change_type(&stream, BinaryOperator::NotEq);
    let present = match (deletes_leave, condition.clone()) {
        (true, Some(condition)) => Some(binary(lives, BinaryOperator::And, condition)),
        (true, None) => Some(lives),
        (false, condition) => condition,
    };
    let membership = project(source, select, &stream, present.as_ref()).map_err(one)?;
    let holds = match condition {
        Some(condition) => Expr::IsTrue(Box::new(nested(condition))),
        None if joins => Expr::value(Value::Boolean(true)),
        None => {
            return Ok(Membership {
                deletes_leave,
                ..membership
            });
        }
    };
    let member = match deletes_leave {
        true => case(is_deleted(), Expr::value(Value::Boolean(true)), Some(holds)),
        false => holds,
    };
    select.projection.push(SelectItem::ExprWithAlias {
        expr: member,
        alias: quoted(MEMBER.to_owned()),
    });
    ask_of(merge, MEMBER);
    Ok(Membership {
        checked: joins.then_some(stream),
        deletes_leave,
        ..membership
    })
}

impl MergeStatement {
    /// Has the query fail where its joins make two rows of one with the same `key` of the source.
    pub(super) fn check_rows(&mut self, key: &[&str]) -> Result<(), ParserError> {
        let stream = self
            .auto
            .as_ref()
            .and_then(|auto| auto.membership.checked.clone());
        let TableFactor::Derived { subquery, .. } = &mut self.ast.source else {
            return Ok(());
        };
        let (Some(stream), SetExpr::Select(select)) = (stream, subquery.body.as_mut()) else {
            return Ok(());
        };
        let Some(SelectItem::ExprWithAlias { expr, .. }) = select.projection.last_mut() else {
            return Ok(());
        };
        let columns = key.iter().map(|column| of(&stream, column).to_string());
        let columns = columns.collect::<Vec<_>>().join(", ");
        let text =
            format!("{SINGLE_ROW}({MEMBER}, count(*) OVER (PARTITION BY {columns}), {columns})");
        let dialect = GenericDialect {};
        let mut checked = Parser::new(&dialect).try_with_sql(&text)?.parse_expr()?;
        let member = expr.clone();
        let _ = visit_expressions_mut(&mut checked, |part: &mut Expr| {
            if matches!(part, Expr::Identifier(name) if name.value == MEMBER) {
                *part = member.clone();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        *expr = checked;
        Ok(())
    }
}

/// Whether an expression has a query in it.
pub(super) fn asks_tables(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |part: &Expr| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The name of the STREAM, which stands first.
fn stream_alias(source: &Source, select: &Select) -> Result<Ident, Diagnostic> {
    let refuse = |help: &str| {
        let span = source.locate(select.select_token.0.span);
        let message = "the query of an AUTO CDC reads its STREAM first";
        Err(Diagnostic::new(source, span, message).with_help(help))
    };
    let [from] = select.from.as_slice() else {
        return refuse("write FROM STREAM … CHANGES AS change LEFT JOIN … ON …");
    };
    match &from.relation {
        TableFactor::Table {
            name,
            alias: Some(alias),
            ..
        } if is_stream(name) => Ok(alias.name.clone()),
        _ => refuse("write FROM STREAM … CHANGES AS change"),
    }
}

/// Turns INNER JOINs into LEFT JOINs; answers with what tells that they have found a row.
fn joined(source: &Source, select: &mut Select) -> Result<Vec<Expr>, Diagnostic> {
    let mut found = Vec::new();
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        let span = source.locate(join.relation.span());
        let refuse =
            |message: &str, help: &str| Err(Diagnostic::new(source, span, message).with_help(help));
        let constraint = match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => continue,
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => constraint.clone(),
            _ => {
                return refuse(
                    "an AUTO CDC looks tables up by JOIN or LEFT JOIN",
                    "write LEFT JOIN … ON …",
                );
            }
        };
        let own = match &join.relation {
            TableFactor::Table { name, alias, .. } => {
                let last = name.0.last().and_then(|part| part.as_ident());
                alias.as_ref().map(|alias| &alias.name).or(last)
            }
            TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| &alias.name),
            _ => None,
        };
        let JoinConstraint::On(on) = &constraint else {
            return refuse("this JOIN has no ON", "write ON looked_up.key = change.key");
        };
        let Some(compared) = own.and_then(|own| compared(on, own)) else {
            return refuse(
                "ON of this JOIN does not compare a column of the table that it looks up",
                "write ON looked_up.key = change.key, with the table's name before its column; or a LEFT JOIN",
            );
        };
        found.push(Expr::IsNotNull(Box::new(compared)));
        join.join_operator = JoinOperator::Left(constraint);
    }
    Ok(found)
}

/// A column of `table` that a condition demands to be equal to something: where it holds, it is not NULL.
fn compared(condition: &Expr, table: &Ident) -> Option<Expr> {
    let is_own = |side: &Expr| match side {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., of, _] => of.value.eq_ignore_ascii_case(&table.value),
            _ => false,
        },
        _ => false,
    };
    match condition {
        Expr::Nested(inner) => compared(inner, table),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => compared(left, table).or_else(|| compared(right, table)),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } => [left, right]
            .into_iter()
            .find(|side| is_own(side))
            .map(|side| side.as_ref().clone()),
        _ => None,
    }
}

/// Has the query compute of `present` rows alone.
fn project(
    source: &Source,
    select: &mut Select,
    stream: &Ident,
    present: Option<&Expr>,
) -> Result<Membership, Diagnostic> {
    let mut membership = Membership {
        given: Some(Vec::new()),
        ..Membership::default()
    };
    let given = membership.given.get_or_insert_default();
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, alias } = item
            && tells_of_changes(expr)
        {
            membership.of_changes.push(alias.value.clone());
        }
        match item {
            SelectItem::UnnamedExpr(expr) => match own_column(expr, stream) {
                Some(column) => given.push((column.value.clone(), None)),
                None if matches!(expr, Expr::CompoundIdentifier(_) | Expr::Identifier(_)) => {}
                None => {
                    let span = source.locate(expr.span());
                    let message = format!("`{expr}` has no name in the target");
                    let help = "write AS and the name of its column";
                    return Err(Diagnostic::new(source, span, message).with_help(help));
                }
            },
            SelectItem::ExprWithAlias { expr, alias } => match own_column(expr, stream) {
                Some(column) => given.push((column.value.clone(), Some(alias.value.clone()))),
                None => {
                    if let Some(present) = present {
                        *expr = case(present.clone(), expr.clone(), None);
                    }
                }
            },
            SelectItem::Wildcard(_) => membership.gives_all = true,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let last = name.0.last().and_then(|part| part.as_ident());
                membership.gives_all |=
                    last.is_some_and(|name| name.value.eq_ignore_ascii_case(&stream.value));
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {}
        }
    }
    Ok(membership)
}

/// Whether an expression has a change column in it.
fn tells_of_changes(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |part: &Expr| {
        let column = match part {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match column.is_some_and(|column| is_change_column(&column.value.to_lowercase())) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

/// The column of the stream that an expression is, without more. One without a table's name may be another table's.
fn own_column<'a>(expr: &'a Expr, stream: &Ident) -> Option<&'a Ident> {
    match expr {
        Expr::Nested(inner) => own_column(inner, stream),
        Expr::Identifier(column) => Some(column),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] if table.value.eq_ignore_ascii_case(&stream.value) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

/// Has the MERGE delete what `column` of its source is not true of, and insert nothing of it.
pub(super) fn ask_of(merge: &mut MergeStatement, column: &str) {
    let member = || of(&merge.source_alias, column);
    let leaves = || Expr::IsNotTrue(Box::new(member()));
    let mut leave = false;
    for clause in &mut merge.ast.clauses {
        let condition = clause.predicate.take();
        clause.predicate = match (&clause.action, condition) {
            (MergeAction::Delete { .. }, Some(condition)) => {
                leave = true;
                Some(binary(nested(condition), BinaryOperator::Or, leaves()))
            }
            (MergeAction::Insert(_), Some(condition)) => {
                Some(binary(nested(condition), BinaryOperator::And, member()))
            }
            (MergeAction::Insert(_), None) => Some(member()),
            (_, condition) => condition,
        };
    }
    if let (false, Some(first)) = (leave, merge.ast.clauses.first()) {
        let clause = MergeClause {
            when_token: first.when_token.clone(),
            clause_kind: MergeClauseKind::Matched,
            predicate: Some(leaves()),
            action: MergeAction::Delete {
                delete_token: AttachedToken::empty(),
            },
        };
        merge.ast.clauses.insert(0, clause);
    }
}

fn of(table: &Ident, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), quoted(column.to_owned())])
}

fn change_type(stream: &Ident, op: BinaryOperator) -> Expr {
    let delete = Expr::value(Value::SingleQuotedString("delete".to_owned()));
    binary(of(stream, CHANGE_TYPE), op, delete)
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

pub(super) fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Nested(_) => expr,
        expr => Expr::Nested(Box::new(expr)),
    }
}

/// `CASE WHEN condition THEN result [ELSE …] END`
pub(super) fn case(condition: Expr, result: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: otherwise.map(Box::new),
    }
}
