//! The part of a table that is copied again: the rows for which a condition holds.
//!
//! The changes since the target's checkpoint are put over the target whole, so that rows outside of the part are what they
//! would be without the copy. Inside of it, the source's rows go over the target's. A row that the target has there and
//! the copy lacks may still be in the source, with values by which the condition does not hold any more: it is looked up by
//! its key, and deleted only if it is not there.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, internal_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, SetExpr};
use futures::StreamExt;

use super::flow::Flow;
use super::keyed::rows_by_keys;
use super::reconcile::{Keys, field, gone};
use super::schema::same_type;
use super::values::unsteady;
use crate::change::LsnRange;
use crate::engine::{Engine, Overlay};
use crate::error::Error;
use crate::source::sqlserver::{LargeValues, TableChunks};
use crate::sql::{SourceText, Statement, StatementKind, parse};

/// Where a condition stands that was given with the command.
const PLACE: &str = "--where";
/// What stands before it where it is parsed.
const QUERY: &str = "SELECT * FROM source WHERE ";
const ROWS: &str = "source";

/// A part of a flow's table, and of its target.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The condition as it was written.
    pub(super) text: String,
    /// The condition over the captured columns, by their names.
    source: Expr,
    /// The same over the columns of the target that have their values.
    target: Expr,
    /// The columns that it reads, as places among the captured ones.
    pub(super) columns: BTreeSet<usize>,
}

impl Part {
    /// # Errors
    /// `Invalid` for anything but a condition over the flow's source columns that the target's rows can be asked too.
    pub(super) async fn parse(engine: &Engine, flow: &Flow, text: &str) -> Result<Self, Error> {
        let (statement, query) = written(text)?;
        let not_of = match (&flow.history, flow.merge.reads_stream_alone()) {
            (Some(_), _) => Some("keeps the history of its rows, over which a part cannot go"),
            (None, false) => Some("reads a query, whose columns need not be the source's"),
            (None, true) => None,
        };
        if let Some(why) = not_of {
            let (message, help) = (format!("the flow {why}"), "leave --where out".to_string());
            let refused = statement.diagnostic(statement.span, message, Some(help));
            return Err(Error::invalid(refused));
        }
        let condition = planned(engine, flow, &statement, query).await?;
        let refused = |message: String, help: &str| {
            let diagnostic = statement.diagnostic(statement.span, message, Some(help.to_string()));
            Err(Error::invalid(diagnostic))
        };
        if let Some(why) = unsteady(&condition)? {
            let message =
                format!("the condition {why}, which is not the same for source and target");
            return refused(message, "write a condition over the source's columns alone");
        }
        let (mut columns, mut names) = (BTreeSet::new(), Vec::new());
        for column in condition.column_refs() {
            let mut captured = flow.table.columns().iter();
            let Some(place) = captured.position(|known| known.name() == column.name) else {
                return Err(Error::Internal(
                    "a condition over a column that is not captured",
                ));
            };
            if flow.table.columns()[place].source_name().is_none() {
                let message = format!("the source has lost the column '{}'", column.name);
                return refused(message, "write a condition over columns that it has");
            }
            let Some(own) = kept_in(flow, &column.name) else {
                let message = format!(
                    "no column of the target always has the source's '{}' as it is, so that the rows to replace cannot be told",
                    column.name
                );
                return refused(
                    message,
                    "write a condition over columns that the flow assigns as they are",
                );
            };
            columns.insert(place);
            names.push((column.name.clone(), own));
        }
        let named = |name: &str| {
            let mut names = names.iter();
            names
                .find(|(source, _)| source == name)
                .map(|(_, own)| own.as_str())
        };
        Ok(Self {
            text: text.to_string(),
            source: renamed(&condition, &|name| Some(name.to_string()))?,
            target: renamed(&condition, &|name| named(name).map(str::to_string))?,
            columns,
        })
    }

    /// The source's side: chunks that have the part's rows, and maybe others.
    pub(super) async fn chunks(
        &self,
        engine: &Engine,
        flow: &Flow,
        chunks: TableChunks,
    ) -> Result<(TableChunks, PartFilter), Error> {
        if let Some(reason) = chunks.may_miss() {
            let message = format!("--where cannot tell what the source's table lacks: {reason}");
            let help = "give the login all rows, or leave --where out";
            return Err(Error::invalid(flow.statement.diagnostic(
                flow.merge.target_span,
                message,
                Some(help.to_string()),
            )));
        }
        let state = engine.state();
        let schema = chunks.schema();
        let filter = state.create_physical_expr(
            self.source.clone(),
            &DFSchema::try_from(Arc::clone(&schema))?,
        )?;
        let condition = optimized(&state, &schema, &self.source)?;
        Ok((
            chunks.only(&flow.table, &condition).await?,
            PartFilter { filter },
        ))
    }

    /// The target's rows in it.
    pub(super) fn of(&self, target: &Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let plan = LogicalPlanBuilder::scan(ROWS, provider_as_source(Arc::clone(target)), None)?;
        let plan = plan.filter(self.target.clone())?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

/// Leaves out what the server could not.
#[derive(Debug, Clone)]
pub(super) struct PartFilter {
    filter: Arc<dyn PhysicalExpr>,
}

impl PartFilter {
    pub(super) fn applied(&self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let (schema, filter) = (rows.schema(), Arc::clone(&self.filter));
        let rows = rows.map(move |batch| {
            let batch = batch?;
            let holds = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
            Ok(filter_record_batch(&batch, as_boolean_array(&holds)?)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// The rows of the source that the target has in the part, and `copied` lacks; the source has them with other values.
pub(super) async fn rows_outside(
    engine: &Engine,
    (chunks, keys): (Arc<TableChunks>, &Keys),
    (target, copied): (Arc<dyn TableProvider>, Arc<dyn TableProvider>),
) -> Result<SendableRecordBatchStream, Error> {
    let lacking = gone(keys, &target, &copied)?.build()?;
    let names = keys.iter().map(|(_, other)| other.clone()).collect();
    rows_by_keys(engine, chunks, (names, lacking)).await
}

/// The condition in a query of its own.
fn written(text: &str) -> Result<(Statement, Box<ast::Query>), Error> {
    let text = SourceText {
        name: PLACE.to_string(),
        text: format!("{QUERY}{text}"),
    };
    let statements = parse(&text).map_err(|diagnostics| Error::Invalid {
        diagnostics,
        more: 0,
    })?;
    let is_one = statements.len() == 1;
    let Some(statement) = statements.into_iter().next() else {
        return Err(Error::Internal("a condition was parsed into no statement"));
    };
    let query = match &statement.kind {
        StatementKind::Other(parsed) => match parsed.as_ref() {
            DfStatement::Statement(inner) => match inner.as_ref() {
                ast::Statement::Query(query) => Some(query.clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let condition = query.as_ref().and_then(|query| match query.body.as_ref() {
        SetExpr::Select(select) => select.selection.as_ref(),
        _ => None,
    });
    let alone = condition.map(|condition| format!("{QUERY}{condition}"));
    match query {
        // Nothing else stands there.
        Some(query) if is_one && alone == Some(query.to_string()) => Ok((statement, query)),
        _ => Err(Error::invalid(
            statement.diagnostic(
                statement.span,
                "--where takes one condition, and nothing behind it",
                Some(
                    "write a condition over the source's columns, such as \"region = 'EU'\""
                        .to_string(),
                ),
            ),
        )),
    }
}

/// The condition, planned over the flow's stream.
async fn planned(
    engine: &Engine,
    flow: &Flow,
    statement: &Statement,
    mut query: Box<ast::Query>,
) -> Result<Expr, Error> {
    if let SetExpr::Select(select) = query.body.as_mut() {
        for table in &mut select.from {
            table.relation = flow.merge.ast.source.clone();
        }
    }
    let (window, form) = (LsnRange::default(), LargeValues::ReadBack);
    let stream = flow.database.net_changes(&flow.table, window, form).await?;
    let overlay = Overlay::default().with(&flow.stream, stream);
    let query = DfStatement::Statement(Box::new(ast::Statement::Query(query)));
    let kind = StatementKind::Other(Box::new(query));
    let (_, plan) = engine.plan(statement, kind, overlay).await?;
    let mut condition = None;
    if let LogicalPlan::Projection(rows) = &plan
        && let LogicalPlan::Filter(filter) = rows.input.as_ref()
    {
        condition = Some(filter.predicate.clone());
    }
    condition.ok_or(Error::Internal("a condition was planned as no filter"))
}

/// The column of the flow's target that always has the source's column as it is.
fn kept_in(flow: &Flow, name: &str) -> Option<String> {
    let own = flow.merge.column_that_keeps(name)?;
    let own = flow.target_schema.field(field(&flow.target_schema, &own)?);
    let captured = flow.table.schema_ref();
    let source = captured.field(field(&captured, name)?);
    same_type(own.data_type(), source.data_type()).then(|| own.name().clone())
}

/// `condition` over other columns.
fn renamed(condition: &Expr, name: &dyn Fn(&str) -> Option<String>) -> Result<Expr> {
    let renamed = condition.clone().transform(|part| match &part {
        Expr::Column(column) => match name(&column.name) {
            Some(name) => Ok(Transformed::yes(Expr::Column(Column::from_name(name)))),
            None => internal_err!("a condition over a column that nothing keeps"),
        },
        _ => Ok(Transformed::no(part)),
    });
    renamed.map(|renamed| renamed.data)
}

/// `condition` with its values in the types of the columns, as the server is told it.
fn optimized(state: &SessionState, schema: &SchemaRef, condition: &Expr) -> Result<Expr> {
    let rows = provider_as_source(Arc::new(EmptyTable::new(Arc::clone(schema))));
    let plan = LogicalPlanBuilder::scan(ROWS, rows, None)?;
    let plan = state.optimize(&plan.filter(condition.clone())?.build()?)?;
    let mut found = None;
    plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            found = Some(filter.predicate.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let condition = found.unwrap_or_else(|| condition.clone());
    renamed(&condition, &|name| Some(name.to_string()))
}
