//! The databases: their tables, rows, keys, log and transactions.
//!
//! A database is an immutable [`State`] behind a lock. A reader takes the committed state and keeps
//! it; a writer takes the database's only writer's seat, changes a copy of the state (tables and row
//! chunks are shared until they change), and a commit puts the copy in place. A rollback drops it.
//!
//! So nobody waits for a writer to read, unless the server is asked to let writers block readers, and nobody reads what is not committed: under READ COMMITTED, and
//! READ UNCOMMITTED or with NOLOCK as well, a reader sees the last committed rows where SQL Server would
//! have it wait, or show what may yet be rolled back. A query under these levels is no instant, though: it
//! fetches each chunk of a table as it is committed by then, unless the database has
//! READ_COMMITTED_SNAPSHOT. Rows that change meanwhile may be seen as they were or as they became, and rows
//! that are deleted and inserted again twice or not at all.

mod clock;
mod database;
mod index;
mod locks;
mod log;
mod protections;
mod rows;
mod server;
mod spent;
mod state;
mod table;
mod write;

pub(crate) use clock::EPOCH_MICROS;
pub use clock::{Clock, LocalTime, ServerZone};
pub(crate) use database::{DatabaseCell, Kept, Visit};
pub(crate) use index::key_values;
pub(crate) use locks::{HeldScan, Reading, TableName};
pub(crate) use log::{Entry, Logged, Lsn};
pub(crate) use protections::{Filter, PartitionFunction, Policy, Predicate, Protections};
pub(crate) use rows::{ROW_ID, row_id};
pub(crate) use server::Server;
pub(crate) use state::{AliasType, State};
pub(crate) use table::{ColumnDef, Computed, Guard, Identity, Key, Table, arrow_schema};
pub(crate) use write::{Change, Images, Savepoint, Write, internal};
