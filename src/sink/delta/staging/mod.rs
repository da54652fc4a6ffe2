//! The rows of a copy that is not committed yet, beside the table, so that a copy that was interrupted can go on.
//!
//! They lie in `_cdcql/<flow>/` below the table's folder, which readers of Delta tables do not see and VACUUM leaves alone:
//! a manifest that says what is copied, and for each finished chunk the Parquet files of its rows and a note that names
//! them, which is written last. A file appears whole or not at all, and is never written again: each run of a copy has names
//! of its own. Where the table is to have the rows as they are, its commit may [take](Adopted) whole files.

mod adopted;
mod beside;
mod chunk;
mod repeats;
mod rows;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
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
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use delta_kernel::table_properties::DataSkippingNumIndexedCols;
use deltalake::DeltaTableError;
use deltalake::operations::write::writer::{DeltaWriter, WriterConfig};
use futures::stream::Peekable;
use futures::{FutureExt as _, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use super::write::FILE_SIZE;
use super::{DeltaTarget, SinkError};
pub use adopted::Adopted;
use beside::beside;
use chunk::StagedFile;
pub use chunk::{ChunkName, StagedChunk};
use repeats::without_repeats;
use rows::StagedRows;

/// The column that says which file a row is from, from 0; unsigned 32 bits.
pub const FILE: &str = "cdcql.file";

/// The folder of all flows.
const FOLDER: &str = "_cdcql";
const MANIFEST: &str = "copy.json";
/// A row group of rows that are read once is closed when it has about so many bytes: what a writer holds.
const GROUP_BYTES: usize = 8 << 20;
/// The same of rows that are the table's.
const FINAL_GROUP_BYTES: usize = 32 << 20;
/// When a dictionary is given up that is not likely to be worth its while: half of what is usual (parquet's
/// `DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT`).
const DOUBTFUL_DICTIONARY_BYTES: usize = 512 << 10;
/// How many columns a new table's log has statistics of, if its properties do not say another number.
const INDEXED_COLUMNS: u64 = 32;
/// How many files are asked for at once.
const FILES_AT_ONCE: usize = 8;

type Reader = Box<dyn AsyncFileReader>;

/// Where a copy keeps its rows until it is committed; clones share the place.
#[derive(Debug, Clone)]
pub struct Staging {
    location: String,
    store: Arc<dyn ObjectStore>,
    folder: Path,
    /// The folder on a local disk.
    directory: Option<PathBuf>,
    /// The columns of a table that is made of the files as they are.
    adopted: Option<SchemaRef>,
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
            adopted: None,
        }
    }
}

impl Staging {
    /// Has files written as those of a new table with these columns are, if there are some; rows have the same columns in
    /// another order.
    #[must_use]
    pub fn adopted_by(self, table: Option<SchemaRef>) -> Self {
        Self {
            adopted: table,
            ..self
        }
    }

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
    /// `Storage` if the store cannot be read. A chunk whose note is damaged, or whose files are not as it says, is left out.
    pub async fn chunks(&self, copy: Uuid) -> Result<Vec<StagedChunk>, SinkError> {
        let failed = |error| self.failed("read", error);
        let files = self.store.list(Some(&self.folder));
        let files: Vec<ObjectMeta> = files.try_collect().await.map_err(failed)?;
        let sizes: HashMap<&Path, u64> = files.iter().map(|f| (&f.location, f.size)).collect();
        let notes = files.iter().filter_map(|file| {
            let place = ChunkName::of_note(file.location.filename()?)?;
            Some(self.chunk(place, &file.location).boxed())
        });
        let notes: Vec<_> = notes.collect();
        let chunks = stream::iter(notes).buffer_unordered(FILES_AT_ONCE);
        let chunks: Vec<Option<StagedChunk>> = chunks.try_collect().await.map_err(failed)?;
        let is_there = |file: &StagedFile| sizes.get(&file.path(&self.folder)) == Some(&file.size);
        let chunks = chunks.into_iter().flatten();
        let chunks = chunks.filter(|chunk| chunk.name.copy == copy);
        let mut chunks: Vec<_> = chunks
            .filter(|chunk| chunk.files.iter().all(is_there))
            .collect();
        chunks.sort_by_key(|chunk| (chunk.name.number, chunk.name.run));
        Ok(chunks)
    }

    async fn chunk(
        &self,
        place: (u32, Uuid),
        note: &Path,
    ) -> object_store::Result<Option<StagedChunk>> {
        let note = self.store.get(note).await?.bytes().await?;
        Ok(StagedChunk::from_note(place, &note))
    }

    fn reader(&self, file: &Path, size: u64) -> Result<Reader, DataFusionError> {
        let mut part = PartitionedFile::new(String::new(), size);
        // Made of its text, a path would be encoded once more.
        part.object_meta.location = file.clone();
        let readers = DefaultParquetFileReaderFactory::new(Arc::clone(&self.store));
        let reader = readers.create_reader(0, part, None, &ExecutionPlanMetricsSet::new())?;
        Ok(reader)
    }

    /// Writes the rows of a chunk; `read` hears of each batch. The chunk is there when all of it is.
    ///
    /// # Errors
    /// Those of `rows`, and `Storage` if the store cannot be written, as `External`.
    pub async fn write(
        &self,
        name: ChunkName,
        rows: SendableRecordBatchStream,
        read: impl Fn(&RecordBatch),
    ) -> Result<StagedChunk, DataFusionError> {
        let schema = self.adopted.clone().unwrap_or_else(|| rows.schema());
        let mut rows = rows.peekable();
        // An error is told when its turn comes.
        let distinct = match Pin::new(&mut rows).peek().await {
            Some(Ok(first)) if self.adopted.is_some() => without_repeats(first),
            _ => Vec::new(),
        };
        let mut writer = self.writer(&schema, distinct);
        let (rows, bytes) = match Box::pin(self.filled(&mut writer, &schema, rows, read)).await {
            Ok(filled) => filled,
            Err(error) => {
                // What was sent so far would stay in some stores.
                let _ = writer.abort().await;
                return Err(error);
            }
        };
        let files = writer.close().await;
        let files = files.map_err(|error| self.failed("write", error))?;
        let files = files.into_iter().map(StagedFile::of);
        let untold = || {
            self.failed(
                "write",
                DeltaTableError::generic("a file without statistics"),
            )
        };
        let chunk = StagedChunk {
            rows,
            bytes,
            is_final: self.adopted.is_some(),
            files: files.collect::<Option<_>>().ok_or_else(untold)?,
            name,
        };
        let note = self.folder.clone().join(chunk.name.note().as_str());
        let written = self.store.put(&note, chunk.to_note().into()).await;
        written.map_err(|error| self.failed("write", error))?;
        Ok(chunk)
    }

    /// Writes all of `rows`, and answers with how many rows and bytes they are.
    async fn filled(
        &self,
        writer: &mut DeltaWriter,
        schema: &SchemaRef,
        mut rows: Peekable<SendableRecordBatchStream>,
        read: impl Fn(&RecordBatch),
    ) -> Result<(u64, u64), DataFusionError> {
        let given = rows.get_ref().schema();
        let places = schema.fields().iter();
        let places = places.map(|field| given.index_of(field.name()));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let (mut count, mut bytes) = (0, 0);
        while let Some(batch) = rows.try_next().await? {
            let columns = batch.project(&places)?.columns().to_vec();
            let columns = RecordBatch::try_new(Arc::clone(schema), columns);
            let columns = columns.map_err(|error| self.failed("write", error))?;
            let written = beside(writer.write(&columns)).await;
            written.map_err(|error| self.failed("write", error))?;
            count += batch.num_rows() as u64;
            bytes += batch.get_array_memory_size() as u64;
            read(&batch);
        }
        Ok((count, bytes))
    }

    fn writer(&self, schema: &SchemaRef, distinct: Vec<String>) -> DeltaWriter {
        let store = PrefixStore::new(Arc::clone(&self.store), self.folder.clone());
        DeltaWriter::new(Arc::new(store), self.writer_config(schema, distinct))
    }

    /// How files are written: as those of a new table, if one is to adopt them. Dictionaries
    /// of columns that seem to be `distinct` are given up early.
    pub(super) fn writer_config(&self, schema: &SchemaRef, distinct: Vec<String>) -> WriterConfig {
        let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let (properties, indexed) = match self.adopted {
            Some(_) => {
                for column in distinct {
                    let column = ColumnPath::new(vec![column]);
                    properties = properties
                        .set_column_dictionary_page_size_limit(column, DOUBTFUL_DICTIONARY_BYTES);
                }
                let properties = properties.set_max_row_group_bytes(Some(FINAL_GROUP_BYTES));
                (properties, INDEXED_COLUMNS)
            }
            // Cheap to write and to read once: whole values one after the other, and nothing counted of them.
            None => {
                let properties = properties
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
                    .set_dictionary_enabled(false)
                    .set_statistics_enabled(EnabledStatistics::None);
                (properties, 0)
            }
        };
        WriterConfig::new(
            Arc::clone(schema),
            Vec::new(),
            Some(properties.build()),
            Some(FILE_SIZE),
            None,
            DataSkippingNumIndexedCols::NumColumns(indexed),
            None,
        )
    }

    /// Chunks without the files that the table may take, and those: files without a row whose number, in the order of
    /// [`Staging::numbered`], is among `touched`.
    pub fn divided(
        &self,
        chunks: &[StagedChunk],
        touched: &BTreeSet<u32>,
    ) -> (Vec<StagedChunk>, Option<Adopted>) {
        let mut numbers = 0..;
        let mut whole = Vec::new();
        let rest = chunks.iter().map(|chunk| {
            let mut rest = chunk.clone();
            rest.files.retain(|file| {
                let is_touched = numbers
                    .next()
                    .is_none_or(|number| touched.contains(&number));
                let stays = is_touched || !chunk.is_final;
                if !stays {
                    whole.push(file.clone());
                }
                stays
            });
            rest
        });
        let rest = rest.collect();
        let adopted = (!whole.is_empty()).then(|| Adopted::new(self.clone(), whole));
        (rest, adopted)
    }

    /// The rows of chunks, as a table with this schema.
    pub fn table(&self, chunks: Vec<StagedChunk>, schema: SchemaRef) -> Arc<dyn TableProvider> {
        Arc::new(StagedRows::new(self.clone(), chunks, schema))
    }

    /// The same, with one more column: [`FILE`], which file a row is from, where those of one chunk come after those of another.
    pub fn numbered(&self, chunks: Vec<StagedChunk>, schema: SchemaRef) -> Arc<dyn TableProvider> {
        Arc::new(StagedRows::numbered(self.clone(), chunks, schema))
    }
}
