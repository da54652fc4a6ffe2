//! A table: its columns, keys and rows.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::index::KeyIndex;
use super::rows::Rows;
use crate::simulator::protocol::{Collation, ServerError, SqlType};
use crate::simulator::types::{Mode, Typed, convert_array, field, with_collation};

/// `IDENTITY(seed, increment)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The first value.
    pub(crate) seed: i64,
    /// The step.
    pub(crate) increment: i64,
}

/// `AS expression`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Computed {
    /// The expression, in T-SQL.
    pub(crate) expression: String,
    /// PERSISTED.
    pub(crate) persisted: bool,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnDef {
    /// The name as declared.
    pub(crate) name: String,
    /// `column_id`: from 1, never used twice in a table.
    pub(crate) id: i32,
    /// The type.
    pub(crate) sql_type: SqlType,
    /// `user_type_id` where it differs from the type's own: 256 for `sysname`.
    pub(crate) alias_type: Option<i32>,
    /// The collation of a character type.
    pub(crate) collation: Collation,
    /// Whether NULL is allowed.
    pub(crate) nullable: bool,
    /// Its IDENTITY property.
    pub(crate) identity: Option<Identity>,
    /// Its DEFAULT, as an expression in T-SQL.
    pub(crate) default: Option<String>,
    /// What it is computed of.
    pub(crate) computed: Option<Computed>,
    /// Who may see its values, and in what form they are stored.
    pub(crate) guard: Guard,
}

/// What stands between a column's values and who reads them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing.
    #[default]
    None,
    /// Who has no UNMASK sees `default()`.
    Masked,
    /// Always Encrypted: the clients encrypt; `encryption_type` is 1 for DETERMINISTIC, 2 for RANDOMIZED.
    Encrypted(u8),
}

impl ColumnDef {
    /// The type with its collation.
    pub(crate) fn typed(&self) -> Typed {
        Typed::new(self.sql_type, self.collation)
    }

    /// A nullable column without properties.
    pub(crate) fn plain(id: i32, name: &str, sql_type: SqlType, nullable: bool) -> Self {
        Self {
            name: name.to_owned(),
            id,
            sql_type,
            alias_type: None,
            collation: Collation::SERVER,
            nullable,
            identity: None,
            default: None,
            computed: None,
            guard: Guard::None,
        }
    }
}

/// A PRIMARY KEY or UNIQUE constraint, or a unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The constraint's or index's name.
    pub(crate) name: String,
    /// Whether it is the primary key.
    pub(crate) primary: bool,
    /// Whether it is a constraint, not just an index.
    pub(crate) constraint: bool,
    /// Whether it is the clustered index.
    pub(crate) clustered: bool,
    /// `index_id`: 1 for the clustered index, else 2 and up.
    pub(crate) index_id: i32,
    /// Positions of its columns in the table.
    pub(crate) columns: Vec<usize>,
}

/// A table with its rows; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// `object_id`.
    pub(crate) object_id: i32,
    /// Its schema's name.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// Its columns, in order.
    pub(crate) columns: Arc<[ColumnDef]>,
    /// Its keys.
    pub(crate) keys: Arc<[Key]>,
    /// Its rows.
    pub(crate) rows: Rows,
    /// The greatest `column_id` that was ever used.
    pub(crate) last_column_id: i32,
    /// The next IDENTITY value.
    pub(crate) next_identity: Option<i64>,
    /// When it was created.
    pub(crate) created: i64,
    /// When it was last altered (`modify_date`).
    pub(crate) modified: i64,
    /// Whether the server made it (`is_ms_shipped`), as change data capture's tables.
    pub(crate) shipped: bool,
    /// The partition scheme that it lies on, and the `column_id` that chooses the partition.
    pub(crate) partitioned: Option<(String, i32)>,
}

impl Table {
    /// Whether another version of the table has the same definition and the very same rows; what IDENTITY will
    /// give next does not matter.
    pub(crate) fn is_unchanged(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.columns, &other.columns)
            && Arc::ptr_eq(&self.keys, &other.keys)
            && self.rows.is_same(&other.rows)
    }

    /// An empty table.
    pub(crate) fn new(
        object_id: i32,
        schema: &str,
        name: &str,
        columns: Vec<ColumnDef>,
        keys: Vec<Key>,
        created: i64,
    ) -> Self {
        let next_identity = columns
            .iter()
            .find_map(|column| column.identity.map(|identity| identity.seed));
        Self {
            object_id,
            schema: schema.to_owned(),
            name: name.to_owned(),
            rows: Rows::empty(arrow_schema(&columns)),
            last_column_id: columns.iter().map(|column| column.id).max().unwrap_or(0),
            columns: columns.into(),
            keys: keys.into(),
            next_identity,
            created,
            modified: created,
            shipped: false,
            partitioned: None,
        }
    }

    /// `schema.table`, as in messages.
    pub(crate) fn qualified(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The position of a column, by name without case.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        self.columns
            .iter()
            .position(|column| column.name.to_lowercase() == name)
    }

    /// The primary key, if there is one.
    pub(crate) fn primary_key(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.primary)
    }

    /// The position of the column that numbers the rows' versions.
    pub(crate) fn row_version(&self) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.sql_type == SqlType::RowVersion)
    }

    /// The position of the IDENTITY column.
    pub(crate) fn identity(&self) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.identity.is_some())
    }

    /// Whether no two rows have the same values of a key.
    pub(crate) fn is_unique(&self, key: &Key) -> Result<bool, ArrowError> {
        Ok(KeyIndex::build(self, key)?.len() == self.rows.count())
    }

    /// Gives a column another type, and its values the new form; the error names one that does not fit.
    pub(crate) fn retype(
        &mut self,
        at: usize,
        sql_type: SqlType,
        database: &str,
    ) -> Result<(), ServerError> {
        self.redefine(at, sql_type, self.columns[at].nullable, database)
    }

    /// Gives a column another type, and says whether it may be NULL.
    pub(crate) fn redefine(
        &mut self,
        at: usize,
        sql_type: SqlType,
        nullable: bool,
        database: &str,
    ) -> Result<(), ServerError> {
        let mut columns = self.columns.to_vec();
        let from = std::mem::replace(&mut columns[at].sql_type, sql_type);
        columns[at].nullable = nullable;
        let collation = columns[at].collation;
        let (from, to) = (Typed::new(from, collation), Typed::new(sql_type, collation));
        let rows = self.rows.map_column(arrow_schema(&columns), at, |array| {
            convert_array(array, from, to, 0, Mode::Assign).map_err(|mut error| {
                let place = format!(
                    "in table '{database}.{}', column '{}'.",
                    self.qualified(),
                    columns[at].name
                );
                error.message = error.message.replace("in table '', column ''.", &place);
                error
            })
        })?;
        self.rows = rows;
        self.columns = columns.into();
        Ok(())
    }

    /// The schema of its rows.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// The Arrow schema of some columns.
pub(crate) fn arrow_schema(columns: &[ColumnDef]) -> SchemaRef {
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|c| {
                let plain = field(&c.name, c.sql_type, c.nullable, c.identity.is_some());
                with_collation(plain, c.collation)
            })
            .collect::<Vec<_>>(),
    ))
}
