//! Moments that a column is compared with, in the column's own unit.
//!
//! DataFusion compares a timestamp with a text, a date or `now()` as nanoseconds, of which 64 bits end in the year 2262.
//! The open end of SQL Server's temporal tables is 9999-12-31, and columns have microseconds.

use std::sync::Arc;

use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, DmlStatement, Expr, ExprSchemable as _, LogicalPlan, Operator, WriteOp,
};

/// The functions that read the clock, whose answer has no precision to lose.
const CLOCK: [&str; 2] = ["now", "current_timestamp"];

/// `plan` with comparisons that need no unit but that of the column in them.
pub(super) fn in_units_of_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Dml(write) => Ok(Transformed::yes(LogicalPlan::Dml(of_write(write)?))),
        plan => {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = of_expr(expr, &schema)?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        }
    })?;
    Ok(changed.data)
}

/// A MERGE whose expressions name its target and its source.
fn of_write(write: DmlStatement) -> Result<DmlStatement> {
    let WriteOp::MergeInto(merge) = &write.op else {
        return Ok(write);
    };
    let target = write.target.schema();
    let mut schema = DFSchema::try_from_qualified_schema(write.table_name.clone(), &target)?;
    schema.merge(write.input.schema());
    let exprs = merge.exprs().into_iter().cloned();
    let exprs = exprs.map(|expr| Ok(of_expr(expr, &schema)?.data));
    let merge = merge.with_new_exprs(exprs.collect::<Result<Vec<_>>>()?)?;
    Ok(DmlStatement::new(
        write.table_name,
        write.target,
        WriteOp::MergeInto(Box::new(merge)),
        write.input,
    ))
}

fn of_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
                let (left, right) = pair(*left, *right, schema);
                let compared = BinaryExpr::new(Box::new(left), op, Box::new(right));
                Transformed::yes(Expr::BinaryExpr(compared))
            }
            Expr::Between(between) => Transformed::yes(Expr::Between(of_between(between, schema))),
            Expr::InList(list) => Transformed::yes(Expr::InList(of_list(list, schema))),
            expr => Transformed::no(expr),
        })
    })
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// Two expressions that are compared: one of them in the unit of the other, if that is so exactly.
fn pair(left: Expr, right: Expr, schema: &dyn ExprSchema) -> (Expr, Expr) {
    match (unit(&left, schema), unit(&right, schema)) {
        (Some(wanted), None) => (left, in_unit(right, &wanted, schema)),
        (None, Some(wanted)) => (in_unit(left, &wanted, schema), right),
        _ => (left, right),
    }
}

fn of_between(between: Between, schema: &dyn ExprSchema) -> Between {
    let Between {
        expr,
        negated,
        low,
        high,
    } = between;
    let wanted = unit(&expr, schema);
    let bounds = [unit(&low, schema), unit(&high, schema)];
    let (expr, low, high) = match (wanted, bounds) {
        (Some(wanted), _) => {
            let bound = |bound: Expr| match unit(&bound, schema) {
                None => in_unit(bound, &wanted, schema),
                Some(_) => bound,
            };
            (*expr, bound(*low), bound(*high))
        }
        (None, [Some(low_unit), Some(high_unit)]) if low_unit == high_unit => {
            (in_unit(*expr, &low_unit, schema), *low, *high)
        }
        _ => (*expr, *low, *high),
    };
    Between::new(Box::new(expr), negated, Box::new(low), Box::new(high))
}

fn of_list(list: InList, schema: &dyn ExprSchema) -> InList {
    let InList {
        expr,
        list,
        negated,
    } = list;
    let items = match unit(&expr, schema) {
        Some(wanted) => {
            let items = list.into_iter();
            items.map(|item| in_unit(item, &wanted, schema)).collect()
        }
        None => list,
    };
    InList::new(expr, items, negated)
}

/// The type of an expression that is a moment in a unit longer than a nanosecond, of no time zone or UTC.
fn unit(expr: &Expr, schema: &dyn ExprSchema) -> Option<DataType> {
    let found = expr.get_type(schema).ok()?;
    match &found {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => None,
        DataType::Timestamp(_, zone) if is_utc(zone.as_ref()) => Some(found),
        _ => None,
    }
}

fn is_utc(zone: Option<&Arc<str>>) -> bool {
    zone.is_none_or(|zone| matches!(zone.as_ref(), "UTC" | "+00:00" | "Z"))
}

/// `expr` as a moment of type `wanted`, if it is the same moment; else as it is.
fn in_unit(expr: Expr, wanted: &DataType, schema: &dyn ExprSchema) -> Expr {
    let exact = match &expr {
        Expr::Literal(literal, _) if is_moment(literal, wanted) => Some(expr.clone()),
        // TIMESTAMP '…' and CAST('…' AS TIMESTAMP) are nanoseconds.
        Expr::Cast(cast) => match (cast.expr.as_ref(), cast.field.data_type()) {
            (Expr::Literal(literal, _), DataType::Timestamp(TimeUnit::Nanosecond, zone))
                if is_utc(zone.as_ref()) && is_moment(literal, wanted) =>
            {
                Some(cast.expr.as_ref().clone())
            }
            _ => None,
        },
        Expr::ScalarFunction(function) if CLOCK.contains(&function.name()) => Some(expr.clone()),
        _ => None,
    };
    let is_date = || matches!(expr.get_type(schema), Ok(DataType::Date32));
    match exact {
        Some(exact) => Expr::Cast(Cast::new(Box::new(exact), wanted.clone())),
        None if is_date() => Expr::Cast(Cast::new(Box::new(expr), wanted.clone())),
        None => expr,
    }
}

/// Whether a text is a moment that the unit of `wanted` has exactly.
fn is_moment(literal: &ScalarValue, wanted: &DataType) -> bool {
    let Some(Some(text)) = literal.try_as_str() else {
        return false;
    };
    let DataType::Timestamp(unit, _) = wanted else {
        return false;
    };
    let nanoseconds = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    string_to_datetime(&chrono::Utc, text)
        .is_ok_and(|moment| moment.timestamp_subsec_nanos() % nanoseconds == 0)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        Date32Array, Int32Array, RecordBatch, TimestampMicrosecondArray,
    };
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// 9999-12-31, 2024-05-06T07:08:09.123456 and 0001-01-01, in microseconds since 1970.
    const MOMENTS: [i64; 3] = [
        253_402_214_400_000_000,
        1_714_979_289_123_456,
        -62_135_596_800_000_000,
    ];

    fn context() -> SessionContext {
        let moments = || TimestampMicrosecondArray::from(MOMENTS.to_vec());
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![1, 2, 3])) as _),
            ("at", Arc::new(moments()) as _),
            ("utc", Arc::new(moments().with_timezone("UTC")) as _),
            (
                "day",
                Arc::new(Date32Array::from(vec![2_932_896, 19_849, -719_162])) as _,
            ),
        ]);
        let context = SessionContext::new();
        context.register_batch("t", batch.unwrap()).unwrap();
        context
    }

    /// The ids, in order, that a condition is true of.
    async fn ids(condition: &str) -> Vec<String> {
        let context = context();
        let sql = format!("SELECT id FROM t WHERE {condition} ORDER BY id");
        let plan = context.state().create_logical_plan(&sql).await.unwrap();
        let plan = in_units_of_columns(plan).unwrap();
        let rows = context.execute_logical_plan(plan).await.unwrap();
        let rows = rows
            .collect()
            .await
            .unwrap_or_else(|error| panic!("{condition}: {error}"));
        let text = pretty_format_batches(&rows).unwrap().to_string();
        let numbers = text.lines().filter_map(|line| line.split(' ').nth(1));
        let numbers = numbers.filter(|number| number.parse::<i32>().is_ok());
        numbers.map(str::to_string).collect()
    }

    #[tokio::test]
    async fn the_open_end_of_a_period_is_compared() {
        for (condition, expected) in [
            ("at >= '9999-12-31'", &["1"][..]),
            ("at = DATE '9999-12-31'", &["1"]),
            ("at = '2024-05-06 07:08:09.1234560'", &["2"]),
            ("'9999-12-31' <> at", &["2", "3"]),
            ("at > TIMESTAMP '9999-12-30 23:59:59.999999'", &["1"]),
            ("at BETWEEN '2020-01-01' AND '9999-12-31'", &["1", "2"]),
            ("DATE '2024-05-06' NOT BETWEEN at AND at", &["1", "2", "3"]),
            (
                "at IN ('9999-12-31', '2024-05-06T07:08:09.123456')",
                &["1", "2"],
            ),
            ("at = day", &["1", "3"]),
            ("at > now()", &["1"]),
            ("utc > now()", &["1"]),
            ("utc > '0001-01-01'", &["1", "2"]),
            ("utc <= DATE '0001-01-01'", &["3"]),
            ("utc = '9999-12-31T01:00:00+01:00'", &["1"]),
            ("at > current_date", &["1"]),
            ("id IN (SELECT id FROM t WHERE at = '9999-12-31')", &["1"]),
            (
                "EXISTS (SELECT 1 FROM t AS u WHERE u.at = DATE '9999-12-31' AND u.id = t.id)",
                &["1"],
            ),
            (
                "CASE WHEN at = '9999-12-31' THEN true ELSE false END",
                &["1"],
            ),
        ] {
            assert_eq!(ids(condition).await, expected, "{condition}");
        }
    }

    #[tokio::test]
    async fn columns_keep_their_names() {
        let context = context();
        let sql = "SELECT at >= '9999-12-31', count(*) FROM t GROUP BY at >= '9999-12-31'";
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let before = Arc::clone(plan.schema());
        let plan = in_units_of_columns(plan).unwrap();
        assert_eq!(plan.schema(), &before);
        let rows = context.execute_logical_plan(plan).await.unwrap();
        assert_eq!(rows.count().await.unwrap(), 2);
    }
}
