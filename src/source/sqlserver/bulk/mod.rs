//! Rows of many at once, past the driver's own decoding.
//!
//! The driver makes a value of every cell of every row, which takes most of the time of a read. Here a [`Filter`] in the
//! socket below it takes an answer apart as far as it must to know where rows begin and end (MS-TDS 2.2.7), and gives the
//! driver a result set of another form in place of the one that is wanted: one column of bytes, in each row the description
//! of the columns or as many rows as have come, as they are on the wire. Errors, the end of the answer, time limits and
//! cancelling remain the driver's, and so does a result set with a column of a type that is not known here.
//!
//! [`Rows`] takes such a row of the driver apart again, into the same values that the driver makes of cells, without
//! copying them. Who reads sees no difference between rows of either kind.

mod cells;
mod columns;
mod filter;
mod measure;
mod rows;
#[cfg(test)]
mod tests;

pub(super) use filter::Filter;
pub(super) use rows::Rows;

use std::io;

/// What the first byte of a value says that the bytes after it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// COLMETADATA, without its token's byte.
    Columns = 0,
    /// Rows with their tokens; the last one is whole.
    Whole = 1,
    /// As above, but the last one goes on in the next chunk.
    Part = 2,
}

/// Longer than a name in SQL Server may be (128 characters), so that no other column is called so.
fn mark() -> String {
    "rows ".repeat(40)
}

/// Bytes that are no answer of a server.
fn malformed(reason: &str) -> io::Error {
    let text = format!("the server's answer cannot be read: {reason}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
