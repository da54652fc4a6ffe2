//! Rows of both sides in the order of their keys, key by key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int8Type, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::RowConverter;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};
use futures::StreamExt;

use super::digest::{Chosen, converter};
use super::sides::{Sides, column};
use super::{Compared, Difference, MOST_LISTED, Rows, Unlike};
use crate::change::LsnRange;
use crate::error::Error;

/// The column that says where a row comes from, and what it says.
const SIDE: &str = "side";
const SOURCE: i8 = 0;
const TARGET: i8 = 1;
const CHANGED: i8 = 2;

/// The name of changed keys in a plan.
const KEYS: &str = "changed";

/// Keys that differ, in the row format, for those who copy them again.
#[derive(Debug)]
pub(super) struct Unlikes {
    pub(super) keys: HashMap<Vec<u8>, Unlike>,
    /// How many keys it takes.
    most: usize,
    /// How many bytes they may have.
    most_bytes: usize,
    /// Whether the source's row of one of them was read more than once.
    pub(super) read_twice: bool,
    pub(super) overflows: bool,
}

impl Unlikes {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            keys: HashMap::new(),
            most,
            most_bytes,
            read_twice: false,
            overflows: false,
        }
    }

    fn add(&mut self, key: &[u8], unlike: Unlike) {
        if self.keys.len() >= self.most || key.len() > self.most_bytes {
            self.overflows = true;
            return;
        }
        self.most_bytes -= key.len();
        self.keys.insert(key.to_vec(), unlike);
    }
}

/// Compares the rows of the source with the target's in the same buckets, but for keys that changed in `window`. What is not
/// the same goes into `compared`, and all of its keys into `unlikes`.
pub(super) async fn compare(
    sides: &Sides,
    rows: &Rows,
    window: LsnRange,
    compared: &mut Compared,
    unlikes: &mut Unlikes,
) -> Result<(), Error> {
    let failed = |error: ArrowError| sides.failed(error);
    let plan = rows_by_key(sides, rows, window).await?;
    let mut rows = sides.stream(&plan).await?;
    let mut comparison = Comparison {
        reader: RowReader::try_new(sides).map_err(failed)?,
        group: None,
        compared,
        unlikes,
    };
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| sides.failed(error))?;
        comparison.add(&batch).map_err(failed)?;
    }
    comparison.end_key().map_err(failed)
}

/// A plan of the rows of both sides, and of the keys that changed, in the order of their keys.
async fn rows_by_key(sides: &Sides, rows: &Rows, window: LsnRange) -> Result<LogicalPlan, Error> {
    let chosen = Chosen::Buckets(rows.buckets.clone());
    let table = rows.spool.table().map_err(|error| sides.failed(error))?;
    let expected = sides.expected(table).await?;
    let flow = &sides.flow;
    let changed = match window.is_empty() {
        true => None,
        false => Some(flow.database.changed_keys(&flow.table, window)?),
    };
    let plan = || -> DataFusionResult<LogicalPlan> {
        let held = with_side(sides.held(Some(&chosen))?, sides, TARGET)?;
        let mut plan = with_side(expected, sides, SOURCE)?.union(held.build()?)?;
        if let Some(changed) = changed {
            let keys = LogicalPlanBuilder::scan(KEYS, provider_as_source(changed), None)?;
            plan = plan.union(changed_rows(keys, sides, &chosen)?)?;
        }
        let order = sides.key_places.iter();
        let order = order.map(|place| col(column(*place)).sort(true, true));
        plan.sort(order)?.build()
    };
    plan().map_err(|error| sides.failed(error))
}

fn with_side(
    plan: LogicalPlanBuilder,
    sides: &Sides,
    side: i8,
) -> DataFusionResult<LogicalPlanBuilder> {
    let row = (0..sides.schema.fields().len()).map(|place| col(column(place)));
    plan.project(row.chain([lit(side).alias(SIDE)]))
}

impl Sides {
    /// Those of the keys `unlikes` that changed in `window`, in the row format.
    pub(super) async fn changed_among(
        &self,
        unlikes: &Unlikes,
        window: LsnRange,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let changed = self.flow.database.changed_keys(&self.flow.table, window)?;
        let keys: HashSet<Vec<u8>> = unlikes.keys.keys().cloned().collect();
        let chosen = Chosen::Keys(Arc::new(keys));
        let key = |other: &str| Expr::Column(Column::new(Some(KEYS), other));
        let row: Vec<Expr> = self.keys.iter().map(|(_, other)| key(other)).collect();
        let plan = || {
            LogicalPlanBuilder::scan(KEYS, provider_as_source(changed), None)?
                .filter(chosen.condition(row.clone()))?
                .project(row)?
                .build()
        };
        let plan = plan().map_err(|error| self.failed(error))?;
        let mut rows = self.stream(&plan).await?;
        let types = self.key_places.iter();
        let types = types.map(|place| self.schema.field(*place).data_type());
        let format = converter(types).map_err(|error| self.failed(error))?;
        let mut found = HashSet::new();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| self.failed(error))?;
            let keys = format.convert_columns(batch.columns());
            let keys = keys.map_err(|error| self.failed(error))?;
            found.extend(keys.iter().map(|key| key.as_ref().to_vec()));
        }
        Ok(found.into_iter().collect())
    }
}

/// Rows that have nothing but a key that changed.
fn changed_rows(
    keys: LogicalPlanBuilder,
    sides: &Sides,
    chosen: &Chosen,
) -> DataFusionResult<LogicalPlan> {
    let key = |other: &str| Expr::Column(Column::new(Some(KEYS), other));
    let condition = sides.keys.iter().map(|(_, other)| key(other));
    let row = sides.schema.fields().iter().enumerate();
    let row = row.map(|(place, own)| {
        let mut pairs = sides.keys.iter();
        let value = match pairs.find(|(name, _)| name == own.name()) {
            Some((_, other)) => key(other),
            None => lit(ScalarValue::try_from(own.data_type())?),
        };
        Ok(value.alias(column(place)))
    });
    let mut row = row.collect::<DataFusionResult<Vec<_>>>()?;
    row.push(lit(CHANGED).alias(SIDE));
    let chosen = keys.filter(chosen.condition(condition.collect()))?;
    chosen.project(row)?.build()
}

/// The row formats of whole rows and of their keys.
struct RowReader {
    schema: SchemaRef,
    key_places: Vec<usize>,
    whole: RowConverter,
    key: RowConverter,
}

impl RowReader {
    fn try_new(sides: &Sides) -> Result<Self, ArrowError> {
        let schema = Arc::clone(&sides.schema);
        let types = |place: &usize| schema.field(*place).data_type();
        Ok(Self {
            whole: converter(schema.fields().iter().map(|field| field.data_type()))?,
            key: converter(sides.key_places.iter().map(types))?,
            key_places: sides.key_places.clone(),
            schema,
        })
    }
}

/// A row of one side.
struct Seen {
    row: Vec<u8>,
    batch: RecordBatch,
    index: usize,
}

/// The rows of a key.
#[derive(Default)]
struct Group {
    key: Vec<u8>,
    source: Option<Seen>,
    /// Whether the source's row was read more than once, and whether it was another one then.
    read_twice: bool,
    varies: bool,
    target: Option<Seen>,
    target_rows: u64,
    changed: bool,
}

impl Group {
    /// How its rows are not the same.
    fn unlike(&self) -> Option<Unlike> {
        match (&self.source, &self.target) {
            (None, None) => None,
            (Some(_), None) => Some(Unlike::OnlyInSource),
            (None, Some(_)) => Some(Unlike::OnlyInTarget),
            _ if self.target_rows > 1 => Some(Unlike::Repeated),
            (Some(source), Some(target)) => {
                (self.varies || source.row != target.row).then_some(Unlike::Different)
            }
        }
    }
}

struct Comparison<'a> {
    reader: RowReader,
    group: Option<Group>,
    compared: &'a mut Compared,
    unlikes: &'a mut Unlikes,
}

impl Comparison<'_> {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = &batch.columns()[..self.reader.schema.fields().len()];
        let rows = self.reader.whole.convert_columns(columns)?;
        let places = &self.reader.key_places;
        let keys = places.iter().map(|place| Arc::clone(batch.column(*place)));
        let keys = self.reader.key.convert_columns(&keys.collect::<Vec<_>>())?;
        let sides = batch.column(columns.len()).as_primitive::<Int8Type>();
        for index in 0..batch.num_rows() {
            let key = keys.row(index);
            let is_same = |group: &Group| group.key == key.as_ref();
            if !self.group.as_ref().is_some_and(is_same) {
                self.end_key()?;
            }
            let group = self.group.get_or_insert_with(|| Group {
                key: key.as_ref().to_vec(),
                ..Group::default()
            });
            let seen = || Seen {
                row: rows.row(index).as_ref().to_vec(),
                batch: batch.clone(),
                index,
            };
            match sides.value(index) {
                SOURCE => match &group.source {
                    Some(source) => {
                        group.read_twice = true;
                        group.varies |= source.row != rows.row(index).as_ref();
                    }
                    None => group.source = Some(seen()),
                },
                TARGET => {
                    group.target_rows += 1;
                    group.target.get_or_insert_with(seen);
                }
                _ => group.changed = true,
            }
        }
        Ok(())
    }

    /// Judges the rows of a key that is over.
    fn end_key(&mut self) -> Result<(), ArrowError> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let Some(unlike) = group.unlike() else {
            return Ok(());
        };
        if group.changed {
            self.compared.left_out += 1;
            return Ok(());
        }
        *self.compared.count_mut(unlike) += 1;
        self.unlikes.read_twice |= group.read_twice;
        let Some(row) = group.target.as_ref().or(group.source.as_ref()) else {
            return Ok(());
        };
        let places = self.reader.key_places.iter();
        let mut key = places.map(|place| row.batch.column(*place));
        // ON finds a key without a value equal to none.
        if !key.any(|column| column.is_null(row.index)) {
            self.unlikes.add(&group.key, unlike);
        }
        if self.compared.differences.len() < MOST_LISTED {
            let columns = match (&group.source, &group.target) {
                (Some(source), Some(target)) => self.reader.unlike_columns(source, target)?,
                _ => Vec::new(),
            };
            self.compared.differences.push(Difference {
                key: self.reader.condition(row)?,
                unlike,
                bytes: group.key.clone(),
                columns,
            });
        }
        Ok(())
    }
}

impl RowReader {
    /// The names of the columns in which two rows differ.
    fn unlike_columns(&self, one: &Seen, other: &Seen) -> Result<Vec<String>, ArrowError> {
        let mut names = Vec::new();
        for (place, field) in self.schema.fields().iter().enumerate() {
            let format = converter([field.data_type()])?;
            let value = |seen: &Seen| {
                let value = seen.batch.column(place).slice(seen.index, 1);
                format.convert_columns(&[value])
            };
            if value(one)?.row(0) != value(other)?.row(0) {
                names.push(field.name().clone());
            }
        }
        Ok(names)
    }

    /// A row's key as the SQL condition that finds it.
    fn condition(&self, row: &Seen) -> Result<String, ArrowError> {
        let mut parts = Vec::with_capacity(self.key_places.len());
        for place in &self.key_places {
            let value = ScalarValue::try_from_array(row.batch.column(*place), row.index);
            let value = value.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            parts.push(equality(self.schema.field(*place).name(), &value));
        }
        Ok(parts.join(" AND "))
    }
}

/// `name = value`, in SQL.
fn equality(name: &str, value: &ScalarValue) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let name = match name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    };
    if value.is_null() {
        return format!("{name} IS NULL");
    }
    let data_type = value.data_type();
    let value = match value {
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) => {
            format!("X'{}'", hex::encode_upper(bytes))
        }
        // Written as text, an instant would become nanoseconds, of which years before 1678 and after 2261 have none.
        value @ ScalarValue::TimestampMicrosecond(Some(micros), _)
            if micros.checked_mul(1000).is_none() =>
        {
            let data_type = data_type.to_string().replace('\'', "''");
            format!("arrow_cast('{}', '{data_type}')", shown(value))
        }
        value if data_type.is_numeric() || data_type == DataType::Boolean => value.to_string(),
        value => format!("'{}'", shown(value).replace('\'', "''")),
    };
    format!("{name} = {value}")
}

/// A value as text.
fn shown(value: &ScalarValue) -> String {
    let text = value.cast_to(&DataType::Utf8);
    match text {
        Ok(ScalarValue::Utf8(Some(text))) => text,
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_keys_are_held_than_there_is_room_for() {
        let mut unlikes = Unlikes::new(2, 10);
        unlikes.add(b"one", Unlike::Different);
        unlikes.add(b"other", Unlike::OnlyInTarget);
        assert!(!unlikes.overflows);
        unlikes.add(b"a", Unlike::Different);
        assert!(unlikes.overflows);
        assert_eq!(unlikes.keys.len(), 2);
        let mut unlikes = Unlikes::new(2, 2);
        unlikes.add(b"one", Unlike::Different);
        assert!(unlikes.overflows && unlikes.keys.is_empty());
    }

    #[test]
    fn a_key_is_shown_as_the_condition_that_finds_it() {
        let shown = |name, value: ScalarValue| equality(name, &value);
        assert_eq!(shown("id", ScalarValue::from(3)), "id = 3");
        assert_eq!(
            shown("Code", ScalarValue::from("it's")),
            "\"Code\" = 'it''s'"
        );
        assert_eq!(
            shown("a\"b", ScalarValue::Int32(None)),
            "\"a\"\"b\" IS NULL"
        );
        let cents = ScalarValue::Decimal128(Some(-150), 9, 2);
        assert_eq!(shown("n", cents), "n = -1.50");
        let bytes = ScalarValue::Binary(Some(vec![0xde, 0xad]));
        assert_eq!(shown("b", bytes), "b = X'DEAD'");
        let day = ScalarValue::Date32(Some(0));
        assert_eq!(shown("d", day), "d = '1970-01-01'");
        let time = ScalarValue::TimestampMicrosecond(Some(1_500_000), None);
        assert_eq!(shown("t", time), "t = '1970-01-01T00:00:01.500'");
    }
}
