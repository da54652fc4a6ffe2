use std::borrow::Cow;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Int32Type, UInt64Type};
use tiberius::time::{Date, DateTime, DateTime2, Time};
use tiberius::{ColumnData, ColumnType};

use super::*;
use crate::source::sqlserver::ErrorKind;
use crate::source::sqlserver::bulk::Passage;
use crate::source::sqlserver::captured::tests::customers;
use crate::source::sqlserver::net::tests::{unreached, window};

fn lsn(text: &str) -> Lsn {
    text.parse().unwrap()
}

fn binary(value: Option<&str>) -> ColumnData<'static> {
    ColumnData::Binary(value.map(|text| Cow::Owned(lsn(text).as_bytes().to_vec())))
}

fn row(result: usize, cells: Vec<ColumnData<'static>>) -> Row {
    let mut builder = Row::builder().result_index(result);
    for cell in cells {
        builder = builder.column("", ColumnType::Null, cell);
    }
    builder.build()
}

/// The answer of a server in UTC+2 whose instance begins at `minimum` and that has captured up to `visible`.
fn guard_before(minimum: Option<&str>, visible: &str) -> Row {
    let local = DateTime::new(25_567, 300 * 7200);
    let utc = DateTime2::new(Date::new(719_162), Time::new(0, 7));
    row(
        0,
        vec![
            binary(minimum),
            binary(Some(visible)),
            ColumnData::DateTime(Some(local)),
            ColumnData::DateTime2(Some(utc)),
        ],
    )
}

fn guard_after(minimum: &str) -> Row {
    row(2, vec![binary(Some(minimum))])
}

fn change(at: &str, operation: i32, id: i32) -> Row {
    let cells = vec![
        binary(Some(at)),
        ColumnData::I32(Some(operation)),
        ColumnData::I32(Some(id)),
    ];
    row(1, cells)
}

/// Decodes the rows of one read of the window (0:30:0, 0:40:0].
async fn read(
    images: Images,
    answer: impl IntoIterator<Item = Row>,
) -> Result<Option<RecordBatch>, SourceError> {
    let table = Arc::new(customers());
    let mut fields = table.schema.fields().to_vec();
    let position = datafusion::arrow::datatypes::Field::new(
        crate::source::sqlserver::changes::POSITION,
        datafusion::arrow::datatypes::DataType::UInt64,
        false,
    );
    fields.push(Arc::new(position));
    let schema = datafusion::arrow::datatypes::Schema::new(fields);
    let source = ChangeRows {
        sql: String::new(),
        limit: None,
        pool: unreached(),
        table,
        window: Some(window()),
        images,
        values: vec![
            Value::Captured(0),
            Value::ChangeType,
            Value::CommitVersion,
            Value::Position,
        ],
        schema: Arc::new(schema.project(&[0, 3, 4, 6]).unwrap()),
        ascending: None,
    };
    let mut decoder = Decoder::new(
        &source,
        (window(), Rows::new(Passage::default())),
        None,
        "reading",
    );
    for row in answer {
        decoder.take(row)?;
        while decoder.next_change().await? {
            assert!(decoder.batcher.end_row()?.is_none());
        }
    }
    decoder.finish()
}

async fn failure(answer: impl IntoIterator<Item = Row>) -> SourceError {
    read(Images::All, answer).await.unwrap_err()
}

#[tokio::test]
async fn rows_between_two_good_guards_are_decoded() {
    let answer = [
        guard_before(Some("0:20:1"), "0:40:0"),
        change("0:31:0", 3, 1),
        change("0:31:0", 4, 1),
        change("0:32:0", 1, 2),
        guard_after("0:20:1"),
    ];
    let batch = read(Images::All, answer).await.unwrap().unwrap();
    let ids = batch.column(0).as_primitive::<Int32Type>().values();
    assert_eq!(ids, &[1, 1, 2]);
    let kinds = batch.column(1).as_string::<i32>();
    assert_eq!(
        kinds.iter().flatten().collect::<Vec<_>>(),
        ["update_preimage", "update_postimage", "delete"]
    );
    assert_eq!(
        batch.column(2).as_string::<i32>().value(2),
        "00000000000000320000"
    );
    let positions = batch.column(3).as_primitive::<UInt64Type>().values();
    assert_eq!(positions, &[1, 2, 3]);
}

#[tokio::test]
async fn an_image_before_an_update_nets_to_a_delete_of_its_key() {
    let answer = [
        guard_before(Some("0:20:1"), "0:40:0"),
        change("0:31:0", 3, 1),
        change("0:31:0", 4, 7),
        guard_after("0:20:1"),
    ];
    let batch = read(Images::Net, answer).await.unwrap().unwrap();
    let kinds = batch.column(1).as_string::<i32>();
    assert_eq!(
        kinds.iter().flatten().collect::<Vec<_>>(),
        ["delete", "update_postimage"]
    );
}

#[tokio::test]
async fn a_change_with_too_few_cells_is_no_change_with_null() {
    let cells = vec![binary(Some("0:31:0")), ColumnData::I32(Some(2))];
    let error = failure([guard_before(Some("0:20:1"), "0:40:0"), row(1, cells)]).await;
    assert!(error.to_string().contains("is missing"), "{error}");
}

#[tokio::test]
async fn a_window_that_was_cleaned_before_the_read_is_lost() {
    let error = failure([guard_before(Some("0:30:2"), "0:40:0")]).await;
    assert!(matches!(error, SourceError::Purged { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::ChangesLost);
}

#[tokio::test]
async fn a_window_that_was_cleaned_during_the_read_is_lost() {
    let answer = [
        guard_before(Some("0:20:1"), "0:40:0"),
        change("0:35:0", 2, 1),
        guard_after("0:35:0"),
    ];
    let error = failure(answer).await;
    assert!(matches!(error, SourceError::Purged { .. }), "{error}");
}

#[tokio::test]
async fn the_first_lsn_of_the_window_may_be_the_minimum() {
    let answer = [
        guard_before(Some("0:30:1"), "0:40:0"),
        guard_after("0:30:1"),
    ];
    assert!(read(Images::All, answer).await.unwrap().is_none());
}

#[tokio::test]
async fn a_zero_minimum_is_a_missing_permission() {
    for minimum in [None, Some("0:0:0")] {
        let error = failure([guard_before(minimum, "0:40:0")]).await;
        assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_behind_is_asked_again_later() {
    let error = failure([guard_before(Some("0:20:1"), "0:39:9")]).await;
    assert!(matches!(error, SourceError::Behind { .. }), "{error}");
}

#[tokio::test]
async fn a_guard_without_row_means_that_the_instance_has_gone() {
    let dropped = |error| matches!(error, SourceError::InstanceDropped { .. });
    assert!(dropped(failure([]).await));
    let answer = [
        guard_before(Some("0:20:1"), "0:40:0"),
        change("0:31:0", 2, 1),
    ];
    assert!(dropped(failure(answer).await));
}

#[tokio::test]
async fn strange_rows_are_errors() {
    let guard = || guard_before(Some("0:20:1"), "0:40:0");
    let unknown = failure([guard(), change("0:31:0", 5, 1)]).await;
    assert!(matches!(unknown, SourceError::UnknownOperation { .. }));
    // What the query functions of the server answer to an unauthorised reader.
    let nameless = row(1, vec![binary(None), ColumnData::I32(Some(2))]);
    let hidden = failure([guard(), nameless]).await;
    assert!(matches!(hidden, SourceError::ChangesHidden { .. }));
    let mut cells = vec![binary(Some("0:31:0")), ColumnData::I32(Some(2))];
    cells.push(ColumnData::String(Some(Cow::Borrowed("private"))));
    let mistyped = failure([guard(), row(1, cells)]).await;
    assert!(!mistyped.to_string().contains("private"));
    assert!(matches!(mistyped, SourceError::UnexpectedValue { .. }));
}

#[test]
fn a_missing_change_table_is_a_dropped_instance() {
    let missing = SourceError::Server {
        action: "reading".to_string(),
        number: 208,
        state: 1,
        message: "Invalid object name".to_string(),
    };
    let error = explained(&customers(), missing);
    assert!(matches!(error, SourceError::InstanceDropped { .. }));
}

#[test]
fn null_in_an_image_is_a_value_or_nothing_or_was_left_out_of_a_row_that_has_moved() {
    let table = customers();
    // Ordinals 1 (the key) to 3 (notes) are the three lowest bits.
    let state = |operation, mask: u8| null_state(&table, operation, Some(&[0, mask]), 2);
    assert_eq!(state(2, 0b111), Some(KNOWN));
    assert_eq!(state(4, 0b100), Some(KNOWN));
    assert_eq!(state(4, 0b101), Some(KNOWN));
    assert_eq!(state(4, 0b010), None);
    assert_eq!(state(4, 0b011), Some(MISSING));
    for before in [1, 3] {
        assert_eq!(state(before, 0b111), None);
    }
}
