//! New columns of a table, and the sign that rows do not have their values yet.

use datafusion::arrow::datatypes::{Field, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, MetadataExt, StructType};
use deltalake::protocol::DeltaOperation;
use deltalake::{DeltaResult, DeltaTableError};
use uuid::Uuid;

use super::checkpoint::commit_properties;
use super::schema::stored_schema;
use super::{DeltaTarget, SinkError};

/// The table's property while rows lack the values of new columns.
const BACKFILL: &str = "cdcql.backfill";
const PENDING: &str = "pending";
/// How often another writer may come first.
const MOST_TRIES: u32 = 10;

impl DeltaTarget {
    /// Adds columns, of which each row has NULL until [`DeltaTarget::backfilled`] says otherwise; the newest version.
    ///
    /// There are two commits without rows: first the sign, so that it cannot be missing, then the columns.
    ///
    /// # Errors
    /// `Conflict` if somebody else changed the table meanwhile, `Storage` if it cannot be written.
    pub async fn add_columns(&self, fields: &[Field]) -> Result<Self, SinkError> {
        let mut target = self.clone();
        target.refresh().await?;
        let pending = DeltaOperation::SetTableProperties {
            properties: [(BACKFILL.to_string(), PENDING.to_string())].into(),
        };
        target.set_backfill(pending, true).await?;
        let failed = |error: DeltaTableError| SinkError::from_delta(&self.location, "write", error);
        let nullable = fields.iter().map(|field| field.clone().with_nullable(true));
        let schema = Schema::new(nullable.collect::<Vec<_>>());
        let schema = stored_schema(&self.location, &schema)?;
        let columns: StructType = schema
            .as_ref()
            .try_into_kernel()
            .map_err(|error| failed(DeltaTableError::from(error)))?;
        let columns: Vec<_> = columns.fields().cloned().collect();
        let added = target.table.clone().add_columns().with_fields(columns);
        let added = added.with_commit_properties(commit_properties(None, Uuid::new_v4(), None));
        target.table = added.await.map_err(failed)?;
        Ok(target)
    }

    /// Whether rows lack the values of columns that were added.
    pub fn lacks_backfill(&self) -> bool {
        let snapshot = self.snapshot();
        snapshot.is_some_and(|snapshot| {
            let configuration = snapshot.metadata().configuration();
            configuration
                .get(BACKFILL)
                .is_some_and(|value| value == PENDING)
        })
    }

    /// Says that all rows have what they are to have of the values of the columns that the loaded version has, in a commit of its own; not if
    /// others have come since.
    ///
    /// # Errors
    /// As [`DeltaTarget::add_columns`], but of other writers only where they come first time and again.
    pub async fn backfilled(&self) -> Result<(), SinkError> {
        let mut tries = 0;
        loop {
            let mut target = self.clone();
            target.refresh().await?;
            if target.schema() != self.schema() {
                return Ok(());
            }
            let done = DeltaOperation::SetTableProperties {
                properties: [(BACKFILL.to_string(), "done".to_string())].into(),
            };
            match target.set_backfill(done, false).await {
                Err(error) if error.is_retryable() && tries < MOST_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    async fn set_backfill(
        &mut self,
        operation: DeltaOperation,
        is_pending: bool,
    ) -> Result<(), SinkError> {
        if self.lacks_backfill() == is_pending {
            return Ok(());
        }
        let committed = async {
            let snapshot = self.table.snapshot()?;
            let metadata = snapshot.metadata().clone();
            let metadata = match is_pending {
                true => metadata.add_config_key(BACKFILL.to_string(), PENDING.to_string())?,
                false => metadata.remove_config_key(BACKFILL)?,
            };
            CommitBuilder::from(commit_properties(None, Uuid::new_v4(), None))
                .with_actions(vec![Action::Metadata(metadata)])
                .build(Some(snapshot), self.table.log_store(), operation)
                .await?;
            DeltaResult::Ok(())
        };
        committed
            .await
            .map_err(|error| SinkError::from_delta(&self.location, "write", error))?;
        self.refresh().await
    }
}
