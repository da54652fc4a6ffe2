//! A type with its collation.

use crate::simulator::protocol::{Collation, Column, SqlType};

/// A type, and for a character type the collation of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Typed {
    /// The type.
    pub(crate) sql_type: SqlType,
    /// The collation; without meaning for other types.
    pub(crate) collation: Collation,
}

impl Typed {
    /// A type in a collation.
    pub(crate) fn new(sql_type: SqlType, collation: Collation) -> Self {
        Self {
            sql_type,
            collation,
        }
    }
}

/// In the server's collation.
impl From<SqlType> for Typed {
    fn from(sql_type: SqlType) -> Self {
        Self::new(sql_type, Collation::SERVER)
    }
}

impl Column {
    /// The type with its collation.
    pub(crate) fn typed(&self) -> Typed {
        Typed::new(self.sql_type, self.collation)
    }
}
