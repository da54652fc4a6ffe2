//! An embedded stand-in for SQL Server.

pub mod protocol;
mod server;
pub mod session;
mod wire;
