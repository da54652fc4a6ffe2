//! Change data capture: capture instances, their change tables, and the log-time mapping.
//!
//! Capture is synchronous: a commit puts its row images into the change tables and a row into
//! `cdc.lsn_time_mapping` before anybody sees it.

mod commit;
mod enable;
mod images;
mod instance;
mod metadata;
mod procedures;

pub(crate) use commit::commit;
pub(crate) use enable::forget_table;
pub(crate) use instance::{Capture, Instance};
pub(crate) use metadata::{LSN_TIME_MAPPING, SCHEMA};
pub(crate) use procedures::{Argument, procedure};
