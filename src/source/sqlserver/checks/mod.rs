//! A look at a database and its tables before anything is copied: what would hold a run, and the T-SQL that mends it.
//!
//! Facts are asked for by statements that every login may send, each of which may be refused alone; what follows from
//! them is decided without the server. Nothing is written there.

mod database;
mod judgement;
mod remedy;
mod table;
mod verdicts;

pub use database::DatabaseChecks;
pub(super) use database::database;
pub(super) use table::table;

/// True for what the server does not have, or does not show to the login.
fn is_hidden(error: &super::error::SourceError) -> bool {
    super::health::is_hidden(error)
}
