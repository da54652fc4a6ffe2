//! Filters of a query in T-SQL: those that the server answers as this engine would, or with more rows.
//!
//! An allow-list. Comparisons of a column with literals, `IN`, `BETWEEN`, `IS NULL`, `bit` columns, and `AND`,
//! `OR`, `NOT` over them. A literal is bound as a parameter and cast to the column's own type, which never
//! changes it: one that the type cannot hold leaves its filter here, unless it bounds times, where the nearest time
//! within the bound stands for it. So no value can make the server fail. A filter is *exact* if the server says
//! true, false and unknown where this engine does. Otherwise it may only let more rows pass, and is applied again:
//! - text: only `=` and `IN`, since collations take more to be equal and order otherwise; in order under BIN2;
//! - binary values of unequal length, which the server fills up with zeros;
//! - the two zeros of binary fractions; exact numbers that a query compares as doubles.

mod comparand;
mod text;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use tiberius::ColumnData;

use super::catalogue::SourceColumn;
use super::cell::Parameter;
use super::types::SqlType;
use comparand::{Comparand, Operand, as_double, comparand, name};

/// The alias that a filtered table has.
pub(super) const ALIAS: &str = "t";

/// How many parameters the filters of one question may have. The planner asks once in each of its three
/// passes, and a request takes 2100.
const MAX_PARAMETERS: usize = 512;

/// How deep conditions may be nested.
const MAX_DEPTH: usize = 16;

/// A condition in T-SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Predicate {
    pub(super) sql: String,
    /// Whether it is true, false or unknown just where the filter is; else it is true at least where that is.
    pub(super) exact: bool,
}

impl Predicate {
    fn exact(sql: String) -> Option<Self> {
        Some(Self { sql, exact: true })
    }

    fn superset(sql: String) -> Option<Self> {
        Some(Self { sql, exact: false })
    }
}

/// Which of `filters` over `columns` go to the server, and how.
pub(super) fn support(
    columns: &[SourceColumn],
    filters: &[&Expr],
) -> Vec<TableProviderFilterPushDown> {
    let mut translator = Translator::new(columns);
    let mut support = |filter: &&Expr| {
        let bound = translator.parameters.len();
        let translated = translator.translate(filter);
        if translator.parameters.len() > MAX_PARAMETERS {
            translator.parameters.truncate(bound);
            return TableProviderFilterPushDown::Unsupported;
        }
        match translated {
            None => TableProviderFilterPushDown::Unsupported,
            Some(Predicate { exact: true, .. }) => TableProviderFilterPushDown::Exact,
            Some(_) => TableProviderFilterPushDown::Inexact,
        }
    };
    filters.iter().map(&mut support).collect()
}

/// A value that a key's column is compared with as it is, so that an index serves.
#[derive(Debug)]
pub(super) struct KeyValue {
    comparand: Comparand,
    pub(super) value: ColumnData<'static>,
    /// Whether other values read alike.
    pub(super) is_first_of_many: bool,
}

impl KeyValue {
    /// The parameter of this name as the column's type has it.
    pub(super) fn cast(&self, parameter: &str) -> String {
        self.comparand.cast(parameter)
    }
}

/// `value`, which was read from `column`, as the server has it; where more values read alike, the first. `None` where
/// the server has no such value, or compares it in another way.
pub(super) fn key_value(column: &SourceColumn, value: &ScalarValue) -> Option<KeyValue> {
    if !column.comparable || value.is_null() {
        return None;
    }
    let comparand = comparand(column, &[value], false)?;
    let (value, is_first_of_many) = match comparand.operands.first()? {
        Operand::Exact { value, .. } => (value, false),
        Operand::Span(value, _) => (value, true),
        Operand::Superset { equal, .. } => (equal.as_ref()?, false),
        Operand::Gap(..) => return None,
    };
    let value = value.clone();
    (comparand.column == name(column)).then_some(KeyValue {
        comparand,
        value,
        is_first_of_many,
    })
}

/// Translates filters and collects their parameters, `@P1` first.
#[derive(Debug)]
pub(super) struct Translator<'a> {
    columns: &'a [SourceColumn],
    parameters: Vec<Parameter>,
}

impl<'a> Translator<'a> {
    pub(super) fn new(columns: &'a [SourceColumn]) -> Self {
        Self {
            columns,
            parameters: Vec::new(),
        }
    }

    /// The filter in T-SQL; `None` if it cannot be answered by the server.
    pub(super) fn translate(&mut self, filter: &Expr) -> Option<Predicate> {
        self.predicate(filter, 0)
    }

    /// The values of the parameters.
    pub(super) fn into_parameters(self) -> Vec<Parameter> {
        self.parameters
    }

    /// Binds a value, whose name is given back.
    pub(super) fn bind(&mut self, value: Parameter) -> String {
        self.parameters.push(value);
        format!("@P{}", self.parameters.len())
    }

    fn bind_as(&mut self, value: &ColumnData<'static>, comparand: &Comparand) -> String {
        let parameter = self.bind(Parameter::Value(value.clone()));
        comparand.cast(&parameter)
    }

    /// Leaves no parameter behind where there is no answer.
    fn predicate(&mut self, filter: &Expr, depth: usize) -> Option<Predicate> {
        let bound = self.parameters.len();
        let predicate = if depth > MAX_DEPTH {
            None
        } else {
            self.any_predicate(filter, depth + 1)
        };
        if predicate.is_none() {
            self.parameters.truncate(bound);
        }
        predicate
    }

    fn any_predicate(&mut self, filter: &Expr, depth: usize) -> Option<Predicate> {
        match filter {
            Expr::BinaryExpr(binary) if binary.op == Operator::And => self.all_of(filter, depth),
            Expr::BinaryExpr(binary) if binary.op == Operator::Or => self.any_of(filter, depth),
            Expr::BinaryExpr(binary) => self.comparison(binary),
            Expr::InList(list) => self.list(list),
            Expr::Between(between) => self.between(between),
            Expr::Not(inner) => {
                let inner = self.predicate(inner, depth)?;
                let exact = inner.exact.then(|| format!("NOT {}", inner.sql));
                exact.and_then(Predicate::exact)
            }
            Expr::IsNull(inner) => self.null_test(inner, "IS NULL"),
            Expr::IsNotNull(inner) => self.null_test(inner, "IS NOT NULL"),
            Expr::Column(_) => Predicate::exact(is_bit(&self.flag(filter)?, true)),
            Expr::IsTrue(inner) => self.truth_test(inner, true, false),
            Expr::IsFalse(inner) => self.truth_test(inner, false, false),
            Expr::IsNotTrue(inner) => self.truth_test(inner, false, true),
            Expr::IsNotFalse(inner) => self.truth_test(inner, true, true),
            _ => None,
        }
    }

    /// What the server cannot answer of a conjunction is left out: the rest lets more rows pass.
    fn all_of(&mut self, filter: &Expr, depth: usize) -> Option<Predicate> {
        let operands = flattened(filter, Operator::And);
        let count = operands.len();
        let parts: Vec<Predicate> = operands
            .into_iter()
            .filter_map(|operand| self.predicate(operand, depth))
            .collect();
        if parts.is_empty() {
            return None;
        }
        let exact = parts.len() == count && parts.iter().all(|part| part.exact);
        let sql = joined(&parts, " AND ");
        Some(Predicate { sql, exact })
    }

    fn any_of(&mut self, filter: &Expr, depth: usize) -> Option<Predicate> {
        let parts = flattened(filter, Operator::Or)
            .into_iter()
            .map(|operand| self.predicate(operand, depth))
            .collect::<Option<Vec<_>>>()?;
        Some(any(&parts))
    }

    fn null_test(&self, inner: &Expr, test: &str) -> Option<Predicate> {
        let column = self.column(inner)?;
        Predicate::exact(format!("{} {test}", name(column)))
    }

    /// True or false, never unknown.
    fn truth_test(&self, inner: &Expr, value: bool, or_null: bool) -> Option<Predicate> {
        let flag = self.flag(inner)?;
        let test = is_bit(&flag, value);
        Predicate::exact(if or_null {
            format!("({test} OR {flag} IS NULL)")
        } else {
            format!("({test} AND {flag} IS NOT NULL)")
        })
    }

    /// A `bit` column's name.
    fn flag(&self, expr: &Expr) -> Option<String> {
        let column = self.column(expr)?;
        (column.sql_type == SqlType::Bit).then(|| name(column))
    }

    fn column(&self, expr: &Expr) -> Option<&'a SourceColumn> {
        let Expr::Column(Column { name, .. }) = expr else {
            return None;
        };
        let column = self.columns.iter().find(|column| column.name == *name)?;
        (column.comparable && column.sql_type.is_supported()).then_some(column)
    }

    fn comparison(&mut self, binary: &BinaryExpr) -> Option<Predicate> {
        let BinaryExpr { left, op, right } = binary;
        match (literal(left), literal(right)) {
            (None, Some(value)) => self.compared(left, *op, value),
            (Some(value), None) => self.compared(right, op.swap()?, value),
            _ => None,
        }
    }

    fn between(&mut self, between: &Between) -> Option<Predicate> {
        let (low, high) = (literal(&between.low)?, literal(&between.high)?);
        let low = self.compared(&between.expr, Operator::GtEq, low)?;
        let high = self.compared(&between.expr, Operator::LtEq, high)?;
        let exact = low.exact && high.exact;
        let sql = format!("({} AND {})", low.sql, high.sql);
        match (between.negated, exact) {
            (false, exact) => Some(Predicate { sql, exact }),
            (true, true) => Predicate::exact(format!("NOT {sql}")),
            (true, false) => None,
        }
    }

    fn compared(&mut self, expr: &Expr, op: Operator, value: &ScalarValue) -> Option<Predicate> {
        let in_order = !matches!(op, Operator::Eq | Operator::NotEq);
        let comparand = match expr {
            Expr::Cast(cast) if *cast.field.data_type() == DataType::Float64 => {
                as_double(self.column(&cast.expr)?, value)?
            }
            _ => comparand(self.column(expr)?, &[value], in_order)?,
        };
        self.operation(&comparand, comparand.operands.first()?, op)
    }

    /// The column under `op` with one operand.
    fn operation(
        &mut self,
        comparand: &Comparand,
        operand: &Operand,
        op: Operator,
    ) -> Option<Predicate> {
        match operand {
            Operand::Exact { value, ordered } => {
                let sign = sign(op)?;
                if !*ordered && !matches!(op, Operator::Eq | Operator::NotEq) {
                    return None;
                }
                Predicate::exact(self.test(comparand, sign, value))
            }
            Operand::Span(first, end) => self.within(comparand, op, first, end),
            Operand::Gap(before, after) => Predicate::exact(match op {
                Operator::Lt | Operator::LtEq => self.test(comparand, "<=", before.as_ref()?),
                Operator::Gt | Operator::GtEq => self.test(comparand, ">=", after.as_ref()?),
                _ => return None,
            }),
            Operand::Superset { equal, from, upto } => {
                self.coarse(comparand, op, equal.as_ref(), from.as_ref(), upto.as_ref())
            }
        }
    }

    fn test(&mut self, comparand: &Comparand, sign: &str, value: &ColumnData<'static>) -> String {
        let parameter = self.bind_as(value, comparand);
        format!("{} {sign} {parameter}", comparand.column)
    }

    fn within(
        &mut self,
        comparand: &Comparand,
        op: Operator,
        first: &ColumnData<'static>,
        end: &ColumnData<'static>,
    ) -> Option<Predicate> {
        Predicate::exact(match op {
            Operator::Lt => self.test(comparand, "<", first),
            Operator::LtEq => self.test(comparand, "<", end),
            Operator::Gt => self.test(comparand, ">=", end),
            Operator::GtEq => self.test(comparand, ">=", first),
            Operator::Eq => {
                let from = self.test(comparand, ">=", first);
                format!("({from} AND {})", self.test(comparand, "<", end))
            }
            Operator::NotEq => {
                let below = self.test(comparand, "<", first);
                format!("({below} OR {})", self.test(comparand, ">=", end))
            }
            _ => return None,
        })
    }

    fn coarse(
        &mut self,
        comparand: &Comparand,
        op: Operator,
        equal: Option<&ColumnData<'static>>,
        from: Option<&ColumnData<'static>>,
        upto: Option<&ColumnData<'static>>,
    ) -> Option<Predicate> {
        Predicate::superset(match (op, equal) {
            (Operator::Eq, Some(equal)) => self.test(comparand, "=", equal),
            (Operator::Eq, None) => {
                let from = self.test(comparand, ">=", from?);
                format!("({from} AND {})", self.test(comparand, "<=", upto?))
            }
            (Operator::Gt | Operator::GtEq, _) => self.test(comparand, ">=", from?),
            (Operator::Lt | Operator::LtEq, _) => self.test(comparand, "<=", upto?),
            _ => return None,
        })
    }

    /// A list is filled up with its last value to a power of two, so that lists of many lengths are one text.
    fn list(&mut self, list: &InList) -> Option<Predicate> {
        if list.list.is_empty() || list.list.len() > MAX_PARAMETERS {
            return None;
        }
        let literals = list.list.iter().map(literal).collect::<Option<Vec<_>>>()?;
        let mut comparand = comparand(self.column(&list.expr)?, &literals, false)?;
        let mut operands = std::mem::take(&mut comparand.operands);
        let last = operands.last()?.clone();
        operands.resize(operands.len().next_power_of_two(), last);
        let equal = operands.iter().map(equal).collect::<Option<Vec<_>>>();
        let Predicate { sql, exact } = match equal {
            Some(values) => self.among(&comparand, values),
            None => self.any_equal(&comparand, &operands)?,
        };
        match (list.negated, exact) {
            (false, exact) => Some(Predicate { sql, exact }),
            (true, true) => Predicate::exact(format!("NOT {sql}")),
            (true, false) => None,
        }
    }

    fn among(
        &mut self,
        comparand: &Comparand,
        values: Vec<(&ColumnData<'static>, bool)>,
    ) -> Predicate {
        let exact = values.iter().all(|(_, exact)| *exact);
        let parameters: Vec<String> = values
            .into_iter()
            .map(|(value, _)| self.bind_as(value, comparand))
            .collect();
        let (column, parameters) = (&comparand.column, parameters.join(", "));
        let sql = format!("{column} IN ({parameters})");
        Predicate { sql, exact }
    }

    fn any_equal(&mut self, comparand: &Comparand, operands: &[Operand]) -> Option<Predicate> {
        let parts = operands
            .iter()
            .map(|operand| self.operation(comparand, operand, Operator::Eq))
            .collect::<Option<Vec<_>>>()?;
        Some(any(&parts))
    }
}

/// The one value that is equal to an operand, if there is one, and whether it alone is.
fn equal(operand: &Operand) -> Option<(&ColumnData<'static>, bool)> {
    match operand {
        Operand::Exact { value, .. } => Some((value, true)),
        Operand::Superset { equal, .. } => equal.as_ref().map(|value| (value, false)),
        Operand::Span(..) | Operand::Gap(..) => None,
    }
}

fn any(parts: &[Predicate]) -> Predicate {
    Predicate {
        sql: joined(parts, " OR "),
        exact: parts.iter().all(|part| part.exact),
    }
}

fn is_bit(flag: &str, value: bool) -> String {
    format!("{flag} = CAST({} AS bit)", i32::from(value))
}

/// The operands of a chain of one operator, without recursion: a long list of alternatives is nested as deeply.
fn flattened(filter: &Expr, operator: Operator) -> Vec<&Expr> {
    let mut operands = Vec::new();
    let mut stack = vec![filter];
    while let Some(expr) = stack.pop() {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == operator => {
                stack.extend([right.as_ref(), left.as_ref()]);
            }
            _ => operands.push(expr),
        }
    }
    operands
}

fn joined(parts: &[Predicate], operator: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(|part| part.sql.as_str()).collect();
    format!("({})", parts.join(operator))
}

/// The value of a literal that is not NULL.
fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn sign(op: Operator) -> Option<&'static str> {
    match op {
        Operator::Eq => Some("="),
        Operator::NotEq => Some("<>"),
        Operator::Lt => Some("<"),
        Operator::LtEq => Some("<="),
        Operator::Gt => Some(">"),
        Operator::GtEq => Some(">="),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
