//! Merges that are larger than the memory they may have.

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;

use super::super::RowCounts;
use super::*;

/// The rows of the table and, every fifth one of them, of the source.
const ROWS: i64 = 400_000;

fn wide(names: &str) -> String {
    format!("SELECT value AS id, {names} FROM range(0, {ROWS})")
}

async fn run(
    lake: &Lake,
    runtime: &Arc<RuntimeEnv>,
    sql: &str,
    source: &str,
) -> Result<CommitOutcome> {
    let columns = ["id", "name", "city"];
    let types = [DataType::Int64, DataType::Utf8, DataType::Utf8];
    let fields = columns.into_iter().zip(types);
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let provider = DeltaTableProvider::try_new(lake.target().await, Some(schema)).await?;
    let provider = Arc::new(provider.with_small_file(0));
    let config = SessionConfig::new().with_target_partitions(2);
    let ctx = SessionContext::new_with_config_rt(config, Arc::clone(runtime));
    ctx.register_table("t", Arc::clone(&provider) as _)?;
    let view = ctx.sql(source).await?.into_view();
    ctx.register_table("s", view)?;
    ctx.sql(sql).await?.collect().await?;
    Ok(provider.outcome().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_and_a_table_larger_than_the_memory_are_merged() {
    let lake = Lake::new();
    let unlimited = Arc::new(RuntimeEnv::default());
    let rows = wide("repeat('n', 40) || value AS name, repeat('c', 40) || value AS city");
    let inserted = run(&lake, &unlimited, "INSERT INTO t SELECT * FROM s", &rows).await;
    assert_eq!(inserted.unwrap().rows().inserted, ROWS as u64);

    let pool = Arc::new(FairSpillPool::new(32 << 20));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        // Otherwise the first sort that ends takes what the others need.
        .with_max_spill_merge_fan_in(4)
        .build_arc()
        .unwrap();
    // In no order of the keys; half of them are in the table.
    let source = format!(
        "SELECT (value * 7919) % {ROWS} * 2 AS id, repeat('x', 80) || value AS name, value % 4 AS n \
         FROM range(0, {ROWS}) WHERE value % 2 = 0"
    );
    let merge = "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.n = 0 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET name = s.name \
                 WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)";
    let outcome = run(&lake, &runtime, merge, &source).await.unwrap();
    assert_eq!(runtime.memory_pool.reserved(), 0);
    let rows = outcome.rows();
    let found = run_counts(&lake, &source).await;
    assert_eq!(rows, found);
}

/// What the merge did, by what is in the table.
async fn run_counts(lake: &Lake, source: &str) -> RowCounts {
    let ctx = SessionContext::new();
    let provider = DeltaTableProvider::try_new(lake.target().await, None).await;
    ctx.register_table("t", Arc::new(provider.unwrap()))
        .unwrap();
    ctx.sql(&format!("CREATE VIEW s AS {source}"))
        .await
        .unwrap();
    let count = async |sql: &str| query(&ctx, sql).await.parse::<u64>().unwrap();
    let in_table = format!("s.id < {ROWS}");
    let all = count(&format!("SELECT count(*) FROM s WHERE {in_table}")).await;
    let rows = RowCounts {
        inserted: count(&format!("SELECT count(*) FROM s WHERE NOT {in_table}")).await,
        updated: count(&format!(
            "SELECT count(*) FROM s WHERE {in_table} AND s.n <> 0"
        ))
        .await,
        deleted: count(&format!(
            "SELECT count(*) FROM s WHERE {in_table} AND s.n = 0"
        ))
        .await,
    };
    assert_eq!(all, rows.updated + rows.deleted);
    let total = ROWS as u64 + rows.inserted - rows.deleted;
    assert_eq!(count("SELECT count(*) FROM t").await, total);
    assert_eq!(count("SELECT count(DISTINCT id) FROM t").await, total);
    let wrong = format!(
        "SELECT count(*) FROM s LEFT JOIN t ON s.id = t.id \
         WHERE CASE WHEN {in_table} AND s.n = 0 THEN t.id IS NOT NULL ELSE t.name IS DISTINCT FROM s.name END"
    );
    assert_eq!(count(&wrong).await, 0);
    let untouched = "SELECT count(*) FROM t LEFT ANTI JOIN s ON s.id = t.id \
         WHERE name <> repeat('n', 40) || t.id OR city <> repeat('c', 40) || t.id";
    assert_eq!(count(untouched).await, 0);
    rows
}
