//! From the images of each key, in the order of their commits, its versions.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{cast, interleave};
use datafusion::arrow::row::{OwnedRow, Row, RowConverter};
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;

use super::Shape;
use super::batch::{Batch, CARRIED, IMAGE, PRIOR, Place, instant};
use super::differences::{Comparison, Differences, converter};
use super::versions::Begun;
use crate::error::Error;

/// Makes versions of rows that come in the order of their keys and commits. Of each batch that is
/// - the key's columns,
/// - the commit's version (NULL for a row without an image), whether the row is the target's after it, and its time,
/// - the row as it is in the target after it,
/// - the row, the start and the instant of the version that was valid before all images of the key (NULL if none was),
/// - the instant before which no version of the key may begin (NULL if it is none but that version's).
pub(super) struct Folding {
    shape: Arc<Shape>,
    begun: Begun,
    /// The LSN past which the images are, as text.
    after: Arc<str>,
    keys: RowConverter,
    comparison: Comparison,
    carried: Option<Carried>,
}

/// A key whose rows may go on in the next batch.
struct Carried {
    key: OwnedRow,
    prior: Option<String>,
    last: Option<String>,
    floor: i64,
    open: Option<CarriedVersion>,
}

struct CarriedVersion {
    /// One row of the flow's own columns.
    row: Vec<ArrayRef>,
    start: String,
    from: i64,
    is_new: bool,
}

/// A version that is valid as far as the images have been read.
struct Open<'a> {
    row: Place,
    start: &'a str,
    from: i64,
    /// Whether it is not in the target as it is.
    is_new: bool,
}

/// A version to be written.
struct Made<'a> {
    row: Place,
    start: &'a str,
    end: Option<&'a str>,
    from: i64,
    to: Option<i64>,
}

/// The versions of one key.
struct Group<'a> {
    key: Row<'a>,
    /// The start of the version that was valid before its images.
    prior: Option<&'a str>,
    /// The commit of its last image.
    last: Option<&'a str>,
    /// The instant before which no version may begin.
    floor: i64,
    open: Option<Open<'a>>,
}

impl<'a> Group<'a> {
    fn resumed(carried: &'a Carried) -> Self {
        Self {
            key: carried.key.row(),
            prior: carried.prior.as_deref(),
            last: carried.last.as_deref(),
            floor: carried.floor,
            open: carried.open.as_ref().map(|open| Open {
                row: (CARRIED, 0),
                start: &open.start,
                from: open.from,
                is_new: open.is_new,
            }),
        }
    }

    fn close(&mut self, version: &'a str, at: i64, made: &mut Vec<Made<'a>>) {
        if let Some(open) = self.open.take() {
            let to = at.max(open.from);
            self.floor = self.floor.max(to);
            made.push(Made {
                row: open.row,
                start: open.start,
                end: Some(version),
                from: open.from,
                to: Some(to),
            });
        }
    }

    fn open(&mut self, row: usize, start: &'a str, at: i64) {
        self.open = Some(Open {
            row: (IMAGE, row),
            start,
            from: at.max(self.floor),
            is_new: true,
        });
    }

    fn finish(self, made: &mut Vec<Made<'a>>) {
        if let Some(open) = self.open.filter(|open| open.is_new) {
            made.push(Made {
                row: open.row,
                start: open.start,
                end: None,
                from: open.from,
                to: None,
            });
        }
    }
}

impl Folding {
    pub(super) fn new(shape: Arc<Shape>, begun: Begun) -> Result<Self> {
        Ok(Self {
            keys: converter(&shape, &shape.keys)?,
            comparison: Comparison::new(&shape, begun)?,
            after: begun.after.to_hex().into(),
            carried: None,
            shape,
            begun,
        })
    }

    /// The versions of the keys that end within `rows`, and those that end in the last one.
    pub(super) fn push(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        if rows.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.shape.schema)));
        }
        let batch = Batch::of(rows, &self.shape)?;
        let carried = self.carried.take();
        let after = Arc::clone(&self.after);
        let own = carried.iter().filter_map(|carried| carried.open.as_ref());
        let sources: Vec<&[ArrayRef]> = [batch.images, batch.prior]
            .into_iter()
            .chain(own.map(|open| open.row.as_slice()))
            .collect();
        let differences = self.comparison.of(&sources)?;
        let keys = self.keys.convert_columns(batch.keys)?;
        let mut made = Vec::new();
        let mut group = carried.as_ref().map(Group::resumed);
        for row in 0..rows.num_rows() {
            let key = keys.row(row);
            let mut current = match group.take() {
                Some(group) if group.key == key => group,
                other => {
                    if let Some(ended) = other {
                        ended.finish(&mut made);
                    }
                    self.begin(&batch, row, key, &after)?
                }
            };
            self.apply(&batch, row, &mut current, (&differences, &after), &mut made)?;
            group = Some(current);
        }
        let versions = self.written(&sources, &made)?;
        self.carried = group.map(|group| carry(group, &sources)).transpose()?;
        Ok(versions)
    }

    /// The version of the last key that is valid still.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let Some(carried) = self.carried.take() else {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.shape.schema)));
        };
        let mut made = Vec::new();
        Group::resumed(&carried).finish(&mut made);
        let row = carried
            .open
            .as_ref()
            .map_or(&[] as &[_], |open| open.row.as_slice());
        self.written(&[&[], &[], row], &made)
    }

    /// A key's versions before its first image, which stands in `row`.
    fn begin<'a>(
        &self,
        batch: &Batch<'a>,
        row: usize,
        key: Row<'a>,
        after: &'a str,
    ) -> Result<Group<'a>> {
        let open = batch.start.is_valid(row).then(|| Open {
            row: (PRIOR, row),
            start: batch.start.value(row),
            from: instant(batch.from, row),
            is_new: false,
        });
        if let Some(open) = open.as_ref().filter(|open| open.start > after) {
            return Err(failed(Error::LaterVersion {
                key: batch.key(row)?,
                version: open.start.to_string(),
                after: after.to_string(),
            }));
        }
        Ok(Group {
            key,
            prior: open.as_ref().map(|open| open.start),
            last: None,
            floor: open
                .as_ref()
                .map_or(i64::MIN, |open| open.from)
                .max(instant(batch.floor, row)),
            open,
        })
    }

    fn apply<'a>(
        &self,
        batch: &Batch<'a>,
        row: usize,
        group: &mut Group<'a>,
        (differences, after): (&Differences, &'a str),
        made: &mut Vec<Made<'a>>,
    ) -> Result<()> {
        let prior = batch.start.is_valid(row).then(|| batch.start.value(row));
        if prior != group.prior {
            let key = batch.key(row)?;
            return Err(failed(Error::TwoVersions { key }));
        }
        let is_first = group.last.is_none();
        let version = batch
            .version
            .is_valid(row)
            .then(|| batch.version.value(row));
        let is_state = version.is_some_and(|version| version <= after);
        if self.begun.is_copy && is_first && !is_state {
            group.close(after, self.begun.micros, made);
        }
        let Some(version) = version else {
            return Ok(());
        };
        if group.last == Some(version) {
            let key = batch.key(row)?;
            return Err(failed(Error::TwoRows { key }));
        }
        group.last = Some(version);
        let at = instant(batch.at, row);
        if !(batch.present.is_valid(row) && batch.present.value(row)) {
            group.close(version, at, made);
            return Ok(());
        }
        let image = (IMAGE, row);
        match &mut group.open {
            None => group.open(row, version, at),
            Some(open)
                if open.start != version && differences.make_version(open.row, image, is_state) =>
            {
                group.close(version, at, made);
                group.open(row, version, at);
            }
            Some(open) => {
                if differences.at_all(open.row, image) {
                    (open.row, open.is_new) = (image, true);
                }
            }
        }
        Ok(())
    }

    /// `made`, whose rows are of `sources`.
    fn written(&self, sources: &[&[ArrayRef]], made: &[Made<'_>]) -> Result<RecordBatch> {
        let schema = &self.shape.schema;
        if made.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let places: Vec<Place> = made.iter().map(|made| made.row).collect();
        let mut columns = rows_at(sources, &places)?;
        let starts = StringArray::from_iter_values(made.iter().map(|made| made.start));
        columns.push(Arc::new(starts) as ArrayRef);
        columns.push(Arc::new(
            made.iter().map(|made| made.end).collect::<StringArray>(),
        ));
        if self.shape.has_period {
            let instants = |instants: TimestampMicrosecondArray| instants.with_timezone("UTC");
            let from =
                TimestampMicrosecondArray::from_iter_values(made.iter().map(|made| made.from));
            columns.push(Arc::new(instants(from)));
            let to = made.iter().map(|made| made.to);
            columns.push(Arc::new(instants(to.collect())));
        }
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            if column.data_type() != field.data_type() {
                *column = cast(column, field.data_type())?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(made.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            columns,
            &options,
        )?)
    }
}

fn failed(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The flow's own columns of the rows at `places`.
fn rows_at(sources: &[&[ArrayRef]], places: &[Place]) -> Result<Vec<ArrayRef>> {
    let written = sources
        .iter()
        .map(|columns| columns.len())
        .max()
        .unwrap_or_default();
    let column = |column: usize| {
        let mut arrays: Vec<&dyn Array> = Vec::with_capacity(sources.len());
        let mut numbers = Vec::with_capacity(sources.len());
        for columns in sources {
            numbers.push(arrays.len());
            arrays.extend(columns.get(column).map(|array| array.as_ref()));
        }
        let places = places
            .iter()
            .map(|(source, row)| match numbers.get(*source) {
                Some(number) => Ok((*number, *row)),
                None => internal_err!("a version of a row that is not there"),
            });
        Ok(interleave(&arrays, &places.collect::<Result<Vec<_>>>()?)?)
    };
    (0..written).map(column).collect()
}

fn carry(group: Group<'_>, sources: &[&[ArrayRef]]) -> Result<Carried> {
    let open = group.open.map(|open| {
        Ok::<_, DataFusionError>(CarriedVersion {
            row: rows_at(sources, &[open.row])?,
            start: open.start.to_string(),
            from: open.from,
            is_new: open.is_new,
        })
    });
    Ok(Carried {
        key: group.key.owned(),
        prior: group.prior.map(str::to_string),
        last: group.last.map(str::to_string),
        floor: group.floor,
        open: open.transpose()?,
    })
}

#[cfg(test)]
mod tests;
