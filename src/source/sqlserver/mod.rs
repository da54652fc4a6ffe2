//! SQL Server as a source: tables as they are, and their changes from change data capture.
//!
//! A [`Database`] is connected by a [`ConnectionConfig`] and gives DataFusion tables:
//! - live tables, raw change tables and the tables that describe capture;
//! - the change feed of a [`CapturedTable`]: every image in commit order;
//! - its net changes in a window: at most one row per key;
//! - a first copy: the rows of the whole table, read in chunks ([`TableChunks`]), corrected by the net changes since then.
//!
//! Columns are chosen by the server; of filters over live and raw change tables it gets those that it decides as
//! this engine does, or more loosely, and a limit where all of them are exact. Rows stream: memory grows neither
//! with a table nor with a window. A read of changes carries its own proof: the same batch checks before and after
//! the rows that nothing of the window was cleaned up, and that the answering server has captured up to its end.
//! Any error voids what was read before it; inside a query it arrives as `DataFusionError::External` around a
//! [`SourceError`].
//!
//! A read that is given up is cancelled on the server by an attention. Which errors pass by themselves, their numbers
//! say ([`SourceError::is_transient`]); trying again is for the caller.
//!
//! Connections are made and spoken over by the driver, tiberius. TLS is below it, and so is what takes answers with many
//! rows past its decoding.
//!
//! Sessions read under READ COMMITTED with a lock time-out of 15 s and the lowest deadlock priority.
//!
//! Commits are dated in the server's local time, which becomes UTC by the rules of its zone ([`Dates`]): that of the
//! option `time_zone`, which the server's clock must not contradict, or the one that the server tells
//! (`CURRENT_TIMEZONE_ID()`, since SQL Server 2022), if its clock does not contradict that. Else, which is said once unless
//! it is zero, the offset that its clock has at the time of reading stands for all times, so that a commit on the other
//! side of a change of the clocks is an hour off. Where clocks are set back and an hour comes twice, commits tell by
//! the order of their LSNs which one they are of: from the first on that is dated more than a minute before another of
//! that hour, they are of the second. Without such a one, as where capture stood still or clean-up has come between,
//! they are of the first. A time that a zone leaves out, since clocks are set on, does not occur; it is read as if they
//! had not been set on yet. Instants that bound a feed are compared in the same way. A clock that is set wrong or
//! corrected is believed: times may then not follow the order of commits.

mod bulk;
mod captured;
mod catalogue;
mod caution;
mod cell;
mod change_rows;
mod changes;
mod checks;
mod chunks;
mod clustered;
mod columns;
mod commit_times;
mod commits;
mod comparison;
mod config;
mod connect_error;
mod connection;
mod cut;
mod database;
mod dates;
mod decode;
mod definition;
mod encode;
mod error;
mod fence;
mod filter;
mod first_copy;
mod health;
mod history;
mod ident;
mod instance;
mod key;
mod key_range;
mod large;
mod last_images;
mod live;
mod net;
mod news;
mod older;
mod part;
mod pool;
mod read_back;
mod relation;
mod scan;
mod schema_tables;
mod socket;
mod transient;
mod transport;
mod types;
mod zone;

pub use captured::{CapturedColumn, CapturedTable};
pub use checks::DatabaseChecks;
pub use chunks::TableChunks;
pub use columns::Columns;
pub use commits::{FeedBound, FeedBounds};
pub use config::{ApplicationIntent, ConnectionConfig, ConnectionOption, Encrypt};
pub use connect_error::ConnectError;
pub use cut::WindowLimits;
pub use database::Database;
pub use dates::Dates;
pub use definition::{DefinitionChange, KeyIndex, TableDefinition};
pub use error::{ErrorKind, SourceError};
pub use fence::Fence;
pub use first_copy::CopiedRows;
pub use health::Health;
pub use ident::TableName;
pub use key::KeyProblem;
pub use key_range::{KeyBound, KeyRange};
pub use large::{
    LargeValues, MissingValues, inserted, is_large, kept_or_updated, kept_value_type, unmarked,
};
pub use news::{Asked, Head, News};

#[cfg(all(test, feature = "simulator"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
