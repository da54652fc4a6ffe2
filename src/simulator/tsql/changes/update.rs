//! UPDATE and DELETE.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::kernels::boolean::or;
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::compute::{concat, filter, filter_record_batch};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, ObjectNamePart, Update, UpdateTableFromKind,
};

use super::target::{Target, default_of, deleted, is_default, select, target};
use super::{Effect, assigned, batch, check_nulls};
use crate::simulator::protocol::{Column, ServerError};
use crate::simulator::store::{ROW_ID, Table, internal};
use crate::simulator::tsql::computed::{fill, no_value};
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::normal::Spelling;
use crate::simulator::tsql::query::run;
use crate::simulator::tsql::rewrite::ident;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::tables::Scan;
use crate::simulator::types::Typed;

pub(super) async fn update(
    update: Update,
    name: &ObjectName,
    spelling: Spelling,
    scope: &Arc<Scope>,
) -> Result<Effect, ServerError> {
    if update.output.is_some() {
        return Err(ServerError::unsupported("OUTPUT"));
    }
    let from = match update.from {
        Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) => from,
        None => Vec::new(),
    };
    let target = target(update.table, from, name, scope)?;
    let assignments = assignments(update.assignments, &target.table, &spelling)?;
    let mut items = vec![row_id()];
    let columns: Vec<usize> = assignments.iter().map(|(at, _)| *at).collect();
    items.extend(
        assignments
            .into_iter()
            .map(|(at, expr)| (expr, format!("__set_{at}"))),
    );
    let found = Found::read(items, &target, update.selection, spelling, scope).await?;
    let mut effect = found.into_update(&target, &columns)?;
    if let Effect::Update { after, .. } = &mut effect {
        *after = fill(&target.table, after.clone(), scope).await?;
    }
    Ok(effect)
}

pub(super) async fn delete(
    delete: Delete,
    name: &ObjectName,
    spelling: Spelling,
    scope: &Arc<Scope>,
) -> Result<Effect, ServerError> {
    if delete.output.is_some() {
        return Err(ServerError::unsupported("OUTPUT"));
    }
    let (named, from) = deleted(&delete)?;
    let target = target(named, from, name, scope)?;
    let found = Found::read(vec![row_id()], &target, delete.selection, spelling, scope).await?;
    Ok(Effect::Delete {
        object_id: target.table.object_id,
        ids: found.ids,
    })
}

fn row_id() -> (Expr, String) {
    (Expr::Identifier(ident(ROW_ID)), ROW_ID.to_owned())
}

fn assignments(
    assignments: Vec<Assignment>,
    table: &Table,
    spelling: &Spelling,
) -> Result<Vec<(usize, Expr)>, ServerError> {
    let mut found: Vec<(usize, Expr)> = Vec::new();
    for assignment in assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(ServerError::unsupported("assignments to several columns"));
        };
        let last = name.0.last().and_then(ObjectNamePart::as_ident);
        let name = last
            .map(|part| spelling.of(&part.value))
            .unwrap_or_default();
        let at = table
            .column(&name)
            .ok_or_else(|| ServerError::invalid_column(&name))?;
        if table.columns[at].computed.is_some() {
            return Err(no_value(&table.columns[at]));
        }
        if table.identity() == Some(at) {
            return Err(ServerError::new(
                8102,
                format!("Cannot update identity column '{name}'."),
            ));
        }
        if table.row_version() == Some(at) {
            return Err(ServerError::new(272, "Cannot update a timestamp column."));
        }
        if found.iter().any(|(other, _)| *other == at) {
            return Err(ServerError::new(
                264,
                format!(
                    "The column name '{name}' is specified more than once in the SET clause or column list of an INSERT. A column cannot be assigned more than one value in the same clause. Modify the clause to make sure that a column is updated only once. If this statement updates or inserts columns into a view, column aliasing can conceal the duplication in your code."
                ),
            ));
        }
        let value = if is_default(&assignment.value) {
            default_of(table, at)?
        } else {
            assignment.value
        };
        found.push((at, value));
    }
    Ok(found)
}

/// The rows that a statement found, each once, and the values that it computed for them.
struct Found {
    ids: Vec<u64>,
    values: Vec<(ArrayRef, Typed)>,
}

impl Found {
    async fn read(
        items: Vec<(Expr, String)>,
        target: &Target,
        selection: Option<Expr>,
        spelling: Spelling,
        scope: &Arc<Scope>,
    ) -> Result<Self, ServerError> {
        let statement = select(items, target.from.clone(), selection)?;
        let scan = Scan::with_ids(&target.table)?;
        let mut rows = run(statement, spelling, scope, Some(scan)).await?;
        let types: Vec<Typed> = rows.columns().iter().map(Column::typed).collect();
        let mut batches: Vec<RecordBatch> = Vec::new();
        while let Some(rows) = rows.next().await? {
            batches.push(rows);
        }
        let column = |at: usize| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|b| b.column(at).as_ref()).collect();
            concat(&arrays).map_err(internal)
        };
        if batches.is_empty() {
            return Ok(Self {
                ids: Vec::new(),
                values: Vec::new(),
            });
        }
        let all = to_ids(&column(0)?)?;
        let mut seen = HashSet::with_capacity(all.len());
        let first: BooleanArray = all.iter().map(|id| Some(seen.insert(*id))).collect();
        let ids = all
            .iter()
            .zip(first.values())
            .filter_map(|(id, first)| first.then_some(*id))
            .collect();
        let values = types
            .iter()
            .enumerate()
            .skip(1)
            .map(|(at, typed)| {
                let kept = filter(&column(at)?, &first).map_err(internal)?;
                Ok((kept, *typed))
            })
            .collect::<Result<Vec<_>, ServerError>>()?;
        Ok(Self { ids, values })
    }

    fn into_update(self, target: &Target, columns: &[usize]) -> Result<Effect, ServerError> {
        let table = &target.table;
        let before = table.rows.rows(&self.ids).map_err(internal)?;
        let mut after = before.columns().to_vec();
        for (at, (values, from)) in columns.iter().zip(&self.values) {
            after[*at] = assigned(values, *from, table, *at, &target.database)?;
        }
        check_nulls(table, &after, &target.database, "UPDATE")?;
        let after = batch(table, after)?;
        // Every row that was found gets a new version, whether it differs or not.
        let differs = match table.row_version() {
            Some(_) => BooleanArray::from(vec![true; self.ids.len()]),
            None => differing(&before, &after, columns)?,
        };
        let ids = filter(&UInt64Array::from(self.ids.clone()), &differs).map_err(internal)?;
        Ok(Effect::Update {
            object_id: table.object_id,
            ids: ids.as_primitive::<UInt64Type>().values().to_vec(),
            before: filter_record_batch(&before, &differs).map_err(internal)?,
            after: filter_record_batch(&after, &differs).map_err(internal)?,
            found: self.ids.len() as u64,
        })
    }
}

/// The ids come as `bigint`, the nearest type that the wire has.
fn to_ids(array: &ArrayRef) -> Result<Vec<u64>, ServerError> {
    let ids =
        datafusion::arrow::compute::cast(array, &datafusion::arrow::datatypes::DataType::UInt64)
            .map_err(internal)?;
    Ok(ids.as_primitive::<UInt64Type>().values().to_vec())
}

/// The rows in which one of some columns differs.
fn differing(
    before: &RecordBatch,
    after: &RecordBatch,
    columns: &[usize],
) -> Result<BooleanArray, ServerError> {
    let mut differs = BooleanArray::from(vec![false; before.num_rows()]);
    for at in columns {
        let column = distinct(before.column(*at), after.column(*at)).map_err(internal)?;
        differs = or(&differs, &column).map_err(internal)?;
    }
    Ok(differs)
}
