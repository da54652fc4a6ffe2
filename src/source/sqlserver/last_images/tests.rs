use datafusion::arrow::array::{Int8Array, Int32Array, StringArray, UInt64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field};

use super::*;
use crate::source::sqlserver::large::{KEPT, KNOWN, SPARE, image_array};

const INSERT: &str = "insert";
const UPDATE: &str = "update_postimage";
const DELETE: &str = "delete";

/// An image: its key, its kind, a number, and the large value, if it tells one.
type Image = (i32, &'static str, i32, Option<Option<&'static str>>);

fn columns() -> Arc<ImageColumns> {
    Arc::new(ImageColumns {
        keys: vec![0],
        commit: None,
        position: 4,
        change_type: Some(1),
        large: vec![3],
        untold: KEPT,
        wanted: vec![0, 2, 3],
    })
}

fn batch(images: &[Image], first: u64) -> RecordBatch {
    let values: ArrayRef = Arc::new(StringArray::from_iter(
        images.iter().map(|image| image.3.flatten()),
    ));
    let told: Vec<bool> = images.iter().map(|image| image.3.is_some()).collect();
    let states = Int8Array::from_value(KNOWN, images.len());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(
            images.iter().map(|image| image.0),
        )),
        Arc::new(StringArray::from_iter_values(
            images.iter().map(|image| image.1),
        )),
        Arc::new(Int32Array::from_iter_values(
            images.iter().map(|image| image.2),
        )),
        image_array(values, states, Some(NullBuffer::from(told))),
        Arc::new(UInt64Array::from_iter_values(
            first..first + images.len() as u64,
        )),
    ];
    let field = |name: &str, column: &ArrayRef| Field::new(name, column.data_type().clone(), true);
    let names = ["id", "kind", "n", "notes", "position"];
    let fields = names.iter().zip(&columns);
    let fields = fields
        .map(|(name, column)| field(name, column))
        .collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Key, number, value and state of each row that comes of `images`, which come in batches of `size`.
fn fold(images: &[Image], size: usize) -> Vec<(i32, i32, Option<String>, i8)> {
    let columns = columns();
    let mut folding = Folding::new(Arc::clone(&columns));
    let batches = images.chunks(size).enumerate();
    let mut rows: Vec<RecordBatch> = batches
        .map(|(number, images)| {
            folding
                .push(&batch(images, (number * size) as u64))
                .unwrap()
        })
        .collect();
    rows.push(folding.finish());
    let rows = rows.iter().filter(|rows| rows.num_rows() > 0);
    let rows = rows.flat_map(|rows| {
        let known = known_rows(rows, &columns).unwrap();
        assert_eq!(known.large, [2]);
        let (values, states) = parts(&known.columns[2]).unwrap();
        let int = |column: &ArrayRef, row| {
            column
                .as_primitive::<datafusion::arrow::datatypes::Int32Type>()
                .value(row)
        };
        let text = values.as_string::<i32>();
        let row = |row: usize| {
            let value = text.is_valid(row).then(|| text.value(row).to_string());
            let key = int(&known.keys[0], row);
            assert_eq!(key, int(&known.columns[0], row));
            (key, int(&known.columns[1], row), value, states.value(row))
        };
        (0..known.count).map(row).collect::<Vec<_>>()
    });
    rows.collect()
}

#[test]
fn each_key_has_its_last_image_and_the_last_value_that_is_told() {
    let told = |text| Some(Some(text));
    let images = [
        (1, UPDATE, 10, told("a")),
        (1, UPDATE, 11, None),
        (1, UPDATE, 12, None),
        (2, UPDATE, 20, None),
        (2, UPDATE, 21, None),
        (3, INSERT, 30, told("c")),
        (3, UPDATE, 31, Some(None)),
        (3, UPDATE, 32, None),
        (4, UPDATE, 40, told("d")),
        (4, DELETE, 41, None),
        (5, DELETE, 50, None),
        (6, DELETE, 60, None),
        (6, INSERT, 61, told("f")),
    ];
    let rows = [
        (1, 12, Some("a".to_string()), KNOWN),
        (2, 21, None, KEPT),
        (3, 32, None, KNOWN),
        (4, 41, Some("d".to_string()), KNOWN),
        (5, 50, None, SPARE),
        (6, 61, Some("f".to_string()), KNOWN),
    ];
    for size in 1..=images.len() {
        assert_eq!(fold(&images, size), rows, "{size}");
    }
}

#[test]
fn no_images_make_no_rows() {
    let mut folding = Folding::new(columns());
    assert_eq!(folding.push(&batch(&[], 0)).unwrap().num_rows(), 0);
    assert_eq!(folding.finish().num_rows(), 0);
}

#[test]
fn what_is_handed_on_is_the_value_or_what_is_known_of_it() {
    let rows = batch(
        &[(1, UPDATE, 10, Some(Some("a"))), (2, UPDATE, 20, None)],
        0,
    );
    let known = known_rows(&rows, &columns()).unwrap();
    for form in [
        LargeValues::ReadBack,
        LargeValues::Kept { read_back: false },
    ] {
        let fields = vec![
            Field::new("id", DataType::Int32, true),
            Field::new("n", DataType::Int32, true),
            Field::new("notes", form.form(&DataType::Utf8), true),
        ];
        let formed = formed_rows(&known, form, &Arc::new(Schema::new(fields))).unwrap();
        assert_eq!(formed.num_rows(), 2);
    }
}
