//! Values of partition columns that a Delta table would give back as others.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use deltalake::DeltaTableError;

use super::super::SinkError;

/// What a partition's folder is called whose value is NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// The partition columns of text, whose values are written into the log as they are.
#[derive(Debug, Clone)]
pub(super) struct PartitionTexts {
    location: Arc<str>,
    places: Vec<usize>,
}

impl PartitionTexts {
    /// Those of a table with the columns of `schema`, of which `partition` are the partition columns.
    ///
    /// # Errors
    ///
    /// A partition column is binary: the log has no form for its values that every reader knows.
    pub(super) fn try_new(
        location: &str,
        schema: &Schema,
        partition: &[String],
    ) -> Result<Self, SinkError> {
        let mut places = Vec::new();
        for (place, field) in schema.fields().iter().enumerate() {
            if !partition.contains(field.name()) {
                continue;
            }
            match field.data_type() {
                DataType::Utf8 => places.push(place),
                DataType::Binary => {
                    return Err(SinkError::Unsupported {
                        location: location.to_string(),
                        what: format!("the binary partition column '{}'", field.name()),
                        hint: "partition by a column of text, such as encode(…, 'hex')".to_string(),
                        source: None,
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            location: Arc::from(location),
            places,
        })
    }

    /// Fails at the first value that would be read back as NULL, as the protocol has an empty text for it.
    pub(super) fn verify(&self, rows: &RecordBatch) -> Result<(), SinkError> {
        for place in &self.places {
            let values = rows.column(*place).as_string::<i32>();
            let lost = values.iter().flatten();
            let lost = lost.filter(|value| value.is_empty() || *value == NULL_FOLDER);
            if let Some(value) = lost.into_iter().next() {
                let schema = rows.schema();
                let column = schema.field(*place).name();
                let message = format!(
                    "partition column '{column}' cannot hold '{value}', which is NULL there"
                );
                return Err(SinkError::InvalidRow {
                    location: self.location.to_string(),
                    source: Box::new(DeltaTableError::InvalidData { message }),
                });
            }
        }
        Ok(())
    }
}
