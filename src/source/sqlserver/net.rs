//! Net changes: at most one row per key, its last image in the window.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullEquality, ScalarValue, internal_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, lit,
};
use datafusion::physical_plan::ExecutionPlan;

use crate::change::LsnRange;

use super::captured::{CapturedColumn, CapturedTable};
use super::changes::{Changes, FIRST_POSITION, POSITION};
use super::error::SourceError;
use super::key::require_key;
use super::large::{KEPT, LargeValues, MISSING, known, marked};
use super::last_images::{ImageColumns, LastImagesExec};
use super::pool::Pool;
use super::read_back::ReadBack;

type PlanResult = Result<LogicalPlan, DataFusionError>;

/// The name of images in a plan.
const IMAGES: &str = "images";

/// The net changes of a window, as a table.
///
/// Below it, images are sorted by key and position, which spills under the session's memory limit. Unused columns are
/// never read from the server, and of filters only those on the key pass below.
#[derive(Debug)]
pub(super) struct NetChanges {
    pool: Pool,
    table: Arc<CapturedTable>,
    window: LsnRange,
    form: LargeValues,
    base: Option<Base>,
    pick: Pick,
    schema: SchemaRef,
}

/// Which images of a key its rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The last one of the window.
    Last,
    /// The last one of each commit.
    LastOfCommits,
    /// The first one of the window, those before an update among them.
    First,
}

/// Rows as they were before the images of their keys, from which comes what those do not tell.
#[derive(Debug)]
pub(super) struct Base {
    /// Rows under the captured names, keys and large columns among them.
    pub(super) rows: LogicalPlan,
    /// The columns that the rows have.
    pub(super) schema: SchemaRef,
    /// Whether no row lacks.
    pub(super) is_whole: bool,
}

/// A table of the net changes of a window, with large values in `form`.
pub(super) fn net_changes(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    window: LsnRange,
    form: LargeValues,
) -> Result<NetChanges, SourceError> {
    require_key(table)?;
    Ok(NetChanges {
        schema: net_schema(table, form),
        pool: pool.clone(),
        table: Arc::clone(table),
        window,
        form,
        base: None,
        pick: Pick::Last,
    })
}

/// The schema of net changes: that of the feed, with large columns in `form` and marked.
pub(super) fn net_schema(table: &CapturedTable, form: LargeValues) -> SchemaRef {
    let fields = table.schema.fields().iter().enumerate();
    let fields = fields.map(|(index, field)| {
        let column = table.columns.get(index);
        if column.is_some_and(CapturedColumn::is_large) {
            marked(Field::new(field.name(), form.form(field.data_type()), true))
        } else {
            field.as_ref().clone()
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn plan_error(table: &CapturedTable, source: DataFusionError) -> SourceError {
    SourceError::Plan {
        table: table.name.clone(),
        source: Box::new(source),
    }
}

/// The images of the window below everything that follows.
fn images(pool: &Pool, table: &Arc<CapturedTable>, window: LsnRange) -> PlanResult {
    scan_of(Changes::net(pool.clone(), Arc::clone(table), window))
}

fn scan_of(changes: Changes) -> PlanResult {
    LogicalPlanBuilder::scan(IMAGES, provider_as_source(Arc::new(changes)), None)?.build()
}

impl NetChanges {
    /// These net changes over `base`.
    pub(super) fn over(mut self, base: Base) -> Self {
        self.base = Some(base);
        self
    }

    /// These rows, of other images than the last of their keys. They have no large values.
    pub(super) fn picking(mut self, pick: Pick) -> Self {
        self.pick = pick;
        self
    }

    fn is_large(&self, index: usize) -> bool {
        let column = self.table.columns.get(index);
        column.is_some_and(CapturedColumn::is_large)
    }

    fn is_key(&self, name: &str) -> bool {
        self.table.key_names().contains(&name)
    }

    /// The images with the columns `read` of the feed, then their position.
    fn plan(&self, read: &[usize], filters: &[Expr]) -> PlanResult {
        let images = match self.pick {
            Pick::Last | Pick::LastOfCommits => images(&self.pool, &self.table, self.window),
            Pick::First => {
                let (pool, table) = (self.pool.clone(), Arc::clone(&self.table));
                scan_of(Changes::numbered(pool, table, self.window))
            }
        }?;
        let columns = |plan: &LogicalPlan| {
            let names = read.iter().map(|index| self.name(*index));
            let columns = names.map(|name| column_of(plan, name).alias(name));
            let position = match self.pick {
                Pick::Last | Pick::LastOfCommits => column_of(plan, POSITION),
                Pick::First => lit(u64::MAX) - column_of(plan, POSITION),
            };
            let position = position.alias(POSITION);
            columns.chain([position]).collect::<Vec<_>>()
        };
        let mut plan = LogicalPlanBuilder::from(images.clone()).project(columns(&images))?;
        if let Some(base) = &self.base
            && read.iter().any(|index| self.is_large(*index))
        {
            let rows = base.rows.clone();
            let join = JoinType::RightSemi;
            let rows = by_changed_keys(&self.pool, &self.table, self.window, rows, join)?;
            let row = read
                .iter()
                .map(|index| self.base_column(&rows, base, *index));
            let mut row = row.collect::<Result<Vec<_>, DataFusionError>>()?;
            row.push(lit(FIRST_POSITION - 1).alias(POSITION));
            plan = plan.union(LogicalPlanBuilder::from(rows).project(row)?.build()?)?;
        }
        for filter in filters {
            plan = plan.filter(unqualified(filter)?)?;
        }
        plan.build()
    }

    fn name(&self, index: usize) -> &str {
        self.schema.field(index).name()
    }

    /// A column of a row that was there before the images. But for keys and large values nobody looks at it: each such
    /// row has an image after it.
    fn base_column(
        &self,
        rows: &LogicalPlan,
        base: &Base,
        index: usize,
    ) -> Result<Expr, DataFusionError> {
        let field = self.table.schema.field(index);
        let name = field.name();
        let value = if self.is_large(index) {
            base.schema.field_with_name(name)?;
            known(column_of(rows, name))
        } else if self.is_key(name) {
            column_of(rows, name)
        } else if field.is_nullable() {
            lit(ScalarValue::try_from(field.data_type())?)
        } else {
            lit(ScalarValue::new_default(field.data_type())?)
        };
        Ok(value.alias(name))
    }

    /// The places of `read` columns and what is `wanted` of them; positions are last.
    fn places(&self, read: &[usize], wanted: &[usize]) -> ImageColumns {
        let place = |index: &usize| read.iter().position(|other| other == index);
        let large = (0..read.len()).filter(|place| self.is_large(read[*place]));
        let version = self.table.columns.len() + 1;
        let commit = (self.pick == Pick::LastOfCommits).then_some(version);
        ImageColumns {
            commit: commit.as_ref().and_then(place),
            keys: self.table.key.iter().filter_map(place).collect(),
            position: read.len(),
            change_type: place(&self.table.columns.len()),
            large: large.collect(),
            // A target that is copied again whole has what was before the base.
            untold: match &self.base {
                Some(base) if base.is_whole => MISSING,
                _ => KEPT,
            },
            wanted: wanted.iter().filter_map(place).collect(),
        }
    }

    /// A first copy has what its snapshot has.
    fn check(&self, wanted: &[usize]) -> Result<(), DataFusionError> {
        let Some(base) = &self.base else {
            return Ok(());
        };
        let captured = wanted
            .iter()
            .filter(|index| **index < self.table.columns.len());
        let mut names = captured.map(|index| self.name(*index));
        match names.find(|name| base.schema.index_of(name).is_err()) {
            Some(name) => internal_err!("column {name} was not read from {}", self.table.name),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl TableProvider for NetChanges {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let passes = |filter: &&Expr| {
            let on_key = |column: &&Column| self.is_key(column.name());
            if filter.column_refs().iter().all(on_key) && !filter.is_volatile() {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(passes).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return plan_err!("net changes are planned by a SessionState");
        };
        let all = || (0..self.schema.fields().len()).collect();
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(all);
        self.check(&wanted)?;
        let large: Vec<usize> = wanted
            .iter()
            .copied()
            .filter(|index| self.is_large(*index))
            .collect();
        if self.pick != Pick::Last && !large.is_empty() {
            return internal_err!("large values of {} in a history", self.table.name);
        }
        let mut read = wanted.clone();
        let captured = self.table.columns.len();
        let kind = (!large.is_empty()).then_some(captured);
        let version = (self.pick == Pick::LastOfCommits).then_some(captured + 1);
        for index in self.table.key.iter().copied().chain(kind).chain(version) {
            if !read.contains(&index) {
                read.push(index);
            }
        }
        let images = state
            .create_physical_plan(&self.plan(&read, filters)?)
            .await?;
        let schema = Arc::new(self.schema.project(&wanted)?);
        let places = self.places(&read, &wanted);
        let read_back = (self.form.reads_back() && !large.is_empty()).then(|| {
            let (pool, table) = (self.pool.clone(), Arc::clone(&self.table));
            Arc::new(ReadBack::new(pool, table, self.window.upto(), large))
        });
        let last = LastImagesExec::new(images, places, self.form, read_back, schema);
        Ok(Arc::new(last))
    }
}

/// A filter without the name of the table that it was written for.
fn unqualified(filter: &Expr) -> Result<Expr, DataFusionError> {
    let bare = filter.clone().transform(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::from_name(
            column.name,
        )))),
        expr => Ok(Transformed::no(expr)),
    });
    bare.map(|bare| bare.data)
}

/// Those `rows` whose key has a change in the window, under `JoinType::RightSemi`, or has none, under
/// `JoinType::RightAnti`.
///
/// The changed keys are the left side, which a hash join builds: memory grows with the window's keys, not
/// with the table. NULL equals NULL, as in a unique index.
pub(super) fn by_changed_keys(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    window: LsnRange,
    rows: LogicalPlan,
    join: JoinType,
) -> PlanResult {
    let names = table.key_names();
    let changed = LogicalPlanBuilder::from(keys_of_images(pool, table, window)?)
        .distinct()?
        .build()?;
    let columns_of = |plan: &LogicalPlan| {
        names
            .iter()
            .map(|name| plan_column(plan, name))
            .collect::<Vec<_>>()
    };
    let on = (columns_of(&changed), columns_of(&rows));
    LogicalPlanBuilder::from(changed)
        .join_detailed(rows, join, on, None, NullEquality::NullEqualsNull)?
        .build()
}

/// The key of each image of the window.
pub(super) fn keys_of_images(
    pool: &Pool,
    table: &Arc<CapturedTable>,
    window: LsnRange,
) -> PlanResult {
    let images = images(pool, table, window)?;
    let names = table.key_names();
    let keys = names.iter().map(|name| column_of(&images, name));
    let keys = keys.collect::<Vec<_>>();
    LogicalPlanBuilder::from(images).project(keys)?.build()
}

fn column_of(plan: &LogicalPlan, name: &str) -> Expr {
    Expr::Column(plan_column(plan, name))
}

/// The plan's column of exactly this name, with its qualifier.
fn plan_column(plan: &LogicalPlan, name: &str) -> Column {
    let found = plan
        .schema()
        .iter()
        .find(|(_, field)| field.name() == name)
        .map(|(qualifier, _)| qualifier.cloned());
    Column::new(found.flatten(), name)
}

#[cfg(test)]
pub(super) mod tests {
    use datafusion::catalog::TableProvider;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::source::sqlserver::ConnectionConfig;
    use crate::source::sqlserver::captured::tests::customers;

    /// A pool of a server that no test reaches.
    pub(in crate::source::sqlserver) fn unreached() -> Pool {
        Pool::new(ConnectionConfig::from_url("sqlserver://u:p@127.0.0.1:1/d").unwrap())
    }

    pub(in crate::source::sqlserver) fn window() -> LsnRange {
        LsnRange::new("0:30:0".parse().unwrap(), "0:40:0".parse().unwrap()).unwrap()
    }

    /// The physical plan of `sql` over a table `net`.
    pub(in crate::source::sqlserver) async fn plan_of(
        table: Arc<dyn TableProvider>,
        sql: &str,
    ) -> Result<String, DataFusionError> {
        let context = SessionContext::new();
        context.register_table("net", table)?;
        let plan = context.sql(sql).await?.create_physical_plan().await?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    async fn plan(sql: &str) -> Result<String, DataFusionError> {
        let form = LargeValues::Kept { read_back: true };
        let net = net_changes(&unreached(), &Arc::new(customers()), window(), form).unwrap();
        plan_of(Arc::new(net), sql).await
    }

    #[tokio::test]
    async fn only_what_is_used_is_read() {
        let plan = plan("SELECT id, _change_type FROM net").await.unwrap();
        assert!(
            plan.contains("columns=[id, _change_type, __$position]"),
            "{plan}"
        );
    }

    #[tokio::test]
    async fn a_filter_below_the_ranking_is_on_the_key() {
        let plan = plan("SELECT id FROM net WHERE name = 'x' AND id > 3")
            .await
            .unwrap();
        let lines = plan.lines().collect::<Vec<_>>();
        let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
        let last = at("LastImagesExec");
        assert!(at("name@1 = x") < last, "{plan}");
        assert!(at("FilterExec: id@0 > 3") > last, "{plan}");
    }

    #[tokio::test]
    async fn images_are_sorted_by_key_and_position_within_their_keys() {
        let plan = plan("SELECT id, name FROM net").await.unwrap();
        let lines = plan.lines().map(str::trim).collect::<Vec<_>>();
        assert_eq!(lines[0], "LastImagesExec: keys=[id]");
        let order = "[id@0 ASC, __$position@2 ASC]";
        assert!(
            lines[1].starts_with("SortExec") && lines[1].contains(order),
            "{plan}"
        );
    }

    #[tokio::test]
    async fn large_columns_are_followed_only_when_used() {
        let without = plan("SELECT id, name FROM net").await.unwrap();
        assert!(!without.contains("c.[__$update_mask], c.[id]"), "{without}");
        let with = plan("SELECT id, notes FROM net").await.unwrap();
        assert!(with.contains("large=[notes], read back"), "{with}");
        assert!(with.contains("c.[__$update_mask], c.[id]"), "{with}");
    }

    #[test]
    fn a_table_without_key_has_no_net_changes() {
        let mut table = customers();
        table.key.clear();
        let form = LargeValues::ReadBack;
        let error = net_changes(&unreached(), &Arc::new(table), window(), form).unwrap_err();
        assert!(matches!(error, SourceError::NoUniqueKey { .. }));
    }
}
