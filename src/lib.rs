//! cdcql copies SQL Server tables into Delta tables, and keeps them true.

pub mod change;
pub mod sink;
pub mod source;
pub mod sql;

#[cfg(feature = "simulator")]
pub mod simulator;
