//! The databases: their tables, rows, keys, log and transactions.
//!
//! A database is an immutable [`State`] behind a lock. A reader takes the committed state and keeps
//! it; a writer takes the database's only writer's seat, changes a copy of the state (tables and row
//! chunks are shared until they change), and a commit puts the copy in place. A rollback drops it.

mod clock;
mod database;
mod index;
mod log;
mod rows;
mod server;
mod state;
mod table;
mod write;

pub use clock::Clock;
pub(crate) use clock::EPOCH_MICROS;
pub(crate) use database::{DatabaseCell, Kept};
pub(crate) use index::key_values;
pub(crate) use log::{Entry, Logged, Lsn};
pub(crate) use rows::{ROW_ID, row_id};
pub(crate) use server::Server;
pub(crate) use state::{AliasType, State};
pub(crate) use table::{ColumnDef, Computed, Identity, Key, Table, arrow_schema};
pub(crate) use write::{Change, Images, Savepoint, Write, internal};
