//! What a comparison of a copy with its table is made from.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;

use super::captured::CapturedTable;
use super::database::Database;
use super::error::SourceError;
use super::first_copy::inserts;
use super::key::require_key;
use super::net::{keys_of_images, plan_error};
use crate::change::{Lsn, LsnRange};

impl Database {
    /// `rows` of `table`, as [`TableChunks`] has read them, in the schema of the change feed: each an `insert` of the
    /// commit at `at`, with large values as values. Columns that the rows do not have are NULL.
    ///
    /// # Errors
    /// `Query` if the rows are of another table.
    ///
    /// [`TableChunks`]: super::TableChunks
    pub fn inserts(
        &self,
        table: &CapturedTable,
        rows: Arc<dyn TableProvider>,
        at: Lsn,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        Ok(Arc::new(inserts(table, rows, at)?))
    }

    /// The keys of `table` that changed in `window`, under their captured names; those that rows had before they moved
    /// are among them. A key may come more than once.
    ///
    /// # Errors
    /// `Unsupported` if the table has no unique key; while reading, as [`Database::net_changes`].
    pub fn changed_keys(
        &self,
        table: &CapturedTable,
        window: LsnRange,
    ) -> Result<Arc<dyn TableProvider>, SourceError> {
        require_key(table)?;
        let keys = keys_of_images(self.pool(), &Arc::new(table.clone()), window);
        let keys = keys.map_err(|error| plan_error(table, error))?;
        Ok(Arc::new(ViewTable::new(keys, None)))
    }
}
