//! The source against the embedded server, over its real wire.

mod bounds;
mod connections;
mod faults;
mod on_demand;
mod pushdown;
mod zones;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::{ConnectionConfig, Database, SourceError};

/// The rows of a query over a table `t`: cells joined by `|`, NULL as `-`.
async fn rows(table: Arc<dyn TableProvider>, sql: &str) -> Result<Vec<String>, DataFusionError> {
    let context = SessionContext::new();
    context.register_table("t", table)?;
    let batches = context.sql(sql).await?.collect().await?;
    Ok(batches.iter().flat_map(lines).collect())
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect::<Vec<_>>();
    (0..batch.num_rows())
        .map(|row| {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            cells.collect::<Vec<_>>().join("|")
        })
        .collect()
}

/// The error of this source inside one of DataFusion's.
fn inner(error: &DataFusionError) -> &SourceError {
    match error.find_root() {
        DataFusionError::External(source) => source.downcast_ref().unwrap(),
        other => panic!("{other}"),
    }
}
