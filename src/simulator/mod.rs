//! An embedded stand-in for SQL Server, for tutorials, tests and trying things out.
//!
//! It speaks TDS on loopback and T-SQL as far as the tutorial, the client and common drivers need it, with
//! change data capture as in SQL Server. Its parts are the [`protocol`] between the wire and the database,
//! the wire itself, [`session`]s, and below them the T-SQL language, the store and the capture. It shares
//! nothing with the client side of this crate, so that no error can hide on both ends of the wire.
//!
//! A [`Database`] is made by a script and is a function of the script's text: see there for its clock and
//! its history. [`Behaviour`] says how its server uses the freedom that a real one has; a
//! [`CaptureControl`] lets a test hold its capture, scan step by step, clean up, and restore.
//!
//! What clients commit can be a [`Record`]: it is appended to the script, so that a replay repeats it.
//!
//! What it lacks, on purpose or for now, answers with error 40510 and a text that names it: procedures,
//! functions (but the predicates of security policies), views, triggers and sequences of one's own; variables but
//! those of tables and parameters, WHILE, TRY, cursors; MERGE, OUTPUT, SELECT INTO, FOR XML, FOR JSON; FOREIGN KEY and
//! CHECK; DROP DATABASE of several; temporary and memory-optimized tables, SWITCH of partitions; masks but `default()`, values that are
//! encrypted by clients; shapes but those of bytes that clients serialised, without curves; bulk load, MARS,
//! Windows logins. One transaction writes to a database at a time.

mod behaviour;
mod capture;
pub mod control;
mod errors;
mod execution;
pub mod protocol;
mod record;
mod running;
mod script;
mod security;
pub(crate) mod server;
pub mod session;
mod store;
#[cfg(test)]
mod tests;
mod tsql;
mod types;
pub(crate) mod wire;

pub use behaviour::{Behaviour, ReplicaClients};
pub use capture::{
    BegunCleanup, CaptureBehaviour, CaptureControl, CaptureJob, CommandId, CommitTimes, FixedScan,
    KeptDatabase, ScanReport,
};
pub use control::Control;
pub use errors::SimulatorError;
pub use record::Record;
pub use running::{Simulator, SimulatorOptions};
pub use script::Database;
pub use server::{Certificate, Tls};
pub use store::{Clock, LocalTime, ServerZone};
