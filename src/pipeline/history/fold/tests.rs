use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::util::display::array_value_to_string;

use super::*;
use crate::change::Lsn;

/// A row of the input: the key, the commit and its time, the value if the row is there, and the version that was valid.
#[derive(Clone, Copy, Default)]
struct Image {
    id: i32,
    commit: Option<u8>,
    at: i64,
    value: Option<&'static str>,
    prior: Option<(&'static str, u8, i64)>,
    floor: Option<i64>,
}

fn version(number: u8) -> String {
    Lsn::from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, number])
        .unwrap()
        .to_hex()
}

fn shape(tracked: Option<Vec<usize>>) -> Arc<Shape> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("id", DataType::Int32),
        ("value", DataType::Utf8),
        ("__START_AT", DataType::Utf8),
        ("__END_AT", DataType::Utf8),
        ("valid_from", instant.clone()),
        ("valid_to", instant),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Shape {
        schema: Arc::new(Schema::new(fields.to_vec())),
        written: 2,
        keys: vec![0],
        tracked,
        undecided: Vec::new(),
        has_period: true,
    })
}

fn batch(images: &[Image]) -> RecordBatch {
    let ids = || {
        Arc::new(
            images
                .iter()
                .map(|image| Some(image.id))
                .collect::<Int32Array>(),
        ) as ArrayRef
    };
    let text = |values: Vec<Option<String>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let instants = |values: Vec<Option<i64>>| {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef
    };
    let of = |value: fn(&Image) -> Option<String>| text(images.iter().map(value).collect());
    let times = |value: fn(&Image) -> Option<i64>| instants(images.iter().map(value).collect());
    let present = images.iter().map(|image| Some(image.value.is_some()));
    let columns = [
        ("key", ids()),
        ("version", of(|image| image.commit.map(version))),
        (
            "present",
            Arc::new(present.collect::<BooleanArray>()) as ArrayRef,
        ),
        ("at", times(|image| Some(image.at))),
        ("event 0", ids()),
        ("event 1", of(|image| image.value.map(str::to_string))),
        ("prior 0", ids()),
        (
            "prior 1",
            of(|image| image.prior.map(|(value, ..)| value.to_string())),
        ),
        (
            "start",
            of(|image| image.prior.map(|(_, start, _)| version(start))),
        ),
        ("from", times(|image| image.prior.map(|(.., from)| from))),
        ("floor", times(|image| image.floor)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// The versions that follow, each as `id value start-end from-to`, where the images come in `batches`.
fn folded(
    (tracked, is_copy): (Option<Vec<usize>>, bool),
    batches: &[&[Image]],
) -> Result<Vec<String>> {
    let begun = Begun {
        after: Lsn::from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5]).unwrap(),
        micros: 50,
        earliest: None,
        is_copy,
    };
    let mut folding = Folding::new(shape(tracked), begun)?;
    let mut made = Vec::new();
    for images in batches {
        made.push(folding.push(&batch(images))?);
    }
    made.push(folding.finish()?);
    let mut told = Vec::new();
    for rows in made {
        for row in 0..rows.num_rows() {
            let cell = |column: usize| array_value_to_string(rows.column(column), row).unwrap();
            let number = |column: usize| cell(column).trim_start_matches('0').to_string();
            let micros = |column: usize| {
                let instants = rows
                    .column(column)
                    .as_primitive::<TimestampMicrosecondType>();
                let value = instants
                    .is_valid(row)
                    .then(|| instants.value(row).to_string());
                value.unwrap_or_default()
            };
            told.push(format!(
                "{} {} {}-{} {}-{}",
                cell(0),
                cell(1),
                number(2),
                number(3),
                micros(4),
                micros(5)
            ));
        }
    }
    Ok(told)
}

fn image(id: i32, commit: u8, value: Option<&'static str>) -> Image {
    Image {
        id,
        commit: Some(commit),
        at: i64::from(commit) * 10,
        value,
        ..Image::default()
    }
}

fn over(prior: (&'static str, u8, i64), image: Image) -> Image {
    Image {
        prior: Some(prior),
        ..image
    }
}

#[test]
fn each_commit_ends_a_version_and_begins_another() {
    let prior = ("a", 3, 30);
    let images = [
        over(prior, image(1, 6, Some("b"))),
        over(prior, image(1, 7, None)),
        over(prior, image(1, 9, Some("b"))),
        image(2, 8, Some("x")),
        image(3, 8, None),
    ];
    let expected = ["1 a 3-6 30-60", "1 b 6-7 60-70", "1 b 9- 90-", "2 x 8- 80-"];
    assert_eq!(folded((None, false), &[&images]).unwrap(), expected);
    // A key whose images come in several batches is one.
    for cut in 1..images.len() {
        let (first, rest) = images.split_at(cut);
        assert_eq!(
            folded((None, false), &[first, rest]).unwrap(),
            expected,
            "{cut}"
        );
    }
    let single: Vec<&[Image]> = images.chunks(1).collect();
    assert_eq!(folded((None, false), &single).unwrap(), expected);
}

#[test]
fn a_change_of_no_tracked_column_stays_within_the_version() {
    let prior = ("a", 3, 30);
    let images = [
        over(prior, image(1, 6, Some("b"))),
        over(prior, image(1, 7, Some("c"))),
    ];
    assert_eq!(
        folded((Some(vec![]), false), &[&images]).unwrap(),
        ["1 c 3- 30-"]
    );
    let same = [over(prior, image(1, 6, Some("a")))];
    assert!(folded((Some(vec![1]), false), &[&same]).unwrap().is_empty());
    assert_eq!(
        folded((None, false), &[&same]).unwrap(),
        ["1 a 3-6 30-60", "1 a 6- 60-"]
    );
}

#[test]
fn a_copy_begins_versions_of_what_differs_and_ends_those_of_what_is_not_there() {
    let prior = ("a", 3, 30);
    let gone = Image {
        id: 4,
        prior: Some(prior),
        ..Image::default()
    };
    let images = [
        over(prior, image(1, 5, Some("a"))),
        over(prior, image(2, 5, Some("b"))),
        // It was not there before its first commit.
        over(prior, image(3, 7, Some("a"))),
        gone,
    ];
    assert_eq!(
        folded((None, true), &[&images]).unwrap(),
        [
            "2 a 3-5 30-50",
            "2 b 5- 50-",
            "3 a 3-5 30-50",
            "3 a 7- 70-",
            "4 a 3-5 30-50"
        ]
    );
}

#[test]
fn times_that_go_back_do_not_go_back_for_a_key() {
    let early = |commit, value| Image {
        at: 10,
        ..over(("a", 3, 30), image(1, commit, value))
    };
    let images = [early(6, Some("b")), early(7, None)];
    assert_eq!(
        folded((None, false), &[&images]).unwrap(),
        ["1 a 3-6 30-30", "1 b 6-7 30-30"]
    );
    // A version that ended before the window has the last word too.
    let again = Image {
        floor: Some(75),
        ..image(2, 7, Some("x"))
    };
    assert_eq!(folded((None, false), &[&[again]]).unwrap(), ["2 x 7- 75-"]);
}

#[test]
fn two_rows_of_one_commit_are_an_error_that_names_the_key() {
    let twice = [image(7, 6, Some("b")), image(7, 6, Some("c"))];
    let error = Error::from(folded((None, false), &[&twice]).unwrap_err());
    assert!(
        matches!(&error, Error::TwoRows { key } if key == "7"),
        "{error}"
    );
    let later = [over(("a", 6, 60), image(7, 7, None))];
    let error = Error::from(folded((None, true), &[&later]).unwrap_err());
    assert!(
        matches!(&error, Error::LaterVersion { key, .. } if key == "7"),
        "{error}"
    );
}

#[test]
fn two_versions_that_are_valid_at_once_are_an_error() {
    let other = over(("b", 4, 40), image(7, 6, Some("b")));
    let rows = [over(("a", 3, 30), image(7, 6, Some("b"))), other];
    let single: Vec<&[Image]> = rows.chunks(1).collect();
    for batches in [vec![rows.as_slice()], single] {
        let error = Error::from(folded((None, false), &batches).unwrap_err());
        assert!(
            matches!(&error, Error::TwoVersions { key } if key == "7"),
            "{error}"
        );
    }
}
