//! SELECT: planned, run, and its rows in the forms of the wire.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;

use super::failure::failure;
use super::functions::unless_interrupted;
use super::guarded;
use super::lexer::Token;
use super::normal::Spelling;
use super::parse::parse;
use super::planner::{plan, session};
use super::rewrite::{GivenNames, rewrite};
use super::scope::Scope;
use super::semantics::in_sql_server;
use super::tables::Scan;
use crate::simulator::protocol::{Column, ServerError};
use crate::simulator::store::internal;
use crate::simulator::types::{collation_of, field_name, is_identity, sql_type_of, to_form};

/// Rows on their way.
pub(crate) struct RowStream {
    columns: Arc<[Column]>,
    schema: Arc<Schema>,
    batches: SendableRecordBatchStream,
    spelling: Spelling,
}

impl RowStream {
    /// The columns.
    pub(crate) fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The next rows, in the Arrow forms of the columns' types.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, ServerError> {
        match self.batches.next().await {
            None => Ok(None),
            Some(Ok(batch)) => self.in_form(&batch).map(Some),
            Some(Err(error)) => Err(failure(&error, &self.spelling)),
        }
    }

    fn in_form(&self, batch: &RecordBatch) -> Result<RecordBatch, ServerError> {
        let arrays = self
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| to_form(array, column.sql_type))
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(internal)
    }
}

/// Runs a query's tokens.
pub(crate) async fn query(tokens: &[Token], scope: &Arc<Scope>) -> Result<RowStream, ServerError> {
    let (statement, spelling) = parse(tokens)?;
    run(statement, spelling, scope, None).await
}

/// Runs a parsed query; `target` is what the planner's target name stands for.
pub(super) async fn run(
    mut statement: Statement,
    spelling: Spelling,
    scope: &Arc<Scope>,
    target: Option<Scan>,
) -> Result<RowStream, ServerError> {
    let names = rewrite(&mut statement, scope)?;
    let plan = plan(scope, statement, &spelling, target)?;
    guarded::check(&plan).map_err(|error| failure(&error, &spelling))?;
    let plan = in_sql_server(plan).map_err(|error| failure(&error, &spelling))?;
    if !matches!(
        plan,
        LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Statement(_)
    ) {
        let columns = columns(plan.schema(), &names, &spelling);
        let batches = start(&plan, &spelling).await?;
        return Ok(RowStream {
            schema: wire_schema(&columns),
            columns: columns.into(),
            batches,
            spelling,
        });
    }
    Err(ServerError::unsupported("this statement"))
}

/// Subqueries within each other that the optimizer may have as they are: what it does with them takes twice
/// as long for each level.
const DEEP: usize = 3;

/// How many subqueries there are within each other.
fn depth(plan: &LogicalPlan) -> datafusion::error::Result<usize> {
    let mut deepest = 0;
    plan.apply(|node| {
        node.apply_subqueries(|subquery| {
            deepest = deepest.max(1 + depth(subquery)?);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(deepest)
}

/// The plan with its subqueries made joins, from the innermost to the outermost.
fn joined(state: &SessionState, plan: &LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
    let options = state.config_options();
    let analyzed = state
        .analyzer()
        .execute_and_check(plan.clone(), options, |_, _| {})?;
    let rule = DecorrelatePredicateSubquery::new();
    let context = OptimizerContext::new();
    let joined = analyzed.transform_up_with_subqueries(|plan| match plan {
        plan @ LogicalPlan::Filter(_) => rule.rewrite(plan, &context),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(joined.data)
}

/// The plan of a query that can be interrupted: joins, which make many rows out of few, yield after some,
/// and their filters ask whether they shall go on.
async fn interruptible(
    state: &SessionState,
    plan: &LogicalPlan,
) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    let optimized = if depth(plan)? > DEEP {
        state.optimize(&joined(state, plan)?)?
    } else {
        state.optimize(plan)?
    };
    let checked = optimized.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(mut join) => {
            join.filter = join.filter.map(unless_interrupted);
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let physical = state
        .query_planner()
        .create_physical_plan(&checked.data, state)
        .await?;
    let yielding = physical.transform_up(|plan| {
        if plan.children().len() < 2 {
            return Ok(Transformed::no(plan));
        }
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CooperativeExec::new(plan));
        Ok(Transformed::yes(plan))
    })?;
    Ok(yielding.data)
}

async fn start(
    plan: &LogicalPlan,
    spelling: &Spelling,
) -> Result<SendableRecordBatchStream, ServerError> {
    let state = session();
    let physical = Box::pin(interruptible(state, plan))
        .await
        .map_err(|error| failure(&error, spelling))?;
    let context = Arc::new(TaskContext::from(state));
    execute_stream(physical, context).map_err(|error| failure(&error, spelling))
}

fn columns(schema: &DFSchema, names: &GivenNames, spelling: &Spelling) -> Vec<Column> {
    schema
        .fields()
        .iter()
        .map(|field| Column {
            name: column_name(field, names, spelling),
            sql_type: sql_type_of(field),
            collation: collation_of(field),
            nullable: field.is_nullable(),
            identity: is_identity(field),
        })
        .collect()
}

/// The name that the client sees: the alias as written, else the column's as declared, else none.
fn column_name(field: &Field, names: &GivenNames, spelling: &Spelling) -> String {
    let name = field.name().as_str();
    let (name, given) = match names.get(name) {
        Some(shown) => (shown.as_str(), true),
        None => (name, false),
    };
    if let Some(alias) = spelling.alias(name) {
        return alias.to_owned();
    }
    match field_name(field) {
        Some(declared) if !given => declared.to_owned(),
        _ => spelling.of(name),
    }
}

fn wire_schema(columns: &[Column]) -> Arc<Schema> {
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|c| Field::new(&c.name, c.sql_type.arrow_form(), true))
            .collect::<Vec<_>>(),
    ))
}
