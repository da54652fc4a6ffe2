//! Change data capture: capture instances, their change tables, and the log-time mapping.
//!
//! A commit leaves row images in the log. A scan of the log moves them into the change tables and gives
//! the transaction its row in `cdc.lsn_time_mapping`; [`CaptureJob`] says when. A scan fixes the end of the
//! log before it writes, and what it writes is visible at once, as one transaction.
//!
//! What capture owns, the tables of schema `cdc`, is written by scans, and by transactions that change
//! capture itself, which no scan passes.

mod behaviour;
mod cleanup;
mod control;
mod definition;
mod enable;
mod images;
mod instance;
mod job;
mod jobs;
mod metadata;
mod procedures;
mod reports;
mod scan;

pub use behaviour::{CaptureBehaviour, CaptureJob, CommandId, CommitTimes};
pub use control::{BegunCleanup, CaptureControl, FixedScan, KeptDatabase};
pub use job::ScanReport;

pub(crate) use definition::{Definition, DefinitionKind};
pub(crate) use enable::mark_dropped;
pub(crate) use images::FIRST_CAPTURED;
pub(crate) use instance::{Capture, Instance};
#[cfg(test)]
pub(crate) use job::turn;
pub(crate) use job::{Job, ScanSession, after_commit, look, run, stuck};
pub(crate) use metadata::{LSN_TIME_MAPPING, SCHEMA};
pub(crate) use procedures::{Argument, Arguments, Procedure, procedure};
pub(crate) use reports::job_settings;
pub(crate) use scan::{begin, begins};
