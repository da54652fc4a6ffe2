//! INSERT.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use datafusion::sql::sqlparser::ast::{Insert, Query, SetExpr, Statement};

use super::target::{default_of, is_default, select, spelled};
use super::{Effect, assigned, batch, check_nulls};
use crate::simulator::protocol::{Column, ServerError, SqlType};
use crate::simulator::store::{Identity, Table};
use crate::simulator::tsql::computed::{fill, no_value};
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::normal::Spelling;
use crate::simulator::tsql::query::run;
use crate::simulator::tsql::rewrite::is_mixed;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{Mode, Typed, Value, array_of, convert_array, values_of};

pub(super) async fn effect(
    insert: Insert,
    name: &ObjectName,
    spelling: Spelling,
    scope: &Arc<Scope>,
    explicit_identity: Option<i32>,
) -> Result<Effect, ServerError> {
    if insert.output.is_some() {
        return Err(ServerError::unsupported("OUTPUT"));
    }
    let table = scope.table(name)?;
    let database = name.database().unwrap_or(scope.database()).to_owned();
    let explicit = explicit_identity == Some(table.object_id);
    let columns = columns(&insert, &table, &spelling, explicit)?;
    if !scope.collation().ignores_case() && !insert.columns.is_empty() {
        let declared = columns.iter().map(|at| table.columns[*at].name.clone());
        spelling.is_exact(&declared.collect::<Vec<_>>())?;
    }
    let mut plan = Plan {
        identity: table.identity().filter(|at| !columns.contains(at)),
        database,
        columns,
        table,
        defaults: Vec::new(),
    };
    plan.evaluate_defaults(scope).await?;
    let rows = match insert.source {
        Some(query) => plan.rows_of(query, spelling, scope).await?,
        None => vec![plan.row_of_defaults()?],
    };
    let (mut rows, identity) = plan.number(rows)?;
    for batch in rows.iter_mut().flatten() {
        *batch = fill(&plan.table, batch.clone(), scope).await?;
    }
    Ok(Effect::Insert {
        object_id: plan.table.object_id,
        rows,
        identity,
    })
}

/// Positions of the columns that the statement gives values for.
fn columns(
    insert: &Insert,
    table: &Table,
    spelling: &Spelling,
    explicit: bool,
) -> Result<Vec<usize>, ServerError> {
    let identity = table.identity();
    if insert.source.is_none() {
        return Ok(Vec::new());
    }
    if insert.columns.is_empty() {
        let all = 0..table.columns.len();
        let given = |at: &usize| Some(*at) != identity && table.columns[*at].computed.is_none();
        return Ok(all.filter(given).collect());
    }
    let mut seen = HashSet::new();
    let mut columns = Vec::new();
    for name in &insert.columns {
        let name = spelled(name, spelling);
        let at = table
            .column(name.object())
            .ok_or_else(|| ServerError::invalid_column(name.object()))?;
        if table.columns[at].computed.is_some() {
            return Err(no_value(&table.columns[at]));
        }
        if !seen.insert(at) {
            return Err(ServerError::new(
                264,
                format!(
                    "The column name '{}' is specified more than once in the SET clause or column list of an INSERT. A column cannot be assigned more than one value in the same clause. Modify the clause to make sure that a column is updated only once. If this statement updates or inserts columns into a view, column aliasing can conceal the duplication in your code.",
                    name.object()
                ),
            ));
        }
        columns.push(at);
    }
    match identity {
        Some(at) if columns.contains(&at) && !explicit => {
            Err(ServerError::explicit_identity(&table.name))
        }
        Some(at) if explicit && !columns.contains(&at) => Err(ServerError::new(
            545,
            format!(
                "Explicit value must be specified for identity column in table '{}' either when IDENTITY_INSERT is set to ON or when a replication user is inserting into a NOT FOR REPLICATION identity column.",
                table.name
            ),
        )),
        _ => Ok(columns),
    }
}

struct Plan {
    table: Arc<Table>,
    database: String,
    columns: Vec<usize>,
    /// The IDENTITY column, where the table numbers it.
    identity: Option<usize>,
    /// A value of each other column that the statement leaves out, as an array of one.
    defaults: Vec<(usize, ArrayRef)>,
}

impl Plan {
    async fn evaluate_defaults(&mut self, scope: &Arc<Scope>) -> Result<(), ServerError> {
        for at in 0..self.table.columns.len() {
            let column = &self.table.columns[at];
            if self.columns.contains(&at) || self.identity == Some(at) {
                continue;
            }
            if column.sql_type == SqlType::RowVersion {
                self.defaults.push((at, no_version()?));
                continue;
            }
            if column.default.is_none() {
                let nothing = new_null_array(&column.sql_type.arrow_form(), 1);
                self.defaults.push((at, nothing));
                continue;
            }
            let item = (default_of(&self.table, at)?, "value".to_owned());
            let statement = select(vec![item], Vec::new(), None)?;
            let mut rows = run(statement, Spelling::default(), scope, None).await?;
            let from = rows.columns()[0].typed();
            if let Some(row) = rows.next().await? {
                let value = assigned(row.column(0), from, &self.table, at, &self.database)?;
                self.defaults.push((at, value));
            }
        }
        Ok(())
    }

    /// The source's rows, with the table's columns; the IDENTITY is still missing.
    async fn rows_of(
        &self,
        mut query: Box<Query>,
        spelling: Spelling,
        scope: &Arc<Scope>,
    ) -> Result<Vec<Vec<ArrayRef>>, ServerError> {
        self.replace_defaults(&mut query)?;
        let mut batches = Vec::new();
        for query in Self::queries(*query) {
            batches.extend(self.rows_of_query(query, spelling.clone(), scope).await?);
        }
        Ok(batches)
    }

    /// The source; or each of its VALUES alone, where those of a column are not all of one kind.
    fn queries(mut query: Query) -> Vec<Query> {
        let SetExpr::Values(values) = query.body.as_mut() else {
            return vec![query];
        };
        if !is_mixed(values) {
            return vec![query];
        }
        let rows = std::mem::take(&mut values.rows);
        rows.into_iter()
            .map(|row| {
                let mut alone = query.clone();
                if let SetExpr::Values(values) = alone.body.as_mut() {
                    values.rows = vec![row];
                }
                alone
            })
            .collect()
    }

    async fn rows_of_query(
        &self,
        query: Query,
        spelling: Spelling,
        scope: &Arc<Scope>,
    ) -> Result<Vec<Vec<ArrayRef>>, ServerError> {
        let values = matches!(query.body.as_ref(), SetExpr::Values(_));
        let query = Statement::Query(Box::new(query));
        let mut rows = run(query, spelling, scope, None).await?;
        let types: Vec<Typed> = rows.columns().iter().map(Column::typed).collect();
        self.check_count(types.len(), values)?;
        let mut batches = Vec::new();
        while let Some(rows) = rows.next().await? {
            batches.push(self.complete(&rows, &types)?);
        }
        Ok(batches)
    }

    fn check_count(&self, given: usize, values: bool) -> Result<(), ServerError> {
        let wanted = self.columns.len();
        if given == wanted {
            return Ok(());
        }
        let clause = if values { "VALUES" } else { "SELECT" };
        let (number, message) = match (given < wanted, values) {
            (true, true) => (109, "There are more columns in the INSERT statement than values specified in the VALUES clause. The number of values in the VALUES clause must match the number of columns specified in the INSERT statement.".to_owned()),
            (false, true) => (110, "There are fewer columns in the INSERT statement than values specified in the VALUES clause. The number of values in the VALUES clause must match the number of columns specified in the INSERT statement.".to_owned()),
            (less, false) => (if less { 120 } else { 121 }, format!("The select list for the INSERT statement contains {} items than the insert list. The number of {clause} values must match the number of INSERT columns.", if less { "fewer" } else { "more" })),
        };
        Err(ServerError::new(number, message))
    }

    /// DEFAULT among VALUES.
    fn replace_defaults(&self, query: &mut Query) -> Result<(), ServerError> {
        let SetExpr::Values(values) = query.body.as_mut() else {
            return Ok(());
        };
        for row in &mut values.rows {
            for (position, expr) in row.iter_mut().enumerate() {
                if let Some(at) = self.columns.get(position)
                    && is_default(expr)
                {
                    *expr = default_of(&self.table, *at)?;
                }
            }
        }
        Ok(())
    }

    fn complete(&self, rows: &RecordBatch, types: &[Typed]) -> Result<Vec<ArrayRef>, ServerError> {
        let mut columns = self.empty(rows.num_rows())?;
        for ((at, array), from) in self.columns.iter().zip(rows.columns()).zip(types) {
            if self.table.row_version() == Some(*at) {
                if array.null_count() < array.len() {
                    return Err(explicit_version());
                }
                let indices = UInt32Array::from(vec![0; array.len()]);
                columns[*at] = datafusion::arrow::compute::take(&no_version()?, &indices, None)
                    .map_err(crate::simulator::store::internal)?;
                continue;
            }
            columns[*at] = assigned(array, *from, &self.table, *at, &self.database)?;
        }
        Ok(columns)
    }

    fn row_of_defaults(&self) -> Result<Vec<ArrayRef>, ServerError> {
        self.empty(1)
    }

    /// Every column with its default.
    fn empty(&self, rows: usize) -> Result<Vec<ArrayRef>, ServerError> {
        let mut columns: Vec<ArrayRef> = self
            .table
            .columns
            .iter()
            .map(|column| new_null_array(&column.sql_type.arrow_form(), rows))
            .collect();
        for (at, one) in &self.defaults {
            if one.null_count() == 0 {
                let indices = UInt32Array::from(vec![0; rows]);
                columns[*at] = datafusion::arrow::compute::take(one, &indices, None)
                    .map_err(crate::simulator::store::internal)?;
            }
        }
        Ok(columns)
    }

    /// Fills the IDENTITY column in and checks for NULLs; also the next value and the last one.
    #[expect(clippy::type_complexity)]
    fn number(
        &self,
        mut rows: Vec<Vec<ArrayRef>>,
    ) -> Result<(Result<Vec<RecordBatch>, ServerError>, Option<(i64, i64)>), ServerError> {
        let mut counter = self.table.identity().and_then(|at| {
            let identity = self.table.columns[at].identity?;
            Some(Counter::new(at, identity, self.table.next_identity?))
        });
        for columns in &mut rows {
            if let Some(counter) = &mut counter {
                let sql_type = self.table.columns[counter.column].sql_type;
                if self.identity.is_some() {
                    let count = columns.first().map_or(0, |column| column.len());
                    columns[counter.column] = counter.take(count, sql_type)?;
                } else {
                    counter.pass(&columns[counter.column])?;
                }
            }
        }
        let checked = |columns: Vec<ArrayRef>| {
            check_nulls(&self.table, &columns, &self.database, "INSERT")?;
            batch(&self.table, columns)
        };
        let batches = rows.into_iter().map(checked).collect();
        let numbered = counter.and_then(|counter| Some((counter.next, counter.last?)));
        Ok((batches, numbered))
    }
}

/// What stands for a row's version until the row is written.
fn no_version() -> Result<ArrayRef, ServerError> {
    array_of(SqlType::RowVersion, [Value::Bytes(vec![0; 8])])
}

fn explicit_version() -> ServerError {
    ServerError::new(
        273,
        "Cannot insert an explicit value into a timestamp column. Use INSERT with a column list to exclude the timestamp column, or insert a DEFAULT into the timestamp column.",
    )
}

struct Counter {
    column: usize,
    identity: Identity,
    next: i64,
    last: Option<i64>,
}

impl Counter {
    fn new(column: usize, identity: Identity, next: i64) -> Self {
        Self {
            column,
            identity,
            next,
            last: None,
        }
    }

    fn take(&mut self, count: usize, sql_type: SqlType) -> Result<ArrayRef, ServerError> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(Value::Int(self.next));
            self.last = Some(self.next);
            self.next = self.next.saturating_add(self.identity.increment);
        }
        let numbers = array_of(SqlType::BigInt, values)?;
        convert_array(&numbers, SqlType::BigInt, sql_type, 0, Mode::Cast).map_err(|_| {
            ServerError::new(
                8115,
                format!(
                    "Arithmetic overflow error converting IDENTITY to data type {}.",
                    sql_type.base_name()
                ),
            )
        })
    }

    /// Moves on behind values that were given explicitly.
    fn pass(&mut self, values: &ArrayRef) -> Result<(), ServerError> {
        for value in values_of(values)? {
            let Some(value) = value.as_int() else {
                continue;
            };
            let step = self.identity.increment;
            if (step > 0) == (value >= self.next) {
                self.next = value.saturating_add(step);
            }
            self.last = Some(value);
        }
        Ok(())
    }
}
