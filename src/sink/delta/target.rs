//! A location and the Delta table that lies there, if one does.

use std::io;
use std::path::Path;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use deltalake::kernel::EagerSnapshot;
use deltalake::kernel::transaction::{CommitBuilder, PROTOCOL};
use deltalake::protocol::{DeltaOperation, OutputMode, SaveMode};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ObjectStoreError};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::checkpoint::{commit_properties, read_checkpoint, read_position};
use super::history::read_history;
use super::location::table_url;
use super::schema::stored_schema;
use super::storage::StorageOptions;
use super::{CommitOutcome, FlowCommit, HistoryEntry, RowCounts, SinkError, TableOptions};
use crate::change::{Checkpoint, FlowKey};

/// How many versions back an instant is looked for.
pub(super) const TIME_TRAVEL_SEARCH: usize = 10_000;

/// A location and, when a Delta table lies there, the version of it that was loaded.
///
/// Opening writes nothing; a location that cannot be written is found out by the first write.
#[derive(Debug, Clone)]
pub struct DeltaTarget {
    pub(super) location: String,
    pub(super) table: DeltaTable,
}

impl DeltaTarget {
    /// Opens `location`, a local path or the URL of an object store, at its newest version.
    ///
    /// A missing table is no error, nor is a folder with files but without a Delta log.
    pub async fn open(
        location: &str,
        storage: impl Into<StorageOptions>,
    ) -> Result<Self, SinkError> {
        let failed = |error| SinkError::from_delta(location, "open", error);
        let storage = storage.into().at(location)?;
        let url = table_url(location)?;
        let storage = storage.into_map(&url);
        let table = DeltaTableBuilder::from_url(url)
            .map_err(failed)?
            .with_storage_options(storage)
            .build()
            .map_err(failed)?;
        let mut target = Self {
            location: location.to_string(),
            table,
        };
        target.refresh().await?;
        Ok(target)
    }

    /// Loads the newest version, also when the table was created since.
    pub async fn refresh(&mut self) -> Result<(), SinkError> {
        let loaded = async {
            if self.table.state.is_none() && !self.table.verify_deltatable_existence().await? {
                return Ok(());
            }
            self.table.update_state().await
        };
        loaded
            .await
            .map_err(|error| SinkError::from_delta(&self.location, "read", error))
    }

    /// The location, as it was given.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// True when a table lies at the location.
    pub fn exists(&self) -> bool {
        self.table.state.is_some()
    }

    /// The loaded version; `None` when there is no table.
    pub fn version(&self) -> Option<u64> {
        self.table.version()
    }

    /// The table's columns; `None` when there is no table.
    pub fn schema(&self) -> Option<SchemaRef> {
        Some(self.snapshot()?.arrow_schema())
    }

    /// The columns of a table that would be made here with these.
    ///
    /// # Errors
    /// `InvalidColumnName` or `InvalidColumnType` for what Delta cannot store.
    pub fn stored(&self, schema: &Schema) -> Result<SchemaRef, SinkError> {
        stored_schema(&self.location, schema)
    }

    /// The columns that the table's files are grouped by; empty when there is no table.
    pub fn partition_columns(&self) -> &[String] {
        self.snapshot()
            .map(|snapshot| snapshot.metadata().partition_columns())
            .unwrap_or_default()
    }

    /// True when the loaded version has no data file, or there is no table.
    pub fn is_empty(&self) -> bool {
        self.files() == 0
    }

    /// How many data files the loaded version has.
    pub fn files(&self) -> usize {
        let snapshot = self.snapshot();
        snapshot.map_or(0, |snapshot| snapshot.log_data().num_files())
    }

    /// Where `key` stands, by the loaded version's log.
    pub async fn checkpoint(&self, key: &FlowKey) -> Result<Option<Checkpoint>, SinkError> {
        read_checkpoint(&self.location, &self.table, key).await
    }

    /// As [`DeltaTarget::checkpoint`], without its `tran_id`, and also where the table's rows were replaced since.
    pub async fn position(&self, key: &FlowKey) -> Result<Option<Checkpoint>, SinkError> {
        read_position(&self.location, &self.table, key).await
    }

    /// The newest `limit` versions up to the loaded one, newest first; older ones may be gone from the
    /// log.
    pub async fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>, SinkError> {
        read_history(&self.location, &self.table, limit).await
    }

    /// The same table at an earlier version.
    pub async fn at_version(&self, version: u64) -> Result<Self, SinkError> {
        let Some(newest) = self.version() else {
            return Err(SinkError::NoSuchTable {
                location: self.location.clone(),
            });
        };
        let missing = || self.no_version(format!("version {version}"), newest);
        if version > newest {
            return Err(missing());
        }
        let mut target = self.clone();
        match target.table.load_version(version).await {
            Ok(()) if target.version() == Some(version) => Ok(target),
            Ok(()) => Err(missing()),
            Err(error) => match SinkError::from_delta(&self.location, "read", error) {
                storage @ SinkError::Storage { .. } => Err(storage),
                // The log before a checkpoint is cleaned up after its retention.
                _ => Err(missing()),
            },
        }
    }

    /// The same table as it was at an instant, in milliseconds since 1970 in UTC: its newest version that is
    /// not younger, by the commits' own times. Looks back over ten thousand versions at most.
    pub async fn at_timestamp(&self, millis: i64) -> Result<Self, SinkError> {
        let Some(newest) = self.version() else {
            return Err(SinkError::NoSuchTable {
                location: self.location.clone(),
            });
        };
        let history = self.history(TIME_TRAVEL_SEARCH).await?;
        let found = history
            .iter()
            .find(|entry| entry.timestamp_ms.is_some_and(|time| time <= millis));
        match found {
            Some(entry) => self.at_version(entry.version).await,
            None => {
                let wanted = format!("version as old as {millis} ms since 1970");
                Err(self.no_version(wanted, newest))
            }
        }
    }

    /// The error for a version that is not there.
    pub(super) fn no_version(&self, wanted: String, newest: u64) -> SinkError {
        SinkError::NoSuchVersion {
            location: self.location.clone(),
            wanted,
            newest,
        }
    }

    /// Creates the table with these columns, in one commit.
    pub async fn create(
        &self,
        schema: &Schema,
        options: &TableOptions,
    ) -> Result<DeltaTarget, SinkError> {
        if self.exists() {
            return Err(SinkError::TableExists {
                location: self.location.clone(),
            });
        }
        let failed = |error| SinkError::from_delta(&self.location, "create", error);
        let schema = stored_schema(&self.location, schema)?;
        options.validate_own(&self.location)?;
        options.validate(&self.location, &schema)?;
        let builder = options
            .creation(&self.location, &schema)?
            .with_log_store(self.table.log_store())
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_commit_properties(commit_properties(None, Uuid::new_v4(), None));
        let table = builder.await.map_err(failed)?;
        Ok(Self {
            location: self.location.clone(),
            table,
        })
    }

    /// Moves the checkpoint of a flow, and nothing else, in one commit.
    ///
    /// The log is read again first; it must still hold `commit.expected`.
    pub async fn commit_checkpoint(&self, commit: &FlowCommit) -> Result<CommitOutcome, SinkError> {
        let mut target = self.clone();
        target.refresh().await?;
        if !target.exists() {
            return Err(SinkError::NoSuchTable {
                location: self.location.clone(),
            });
        }
        commit.check(&target.location, &target.table).await?;
        let write = Uuid::new_v4();
        match target.write_checkpoint(commit, write).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => target.recorded_outcome(write).await.ok_or(error),
        }
    }

    /// The commit of `write` on the loaded version, if the log has it although the write reported an error: the
    /// answer of the storage may be lost, or what follows a commit, such as a Delta checkpoint, may fail.
    pub(super) async fn recorded_outcome(&self, write: Uuid) -> Option<CommitOutcome> {
        let version = self.version().map_or(0, |version| version + 1);
        let mut target = self.clone();
        target.refresh().await.ok()?;
        let committed = target.at_version(version).await.ok()?;
        let name = write.to_string();
        let entry = committed
            .history(1)
            .await
            .ok()?
            .into_iter()
            .find(|entry| entry.write.as_ref() == Some(&name))?;
        tracing::warn!(
            location = self.location(),
            version,
            "an error followed the commit"
        );
        Some(CommitOutcome::Committed {
            version,
            created: version == 0,
            rows: entry.rows,
        })
    }

    /// The commit of [`DeltaTarget::commit_checkpoint`], on exactly the loaded version.
    pub(super) async fn write_checkpoint(
        &self,
        commit: &FlowCommit,
        write: Uuid,
    ) -> Result<CommitOutcome, SinkError> {
        if !commit.advances() {
            return Ok(CommitOutcome::Nothing);
        }
        let operation = DeltaOperation::StreamingUpdate {
            output_mode: OutputMode::Update,
            query_id: commit.key.to_string(),
            epoch_id: commit.upto.end_time_ms,
        };
        let committed = async {
            let snapshot = self.table.snapshot()?;
            CommitBuilder::from(commit_properties(Some(commit), write, None))
                .build(Some(snapshot), self.table.log_store(), operation)
                .await
        };
        let committed = committed
            .await
            .map_err(|error| SinkError::from_delta(&self.location, "write", error))?;
        Ok(CommitOutcome::Committed {
            version: committed.version(),
            created: false,
            rows: RowCounts::default(),
        })
    }

    /// Creates a local table's folder and checks that files can be written there, so that a folder
    /// that cannot be written is found out before rows are read. Object stores are not tried.
    pub async fn prepare_folder(&self) -> Result<(), SinkError> {
        let Ok(folder) = self.table.table_url().to_file_path() else {
            return Ok(());
        };
        let prepared = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&folder)?;
            tempfile::tempfile_in(&folder).map(drop)
        });
        let prepared = prepared.await.map_err(std::io::Error::other);
        prepared.and_then(|prepared| prepared).map_err(|source| {
            let error = DeltaTableError::Io { source };
            SinkError::from_delta(&self.location, "write", error)
        })
    }

    /// Whether the location can be written, and leaves nothing there: in the local folder that the table is in, or would
    /// be made in, a file without a name; in an object store an object that is deleted again.
    pub async fn check_writable(&self) -> Result<(), SinkError> {
        let failed = |error| SinkError::from_delta(&self.location, "write", error);
        if let Ok(folder) = self.table.table_url().to_file_path() {
            let tried = tokio::task::spawn_blocking(move || try_folder(&folder)).await;
            let tried = tried.map_err(io::Error::other).and_then(|tried| tried);
            return tried.map_err(|source| failed(DeltaTableError::Io { source }));
        }
        let store = self.table.object_store();
        // Readers and VACUUM pass over what begins with an underscore.
        let probe = ObjectPath::from(format!("_cdcql/{}", Uuid::new_v4()));
        let written = store.put(&probe, PutPayload::default()).await;
        let written = written.map_err(|error| failed(error.into()));
        // An answer that was lost may have been a success.
        let deleted = store.delete(&probe).await;
        written?;
        deleted.map_err(|error| failed(error.into()))
    }

    /// The names of the folders at the location, of which each may be a table; none where there is nothing.
    pub async fn folders(&self) -> Result<Vec<String>, SinkError> {
        let store = self.table.object_store();
        let listed = match store.list_with_delimiter(None).await {
            Ok(listed) => listed,
            Err(ObjectStoreError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => {
                return Err(SinkError::from_delta(&self.location, "list", error.into()));
            }
        };
        let folders = listed
            .common_prefixes
            .iter()
            .filter_map(ObjectPath::filename);
        let names = folders.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned());
        Ok(names.collect())
    }

    /// Refuses a table whose protocol asks for what is not known here; nothing where there is no table.
    pub fn check_features(&self) -> Result<(), SinkError> {
        let Some(snapshot) = self.snapshot() else {
            return Ok(());
        };
        PROTOCOL
            .can_write_to(snapshot)
            .map_err(|error| SinkError::from_delta(&self.location, "write", error.into()))
    }

    /// The table, loaded or not.
    pub(super) fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// The loaded version's state.
    pub(super) fn snapshot(&self) -> Option<&EagerSnapshot> {
        self.table.state.as_ref().map(|state| state.snapshot())
    }
}

/// Makes a file without a name in `folder`, or in the nearest folder above it that is there; in the log's folder too.
fn try_folder(folder: &Path) -> io::Result<()> {
    let nearest = folder.ancestors().find(|folder| folder.exists());
    let nearest = nearest.ok_or(io::ErrorKind::NotFound)?;
    tempfile::tempfile_in(nearest)?;
    let log = folder.join("_delta_log");
    if log.exists() {
        tempfile::tempfile_in(log)?;
    }
    Ok(())
}
