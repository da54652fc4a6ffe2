//! The nouns of change data capture: positions in the log, windows, kinds of change.
//!
//! Everything here is a value: no I/O, no async, no engine.

mod checkpoint;
mod finding;
mod gap;
mod kind;
mod lsn;
mod schema_change;

pub use checkpoint::{Checkpoint, Commit, FlowKey};
pub use finding::{Check, CheckState, Finding};
pub use gap::{Gap, OnGap, UnknownPolicy};
pub use kind::{
    CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeType, END_AT, KEPT, MEMBER, PRESENT,
    START_AT, is_change_column,
};
pub use lsn::{Lsn, LsnRange, ParseLsnError};
pub use schema_change::OnSchemaChange;
