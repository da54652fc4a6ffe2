//! Two source rows for one target row: which row it was.

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::Column;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use deltalake::DeltaTableError;

use super::super::SinkError;

const MARK: &str = "MERGE matched a target row with multiple source rows";

/// The target row that two source rows matched: a data file and a row in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DuplicateRow {
    file: Option<(String, usize)>,
}

impl DuplicateRow {
    /// Recognises deltalake's error; it has no type, only a text.
    pub(super) fn in_error(error: &DeltaTableError) -> Option<Self> {
        let text = error.to_string();
        let (_, rest) = text.split_once(MARK)?;
        Some(Self { file: place(rest) })
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
    location: &str,
    row: &DuplicateRow,
    key_columns: &[String],
) -> SinkError {
    let key = match &row.file {
        Some((file, ordinal)) if !key_columns.is_empty() => {
            Box::pin(read_key(state, file, *ordinal, key_columns)).await
        }
        _ => None,
    };
    SinkError::DuplicateMatch {
        location: location.to_string(),
        key,
    }
}

async fn read_key(
    state: SessionState,
    file: &str,
    ordinal: usize,
    key_columns: &[String],
) -> Option<String> {
    // One partition, so that rows come in the order of the file.
    let config = state.config().clone().with_target_partitions(1);
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .build();
    let columns = key_columns
        .iter()
        .map(|column| Expr::Column(Column::from_name(column)));
    let rows = SessionContext::new_with_state(state)
        .read_parquet(file, ParquetReadOptions::default())
        .await
        .ok()?
        .limit(ordinal, Some(1))
        .ok()?
        .select(columns)
        .ok()?
        .collect()
        .await
        .ok()?;
    describe(rows.iter().find(|batch| batch.num_rows() == 1)?)
}

fn describe(row: &RecordBatch) -> Option<String> {
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
        let file = Some(("file:///t/part-0.parquet".to_string(), 17));
        assert_eq!(DuplicateRow::in_error(&error), Some(DuplicateRow { file }));
        let other = DeltaTableError::Generic("something else".to_string());
        assert_eq!(DuplicateRow::in_error(&other), None);
    }
}
