//! The data files of a version of the table.

use std::collections::HashMap;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::{DataFusionError, Result};
use datafusion::scalar::ScalarValue;
use delta_kernel::expressions::Scalar;
use deltalake::kernel::{Action, DeletionVectorDescriptor, EagerSnapshot, LogicalFileView};
use deltalake::logstore::LogStoreRef;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use roaring::RoaringTreemap;

use super::vectors::read_vector;

/// Microseconds that an instant in the log may be less than the one in the file.
const CUT_OFF: i64 = 999;
/// How many deletion vectors or footers are read at once.
pub(super) const READ_AHEAD: usize = 8;

/// One data file, as the log has it.
#[derive(Clone)]
pub(in super::super::super) struct DataFile {
    view: LogicalFileView,
    /// The typed values of the partition columns, in the table's order of these.
    pub(in super::super::super) partition: Vec<ScalarValue>,
}

impl std::fmt::Debug for DataFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.view.path())
    }
}

impl DataFile {
    /// Its place below the table's root.
    pub(in super::super::super) fn path(&self) -> Path {
        self.view.object_store_path()
    }

    /// Its size in bytes.
    pub(in super::super::super) fn size(&self) -> u64 {
        u64::try_from(self.view.size()).unwrap_or_default()
    }

    /// Its rows, those that are deleted among them; `None` where the log does not tell.
    pub(in super::super::super) fn rows(&self) -> Option<u64> {
        self.view.num_records().map(|rows| rows as u64)
    }

    /// Its deletion vector.
    pub(in super::super::super) fn vector(&self) -> Option<DeletionVectorDescriptor> {
        self.view.deletion_vector_descriptor()
    }

    /// The smallest and the largest value of a column, each no more than a bound of it.
    pub(in super::super::super) fn bounds(&self, column: &str) -> Option<(Scalar, Scalar)> {
        let lowest = member(self.view.min_values()?, column)?;
        let highest = match member(self.view.max_values()?, column)? {
            // Other writers cut the log's instants off after the millisecond.
            Scalar::Timestamp(micros) => Scalar::Timestamp(micros.saturating_add(CUT_OFF)),
            Scalar::TimestampNtz(micros) => Scalar::TimestampNtz(micros.saturating_add(CUT_OFF)),
            highest => highest,
        };
        Some((lowest, highest))
    }

    /// The action that takes the file out of the table.
    pub(super) fn removal(&self) -> Action {
        Action::Remove(self.view.remove_action(true))
    }

    /// The action that takes the file out of the table, where the same commit adds its rows again.
    pub(super) fn replacement(&self) -> Action {
        Action::Remove(self.view.remove_action(false))
    }

    /// The action that puts the file back with another deletion vector.
    pub(super) fn with_vector(&self, vector: DeletionVectorDescriptor) -> Result<Action> {
        #[allow(deprecated)] // Nothing else keeps the file's tags and statistics.
        let mut add = self.view.add_action();
        add.deletion_vector = Some(vector);
        add.data_change = true;
        add.stats = add.stats.as_deref().map(loosened).transpose()?;
        Ok(Action::Add(add))
    }
}

/// Statistics whose smallest and largest values may be those of a deleted row.
fn loosened(stats: &str) -> Result<String> {
    let failed = |error: serde_json::Error| DataFusionError::External(Box::new(error));
    let mut stats: serde_json::Value = serde_json::from_str(stats).map_err(failed)?;
    if let Some(stats) = stats.as_object_mut() {
        stats.insert("tightBounds".to_string(), serde_json::Value::Bool(false));
    }
    Ok(stats.to_string())
}

fn member(values: Scalar, column: &str) -> Option<Scalar> {
    let Scalar::Struct(values) = values else {
        return None;
    };
    let index = values
        .fields()
        .iter()
        .position(|field| field.name() == column)?;
    values.values().get(index).cloned()
}

/// The data files of `snapshot`, whose columns are those of `schema`.
///
/// # Errors
///
/// A file has no value, or one of another type, for a partition column.
pub(in super::super::super) fn data_files(
    snapshot: &EagerSnapshot,
    schema: &Schema,
) -> Result<Vec<DataFile>> {
    let columns = snapshot.metadata().partition_columns();
    snapshot
        .log_data()
        .iter()
        .map(|view| {
            let values = match columns {
                [] => HashMap::new(),
                _ => view.partition_values_map(),
            };
            let partition = columns
                .iter()
                .map(|column| partition_value(&values, column, schema))
                .collect::<Result<_>>()?;
            Ok(DataFile { view, partition })
        })
        .collect()
}

fn partition_value(
    values: &HashMap<String, Option<String>>,
    column: &str,
    schema: &Schema,
) -> Result<ScalarValue> {
    use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;

    let data_type = schema.field_with_name(column)?.data_type();
    let Some(Some(text)) = values.get(column) else {
        return ScalarValue::try_from(data_type);
    };
    let failed = |error| DataFusionError::External(Box::new(error));
    let stored: delta_kernel::schema::DataType = data_type.try_into_kernel()?;
    let delta_kernel::schema::DataType::Primitive(stored) = stored else {
        return Err(DataFusionError::Plan(format!(
            "partition column '{column}' is of type {data_type}"
        )));
    };
    let value = stored
        .parse_scalar(text)
        .map_err(|error| failed(deltalake::DeltaTableError::from(error)))?;
    // The protocol has an empty text for NULL too.
    if value.is_null() {
        return ScalarValue::try_from(data_type);
    }
    scalar_value(&value)
        .ok_or_else(|| DataFusionError::Plan(format!("partition column '{column}' holds {text}")))?
        .cast_to(data_type)
}

/// A value of the log as DataFusion has it; `None` for nested ones.
pub(in super::super::super) fn scalar_value(value: &Scalar) -> Option<ScalarValue> {
    Some(match value {
        Scalar::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        Scalar::String(value) => ScalarValue::Utf8(Some(value.clone())),
        Scalar::Byte(value) => ScalarValue::Int8(Some(*value)),
        Scalar::Short(value) => ScalarValue::Int16(Some(*value)),
        Scalar::Integer(value) => ScalarValue::Int32(Some(*value)),
        Scalar::Long(value) => ScalarValue::Int64(Some(*value)),
        Scalar::Float(value) => ScalarValue::Float32(Some(*value)),
        Scalar::Double(value) => ScalarValue::Float64(Some(*value)),
        Scalar::Timestamp(value) => {
            ScalarValue::TimestampMicrosecond(Some(*value), Some("UTC".into()))
        }
        Scalar::TimestampNtz(value) => ScalarValue::TimestampMicrosecond(Some(*value), None),
        Scalar::Date(value) => ScalarValue::Date32(Some(*value)),
        Scalar::Binary(value) => ScalarValue::Binary(Some(value.clone())),
        Scalar::Decimal(value) => ScalarValue::Decimal128(
            Some(value.bits()),
            value.precision(),
            i8::try_from(value.scale()).ok()?,
        ),
        _ => return None,
    })
}

/// The deletion vectors of `files`, by the files' numbers.
pub(super) async fn vectors_of(
    log_store: &LogStoreRef,
    files: &[DataFile],
) -> Result<HashMap<i32, RoaringTreemap>> {
    let wanted: Vec<_> = (0..)
        .zip(files)
        .filter_map(|(number, file)| Some((number, file.vector()?)))
        .collect();
    stream::iter(wanted)
        .map(async |(number, vector)| Ok((number, read_vector(log_store, vector).await?)))
        .buffer_unordered(READ_AHEAD)
        .try_collect()
        .await
}
