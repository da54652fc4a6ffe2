//! New tables that take the files of a copy as they are.

use datafusion::catalog::MemTable;
use datafusion::parquet::basic::Encoding;
use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
use futures::FutureExt;
use serde_json::Value;
use uuid::Uuid;

use super::super::{Adopted, ChunkName, SinkErrorKind, Staging};
use super::stores::{Stop, Stopping};
use super::*;

async fn open(location: &str) -> DeltaTarget {
    DeltaTarget::open(location, HashMap::new()).await.unwrap()
}

/// The only chunk of a copy, for a new table with these columns.
struct Copied {
    staging: Staging,
    copy: Uuid,
}

impl Copied {
    async fn new(target: &DeltaTarget, table: &SchemaRef, rows: RecordBatch) -> Self {
        let staging = target.staging("customers");
        let staging = staging.adopted_by(Some(Arc::clone(table)));
        staging.begin("{}".to_string()).await.unwrap();
        let copy = Uuid::new_v4();
        let name = ChunkName {
            copy,
            number: 0,
            run: Uuid::new_v4(),
            after: None,
            upto: None,
        };
        let source = Source::batch(rows);
        let rows = source.execute(Arc::default());
        let _ = staging.write(name, rows, |_| ()).await.unwrap();
        Self { staging, copy }
    }

    /// Its files, none of which is touched.
    async fn adopted(&self) -> Option<Adopted> {
        let chunks = self.staging.chunks(self.copy).await.unwrap();
        assert_eq!(chunks.len(), 1);
        let (_, adopted) = self.staging.divided(&chunks, &Default::default());
        assert_eq!(adopted.as_ref().unwrap().rows(), chunks[0].rows);
        adopted
    }
}

/// Makes the table of `adopted` and of `rows`.
async fn created(
    target: DeltaTarget,
    adopted: Option<Adopted>,
    rows: RecordBatch,
) -> Result<CommitOutcome> {
    let schema = rows.schema();
    let provider = DeltaTableProvider::try_new(target, Some(Arc::clone(&schema))).await?;
    let provider = provider.with_commit(first(1)).with_adopted(adopted);
    let source = MemTable::try_new(schema, vec![vec![rows]])?;
    let sql = "INSERT INTO customers SELECT * FROM src";
    write_to(Arc::new(provider), sql, Arc::new(source)).await
}

/// What a query of the table `t` answers.
async fn answer(target: DeltaTarget, sql: &str) -> String {
    let ctx = SessionContext::new();
    let provider = DeltaTableProvider::try_new(target, None).await.unwrap();
    ctx.register_table("t", Arc::new(provider)).unwrap();
    query(&ctx, sql).await
}

fn some_customers(ids: std::ops::Range<i32>) -> RecordBatch {
    let names = ids.clone().map(|id| Some(format!("customer {id}")));
    let cities = ids
        .clone()
        .map(|id| ["Gotham", "Metropolis"].get(id as usize % 3).copied());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(ids.clone())),
        Arc::new(names.collect::<StringArray>()),
        Arc::new(cities.collect::<StringArray>()),
    ];
    RecordBatch::try_new(customers(), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_wide_table_are_of_as_many_columns_as_other_writers_give() {
    let lake = Lake::new();
    let target = lake.target().await;
    let wide = |ids: std::ops::Range<i32>| {
        let columns = (0..40).map(|column| {
            let values = Int32Array::from_iter_values(ids.clone().map(|id| id + column));
            (format!("c{column:02}"), Arc::new(values) as ArrayRef, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let rows = wide(0..2000);
    let copied = Copied::new(&target, &rows.schema(), rows).await;
    let adopted = copied.adopted().await;
    let outcome = created(target, adopted, wide(2000..2010)).await.unwrap();
    assert_eq!(
        (outcome.version(), outcome.rows().inserted),
        (Some(0), 2010)
    );

    let log = lake.path().join("_delta_log/00000000000000000000.json");
    let log = std::fs::read_to_string(log).unwrap();
    let actions = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let stats = actions.filter_map(|action| {
        let stats = action["add"]["stats"].as_str()?;
        serde_json::from_str::<Value>(stats).ok()
    });
    let mut stats: Vec<Value> = stats.collect();
    stats.sort_by_key(|stats| stats["numRecords"].as_i64());
    let counts: Vec<_> = stats.iter().map(|s| s["numRecords"].as_i64()).collect();
    assert_eq!(counts, [Some(10), Some(2000)]);
    for (stats, least) in stats.iter().zip([2000, 0]) {
        let values = stats["minValues"].as_object().unwrap();
        assert_eq!(values.len(), 32);
        assert_eq!(values["c31"], least + 31);
    }

    let target = lake.target().await;
    let sums = answer(target, "SELECT count(*), sum(c00), sum(c39) FROM t").await;
    let sum: i64 = (0..2010).sum();
    assert_eq!(sums, format!("2010,{sum},{}", sum + 39 * 2010));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dictionary_is_given_up_early_where_the_first_values_differ() {
    let lake = Lake::new();
    let target = lake.target().await;
    // Both texts have about 800 KB of values, of which those of the second come twice.
    let ids = 0..40_000;
    let text = |id: i32| format!("{id:016}");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(ids.clone())),
        Arc::new(StringArray::from_iter_values(ids.clone().map(text))),
        Arc::new(StringArray::from_iter_values(
            ids.map(|id| format!("{}, {0}", text(id / 2))),
        )),
    ];
    let rows = RecordBatch::try_new(customers(), columns).unwrap();
    // A copy may read columns in another order.
    let read = rows.project(&[2, 1, 0]).unwrap();
    let copied = Copied::new(&target, &customers(), read).await;
    let adopted = copied.adopted().await;
    let _ = created(target, adopted, some_customers(50_000..50_001))
        .await
        .unwrap();

    let files = std::fs::read_dir(lake.path()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    let mut groups = files.map(|path| {
        let file = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        file.metadata().row_group(0).clone()
    });
    let group = groups.find(|group| group.num_rows() == 40_000).unwrap();
    let is_given_up = group.columns().iter().map(|column| {
        assert!(column.dictionary_page_offset().is_some());
        let pages = column.page_encoding_stats_mask().unwrap();
        let is_plain = pages.is_set(Encoding::PLAIN);
        (column.column_path().string(), is_plain)
    });
    let expected = [("customer_id", false), ("name", true), ("city", false)];
    let expected = expected.map(|(name, is)| (name.to_string(), is));
    assert_eq!(is_given_up.collect::<Vec<_>>(), expected);
    assert_eq!(lake.rows().await.lines().count(), 40_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_makes_the_table_first() {
    let (store, location) = Stopping::new();
    let target = open(&location).await;
    let copied = Copied::new(&target, &customers(), some_customers(0..2000)).await;
    let adopted = copied.adopted().await;
    let theirs = location.clone();
    store.stop(Stop::Run(
        async move {
            let rows = some_customers(7000..7001);
            let _ = created(open(&theirs).await, None, rows).await.unwrap();
        }
        .boxed(),
    ));
    let error = created(target, adopted, some_customers(2000..2001))
        .await
        .unwrap_err();
    assert_eq!(
        sink_error(&error).kind(),
        SinkErrorKind::Conflict,
        "{error}"
    );
    assert_eq!(store.left(), 0);

    // Nothing of ours is in the table, and the copy is where it was.
    let target = open(&location).await;
    assert_eq!(
        answer(target, "SELECT * FROM t").await,
        "7000,customer 7000,Metropolis"
    );
    let _ = copied.adopted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_copies_of_its_own_gets_the_same_table() {
    let (_store, location) = Stopping::new();
    let target = open(&location).await;
    let copied = Copied::new(&target, &customers(), some_customers(0..2000)).await;
    let adopted = copied.adopted().await;
    let outcome = created(target, adopted, some_customers(2000..2001))
        .await
        .unwrap();
    assert_eq!(
        (outcome.version(), outcome.rows().inserted),
        (Some(0), 2001)
    );
    copied.staging.discard().await.unwrap();
    let target = open(&location).await;
    let rows = "SELECT count(*), count(DISTINCT name), min(customer_id), max(customer_id) FROM t";
    assert_eq!(answer(target, rows).await, "2001,2001,0,2000");
}
