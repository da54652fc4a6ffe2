//! Values of partition columns that a Delta table would give back as others.

use datafusion::arrow::array::BinaryArray;

use super::super::{SinkErrorKind, TableOptions};
use super::*;

fn by(column: &str) -> TableOptions {
    TableOptions {
        partition_columns: vec![column.to_string()],
        ..TableOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_would_be_read_back_as_null_is_refused() {
    let lake = Lake::new();
    let provider = async || lake.provider().await.with_options(by("city")).unwrap();
    let rejected = ["", "__HIVE_DEFAULT_PARTITION__"];
    for city in rejected {
        let source = Source::of(&[
            (1, None, Some("x"), "insert"),
            (2, None, Some(city), "insert"),
        ]);
        let error = write_to(Arc::new(provider().await), MIRROR, source.table()).await;
        let error = error.unwrap_err();
        assert_eq!(
            sink_error(&error).kind(),
            SinkErrorKind::InvalidRow,
            "{error}"
        );
        let cause = std::error::Error::source(sink_error(&error)).unwrap();
        assert!(cause.to_string().contains("'city'"), "{cause}");
        assert!(!lake.target().await.exists(), "{city}");
    }
    let fine = Source::of(&[(1, None, Some(" "), "insert"), (2, None, None, "insert")]);
    let _ = write_to(Arc::new(provider().await), MIRROR, fine.table())
        .await
        .unwrap();
    let before = lake.rows().await;
    for city in rejected {
        for (id, kind) in [(1, "update_postimage"), (3, "insert")] {
            let source = Source::of(&[(id, None, Some(city), kind)]);
            let error = lake.write(MIRROR, source.table(), None).await.unwrap_err();
            assert_eq!(
                sink_error(&error).kind(),
                SinkErrorKind::InvalidRow,
                "{error}"
            );
        }
        let insert = "INSERT INTO customers SELECT customer_id, name, city FROM src";
        let source = Source::of(&[(4, None, Some(city), "insert")]);
        let error = lake.write(insert, source.table(), None).await.unwrap_err();
        assert_eq!(
            sink_error(&error).kind(),
            SinkErrorKind::InvalidRow,
            "{error}"
        );
    }
    assert_eq!(
        (lake.rows().await, lake.target().await.version()),
        (before, Some(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_text_is_kept_where_it_is_no_partition() {
    let lake = Lake::new();
    let _ = lake
        .apply(&[(1, Some(""), Some(""), "insert")], first(1))
        .await;
    let ctx = SessionContext::new();
    ctx.register_table("customers", Arc::new(lake.provider().await))
        .unwrap();
    assert_eq!(
        query(&ctx, "SELECT count(*) FROM customers WHERE city = ''").await,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_partition_column_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("hash", DataType::Binary, true),
    ]));
    let target = DeltaTarget::open(folder.path().to_str().unwrap(), HashMap::new())
        .await
        .unwrap();
    let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&schema)))
        .await
        .unwrap();
    let provider = Arc::new(provider.with_options(by("hash")).unwrap());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values([1])),
        Arc::new(BinaryArray::from_iter_values([b"\xff"])),
    ];
    let source = Source::batch(RecordBatch::try_new(schema, columns).unwrap());
    let insert = "INSERT INTO customers SELECT id, hash FROM src";
    let error = write_to(provider, insert, source.table())
        .await
        .unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Unsupported,
        "{error}"
    );
    assert!(error.to_string().contains("'hash'"), "{error}");
}
