//! The DataFusion session in which SQL Server and Delta tables are seen together.
//!
//! A connection is mounted as a catalog: its schemas hold live tables, the `cdc` schema the raw change
//! tables, and `CHANGES` its change feeds. Delta tables live in the catalog [`LAKE`], whose default
//! schema is [`MAIN`]. The parser rewrites `x CHANGES …` and `x VERSION AS OF …` into a name that only
//! the asynchronous `SchemaProvider::table` of these catalogs understands.

mod catalog;
mod connect;
mod define;
mod expectations;
mod files;
mod lake;
mod located;
mod moments;
mod overlay;
mod plan;
mod point;
mod properties;
mod prune;
mod refuse;
mod retry;
mod row_change;
mod scratch;
mod select;
mod session;
mod single_row;
mod unknown;

pub use catalog::NO_VERSIONS;
pub use connect::{ConnectionResolver, ResolveError};
pub use define::Defined;
pub use expectations::{Expectations, Violations};
pub use files::FilesRead;
pub use lake::TableDeclaration;
pub use overlay::Overlay;
pub use point::feed_bound;
pub use retry::{Again, Pauses, Tries, log_retry, retried};
pub use select::select_from;
pub use session::{Engine, EngineOptions};

/// The catalog of Delta tables: the default catalog of every statement.
pub const LAKE: &str = "lake";
/// The schema of Delta tables that were declared without one.
pub const MAIN: &str = "main";
