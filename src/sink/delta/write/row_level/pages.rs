//! Which row groups and pages of a data file may hold a row that the source matches.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::Schema;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::error::Result;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::file::metadata::ParquetMetaData;

use super::pruning::{Key, SourceKeys};

/// What to read of a file for the rows that have one of `keys`; `None` where that is all of it.
///
/// # Errors
///
/// The file's schema is none.
pub(super) fn access_plan(
    keys: &SourceKeys,
    metadata: &ParquetMetaData,
) -> Result<Option<ParquetAccessPlan>> {
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
    let mut plan = ParquetAccessPlan::new_all(metadata.num_row_groups());
    let mut is_whole = true;
    for key in keys.stored() {
        let Some(bounds) = Bounds::try_new(key, &schema, metadata)? else {
            continue;
        };
        for group in 0..metadata.num_row_groups() {
            match bounds.access(group)? {
                RowGroupAccess::Scan => continue,
                RowGroupAccess::Skip => plan.skip(group),
                RowGroupAccess::Selection(rows) => plan.scan_selection(group, rows),
            }
            is_whole = false;
        }
    }
    Ok((!is_whole).then_some(plan))
}

/// The bounds of one key's column in a file.
struct Bounds<'a> {
    key: &'a Key,
    metadata: &'a ParquetMetaData,
    converter: StatisticsConverter<'a>,
    /// The column's place in the file.
    place: usize,
}

impl<'a> Bounds<'a> {
    /// `None` for a file that lacks the column.
    fn try_new(
        key: &'a Key,
        schema: &'a Schema,
        metadata: &'a ParquetMetaData,
    ) -> Result<Option<Self>> {
        if schema.column_with_name(&key.column).is_none() {
            return Ok(None);
        }
        let columns = metadata.file_metadata().schema_descr();
        let converter = StatisticsConverter::try_new(&key.column, schema, columns)?;
        let place = converter.parquet_column_index();
        Ok(place.map(|place| Self {
            key,
            metadata,
            converter,
            place,
        }))
    }

    fn access(&self, group: usize) -> Result<RowGroupAccess> {
        let parts = match self.pages(group)? {
            Some(pages) => pages,
            None if self.may_mislead(group) => return Ok(RowGroupAccess::Scan),
            None => self.whole_group(group)?,
        };
        let within = parts
            .rows
            .iter()
            .zip(self.key.are_within(&parts.lowest, &parts.highest)?);
        let selectors = within.map(|(rows, within)| match within {
            true => RowSelector::select(*rows),
            false => RowSelector::skip(*rows),
        });
        let selection = RowSelection::from_iter(selectors);
        Ok(
            match (selection.selects_any(), selection.skipped_row_count()) {
                (false, _) => RowGroupAccess::Skip,
                (true, 0) => RowGroupAccess::Scan,
                (true, _) => RowGroupAccess::Selection(selection),
            },
        )
    }

    /// Whether a row group's bounds are of the kind that the format has given up: writers compared texts by signed
    /// bytes there.
    fn may_mislead(&self, group: usize) -> bool {
        let column = self.metadata.row_group(group).column(self.place);
        column
            .statistics()
            .is_some_and(|bounds| bounds.is_min_max_deprecated())
    }

    fn whole_group(&self, group: usize) -> Result<Parts> {
        let group = self.metadata.row_group(group);
        Ok(Parts {
            rows: vec![usize::try_from(group.num_rows()).unwrap_or_default()],
            lowest: self.converter.row_group_mins([group])?,
            highest: self.converter.row_group_maxes([group])?,
        })
    }

    /// `None` where the file does not say for each page.
    fn pages(&self, group: usize) -> Result<Option<Parts>> {
        let Some((bounds, offsets)) = self
            .metadata
            .column_index()
            .zip(self.metadata.offset_index())
        else {
            return Ok(None);
        };
        let rows = usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or_default();
        let pages = offsets
            .get(group)
            .and_then(|columns| columns.get(self.place));
        let bounded = bounds
            .get(group)
            .and_then(|columns| columns.get(self.place));
        let (Some(pages), Some(_)) = (pages, bounded) else {
            return Ok(None);
        };
        let firsts = pages.page_locations().iter();
        let firsts = firsts.map(|page| usize::try_from(page.first_row_index).unwrap_or(rows));
        let firsts: Vec<usize> = firsts.collect();
        let ends = firsts.iter().skip(1).copied().chain([rows]);
        let counts = firsts
            .iter()
            .zip(ends)
            .map(|(first, end)| end.checked_sub(*first));
        let counts: Option<Vec<usize>> = counts.collect();
        let Some(counts) = counts.filter(|counts| counts.iter().sum::<usize>() == rows) else {
            return Ok(None);
        };
        let parts = Parts {
            lowest: self.converter.data_page_mins(bounds, offsets, &[group])?,
            highest: self.converter.data_page_maxes(bounds, offsets, &[group])?,
            rows: counts,
        };
        let complete = [&parts.lowest, &parts.highest].map(|values| values.len());
        let known =
            complete == [parts.rows.len(); 2] && parts.lowest.null_count() < parts.rows.len();
        Ok(known.then_some(parts))
    }
}

/// Parts of a row group that follow one another, with the bounds of each.
struct Parts {
    rows: Vec<usize>,
    lowest: ArrayRef,
    highest: ArrayRef,
}

#[cfg(test)]
mod tests;
