//! The last image of each key, with what is known of its large values.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use datafusion::arrow::compute::{concat, interleave, partition, take_record_batch};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};

use super::large::{LargeValues, kept_array, parts};
use super::read_back::ReadBack;
use crate::change::ChangeType;

/// The columns of images by their places.
#[derive(Debug, Clone)]
pub(super) struct ImageColumns {
    /// Those of the key.
    pub(super) keys: Vec<usize>,
    /// The commit's, where each commit of a key has a row.
    pub(super) commit: Option<usize>,
    /// The one that numbers the images.
    pub(super) position: usize,
    /// The kind of change; there where large values are.
    pub(super) change_type: Option<usize>,
    /// Those of large values, in the form of images.
    pub(super) large: Vec<usize>,
    /// The state of their values where no image tells one.
    pub(super) untold: i8,
    /// Those that are wanted, in their order.
    pub(super) wanted: Vec<usize>,
}

/// From the images of each key, in their order, its last one, or the last one of each commit.
///
/// A large value that the last image does not tell is the last that is told. Memory is that of one batch and one row.
pub(super) struct LastImagesExec {
    input: Arc<dyn ExecutionPlan>,
    columns: Arc<ImageColumns>,
    form: LargeValues,
    read_back: Option<Arc<ReadBack>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LastImagesExec {
    /// `schema` is that of the wanted columns in `form`; `read_back` finds what `form` has read back.
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: ImageColumns,
        form: LargeValues,
        read_back: Option<Arc<ReadBack>>,
        schema: SchemaRef,
    ) -> Self {
        // The columns have other places in the output.
        let count = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            input,
            columns: Arc::new(columns),
            form,
            read_back,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn column(&self, place: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.input.schema().field(place).name(), place))
    }

    fn keys(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let keys = self.columns.keys.iter();
        keys.map(|place| self.column(*place)).collect()
    }
}

impl fmt::Debug for LastImagesExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastImagesExec")
            .field("columns", &self.columns)
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for LastImagesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let names = |places: &[usize]| {
            let names = places
                .iter()
                .map(|place| schema.field(*place).name().as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        write!(f, "LastImagesExec: keys=[{}]", names(&self.columns.keys))?;
        if !self.columns.large.is_empty() {
            write!(f, ", large=[{}]", names(&self.columns.large))?;
        }
        match self.read_back {
            Some(_) => f.write_str(", read back"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for LastImagesExec {
    fn name(&self) -> &'static str {
        "LastImagesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(self.keys())])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let position = self.column(self.columns.position);
        let order = self.keys().into_iter().chain([position]);
        let order = LexOrdering::new(order.map(PhysicalSortExpr::new_default));
        vec![order.map(OrderingRequirements::from)]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(
                input,
                self.columns.as_ref().clone(),
                self.form,
                self.read_back.clone(),
                Arc::clone(&self.schema),
            ))),
            _ => internal_err!("{} has one child", self.name()),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let images = self.input.execute(partition, context)?;
        let mut folding = Folding::new(Arc::clone(&self.columns));
        let rows = images
            .map(Some)
            .chain(futures::stream::iter([None]))
            .map(move |images| match images {
                Some(images) => folding.push(&images?),
                None => Ok(folding.finish()),
            });
        let (columns, schema) = (Arc::clone(&self.columns), Arc::clone(&self.schema));
        let (form, read_back) = (self.form, self.read_back.clone());
        let rows = rows
            .try_filter(|rows| std::future::ready(rows.num_rows() > 0))
            .map(move |rows| known_rows(&rows?, &columns))
            .map_ok(move |rows| ReadBack::filled(read_back.clone(), rows))
            .try_flatten()
            .map(move |rows| formed_rows(&rows?, form, &schema))
            .inspect_ok(move |rows| metrics.record_output(rows.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows.boxed(),
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Last images whose large columns say what is known of their values.
#[derive(Debug, Clone)]
pub(super) struct KnownRows {
    /// Columns of the key.
    pub(super) keys: Vec<ArrayRef>,
    /// The wanted columns, those of large values as values and states.
    pub(super) columns: Vec<ArrayRef>,
    /// Which of these are large.
    pub(super) large: Vec<usize>,
    /// How many rows there are.
    pub(super) count: usize,
}

fn known_rows(rows: &RecordBatch, columns: &ImageColumns) -> Result<KnownRows> {
    let deleted = match columns.change_type {
        Some(place) => is_delete(rows.column(place))?,
        None => BooleanArray::from(vec![false; rows.num_rows()]),
    };
    let mut large = Vec::new();
    let mut wanted = Vec::with_capacity(columns.wanted.len());
    for (out, place) in columns.wanted.iter().enumerate() {
        let column = rows.column(*place);
        if columns.large.contains(place) {
            large.push(out);
            wanted.push(kept_array(column, &deleted, columns.untold)?);
        } else {
            wanted.push(Arc::clone(column));
        }
    }
    let keys = columns.keys.iter();
    Ok(KnownRows {
        keys: keys.map(|place| Arc::clone(rows.column(*place))).collect(),
        columns: wanted,
        large,
        count: rows.num_rows(),
    })
}

fn is_delete(kinds: &ArrayRef) -> Result<BooleanArray> {
    let Some(kinds) = kinds.as_string_opt::<i32>() else {
        return internal_err!("the kinds of changes are no text");
    };
    let delete = ChangeType::Delete.as_str();
    Ok(kinds
        .iter()
        .map(|kind| Some(kind == Some(delete)))
        .collect())
}

fn formed_rows(rows: &KnownRows, form: LargeValues, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = rows.columns.clone();
    if form == LargeValues::ReadBack {
        for place in &rows.large {
            columns[*place] = Arc::clone(parts(&rows.columns[*place])?.0);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.count));
    let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    Ok(rows)
}

/// Makes one row of the images of each key, which come in the order of their keys and positions.
struct Folding {
    columns: Arc<ImageColumns>,
    /// The last key so far, of which more images may come, as one row.
    open: Option<RecordBatch>,
}

impl Folding {
    fn new(columns: Arc<ImageColumns>) -> Self {
        Self {
            columns,
            open: None,
        }
    }

    /// The rows of the keys that end within `images`.
    fn push(&mut self, images: &RecordBatch) -> Result<RecordBatch> {
        if images.num_rows() == 0 {
            return Ok(images.clone());
        }
        let open = self.open.take();
        let sources: Vec<&RecordBatch> = open.iter().chain([images]).collect();
        let rows = folded(&sources, &self.columns)?;
        let last = rows.num_rows() - 1;
        // A copy, so that it does not hold the whole batch.
        let index = UInt32Array::from(vec![u32::try_from(last).unwrap_or(u32::MAX)]);
        self.open = Some(take_record_batch(&rows, &index)?);
        Ok(rows.slice(0, last))
    }

    /// The row of the last key; none if there was none.
    fn finish(&mut self) -> RecordBatch {
        let empty = || RecordBatch::new_empty(Arc::new(Schema::empty()));
        self.open.take().unwrap_or_else(empty)
    }
}

/// One row for each key of `sources`, of which the first may be the row of a key that goes on.
fn folded(sources: &[&RecordBatch], columns: &ImageColumns) -> Result<RecordBatch> {
    let Some(images) = sources.last() else {
        return internal_err!("there are no images to fold");
    };
    let arrays = |place: usize| -> Vec<&dyn Array> {
        let columns = sources.iter().map(|rows| rows.column(place).as_ref());
        columns.collect()
    };
    let keys = columns.keys.iter().chain(&columns.commit);
    let keys = keys.map(|place| match sources {
        [images] => Ok(Arc::clone(images.column(*place))),
        _ => concat(&arrays(*place)),
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let ranges = partition(&keys)?.ranges();
    let before = sources.iter().map(|rows| rows.num_rows()).sum::<usize>() - images.num_rows();
    let place_of = |row: usize| match row.checked_sub(before) {
        Some(row) => (sources.len() - 1, row),
        None => (0, row),
    };
    let last: Vec<_> = ranges.iter().map(|range| place_of(range.end - 1)).collect();
    let mut folded = Vec::with_capacity(images.num_columns());
    for place in 0..images.num_columns() {
        let arrays = arrays(place);
        if !columns.large.contains(&place) {
            folded.push(interleave(&arrays, &last)?);
            continue;
        }
        let told = ranges.iter().zip(&last).map(|(range, last)| {
            let mut places = range.clone().rev().map(place_of);
            let told = places.find(|(source, row)| arrays[*source].is_valid(*row));
            told.unwrap_or(*last)
        });
        folded.push(interleave(&arrays, &told.collect::<Vec<_>>())?);
    }
    Ok(RecordBatch::try_new(images.schema(), folded)?)
}

#[cfg(test)]
mod tests;
