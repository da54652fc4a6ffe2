use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::file::metadata::PageIndexPolicy;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::file::statistics::Statistics;
use proptest::prelude::*;

use super::*;

const ROWS_PER_PAGE: usize = 10;
const ROWS_PER_GROUP: usize = 40;

fn parquet(columns: &[(&str, ArrayRef)], statistics: EnabledStatistics) -> ArrowReaderMetadata {
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns
            .iter()
            .map(|(name, values)| (*name, Arc::clone(values), true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(1)
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_statistics_enabled(statistics)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    let _ = writer.close().unwrap();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    ArrowReaderMetadata::load(&Bytes::from(file), options).unwrap()
}

fn keys(columns: &[(&str, ArrayRef)]) -> SourceKeys {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let columns = columns.iter().map(|(column, values)| {
        let reservation = MemoryConsumer::new("test").register(&pool);
        Key::collect((*column).to_string(), None, Arc::clone(values), reservation).unwrap()
    });
    SourceKeys(columns.collect())
}

/// Whether each row of the file is read.
fn read(keys: &SourceKeys, file: &ArrowReaderMetadata) -> Vec<bool> {
    let metadata = file.metadata();
    let count = |group: usize| usize::try_from(metadata.row_group(group).num_rows()).unwrap();
    let whole = |group: usize| vec![true; count(group)];
    let groups = 0..metadata.num_row_groups();
    let Some(plan) = access_plan(keys, metadata).unwrap() else {
        return groups.flat_map(whole).collect();
    };
    let rows = groups.flat_map(|group| match &plan.inner()[group] {
        RowGroupAccess::Scan => whole(group),
        RowGroupAccess::Skip => vec![false; count(group)],
        RowGroupAccess::Selection(selection) => selection
            .iter()
            .flat_map(|part| vec![!part.skip; part.row_count])
            .collect(),
    });
    rows.collect()
}

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

#[test]
fn the_pages_of_scattered_keys_are_read_alone() {
    let file = parquet(&[("id", integers(0..120))], EnabledStatistics::Page);
    let read = read(&keys(&[("id", integers([3, 95, 500]))]), &file);
    let wanted = |row: usize| row < 10 || (90..100).contains(&row);
    assert_eq!(read, (0..120).map(wanted).collect::<Vec<_>>());
}

#[test]
fn groups_are_left_out_where_pages_have_no_bounds() {
    let file = parquet(&[("id", integers(0..120))], EnabledStatistics::Chunk);
    let read = read(&keys(&[("id", integers([95]))]), &file);
    let wanted = |row: usize| row >= 80;
    assert_eq!(read, (0..120).map(wanted).collect::<Vec<_>>());
}

#[test]
fn without_bounds_everything_is_read() {
    let file = parquet(&[("id", integers(0..120))], EnabledStatistics::None);
    assert_eq!(read(&keys(&[("id", integers([95]))]), &file), [true; 120]);
    // Nor can a column that the file lacks rule out anything.
    let file = parquet(&[("id", integers(0..120))], EnabledStatistics::Page);
    let other = keys(&[("other", integers([95]))]);
    assert_eq!(read(&other, &file), [true; 120]);
}

#[test]
fn bounds_of_the_kind_that_the_format_has_given_up_rule_out_nothing() {
    let file = parquet(
        &[("id", texts((0..40).map(|id| format!("é{id}"))))],
        EnabledStatistics::Chunk,
    );
    let wanted = keys(&[("id", texts(["e".to_string()]))]);
    assert_eq!(read(&wanted, &file), [false; 40]);
    let given_up = Statistics::byte_array(Some("é".into()), Some("z".into()), None, None, true);
    let mut metadata = file.metadata().as_ref().clone().into_builder();
    let groups = metadata.take_row_groups().into_iter().map(|group| {
        let column = group.column(0).clone().into_builder();
        let column = column.set_statistics(given_up.clone()).build().unwrap();
        let group = group.into_builder().set_column_metadata(vec![column]);
        group.build().unwrap()
    });
    let groups = groups.collect();
    let metadata = metadata.set_row_groups(groups).build();
    assert_eq!(access_plan(&wanted, &metadata).unwrap(), None);
}

#[test]
fn several_keys_leave_what_each_of_them_leaves() {
    let long = |id: i64| format!("{}{id:03}", "x".repeat(100));
    let columns = [
        ("id", integers((0..120).map(|row| row % 40))),
        ("name", texts((0..120).map(long))),
    ];
    let file = parquet(&columns, EnabledStatistics::Page);
    let wanted = keys(&[("id", integers([5])), ("name", texts(["y".to_string()]))]);
    assert!(!read(&wanted, &file).contains(&true));
    let wanted = keys(&[("id", integers([5])), ("name", texts([long(45)]))]);
    let read = read(&wanted, &file);
    assert!(read[45] && !read[11] && !read[55], "{read:?}");
}

proptest! {
    #[test]
    fn no_row_with_a_key_is_left_out(
        stored in prop::collection::vec(prop::option::of(-20_i64..20), 1..130),
        wanted in prop::collection::vec(prop::option::of(-25_i64..25), 0..4),
        statistics in prop::sample::select(vec![EnabledStatistics::Page, EnabledStatistics::Chunk]),
    ) {
        let values: ArrayRef = Arc::new(Int64Array::from(stored.clone()));
        let file = parquet(&[("id", values)], statistics);
        let given: ArrayRef = Arc::new(Int64Array::from(wanted.clone()));
        let read = read(&keys(&[("id", given)]), &file);
        prop_assert_eq!(read.len(), stored.len());
        for (row, value) in stored.iter().enumerate() {
            prop_assert!(read[row] || value.is_none() || !wanted.contains(value));
        }
    }
}
