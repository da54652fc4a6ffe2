//! SQL Server.
