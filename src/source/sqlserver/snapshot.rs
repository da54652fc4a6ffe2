//! A whole table, read once into temporary files, and the first copy that is made from it.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::common::Result as DataFusionResult;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::captured::{CapturedColumn, CapturedTable};
use super::catalogue::{SourceColumn, SourceTable};
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::live::LiveRows;
use super::pool::Pool;
use super::scan::{Output, RowSource};

/// A file is closed when it has about this many bytes of rows.
const FILE_BYTES: usize = 256 << 20;
/// Batches that wait for the disk.
const BUFFERED_BATCHES: usize = 2;

/// The row count of a table (`@P1`: its object_id) as its partitions report it: cheap, and not exact.
const ESTIMATED_ROWS: &str = "\
SELECT CAST(SUM(p.rows) AS bigint) AS estimated_rows FROM sys.partitions AS p \
WHERE p.object_id = @P1 AND p.index_id IN (0, 1) OPTION (MAXDOP 1)";

/// How far a snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotProgress {
    /// Rows read so far.
    pub rows: u64,
    /// Bytes of rows written to temporary files so far.
    pub bytes: u64,
    /// Rows that the server expects; absent where it does not tell.
    pub estimated_rows: Option<u64>,
}

/// Reports the progress of a snapshot.
pub type ProgressFn = Arc<dyn Fn(SnapshotProgress) + Send + Sync>;

/// The rows of a table at some time between two commits, in temporary files that go with it.
///
/// Rows that changed during the read may be there in either form; a first copy takes those from the change
/// table. Columns that net changes cannot carry are not stored.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) files: Vec<PathBuf>,
    pub(super) schema: SchemaRef,
    pub(super) directory: TempDir,
    progress: SnapshotProgress,
}

impl Snapshot {
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.progress.rows
    }

    /// How many bytes its files take, about.
    pub fn bytes(&self) -> u64 {
        self.progress.bytes
    }
}

#[cfg(test)]
impl Snapshot {
    /// A snapshot of an empty table.
    pub(super) fn empty(table: &CapturedTable) -> Self {
        Self {
            files: Vec::new(),
            schema: stored(table).1,
            directory: tempfile::tempdir().unwrap(),
            progress: SnapshotProgress::default(),
        }
    }
}

/// Reads `table` over one connection. Memory does not grow with the table.
pub(super) async fn take(
    pool: &Pool,
    table: &CapturedTable,
    report: ProgressFn,
) -> Result<Snapshot, SourceError> {
    let (source, schema) = stored(table);
    let estimated_rows = estimated_rows(pool, table).await?;
    let directory =
        directory().map_err(|error| spill_error(table, &std::env::temp_dir(), error.into()))?;
    let path = directory.path().to_path_buf();
    let rows = Arc::new(LiveRows::all(pool.clone(), source, Arc::clone(&schema)));
    let (sender, receiver) = mpsc::channel(BUFFERED_BATCHES);
    let writer = Writer {
        snapshot: Snapshot {
            files: Vec::new(),
            schema,
            directory,
            progress: SnapshotProgress {
                estimated_rows,
                ..SnapshotProgress::default()
            },
        },
        report,
        open: None,
        open_bytes: 0,
    };
    // The writer owns the directory: if this future is dropped, it ends with the channel and deletes it.
    let writing = tokio::task::spawn_blocking(move || writer.run(receiver));
    let read = rows.read(Output::new(sender)).await;
    let written = writing
        .await
        .unwrap_or_else(|failed| Err(ArrowError::ExternalError(Box::new(failed))));
    read?;
    written.map_err(|error| spill_error(table, &path, error))
}

/// The live table as far as a first copy needs it, and the schema of its rows under the captured names.
fn stored(table: &CapturedTable) -> (SourceTable, SchemaRef) {
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for column in table.columns.iter().filter(|column| is_stored(column)) {
        let Some(source_name) = &column.source_name else {
            continue;
        };
        columns.push(SourceColumn {
            name: source_name.clone(),
            sql_type: column.sql_type.clone(),
            nullable: true,
        });
        fields.push(Field::new(&column.name, column.sql_type.arrow(), true));
    }
    let source = SourceTable::new(table.name.clone(), columns);
    (source, Arc::new(Schema::new(fields)))
}

/// Columns that a stream cannot carry need not be read; those that were dropped cannot be.
fn is_stored(column: &CapturedColumn) -> bool {
    column.sql_type.is_supported() && !column.is_large()
}

fn directory() -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("cdcql-snapshot-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o700));
    }
    builder.tempdir()
}

pub(super) fn spill_error(table: &CapturedTable, path: &Path, source: ArrowError) -> SourceError {
    SourceError::Spill {
        table: table.name.clone(),
        path: path.to_path_buf(),
        source,
    }
}

async fn estimated_rows(pool: &Pool, table: &CapturedTable) -> Result<Option<u64>, SourceError> {
    let action = format!("reading the size of {}", table.name);
    let object_id = Parameter::Int(table.source_object_id);
    let rows = pool.rows(&action, ESTIMATED_ROWS, &[&object_id]).await?;
    match rows.first() {
        None => Ok(None),
        Some(row) => Ok(Cells::new(row, &action)
            .integer(0)?
            .and_then(|rows| u64::try_from(rows).ok())),
    }
}

/// Writes batches into files of bounded size.
struct Writer {
    snapshot: Snapshot,
    report: ProgressFn,
    open: Option<FileWriter<BufWriter<File>>>,
    open_bytes: usize,
}

impl Writer {
    fn run(
        mut self,
        mut batches: mpsc::Receiver<DataFusionResult<RecordBatch>>,
    ) -> Result<Snapshot, ArrowError> {
        (self.report)(self.snapshot.progress);
        while let Some(batch) = batches.blocking_recv() {
            let batch = batch.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            self.write(&batch)?;
            (self.report)(self.snapshot.progress);
        }
        self.close()?;
        Ok(self.snapshot)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let writer = match &mut self.open {
            Some(writer) => writer,
            None => {
                let path = self.next_path();
                let file = BufWriter::new(File::create(&path)?);
                self.snapshot.files.push(path);
                self.open
                    .insert(FileWriter::try_new(file, &self.snapshot.schema)?)
            }
        };
        writer.write(batch)?;
        let bytes = batch.get_array_memory_size();
        self.snapshot.progress.rows += batch.num_rows() as u64;
        self.snapshot.progress.bytes += bytes as u64;
        self.open_bytes += bytes;
        if self.open_bytes >= FILE_BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn next_path(&self) -> PathBuf {
        let number = self.snapshot.files.len();
        self.snapshot
            .directory
            .path()
            .join(format!("{number:06}.arrow"))
    }

    fn close(&mut self) -> Result<(), ArrowError> {
        self.open_bytes = 0;
        match self.open.take() {
            Some(mut writer) => writer.finish(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;

    #[test]
    fn large_and_dropped_columns_are_not_stored() {
        let mut table = customers();
        table.columns[1].source_name = Some("full_name".to_string());
        let (source, schema) = stored(&table);
        assert_eq!(
            source.select(&[0, 1], None),
            "SELECT t.[id], t.[full_name] FROM [dbo].[customers] AS t OPTION (MAXDOP 1)"
        );
        assert_eq!(
            schema.field(1).name(),
            "name",
            "rows keep the captured name"
        );
        table.columns[1].source_name = None;
        assert_eq!(stored(&table).1.fields().len(), 1);
    }

    #[test]
    fn the_directory_is_private_and_goes_with_its_owner() {
        let directory = directory().unwrap();
        let path = directory.path().to_path_buf();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        drop(directory);
        assert!(!path.exists());
    }
}
