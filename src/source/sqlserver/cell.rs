//! Parameters, and the cells of small answers such as the catalogue's.

use std::borrow::Cow;
use std::fmt;

use chrono::DateTime;
use tiberius::{ColumnData, Row, ToSql};

use crate::change::Lsn;

use super::decode::{datetime_micros, micros};
use super::error::SourceError;

/// A value bound to `@P1`, `@P2`, ….
#[derive(Debug, Clone)]
pub(super) enum Parameter {
    /// Ten bytes; the SQL casts it to `binary(10)`.
    Lsn(Lsn),
    /// An `int`.
    Int(i32),
    /// What the driver has a type for.
    Value(ColumnData<'static>),
}

impl ToSql for Parameter {
    fn to_sql(&self) -> ColumnData<'_> {
        match self {
            Self::Lsn(lsn) => ColumnData::Binary(Some(Cow::Borrowed(lsn.as_bytes().as_slice()))),
            Self::Int(value) => ColumnData::I32(Some(*value)),
            Self::Value(value) => value.clone(),
        }
    }
}

/// As a person reads it: what T-SQL has a literal for, as that.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_sql() {
            ColumnData::Bit(Some(value)) => write!(f, "{}", i32::from(value)),
            ColumnData::I32(Some(value)) => write!(f, "{value}"),
            ColumnData::I64(Some(value)) => write!(f, "{value}"),
            ColumnData::F32(Some(value)) => write!(f, "{value:e}"),
            ColumnData::F64(Some(value)) => write!(f, "{value:e}"),
            ColumnData::String(Some(text)) => write!(f, "N'{}'", text.replace('\'', "''")),
            ColumnData::Binary(Some(bytes)) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
            other => match micros(&other).and_then(DateTime::from_timestamp_micros) {
                Some(at) => write!(f, "'{}'", at.naive_utc()),
                None => f.write_str("?"),
            },
        }
    }
}

/// How many rows are asked for: all that a `bigint` can count are more than there are.
pub(super) fn row_count(rows: usize) -> Parameter {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    Parameter::Value(ColumnData::I64(Some(rows)))
}

/// The cells of one row, by position. `None` is NULL; another type is an error that names the cell.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    row: &'a Row,
    action: &'a str,
}

impl<'a> Cells<'a> {
    pub(super) fn new(row: &'a Row, action: &'a str) -> Self {
        Self { row, action }
    }

    fn cell(&self, index: usize) -> Result<Cell<'a>, SourceError> {
        let value = self.row.cells().nth(index).map(|(_, value)| value);
        let value = value.ok_or_else(|| missing(self.action, index))?;
        Ok(Cell::new(value, index, self.action))
    }

    pub(super) fn integer(&self, index: usize) -> Result<Option<i64>, SourceError> {
        self.cell(index)?.integer()
    }

    pub(super) fn required_int(&self, index: usize) -> Result<i32, SourceError> {
        self.cell(index)?.required_int()
    }

    pub(super) fn flag(&self, index: usize) -> Result<bool, SourceError> {
        Ok(self.integer(index)? == Some(1))
    }

    pub(super) fn text(&self, index: usize) -> Result<Option<&'a str>, SourceError> {
        let cell = self.cell(index)?;
        match cell.value {
            ColumnData::String(value) => Ok(value.as_deref()),
            _ => Err(cell.mismatch("text")),
        }
    }

    pub(super) fn required_text(&self, index: usize) -> Result<&'a str, SourceError> {
        match self.text(index)? {
            Some(text) => Ok(text),
            None => Err(self.cell(index)?.mismatch("NOT NULL")),
        }
    }

    pub(super) fn bytes(&self, index: usize) -> Result<Option<&'a [u8]>, SourceError> {
        self.cell(index)?.bytes()
    }

    pub(super) fn lsn(&self, index: usize) -> Result<Option<Lsn>, SourceError> {
        self.cell(index)?.lsn()
    }

    /// A `datetime` or `datetime2` in milliseconds since 1970, in the server's own zone.
    pub(super) fn millis(&self, index: usize) -> Result<Option<i64>, SourceError> {
        let cell = self.cell(index)?;
        match datetime_micros(cell.value) {
            Some(micros) => Ok(micros.map(|micros| micros.div_euclid(1000))),
            None => Err(cell.mismatch("a datetime")),
        }
    }

    pub(super) fn required_millis(&self, index: usize) -> Result<i64, SourceError> {
        match self.millis(index)? {
            Some(millis) => Ok(millis),
            None => Err(self.cell(index)?.mismatch("NOT NULL")),
        }
    }
}

/// One cell of a row.
#[derive(Debug)]
pub(super) struct Cell<'a> {
    value: &'a ColumnData<'a>,
    index: usize,
    action: &'a str,
}

impl<'a> Cell<'a> {
    /// The value at that position.
    pub(super) fn new(value: &'a ColumnData<'a>, index: usize, action: &'a str) -> Self {
        Self {
            value,
            index,
            action,
        }
    }

    fn mismatch(&self, wanted: &str) -> SourceError {
        unexpected(self.action, self.index, &format!("not {wanted}"))
    }

    fn integer(&self) -> Result<Option<i64>, SourceError> {
        match self.value {
            ColumnData::U8(value) => Ok(value.map(i64::from)),
            ColumnData::I16(value) => Ok(value.map(i64::from)),
            ColumnData::I32(value) => Ok(value.map(i64::from)),
            ColumnData::I64(value) => Ok(*value),
            ColumnData::Bit(value) => Ok(value.map(i64::from)),
            _ => Err(self.mismatch("an integer")),
        }
    }

    pub(super) fn required_int(&self) -> Result<i32, SourceError> {
        self.integer()?
            .and_then(|value| i32::try_from(value).ok())
            .ok_or_else(|| self.mismatch("an int"))
    }

    pub(super) fn bytes(&self) -> Result<Option<&'a [u8]>, SourceError> {
        match self.value {
            ColumnData::Binary(value) => Ok(value.as_deref()),
            _ => Err(self.mismatch("binary")),
        }
    }

    /// An LSN; the all-zero one, which stands for "none", reads as `None` too.
    pub(super) fn lsn(&self) -> Result<Option<Lsn>, SourceError> {
        match self.bytes()? {
            None => Ok(None),
            Some(bytes) => Lsn::from_slice(bytes)
                .map(|lsn| (lsn != Lsn::ZERO).then_some(lsn))
                .ok_or_else(|| self.mismatch("a binary(10)")),
        }
    }
}

/// The error for a row that has too few cells.
pub(super) fn missing(action: &str, index: usize) -> SourceError {
    unexpected(action, index, "missing")
}

fn unexpected(action: &str, index: usize, reason: &str) -> SourceError {
    SourceError::UnexpectedAnswer {
        action: action.to_string(),
        reason: format!("column {} is {reason}", index + 1),
    }
}
