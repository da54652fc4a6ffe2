//! What a plan means in T-SQL where DataFusion would have it mean something else: values are grouped, sorted
//! and looked up by what T-SQL compares of them, and where a CASE or a UNION has several types, all are converted to
//! the one that they have in common.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::logical_expr::expr::{Case, InSubquery, WindowFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Projection,
    Sort, Subquery, Union, WindowFrameUnits, col,
};

use super::aggregates::aggregate;
use super::comparison::{Form, common, forms};
use super::functions::{COMPARABLE, external};
use super::keys::{Clause, is_folded, key as key_of, type_of};
use super::operators::{call, common_collation, converted, in_form};
use crate::simulator::protocol::{Collation, ServerError, SqlType};
use crate::simulator::types::sql_type_of;

const EQUAL: &str = "equal to";

/// The plan with T-SQL's meaning.
pub(super) fn in_sql_server(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let plan = expressions(plan.recompute_schema()?)?;
        let plan = match plan {
            LogicalPlan::Sort(sort) => sorted(sort)?,
            LogicalPlan::Aggregate(aggregate) => grouped(aggregate, Clause::GroupBy)?,
            LogicalPlan::Distinct(Distinct::All(input)) => distinct(input)?,
            LogicalPlan::Window(_) => windows(plan)?,
            LogicalPlan::Union(union) => united(union)?,
            LogicalPlan::Join(join) => joined(join)?,
            other => other,
        };
        Ok(Transformed::yes(plan))
    })
    .map(|plan| plan.data)
}

/// Joins on columns as `=` compares them.
fn joined(mut join: Join) -> Result<LogicalPlan> {
    for (left, right) in &mut join.on {
        let types = (
            type_of(left, join.left.schema())?,
            type_of(right, join.right.schema())?,
        );
        let (Some(one), Some(other)) = types else {
            continue;
        };
        let forms = forms(one, other, EQUAL).map_err(external)?;
        let fields = (
            left.to_field(join.left.schema())?.1,
            right.to_field(join.right.schema())?.1,
        );
        let collation = common_text_collation(forms, &fields.0, &fields.1)?;
        *left = in_form(left, forms.0, collation)?;
        *right = in_form(right, forms.1, collation)?;
    }
    Ok(LogicalPlan::Join(join))
}

/// The collation in which two operands of `=` are compared that are texts.
fn common_text_collation(
    forms: (Form, Form),
    left: &Field,
    right: &Field,
) -> Result<Option<Collation>> {
    let texts = forms.0.is_text();
    texts
        .then(|| common_collation(left, right, EQUAL))
        .transpose()
}

fn sorted(mut sort: Sort) -> Result<LogicalPlan> {
    for key in &mut sort.expr {
        key.expr = key_of(key.expr.clone(), sort.input.schema(), Clause::OrderBy)?;
    }
    Ok(LogicalPlan::Sort(sort))
}

/// Groups values by what is compared of them; a group shows the first of its values.
fn grouped(group: Aggregate, clause: Clause) -> Result<LogicalPlan> {
    let schema = Arc::clone(group.input.schema());
    let mut folded = Vec::new();
    for expr in &group.group_expr {
        if let Expr::GroupingSet(sets) = expr {
            for expr in sets.distinct_expr() {
                if is_folded(expr, &schema, clause)? {
                    return Err(external(ServerError::unsupported(
                        "GROUPING SETS, ROLLUP and CUBE over texts, bytes and datetimeoffset",
                    )));
                }
            }
            return Ok(LogicalPlan::Aggregate(group));
        }
        folded.push(is_folded(expr, &schema, clause)?);
    }
    if !folded.contains(&true) {
        return Ok(LogicalPlan::Aggregate(group));
    }
    let Some(least) = aggregate("min") else {
        return Ok(LogicalPlan::Aggregate(group));
    };
    let mut keys = Vec::new();
    let mut values = group.aggr_expr.clone();
    let mut shown = Vec::new();
    let groups = group.group_expr.len();
    for (at, ((qualifier, field), folded)) in group.schema.iter().zip(&folded).enumerate() {
        let expr = group.group_expr[at].clone();
        if *folded {
            let (key, value) = (format!("__key_{at}"), format!("__value_{at}"));
            keys.push(call(COMPARABLE, vec![expr.clone()])?.alias(key));
            values.push(least.call(vec![expr]).alias(value.clone()));
            shown.push(named(col(value), qualifier, field.name()));
        } else {
            keys.push(expr);
            shown.push(Expr::Column(Column::new(qualifier.cloned(), field.name())));
        }
    }
    for (qualifier, field) in group.schema.iter().skip(groups) {
        shown.push(Expr::Column(Column::new(qualifier.cloned(), field.name())));
    }
    let grouped = Aggregate::try_new(group.input, keys, values)?;
    let input = Arc::new(LogicalPlan::Aggregate(grouped));
    Projection::try_new(shown, input).map(LogicalPlan::Projection)
}

fn named(expr: Expr, qualifier: Option<&TableReference>, name: &str) -> Expr {
    match qualifier {
        Some(qualifier) => expr.alias_qualified(Some(qualifier.clone()), name),
        None => expr.alias(name),
    }
}

fn distinct(input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = input
        .schema()
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect();
    let clause = match input.as_ref() {
        LogicalPlan::Union(_) => Clause::SetOperation,
        _ => Clause::Distinct,
    };
    let mut folded = false;
    for column in &columns {
        folded |= is_folded(column, input.schema(), clause)?;
    }
    if !folded {
        return Ok(LogicalPlan::Distinct(Distinct::All(input)));
    }
    grouped(Aggregate::try_new(input, columns, Vec::new())?, clause)
}

fn windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Window(mut window) = plan else {
        return Ok(plan);
    };
    let schema = Arc::clone(window.input.schema());
    for expr in &mut window.window_expr {
        let name = expr.schema_name().to_string();
        if let Expr::WindowFunction(function) = expr
            && window_function(function, &schema)?
        {
            *expr = expr.clone().alias(name);
        }
    }
    Ok(LogicalPlan::Window(window))
}

/// Window functions to which a frame makes no difference.
const FRAMELESS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
];

/// Whether something has changed.
fn window_function(function: &mut WindowFunction, schema: &DFSchema) -> Result<bool> {
    let mut changed = false;
    let units = &mut function.params.window_frame.units;
    if FRAMELESS.contains(&function.fun.name()) && *units != WindowFrameUnits::Rows {
        // A range of bytes is none to DataFusion. The frame is a part of the column's name.
        *units = WindowFrameUnits::Rows;
        changed = true;
    }
    let sorts = function.params.order_by.iter_mut().map(|key| &mut key.expr);
    for expr in sorts.chain(&mut function.params.partition_by) {
        if is_folded(expr, schema, Clause::OrderBy)? {
            *expr = call(COMPARABLE, vec![expr.clone()])?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The type that some types have in common, if some must be converted to it explicitly.
fn highest(types: &[Option<SqlType>]) -> Option<SqlType> {
    let known = || types.iter().flatten().copied();
    let first = known().next()?;
    let alike = known().all(|t| t == first)
        || known().all(|t| t.is_text())
        || known().all(|t| t.is_binary());
    (!alike).then(|| known().fold(first, common))
}

fn raised(expr: Expr, of: Option<SqlType>, to: SqlType) -> Result<Expr> {
    match of {
        Some(of) if of != to => converted(&expr, to),
        _ => Ok(expr),
    }
}

/// Converts the columns of a UNION's branches to the highest type of each.
fn united(union: Union) -> Result<LogicalPlan> {
    let width = union.schema.fields().len();
    let mut wanted = Vec::new();
    for at in 0..width {
        let types: Vec<Option<SqlType>> = union
            .inputs
            .iter()
            .map(|input| {
                let field = input.schema().field(at);
                let known = *field.data_type() != datafusion::arrow::datatypes::DataType::Null;
                known.then(|| sql_type_of(field))
            })
            .collect();
        wanted.push(highest(&types));
    }
    if wanted.iter().all(Option::is_none) {
        return Ok(LogicalPlan::Union(union));
    }
    let mut inputs = Vec::new();
    for input in union.inputs {
        let mut columns = Vec::new();
        for ((qualifier, field), wanted) in input.schema().iter().zip(&wanted) {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            columns.push(match wanted {
                Some(to) => {
                    let of = type_of(&column, input.schema())?;
                    named(raised(column, of, *to)?, qualifier, field.name())
                }
                None => column,
            });
        }
        inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(
            columns, input,
        )?)));
    }
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
}

/// Expressions within a node of the plan.
fn expressions(plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = match &plan {
        LogicalPlan::TableScan(_) => return Ok(plan),
        plan => merge_schema(&plan.inputs()),
    };
    let names = matches!(
        plan,
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)
    );
    let mapped = plan.map_expressions(|expr| {
        let before = match &expr {
            Expr::Column(_) | Expr::Literal(..) => return Ok(Transformed::no(expr)),
            expr => expr.schema_name().to_string(),
        };
        let new = expr.transform_up(|expr| expression(expr, &schema))?;
        Ok(new.update_data(|expr| match expr {
            Expr::Alias(_) => expr,
            expr if !names => expr,
            expr if expr.schema_name().to_string() == before => expr,
            expr => expr.alias(before),
        }))
    })?;
    if mapped.transformed {
        return mapped.data.recompute_schema();
    }
    Ok(mapped.data)
}

fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Case(case) => choice(case, schema),
        Expr::ScalarFunction(mut function) if function.func.name() == "coalesce" => {
            let types = function
                .args
                .iter()
                .map(|argument| type_of(argument, schema))
                .collect::<Result<Vec<_>>>()?;
            let Some(to) = highest(&types) else {
                return Ok(Transformed::no(Expr::ScalarFunction(function)));
            };
            for (argument, of) in function.args.iter_mut().zip(types) {
                *argument = raised(argument.clone(), of, to)?;
            }
            Ok(Transformed::yes(Expr::ScalarFunction(function)))
        }
        Expr::AggregateFunction(mut function)
            if function.params.distinct && function.func.name() == "count" =>
        {
            let mut folded = false;
            for argument in &mut function.params.args {
                if is_folded(argument, schema, Clause::Count)? {
                    *argument = call(COMPARABLE, vec![argument.clone()])?;
                    folded = true;
                }
            }
            let function = Expr::AggregateFunction(function);
            Ok(if folded {
                Transformed::yes(function)
            } else {
                Transformed::no(function)
            })
        }
        Expr::AggregateFunction(mut function) if !function.params.order_by.is_empty() => {
            for key in &mut function.params.order_by {
                key.expr = key_of(key.expr.clone(), schema, Clause::OrderBy)?;
            }
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        Expr::InSubquery(within) => looked_up(within, schema),
        other => Ok(Transformed::no(other)),
    }
}

fn choice(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let results = case.when_then_expr.iter().map(|(_, result)| result);
    let types = results
        .chain(&case.else_expr)
        .map(|result| type_of(result, schema))
        .collect::<Result<Vec<_>>>()?;
    let Some(to) = highest(&types) else {
        return Ok(Transformed::no(Expr::Case(case)));
    };
    let results = case
        .when_then_expr
        .iter_mut()
        .map(|(_, result)| result)
        .chain(&mut case.else_expr);
    for (result, of) in results.zip(types) {
        **result = raised(result.as_ref().clone(), of, to)?;
    }
    Ok(Transformed::yes(Expr::Case(case)))
}

/// `x IN (SELECT …)` as `=` compares.
fn looked_up(within: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let plan = &within.subquery.subquery;
    let (qualifier, field) = plan.schema().qualified_field(0);
    let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let types = (
        type_of(&within.expr, schema)?,
        type_of(&column, plan.schema())?,
    );
    let (Some(one), Some(other)) = types else {
        return Ok(Transformed::no(Expr::InSubquery(within)));
    };
    let forms = forms(one, other, EQUAL).map_err(external)?;
    if forms == (Form::AsIs, Form::AsIs) {
        return Ok(Transformed::no(Expr::InSubquery(within)));
    }
    let collation = common_text_collation(
        forms,
        &within.expr.to_field(schema)?.1,
        &column.to_field(plan.schema())?.1,
    )?;
    let inner = in_form(&column, forms.1, collation)?.alias("__value");
    let plan = LogicalPlanBuilder::from(plan.as_ref().clone())
        .project(vec![inner])?
        .build()?;
    Ok(Transformed::yes(Expr::InSubquery(InSubquery {
        expr: Box::new(in_form(&within.expr, forms.0, collation)?),
        subquery: Subquery {
            subquery: Arc::new(plan),
            ..within.subquery
        },
        negated: within.negated,
    })))
}
