//! Rows and types as the files write them.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{ColumnType, DBOutput};

/// The type of a column, a letter each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// `B`
    Boolean,
    /// `D`: a date or a timestamp.
    Instant,
    /// `I`
    Integer,
    /// `R`: any other number.
    Number,
    /// `T`
    Text,
    /// `?`
    Other,
}

impl ColumnType for Type {
    fn from_char(value: char) -> Option<Self> {
        Some(match value {
            'B' => Self::Boolean,
            'D' => Self::Instant,
            'I' => Self::Integer,
            'R' => Self::Number,
            'T' => Self::Text,
            '?' => Self::Other,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::Instant => 'D',
            Self::Integer => 'I',
            Self::Number => 'R',
            Self::Text => 'T',
            Self::Other => '?',
        }
    }
}

impl From<&DataType> for Type {
    fn from(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Dictionary(_, values) => values.as_ref().into(),
            data_type if data_type.is_integer() => Self::Integer,
            data_type if data_type.is_numeric() => Self::Number,
            data_type if data_type.is_temporal() => Self::Instant,
            _ => Self::Other,
        }
    }
}

/// The rows of an answer: NULL is `NULL`, and a text without characters `(empty)`.
pub(super) fn answer(schema: &Schema, batches: &[RecordBatch]) -> DBOutput<Type> {
    let types = schema.fields().iter();
    DBOutput::Rows {
        types: types.map(|field| field.data_type().into()).collect(),
        rows: batches.iter().flat_map(rows).collect(),
    }
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let row = |row: usize| {
        let cells = columns.iter().map(|column| column.value(row).to_string());
        cells
            .map(|cell| match cell.is_empty() {
                true => "(empty)".to_string(),
                false => cell,
            })
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}
