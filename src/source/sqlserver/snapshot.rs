//! A whole table, read once into a temporary file, for the first copy that is made from it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::common::Result as DataFusionResult;
use tokio::sync::mpsc;

use super::captured::CapturedTable;
use super::catalogue::{SourceColumn, SourceTable};
use super::caution::{Caution, Cautions};
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::live::LiveRows;
use super::pool::Pool;
use super::scan::{Output, RowSource};
use crate::change::Lsn;

/// A part of the file is closed when it has about this many bytes of rows: parts are read at the same time.
const PART_BYTES: usize = 256 << 20;
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
    /// Bytes of rows written to the temporary file so far.
    pub bytes: u64,
    /// Rows that the server expects; absent where it does not tell.
    pub estimated_rows: Option<u64>,
}

/// Reports the progress of a snapshot.
pub type ProgressFn = Arc<dyn Fn(SnapshotProgress) + Send + Sync>;

/// The rows of a table at some time between two commits, in a temporary file.
///
/// The file has no name, so that it goes with the process, however that ends. Rows that changed during the read
/// may be there in either form; a first copy takes those from the change table.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) file: Arc<File>,
    /// Where in the file each part is: an Arrow file of its own.
    pub(super) parts: Vec<Range<u64>>,
    pub(super) schema: SchemaRef,
    progress: SnapshotProgress,
}

impl Snapshot {
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.progress.rows
    }

    /// How many bytes its file takes, about.
    pub fn bytes(&self) -> u64 {
        self.progress.bytes
    }
}

#[cfg(test)]
impl Snapshot {
    /// A snapshot of an empty table.
    pub(super) fn empty(table: &CapturedTable) -> Self {
        Self {
            file: Arc::new(tempfile::tempfile().unwrap()),
            parts: Vec::new(),
            schema: stored(table, &(0..table.columns.len()).collect()).1,
            progress: SnapshotProgress::default(),
        }
    }
}

/// Reads the key and `columns` of `table` over one connection, from a server that has captured `floor`. Memory does not
/// grow with the table.
pub(super) async fn take(
    pool: &Pool,
    table: &CapturedTable,
    columns: &BTreeSet<usize>,
    floor: Lsn,
    report: ProgressFn,
) -> Result<Snapshot, SourceError> {
    let (source, schema) = stored(table, columns);
    let estimated_rows = estimated_rows(pool, table).await?;
    let file = tempfile::tempfile().map_err(|error| spill_error(table, error.into()))?;
    let rows = Arc::new(LiveRows::all(
        pool.clone(),
        source,
        Arc::clone(&schema),
        floor,
    ));
    let (sender, receiver) = mpsc::channel(BUFFERED_BATCHES);
    let writer = Writer {
        parts: Vec::new(),
        schema,
        progress: SnapshotProgress {
            estimated_rows,
            ..SnapshotProgress::default()
        },
        report,
        state: State::Between(BufWriter::new(file)),
        open_bytes: 0,
    };
    // The writer owns the file: if this future is dropped, it ends with the channel and closes it.
    let writing = tokio::task::spawn_blocking(move || writer.run(receiver));
    let read = rows.read(Output::new(sender)).await;
    let written = writing
        .await
        .unwrap_or_else(|failed| Err(ArrowError::ExternalError(Box::new(failed))));
    read?;
    let snapshot = written.map_err(|error| spill_error(table, error))?;
    caution(table, snapshot.progress, pool.cautions());
    Ok(snapshot)
}

/// Says so where far fewer rows came than the server counts, and no policy is known to hide them: metadata of
/// policies is for who may see definitions.
fn caution(table: &CapturedTable, progress: SnapshotProgress, cautions: &Cautions) {
    if let Some(counted) = progress.estimated_rows
        && !table.row_filter
        && progress.rows.saturating_mul(10) < counted.saturating_mul(9)
    {
        cautions.say(&Caution::RowsMissing {
            table: table.name.clone(),
            read: progress.rows,
            counted,
        });
    }
}

/// The live table's key and `wanted` columns, and the schema of its rows under the captured names.
fn stored(table: &CapturedTable, wanted: &BTreeSet<usize>) -> (SourceTable, SchemaRef) {
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        let is_wanted = wanted.contains(&index) || table.key.contains(&index);
        let Some(source_name) = column.source_name.as_ref().filter(|_| is_wanted) else {
            continue;
        };
        columns.push(SourceColumn::read_only(
            source_name,
            column.sql_type.clone(),
        ));
        fields.push(Field::new(&column.name, column.sql_type.arrow(), true));
    }
    let source = SourceTable::new(table.name.clone(), columns, Cautions::default());
    (source, Arc::new(Schema::new(fields)))
}

fn spill_error(table: &CapturedTable, source: ArrowError) -> SourceError {
    SourceError::Spill {
        table: table.name.clone(),
        path: std::env::temp_dir(),
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

/// Writes one part.
type PartWriter = FileWriter<BufWriter<File>>;

/// Writes batches into parts of bounded size.
struct Writer {
    parts: Vec<Range<u64>>,
    schema: SchemaRef,
    progress: SnapshotProgress,
    report: ProgressFn,
    state: State,
    /// Bytes of rows in the open part.
    open_bytes: usize,
}

enum State {
    Between(BufWriter<File>),
    /// A part that begins at an offset.
    Within(Box<PartWriter>, u64),
    /// Something failed.
    Lost,
}

impl Writer {
    fn run(
        mut self,
        mut batches: mpsc::Receiver<DataFusionResult<RecordBatch>>,
    ) -> Result<Snapshot, ArrowError> {
        (self.report)(self.progress);
        while let Some(batch) = batches.blocking_recv() {
            let batch = batch.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            self.write(&batch)?;
            (self.report)(self.progress);
        }
        let mut file = self.between()?;
        file.flush()?;
        let file = file.into_inner().map_err(|error| error.into_error())?;
        Ok(Snapshot {
            file: Arc::new(file),
            parts: self.parts,
            schema: self.schema,
            progress: self.progress,
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let (mut writer, start) = self.within()?;
        writer.write(batch)?;
        self.state = State::Within(writer, start);
        let bytes = batch.get_array_memory_size();
        self.progress.rows += batch.num_rows() as u64;
        self.progress.bytes += bytes as u64;
        self.open_bytes += bytes;
        if self.open_bytes >= PART_BYTES {
            let file = self.between()?;
            self.state = State::Between(file);
        }
        Ok(())
    }

    /// The open part, and where it begins.
    fn within(&mut self) -> Result<(Box<PartWriter>, u64), ArrowError> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Within(writer, start) => Ok((writer, start)),
            State::Between(mut file) => {
                let start = file.stream_position()?;
                Ok((Box::new(FileWriter::try_new(file, &self.schema)?), start))
            }
            State::Lost => Err(lost()),
        }
    }

    /// The file behind its last part, which is closed.
    fn between(&mut self) -> Result<BufWriter<File>, ArrowError> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Between(file) => Ok(file),
            State::Within(mut writer, start) => {
                writer.finish()?;
                let mut file = writer.into_inner()?;
                self.parts.push(start..file.stream_position()?);
                self.open_bytes = 0;
                Ok(file)
            }
            State::Lost => Err(lost()),
        }
    }
}

fn lost() -> ArrowError {
    ArrowError::IpcError("the temporary file was lost by an earlier failure".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;

    #[test]
    fn the_key_and_what_is_wanted_are_stored_under_the_captured_names() {
        let mut table = customers();
        table.columns[1].source_name = Some("full_name".to_string());
        let (source, schema) = stored(&table, &BTreeSet::from([1]));
        assert_eq!(
            source.select(&[0, 1], &[], None),
            "SELECT t.[id], t.[full_name] FROM [dbo].[customers] AS t OPTION (MAXDOP 1)"
        );
        assert_eq!(schema.field(1).name(), "name");
        table.columns[1].source_name = None;
        let all = BTreeSet::from([0, 1, 2]);
        assert_eq!(
            stored(&table, &all).1.fields().len(),
            table.columns.len() - 1
        );
    }
}
