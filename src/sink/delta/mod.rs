//! Delta tables: where changes are written.
//!
//! A [`DeltaTarget`] is a location and, when a table lies there, its loaded log. A
//! [`DeltaTableProvider`] lets DataFusion read it and write it (`MERGE INTO`, `INSERT INTO`; `UPDATE` and
//! `DELETE` come as a MERGE whose source is one row without columns). A write
//! that belongs to a flow carries a [`FlowCommit`]: rows and LSN land in the same Delta commit, so the
//! log is the only checkpoint store.
//!
//! Promises, each held by a test:
//! - One execution is at most one commit. It is a compare-and-swap on the version that was read: when
//!   another writer was faster, a merge is planned again from the new version, ten times at most; where
//!   that cannot be, nothing is applied and the error is of kind [`SinkErrorKind::Conflict`].
//! - A window that does not begin at the checkpoint in the log is never applied
//!   ([`SinkErrorKind::CheckpointMoved`]).
//! - The source of a write is executed once.
//! - Planning writes nothing, so `EXPLAIN` does not either.
//! - Maintenance ([`DeltaTarget::maintain`]) changes no row and moves no checkpoint. A write that it races is planned
//!   again, as it is planned again itself.
//! - A failed write leaves no more than data files that no version of the table names; `VACUUM`
//!   removes them.
//!
//! Inside a plan a [`SinkError`] travels as `DataFusionError::External`.

mod change_feed;
mod checkpoint;
mod columns;
mod error;
mod history;
mod location;
mod maintenance;
mod outcome;
mod provider;
mod schema;
mod staging;
mod storage;
mod target;
mod widening;
mod write;

#[cfg(test)]
mod tests;

pub use change_feed::{FeedEnd, FeedPoint};
pub use checkpoint::FlowCommit;
pub use error::{SinkError, SinkErrorKind};
pub use history::HistoryEntry;
pub use location::is_folder_name;
pub use maintenance::{
    Figures, Maintenance, MaintenanceAction, MaintenanceEvent, MaintenanceReport, MaintenanceStep,
    Vacuum,
};
pub use outcome::{CommitOutcome, RowCounts};
pub use provider::DeltaTableProvider;
pub use schema::TableOptions;
pub use staging::{Adopted, ChunkName, FILE, StagedChunk, Staging};
pub use storage::StorageOptions;
pub use target::DeltaTarget;
pub use widening::widens;
pub use write::merge_path;
pub(crate) use write::{Spool, SpoolWriter, joined_by_hash, joined_within_memory};

/// The version of the library that reads and writes the log of Delta tables.
pub fn library_version() -> &'static str {
    deltalake::crate_version()
}
