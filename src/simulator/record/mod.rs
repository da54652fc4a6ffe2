//! The script as a record: what clients commit is appended to it, so that the next replay repeats it.
//!
//! Each commit is one batch, in the order of the commits on the whole server, and is on the disk before anyone
//! sees what it did. A transaction that rolls back leaves nothing but the IDENTITY values and row versions that
//! it has spent. What a replay would not repeat, a statement that asks for something that the script does not
//! hold, is refused.
//!
//! A batch is a block from BEGIN to END, so that one that a crash has torn is a syntax error at its line, and
//! never another statement than the one that was executed.

#[cfg(test)]
pub(crate) mod disk;
mod file;
mod literal;
mod text;

pub use file::Record;
pub(crate) use file::Turn;
pub(crate) use literal::cast;
pub(crate) use text::{
    LIMIT, Recorded, SPENT, explicit_identity, in_locale, quoted, spent, statement,
};
