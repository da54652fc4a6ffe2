//! Where changes are read.

pub mod sqlserver;
