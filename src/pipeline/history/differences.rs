//! Whether two rows of a key differ: at all, and so that it makes a version.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use super::Shape;
use super::batch::Place;
use super::versions::Begun;

/// Which columns are compared, and how they are encoded for it.
pub(super) struct Comparison([Option<(RowConverter, Vec<usize>)>; 2]);

impl Comparison {
    pub(super) fn new(shape: &Shape, begun: Begun) -> Result<Self> {
        let compared = |places: Vec<usize>| {
            let is_compared = |place: &usize| !shape.undecided.contains(place);
            let places: Vec<usize> = places.into_iter().filter(is_compared).collect();
            Ok::<_, DataFusionError>((converter(shape, &places)?, places))
        };
        // Where every commit makes a version, nothing needs to be compared but copies.
        let compares = begun.is_copy || shape.tracked.is_some();
        let all = compares.then(|| compared((0..shape.written).collect()));
        let tracked = shape.tracked.clone().map(compared);
        Ok(Self([all.transpose()?, tracked.transpose()?]))
    }

    /// The differences between rows of `sources`, by their [`Place`]s.
    pub(super) fn of(&self, sources: &[&[ArrayRef]]) -> Result<Differences> {
        let encoded = |compared: &Option<(RowConverter, Vec<usize>)>| {
            let encoded = compared
                .as_ref()
                .map(|compared| Encoded::of(compared, sources));
            encoded.transpose()
        };
        let [all, tracked] = &self.0;
        Ok(Differences([encoded(all)?, encoded(tracked)?]))
    }
}

/// An encoder of the columns at `places`.
pub(super) fn converter(shape: &Shape, places: &[usize]) -> Result<RowConverter> {
    let fields = places.iter().map(|place| shape.schema.field(*place));
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    Ok(RowConverter::new(fields.collect())?)
}

/// The rows of a batch and the carried one, encoded so that they can be compared; by [`Place`].
///
/// Rows of no columns are none, and do not differ.
struct Encoded(Vec<Rows>);

impl Encoded {
    fn of(
        (converter, places): &(RowConverter, Vec<usize>),
        sources: &[&[ArrayRef]],
    ) -> Result<Self> {
        let rows = sources.iter().map(|columns| {
            let columns = places.iter().map(|place| Arc::clone(&columns[*place]));
            Ok(converter.convert_columns(&columns.collect::<Vec<_>>())?)
        });
        Ok(Self(rows.collect::<Result<_>>()?))
    }

    fn differ(&self, one: Place, other: Place) -> bool {
        let row = |(source, row): Place| {
            let rows = self.0.get(source)?;
            (row < rows.num_rows()).then(|| rows.row(row))
        };
        row(one) != row(other)
    }
}

/// Whether rows differ: at all, and where it makes a version.
pub(super) struct Differences([Option<Encoded>; 2]);

impl Differences {
    pub(super) fn at_all(&self, one: Place, other: Place) -> bool {
        let [all, _] = &self.0;
        all.as_ref().is_none_or(|all| all.differ(one, other))
    }

    /// Where no columns are tracked, those of all columns do if `is_state`: nothing is known but what was there.
    pub(super) fn make_version(&self, one: Place, other: Place, is_state: bool) -> bool {
        let [_, tracked] = &self.0;
        match tracked {
            Some(tracked) => tracked.differ(one, other),
            None => !is_state || self.at_all(one, other),
        }
    }
}
