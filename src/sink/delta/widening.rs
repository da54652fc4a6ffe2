//! Columns that get wider types.
//!
//! All data files are written anew in the commit that changes the schema, so that every file has the types which the table
//! says, as readers without the feature `typeWidening` need it. No row changes.

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, MetadataExt, StructType};
use deltalake::protocol::DeltaOperation;
use deltalake::{DeltaResult, DeltaTableError};
use std::sync::Arc;
use uuid::Uuid;

use super::checkpoint::commit_properties;
use super::schema::stored_schema;
use super::write::{Rewrite, Rewritten, data_files};
use super::{DeltaTarget, SinkError};

/// Decimal digits that values of a whole type have at most.
fn digits(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int8 => Some(3),
        DataType::Int16 => Some(5),
        DataType::Int32 => Some(10),
        DataType::Int64 => Some(19),
        _ => None,
    }
}

/// Whether every value of one type is one of the other, as Delta's
/// [type changes](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#type-widening) have it.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp};
    match (from, to) {
        (Int8, Int16 | Int32 | Int64)
        | (Int16, Int32 | Int64)
        | (Int32, Int64)
        | (Int8 | Int16 | Int32 | Float32, Float64)
        | (Date32, Timestamp(TimeUnit::Microsecond, None)) => true,
        (Decimal128(had, had_scale), Decimal128(precision, scale)) => {
            let more = i16::from(*scale) - i16::from(*had_scale);
            from != to && more >= 0 && i16::from(*precision) - i16::from(*had) >= more
        }
        (from, Decimal128(precision, scale)) => digits(from)
            .is_some_and(|digits| i16::from(*precision) - i16::from(*scale) >= i16::from(digits)),
        _ => false,
    }
}

impl DeltaTarget {
    /// Gives columns the types of `fields`, and writes all data files anew with them, in one commit; the version after
    /// that. Rows are read and written within the memory pool of `state`.
    ///
    /// # Errors
    /// A conflict, if somebody else changed the table meanwhile; `Storage` if it cannot be read or written.
    pub async fn widen(&self, fields: &[Field], state: &SessionState) -> Result<Self> {
        let mut target = self.clone();
        target.refresh().await?;
        let Some((snapshot, schema)) = target.snapshot().zip(target.schema()) else {
            return Ok(target);
        };
        let mut files = data_files(snapshot, &schema)?;
        files.sort_by_cached_key(|file| format!("{:?}", file.partition));
        let schema = widened(&schema, fields);
        let rewrite = Rewrite {
            target: &target,
            files: &files,
            keys: &[],
            schema: Some(Arc::clone(&schema)),
            state,
        };
        let Rewritten { removed, added } = rewrite.run().await?;
        let added = added.into_iter().map(Action::Add);
        let files: Vec<Action> = removed.into_iter().chain(added).collect();
        target.commit_widened(&schema, fields, files).await?;
        target.refresh().await?;
        Ok(target)
    }

    async fn commit_widened(
        &self,
        schema: &SchemaRef,
        fields: &[Field],
        files: Vec<Action>,
    ) -> Result<(), SinkError> {
        let failed = |error: DeltaTableError| SinkError::from_delta(&self.location, "write", error);
        let in_delta = |schema: &Schema| -> Result<StructType, SinkError> {
            let schema = stored_schema(&self.location, schema)?;
            let schema = schema.as_ref().try_into_kernel();
            schema.map_err(|error| failed(DeltaTableError::from(error)))
        };
        let columns = in_delta(&Schema::new(fields.to_vec()))?;
        let schema = in_delta(schema)?;
        let committed = async {
            let snapshot = self.table.snapshot()?;
            let metadata = snapshot.metadata().clone().with_schema(&schema)?;
            let actions = std::iter::once(Action::Metadata(metadata)).chain(files);
            CommitBuilder::from(commit_properties(None, Uuid::new_v4(), None))
                .with_actions(actions.collect())
                .build(
                    Some(snapshot),
                    self.table.log_store(),
                    DeltaOperation::UpdateFieldMetadata {
                        fields: columns.fields().cloned().collect(),
                    },
                )
                .await?;
            DeltaResult::Ok(())
        };
        committed.await.map_err(failed)
    }
}

/// `schema` with the types of `fields`.
fn widened(schema: &SchemaRef, fields: &[Field]) -> SchemaRef {
    let columns = schema.fields().iter().map(|column| {
        let mut fields = fields.iter();
        match fields.find(|field| field.name() == column.name()) {
            Some(field) => {
                let column = column.as_ref().clone();
                Arc::new(column.with_data_type(field.data_type().clone()))
            }
            None => Arc::clone(column),
        }
    });
    let columns: Vec<_> = columns.collect();
    Arc::new(Schema::new_with_metadata(
        columns,
        schema.metadata().clone(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_widens_into_one_that_has_all_its_values() {
        use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
        let wider = [
            (Int16, Int32),
            (Int32, Int64),
            (Float32, Float64),
            (Int32, Float64),
            (Decimal128(10, 2), Decimal128(12, 2)),
            (Decimal128(10, 2), Decimal128(12, 4)),
            (Int32, Decimal128(10, 0)),
            (Int64, Decimal128(21, 2)),
        ];
        for (from, to) in wider {
            assert!(widens(&from, &to), "{from} to {to}");
            assert!(!widens(&to, &from), "{to} to {from}");
        }
        let others = [
            (Int64, Float64),
            (Decimal128(10, 2), Decimal128(11, 4)),
            (Decimal128(10, 2), Decimal128(10, 2)),
            (Int32, Decimal128(9, 0)),
            (Int32, DataType::Utf8),
        ];
        for (from, to) in others {
            assert!(!widens(&from, &to), "{from} to {to}");
        }
    }
}
