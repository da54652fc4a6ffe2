//! Requests and their answers, as tiberius sends and reads them.

use std::time::Duration;

use tiberius::numeric::Numeric;
use tiberius::{ColumnData, EncryptionLevel, ToSql, error::Error, time};
use tokio::time::timeout;

use super::{Client, Tls, config, connect, server};
use crate::simulator::server::Server;

async fn client() -> (Server, Client) {
    let server = server(Tls::Optional).await;
    let mut config = config(&server, EncryptionLevel::NotSupported);
    config.packet_size(512);
    let client = connect(config).await.unwrap();
    (server, client)
}

/// A value in the client's own form.
struct Sent(ColumnData<'static>);

impl ToSql for Sent {
    fn to_sql(&self) -> ColumnData<'_> {
        self.0.clone()
    }
}

/// Sends a value, and gives what comes back.
async fn echo(client: &mut Client, value: &dyn ToSql) -> ColumnData<'static> {
    let rows = client.query("echo", &[value]).await.unwrap();
    let row = rows.into_row().await.unwrap().unwrap();
    row.into_iter().next().unwrap()
}

/// The error that a batch ends in.
async fn failure(client: &mut Client, sql: &str) -> Option<Error> {
    match client.simple_query(sql).await {
        Ok(rows) => rows.into_results().await.err(),
        Err(error) => Some(error),
    }
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_were_sent() {
    let (_server, mut client) = client().await;
    let client = &mut client;
    assert_eq!(echo(client, &true).await, ColumnData::Bit(Some(true)));
    assert_eq!(echo(client, &200_u8).await, ColumnData::U8(Some(200)));
    assert_eq!(echo(client, &-3_i16).await, ColumnData::I16(Some(-3)));
    assert_eq!(
        echo(client, &i32::MIN).await,
        ColumnData::I32(Some(i32::MIN))
    );
    assert_eq!(
        echo(client, &i64::MAX).await,
        ColumnData::I64(Some(i64::MAX))
    );
    assert_eq!(echo(client, &1.5_f32).await, ColumnData::F32(Some(1.5)));
    assert_eq!(echo(client, &-2.25_f64).await, ColumnData::F64(Some(-2.25)));
    assert_eq!(
        echo(client, &"Bruce ♛ 😀").await,
        ColumnData::String(Some("Bruce ♛ 😀".into()))
    );
    assert_eq!(echo(client, &"").await, ColumnData::String(Some("".into())));
    let long = "x".repeat(20_000);
    assert_eq!(
        echo(client, &long.as_str()).await,
        ColumnData::String(Some(long.clone().into()))
    );
    let bytes: &[u8] = &[0, 1, 0xff];
    assert_eq!(
        echo(client, &bytes).await,
        ColumnData::Binary(Some(bytes.into()))
    );
    let many = vec![9_u8; 70_000];
    assert_eq!(
        echo(client, &many.as_slice()).await,
        ColumnData::Binary(Some(many.clone().into()))
    );
    for value in [0, 1, -1, 12_345_678_901_234_567_890_123_456_789] {
        let number = Numeric::new_with_scale(value, 4);
        assert_eq!(
            echo(client, &number).await,
            ColumnData::Numeric(Some(number))
        );
    }
    let id = tiberius::Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    assert_eq!(echo(client, &id).await, ColumnData::Guid(Some(id)));
}

#[tokio::test]
async fn dates_and_times_come_back_as_they_were_sent() {
    let (_server, mut client) = client().await;
    let client = &mut client;
    let date = time::Date::new(738_000);
    let clock = time::Time::new(864_000_000_000 - 10, 7);
    let instant = time::DateTime2::new(date, clock);
    let offset = time::DateTimeOffset::new(instant, 0);
    for value in [
        ColumnData::Date(Some(date)),
        ColumnData::Time(Some(clock)),
        ColumnData::DateTime2(Some(instant)),
        ColumnData::DateTimeOffset(Some(offset)),
        ColumnData::DateTime(Some(time::DateTime::new(45_000, 25_919_999))),
        ColumnData::SmallDateTime(Some(time::SmallDateTime::new(45_000, 1439))),
    ] {
        assert_eq!(echo(client, &Sent(value.clone())).await, value);
    }
}

#[tokio::test]
async fn nulls_of_every_type_come_back_as_nulls() {
    let (_server, mut client) = client().await;
    let nulls: [&dyn ToSql; 9] = [
        &None::<bool>,
        &None::<i16>,
        &None::<i32>,
        &None::<i64>,
        &None::<f64>,
        &None::<&str>,
        &None::<&[u8]>,
        &None::<Numeric>,
        &None::<tiberius::Uuid>,
    ];
    let rows = client.query("echo", &nulls).await.unwrap();
    let row = rows.into_row().await.unwrap().unwrap();
    assert_eq!(row.len(), 9);
    for (_, value) in row.cells() {
        let text = format!("{value:?}");
        assert!(text.ends_with("(None)"), "{text}");
    }
    let some: [&dyn ToSql; 3] = [&Some(1), &None::<i32>, &Some("x")];
    let rows = client.query("echo", &some).await.unwrap();
    let row = rows.into_row().await.unwrap().unwrap();
    assert_eq!(row.get::<i32, _>(0), Some(1));
    assert_eq!(row.get::<i32, _>(1), None);
    assert_eq!(row.get::<&str, _>(2), Some("x"));
}

#[tokio::test]
async fn columns_that_are_not_null_have_bare_types() {
    let (_server, mut client) = client().await;
    let values: [&dyn ToSql; 4] = [&1_i32, &true, &2.5_f64, &"x"];
    let mut rows = client.query("echo not null", &values).await.unwrap();
    let columns = rows.columns().await.unwrap().unwrap().to_vec();
    let types: Vec<_> = columns.iter().map(tiberius::Column::column_type).collect();
    assert_eq!(types[0], tiberius::ColumnType::Int4);
    assert_eq!(types[1], tiberius::ColumnType::Bit);
    assert_eq!(types[2], tiberius::ColumnType::Float8);
    assert_eq!(columns[0].name(), "@P1");
    let row = rows.into_row().await.unwrap().unwrap();
    assert_eq!(row.get::<i32, _>(0), Some(1));
    assert_eq!(row.get::<bool, _>(1), Some(true));
    assert_eq!(row.get::<f64, _>(2), Some(2.5));
}

#[tokio::test]
async fn result_sets_and_counts_keep_their_order() {
    let (_server, mut client) = client().await;
    let results = client
        .simple_query("two")
        .await
        .unwrap()
        .into_results()
        .await;
    let results = results.unwrap();
    let lengths: Vec<_> = results.iter().map(Vec::len).collect();
    assert_eq!(lengths[..2], [2, 1]);
    let changed = client.execute("change", &[]).await.unwrap();
    assert_eq!(changed.rows_affected(), [1]);
}

#[tokio::test]
async fn an_error_leaves_the_connection_usable() {
    let (_server, mut client) = client().await;
    for sql in ["fail", "narrow"] {
        let error = failure(&mut client, sql).await;
        let Some(Error::Server(error)) = error else {
            panic!("{error:?}");
        };
        let expected = if sql == "fail" { 208 } else { 8152 };
        assert_eq!((error.code(), error.class()), (expected, 16));
        assert_eq!(error.server(), "CDCQL");
        assert_eq!(echo(&mut client, &1).await, ColumnData::I32(Some(1)));
    }
}

#[tokio::test]
async fn a_fatal_error_closes_the_connection() {
    let (_server, mut client) = client().await;
    let error = failure(&mut client, "fatal").await;
    assert!(matches!(error, Some(Error::Server(error)) if error.class() == 20));
    let next = timeout(Duration::from_secs(10), failure(&mut client, "text"));
    assert!(!matches!(
        next.await.unwrap(),
        None | Some(Error::Server(_))
    ));
}

#[tokio::test]
async fn transactions_are_begun_and_ended_by_request() {
    let (_server, mut client) = client().await;
    client.begin_transaction().await.unwrap();
    assert_eq!(echo(&mut client, &1).await, ColumnData::I32(Some(1)));
    client.commit_transaction().await.unwrap();
    client.begin_transaction().await.unwrap();
    client.rollback_transaction().await.unwrap();
    assert_eq!(echo(&mut client, &2).await, ColumnData::I32(Some(2)));
}

#[tokio::test]
async fn a_query_that_never_ends_can_be_cancelled() {
    for (encryption, sql) in [
        (EncryptionLevel::NotSupported, "endless"),
        (EncryptionLevel::Required, "endless"),
    ] {
        let server = server(Tls::Optional).await;
        let mut client = connect(config(&server, encryption)).await.unwrap();
        {
            let rows = client.simple_query(sql).await.unwrap();
            let mut rows = rows.into_row_stream();
            for _ in 0..5000 {
                let row = futures::TryStreamExt::try_next(&mut rows).await.unwrap();
                assert_eq!(row.unwrap().get::<i32, _>(0), Some(7));
            }
        }
        let cancelled = timeout(Duration::from_secs(20), client.cancel_query()).await;
        cancelled.unwrap().unwrap();
        assert_eq!(echo(&mut client, &3).await, ColumnData::I32(Some(3)));
    }
}
