//! The rows of a copy that is not committed yet, beside the table, so that a copy that was interrupted can go on.
//!
//! They lie in `_cdcql/<flow>/` below the table's folder, which readers of Delta tables do not see and VACUUM leaves alone:
//! a manifest that says what is copied, and a Parquet file for each finished chunk. A file appears whole or not at all,
//! and is never written again: each run of a copy has names of its own.

mod rows;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    DefaultParquetFileReaderFactory, ParquetFileReaderFactory,
};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::AsyncArrowWriter;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use deltalake::DeltaTableError;
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use super::{DeltaTarget, SinkError};
use rows::StagedRows;

/// The folder of all flows.
const FOLDER: &str = "_cdcql";
const MANIFEST: &str = "copy.json";
/// A row group is closed when it has about so many bytes: what a writer holds.
const GROUP_BYTES: usize = 8 << 20;
/// How many files are asked for their metadata at once.
const FOOTERS_AT_ONCE: usize = 8;

/// What a chunk's file says of it besides its rows.
const COPY: &str = "cdcql.copy";
const AFTER: &str = "cdcql.after";
const UPTO: &str = "cdcql.upto";
const BYTES: &str = "cdcql.bytes";

type Reader = Box<dyn AsyncFileReader>;

/// Where a copy keeps its rows until it is committed; clones share the place.
#[derive(Debug, Clone)]
pub struct Staging {
    location: String,
    store: Arc<dyn ObjectStore>,
    folder: Path,
    /// The folder on a local disk.
    directory: Option<PathBuf>,
}

/// A chunk's place in a copy: which it is, and from where to where it goes, in words of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkName {
    /// The copy that it is a part of.
    pub copy: Uuid,
    /// Chunks are in the order of their numbers.
    pub number: u32,
    /// The run that has written it.
    pub run: Uuid,
    /// Where it begins; `None` at the beginning.
    pub after: Option<String>,
    /// Where it ends; `None` at the end.
    pub upto: Option<String>,
}

/// A chunk that is finished.
#[derive(Debug, Clone)]
pub struct StagedChunk {
    /// Which it is.
    pub name: ChunkName,
    /// How many rows it has.
    pub rows: u64,
    file: Path,
    size: u64,
    /// How many bytes its rows have in memory.
    bytes: u64,
}

#[cfg(test)]
impl StagedChunk {
    /// A chunk of which nothing but the name is true.
    pub(crate) fn named(name: ChunkName) -> Self {
        Self {
            name,
            rows: 0,
            file: Path::default(),
            size: 0,
            bytes: 0,
        }
    }
}

impl DeltaTarget {
    /// Where a copy of the flow keeps its rows.
    pub fn staging(&self, flow: &str) -> Staging {
        let directory = self.table().table_url().to_file_path().ok();
        let folder = Path::from_iter([FOLDER, flow]);
        Staging {
            location: self.location().to_string(),
            store: self.table().log_store().object_store(None),
            directory: directory.map(|path| path.join(folder.as_ref())),
            folder,
        }
    }
}

impl Staging {
    fn failed(&self, action: &'static str, error: impl Into<DeltaTableError>) -> SinkError {
        SinkError::from_delta(&self.location, action, error.into())
    }

    /// The manifest, if there is one.
    ///
    /// # Errors
    /// `Storage` if the store cannot be read.
    pub async fn manifest(&self) -> Result<Option<String>, SinkError> {
        let read = async {
            let found = self.store.get(&self.folder.clone().join(MANIFEST)).await?;
            found.bytes().await
        };
        match read.await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Begins a copy: whatever is there is deleted, and `manifest` written.
    ///
    /// # Errors
    /// `Storage` if the store cannot be written.
    pub async fn begin(&self, manifest: String) -> Result<(), SinkError> {
        self.discard().await?;
        let path = self.folder.clone().join(MANIFEST);
        let written = self.store.put(&path, manifest.into()).await;
        written
            .map(drop)
            .map_err(|error| self.failed("write", error))
    }

    /// Deletes everything.
    ///
    /// # Errors
    /// `Storage` if the store cannot be read or written.
    pub async fn discard(&self) -> Result<(), SinkError> {
        let files = self.store.list(Some(&self.folder));
        let files = files.map_ok(|file| file.location).boxed();
        let deleted = self.store.delete_stream(files);
        let deleted = deleted.try_for_each(|_| std::future::ready(Ok(()))).await;
        match deleted {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(self.failed("write", error)),
        }
        if let Some(directory) = self.directory.clone() {
            // With it goes what a killed process has left of files that it had not finished.
            let removed = tokio::task::spawn_blocking(move || {
                let _ = std::fs::remove_dir_all(&directory);
                directory.parent().map(std::fs::remove_dir)
            });
            let _ = removed.await;
        }
        Ok(())
    }

    /// The finished chunks of a copy, by number: those of others may come from before it began.
    ///
    /// # Errors
    /// `Storage` if the store cannot be read. A file that is no chunk is left out.
    pub async fn chunks(&self, copy: Uuid) -> Result<Vec<StagedChunk>, SinkError> {
        let files = self.store.list(Some(&self.folder));
        let files = files.map_err(|error| self.failed("read", error));
        let chunks = files
            .map_ok(|file| self.chunk(file))
            .try_buffer_unordered(FOOTERS_AT_ONCE);
        let mut chunks: Vec<StagedChunk> = chunks
            .try_filter_map(|chunk| {
                let chunk = chunk.filter(|chunk| chunk.name.copy == copy);
                std::future::ready(Ok(chunk))
            })
            .try_collect()
            .await?;
        chunks.sort_by_key(|chunk| (chunk.name.number, chunk.name.run));
        Ok(chunks)
    }

    async fn chunk(&self, file: ObjectMeta) -> Result<Option<StagedChunk>, SinkError> {
        let name = file.location.filename().unwrap_or_default();
        let parts = name
            .strip_suffix(".parquet")
            .and_then(|name| name.split_once('-'));
        let parsed = parts
            .and_then(|(number, run)| Some((number.parse().ok()?, Uuid::parse_str(run).ok()?)));
        let Some((number, run)) = parsed else {
            return Ok(None);
        };
        let read = async {
            let reader = self.reader(&file.location, file.size);
            let mut reader = reader.map_err(|error| ParquetError::External(Box::new(error)))?;
            reader.get_metadata(None).await
        };
        let metadata = match read.await {
            Ok(metadata) => metadata,
            Err(ParquetError::External(error)) => {
                return Err(self.failed("read", ParquetError::External(error)));
            }
            // Not one of ours, or damaged: its rows are read again.
            Err(_) => return Ok(None),
        };
        let metadata = metadata.file_metadata();
        let said = metadata.key_value_metadata().into_iter().flatten();
        let mut said: HashMap<&str, String> = said
            .filter_map(|said| Some((said.key.as_str(), said.value.clone()?)))
            .collect();
        let copy = said.get(COPY).and_then(|copy| Uuid::parse_str(copy).ok());
        let Some(copy) = copy else {
            return Ok(None);
        };
        let bytes = said.get(BYTES).and_then(|bytes| bytes.parse().ok());
        Ok(Some(StagedChunk {
            name: ChunkName {
                copy,
                number,
                run,
                after: said.remove(AFTER),
                upto: said.remove(UPTO),
            },
            rows: metadata.num_rows().unsigned_abs(),
            bytes: bytes.unwrap_or(file.size),
            file: file.location,
            size: file.size,
        }))
    }

    fn reader(&self, file: &Path, size: u64) -> Result<Reader, DataFusionError> {
        let mut part = PartitionedFile::new(String::new(), size);
        // Made of its text, a path would be encoded once more.
        part.object_meta.location = file.clone();
        let readers = DefaultParquetFileReaderFactory::new(Arc::clone(&self.store));
        let reader = readers.create_reader(0, part, None, &ExecutionPlanMetricsSet::new())?;
        Ok(reader)
    }

    /// Writes the rows of a chunk; `read` hears of each batch. Nothing is there until all of it is.
    ///
    /// # Errors
    /// Those of `rows`, and `Storage` if the store cannot be written, as `External`.
    pub async fn write(
        &self,
        name: ChunkName,
        rows: SendableRecordBatchStream,
        read: impl Fn(&RecordBatch),
    ) -> Result<StagedChunk, DataFusionError> {
        let file = format!("{:08}-{}.parquet", name.number, name.run);
        let file = self.folder.clone().join(file.as_str());
        let upload = BufWriter::new(Arc::clone(&self.store), file.clone());
        let failed = |error: ParquetError| DataFusionError::from(self.failed("write", error));
        let mut writer =
            AsyncArrowWriter::try_new(upload, rows.schema(), Some(properties())).map_err(failed)?;
        match filled(&mut writer, &name, rows, read).await {
            Ok((rows, bytes)) => {
                writer.finish().await.map_err(failed)?;
                Ok(StagedChunk {
                    name,
                    rows,
                    bytes,
                    size: writer.bytes_written() as u64,
                    file,
                })
            }
            Err(error) => {
                // What was sent so far would stay in some stores.
                let _ = writer.into_inner().abort().await;
                Err(match error {
                    DataFusionError::ParquetError(error) => failed(*error),
                    other => other,
                })
            }
        }
    }

    /// The rows of chunks, as a table with this schema.
    pub fn table(&self, chunks: Vec<StagedChunk>, schema: SchemaRef) -> Arc<dyn TableProvider> {
        Arc::new(StagedRows::new(self.clone(), chunks, schema))
    }
}

/// Cheap to write and to read once: whole values one after the other, and nothing counted of them.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build()
}

/// Writes all of `rows`, and answers with how many rows and bytes they are.
async fn filled(
    writer: &mut AsyncArrowWriter<BufWriter>,
    name: &ChunkName,
    mut rows: SendableRecordBatchStream,
    read: impl Fn(&RecordBatch),
) -> Result<(u64, u64), DataFusionError> {
    let (mut count, mut bytes) = (0, 0);
    while let Some(batch) = rows.try_next().await? {
        writer.write(&batch).await?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().await?;
        }
        count += batch.num_rows() as u64;
        bytes += batch.get_array_memory_size() as u64;
        read(&batch);
    }
    let bounds = [(AFTER, &name.after), (UPTO, &name.upto)];
    for (key, bound) in bounds {
        if let Some(bound) = bound {
            writer.append_key_value_metadata(KeyValue::new(key.to_string(), bound.clone()));
        }
    }
    let said = [(COPY, name.copy.to_string()), (BYTES, bytes.to_string())];
    for (key, value) in said {
        writer.append_key_value_metadata(KeyValue::new(key.to_string(), value));
    }
    Ok((count, bytes))
}
