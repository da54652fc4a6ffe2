//! Computed columns. Their values are stored with the rows, whether PERSISTED or not.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::concat;

use super::ddl::ColumnSpec;
use super::definitions::column;
use super::lexer::{Kind, tokens};
use super::parse::parse;
use super::planner::TARGET;
use super::query::{RowStream, run};
use super::scope::Scope;
use super::tables::Scan;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{ColumnDef, Table, arrow_schema, internal};
use crate::simulator::types::{Mode, convert_array};

/// Gives the computed ones among declared columns the types of their expressions. `existing` are the columns
/// that the table has already.
pub(crate) async fn resolve(
    specs: &mut [ColumnSpec],
    existing: &[ColumnDef],
    scope: &Arc<Scope>,
) -> Result<(), ServerError> {
    if specs.iter().all(|spec| spec.computed.is_none()) {
        return Ok(());
    }
    let declared = specs.iter().filter(|spec| spec.computed.is_none());
    let mut columns: Vec<ColumnDef> = existing
        .iter()
        .filter(|column| column.computed.is_none())
        .cloned()
        .collect();
    let state = scope.current()?;
    for (id, spec) in (1..).zip(declared) {
        columns.push(column(id, spec, &state)?);
    }
    for spec in specs {
        if let Some(computed) = &spec.computed {
            let nothing = Scan::of(arrow_schema(&columns), Vec::new());
            let rows = select(&computed.expression, nothing, scope).await?;
            spec.sql_type = rows.columns()[0].sql_type;
        }
    }
    Ok(())
}

async fn select(
    expression: &str,
    rows: Scan,
    scope: &Arc<Scope>,
) -> Result<RowStream, ServerError> {
    let text = format!("SELECT {expression} AS computed FROM {TARGET}");
    let (statement, spelling) = parse(&tokens(&text)?)?;
    Box::pin(run(statement, spelling, scope, Some(rows))).await
}

/// The rows with the values of their computed columns.
pub(super) async fn fill(
    table: &Table,
    rows: RecordBatch,
    scope: &Arc<Scope>,
) -> Result<RecordBatch, ServerError> {
    let mut columns = rows.columns().to_vec();
    for (at, column) in table.columns.iter().enumerate() {
        let Some(computed) = &column.computed else {
            continue;
        };
        let scan = Scan::of(rows.schema(), vec![rows.clone()]);
        let mut values = select(&computed.expression, scan, scope).await?;
        let from = values.columns()[0].typed();
        let mut found: Vec<ArrayRef> = Vec::new();
        while let Some(some) = values.next().await? {
            found.push(Arc::clone(some.column(0)));
        }
        let found: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
        if !found.is_empty() {
            let array = concat(&found).map_err(internal)?;
            columns[at] = convert_array(&array, from, column.typed(), 0, Mode::Assign)?;
        }
    }
    RecordBatch::try_new(rows.schema(), columns).map_err(internal)
}

/// Error 271: a computed column takes no value.
pub(super) fn no_value(column: &ColumnDef) -> ServerError {
    ServerError::new(
        271,
        format!(
            "The column \"{}\" cannot be modified because it is either a computed column or is the result of a UNION operator.",
            column.name
        ),
    )
}

/// The computed column whose expression names another column.
pub(super) fn dependent<'a>(table: &'a Table, name: &str) -> Option<&'a ColumnDef> {
    let lower = name.to_lowercase();
    table.columns.iter().find(|column| {
        let computed = column.computed.as_ref();
        let words = computed.and_then(|computed| tokens(&computed.expression).ok());
        words
            .unwrap_or_default()
            .iter()
            .any(|token| match &token.kind {
                Kind::Word(word) | Kind::Quoted(word) => word.to_lowercase() == lower,
                _ => false,
            })
    })
}
