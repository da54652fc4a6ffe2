//! Writing data files.

use std::num::NonZeroU64;
use std::sync::Arc;

use datafusion::arrow::compute::partition;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::Result;
use deltalake::DeltaResult;
use deltalake::kernel::{Action, Add, AddCDCFile, EagerSnapshot};
use deltalake::operations::write::WriterStatsConfig;
use deltalake::operations::write::writer::{DeltaWriter, WriterConfig};
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;

use super::super::super::SinkError;
use super::Version;

/// Bytes after which a file is closed, unless the table's `delta.targetFileSize` says otherwise; deltalake's default.
pub(in super::super::super) const FILE_SIZE: NonZeroU64 =
    NonZeroU64::new(100 << 20).expect("is not zero");
/// The folder of change data files, as the protocol has it.
const CHANGES: &str = "_change_data";
/// The column that says what a row of a change data file is.
pub(super) const CHANGE_TYPE: &str = "_change_type";

/// Writes rows that come grouped by their partition into files of the table.
pub(super) struct ImageWriter {
    location: String,
    store: Arc<dyn ObjectStore>,
    config: WriterConfig,
    schema: SchemaRef,
    writer: Option<DeltaWriter>,
    /// The places of the partition columns, and what compares their values.
    partition: Option<(Vec<usize>, RowConverter)>,
    current: Option<OwnedRow>,
    added: Vec<Add>,
}

impl Version<'_> {
    /// A writer of the table's rows, whose columns are `schema`.
    pub(super) fn row_writer(&self, schema: &SchemaRef) -> Result<ImageWriter> {
        let store = self.target.table().log_store().object_store(None);
        ImageWriter::new(self.target.location(), store, self.snapshot, schema)
    }

    /// A writer of the change feed, whose columns are `schema`.
    pub(super) fn change_writer(&self, schema: &SchemaRef) -> Result<ImageWriter> {
        let store = self.target.table().log_store().object_store(None);
        let store = Arc::new(PrefixStore::new(store, CHANGES));
        ImageWriter::new(self.target.location(), store, self.snapshot, schema)
    }
}

impl ImageWriter {
    fn new(
        location: &str,
        store: Arc<dyn ObjectStore>,
        snapshot: &EagerSnapshot,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let columns = snapshot.metadata().partition_columns();
        let partition = match columns {
            [] => None,
            columns => {
                let places = columns.iter().map(|column| schema.index_of(column));
                let places = places.collect::<Result<Vec<_>, _>>()?;
                let fields = places.iter().map(|place| schema.field(*place).data_type());
                let fields = fields.map(|data_type| SortField::new(data_type.clone()));
                let converter = RowConverter::new(fields.collect())?;
                Some((places, converter))
            }
        };
        Ok(Self {
            location: location.to_string(),
            store,
            config: writer_config(snapshot, schema),
            schema: Arc::clone(schema),
            writer: None,
            partition,
            current: None,
            added: Vec::new(),
        })
    }

    /// Writes `batch`, whose columns are the writer's in their order. A file is closed where another partition begins,
    /// so that one is open at a time.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        let Some((places, converter)) = &self.partition else {
            return self.append(&batch).await;
        };
        let values = batch.project(places)?;
        let ranges = partition(values.columns())?.ranges();
        let rows = converter.convert_columns(values.columns())?;
        let starts: Vec<_> = ranges
            .into_iter()
            .map(|range| (rows.row(range.start).owned(), range))
            .collect();
        for (row, range) in starts {
            if self.current.as_ref() != Some(&row) {
                self.close().await?;
                self.current = Some(row);
            }
            self.append(&batch.slice(range.start, range.len())).await?;
        }
        Ok(())
    }

    async fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let writer = self
            .writer
            .get_or_insert_with(|| DeltaWriter::new(Arc::clone(&self.store), self.config.clone()));
        let written = writer.write(batch).await;
        self.checked(written)
    }

    async fn close(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let added = writer.close().await;
            let added = self.checked(added)?;
            self.added.extend(added);
        }
        Ok(())
    }

    fn checked<T>(&self, result: DeltaResult<T>) -> Result<T> {
        Ok(result.map_err(|error| SinkError::from_delta(&self.location, "write", error))?)
    }

    /// Ends the last file; the actions that add the files, their paths below the writer's folder.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>> {
        self.close().await?;
        Ok(self.added)
    }
}

/// The action that adds a file of the change feed, which a writer of that feed added.
pub(super) fn change_file(add: Add) -> Action {
    Action::Cdc(AddCDCFile {
        path: format!("{CHANGES}/{}", add.path),
        size: add.size,
        partition_values: add.partition_values,
        data_change: false,
        tags: add.tags,
    })
}

/// The columns of a change data file.
pub(super) fn change_schema(schema: &SchemaRef) -> SchemaRef {
    // Images of rows are whole, but a file of the feed promises nothing about them.
    let columns = schema.fields().iter();
    let mut columns: Vec<_> = columns
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    columns.push(Field::new(CHANGE_TYPE, DataType::Utf8, true));
    Arc::new(Schema::new(columns))
}

fn writer_config(snapshot: &EagerSnapshot, schema: &SchemaRef) -> WriterConfig {
    let properties = snapshot.table_properties();
    let statistics = WriterStatsConfig::from_config(snapshot.table_configuration());
    WriterConfig::new(
        Arc::clone(schema),
        snapshot.metadata().partition_columns().to_vec(),
        None,
        Some(properties.target_file_size.unwrap_or(FILE_SIZE)),
        None,
        statistics.num_indexed_cols,
        statistics.stats_columns,
    )
}
