//! The values that a flow assigns, against the types of the columns that take them.

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoClause};
use datafusion::logical_expr::{
    DmlStatement, Expr, ExprSchemable, LogicalPlan, Volatility, WriteOp,
};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use super::schema::{same_type, type_name};
use crate::change::is_change_column;
use crate::error::Error;
use crate::sql::{MergeStatement, Statement};

/// Refuses a value that its column would store as another one without a word, as `DECIMAL(10, 2)` does with 1.2345.
///
/// A value that is written as a CAST to the column's type is meant so, and a literal is judged by itself. What fails
/// when it does not fit, as a whole number that is too great, is left to fail.
pub(super) fn check_values(
    statement: &Statement,
    merge: &MergeStatement,
    plan: &LogicalPlan,
) -> Result<(), Error> {
    let LogicalPlan::Dml(write) = plan else {
        return Ok(());
    };
    match first_loss(write).map_err(|error| Error::from_datafusion(error, Some(statement)))? {
        None => Ok(()),
        Some(loss) => Err(Error::invalid(statement.diagnostic(
            merge.target_span,
            format!(
                "column '{}' is {} and would not hold what it is given, {} of type {}",
                loss.column,
                type_name(&loss.stored),
                loss.value,
                type_name(&loss.given)
            ),
            Some(format!(
                "write CAST(… AS {}) where that is meant, or make it a column of the value's type in a table at an empty \
                 LOCATION",
                type_name(&loss.stored)
            )),
        ))),
    }
}

/// A value, and a column that would store another.
struct Loss {
    column: String,
    stored: DataType,
    value: Expr,
    given: DataType,
}

fn first_loss(write: &DmlStatement) -> DataFusionResult<Option<Loss>> {
    let WriteOp::MergeInto(merge) = &write.op else {
        return Ok(None);
    };
    let target = write.target.schema();
    let both = both_sides(write)?;
    for clause in &merge.clauses {
        for (column, value) in assigned(clause, &target) {
            let stored = target.field_with_name(column)?.data_type();
            if let Some((value, given)) = lost(value, stored, &both)? {
                return Ok(Some(Loss {
                    column: column.to_string(),
                    stored: stored.clone(),
                    value,
                    given,
                }));
            }
        }
    }
    Ok(None)
}

/// The columns of a MERGE's target and of its source.
pub(super) fn both_sides(write: &DmlStatement) -> DataFusionResult<DFSchema> {
    let target = write.target.schema();
    DFSchema::try_from_qualified_schema(write.table_name.clone(), &target)?
        .join(write.input.schema())
}

/// The columns of `target` that a clause gives values, and these.
pub(super) fn assigned<'a>(
    clause: &'a MergeIntoClause,
    target: &'a Schema,
) -> Vec<(&'a str, &'a Expr)> {
    match &clause.action {
        MergeIntoAction::Update(assignments) => assignments
            .iter()
            .map(|(column, value)| (column.as_str(), value))
            .collect(),
        MergeIntoAction::Insert { columns, values } if columns.is_empty() => {
            let names = target.fields().iter().map(|field| field.name().as_str());
            names.zip(values).collect()
        }
        MergeIntoAction::Insert { columns, values } => {
            columns.iter().map(String::as_str).zip(values).collect()
        }
        MergeIntoAction::Delete => Vec::new(),
    }
}

/// What a value depends on besides the row.
pub(super) fn unsteady(value: &Expr) -> DataFusionResult<Option<String>> {
    let mut found = None;
    value.apply(|part| {
        found = match part {
            Expr::Column(column) if is_change_column(&column.name) => {
                Some(format!("has the change's {}", column.name))
            }
            Expr::ScalarFunction(call)
                if call.func.signature().volatility != Volatility::Immutable =>
            {
                Some(format!("has the answer of {}() then", call.func.name()))
            }
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => {
                Some("has the answer of a query then".to_string())
            }
            _ => None,
        };
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// The part of `value` that a column of type `stored` would not hold, and its type.
fn lost(
    value: &Expr,
    stored: &DataType,
    schema: &DFSchema,
) -> DataFusionResult<Option<(Expr, DataType)>> {
    match value {
        Expr::Alias(alias) => lost(&alias.expr, stored, schema),
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter().map(|(_, then)| then);
            for branch in thens.chain(&case.else_expr) {
                if let Some(found) = lost(branch, stored, schema)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        Expr::Literal(literal, _) if is_held(literal, stored) => Ok(None),
        value => {
            let coerced = value
                .clone()
                .rewrite(&mut TypeCoercionRewriter::new(schema))?
                .data;
            let given = coerced.get_type(schema)?;
            Ok(loses(&given, stored).then(|| (value.clone(), given)))
        }
    }
}

/// True when `literal` comes back from a column of type `stored` as it was.
fn is_held(literal: &ScalarValue, stored: &DataType) -> bool {
    let given = literal.data_type();
    let Ok(kept) = literal.cast_to(stored) else {
        return false;
    };
    is_text(&given) && stored.is_temporal()
        || kept.cast_to(&given).is_ok_and(|back| back == *literal)
}

/// True when a value of type `given` may become another one in a column of type `stored`, and nothing would say so.
fn loses(given: &DataType, stored: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Float32, Float64, Null, Timestamp};
    match (given, stored) {
        (Null, _) => false,
        (given, stored) if same_type(given, stored) => false,
        (given, stored) if is_text(stored) => given.is_binary() || given.is_nested(),
        (Boolean, stored) => !stored.is_integer(),
        (given, Boolean) => !is_text(given),
        (given, stored) if is_text(given) => !stored.is_integer(),
        (given, stored) if given.is_integer() && stored.is_integer() => false,
        (given, Decimal128(..)) if given.is_integer() => false,
        (given, Float32) if given.is_integer() => bits(given) > 16,
        (given, Float64) if given.is_integer() => bits(given) > 32,
        (Float32, Float64) => false,
        (Decimal128(_, given), Decimal128(_, stored)) => stored < given,
        (Decimal128(_, scale), stored) if stored.is_integer() => *scale > 0,
        // So many digits come back from the nearest binary fraction.
        (Decimal128(digits, _), Float32) => *digits > 6,
        (Decimal128(digits, _), Float64) => *digits > 15,
        (Date32, Timestamp(_, zone)) => zone.is_some(),
        // No Delta type is finer than microseconds.
        (Timestamp(_, given), Timestamp(unit, stored)) => {
            given.is_some() != stored.is_some() || *unit < TimeUnit::Microsecond
        }
        _ => true,
    }
}

fn bits(integer: &DataType) -> usize {
    integer.primitive_width().unwrap_or_default() * 8
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::{Boolean, Date32, Decimal128, Float32, Float64, Int16, Int32, Int64, Utf8};

    #[test]
    fn a_type_that_holds_every_value_or_refuses_those_it_does_not_loses_none() {
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let instant = |zone: &str| DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
        for (given, stored) in [
            (Int16, Int64),
            (Int64, Int32),
            (Int32, Decimal128(10, 0)),
            (Int32, Float64),
            (Float32, Float64),
            (Decimal128(10, 2), Decimal128(12, 4)),
            (Decimal128(22, 2), Decimal128(10, 2)),
            (Decimal128(9, 0), Int32),
            (Boolean, Int32),
            (Date32, local.clone()),
            (instant("+00:00"), instant("UTC")),
            (Int32, Utf8),
            (Utf8, DataType::LargeUtf8),
        ] {
            assert!(!loses(&given, &stored), "{given} in {stored}");
        }
        for (given, stored) in [
            (Decimal128(10, 4), Decimal128(10, 2)),
            (Decimal128(10, 2), Int64),
            (Float64, Int32),
            (Float64, Float32),
            (Float64, Decimal128(38, 18)),
            (Int64, Float64),
            (local.clone(), Date32),
            (local.clone(), instant("UTC")),
            (instant("UTC"), local),
            (Int32, Boolean),
            (Utf8, Decimal128(10, 2)),
        ] {
            assert!(loses(&given, &stored), "{given} in {stored}");
        }
    }

    #[test]
    fn a_literal_is_judged_by_its_value() {
        let two = Decimal128(10, 2);
        assert!(is_held(&ScalarValue::from(1.5_f64), &two));
        assert!(!is_held(&ScalarValue::from(1.2345_f64), &two));
        assert!(is_held(&ScalarValue::from(2_i64), &Int32));
        assert!(is_held(&ScalarValue::from(2.0_f64), &Int32));
        assert!(!is_held(&ScalarValue::from(2.9_f64), &Int32));
        assert!(is_held(&ScalarValue::from("2024-05-06"), &Date32));
        assert!(!is_held(&ScalarValue::from("May"), &Date32));
    }
}
