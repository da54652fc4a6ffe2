//! The versions that begin, end or change in a window, as a table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, NullEquality, Result, ScalarValue, TableReference, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{
    Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableType, cast, lit,
};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::columns::instant;
use super::{Shape, VersionsExec};
use crate::change::{COMMIT_TIMESTAMP, COMMIT_VERSION, END_AT, Lsn, PRESENT, START_AT};
use crate::sink::delta::{joined_by_hash, joined_within_memory};

/// The name under which the MERGE finds the versions.
pub(super) const VERSIONS: &str = "__cdcql_versions";

/// Where the images begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Begun {
    /// The LSN past which they are; those of that LSN say what was there then.
    pub(in super::super) after: Lsn,
    /// Its time, in microseconds since 1970-01-01T00:00:00 UTC.
    pub(in super::super) micros: i64,
    /// A time before those of all images, where there are columns of instants; `None` where there are no images.
    pub(in super::super) earliest: Option<i64>,
    /// Whether the images say of every row what was there then: what they do not name was not there.
    pub(in super::super) is_copy: bool,
}

/// A table of versions in a [`Shape`]: those that are to be written over the ones with the same key and `__START_AT`, or
/// added where there is none.
#[derive(Debug)]
pub(in super::super) struct Versions {
    /// The images, with whether their rows are the target's, and the commit's version and timestamp.
    pub(in super::super) events: LogicalPlan,
    /// The versions that there are; `None` where there is none.
    pub(in super::super) target: Option<Arc<dyn TableProvider>>,
    pub(in super::super) shape: Arc<Shape>,
    pub(in super::super) begun: Begun,
    /// Whether the images need not fit in memory.
    pub(in super::super) is_spilled: bool,
}

#[async_trait]
impl TableProvider for Versions {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return plan_err!("versions are planned by a SessionState");
        };
        let state = match self.is_spilled {
            true => joined_within_memory(state),
            false => joined_by_hash(state, &self.key_types()),
        };
        let input = state.create_physical_plan(&self.plan()?).await?;
        let versions = VersionsExec::new(input, Arc::clone(&self.shape), self.begun);
        let versions: Arc<dyn ExecutionPlan> = Arc::new(versions);
        let Some(projection) = projection else {
            return Ok(versions);
        };
        let columns = projection.iter().map(|place| {
            let name = self.shape.schema.field(*place).name();
            ProjectionExpr::new(Arc::new(PhysicalColumn::new(name, *place)), name.clone())
        });
        let columns: Vec<_> = columns.collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, versions)?))
    }
}

const EVENT: &str = "event";
const PRIOR: &str = "prior";
const FLOOR: &str = "floor";

/// The column of what a side has in the place `place`.
fn place_of(side: &str, place: usize) -> Column {
    Column::new(Some(TableReference::bare(side)), place.to_string())
}

fn own(side: &str, name: &str) -> Column {
    Column::new(Some(TableReference::bare(side)), name)
}

impl Versions {
    fn key_types(&self) -> Vec<DataType> {
        let fields = self
            .shape
            .keys
            .iter()
            .map(|place| self.shape.schema.field(*place));
        fields.map(|field| field.data_type().clone()).collect()
    }

    /// The rows that [`super::Folding`] reads.
    fn plan(&self) -> Result<LogicalPlan> {
        let events = self.events()?;
        let Some(target) = &self.target else {
            return events.project(self.rows(false)?)?.build();
        };
        let join = match self.begun.is_copy {
            true => JoinType::Full,
            false => JoinType::Left,
        };
        let keys = |side| -> Vec<Column> {
            let keys = self.shape.keys.iter();
            keys.map(|place| place_of(side, *place)).collect()
        };
        let on = (keys(EVENT), keys(PRIOR));
        let prior = self.prior(target)?;
        let events = match self.floor(target)? {
            Some(floor) => {
                let on = (keys(EVENT), keys(FLOOR));
                let (join, nulls) = (JoinType::Left, NullEquality::NullEqualsNull);
                events.join_detailed(floor, join, on, None, nulls)?
            }
            None => events,
        };
        events
            .join_detailed(prior, join, on, None, NullEquality::NullEqualsNull)?
            .project(self.rows(true)?)?
            .build()
    }

    /// The images, in the target's types.
    fn events(&self) -> Result<LogicalPlanBuilder> {
        let schema = self.events.schema();
        let mut columns = Vec::with_capacity(self.shape.written + 3);
        for (place, field) in self.shape.own_fields() {
            let (qualifier, _) = schema.qualified_field(place);
            let column = Column::new(qualifier.cloned(), schema.field(place).name());
            let value = cast(Expr::Column(column), field.data_type().clone());
            columns.push(value.alias(place.to_string()));
        }
        columns.push(bare(schema, PRESENT)?);
        columns.push(cast(bare(schema, COMMIT_VERSION)?, DataType::Utf8).alias(COMMIT_VERSION));
        columns.push(cast(bare(schema, COMMIT_TIMESTAMP)?, instant()).alias(COMMIT_TIMESTAMP));
        LogicalPlanBuilder::from(self.events.clone())
            .project(columns)?
            .alias(EVENT)
    }

    /// The versions that were valid where the images begin.
    fn prior(&self, target: &Arc<dyn TableProvider>) -> Result<LogicalPlan> {
        let after = || lit(self.begun.after.to_hex());
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let ends = column(END_AT).is_null().or(column(END_AT).gt(after()));
        // A copy may not be older than what it goes over, which is found where all of that is read.
        let valid = match self.begun.is_copy {
            true => ends,
            false => ends.and(column(START_AT).lt_eq(after())),
        };
        let fields = self.shape.own_fields();
        let mut columns: Vec<Expr> = fields
            .map(|(place, field)| column(field.name()).alias(place.to_string()))
            .collect();
        columns.push(cast(column(START_AT), DataType::Utf8).alias(START_AT));
        if self.shape.has_period {
            let from = self.shape.schema.field(self.shape.written + 2).name();
            columns.push(cast(column(from), instant()).alias("from"));
        }
        let source = provider_as_source(Arc::clone(target));
        LogicalPlanBuilder::scan(PRIOR, source, None)?
            .filter(valid)?
            .project(columns)?
            .alias(PRIOR)?
            .build()
    }

    /// The keys with versions that ended at a time to which an image of the window may go back, and the last such time.
    fn floor(&self, target: &Arc<dyn TableProvider>) -> Result<Option<LogicalPlan>> {
        let Some(earliest) = self.begun.earliest.filter(|_| self.shape.has_period) else {
            return Ok(None);
        };
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let to = column(self.shape.schema.field(self.shape.written + 3).name());
        let to = cast(to, instant());
        let earliest = ScalarValue::TimestampMicrosecond(Some(earliest), Some("UTC".into()));
        let ended = column(END_AT).lt_eq(lit(self.begun.after.to_hex()));
        let keys = self.shape.keys.iter().map(|place| {
            let name = self.shape.schema.field(*place).name();
            column(name).alias(place.to_string())
        });
        let source = provider_as_source(Arc::clone(target));
        let floor = LogicalPlanBuilder::scan(FLOOR, source, None)?
            .filter(ended.and(to.clone().gt(lit(earliest))))?
            .aggregate(keys, [max(to).alias(FLOOR)])?
            .alias(FLOOR)?;
        floor.build().map(Some)
    }

    /// The columns of rows, of images with a version where there is `prior`.
    fn rows(&self, prior: bool) -> Result<Vec<Expr>> {
        let side = |side, place| Expr::Column(place_of(side, place));
        let key = |place: &usize| match prior && self.begun.is_copy {
            true => coalesce(vec![side(EVENT, *place), side(PRIOR, *place)]),
            false => side(EVENT, *place),
        };
        let keys = self.shape.keys.iter().enumerate();
        let mut rows: Vec<Expr> = keys
            .map(|(n, place)| key(place).alias(format!("key {n}")))
            .collect();
        let event = |name: &str| Expr::Column(own(EVENT, name)).alias(format!("event {name}"));
        rows.extend([COMMIT_VERSION, PRESENT, COMMIT_TIMESTAMP].map(event));
        for place in 0..self.shape.written {
            rows.push(side(EVENT, place).alias(format!("event {place}")));
        }
        let null = |data_type: &DataType| {
            Ok::<_, datafusion::error::DataFusionError>(lit(ScalarValue::try_from(data_type)?))
        };
        for (place, field) in self.shape.own_fields() {
            let value = match prior {
                true => side(PRIOR, place),
                false => null(field.data_type())?,
            };
            rows.push(value.alias(format!("prior {place}")));
        }
        let start = match prior {
            true => Expr::Column(own(PRIOR, START_AT)),
            false => null(&DataType::Utf8)?,
        };
        let from = match prior && self.shape.has_period {
            true => Expr::Column(own(PRIOR, "from")),
            false => null(&instant())?,
        };
        let has_floor = prior && self.shape.has_period && self.begun.earliest.is_some();
        let floor = match has_floor {
            true => Expr::Column(own(FLOOR, FLOOR)),
            false => null(&instant())?,
        };
        rows.extend([
            start.alias("prior start"),
            from.alias("prior from"),
            floor.alias("floor"),
        ]);
        Ok(rows)
    }
}

/// The column `name` of a plan, whatever table it is of.
fn bare(schema: &datafusion::common::DFSchemaRef, name: &str) -> Result<Expr> {
    let (qualifier, field) = schema.qualified_field_with_unqualified_name(name)?;
    Ok(Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(name))
}
