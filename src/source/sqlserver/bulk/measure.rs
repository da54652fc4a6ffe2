//! Where a row ends.

use std::io;

use super::columns::{Column, Length};
use super::malformed;

/// Whose values that are NULL are told before the others (MS-TDS 2.2.7.13).
pub(super) const NBC_ROW: u8 = 0xD2;
/// (MS-TDS 2.2.7.19)
pub(super) const ROW: u8 = 0xD1;

/// What a value may have at most (MS-TDS 2.2.5.2.3): what SQL Server stores.
const MAX_VALUE_BYTES: u64 = i32::MAX as u64;

/// How many bytes of NULL bits stand before so many columns.
pub(super) fn null_bytes(columns: usize) -> usize {
    columns.div_ceil(8)
}

/// Whether the bits say that a column is NULL.
pub(super) fn is_null(nulls: &[u8], column: usize) -> bool {
    nulls
        .get(column / 8)
        .is_some_and(|byte| byte >> (column % 8) & 1 == 1)
}

/// A row that is being measured while its bytes come in.
#[derive(Debug)]
pub(super) struct Measure {
    /// The column whose value is next.
    column: usize,
    /// Bytes of a value that are still to come.
    skip: u64,
    /// The bytes so far of a value in chunks.
    chunks: Option<u64>,
    /// Whether the token's byte has been read.
    is_begun: bool,
    /// Empty where the row has no such bits.
    nulls: Vec<u8>,
}

impl Measure {
    /// A row at whose token the bytes begin.
    pub(super) fn new() -> Self {
        Self {
            column: 0,
            skip: 0,
            chunks: None,
            is_begun: false,
            nulls: Vec::new(),
        }
    }

    /// The same for another row.
    pub(super) fn restart(&mut self) {
        self.column = 0;
        self.skip = 0;
        self.chunks = None;
        self.is_begun = false;
        self.nulls.clear();
    }

    /// Goes through bytes that follow those before: how many belong to the row for certain, and whether it ends after them.
    /// What is left where it does not end has to come again, with more.
    ///
    /// # Errors
    /// A value that is larger than values can be.
    pub(super) fn advance(
        &mut self,
        columns: &[Column],
        bytes: &[u8],
    ) -> io::Result<(usize, bool)> {
        let mut at = 0;
        if !self.is_begun {
            let Some(used) = self.begin(columns, bytes) else {
                return Ok((0, false));
            };
            at = used;
        }
        loop {
            if self.skip > 0 {
                let here = self.skip.min((bytes.len() - at) as u64);
                at += here as usize;
                self.skip -= here;
                if self.skip > 0 {
                    return Ok((at, false));
                }
            }
            if self.chunks.is_none() && self.column == columns.len() {
                return Ok((at, true));
            }
            let Some(used) = self.step(columns, &bytes[at..])? else {
                return Ok((at, false));
            };
            at += used;
        }
    }

    fn begin(&mut self, columns: &[Column], bytes: &[u8]) -> Option<usize> {
        let (token, rest) = bytes.split_first()?;
        let mut used = 1;
        if *token == NBC_ROW {
            let nulls = rest.get(..null_bytes(columns.len()))?;
            self.nulls.extend_from_slice(nulls);
            used += nulls.len();
        }
        self.is_begun = true;
        Some(used)
    }

    /// Reads the next length: how many bytes that has, or `None` where some are missing.
    fn step(&mut self, columns: &[Column], bytes: &[u8]) -> io::Result<Option<usize>> {
        if let Some(total) = self.chunks {
            return self.chunk(total, bytes);
        }
        let column = self.column;
        if is_null(&self.nulls, column) {
            self.column += 1;
            return Ok(Some(0));
        }
        let Some((used, skip)) = head(columns[column].length, bytes) else {
            return Ok(None);
        };
        match skip {
            Skip::Bytes(count) => {
                self.skip = count;
                self.column += 1;
            }
            Skip::Chunks => self.chunks = Some(0),
        }
        if self.skip > MAX_VALUE_BYTES {
            return Err(malformed("a value is too long"));
        }
        Ok(Some(used))
    }

    fn chunk(&mut self, total: u64, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(length) = bytes.first_chunk() else {
            return Ok(None);
        };
        let length = u64::from(u32::from_le_bytes(*length));
        if length == 0 {
            self.chunks = None;
            self.column += 1;
            return Ok(Some(4));
        }
        let total = total + length;
        if total > MAX_VALUE_BYTES {
            return Err(malformed("a value in chunks is too long"));
        }
        self.chunks = Some(total);
        self.skip = length;
        Ok(Some(4))
    }
}

/// What follows a value's length.
pub(super) enum Skip {
    Bytes(u64),
    Chunks,
}

/// The length that a value begins with: its own bytes, and what follows. `None` where bytes of it are missing.
#[inline]
pub(super) fn head(length: Length, bytes: &[u8]) -> Option<(usize, Skip)> {
    Some(match length {
        Length::Fixed(count) => (0, Skip::Bytes(count.into())),
        Length::Byte => (1, Skip::Bytes((*bytes.first()?).into())),
        Length::Short => match u16::from_le_bytes(*bytes.first_chunk()?) {
            0xFFFF => (2, Skip::Bytes(0)),
            count => (2, Skip::Bytes(count.into())),
        },
        Length::Chunks => match u64::from_le_bytes(*bytes.first_chunk()?) {
            u64::MAX => (8, Skip::Bytes(0)),
            _ => (8, Skip::Chunks),
        },
        Length::Pointer => match usize::from(*bytes.first()?) {
            0 => (1, Skip::Bytes(0)),
            pointer => {
                let before = 1 + pointer + TIMESTAMP_BYTES;
                let count = u32::from_le_bytes(*bytes.get(before..)?.first_chunk()?);
                (before + 4, Skip::Bytes(count.into()))
            }
        },
    })
}

/// What stands between the pointer of an old large value and its length.
const TIMESTAMP_BYTES: usize = 8;
