//! Targets that keep the history of their rows: every version of a key, with the commits and the time for which it was
//! valid.
//!
//! A window's images, one for each key and commit, are joined with the versions that were valid at its start, and
//! put in the order of keys and commits ([`Versions`]); from these the versions follow that begin or end in it
//! ([`VersionsExec`], [`Folding`]). What is written is a function of the target as it was at the window's start and of the
//! images, so that a window may run again.

mod batch;
mod columns;
mod differences;
mod exec;
mod fold;
mod shape;
mod versions;
mod write;

pub(super) use columns::HistoryColumns;
pub(super) use shape::Shape;
pub(super) use versions::Begun;
pub(super) use write::{planned_events, with_versions};

use exec::VersionsExec;
use fold::Folding;
use versions::Versions;
