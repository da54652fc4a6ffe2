//! An embedded stand-in for SQL Server.

pub mod protocol;
pub(crate) mod server;
pub mod session;
pub(crate) mod wire;
