//! `CONSTRAINT name EXPECT (condition)`: what is expected of the rows of a target, and what becomes of those that are not
//! so.
//!
//! The source of the flow's MERGE gets a column that says whether a row is kept ([`KEPT`]), by a function that is given
//! what holds of the row and counts what does not ([`EXPECT`]). Of a row that leaves the target nothing is expected.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select, SelectItem, SetExpr,
    Spanned, Statement as SqlStatement, TableAlias, TableFactor, Value, visit_expressions,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::lexer::Lexeme;
use super::membership::{ask_of, asks_tables, case, nested};
use super::merge::MergeStatement;
use super::parse::datafusion_statement;
use super::source::Span;
use super::stars::{Found, find_column, near, quoted};
use super::stream::over_rows;
use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, KEPT};

/// The function that a flow's rows pass through: `(holds …, key …)`, one value for each expectation, says whether the row
/// is kept, counts the expectations that do not hold, and fails where one of them fails the update.
pub const EXPECT: &str = "__cdcql_expect";

/// `CONSTRAINT name EXPECT (condition) [ON VIOLATION …]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its name.
    pub name: Ident,
    /// What holds of a row as it is expected, over the target's columns. NULL is a violation.
    pub condition: Expr,
    /// What becomes of a row of which it does not hold.
    pub on_violation: OnViolation,
    /// Where it stands.
    pub span: Span,
}

/// What becomes of a row that is not as it is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnViolation {
    /// It is counted, and kept.
    Keep,
    /// `DROP ROW`: it is counted, and is not in the target, or leaves it.
    DropRow,
    /// `FAIL UPDATE`: the flow ends, and nothing is committed.
    FailUpdate,
}

impl fmt::Display for OnViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "kept",
            Self::DropRow => "dropped",
            Self::FailUpdate => "failed",
        })
    }
}

/// Reads an expectation from the word CONSTRAINT to the end of its element.
pub(super) fn expectation(cursor: &mut Cursor<'_>) -> Result<Expectation, Diagnostic> {
    cursor.expect(&["CONSTRAINT"])?;
    let name = cursor.ident("the name of the expectation")?;
    if !cursor.eat(&["EXPECT"]) {
        return Err(cursor.expected("EXPECT (condition)"));
    }
    let condition = condition(cursor)?;
    let on_violation = match cursor.eat(&["ON", "VIOLATION"]) {
        false => OnViolation::Keep,
        true if cursor.eat(&["DROP", "ROW"]) => OnViolation::DropRow,
        true if cursor.eat(&["FAIL", "UPDATE"]) => OnViolation::FailUpdate,
        true => return Err(cursor.expected("DROP ROW or FAIL UPDATE")),
    };
    if !cursor.is_done() {
        return Err(cursor.expected("ON VIOLATION, `,` or `)`"));
    }
    Ok(Expectation {
        name,
        condition,
        on_violation,
        span: cursor.span_from(0),
    })
}

/// A condition in parentheses.
fn condition(cursor: &mut Cursor<'_>) -> Result<Expr, Diagnostic> {
    let first = cursor.position();
    if !cursor.at_token(&Token::LParen) {
        return Err(cursor.expected("a condition in parentheses"));
    }
    let group: Vec<Lexeme> = cursor.group()?.to_vec();
    let span = cursor.span_from(first);
    let Some(open) = group.first() else {
        return Err(cursor.expected("a condition in parentheses"));
    };
    let mut lexemes = vec![open.word("SELECT")];
    lexemes.extend(group.iter().cloned());
    let statement = datafusion_statement(cursor.source, &lexemes, cursor.end())?;
    let refuse = |message: &str, help: &str| {
        Err(Diagnostic::new(cursor.source, span, message).with_help(help))
    };
    let Some(condition) = only_item(statement) else {
        return refuse("EXPECT takes one condition", "write EXPECT (condition)");
    };
    let looks = visit_expressions(&condition, |part: &Expr| match part {
        Expr::Function(function) => match over_rows(function) {
            Some(what) => ControlFlow::Break((what, function.name.span())),
            None => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    });
    if let ControlFlow::Break((what, at)) = looks {
        let message = format!("EXPECT is of one row, and {what} looks at several");
        let span = cursor.source.locate(at);
        let error = Diagnostic::new(cursor.source, span, message);
        return Err(error.with_help("expect something of the columns of a row"));
    }
    if asks_tables(&condition) {
        return refuse(
            "EXPECT asks other tables",
            "join them in the query of the flow, and expect something of the column that comes of it",
        );
    }
    Ok(condition)
}

fn only_item(statement: datafusion::sql::parser::Statement) -> Option<Expr> {
    let datafusion::sql::parser::Statement::Statement(statement) = statement else {
        return None;
    };
    let SqlStatement::Query(query) = *statement else {
        return None;
    };
    let SetExpr::Select(select) = *query.body else {
        return None;
    };
    match <[SelectItem; 1]>::try_from(select.projection) {
        Ok([SelectItem::UnnamedExpr(Expr::Tuple(_))]) => None,
        Ok([SelectItem::UnnamedExpr(condition)]) => Some(condition),
        _ => None,
    }
}

impl MergeStatement {
    /// The statement that expects this of the rows that it writes; `key` are the source's columns that tell them apart.
    /// Stars must be expanded.
    ///
    /// # Errors
    /// For a MERGE that was written as one, and an expectation of a column that it does not write.
    pub fn expecting(
        &self,
        expectations: &[Expectation],
        key: &[String],
    ) -> Result<Self, Diagnostic> {
        let Some((first, (clause, ..))) = expectations.first().zip(self.insert()) else {
            return Ok(self.clone());
        };
        if self.auto.is_none() {
            let message = format!(
                "the table expects '{}' of its rows, and this MERGE may write any",
                first.name.value
            );
            let error = Diagnostic::new(&self.source, self.target_span, message);
            return Err(
                error.with_help("write the flow as AUTO CDC, or leave CONSTRAINT … EXPECT out")
            );
        }
        let present = clause.predicate.clone();
        let holds = expectations.iter().map(|expectation| {
            let holds = Expr::IsTrue(Box::new(nested(self.over_source(expectation)?)));
            Ok(match &present {
                Some(present) => case(
                    present.clone(),
                    holds,
                    Some(Expr::value(Value::Boolean(true))),
                ),
                None => holds,
            })
        });
        let holds = holds.collect::<Result<Vec<_>, Diagnostic>>()?;
        let source = self.checked_source(holds, key);
        let source = source
            .map_err(|error| Diagnostic::new(&self.source, self.target_span, error.to_string()))?;
        let mut checked = self.clone();
        checked.ast.source = source;
        ask_of(&mut checked, KEPT);
        Ok(checked)
    }

    /// What is expected, of the source's columns.
    fn over_source(&self, expectation: &Expectation) -> Result<Expr, Diagnostic> {
        let names = self.inserted_columns();
        let values: Vec<&Expr> = self
            .insert()
            .map_or(Vec::new(), |(_, _, values)| values.iter().collect());
        let mut condition = expectation.condition.clone();
        let changed = visit_expressions_mut(&mut condition, |part: &mut Expr| {
            let column = match part {
                Expr::Identifier(column) => column.clone(),
                Expr::CompoundIdentifier(parts) => {
                    let (Some(column), Some(span)) = (parts.last(), parts.first()) else {
                        return ControlFlow::Continue(());
                    };
                    return ControlFlow::Break(self.unknown(expectation, column, span, &names));
                }
                _ => return ControlFlow::Continue(()),
            };
            let Found::One(name) = find_column(&column, &names) else {
                return ControlFlow::Break(self.unknown(expectation, &column, &column, &names));
            };
            let place = names.iter().position(|other| *other == name);
            if let Some(value) = place.and_then(|place| values.get(place)) {
                *part = (*value).clone();
            }
            ControlFlow::Continue(())
        });
        match changed {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(condition),
        }
    }

    fn unknown(
        &self,
        expectation: &Expectation,
        column: &Ident,
        place: &Ident,
        names: &[String],
    ) -> Diagnostic {
        let message = format!(
            "the flow writes no column `{}`, of which '{}' expects something",
            column.value, expectation.name.value
        );
        let span = self.source.locate(place.span);
        near(
            Diagnostic::new(&self.source, span, message),
            &column.value,
            names,
        )
    }

    /// The source with the column [`KEPT`], and with none that the statement does not use.
    fn checked_source(&self, holds: Vec<Expr>, key: &[String]) -> Result<TableFactor, ParserError> {
        let dialect = GenericDialect {};
        let alias = &self.source_alias;
        let of = |column: &Ident| Expr::CompoundIdentifier(vec![alias.clone(), column.clone()]);
        let keys = key.iter().map(|column| of(&quoted(column.clone())));
        let arguments = holds.into_iter().chain(keys);
        let arguments = arguments.map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value)));
        let call = format!("{EXPECT}()");
        let mut kept = Parser::new(&dialect).try_with_sql(&call)?.parse_expr()?;
        if let Expr::Function(call) = &mut kept
            && let FunctionArguments::List(list) = &mut call.args
        {
            list.args = arguments.collect();
        }
        let mut query = Parser::new(&dialect)
            .try_with_sql("SELECT * FROM source")?
            .parse_query()?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            self.select_used(select);
            select.projection.push(SelectItem::ExprWithAlias {
                expr: kept,
                alias: quoted(KEPT.to_owned()),
            });
        }
        Ok(TableFactor::Derived {
            lateral: false,
            subquery: query,
            alias: Some(TableAlias {
                explicit: true,
                name: alias.clone(),
                columns: Vec::new(),
                at: None,
            }),
            sample: None,
        })
    }

    /// Has `select` give the columns of the source that the statement uses.
    fn select_used(&self, select: &mut Select) {
        let mut used: Vec<Ident> = [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP]
            .map(|column| quoted(column.to_owned()))
            .to_vec();
        let mut tell = |part: &Expr| {
            if let Expr::CompoundIdentifier(parts) = part
                && let [table, column] = parts.as_slice()
                && table.value.eq_ignore_ascii_case(&self.source_alias.value)
                && !used
                    .iter()
                    .any(|known| known.value.eq_ignore_ascii_case(&column.value))
            {
                used.push(column.clone());
            }
            ControlFlow::<()>::Continue(())
        };
        let _ = visit_expressions(&self.ast.on, &mut tell);
        let _ = visit_expressions(&self.ast.clauses, &mut tell);
        select.projection = used
            .into_iter()
            .map(|column| vec![self.source_alias.clone(), column])
            .map(|column| SelectItem::UnnamedExpr(Expr::CompoundIdentifier(column)))
            .collect();
        for table in &mut select.from {
            table.relation = self.ast.source.clone();
        }
    }
}
