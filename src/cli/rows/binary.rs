//! Rows as files that programs read: Parquet and Arrow IPC.
//!
//! Each writer writes to memory, from where what it has written goes out batch by batch.

use std::io::Write as _;
use std::mem::take;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;

use super::{Out, RowWriter};

/// Bytes of a row group that are held before it is written.
const ROW_GROUP: usize = 64 << 20;

/// A Parquet file.
pub(super) struct Parquet(ArrowWriter<Vec<u8>>);

impl Parquet {
    pub(super) fn try_new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), None)?;
        Ok(Self(writer))
    }
}

impl RowWriter for Parquet {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        if self.0.memory_size() >= ROW_GROUP {
            self.0.flush()?;
        }
        out.write_all(&take(self.0.inner_mut()))
            .map_err(ArrowError::from)
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.write_all(&take(self.0.inner_mut()))
            .map_err(ArrowError::from)
    }
}

/// An Arrow IPC file.
pub(super) struct Ipc(FileWriter<Vec<u8>>);

impl Ipc {
    pub(super) fn try_new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self(FileWriter::try_new(Vec::new(), schema)?))
    }
}

impl RowWriter for Ipc {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        out.write_all(&take(self.0.get_mut()))
            .map_err(ArrowError::from)
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.write_all(&take(self.0.get_mut()))
            .map_err(ArrowError::from)
    }
}
