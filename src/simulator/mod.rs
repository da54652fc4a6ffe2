//! An embedded stand-in for SQL Server.

pub mod protocol;
pub mod session;
