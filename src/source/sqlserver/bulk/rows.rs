//! The rows of a result set, whichever way they come.

use std::ops::Range;
use std::vec;

use tiberius::error::Error;
use tiberius::{ColumnData, Row};

use super::cells::{null, value};
use super::columns::{Column, Description, Kind, Length};
use super::measure::{NBC_ROW, ROW, Skip, head, is_null, null_bytes};
use super::{Chunk, Passage, mark};

/// What is kept for the next value of text.
const KEPT_TEXT: usize = 1 << 20;

/// Of what kind a value is, and where its own bytes are; `None` is NULL.
type Place = (Kind, Option<Range<usize>>);

/// Takes the driver's rows of one result set, and gives the rows that were on the wire, cell by cell.
#[derive(Debug)]
pub(in super::super) struct Rows {
    mark: String,
    passage: Passage,
    columns: Vec<Column>,
    /// Rows as they are on the wire.
    bytes: Vec<u8>,
    /// Where in these the next cell begins, or the next row.
    at: usize,
    /// Whether the last row goes on in bytes that are still to come.
    is_open: bool,
    /// The column of the next cell.
    column: usize,
    /// Where the bits that tell NULL stand in the bytes.
    nulls: Range<usize>,
    text: Vec<u8>,
    /// A row that the driver has decoded, until its turn.
    decoded: Option<vec::IntoIter<ColumnData<'static>>>,
    /// The cells of that row.
    cells: Option<vec::IntoIter<ColumnData<'static>>>,
}

impl Rows {
    /// Those of a request with that passage.
    pub(in super::super) fn new(passage: Passage) -> Self {
        Self {
            mark: mark(),
            passage,
            columns: Vec::new(),
            bytes: Vec::new(),
            at: 0,
            is_open: false,
            column: 0,
            nulls: 0..0,
            text: Vec::new(),
            decoded: None,
            cells: None,
        }
    }

    /// Takes a row of the driver; those before have been read.
    ///
    /// # Errors
    /// `Protocol` for bytes that no [`Filter`](super::Filter) makes.
    pub(in super::super) fn take(&mut self, row: Row) -> Result<(), Error> {
        let is_ours = matches!(row.columns(), [column] if column.name() == self.mark);
        let mut cells = row.into_iter();
        if !is_ours {
            self.decoded = Some(cells.collect::<Vec<_>>().into_iter());
            return Ok(());
        }
        let Some(ColumnData::Binary(Some(word))) = cells.next() else {
            return Err(malformed());
        };
        let bytes = self.passage.take().ok_or_else(malformed)?;
        match *word {
            [word] if word == Chunk::Columns as u8 => {
                let Description::Columns(columns, _) = Description::read(&bytes) else {
                    return Err(malformed());
                };
                // There is no row yet.
                self.column = columns.len();
                self.columns = columns;
                return Ok(());
            }
            [word] if word == Chunk::Whole as u8 => self.is_open = false,
            [word] if word == Chunk::Part as u8 => self.is_open = true,
            _ => return Err(malformed()),
        }
        if self.bytes.is_empty() {
            self.at = 0;
            self.bytes = bytes;
        } else {
            self.bytes.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// Goes to the next row; false where none is left.
    ///
    /// # Errors
    /// `Protocol` for bytes that are no row.
    pub(in super::super) fn next_row(&mut self) -> Result<bool, Error> {
        self.cells = self.decoded.take();
        if self.cells.is_some() {
            return Ok(true);
        }
        if self.is_open {
            return Ok(false);
        }
        // Who wants no column has not come to the end of the row.
        while self.column < self.columns.len() {
            self.next_range()?;
        }
        let Some(token) = self.bytes.get(self.at) else {
            self.bytes = Vec::new();
            if self.text.capacity() > KEPT_TEXT {
                self.text = Vec::new();
            }
            return Ok(false);
        };
        let nulls = match *token {
            ROW => 0,
            NBC_ROW => null_bytes(self.columns.len()),
            _ => return Err(malformed()),
        };
        self.column = 0;
        self.nulls = self.at + 1..self.at + 1 + nulls;
        self.at = self.nulls.end;
        Ok(true)
    }

    /// What `with` makes of the next cell of the row; `None` after the last.
    ///
    /// # Errors
    /// `Protocol` for bytes that are no value of the column's type.
    #[inline]
    pub(in super::super) fn cell<T>(
        &mut self,
        with: impl FnOnce(ColumnData<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        if let Some(cells) = &mut self.cells {
            return Ok(cells.next().map(with));
        }
        let Some((kind, range)) = self.next_range()? else {
            return Ok(None);
        };
        let Some(range) = range else {
            return Ok(Some(with(null(kind))));
        };
        let bytes = self.bytes.get(range).ok_or_else(malformed)?;
        let made = value(kind, bytes, &mut self.text, with);
        made.map(Some).ok_or_else(|| no_value(kind))
    }

    /// Goes over the next value: of what kind it is, and where its own bytes are if it is not NULL; `None` after the last.
    #[inline]
    fn next_range(&mut self) -> Result<Option<Place>, Error> {
        let Some(column) = self.columns.get(self.column).copied() else {
            return Ok(None);
        };
        let index = self.column;
        self.column += 1;
        if !self.nulls.is_empty() {
            let nulls = self.bytes.get(self.nulls.clone());
            if is_null(nulls.ok_or_else(malformed)?, index) {
                return Ok(Some((column.kind, None)));
            }
        }
        let range = self.value_bytes(column.length).ok_or_else(malformed)?;
        Ok(Some((column.kind, range)))
    }

    /// Where the next value's own bytes are; the inner `None` is NULL, the outer bytes that do not suffice.
    #[inline]
    fn value_bytes(&mut self, length: Length) -> Option<Option<Range<usize>>> {
        let rest = self.bytes.get(self.at..)?;
        let (used, skip) = head(length, rest)?;
        let is_null = match length {
            Length::Fixed(_) => false,
            Length::Byte | Length::Pointer => rest.first() == Some(&0),
            Length::Short => rest.starts_with(&[0xFF; 2]),
            Length::Chunks => rest.starts_with(&[0xFF; 8]),
        };
        let start = self.at + used;
        let end = match skip {
            Skip::Bytes(count) => {
                self.at = start + usize::try_from(count).ok()?;
                self.at
            }
            Skip::Chunks => self.join_chunks(start)?,
        };
        if end > self.bytes.len() {
            return None;
        }
        Some((!is_null).then_some(start..end))
    }

    /// Moves the chunks of a value to where the first begins: where they end then.
    fn join_chunks(&mut self, start: usize) -> Option<usize> {
        let (mut from, mut end) = (start, start);
        loop {
            let length = u32::from_le_bytes(*self.bytes.get(from..)?.first_chunk()?) as usize;
            from += 4;
            if length == 0 {
                self.at = from;
                return Some(end);
            }
            self.bytes.get(from..from + length)?;
            self.bytes.copy_within(from..from + length, end);
            from += length;
            end += length;
        }
    }
}

fn malformed() -> Error {
    Error::Protocol("the server's answer cannot be read: rows are not whole".into())
}

fn no_value(kind: Kind) -> Error {
    Error::Protocol(format!("the server's answer cannot be read: a value is no {kind:?}").into())
}
