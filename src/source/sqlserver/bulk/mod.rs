//! Rows of many at once, past the driver's own decoding.
//!
//! The driver makes a value of every cell of every row, which takes most of the time of a read. Here a [`Filter`] in the
//! socket below it takes an answer apart as far as it must to know where rows begin and end (MS-TDS 2.2.7), and gives the
//! driver a result set of another form in place of the one that is wanted: one column, in each row a word for the description
//! of the columns or for as many rows as have come, whose bytes go by a [`Passage`] beside the driver. Errors, the end of
//! the answer, time limits and cancelling remain the driver's, and so does a result set with a column of a type that is not
//! known here.
//!
//! [`Rows`] puts the bytes in the place of such rows of the driver, and makes the same values of them that the driver makes
//! of cells, without copying them. Who reads sees no difference between rows of either kind. Nothing is read of the
//! connection before the driver has taken the words for what was read, so that the passage holds as much as one read.

mod cells;
mod columns;
mod filter;
mod measure;
mod rows;
#[cfg(test)]
mod tests;

pub(super) use filter::Filter;
pub(super) use rows::Rows;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes of an answer that go beside the driver, in the order of its words for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Passage(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Passage {
    fn put(&self, bytes: &[u8]) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(bytes.to_vec());
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }
}

/// The driver's word for bytes in the passage.
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
