//! Rows as files that programs read: Parquet and Arrow IPC.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;

use super::{Out, RowWriter};

/// Bytes of a row group that are held before it is written.
const ROW_GROUP: usize = 64 << 20;

/// What a writer has written since it was last asked.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn send(&self, out: &mut Out) -> Result<(), ArrowError> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        out.write_all(&bytes).map_err(ArrowError::from)
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A Parquet file.
pub(super) struct Parquet {
    schema: SchemaRef,
    written: Written,
    writer: Option<ArrowWriter<Written>>,
}

impl Parquet {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            written: Written::default(),
            writer: None,
        }
    }

    fn writer(&mut self) -> Result<&mut ArrowWriter<Written>, ArrowError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                ArrowWriter::try_new(self.written.clone(), SchemaRef::clone(&self.schema), None)?
            }
        };
        Ok(self.writer.insert(writer))
    }
}

impl RowWriter for Parquet {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        let writer = self.writer()?;
        writer.write(batch)?;
        if writer.memory_size() >= ROW_GROUP {
            writer.flush()?;
        }
        self.written.send(out)
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.writer()?.finish()?;
        self.written.send(out)
    }
}

/// An Arrow IPC file.
pub(super) struct Ipc {
    schema: SchemaRef,
    written: Written,
    writer: Option<FileWriter<Written>>,
}

impl Ipc {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            written: Written::default(),
            writer: None,
        }
    }

    fn writer(&mut self) -> Result<&mut FileWriter<Written>, ArrowError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => FileWriter::try_new(self.written.clone(), &self.schema)?,
        };
        Ok(self.writer.insert(writer))
    }
}

impl RowWriter for Ipc {
    fn write(&mut self, out: &mut Out, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer()?.write(batch)?;
        self.written.send(out)
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), ArrowError> {
        self.writer()?.finish()?;
        self.written.send(out)
    }
}
