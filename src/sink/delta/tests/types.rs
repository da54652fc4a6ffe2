use datafusion::arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::TimeUnit;

use super::super::TableOptions;
use super::*;

/// A row of every type, NULLs in the second.
fn typed() -> RecordBatch {
    let instant = 1_704_067_200_123_456;
    let micros = || TimestampMicrosecondArray::from(vec![Some(instant), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("price", Arc::new(decimals())),
        ("ratio", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_723), None]))),
        ("local", Arc::new(micros())),
        ("utc", Arc::new(micros().with_timezone("UTC"))),
        (
            "fine",
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(instant * 1000),
                None,
            ])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), None])),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec![Some("größer 'x'"), None])),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn decimals() -> Decimal128Array {
    let decimals = Decimal128Array::from(vec![Some(-123_456_789_012_345_678_901_234_i128), None]);
    decimals.with_precision_and_scale(38, 4).unwrap()
}

const EXPECTED: &str = "1,true,-12345678901234567890.1234,0.5,2024-01-01,2024-01-01T00:00:00.123456,\
2024-01-01T00:00:00.123456Z,2024-01-01T00:00:00.123456,00ff,größer 'x'\n2,,,,,,,,,";

fn mirror(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let of = |side: &str| {
        names
            .iter()
            .map(|name| format!("{side}.{name}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let set: Vec<String> = names
        .iter()
        .map(|name| format!("{name} = s.{name}"))
        .collect();
    format!(
        "MERGE INTO customers t USING src s ON t.id = s.id WHEN MATCHED THEN UPDATE SET {} \
         WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
        set.join(", "),
        names.join(", "),
        of("s")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_round_trips_through_an_append_and_a_merge() {
    let lake = Lake::new();
    let batch = typed();
    for version in [0, 1] {
        let target = lake.target().await;
        let provider = DeltaTableProvider::try_new(target, Some(batch.schema()))
            .await
            .unwrap();
        let source = Source::batch(batch.clone()).table();
        let outcome = write_to(Arc::new(provider), &mirror(&batch), source)
            .await
            .unwrap();
        assert_eq!(outcome.version(), Some(version));
        assert_eq!(lake.rows().await, EXPECTED, "version {version}");
    }
    let schema = lake.target().await.schema().unwrap();
    let stored = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    let micros = TimeUnit::Microsecond;
    assert_eq!(stored("local"), DataType::Timestamp(micros, None));
    assert_eq!(stored("fine"), DataType::Timestamp(micros, None));
    assert_eq!(
        stored("utc"),
        DataType::Timestamp(micros, Some("UTC".into()))
    );
    assert_eq!(stored("price"), DataType::Decimal128(38, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_the_smallest_that_the_table_needs() {
    let protocols = [("auto", (3, 7)), ("off", (1, 2))];
    for (vectors, versions) in protocols {
        let lake = Lake::new();
        let options = TableOptions {
            properties: vec![("cdcql.deletionVectors".to_string(), vectors.to_string())],
            ..TableOptions::default()
        };
        let provider = lake.provider().await.with_options(options).unwrap();
        let provider = provider.with_commit(first(1));
        let _ = write_to(Arc::new(provider), MIRROR, Source::of(&[]).table())
            .await
            .unwrap();
        let target = lake.target().await;
        let protocol = target.snapshot().unwrap().protocol().clone();
        assert_eq!(
            (protocol.min_reader_version(), protocol.min_writer_version()),
            versions,
            "{vectors}"
        );
    }

    let lake = Lake::new();
    let batch = typed();
    let target = lake.target().await;
    let provider = DeltaTableProvider::try_new(target, Some(batch.schema()))
        .await
        .unwrap();
    let source = Source::batch(batch.clone()).table();
    let _ = write_to(Arc::new(provider), &mirror(&batch), source)
        .await
        .unwrap();
    let target = lake.target().await;
    let protocol = format!("{:?}", target.snapshot().unwrap().protocol());
    assert!(protocol.contains("TimestampWithoutTimezone"), "{protocol}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_many_types_find_their_rows() {
    let key_types = [
        "price", "day", "local", "utc", "fine", "bytes", "text", "ratio", "flag",
    ];
    for name in key_types {
        let lake = Lake::new();
        let batch = typed();
        let sql = format!(
            "MERGE INTO customers t USING src s ON t.{name} = s.{name} \
             WHEN MATCHED THEN UPDATE SET id = t.id + s.id \
             WHEN NOT MATCHED AND s.{name} IS NOT NULL THEN INSERT (id, {name}) VALUES (s.id, s.{name})"
        );
        for version in [0, 1] {
            let target = lake.target().await;
            let provider = DeltaTableProvider::try_new(target, Some(batch.schema()))
                .await
                .unwrap();
            let source = Source::batch(batch.clone()).table();
            let outcome = write_to(Arc::new(provider), &sql, source).await.unwrap();
            let rows = outcome.rows();
            assert_eq!(
                (rows.inserted, rows.updated),
                (1 - version, version),
                "{name}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_delta_cannot_store_is_refused_before_anything_is_written() {
    let lake = Lake::new();
    let time = DataType::Time64(TimeUnit::Nanosecond);
    let schema = Arc::new(Schema::new(vec![Field::new("opens", time, true)]));
    let error = DeltaTableProvider::try_new(lake.target().await, Some(schema))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SinkError::InvalidColumnType { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("'opens'"), "{error}");
    assert!(!lake.path().exists());
}
