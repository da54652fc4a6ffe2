//! One version of a database.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::clock::EPOCH_MICROS;
use super::protections::Protections;
use super::table::Table;
use crate::simulator::capture::Capture;
use crate::simulator::protocol::{Collation, SqlType};
use crate::simulator::security::{Principals, Securable};

/// How object ids follow each other, as in SQL Server.
const OBJECT_ID_STEP: i32 = 16_000_057;
const FIRST_OBJECT_ID: i32 = 885_578_193;
/// `@@DBTS` of a new database.
const FIRST_ROW_VERSION: u64 = 2000;

/// A schema of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema {
    /// Its name.
    pub(crate) name: String,
    /// `schema_id`.
    pub(crate) id: i32,
}

/// A type of CREATE TYPE … FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AliasType {
    /// Its schema's name.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// `user_type_id`.
    pub(crate) id: i32,
    /// The type that it stands for.
    pub(crate) sql_type: SqlType,
    /// Whether columns of it may be NULL unless they say so.
    pub(crate) nullable: bool,
}

/// A database as it stands after a commit, or within a transaction; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The database's name.
    pub(crate) name: String,
    /// `database_id`.
    pub(crate) id: i32,
    /// When it was created.
    pub(crate) created: i64,
    /// Whether SNAPSHOT isolation is allowed.
    pub(crate) snapshot_isolation: bool,
    /// Whether a statement under READ COMMITTED sees one instant, as it began.
    pub(crate) read_committed_snapshot: bool,
    /// The collation of columns and strings that name none.
    pub(crate) collation: Collation,
    /// The number of the last row version that was given.
    pub(crate) row_version: u64,
    /// Its alias types.
    pub(crate) types: Vec<AliasType>,
    /// Its schemas.
    pub(crate) schemas: Vec<Schema>,
    /// Its tables by object id, the change tables among them.
    pub(crate) tables: BTreeMap<i32, Arc<Table>>,
    /// The number of its commits; what capture writes is not counted.
    pub(crate) version: u64,
    /// The database's clock: its last event, in microseconds since 1970-01-01.
    pub(crate) clock: i64,
    /// A hash over every statement that has written.
    pub(crate) history: [u8; 32],
    /// Its users and roles, and what they were granted.
    pub(crate) principals: Arc<Principals>,
    /// Partition functions and schemes, security policies, and keys of Always Encrypted.
    pub(crate) protections: Arc<Protections>,
    /// Change data capture, if it is enabled.
    pub(crate) capture: Option<Arc<Capture>>,
    last_object_id: i32,
}

impl State {
    /// A new database.
    pub(crate) fn new(name: &str, id: i32) -> Self {
        let schemas = ["dbo", "guest", "INFORMATION_SCHEMA", "sys"];
        Self {
            name: name.to_owned(),
            id,
            created: EPOCH_MICROS,
            snapshot_isolation: false,
            read_committed_snapshot: false,
            collation: Collation::SERVER,
            row_version: FIRST_ROW_VERSION,
            types: Vec::new(),
            schemas: (1..)
                .zip(schemas)
                .map(|(id, name)| Schema {
                    name: name.to_owned(),
                    id,
                })
                .collect(),
            tables: BTreeMap::new(),
            version: 0,
            clock: EPOCH_MICROS,
            history: [0; 32],
            principals: Arc::default(),
            protections: Arc::default(),
            capture: None,
            last_object_id: FIRST_OBJECT_ID,
        }
    }

    /// The schema of a name.
    pub(crate) fn schema(&self, name: &str) -> Option<&Schema> {
        let mut schemas = self.schemas.iter();
        schemas.find(|schema| self.collation.is_same_name(&schema.name, name))
    }

    /// Adds a schema that is not there yet.
    pub(crate) fn add_schema(&mut self, name: &str) {
        let id = self.schemas.iter().map(|s| s.id).max().unwrap_or(4) + 1;
        self.schemas.push(Schema {
            name: name.to_owned(),
            id,
        });
    }

    /// The alias type of a schema and name.
    pub(crate) fn alias_type(&self, schema: &str, name: &str) -> Option<&AliasType> {
        self.types.iter().find(|alias| {
            self.collation.is_same_name(&alias.name, name)
                && self.collation.is_same_name(&alias.schema, schema)
        })
    }

    /// The table of a schema and name.
    pub(crate) fn table(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| {
            self.collation.is_same_name(&table.name, name)
                && self.collation.is_same_name(&table.schema, schema)
        })
    }

    /// A table to change.
    pub(crate) fn table_mut(&mut self, object_id: i32) -> Option<&mut Table> {
        self.tables.get_mut(&object_id).map(Arc::make_mut)
    }

    /// Adds a table, or replaces the one with its object id.
    pub(crate) fn put(&mut self, table: Table) {
        self.tables.insert(table.object_id, Arc::new(table));
    }

    /// Removes a table, with what was granted on it.
    pub(crate) fn remove_table(&mut self, object_id: i32) {
        if self.tables.remove(&object_id).is_some() {
            self.forget_grants(Securable::Object(object_id));
        }
    }

    /// Removes a schema with its tables, and what was granted on them: another schema may get its id.
    pub(crate) fn remove_schema(&mut self, name: &str) {
        let tables = self.tables.values().filter(|table| table.schema == name);
        let tables: Vec<i32> = tables.map(|table| table.object_id).collect();
        for object_id in tables {
            self.remove_table(object_id);
        }
        let id = self.schema(name).map(|schema| schema.id);
        if let Some(id) = id {
            self.schemas.retain(|schema| schema.id != id);
            self.forget_grants(Securable::Schema(id));
        }
    }

    fn forget_grants(&mut self, securable: Securable) {
        let mut grants = self.principals.grants().iter();
        if grants.any(|grant| grant.securable == securable) {
            Arc::make_mut(&mut self.principals).forget(securable);
        }
    }

    /// Takes over what capture owns in another version of the same database.
    pub(super) fn take_capture_of(&mut self, other: &Self) {
        self.tables.retain(|_, table| !table.shipped);
        let shipped = other.tables.iter().filter(|(_, table)| table.shipped);
        self.tables
            .extend(shipped.map(|(id, table)| (*id, Arc::clone(table))));
        self.capture.clone_from(&other.capture);
    }

    /// Goes on after a restore that has lost `other`: later transactions have other ids.
    pub(super) fn fork(&mut self, lost: &Self) {
        let mut hash = Sha256::new();
        hash.update(self.history);
        hash.update("RESTORE");
        hash.update(lost.history);
        self.history = hash.finalize().into();
    }

    /// An object id that was not used before.
    pub(crate) fn new_object_id(&mut self) -> i32 {
        let next =
            (i64::from(self.last_object_id) + i64::from(OBJECT_ID_STEP)) % i64::from(i32::MAX);
        self.last_object_id = i32::try_from(next).unwrap_or(1);
        self.last_object_id
    }
}
