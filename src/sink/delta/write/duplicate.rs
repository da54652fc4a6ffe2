//! Two source rows for one target row: which row it was.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::DeltaTableError;

use super::super::{DeltaTarget, SinkError};

const MARK: &str = "MERGE matched a target row with multiple source rows";

/// The target row that two source rows matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DuplicateRow {
    /// A data file, and the number of the row among its live rows, from one.
    place: Option<(String, usize)>,
}

impl DuplicateRow {
    /// Recognises deltalake's error; it has no type, only a text.
    pub(super) fn in_error(error: &DeltaTableError) -> Option<Self> {
        let text = error.to_string();
        let (_, rest) = text.split_once(MARK)?;
        Some(Self { place: place(rest) })
    }
}

/// `… (file: URL, row ordinal in file: N)…`
fn place(text: &str) -> Option<(String, usize)> {
    let (_, text) = text.split_once("(file: ")?;
    let (file, text) = text.split_once(", row ordinal in file: ")?;
    let digits = text.split(')').next()?;
    Some((file.to_string(), digits.parse().ok()?))
}

/// The error for `row`, with the row's key where its file can be read.
pub(super) async fn duplicate_match(
    state: SessionState,
    target: &DeltaTarget,
    row: &DuplicateRow,
    key_columns: &[String],
) -> SinkError {
    let key = match &row.place {
        Some(place) if !key_columns.is_empty() => {
            Box::pin(read_key(state, target, place, key_columns))
                .await
                .ok()
                .flatten()
        }
        _ => None,
    };
    SinkError::DuplicateMatch {
        location: target.location().to_string(),
        key,
    }
}

async fn read_key(
    state: SessionState,
    target: &DeltaTarget,
    (file, number): &(String, usize),
    key_columns: &[String],
) -> Result<Option<String>> {
    // One partition, so that rows come in the order in which the merge counted them.
    let config = state.config().clone().with_target_partitions(1);
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .build();
    let scan = target.table().table_provider().with_file_paths([file]);
    let columns = key_columns
        .iter()
        .map(|column| Expr::Column(Column::from_name(column)));
    let rows = SessionContext::new_with_state(state)
        .read_table(Arc::new(scan.build().await?))?
        .limit(number.saturating_sub(1), Some(1))?
        .select(columns)?
        .collect()
        .await?;
    Ok(rows
        .iter()
        .find(|batch| batch.num_rows() == 1)
        .and_then(describe))
}

/// `name = value` for each column of a batch of one row.
pub(super) fn describe(row: &RecordBatch) -> Option<String> {
    let schema = row.schema();
    let values = schema.fields().iter().zip(row.columns());
    let values = values.map(|(field, column)| {
        let value = array_value_to_string(column, 0).ok()?;
        Some(format!("{} = {value}", field.name()))
    });
    Some(values.collect::<Option<Vec<_>>>()?.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_found_in_the_text_of_the_error() {
        let error = DeltaTableError::Generic(format!(
            "External error: Generic DeltaTable error: {MARK} that satisfy duplicate relevant WHEN MATCHED \
             clauses (file: file:///t/part-0.parquet, row ordinal in file: 17)"
        ));
        let place = Some(("file:///t/part-0.parquet".to_string(), 17));
        assert_eq!(DuplicateRow::in_error(&error), Some(DuplicateRow { place }));
        let other = DeltaTableError::Generic("something else".to_string());
        assert_eq!(DuplicateRow::in_error(&other), None);
    }
}
