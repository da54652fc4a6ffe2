//! One value.

use super::Typed;

/// A value of a column or an expression, whatever its length or precision is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// NULL.
    Null,
    /// `bit`.
    Bool(bool),
    /// An integer type.
    Int(i64),
    /// `real`, `float`.
    Float(f64),
    /// `decimal`, `money`: the number times ten to the scale.
    Decimal(i128, u8),
    /// Characters.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// `datetime`, `smalldatetime`: microseconds since 1970-01-01.
    Timestamp(i64),
    /// `datetime2`: steps of 100 ns since 0001-01-01.
    Instant(i64),
    /// `datetimeoffset`: the instant in UTC as above, and minutes of offset.
    Offset(i64, i16),
    /// `uniqueidentifier`: its bytes as on the wire.
    Guid([u8; 16]),
    /// `sql_variant`: a value and its own type.
    Variant(Box<(Typed, Value)>),
}

impl Value {
    /// Whether it is NULL.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one (or a bit).
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Bool(bit) => Some(i64::from(*bit)),
            Self::Decimal(digits, 0) => i64::try_from(*digits).ok(),
            _ => None,
        }
    }

    /// The number of bytes that it needs beside itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// The bytes, if it is binary.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<i32> for Value {
    fn from(int: i32) -> Self {
        Self::Int(int.into())
    }
}

impl From<bool> for Value {
    fn from(bit: bool) -> Self {
        Self::Bool(bit)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
